package tracker

import (
	"time"

	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// facts is what is true of an endpoint X and its peer Y, in the words of the table in stateOf.
type facts uint8

const (
	synSent       facts = 1 << iota // X has sent its SYN
	synAcked                        // X has received the acknowledgment of its SYN
	ackedSYN                        // X has acknowledged Y's SYN
	finSent                         // X has sent its FIN
	finAcked                        // X has received the acknowledgment of its FIN
	ackedFIN                        // X has acknowledged Y's FIN
	ackedFINFirst                   // X had acknowledged Y's FIN when it first sent its own
	allFacts      = 1<<iota - 1
)

func (f facts) has(mask facts) bool { return f&mask == mask }

func (f *facts) set(bit facts, is bool) {
	if is {
		*f |= bit
	}
}

// stateOf is RFC 9293 3.3.2, figure 5, read backwards: from what an endpoint has sent and received to the state in which
// that leaves it. Resets, reuse and the clock are not in it: they end a connection from outside.
func stateOf(f facts) tcp.State {
	switch {
	case !f.has(synSent):
		return tcp.Unknown
	case !f.has(ackedSYN):
		return tcp.SynSent
	case !f.has(synAcked) && !f.has(finSent):
		return tcp.SynRcvd
	case !f.has(finSent) && !f.has(ackedFIN):
		return tcp.Established
	case !f.has(finSent):
		return tcp.CloseWait
	case !f.has(finAcked) && !f.has(ackedFIN):
		return tcp.FinWait1
	case !f.has(finAcked) && f.has(ackedFINFirst):
		return tcp.LastAck
	case !f.has(finAcked):
		return tcp.Closing
	case !f.has(ackedFIN):
		return tcp.FinWait2
	case f.has(ackedFINFirst):
		return tcp.Closed
	default:
		return tcp.TimeWait
	}
}

// decided reports whether the state stays the same when any one of the doubted facts is otherwise.
func decided(f, doubts facts) bool {
	state := stateOf(f)
	for bit := facts(1); bit < allFacts; bit <<= 1 {
		if doubts&bit != 0 && stateOf(f^bit) != state {
			return false
		}
	}
	return true
}

// moment is one endpoint X, seen at one time.
type moment struct {
	x, y     *reassembly.Direction
	clock    *clock
	crossing int64 // ns: how long what X sends may still ignore what passed the capture on its way to X
}

const (
	// minPresumedLost is the least silence after a disputed ACK that lets it count as delivered: Linux repeats a FIN
	// or a SYN-ACK after no less than 200 ms (TCP_RTO_MIN) and then doubles; twice that and a margin.
	minPresumedLost = int64(500 * time.Millisecond)
	// delayedACK is how long a healthy peer may take to acknowledge: 200 ms in Linux, at most 500 ms by RFC 9293 3.8.6.3.
	delayedACK = int64(500 * time.Millisecond)
	// synRepeats is when the SYN of an attempt has been repeated: 1 s by RFC 6298 2.1, 3 s in older stacks.
	synRepeats = int64(3500 * time.Millisecond)
	// deferredAfter is when a handshake's ACK is too late to have kept X from repeating its SYN-ACK for the first time.
	deferredAfter = int64(time.Second)
	// unknownAnswer stands in where no handshake tells the round trip.
	unknownAnswer = int64(32 * time.Millisecond)
	minCrossing   = int64(2 * time.Millisecond)
	maxCrossing   = int64(time.Second)
	// reorder is how far timestamps of segments of one sender may be out of order.
	reorder = int64(5 * time.Millisecond)
	// disorder is how far a capture may be out of order at worst: whoever goes on for longer after a RST did not send it.
	disorder = int64(time.Second)
)

// collect returns what is true of X, and which of it could be otherwise: because a segment is in flight, because the
// evidence is disputed, or because what must follow has not been seen to follow.
func (m moment) collect() (f, doubts facts) {
	x, y := m.x, m.y
	// A segment with neither SYN nor ACK belongs to no state (RFC 9293 3.10.7.4, fifth): it shows no connection.
	f.set(synSent, x.HasSYN() || x.Has&reassembly.ACK != 0 || y.Has&reassembly.ACK != 0)
	f.set(ackedSYN, m.ackedSYN())
	acked, sure := m.synAcked()
	f.set(synAcked, acked)
	if !sure {
		doubts |= synAcked
	}

	if x.HasFIN() {
		f |= finSent
		acked, sure := m.finAcked()
		f.set(finAcked, acked)
		if !sure {
			doubts |= finAcked
		}
	} else if f.has(synAcked) && (x.Outstanding(y) || m.repeatsAcked() || y.Window == 0) {
		// A FIN waits behind data that the peer's window or the network holds up: the socket is in FIN_WAIT_1 before
		// the wire shows it.
		doubts |= finSent
	}

	switch {
	case x.Packets == 0 || y.Packets == 0:
		f |= m.oneSided()
	case y.HasFIN():
		f.set(ackedFIN, x.Acks(y.Fin+1))
		if !f.has(ackedFIN) {
			doubts |= ackedFIN
		}
		if x.HasFIN() {
			f.set(ackedFINFirst, x.AckWithFIN() == y.Fin+1)
			// Without an ACK of its own before the FIN, a retransmission of the FIN after its first transmission was
			// missed looks the same as an answer to the peer's FIN. And X may have closed before, if the FIN had to wait.
			if f.has(ackedFINFirst) && (x.Has&(reassembly.FINBehind|reassembly.FINQueued) != 0 || x.AckReached.Packet() == x.FinSent.Packet()) {
				doubts |= ackedFINFirst
			}
		}
	}
	return f, doubts
}

// oneSided guesses the FINs of a connection of which only one end was captured. A FIN that is not repeated has arrived.
func (m moment) oneSided() (f facts) {
	x, y := m.x, m.y
	if y.Packets == 0 {
		f.set(ackedFIN, x.AcksUnseenFIN())
		f.set(ackedFINFirst, x.Ack == x.FinAck)
		return f
	}
	f.set(finSent|finAcked, y.AcksUnseenFIN())
	f.set(ackedFIN, y.FINs == 1)
	f.set(ackedFINFirst, y.Ack.After(y.FinAck))
	return f
}

// ackedSYN needs no numbers: an ACK that does not cover the peer's SYN belongs to another connection.
func (m moment) ackedSYN() bool {
	if m.x.Packets == 0 {
		return m.y.Has&reassembly.ACK != 0 // not captured: Y could not acknowledge what X had not sent
	}
	return m.x.Has&reassembly.ACK != 0 || !m.x.HasSYN() && !m.y.HasSYN()
}

// synAcked reports whether X has received an ACK of its SYN, and whether that is beyond doubt.
func (m moment) synAcked() (is, sure bool) {
	x, y := m.x, m.y
	switch {
	case y.Packets == 0:
		return x.Has&reassembly.Plain != 0, false
	case !x.HasSYN():
		return true, false
	case !y.FirstAck.Seen() && !m.provesSYN():
		if x.Has&reassembly.BareSYN != 0 {
			return false, m.keepsRepeating(x.SYNs-1, x.SynLast) // the SYN-ACK of a simultaneous open repeats no SYN-ACK
		}
		return false, m.keepsRepeating(x.SYNs, x.SynLast)
	case m.provesSYN():
		return true, y.FirstAck.Seen()
	case x.Has&reassembly.BareSYN != 0 && (x.Has&reassembly.SYNACK == 0 || x.FirstPlain.Time > x.SynLast):
		return true, false // it opened at the same time as Y, and goes on without the SYN-ACK of SYN_RCVD, or without SYN since
	}
	if m.deferred() {
		return true, false
	}
	return m.delivered(y.FirstAck, x.SynLast)
}

// deferred reports whether X has repeated its SYN-ACK once, so late that it must have received the first ACK: Linux with
// TCP_DEFER_ACCEPT takes it, keeps waiting for data, and asks once more in the end. The answer then opens the connection.
func (m moment) deferred() bool {
	x, y := m.x, m.y
	return x.SYNs == 2 && x.SynLast-x.Syn.Time > synRepeats && y.FirstAck.Time < x.Syn.Time+deferredAfter && y.Last.Time > x.SynLast
}

// provesSYN reports whether X showed that it has received an ACK of its SYN.
func (m moment) provesSYN() bool {
	x, y := m.x, m.y
	simultaneous := x.Has&reassembly.SYNACK != 0 || y.Has&reassembly.BareSYN != 0
	if x.Has&reassembly.Plain != 0 && !simultaneous && x.FirstPlain.Time >= y.Syn.Time {
		return true // an active opener that goes on without SYN has had the SYN-ACK, if that is what it answers
	}
	if !y.HasSYN() {
		return false
	}
	if x.Has&reassembly.BeyondSYN != 0 || x.Acks(y.SynEnd+1) {
		return true // only what follows the SYN can carry more, and it carries the ACK
	}
	if x.Has&reassembly.TimestampEcho != 0 && y.Has&reassembly.SynTimestamp != 0 && int32(x.TSEcr-y.SynTSVal) > 0 {
		return true
	}
	// A server speaks before the handshake is complete only with Fast Open (RFC 7413 3).
	return y.Has&reassembly.SynPayload == 0 && x.Payload > 0
}

// finAcked reports whether X has received the ACK of its FIN, and whether that is beyond doubt.
func (m moment) finAcked() (is, sure bool) {
	x, y := m.x, m.y
	switch {
	case y.Packets == 0:
		return x.FINs == 1, false // not captured: repeated is not acknowledged
	case !y.Acks(x.Fin + 1):
		return false, m.keepsRepeating(x.FINs, x.SentLast)
	case m.provesACK():
		return true, true
	}
	return m.delivered(y.AckReached, x.SentLast)
}

// repeatsAcked reports whether X sent again what Y had acknowledged: the ACK had not arrived.
func (m moment) repeatsAcked() bool {
	return m.x.SentLast > m.y.AckReached.Time+m.crossing && !m.provesACK()
}

// provesACK reports whether X showed that it has received Y's highest acknowledgment: it acknowledged, or echoed the
// timestamp of, something that only a segment with that acknowledgment carried.
func (m moment) provesACK() bool {
	x, y := m.x, m.y
	if y.Has&reassembly.Below == 0 {
		return false
	}
	if x.Acks(y.SeqBelow+1) || x.Has&reassembly.Sacked != 0 && x.SACKed.After(y.SeqBelow) {
		return true
	}
	// An echo between the two may be of a segment that the capture missed.
	return x.Has&reassembly.TimestampEcho != 0 && y.Has&reassembly.TSBelow != 0 &&
		int32(x.TSEcr-y.TSBelow) > 0 && int32(x.TSEcr-y.TSReached) >= 0
}

// delivered judges an acknowledgment that first passed the capture at covered, of what X last sent at sent. It is presumed
// delivered, but not if X sent again what it acknowledges; then only when X stays silent where its timer would have run
// out twice.
func (m moment) delivered(covered reassembly.Mark, sent int64) (is, sure bool) {
	if sent <= covered.Time+m.crossing {
		return true, false
	}
	if m.y.Last.Time+m.crossing < sent {
		return false, m.keepsRepeating(2, sent)
	}
	return m.clock.past(sent, m.patience()), false
}

// patience is the silence after a retransmission that shows that it was the last: twice the last interval, as timers
// double (RFC 6298 5.5), and a margin.
func (m moment) patience() int64 { return max(m.x.Gap*9/4, minPresumedLost) }

// keepsRepeating reports whether X has shown by repeating that it is not acknowledged, and is not yet due to repeat again.
func (m moment) keepsRepeating(times uint16, last int64) bool {
	return times > 1 && !m.clock.past(last, m.x.Gap)
}

// silent reports whether X owes an answer: Y repeats something, or probes, and X does not react.
func (m moment) silent() bool {
	x, y := m.x, m.y
	if x.Last.Time < y.ProbeLast && (y.Probes > 1 || m.clock.past(y.ProbeLast, delayedACK)) {
		return true
	}
	// X gives up without a packet when no answer to its probes arrives.
	if x.Probes > 0 && x.Last.Time <= x.ProbeLast && m.clock.past(x.ProbeLast, delayedACK) {
		return true
	}
	if (y.Outstanding(x) || x.Last.Time < y.SentLast) && m.clock.past(y.SentLast, delayedACK+m.crossing) {
		return true
	}
	// Y may go on with something else before it repeats what X has not answered.
	if x.Last.Time < y.Asked.Time && m.clock.past(y.Asked.Time, delayedACK+m.crossing) {
		return true
	}
	// What X has acknowledged it acknowledges again when it comes again: Y has repeated it twice, or more.
	again := y.SentLast
	if !y.Outstanding(x) {
		again -= y.Gap
	}
	return y.Gap > 0 && again > x.Last.Time+m.crossing
}

// stillLeft reports whether X has left the connection as l says, and nothing speaks against it: that X goes on, or that Y
// challenges the SYN (RFC 5961 4.2) and X neither answers with a RST nor repeats the SYN, as the SYN's own sender would.
func (m moment) stillLeft(l leaving) bool {
	if !l.at.Seen() || m.x.Last.Time > l.at.Time+reorder {
		return false
	}
	return !l.proven || l.repeated || !m.clock.past(l.at.Time, synRepeats-1) || m.y.Last.Time <= l.at.Time || m.x.ResetLast.Time >= m.y.Last.Time
}

// endedBySelf returns the RST by which X left the connection.
func (m moment) endedBySelf() (reassembly.Reset, bool) {
	x := m.x
	wasLast := x.ResetLast.Stamped && int32(x.ResetLast.TSVal-x.TSVal) > 0 // whatever the capture's clock says
	if !x.ResetLast.Seen() || x.Last.Time > x.ResetLast.Time+reorder && !wasLast {
		return reassembly.Reset{}, false
	}
	if x.Last.Time <= x.ResetFirst.Time+reorder && m.genuine(x.ResetFirst) {
		return x.ResetFirst, true
	}
	return x.ResetLast, m.genuine(x.ResetLast)
}

// genuine reports whether r can be X's own: X resets at its own position, or where the segment that it answers says. A
// number beyond is a guess by a third party, or the capture has missed what X sent before; then Y does not object.
func (m moment) genuine(r reassembly.Reset) bool {
	x, y := m.x, m.y
	switch {
	case x.Has&reassembly.Started == 0 || r.Seq == x.Next || y.Has&reassembly.ACK != 0 && r.Seq == y.Ack:
		return true
	case r.Seq == 0 && r.Flags().Any(tcp.ACK) && y.HasSYN() && r.Ack == y.SynEnd:
		return true // the answer to a SYN where there is no connection (any more)
	case !r.Flags().Any(tcp.ACK) && y.Has&reassembly.ACK != 0 && (r.Seq == y.Ack-tcp.Seq(y.AckStep) || y.HasFIN() && r.Seq == y.FinAck):
		return true // the answer, where there is no connection any more, to a segment of Y that was late (RFC 9293 3.10.7.1)
	case r.Stamped:
		return true // of a sender that the peer's window holds back, or whose data the capture missed
	case r.Seq == 0 && r.Flags().Any(tcp.ACK):
		return false // it answers a segment without ACK that nobody sent
	case r.Seq.After(x.Next):
		return y.Last.Time <= r.Time && !(y.Has&reassembly.ACK != 0 && r.Seq.After(y.WindowEnd(x)))
	}
	return false
}

// endedByPeer returns the RST of Y that X, otherwise in the given state, accepts; odd is set if Y sent RSTs and X may not
// have accepted any of them.
func (m moment) endedByPeer(state tcp.State) (r reassembly.Reset, ended, odd bool) {
	// Two RSTs that answer two segments may be equal, and count once: then X may have sent what the second answers.
	crossing := max(m.crossing, duplicateWindow)
	for _, r := range [...]reassembly.Reset{m.y.ResetFirst, m.y.ResetLast} {
		if !r.Seen() || m.x.Last.Time > r.Time+crossing {
			continue
		}
		if m.accepts(r, state) {
			return r, true, false
		}
		odd = true
	}
	return r, false, odd
}

// accepts applies RFC 5961 3.2 and RFC 9293 3.10.7.3 to a RST from Y.
func (m moment) accepts(r reassembly.Reset, state tcp.State) bool {
	x, y := m.x, m.y
	if !m.ackedSYN() {
		return r.Flags().Any(tcp.ACK) && r.Ack.After(x.ISS) && !r.Ack.After(x.SynEnd)
	}
	if x.Has&reassembly.ACK == 0 {
		return x.Packets == 0 || r.Seq == y.Next
	}
	// Exact once X has what is in flight before it: but not if X has shown, by a segment or by silence later than it
	// could have arrived, that it does not have it. Then the RST is challenged, or the challenge too is lost or suppressed.
	// What X's window does not admit it drops (RFC 9293 3.10.7.4).
	inFlight := x.Last.Time <= y.SentLast+m.crossing && r.Time <= y.SentLast+delayedACK && !y.Next.After(x.WindowEnd(y))
	if r.Seq == y.Next && inFlight && !x.Ack.After(y.Next) {
		return true
	}
	// An orphan in FIN_WAIT_2 is a time-wait socket in Linux, and those take any RST in the window
	// (tcp_timewait_state_process); a socket that a process still holds would answer with a challenge ACK.
	silent := x.Last.Time+minCrossing < r.Time
	if state == tcp.FinWait2 && silent && r.Seq.AtOrAfter(x.Ack) && !r.Seq.After(x.WindowEnd(y)) {
		return true
	}
	// Linux also takes the end of the highest range that it has acknowledged selectively (tcp_validate_incoming) and the
	// number of the FIN that it has acknowledged (tcp_reset_check).
	return r.Seq == x.Ack || x.Has&reassembly.Sacked != 0 && r.Seq == x.SACKed || y.HasFIN() && x.Acks(y.Fin+1) && r.Seq == y.Fin
}
