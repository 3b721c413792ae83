package report

import (
	"strconv"
	"strings"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"tcpleak/printable"
	"tcpleak/tracker"
)

// Clean returns s fit for a terminal, as printable.Clean does.
func Clean(s string) string { return printable.Clean(s) }

// number writes n with commas: 1,234,567.
func number[N int | uint64](n N) string {
	digits := strconv.FormatUint(uint64(n), 10)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// count is a number and its noun: "1 packet", "41 packets".
func count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// wrap breaks text into lines of at most width columns, at spaces where there are any. The first line begins with first,
// the others with the indent.
func wrap(first, indent, text string, width int) string {
	var b strings.Builder
	b.WriteString(first)
	left, column := twwidth.Width(indent), twwidth.Width(first)
	begun := false // the line has a word
	for _, word := range strings.Fields(text) {
		size := twwidth.Width(word)
		if begun && column+1+size > width {
			b.WriteString("\n" + indent)
			column, begun = left, false
		}
		if begun {
			b.WriteByte(' ')
			column++
		}
		for column+size > width && left < width {
			head, tail := cut(word, width-column)
			if tail == "" {
				break
			}
			b.WriteString(head + "\n" + indent)
			column, word = left, tail
			size = twwidth.Width(word)
		}
		b.WriteString(word)
		column, begun = column+size, true
	}
	return b.String()
}

// cut splits text after at most width columns, but after one character at least.
func cut(text string, width int) (head, tail string) {
	column := 0
	for i, r := range text {
		column += twwidth.Width(string(r))
		if i > 0 && column > width {
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// shorten takes the middle out of text that is wider than width; an address keeps its end, which has the port.
func shorten(text string, width int) string {
	if twwidth.Width(text) <= width {
		return text
	}
	runes := []rune(text)
	tail := min(max(width*2/3, 1), width-1)
	for len(runes) > 0 && twwidth.Width(string(runes)) > tail {
		runes = runes[1:]
	}
	head, _ := cut(text, max(width-1-tail, 1))
	if width-1-tail < 1 {
		head = ""
	}
	return head + "…" + string(runes)
}

// evictions are the kinds of connections that are forgotten, the least interesting first, by their names in JSON.
func evictions(e tracker.Evictions) []Count {
	return []Count{{"reset", e.Reset}, {"finished", e.Finished}, {"attempt", e.Attempts}, {"established", e.Established}, {"half_closed", e.HalfClosed}}
}

var evictionWords = map[string]string{
	"reset": "reset", "finished": "finished", "attempt": "that never completed the handshake", "established": "established", "half_closed": "half closed",
}

// Number writes n with commas: 1,234,567.
func Number(n uint64) string { return number(n) }

// Counted is a number and its noun: "1 packet", "41 packets".
func Counted(n uint64, noun string) string { return count(n, noun) }

// Basis explains what a state that is not confirmed rests on.
func Basis(c tracker.Certainty) string { return certaintyWords(c) }

// Notes says what is not as it should be with a capture, a sentence or two each.
func (c *Capture) Notes() []string { return c.notes() }
