package netsim

import (
	"time"

	"tcpleak/tcp"
)

// end is what the harness knows of one host's end and the wire does not show.
type end struct {
	state           tcp.State
	sent            int  // order of the last frame that it sent
	seen            int  // of the last that the capture saw
	silent          int  // sent, when it last changed its state by itself without a frame
	quiet           bool // silent is valid
	timeWait        int64
	resetInTimeWait bool
	vanished        int64 // when it went down, ns since 1970; 0 if it never was
}

func (e *end) observe(state tcp.State, at int64, why cause, spoke bool) {
	if state == e.state {
		return
	}
	if why == byItself && !spoke && e.state != tcp.Unknown && e.state != tcp.TimeWait {
		e.quiet, e.silent = true, e.sent
	}
	if state == tcp.TimeWait {
		e.timeWait = at
	}
	e.state = state
}

// got notes a frame that is about to reach this end.
func (e *end) got(f *frame, state tcp.State) {
	if f.segment.Flags.Any(tcp.RST) && state == tcp.TimeWait {
		e.resetInTimeWait = true
	}
}

// The reasons why the wire cannot tell. Each has a run that looks the same on the wire and ends in another state.
const (
	actedUnseen  = "it acted without a frame: it gave up, timed out or vanished"
	sentUnseen   = "what it sent was lost before the capture, and it has not sent it again"
	missedUnseen = "what it did not receive was lost behind the capture, and it has not yet shown that"
	notDue       = "it repeated what was then acknowledged, and is not yet due to repeat it again"
	stacksDiffer = "stacks differ: RST in TIME_WAIT"
	timeWaitEnd  = "TIME_WAIT ends about now"
)

// undecidable says why the wire cannot tell in which state host i is, and "" if it can.
func (w *world) undecidable(i int, at int64, got tcp.State) string {
	x := &w.hosts[i].end
	switch {
	case x.quiet && x.seen <= x.silent:
		return actedUnseen
	case x.resetInTimeWait && x.state == tcp.TimeWait && got == tcp.Closed:
		return stacksDiffer
	case x.timeWait != 0 && (x.state == tcp.TimeWait || x.state == tcp.Closed) && (got == tcp.TimeWait || got == tcp.Closed):
		if age := at - x.timeWait - int64(time.Minute); age > -int64(5*time.Second) && age < int64(5*time.Second) {
			return timeWaitEnd
		}
	}
	for _, f := range w.frames {
		switch {
		case f.from == i && f.segment.Packet == 0 && !w.repeated(f):
			return sentUnseen
		case f.from != i && f.fate == lost && !w.revealed(f):
			return missedUnseen
		}
	}
	if w.pending(i, at) {
		return notDue
	}
	return ""
}

// repeated reports whether the sender of f, which the capture did not see, has since sent what tells the same.
func (w *world) repeated(f *frame) bool {
	s := &f.segment
	for _, g := range w.frames[f.order:] {
		if g.from != f.from || g.segment.Packet == 0 {
			continue
		}
		switch t := &g.segment; {
		case t.Flags.Any(tcp.RST):
			return true
		case s.Flags.Any(tcp.RST):
			if t.Flags.Any(tcp.SYN) {
				return true
			}
		case s.Flags.Any(tcp.SYN | tcp.FIN):
			if !t.Seq.After(s.Seq) && t.End().AtOrAfter(s.End()) {
				return true
			}
		default:
			if t.Ack.AtOrAfter(s.Ack) {
				return true
			}
		}
	}
	return false
}

// revealed reports whether f, which was lost behind the capture, cannot have changed its receiver, or whether that has since
// shown that it did not receive it.
func (w *world) revealed(f *frame) bool {
	s := &f.segment
	reset := s.Flags.Any(tcp.RST)
	if !reset && !w.covers(f) {
		return true
	}
	for _, g := range w.frames[f.order:] {
		if g.from == f.from || g.segment.Packet == 0 || g.sent <= s.Time {
			continue
		}
		t := &g.segment
		switch {
		case reset && !t.Flags.Any(tcp.RST):
			return true
		case !reset && t.Seq.Before(s.Ack) && t.Seq != t.End():
			return true
		}
	}
	return false
}

// covers reports whether f acknowledges a SYN or FIN of its receiver that no frame before has.
func (w *world) covers(f *frame) bool {
	if !f.segment.Flags.Any(tcp.ACK) {
		return false
	}
	for _, g := range w.frames[:f.order-1] {
		t := &g.segment
		if g.from != f.from && t.Flags.Any(tcp.SYN|tcp.FIN) && f.segment.Ack.AtOrAfter(t.End()) && f.segment.Ack.Sub(t.End()) < 1<<20 {
			return true
		}
	}
	return false
}

// pending reports whether host i last repeated something after an acknowledgment of it had passed the capture, and has not
// been silent for as long as its timer takes.
func (w *world) pending(i int, at int64) bool {
	var last, before *frame
	for _, g := range w.frames {
		if g.from == i && g.segment.Packet != 0 && g.segment.Seq != g.segment.End() {
			last, before = g, last
		}
	}
	if before == nil {
		return false
	}
	acked := false
	for _, f := range w.frames {
		if f.from != i && f.segment.Packet != 0 && f.segment.Packet < last.segment.Packet && f.segment.Flags.Any(tcp.ACK) && f.segment.Ack.AtOrAfter(last.segment.End()) {
			acked = true
		}
	}
	gap := last.segment.Time - before.segment.Time
	return acked && at-last.segment.Time <= max(gap*9/4, int64(500*time.Millisecond))
}

// answerTime is how long an end may take to answer at most: a delayed ACK (RFC 9293 3.8.6.3) and the way there and back.
const answerTime = int64(2 * time.Second)

// justVanished reports whether host i is down and has not yet failed to answer what needs an answer: until then there is
// nothing that could tell.
func (w *world) justVanished(i int, at int64) bool {
	x := &w.hosts[i].end
	if x.vanished == 0 {
		return false
	}
	for _, f := range w.frames {
		switch s := &f.segment; {
		case f.from == i && f.sent > x.vanished && s.Packet != 0:
			return false
		case f.from != i && s.Packet != 0 && s.Time > x.vanished && s.Time < at-answerTime:
			return false
		}
	}
	return true
}

// unheard reports whether the last that host i sent was lost before the capture: until it sends more, there is no trace.
func (w *world) unheard(i int) bool { return w.hosts[i].end.seen < w.hosts[i].end.sent }
