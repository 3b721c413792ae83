package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSecondsAreExact(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 51 * time.Microsecond: "0.000051", 301*time.Second + 200*time.Millisecond: "301.2", 1: "0.000000001",
		-1500 * time.Millisecond: "-1.5", time.Hour: "3600",
	} {
		if got := string(appendSeconds(nil, d)); got != want {
			t.Errorf("%v = %s, want %s", d, got, want)
		}
	}
}

func TestCleanKeepsWhatPeopleWrite(t *testing.T) {
	for text, want := range map[string]string{
		"übung 日本.pcap": "übung 日本.pcap",
		"a\x1b[31mb":    "a\ufffd[31mb",
		"a\tb\nc":       "a\ufffdb\ufffdc",
		"x\xffy":        "x\ufffdy",
		"\u200bgap":     "\ufffdgap",
		"exe.\u202efdp": "exe.\ufffdfdp",
		"":              "",
	} {
		if got := Clean(text); got != want {
			t.Errorf("Clean(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestWrapBreaksAtSpacesAndWithinWordsThatAreTooLong(t *testing.T) {
	for _, c := range []struct{ first, indent, text, want string }{
		{"Why: ", "     ", "one two three four", "Why: one two\n     three\n     four"},
		{"", "", "abcdefghijklmnopqrst", "abcdefghijkl\nmnopqrst"},
		{"", "  ", "a abcdefghijklmno", "a\n  abcdefghij\n  klmno"},
		{"", "", "日本日本日本日", "日本日本日本\n日"},
		{"x", "", "", "x"},
	} {
		if diff := cmp.Diff(c.want, wrap(c.first, c.indent, c.text, 12)); diff != "" {
			t.Errorf("wrap(%q) (-want +got):\n%s", c.text, diff)
		}
	}
}

func TestShortenKeepsThePort(t *testing.T) {
	for width, want := range map[int]string{
		30: "[2001:db8::1234:5678]:443", 25: "[2001:db8::1234:5678]:443", 20: "[2001:…234:5678]:443", 12: "[20…678]:443",
		2: "…3", 1: "…",
	} {
		if got := shorten("[2001:db8::1234:5678]:443", width); got != want {
			t.Errorf("shortened to %d: %q, want %q", width, got, want)
		}
	}
}
