package page

import (
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// view is what the template shows, in its order.
type view struct {
	Policy string
	Style  template.CSS
	Script template.JS

	Name    string // of the capture
	Facts   []string
	Verdict string
	Trusted bool
	Notes   []string
	Empty   bool // there is nothing to judge

	Severities   []severityCount
	Findings     []findingView
	MoreFindings string
	NoFindings   string
	Later        []string
	MoreLater    string
	FromKernel   []findingView
	MoreKernel   string

	Courses  []chartView
	OneSided string // what they leave out
	Table    tableView
	States   []stateCount
	Skipped  []report.Count
	Sources  []sourceView
	More     string // sources that are not listed
	Filter   string
}

type severityCount struct{ Severity, Text string }

type stateCount struct {
	State            string
	Clients, Servers string
}

type sourceView struct{ Name, Format, Links, Packets, Cut string }

// A Finding is what a page tells of one, in words.
type Finding struct {
	Severity string
	Kind     string
	Who      string // in short
	Head     string // what is wrong, in a sentence
	Rest     string
	Facts    []Fact
	Cause    string
	Next     string
	Command  string
	Holders  []string
	Evidence []Evidence
	More     string // evidence that is not listed
}

type findingView struct {
	Finding
	Anchor  string
	Brief   bool // it is told for completeness
	Growth  *chartView
	Links   []link
	Others  string // connections that are not listed
	Ladder  *Ladder
	Above   uint64 // the connection whose ladder stands with another finding
	About   *aboutView
	AboutAt string // the finding at which the kind is explained
}

// A Fact is a value with its name.
type Fact struct {
	Name, Value, Note string
	Time              string // for programs
}

// Evidence is a packet that a finding rests on.
type Evidence struct {
	Packet string
	Time   Moment
	From   string
	Flags  string
	Text   string
}

// A chartView is a picture, and the same in words and numbers.
type chartView struct {
	ID      string
	Title   string
	Desc    string
	Caption string
	Width   int
	Height  int
	SVG     template.HTML // what is inside
	Legend  []legendView
	Table   *chartTable
}

type legendView struct{ Class, Name, Value string }

type chartTable struct {
	Columns []string
	Rows    [][]string // the first cell is the time
}

// A link leads to a place on the page, or nowhere.
type link struct{ Text, To string }

type aboutView struct {
	Meaning string
	Raised  string
	Causes  []string
	Advice  []step
}

type step struct{ Text, Command string }

// builder puts together a view.
type builder struct {
	p       *Page
	r       *report.Report
	clock   clock
	survey  *survey
	listed  map[uint64]bool // connections in the table
	ladders map[uint64]*ladder.Ladder
	steps   int // of ladders that there is room for
	drawn   map[uint64]bool
	about   map[diagnosis.Kind]string // where a kind is explained
	kinds   map[int]diagnosis.Kind    // by Finding.ID
	shown   map[int]bool
	files   string
	filter  string
	again   bool
}

func newView(p *Page, s *survey) *view {
	r := &p.Report
	b := &builder{
		p: p, r: r, clock: newClock(&r.Capture, p.Zone), survey: s, listed: make(map[uint64]bool),
		ladders: make(map[uint64]*ladder.Ladder), steps: allSteps, drawn: make(map[uint64]bool),
		about: make(map[diagnosis.Kind]string), kinds: make(map[int]diagnosis.Kind), shown: make(map[int]bool),
	}
	b.files, b.filter, b.again = again(&r.Capture)
	for i := range p.Ladders {
		l := &p.Ladders[i]
		b.ladders[l.Connection.ID] = l
	}
	for i := range b.survey.entries {
		b.listed[b.survey.entries[i].id] = true
	}
	v := &view{Policy: policy(), Style: template.CSS(style), Script: template.JS(script)}
	b.capture(v)
	b.findings(v) // draws the ladders that the table leads to
	if !v.Empty {
		v.Courses = b.courses()
		if n := b.survey.oneSided; n > 0 {
			v.OneSided = "So " + areIs(n) + " " + count(n, "connection") + " of which one direction was captured."
		}
		v.Table = b.table()
	}
	return v
}

func (b *builder) capture(v *view) {
	c, q := &b.r.Capture, &b.r.Quality
	v.Name = captureName(c)
	if c.First != 0 && c.Last != 0 {
		from := time.Unix(0, c.First).In(b.p.Zone).Format("2006-01-02 15:04:05 MST")
		v.Facts = append(v.Facts, fmt.Sprintf("%s from %s", age(c.Last-c.First), from))
	}
	v.Facts = append(v.Facts, count(c.Packets, "packet"), count(c.Segments, "TCP segment"), count(b.r.Counts.Connections, "connection"))
	v.Verdict, v.Trusted = q.Verdict(), q.Trusted()
	v.Empty = c.Segments == 0 && b.r.Counts.Connections == 0
	for _, note := range c.Notes() {
		v.Notes = append(v.Notes, clip(note))
	}
	if len(v.Notes) > maxSources {
		v.Notes = append(v.Notes[:maxSources:maxSources], fmt.Sprintf("… and %s like these.", count(len(v.Notes)-maxSources, "note")))
	}
	v.Filter = clip(c.Filter)
	v.Skipped = c.Skipped
	for i := range c.Sources {
		s := &c.Sources[i]
		if i == maxSources {
			v.More = count(len(c.Sources)-i, "more file")
			break
		}
		view := sourceView{Name: clip(s.Name), Format: s.Format, Links: strings.Join(s.LinkTypes, ", "), Packets: number(s.Packets), Cut: "no"}
		if s.Truncated {
			view.Cut = "yes"
		}
		v.Sources = append(v.Sources, view)
	}
	for state, n := range b.r.Counts.States {
		if n[tracker.Client]+n[tracker.Server] > 0 {
			v.States = append(v.States, stateCount{tcp.State(state).String(), number(n[tracker.Client]), number(n[tracker.Server])})
		}
	}
}

func captureName(c *report.Capture) string {
	var names []string
	for i := range c.Sources {
		names = append(names, c.Sources[i].Name)
	}
	switch {
	case len(names) > maxNames:
		return clip(fmt.Sprintf("%s files, %s to %s", number(len(names)), names[0], names[len(names)-1]))
	case len(names) > 0:
		return clip(strings.Join(names, ", "))
	}
	return "capture"
}

func (b *builder) findings(v *view) {
	findings := b.r.Findings
	var counts [diagnosis.Critical + 1]int
	for i := range findings {
		counts[min(findings[i].Severity, diagnosis.Critical)]++
	}
	for severity, n := range slices.Backward(counts[:]) {
		if n == 0 {
			continue
		}
		word := diagnosis.Severity(severity).String()
		text := number(n) + " " + word
		if diagnosis.Severity(severity) == diagnosis.Warning && n != 1 {
			text += "s"
		}
		v.Severities = append(v.Severities, severityCount{word, text})
	}
	if len(findings) == 0 {
		v.NoFindings = "No connection fails to open or to close for longer than the thresholds."
		if b.r.Quality.OneSided > 0 {
			v.NoFindings += " Those captured in one direction only were not judged."
		}
		if !b.r.Quality.Trusted() {
			v.NoFindings += " The capture is incomplete, so this proves less than it could."
		}
	}
	shown := findings[:min(len(findings), maxFindings)]
	for i := range findings {
		b.kinds[findings[i].ID] = findings[i].Kind
		b.shown[findings[i].ID] = i < len(shown)
	}
	for i := range shown {
		f := b.finding(&shown[i], anchor(shown[i].ID), len(shown)-i)
		f.Brief = i > 0 && shown[i].Severity == diagnosis.Info
		v.Findings = append(v.Findings, f)
	}
	if more := len(findings) - len(shown); more > 0 {
		v.MoreFindings = "Left out: " + count(more, "finding") + " after the worst " + number(len(shown)) + "."
	}
	for i := range b.r.FromKernel {
		if i == maxKernel {
			v.MoreKernel = count(len(b.r.FromKernel)-i, "more finding")
			break
		}
		v.FromKernel = append(v.FromKernel, b.finding(&b.r.FromKernel[i], "k"+strconv.Itoa(i+1), 0))
	}
	for i, summary := range b.r.Capture.Later {
		if i == maxLater {
			v.MoreLater = count(len(b.r.Capture.Later)-i, "more finding")
			break
		}
		v.Later = append(v.Later, summary)
	}
}

// anchor is the place of a finding on the page.
func anchor(id int) string { return "f" + strconv.Itoa(id) }

// finding puts f into view, at a place of its own; left is how many are yet to have a ladder, f included, or 0 if it has none.
func (b *builder) finding(f *diagnosis.Finding, anchor string, left int) findingView {
	v := findingView{Finding: tell(f, b.clock), Anchor: anchor, Growth: b.growth(f, anchor)}
	if id := example(f); id != 0 {
		if b.drawn[id] {
			v.Above = id
		} else if l := b.ladderOf(id); l != nil && left > 0 {
			b.drawn[id] = true
			// The worst have as much as they need; some is kept for each of those to come.
			most := min(maxSteps, max(b.steps-leastSteps*(left-1), leastSteps))
			v.Ladder = b.draw(l, most)
			b.steps -= len(v.Ladder.Rows)
		}
	}
	for i, id := range f.Connections {
		if i == maxLinks {
			break
		}
		l := link{Text: strconv.FormatUint(id, 10)}
		if b.listed[id] {
			l.To = "c" + l.Text
		} else if b.drawn[id] {
			l.To = "l" + l.Text
		}
		v.Links = append(v.Links, l)
	}
	if more := f.Count - len(v.Links); more > 0 {
		v.Others = count(more, "other")
	}
	if at := b.about[f.Kind]; at != "" {
		v.AboutAt = at
	} else if about, ok := diagnosis.Explain(f.Kind); ok {
		b.about[f.Kind] = anchor
		v.About = &aboutView{Meaning: about.Meaning, Raised: about.Condition(), Causes: about.Causes}
		for _, advice := range about.Advice {
			text, command := diagnosis.Step(advice)
			v.About.Advice = append(v.About.Advice, step{text, command})
		}
	}
	return v
}

// tell puts f into words.
func tell(f *diagnosis.Finding, clock clock) Finding {
	v := Finding{
		Severity: min(f.Severity, diagnosis.Critical).String(), Kind: string(f.Kind), Who: who(f), Facts: facts(f, clock), Cause: f.Cause,
		Next: f.Next, Command: f.Command,
	}
	v.Head, v.Rest = sentence(f.Summary)
	for i := range f.Holders[:min(len(f.Holders), maxHolders)] {
		v.Holders = append(v.Holders, f.Holders[i].String())
	}
	if more := f.Count - len(v.Holders); more > 0 && len(v.Holders) > 0 {
		v.Holders = append(v.Holders, "and "+number(more)+" more")
	}
	for i := range f.Evidence {
		e := &f.Evidence[i]
		if i == maxEvidence {
			v.More = count(len(f.Evidence)-i, "more packet")
			break
		}
		v.Evidence = append(v.Evidence, Evidence{number(e.Packet), clock.packet(e.Time), e.From.String(), e.Flags.String(), e.Meaning})
	}
	return v
}

func (b *builder) ladderOf(id uint64) *ladder.Ladder {
	if l := b.ladders[id]; l != nil {
		return l
	}
	c, ok := b.survey.wanted[id]
	if !ok {
		return nil
	}
	l := ladder.Outline(&c, b.r.Capture.Last)
	return &l
}

// who names the end at fault, or what a finding is about.
func who(f *diagnosis.Finding) string {
	c := &f.Culprit
	named := c.Addr != tcp.Addr{}
	switch {
	case f.Culprits > 1 && f.Service.IsValid():
		return count(f.Culprits, c.Role.String()) + " of " + service(f)
	case f.Culprits > 1:
		return count(f.Culprits, c.Role.String())
	case !named && f.Service.IsValid():
		return service(f)
	case !named:
		return ""
	case c.Port != 0:
		return fmt.Sprintf("%v %v", c.Role, endName(c.Addr, c.Port))
	case f.Service.IsValid():
		return fmt.Sprintf("%v %v towards %s", c.Role, c.Addr, service(f))
	}
	return fmt.Sprintf("%v %v", c.Role, c.Addr)
}

// service is that of f; an address alone where the ports are many.
func service(f *diagnosis.Finding) string {
	return f.ServiceText()
}

func facts(f *diagnosis.Finding, clock clock) (facts []Fact) {
	if text := who(f); text != "" {
		name := "At fault"
		if f.Culprits == 0 {
			name = "Concerns"
		}
		facts = append(facts, Fact{Name: name, Value: text})
	}
	if f.Since != 0 {
		since := Fact{Name: "Since", Time: clock.second(f.Since).ISO, Value: clock.second(f.Since).Text}
		if f.For > 0 {
			since.Note = "for " + age(int64(f.For))
			if f.Count > 1 {
				since.Note = "the oldest for " + age(int64(f.For))
			}
			if f.ForAtLeast {
				since.Value, since.Note = "before "+since.Value, strings.Replace(since.Note, "for ", "for at least ", 1)
			}
		}
		facts = append(facts, since)
	}
	if g := f.Growth; g != nil {
		grows := Fact{Name: "Growth", Value: rate(g.PerMinute) + " more a minute", Note: fmt.Sprintf("%s to %s in %s", number(g.From), number(g.To), age(int64(g.Over)))}
		facts = append(facts, grows)
		for i, limit := range g.Limits {
			if i == 0 {
				facts = append(facts, Fact{Name: "Runs out", Value: "in " + age(int64(limit.In)), Note: "at " + number(limit.Descriptors) + " descriptors"})
			}
		}
	}
	if f.Count > 0 {
		facts = append(facts, Fact{Name: "Connections", Value: number(f.Count)})
	}
	sure := Fact{Name: "Certainty", Value: f.Certainty.String()}
	if f.Certainty != tracker.Confirmed {
		sure.Note = report.Basis(f.Certainty)
	}
	return append(facts, sure)
}
