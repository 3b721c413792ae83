package screen

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// fit gives text exactly width columns: it cuts what is beyond, and fills up with spaces on the right.
func (l *look) fit(text string, width int) string {
	text = ansi.Truncate(text, max(width, 0), l.ellipsis)
	return text + spaces(width-ansi.StringWidth(text))
}

// fitRight is fit for numbers.
func (l *look) fitRight(text string, width int) string {
	text = ansi.Truncate(text, max(width, 0), l.ellipsis)
	return spaces(width-ansi.StringWidth(text)) + text
}

// fitAddress gives an address exactly width columns: what is cut off is its middle, as its end has the port.
func (l *look) fitAddress(text string, width int) string {
	size := ansi.StringWidth(text)
	if size <= width {
		return text + spaces(width-size)
	}
	room := width - ansi.StringWidth(l.ellipsis)
	if room < 2 {
		return l.fit(text, width)
	}
	tail := room * 2 / 3
	return ansi.Truncate(text, room-tail, "") + l.ellipsis + ansi.TruncateLeft(text, size-tail, "")
}

// apart puts left and right at the ends of a line; what there is no room for is cut off left.
func (l *look) apart(left, right string, width int) string {
	size := ansi.StringWidth(right)
	if size == 0 || size >= width {
		return l.fit(left+right, width)
	}
	return l.fit(left, width-size-1) + " " + right
}

func spaces(n int) string { return strings.Repeat(" ", max(n, 0)) }

// number writes n with commas: 1,234,567.
func number(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// compact writes n with at most five characters: 9999, 12.3k, 123M.
func compact(n uint64) string {
	if n < 10_000 {
		return strconv.FormatUint(n, 10)
	}
	f := float64(n)
	for _, unit := range []string{"k", "M", "G", "T", "P", "E"} {
		if f /= 1000; f < 99.95 {
			return strconv.FormatFloat(f, 'f', 1, 64) + unit
		} else if f < 999.5 {
			return strconv.FormatFloat(f, 'f', 0, 64) + unit
		}
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + "E"
}

// count is a number and its noun: "1 packet", "41 packets".
func count(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// address writes one end of a connection.
func address(a tcp.Addr, port uint16) string { return netip.AddrPortFrom(a.Netip(), port).String() }

// certaintyMark stands behind a state.
func certaintyMark(s tcp.State, c tracker.Certainty) string {
	if s == tcp.Unknown {
		return ""
	}
	return [...]string{"??", "?", ""}[min(c, tracker.Confirmed)]
}

// lasted writes how long something has been so.
func (l *look) lasted(d time.Duration, atLeast bool) string {
	age := diagnosis.Age(d)
	if l.ascii != nil {
		age = l.ascii.Replace(age)
	}
	if atLeast {
		return l.atLeast + age
	}
	return age
}

// clock writes a time of day; the date, too, where it is not now's.
func clock(at, now int64, location *time.Location) string {
	t, today := time.Unix(0, at).In(location), time.Unix(0, now).In(location)
	if t.YearDay() != today.YearDay() || t.Year() != today.Year() {
		return t.Format("Jan 02 15:04")
	}
	return t.Format(time.TimeOnly)
}

// culprit names who is at fault for f.
func (l *look) culprit(f *diagnosis.Finding) string {
	c := f.Culprit
	service := f.ServiceText()
	switch {
	case f.Culprits > 1:
		text := count(uint64(f.Culprits), c.Role.String())
		if service != "" {
			text += " " + l.arrow + " " + service
		}
		return text
	case c.Addr == tcp.Addr{}:
		return service
	case c.Port != 0:
		return c.Role.String() + " " + address(c.Addr, c.Port)
	case service != "":
		return c.Role.String() + " " + c.Addr.String() + " " + l.arrow + " " + service
	}
	return c.Role.String() + " " + c.Addr.String()
}

// size writes a number of octets: 41 kB, 1.3 GB.
func size(n int) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, next
	}
	if f < 9.95 && unit != "B" {
		return fmt.Sprintf("%.1f %s", f, unit)
	}
	return fmt.Sprintf("%.0f %s", f, unit)
}
