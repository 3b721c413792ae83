package netsim

import (
	"slices"
	"time"

	"tcpleak/tcp"
)

// The reasons why the wire cannot tell. For each there is a run that looks the same to the capture and ends in another state.
const (
	actedUnseen  = "it acted without a frame: it gave up, timed out or vanished"
	sentUnseen   = "what it sent was lost before the capture, and it has not sent it again"
	whoseFIN     = "its first FIN was lost before the capture: whether that answered the peer's does not show"
	lostUnseen   = "what it did not receive was lost behind the capture, and it has not yet shown that"
	notDue       = "it repeated what was then acknowledged, and is not yet due to repeat it again"
	lateACK      = "an acknowledgment reached it only after it had repeated what that acknowledges"
	lateReset    = "a RST reached it only after it had shown that it had none"
	crossedReset = "what it sent last passed a RST to it on the way"
	whichSYN     = "its first SYN was lost before the capture: when it is due to repeat it does not show"
	sameTime     = "it sent a RST and something else within what captures reorder"
	timeWaitEnd  = "TIME_WAIT ends about now"

	dataRepeated  = "stacks differ: what comes again in TIME_WAIT begins it anew, or only a FIN does"
	resetIgnored  = "stacks differ: a RST in TIME_WAIT ends it, or not"
	resetTaken    = "stacks differ: a RST in the window that is not the next ends a connection, or is challenged"
	resetRepeated = "stacks differ: a RST with the number of the acknowledged FIN ends a connection, or not"
	ackIgnored    = "stacks differ: an acknowledgment in a segment that is not the next, or meets a closed window, counts, or not"
	synIgnored    = "stacks differ: a SYN-ACK that crossed a SYN-ACK completes the handshake, or not"

	tiredInTimeWait = "gVisor probes in TIME_WAIT, too, and gives up"
	wrongACK        = "gVisor ends a simultaneous open with an acknowledgment of something else"
	zeroReset       = "gVisor resets a connection without a sender with the number 0"
)

// reorderWindow is how far out of order a capture may show what one host sent.
const reorderWindow = int64(5 * time.Millisecond)

// undecidable says why the wire cannot tell that host i is in the state that it is in, and not in the state got; "" if it can.
func (w *world) undecidable(i int, at int64, got tcp.State) string {
	x := &w.hosts[i].end
	state := x.at(at)
	closed := state == tcp.Closed
	switch {
	case x.acted && w.mute(i):
		return actedUnseen
	case w.resetsNearby(i):
		return sameTime
	case closed && x.tired:
		return tiredInTimeWait
	case closed && x.resetAhead:
		return resetTaken
	case closed && w.resetByZero(i):
		return zeroReset
	case got == tcp.Closed && x.resetBehind:
		return resetRepeated
	case got == tcp.Closed && state == tcp.TimeWait && x.resetInTimeWait:
		return resetIgnored
	case closed && got == tcp.TimeWait && at-x.dataInTimeWait < int64(time.Minute):
		return dataRepeated
	case x.wrongACK:
		return wrongACK
	case x.timeWait != 0 && (closed || got == tcp.Closed) && abs(at-x.timeWait-int64(time.Minute)) < int64(5*time.Second):
		return timeWaitEnd
	}
	for _, f := range w.frames {
		switch {
		case f.from == i && !f.seen() && !w.toldAgain(f), closed && w.placesReset(f, i, true),
			got == tcp.Closed && (w.placesReset(f, i, false) || w.prolongs(f, i)):
			return sentUnseen
		case f.from != i && f.fate == lost && !w.missed(f):
			return lostUnseen
		}
	}
	switch {
	case w.notDue(i, at):
		return notDue
	case state == tcp.SynRcvd && got == tcp.Established && w.simultaneous():
		return synIgnored
	case w.acknowledgedOutOfOrder(i):
		return ackIgnored
	case w.acknowledgedLate(i):
		return lateACK
	case closed && w.resetLate(i):
		return lateReset
	case got == tcp.Closed && w.resetCrossed(i):
		return crossedReset
	case (state == tcp.SynSent || state == tcp.SynRcvd && got == tcp.Closed) && w.repeatedSYN(i):
		return whichSYN
	case w.firstFINUnseen(i):
		return whoseFIN
	}
	return ""
}

// traceless reports whether what happened to host i left no trace at all, so that not even a careful observer would doubt.
func (w *world) traceless(i int, at int64) bool {
	x := &w.hosts[i].end
	return x.tired || x.abandoned || x.wrongACK || w.justVanished(i, at) || w.unheard(i) || w.acknowledgedLate(i) || w.resetLate(i)
}

func abs(d int64) int64 { return max(d, -d) }

// after yields the frames of host i that the capture saw, sent after the frame with the given order.
func (w *world) after(order, i int) func(yield func(*frame) bool) {
	return func(yield func(*frame) bool) {
		for _, f := range w.frames[order:] {
			if f.from == i && f.seen() && !yield(f) {
				return
			}
		}
	}
}

// mute reports whether host i, since it acted without a frame, has sent nothing but RSTs without ACK: with these it answers
// what is not of its connection, whether it has one or not.
func (w *world) mute(i int) bool {
	x := &w.hosts[i].end
	for f := range w.after(x.actedAt, i) {
		if f.segment.Flags != tcp.RST || x.state != tcp.Closed {
			return false
		}
	}
	return true
}

// toldAgain reports whether f, which the capture did not see, says nothing about a state, or its sender has since sent what
// tells the same.
func (w *world) toldAgain(f *frame) bool {
	s := &f.segment
	if !s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST) && !w.covers(f, (*frame).seen) {
		return true
	}
	for g := range w.after(f.order, f.from) {
		t := &g.segment
		told := t.Flags.Any(tcp.RST)
		switch {
		case s.Flags.Any(tcp.RST):
			// One with another number answers an old segment, or is forged: that takes a memory of all acknowledgments to tell.
			told = told && t.Seq == s.Seq || t.Flags.Any(tcp.SYN)
		case s.Flags.Any(tcp.SYN | tcp.FIN):
			told = told || !t.Seq.After(s.Seq) && t.End().AtOrAfter(s.End())
		default:
			told = told || t.Ack.AtOrAfter(s.Ack)
		}
		if told {
			return true
		}
	}
	return false
}

// placesReset reports whether f is an acknowledgment by host i that was lost before the capture, and the only one that shows
// that a RST to i was exactly the next (RFC 5961 3.2), or lay before that.
func (w *world) placesReset(f *frame, i int, exact bool) bool {
	if f.from != i || f.seen() || !f.segment.Flags.Any(tcp.ACK) {
		return false
	}
	acked := false
	for g := range w.after(0, i) {
		acked = acked || g.segment.Flags.Any(tcp.ACK) && g.segment.Ack == f.segment.Ack
	}
	for g := range w.after(0, 1-i) {
		seq, next := g.segment.Seq, f.segment.Ack
		if !acked && g.segment.Flags.Any(tcp.RST) && (exact && seq == next || !exact && seq.Before(next) && f.sent <= g.arrival) {
			return true
		}
	}
	return false
}

// prolongs reports whether f was lost before the capture, and is all that shows that host i began TIME_WAIT anew: it answered
// a FIN that came again, and might as well not have received it.
func (w *world) prolongs(f *frame, i int) bool {
	x := &w.hosts[i].end
	if f.from != i || f.seen() || x.state != tcp.TimeWait || f.sent != x.timeWait {
		return false
	}
	for range w.after(f.order, i) {
		return false
	}
	return true
}

// missed reports whether f, which was lost behind the capture, made no difference to its receiver, or that has since sent
// what shows that it did not receive it: later than f could have come, had it only been slow.
func (w *world) missed(f *frame) bool {
	s := &f.segment
	reset := s.Flags.Any(tcp.RST)
	if !reset && !w.covers(f, w.processed) {
		return true
	}
	slow := w.slow(1 - f.from)
	for g := range w.after(f.order, 1-f.from) {
		t := &g.segment
		if g.sent > s.Time+slow && (reset && !t.Flags.Any(tcp.RST) || !reset && t.Seq.Before(s.Ack) && t.Seq != t.End()) {
			return true
		}
	}
	return false
}

// processed reports whether f has reached its receiver, and is neither a keep-alive nor crossed: those are answered, but their
// ACK is not looked at, as they lie before the window (RFC 9293 3.10.7.4).
func (w *world) processed(f *frame) bool {
	return f.delivered() && !f.crossed && (f.segment.Seq != f.segment.End() || !w.needsAnswer(f))
}

// unknownRoundTrip is what may be presumed at least where there has been no handshake to tell the round trip.
const unknownRoundTrip = int64(50 * time.Millisecond)

// slow returns how long after something has passed the capture host i may still send what ignores it: on its way there and
// back it could have been as slow as the slowest was.
func (w *world) slow(i int) int64 {
	if w.handshakeUnseen() {
		return int64(time.Second) // the capture cannot tell the round trip
	}
	slowest := int64(w.paths[1-i].after)
	for f := range w.after(0, 1-i) {
		if f.delivered() {
			slowest = max(slowest, f.arrival-f.segment.Time)
		}
	}
	slow := 2*(slowest+int64(w.paths[i].before)) + int64(5*time.Millisecond)
	if w.hosts[i].end.state == tcp.SynSent {
		return max(slow, unknownRoundTrip)
	}
	return slow
}

// resetCrossed reports whether the last that host i sent passed the capture so soon after a RST to it that it may have been
// sent before that came.
func (w *world) resetCrossed(i int) bool {
	var last *frame
	for f := range w.after(0, i) {
		last = f
	}
	for f := range w.after(0, 1-i) {
		if last != nil && f.segment.Flags.Any(tcp.RST) && abs(last.segment.Time-f.segment.Time) <= w.slow(i) {
			return true
		}
	}
	return false
}

// repeatedSYN reports whether the first transmissions of host i's SYN were lost before the capture: the next then comes
// later than after a first one.
func (w *world) repeatedSYN(i int) bool {
	x := &w.hosts[i].end
	return x.flags.Any(tcp.SYN) && slices.ContainsFunc(w.frames, func(f *frame) bool {
		return f.from == i && !f.seen() && f.segment.Flags == tcp.SYN && f.segment.End() == x.synEnd
	})
}

// covers reports whether f acknowledges a SYN or FIN of its receiver that no frame before it has acknowledged, of those that
// count.
func (w *world) covers(f *frame, counts func(*frame) bool) bool {
	const window = 1 << 20
	acks := func(g *frame, end tcp.Seq) bool {
		s := &g.segment
		return g.from == f.from && s.Flags&(tcp.ACK|tcp.RST) == tcp.ACK && s.Ack.AtOrAfter(end) && s.Ack.Sub(end) < window
	}
	before, opened, iss := w.frames[:f.order-1], 0, tcp.Seq(0)
	for _, g := range before {
		if g.from == f.from && g.segment.Flags.Any(tcp.SYN) && g.segment.Seq != iss {
			opened, iss = g.order, g.segment.Seq // what acknowledged before was another connection
		}
	}
	return slices.ContainsFunc(before, func(g *frame) bool {
		end := g.segment.End()
		return g.from != f.from && g.segment.Flags.Any(tcp.SYN|tcp.FIN) && acks(f, end) &&
			!slices.ContainsFunc(before, func(h *frame) bool { return h.order >= opened && acks(h, end) && counts(h) })
	})
}

// handshakeUnseen reports whether a SYN or its acknowledgment was lost before the capture, which then cannot tell the round
// trip.
func (w *world) handshakeUnseen() bool {
	var ends [2]tcp.Seq
	for _, f := range w.frames {
		s := &f.segment
		if s.Flags.Any(tcp.SYN) {
			ends[f.from] = s.End()
		}
		if !f.seen() && (s.Flags.Any(tcp.SYN) || s.Flags.Any(tcp.ACK) && s.Ack == ends[1-f.from]) {
			return true
		}
	}
	return false
}

// notDue reports whether host i repeated something although an acknowledgment of it had passed the capture, another one has
// passed since, and the host has not been silent for as long as its timer takes: it may have had the second, or not.
func (w *world) notDue(i int, at int64) bool {
	var last, before *tcp.Segment
	for f := range w.after(0, i) {
		if f.segment.Seq != f.segment.End() {
			last, before = &f.segment, last
		}
	}
	if before == nil || at-last.Time > max((last.Time-before.Time)*9/4, int64(500*time.Millisecond)) {
		return false
	}
	var first, again bool
	for f := range w.after(0, 1-i) {
		if s := &f.segment; s.Flags.Any(tcp.ACK) && s.Ack.AtOrAfter(last.End()) {
			first, again = first || s.Packet < last.Packet, again || s.Packet > last.Packet
		}
	}
	return first && again
}

// acknowledgedLate reports whether host i has had an acknowledgment after it had repeated what that acknowledges: nothing
// tells it from one that was lost.
func (w *world) acknowledgedLate(i int) bool {
	for f := range w.after(0, 1-i) {
		if !f.delivered() || !w.covers(f, func(g *frame) bool { return w.processed(g) && g.arrival < f.arrival }) {
			continue
		}
		for g := range w.after(0, i) {
			if g.sent <= f.arrival && g.segment.Time > f.segment.Time && g.segment.Seq.Before(f.segment.Ack) && g.segment.End() == f.segment.Ack {
				return true
			}
		}
	}
	return false
}

// resetLate reports whether a RST reached host i after that had sent what it does not send after a RST.
func (w *world) resetLate(i int) bool {
	for f := range w.after(0, 1-i) {
		if !f.delivered() || !f.segment.Flags.Any(tcp.RST) {
			continue
		}
		for g := range w.after(0, i) {
			if g.sent <= f.arrival && g.segment.Time > f.segment.Time && !g.segment.Flags.Any(tcp.RST) {
				return true
			}
		}
	}
	return false
}

// resetsNearby reports whether host i last sent a RST and then, within the reorderWindow, something else.
func (w *world) resetsNearby(i int) bool {
	var reset, other int64
	for f := range w.after(0, i) {
		if f.segment.Flags.Any(tcp.RST) {
			reset = f.segment.Time
		} else {
			other = f.segment.Time
		}
	}
	return reset != 0 && other >= reset && other-reset <= reorderWindow
}

// resetByZero reports whether the last that host i sent was a RST with the number 0 that acknowledges nothing.
func (w *world) resetByZero(i int) bool {
	last := w.hosts[i].end.sent
	if last == 0 {
		return false
	}
	s := &w.frames[last-1].segment
	return s.Flags.Any(tcp.RST) && s.Seq == 0 && s.Ack == 0
}

// simultaneous reports whether both ends sent SYNs without ACK.
func (w *world) simultaneous() bool {
	var bare [2]bool
	for _, f := range w.frames {
		if f.segment.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN {
			bare[f.from] = true
		}
	}
	return bare[0] && bare[1]
}

// acknowledgedOutOfOrder reports whether all that acknowledged the last FIN of host i came in segments that were not the
// next, or met a closed window. Linux takes such an acknowledgment, gVisor only what it carries.
func (w *world) acknowledgedOutOfOrder(i int) bool {
	var fin *frame
	for _, f := range w.frames {
		if f.from == i && f.segment.Flags.Any(tcp.FIN) && (fin == nil || f.segment.End() != fin.segment.End()) {
			fin = f // the first of its transmissions: an acknowledgment may pass the others on the way
		}
	}
	if fin == nil {
		return false
	}
	out := false
	for f := range w.after(fin.order, 1-i) {
		if !f.delivered() || !f.segment.Ack.AtOrAfter(fin.segment.End()) {
			continue
		}
		if f.inOrder {
			return false
		}
		out = true
	}
	return out
}

// firstFINUnseen reports whether the first transmission of host i's FIN was lost before the capture, and the host sent
// nothing beyond it before it had its peer's FIN.
func (w *world) firstFINUnseen(i int) bool {
	var fins [2]*frame
	var iss tcp.Seq
	for _, f := range w.frames {
		if f.from == i && f.segment.Flags.Any(tcp.SYN) && f.segment.Seq != iss {
			fins, iss = [2]*frame{}, f.segment.Seq
		}
		if f.segment.Flags.Any(tcp.FIN) && fins[f.from] == nil {
			fins[f.from] = f
		}
	}
	own, peer := fins[i], fins[1-i]
	if own == nil || own.seen() || peer == nil {
		return false
	}
	for f := range w.after(own.order, i) {
		if f.segment.Seq.After(own.segment.Seq) && !f.segment.Ack.AtOrAfter(peer.segment.End()) {
			return false
		}
	}
	return true
}

// answerTime is how long an end may take to answer at most: a delayed ACK (RFC 9293 3.8.6.3) and the way there and back.
const answerTime = int64(2 * time.Second)

// justVanished reports whether host i went down and has since neither been heard, nor failed to answer what needs an answer.
func (w *world) justVanished(i int, at int64) bool {
	x := &w.hosts[i].end
	if x.vanished == 0 {
		return false
	}
	last := x.vanished
	for f := range w.after(0, i) {
		if f.sent > x.vanished {
			return false
		}
		last = max(last, f.segment.Time) // what was on its way looks like an answer
	}
	for _, f := range w.frames {
		switch s := &f.segment; {
		case !f.seen():
		case f.from != i && s.Time > last && s.Time < at-answerTime && w.needsAnswer(f):
			return false
		}
	}
	return true
}

// needsAnswer reports whether f occupies sequence numbers, or repeats one as a probe does.
func (w *world) needsAnswer(f *frame) bool {
	s := &f.segment
	if s.Seq != s.End() {
		return true
	}
	for _, g := range w.frames[:f.order-1] {
		if g.from == f.from && g.segment.End()-1 == s.Seq {
			return true
		}
	}
	return false
}

// unheard reports whether something that host i sent was lost before the capture, and nothing since shows that.
func (w *world) unheard(i int) bool {
	for _, f := range w.frames {
		if f.from == i && !f.seen() && !w.shows(f) {
			return true
		}
	}
	return false
}

// shows reports whether the capture later saw of f's sender what shows that there was f.
func (w *world) shows(f *frame) bool {
	for g := range w.after(f.order, f.from) {
		if reveals(&g.segment, &f.segment) {
			return true
		}
	}
	return false
}

// reveals reports whether t, sent later than s by the same host, is s again or would not have been sent without s.
func reveals(t, s *tcp.Segment) bool {
	if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN {
		return t.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN // what follows could as well follow a SYN-ACK
	}
	opens := s.Flags.Any(tcp.RST|tcp.SYN) && t.Flags.Any(tcp.RST|tcp.SYN)
	acks := s.Seq == s.End() && !s.Flags.Any(tcp.RST) && t.Ack.AtOrAfter(s.Ack)
	repeats := s.Seq != s.End() && t.Seq == s.Seq && t.End() == s.End()
	return opens || acks || repeats || t.Seq.After(s.Seq)
}
