package main

import (
	"io"
	"os"
	"testing"
	"time"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/tcp"
)

// played is a live source that a test plays.
type played struct{ last int64 }

func (p *played) Read([]tcp.Segment) (int, error) { return 0, os.ErrClosed }
func (p *played) Stats() capture.Stats            { return capture.Stats{Last: p.last} }
func (p *played) Last() int64                     { return p.last }
func (p *played) Close() error                    { return nil }

// heard is an audience that remembers.
type heard struct{ events []diagnosis.Event }

func (h *heard) hear(j *judgement) error {
	h.events = append(h.events, j.events...)
	return nil
}
func (h *heard) between()      {}
func (h *heard) report() error { return nil }

// newWatcher follows a source as -i does with the flags of o, without a kernel to ask.
func newWatcher(t *testing.T, o options) (*watcher, *played, *heard) {
	t.Helper()
	j := &job{live: true, format: "json", stdout: io.Discard, stderr: t.Output()}
	if err := o.prepare(j, nil); err != nil {
		t.Fatal(err)
	}
	source, audience := new(played), new(heard)
	return &watcher{job: j, source: source, monitor: diagnosis.NewMonitor(), audience: audience}, source, audience
}

// What counts in silence is how long ago the last packet was, wherever this host's clock has been set to since.
func TestSilenceIsCountedFromTheLastPacket(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"set back by an hour": time.Hour, "set ahead by a day": -24 * time.Hour, "left alone": 0} {
		w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
		clock := time.Now()
		w.tellTime(clock, true)
		source.last = clock.Add(ahead).UnixNano()
		if ahead < 0 {
			w.now = 0 // it has begun at that time
		}
		w.tellTime(clock, false)
		for range 10 {
			clock = clock.Add(200 * time.Millisecond)
			w.tellTime(clock, true)
		}
		if got := time.Duration(w.now - source.last); got != 2*time.Second {
			t.Errorf("%s: %v after the last packet, want 2s", name, got)
		}
	}
}
