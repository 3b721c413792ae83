package netsim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// path is what may happen to frames in one direction. The capture sits between its two legs.
type path struct {
	before, after time.Duration // what the legs take
	lostBefore    float64
	lostAfter     float64
	delayed       float64 // by much, as in a queue
	reordered     float64 // by little
	doubled       float64
}

func (p path) String() string {
	s := fmt.Sprintf("%v and %v", p.before, p.after)
	for _, x := range []struct {
		what  string
		share float64
	}{
		{"lost before the capture", p.lostBefore}, {"lost behind it", p.lostAfter}, {"delayed", p.delayed},
		{"reordered", p.reordered}, {"doubled", p.doubled},
	} {
		if x.share > 0 {
			s += fmt.Sprintf(", %.1f %% %s", 100*x.share, x.what)
		}
	}
	return s
}

// world is two hosts, the wire between them and the capture on it, with one connection, or several one after another with
// the same addresses and ports.
type world struct {
	seed   uint64
	random *rand.Rand
	clock  *clock
	hosts  [2]*host
	paths  [2]path // by sender
	frames []*frame
	table  *tracker.Table
	packet uint64

	receiveBuffers [2]int64
	trace          []note
	moments        []moment
	report         *Report
	failed         int
}

// note is a line of the trace that is not a frame's.
type note struct {
	at   int64
	text string
	f    *frame
}

// moment is a quiet one: what the hosts were in, and how many frames the capture had seen.
type moment struct {
	at      int64
	packet  uint64
	truth   [2]tcp.State
	doubted [2]bool // what happened to this end left no trace
}

func newWorld(seed uint64, report *Report) *world {
	w := &world{
		seed: seed, random: rand.New(rand.NewPCG(seed, 0)), clock: &clock{now: epoch}, report: report,
		table: tracker.New(tracker.Config{}),
	}
	family := w.random.IntN(2)
	for i := range w.hosts {
		w.hosts[i] = newHost(i, w.clock, family, w.random.Int64())
	}
	ports := [2]uint16{uint16(1024 + w.random.IntN(60000)), uint16(1 + w.random.IntN(60000))}
	for i, h := range w.hosts {
		h.own.Port, h.peer.Port = ports[i], ports[1-i]
	}
	return w
}

func (w *world) close() {
	for _, h := range w.hosts {
		h.shutdown()
	}
}

func (w *world) say(format string, a ...any) {
	w.trace = append(w.trace, note{at: w.clock.time(), text: fmt.Sprintf(format, a...)})
}

// act lets the application or the operator of a host do something.
func (w *world) act(h int, what string, do func(h *host)) {
	w.say("%s: %s", hostNames[h], what)
	do(w.hosts[h])
	w.settle(h, byApplication)
}

// cause is what stirs a host.
type cause uint8

const (
	byTimer cause = iota
	byApplication
	byFrame
)

// settle lets host h finish, and takes what it sends.
func (w *world) settle(i int, why cause) {
	h := w.hosts[i]
	before := h.end.sent
	for {
		h.settle()
		h.discover()
		h.serve()
		h.discover()
		out := h.link.fetch()
		if len(out) == 0 {
			break
		}
		for _, b := range out {
			w.send(i, b)
		}
	}
	h.end.observe(h.state(), len(h.known), w.clock.time(), why, h.end.sent > before)
}

// send takes a frame from host i to the capture, or not.
func (w *world) send(i int, b []byte) {
	s, ok := decode(b)
	if !ok || w.hosts[i].down {
		return
	}
	f := &frame{segment: s, from: i, sent: w.clock.time(), bytes: b, order: len(w.frames) + 1}
	w.frames = append(w.frames, f)
	w.hosts[i].end.spoke(f)
	p := &w.paths[i]
	if w.random.Float64() < p.lostBefore {
		f.segment.Time = f.sent
		w.trace = append(w.trace, note{at: f.sent, f: f})
		return
	}
	w.fly(p.before, func() { w.capture(f) })
}

// fly lets something happen to a frame after d.
func (w *world) fly(d time.Duration, arrive func()) {
	w.clock.schedule(&event{index: -1, frame: true, run: arrive}, d)
}

// capture shows f to the tracker and decides what becomes of it.
func (w *world) capture(f *frame) {
	w.packet++
	f.segment.Time, f.segment.Packet = w.clock.time(), w.packet
	w.trace = append(w.trace, note{at: f.segment.Time, f: f})
	w.table.Add([]tcp.Segment{f.segment})
	p := &w.paths[f.from]
	if w.random.Float64() < p.lostAfter {
		f.fate = lost
		return
	}
	copies := 1
	if w.random.Float64() < p.doubled {
		copies = 2
	}
	f.fate = arrived
	for n := range copies {
		d := p.after
		switch x := w.random.Float64(); {
		case x < p.delayed && n == 0:
			d += time.Duration(w.random.Int64N(int64(time.Second)))
		case x < p.delayed+p.reordered:
			d += time.Duration(w.random.Int64N(int64(5*time.Millisecond) + int64(p.after)))
		}
		w.fly(d, func() { w.arrive(f) })
	}
}

func (w *world) arrive(f *frame) {
	h := w.hosts[1-f.from]
	if h.down {
		if f.copies == 0 {
			f.fate, f.cut = lost, true
		}
		return
	}
	if f.copies == 0 {
		f.arrival = w.clock.time()
	}
	f.copies++
	f.fate, f.cut = arrived, false
	h.end.heard(f, h.state(), w.clock.time())
	h.deliver(f.bytes)
	w.settle(h.index, byFrame)
}

// advance lets d pass.
func (w *world) advance(d time.Duration) {
	until := w.clock.time() + int64(d)
	for {
		if w.clock.flying == 0 {
			w.quiet(until)
		}
		e := w.clock.advance(until)
		if e == nil {
			return
		}
		e.run()
		if !e.frame {
			w.settle(e.host, byTimer)
		}
	}
}

// quiet holds the states against the inference: now, and just before the silence ends.
func (w *world) quiet(until int64) {
	now := w.clock.time()
	next := w.clock.next(until)
	if next == now {
		return
	}
	w.compare(now)
	if gap := next - now; gap > 1 {
		if w.random.IntN(4) == 0 {
			w.compare(now + 1 + w.random.Int64N(gap-1))
		}
		w.compare(next - 1)
	}
}

// compare holds both hosts against the inference at a moment.
func (w *world) compare(at int64) {
	m := moment{at: at, packet: w.packet}
	if w.packet == 0 {
		return
	}
	got := w.inferred(w.table, at)
	w.report.Moments++
	for i, h := range w.hosts {
		m.truth[i] = h.end.at(at)
		w.report.Endpoints++
		e := got[i]
		if e.Certainty == tracker.Confirmed {
			w.report.Confirmed++
		}
		w.report.States[m.truth[i]]++
		m.doubted[i] = w.traceless(i, at)
		switch {
		case agrees(h, m.truth[i], e.State):
			w.report.Agreed++
			continue
		case e.Certainty == tracker.Confirmed && !m.doubted[i]:
			w.fail(at, i, e, "confirmed")
			continue
		}
		if why := w.undecidable(i, at, e.State); why != "" {
			w.report.undecidable(why, 1)
			continue
		}
		w.fail(at, i, e, "decidable")
	}
	w.moments = append(w.moments, m)
}

// inferred is what a table says about the two hosts: in the newest connection that each takes part in.
func (w *world) inferred(table *tracker.Table, at int64) (ends [2]tracker.Endpoint) {
	for c := range table.Connections(at) {
		for _, e := range c.Ends {
			i := 0
			if e.Addr.String() == w.address(1) {
				i = 1
			}
			if ends[i].Packets == 0 && ends[i].State == tcp.Unknown || e.State != tcp.Listen && e.State != tcp.Unknown {
				ends[i] = e
			}
		}
	}
	return ends
}

func (w *world) address(i int) string { return w.hosts[i].own.Addr.String() }

// agrees holds what a host says against the inference. A port without a connection is not to be told from one that
// listens, nor an end that has never sent from either.
func agrees(h *host, truth, got tcp.State) bool {
	switch {
	case truth == got:
		return true
	case truth == tcp.Closed || truth == tcp.Listen:
		return got == tcp.Unknown && len(h.known) == 0 || got == tcp.Listen && h.listener != nil ||
			got == tcp.Closed && truth == tcp.Listen
	}
	return false
}

func (w *world) fail(at int64, i int, e tracker.Endpoint, kind string) {
	w.failed++
	if w.failed > 1 {
		return // what follows from one mistake is not another
	}
	w.report.Failures = append(w.report.Failures, w.failure(at, i, w.hosts[i].end.at(at), e, kind, w.table))
}

func (w *world) failure(at int64, i int, truth tcp.State, e tracker.Endpoint, kind string, table *tracker.Table) Failure {
	what := fmt.Sprintf("%s is %v (%s), we say %v %v", hostNames[i], truth, kind, e.Certainty, e.State)
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %s: %s\n", w.seed, what, e.Why())
	w.story(&b, at, table)
	fmt.Fprintf(&b, "play it again: go test ./internal/netsim -run TestConnections -seed %d -connections 1", w.seed)
	return Failure{Seed: w.seed, What: what, Text: b.String()}
}

// story tells what happened up to a moment.
func (w *world) story(b io.Writer, at int64, table *tracker.Table) {
	var base [2]tcp.Seq
	var based [2]bool
	for _, f := range w.frames {
		if !based[f.from] {
			base[f.from], based[f.from] = f.segment.Seq, true
		}
		if !based[1-f.from] && f.segment.Flags.Any(tcp.ACK) {
			base[1-f.from], based[1-f.from] = f.segment.Ack-1, true
		}
	}
	for _, n := range w.trace {
		if n.at > at {
			break
		}
		if n.f != nil {
			fmt.Fprintf(b, "%12.6f  %4d  %s\n", seconds(n.at), n.f.segment.Packet, n.f.line(base))
		} else {
			fmt.Fprintf(b, "%12.6f        %s\n", seconds(n.at), n.text)
		}
	}
	fmt.Fprintf(b, "%12.6f        judged\n", seconds(at))
	for c := range table.Connections(at) {
		fmt.Fprintf(b, "%20sconnection %d:", "", c.ID)
		for _, e := range c.Ends {
			fmt.Fprintf(b, " %v %v (%v),", e.Addr, e.State, e.Certainty)
		}
		fmt.Fprintln(b)
	}
}

func seconds(at int64) float64 { return float64(at-epoch) / 1e9 }
