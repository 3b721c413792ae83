package screen

import (
	"slices"
	"strings"
	"testing"

	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

// named is small, of which the servers 10.0.1.1 and 10.0.1.2 have names.
func named() *world {
	w := small()
	w.composer.Name = func(c *tracker.Connection) string {
		return map[uint16]string{80: "api.example.com", 443: "a-name-that-is-much-longer-than-any-column-has-room-for.cdn.example.net"}[c.Ends[tracker.Server].Port]
	}
	return w
}

func TestServersByTheirNames(t *testing.T) {
	for _, tt := range []struct {
		width int
		want  []string
	}{
		{160, []string{"10.0.0.2:50001  api.example.com (10.0.1.1:80)  ", "a-name-that-is-mu", " 10.0.1.3:5432 ", "stuck_close_wait"}},
		{90, []string{"10.0.0.2:50001  api.example.com:80  ", "FIN_WAIT_2", "CLOSE_WAIT", ".net:443", "10.0.1.3:5432", "stuck_clo…"}},
		{66, []string{"api.ex…ple.com:80  ", "FIN_WAIT_2", "CLOSE_WAIT", "net:443", "10.0.1.3:5432"}},
	} {
		s := newShow(t, named(), tt.width, 40)
		s.has(tt.want...)
		for _, line := range s.lines() {
			if strings.Contains(line, "example.net") && !strings.Contains(line, ":443") {
				t.Errorf("width %d: a name without its port: %s", tt.width, line)
			}
		}
	}
	s := newShow(t, named(), 100, 60)
	s.press("enter")
	s.has("Connection 4  10.0.0.2:50001 → api.example.com (10.0.1.1:80)", "client 10.0.0.2:50001 to server api.example.com")
}

func TestFilterByName(t *testing.T) {
	w := named()
	for filter, want := range map[string][]uint64{
		"API.example": {1, 2, 3, 4, 5, 6}, "server:api close_wait": {4, 5, 6}, "client:api": nil, "cdn !api": {7, 8}, "server:10.0.1.2": {7, 8},
	} {
		if got := w.listed(Query{Sort: ID, Filter: filter, Rows: 100}); !slices.Equal(got, want) {
			t.Errorf("%q picks %d, want %d", filter, got, want)
		}
	}
}

// A hundred thousand names are looked up only where the filter asks for them.
func TestNamesAreAskedForWhereTheyAreSeen(t *testing.T) {
	w := named()
	asked, name := 0, w.composer.Name
	w.composer.Name = func(c *tracker.Connection) string { asked++; return name(c) }
	w.listed(Query{Sort: Findings, Filter: "state:close_wait", Rows: 2})
	if asked != 2 {
		t.Errorf("%d names were asked for, for two rows", asked)
	}
}

func TestWhoHasTheSockets(t *testing.T) {
	w := small()
	w.composer.standing[0].Holders = []diagnosis.Holder{
		{PID: 4242, FD: 7, Name: "java", Command: "java -jar shop.jar\x1b[2J"}, {PID: 4242, FD: 9, Name: "java", Command: "java -jar shop.jar"},
	}
	s := newShow(t, w, 100, 60)
	kind := string(w.composer.standing[0].Kind)
	s.has(kind, "Held by pid 4242 java, fd 7, 9")
	s.press("tab", "enter")
	s.has("Who    pid 4242 java, fd 7, 9", "pid 4242 is java -jar shop.jar")
	if strings.Contains(s.m.View().Content, "\x1b[2J") || strings.Count(s.text(), "shop.jar") != 1 {
		t.Errorf("the command is not clean, or told twice:\n%s", s.text())
	}
}
