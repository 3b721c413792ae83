package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tcpleak/capture"
	"tcpleak/config"
	"tcpleak/deliver"
	"tcpleak/metrics"
)

// refilterable is a played source with a filter, of which so many changes succeed.
type refilterable struct {
	played
	filter string
	left   int
}

func (r *refilterable) Stats() capture.Stats {
	s := r.played.Stats()
	s.Filter = r.filter
	return s
}

func (r *refilterable) Refilter(expression string) error {
	if r.left--; r.left < 0 {
		return errors.New("no such device")
	}
	r.filter = expression
	return nil
}

// newAgent follows a source that a test plays, and writes what it says to said.
func newAgent(t *testing.T, said *strings.Builder) (*agent, *refilterable) {
	t.Helper()
	w, _, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
	w.stderr = said
	settings := config.Default()
	settings.Filter = "tcp"
	source := &refilterable{filter: "tcp", left: 1 << 30}
	w.source = source
	out, err := deliver.New()
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{watcher: w, settings: settings, current: settings, out: out, metrics: metrics.New(metrics.Config{}), stdout: t.Output()}
	a.load = func() (config.Agent, error) {
		next := settings
		next.Filter = "tcp port 80"
		return next, nil
	}
	return a, source
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes int // of the filter that succeed
		filter  string
		said    string
	}{
		{"and goes back", 2, "tcp", "tcpleak: the configuration stays as it was: deliver: closed\n"},
		{"as far as it can", 1, "tcp port 80",
			"tcpleak: the configuration stays as it was, but for the filter, which is \"tcp port 80\" now: no such device; the reason to go back was: deliver: closed\n"},
		{"from the start", 0, "tcp", "tcpleak: the configuration stays as it was: no such device\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said strings.Builder
			a, source := newAgent(t, &said)
			source.left = c.changes
			if err := a.out.Close(t.Context()); err != nil { // so that it takes no other outputs
				t.Fatal(err)
			}
			a.readAgain()
			if said.String() != c.said || source.filter != c.filter || a.current.Filter != "tcp" || a.sent != nil {
				t.Errorf("it says %q, and captures %q as %q", said.String(), source.filter, a.current.Filter)
			}
		})
	}
	var said strings.Builder
	a, source := newAgent(t, &said)
	a.readAgain()
	if want := "tcpleak: the configuration was read again\n"; said.String() != want || source.filter != "tcp port 80" {
		t.Errorf("it says %q, want %q, and captures %q", said.String(), want, source.filter)
	}
}

// A filter that cannot be changed for a day is told of some ten times, not every ten seconds.
func TestTroubleIsToldOfSeldom(t *testing.T) {
	var said []string
	var tr trouble
	began := time.Now()
	for at := time.Duration(0); at < 24*time.Hour; at += 10 * time.Second {
		if n, tell := tr.again(began.Add(at)); tell {
			said = append(said, fmt.Sprint(at, " ", n))
		}
	}
	want := "0s 1, 5m0s 31, 15m0s 91, 35m0s 211, 1h15m0s 451, 2h35m0s 931, 5h15m0s 1891, 10h35m0s 3811, 16h35m0s 5971, 22h35m0s 8131"
	if got := strings.Join(said, ", "); got != want {
		t.Errorf("it is told of at %s", got)
	}
	if n := tr.over(); n != 8640 {
		t.Errorf("%d times, want 8640", n)
	}
	if n := tr.over(); n != 0 {
		t.Errorf("%d times once it is over", n)
	}
}
