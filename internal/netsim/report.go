package netsim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tcpleak/tcp"
)

// Report is the outcome of many connections.
type Report struct {
	Connections int
	Frames      int
	Moments     int                // quiet ones
	Endpoints   int                // twice that: each end at each moment
	States      [tcp.NumStates]int // what the endpoints were in
	Agreed      int
	Confirmed   int
	Distorted   int            // endpoints confirmed through a worse capture
	Undecidable map[string]int // wrong, but the wire cannot tell; by reason
	Failures    []Failure
}

// Failure is a connection of which the inference said something wrong.
type Failure struct {
	Seed uint64
	What string // without numbers, so that failures of one kind look the same
	Text string // the connection's story, and how to play it again
}

// Run plays the connection with the given seed and adds it to the report.
func (r *Report) Run(seed uint64) {
	w := newWorld(seed, r)
	defer w.close()
	w.play()
	if w.failed == 0 {
		w.distort()
	}
	r.Connections++
	r.Frames += len(w.frames)
}

// Add adds what is in o.
func (r *Report) Add(o *Report) {
	r.Connections += o.Connections
	r.Frames += o.Frames
	r.Moments += o.Moments
	r.Endpoints += o.Endpoints
	r.Agreed += o.Agreed
	r.Confirmed += o.Confirmed
	r.Distorted += o.Distorted
	for i, n := range o.States {
		r.States[i] += n
	}
	for why, n := range o.Undecidable {
		r.undecidable(why, n)
	}
	r.Failures = append(r.Failures, o.Failures...)
}

func (r *Report) undecidable(why string, n int) {
	if r.Undecidable == nil {
		r.Undecidable = make(map[string]int)
	}
	r.Undecidable[why] += n
}

// String returns the counts, a line each.
func (r *Report) String() string {
	var b strings.Builder
	line := func(n int, format string, a ...any) { fmt.Fprintf(&b, "%10d %s\n", n, fmt.Sprintf(format, a...)) }
	line(r.Connections, "connections, of %d frames", r.Frames)
	line(r.Moments, "moments, of two endpoints each")
	for i, n := range r.States {
		if n > 0 {
			line(n, "endpoints in %v", tcp.State(i))
		}
	}
	line(r.Agreed, "agreed")
	for _, why := range slices.Sorted(maps.Keys(r.Undecidable)) {
		line(r.Undecidable[why], "undecidable: %s", why)
	}
	line(r.Confirmed, "confirmed")
	line(r.Distorted, "confirmed through a worse capture")
	line(len(r.Failures), "connections failed")
	return b.String()
}

// Kinds returns what failed, how often, and seeds of it, a line for each kind.
func (r *Report) Kinds() string {
	seeds := make(map[string][]uint64)
	for _, f := range r.Failures {
		seeds[f.What] = append(seeds[f.What], f.Seed)
	}
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(seeds)) {
		all := seeds[what]
		fmt.Fprintf(&b, "%5d times: %s (seeds %v)\n", len(all), what, all[:min(len(all), 4)])
	}
	return b.String()
}
