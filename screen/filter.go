package screen

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Filter picks connections. The zero value picks all.
type Filter struct {
	words []word
	text  bool // a word needs the connection's text
	named bool // a word needs the server's name
}

// word is a condition; all of a filter's must hold.
type word struct {
	not   bool
	holds func(s *subject) bool
}

// subject is a connection that is held against a filter.
type subject struct {
	c        *tracker.Connection
	now      int64
	process  string
	name     string // of the server; only where the filter is named
	findings []int
	kinds    []diagnosis.Finding // by ID, from 1: all there are
	text     []byte              // all of it, in lower case
}

// ParseFilter reads a filter: words, all of which must be found in what the table shows of a connection, whatever their
// case. A word may name where: state:CLOSE_WAIT of either end, client:10.0.0.7, server:api.example.com, finding:leak, port:8080,
// process:java, id:12, age>60s, age<5m. An ! before a word turns it round.
func ParseFilter(text string) (Filter, error) {
	var f Filter
	for _, field := range strings.Fields(text) {
		w := word{}
		if rest, not := strings.CutPrefix(field, "!"); not {
			w.not, field = true, rest
		}
		if field == "" {
			continue
		}
		if err := w.parse(field, &f); err != nil {
			return Filter{}, err
		}
		f.words = append(f.words, w)
	}
	return f, nil
}

func (w *word) parse(field string, f *Filter) error {
	lower := strings.ToLower(field)
	if rest, ok := strings.CutPrefix(lower, "age"); ok && rest != "" && (rest[0] == '>' || rest[0] == '<') {
		return w.parseAge(rest[0], rest[1:])
	}
	name, value, named := strings.Cut(lower, ":")
	switch {
	case !named:
	case value == "" && slices.Contains([]string{"state", "client", "server", "finding", "process", "port", "id"}, name):
		w.holds = func(*subject) bool { return true } // still being written
		return nil
	case name == "state":
		var picked [tcp.NumStates]bool
		for state := range picked {
			picked[state] = in(tcp.State(state).String(), value)
		}
		w.holds = func(s *subject) bool {
			return picked[s.c.Ends[tracker.Client].State] || picked[s.c.Ends[tracker.Server].State]
		}
		return nil
	case name == "client", name == "server":
		role := tracker.Client
		if name == "server" {
			role = tracker.Server
		}
		var b []byte
		needle := []byte(value)
		f.named = f.named || role == tracker.Server
		w.holds = func(s *subject) bool {
			b = appendEnd(b[:0], &s.c.Ends[role])
			return bytes.Contains(b, needle) || role == tracker.Server && in(s.name, value)
		}
		return nil
	case name == "finding":
		w.holds = func(s *subject) bool {
			return slices.ContainsFunc(s.findings, func(id int) bool { return strings.Contains(string(s.kinds[id-1].Kind), value) })
		}
		return nil
	case name == "process":
		w.holds = func(s *subject) bool { return in(s.process, value) }
		return nil
	case name == "port":
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return fmt.Errorf("port:%s: not a port; as in port:8080", value)
		}
		w.holds = func(s *subject) bool {
			return uint64(s.c.Ends[0].Port) == port || uint64(s.c.Ends[1].Port) == port
		}
		return nil
	case name == "id":
		id, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("id:%s: not a number; as in id:12", value)
		}
		w.holds = func(s *subject) bool { return s.c.ID == id }
		return nil
	}
	f.text, f.named = true, true
	needle := []byte(lower)
	w.holds = func(s *subject) bool { return bytes.Contains(s.text, needle) }
	return nil
}

func (w *word) parseAge(than byte, value string) error {
	limit, err := time.ParseDuration(value)
	if n, numberErr := strconv.ParseUint(value, 10, 31); numberErr == nil {
		limit, err = time.Duration(n)*time.Second, nil
	}
	if value == "" {
		w.holds = func(*subject) bool { return true }
		return nil
	}
	if err != nil {
		return fmt.Errorf("age%c%s: not a duration; as in age>60s", than, value)
	}
	longer := than == '>'
	w.holds = func(s *subject) bool {
		since, _ := lasting(s.c)
		age := time.Duration(s.now - since)
		return since != 0 && age != limit && (age > limit) == longer
	}
	return nil
}

// passes reports whether s is picked.
func (f *Filter) passes(s *subject) bool {
	if f.text {
		s.text = s.appendText(s.text[:0])
	}
	for i := range f.words {
		if f.words[i].holds(s) == f.words[i].not {
			return false
		}
	}
	return true
}

// appendText appends what a table shows of a connection, in lower case.
func (s *subject) appendText(b []byte) []byte {
	b = append(strconv.AppendUint(b, s.c.ID, 10), ' ')
	for i := range s.c.Ends {
		b = append(appendEnd(b, &s.c.Ends[i]), ' ')
		b = append(appendLower(b, s.c.Ends[i].State.String()), ' ')
	}
	for _, id := range s.findings {
		b = append(append(b, s.kinds[id-1].Kind...), ' ')
	}
	b = append(appendLower(b, s.process), ' ')
	return appendLower(b, s.name)
}

func appendEnd(b []byte, e *tracker.Endpoint) []byte {
	addr := e.Addr.Netip()
	if e.Addr.Is4() {
		b = addr.AppendTo(b)
	} else {
		b = append(addr.AppendTo(append(b, '[')), ']')
	}
	return strconv.AppendUint(append(b, ':'), uint64(e.Port), 10)
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return append(b, strings.ToLower(s[i:])...)
		}
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// in reports whether text has value, which is in lower case, whatever the case of text.
func in(text, value string) bool { return strings.Contains(strings.ToLower(text), value) }
