package page

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tracker"
)

func number[N int | uint64](n N) string { return report.Number(uint64(n)) }

// count is a number and its noun: "1 packet", "41 packets".
func count[N int | uint64](n N, noun string) string { return report.Counted(uint64(n), noun) }

// areIs is the verb before n of something.
func areIs(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func age(ns int64) string { return diagnosis.Age(time.Duration(ns)) }

// clip shortens what a person has typed, as a page has room for the report.
func clip(text string) string {
	if utf8.RuneCountInString(text) <= maxLength {
		return text
	}
	return string([]rune(text)[:maxLength]) + "…"
}

// rate writes a number per minute with the digits that matter.
func rate(perMinute float64) string {
	if perMinute < 10 {
		return strconv.FormatFloat(perMinute, 'f', 1, 64)
	}
	return number(int(perMinute + 0.5))
}

// sentence splits off the first sentence, without its full stop.
func sentence(text string) (first, rest string) {
	for at := 0; ; {
		i := strings.Index(text[at:], ". ")
		if i < 0 {
			return strings.TrimSuffix(text, "."), ""
		}
		at += i + len(". ")
		if next, _ := utf8.DecodeRuneInString(text[at:]); unicode.IsUpper(next) {
			return text[:at-len(". ")], text[at:]
		}
	}
}

// capital begins a clause as a sentence.
func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// A Moment is a time in words and for programs.
type Moment struct{ Text, ISO string }

// clock writes times of a capture: with the day only where it lasts for longer than one.
type clock struct {
	zone *time.Location
	days bool
}

func newClock(c *report.Capture, zone *time.Location) clock {
	first, last := time.Unix(0, c.First).In(zone), time.Unix(0, c.Last).In(zone)
	return clock{zone, first.Format(time.DateOnly) != last.Format(time.DateOnly)}
}

func (c clock) at(ns int64, layout string) Moment {
	t := time.Unix(0, ns).In(c.zone)
	if c.days {
		layout = time.DateOnly + " " + layout
	}
	return Moment{t.Format(layout), t.UTC().Format("2006-01-02T15:04:05.000000000Z")}
}

// second is to the second and names the zone, packet to the microsecond.
func (c clock) second(ns int64) Moment { return c.at(ns, "15:04:05 MST") }
func (c clock) packet(ns int64) Moment { return c.at(ns, "15:04:05.000000") }

// mark shows a certainty beside a state.
func mark(c tracker.Certainty) string { return [...]string{"??", "?", ""}[min(c, tracker.Confirmed)] }

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)

// quote writes a word for a shell.
func quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// maxFiles is how many files a command names.
const maxFiles = 4

// again returns the beginning of a command that reads the same packets, to be completed by a subcommand and an argument, and
// what follows that; ok is false where there is none: it was a live capture or a pipe, or a name cannot be shown as it is.
func again(c *report.Capture) (files, filter string, ok bool) {
	if len(c.Sources) == 0 || len(c.Sources) > maxFiles || c.Live || report.Clean(c.Filter) != c.Filter {
		return "", "", false
	}
	var b strings.Builder
	for i := range c.Sources {
		name := c.Sources[i].Name
		if name == "-" || c.Sources[i].Format == "live" || report.Clean(name) != name || utf8.RuneCountInString(name) > maxLength {
			return "", "", false
		}
		fmt.Fprintf(&b, " -r %s", quote(name))
	}
	if c.Filter != "" {
		filter = " " + quote(c.Filter)
	}
	return b.String(), filter, true
}
