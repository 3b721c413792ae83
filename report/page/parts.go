package page

import (
	"html/template"
	"slices"
	"strings"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Here are the parts that other pages are made of, too. Their texts are not cleaned of what hides in text (report.Clean).

// Style is the style sheet of a page.
func Style() string { return style }

// ClassOf is the class that gives an element the colour of a state.
func ClassOf(s tcp.State) string { return classOf(s) }

// Mark stands behind a state that is not confirmed: "?" or "??".
func Mark(c tracker.Certainty) string { return mark(c) }

// Stack is the order of the states in a chart, from the bottom. Those that are not in it are not drawn.
func Stack() []tcp.State { return slices.Clone(stack) }

// Time writes a time to the second, with the day if now is on another one; both in ns since 1970.
func Time(at, now int64, zone *time.Location) Moment {
	return newClock(&report.Capture{First: at, Last: now}, zone).second(at)
}

// Tell puts f into words, as of now in ns since 1970.
func Tell(f *diagnosis.Finding, now int64, zone *time.Location) Finding {
	first := now
	if f.Since != 0 {
		first = f.Since
	}
	return tell(f, newClock(&report.Capture{First: first, Last: now}, zone))
}

// Draw draws l, with 120 steps at most.
func Draw(l *ladder.Ladder, zone *time.Location) *Ladder {
	const most = 120
	return draw(l, most, newClock(&report.Capture{First: l.Connection.Start, Last: l.Now}, zone), "")
}

// HTML is l as an element of a page.
func (l *Ladder) HTML() (template.HTML, error) {
	var b strings.Builder
	err := page.ExecuteTemplate(&b, "ladder", l)
	// #nosec G203 -- the template has escaped what is in it
	return template.HTML(b.String()), err
}
