package tracker

import (
	"strconv"
	"strings"
	"time"

	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// conclusion is what follows about one endpoint.
type conclusion struct {
	state     tcp.State
	certainty Certainty
	since     int64
	atLeast   bool
	why       why
	reset     bool // it ended by a RST
}

// reason names the rule behind a conclusion; with the packets it makes the sentence.
type reason uint8

const (
	becauseNothing reason = iota
	becauseListener
	becauseMidstream
	becauseUnseen
	becauseOneSided
	becauseSYN
	becauseGaveUp
	becauseSYNACK
	becauseSYNACKAgain
	becauseOwnACK
	becausePeerACK
	becauseAckedFIN
	becauseFIN
	becauseFINAgain
	becauseFINAcked
	becauseCrossed
	becauseAnswered
	becauseBothClosed
	becauseLastAcked
	becauseTimedOut
	becauseOwnRST
	becauseRefused
	becausePeerRST
	becauseNewSYN
	becauseNewOther
	becauseForged
	becauseOldSYN
	becauseStray
)

// why is a reason with its evidence.
type why struct {
	reason reason
	packet uint64
}

var sentences = [...]string{
	becauseNothing:     "it sent nothing",
	becauseListener:    "it answered other connections to this port, and has not answered this SYN",
	becauseMidstream:   "the connection was open when it was first seen, in packet %d",
	becauseUnseen:      "not captured; inferred from what the peer sent up to packet %d",
	becauseOneSided:    "inferred from what it sent up to packet %d; the peer was not captured",
	becauseSYN:         "its SYN in packet %d has not been answered by a SYN-ACK that it acknowledged",
	becauseGaveUp:      "it has long ceased to repeat its SYN, first sent in packet %d: it gave up",
	becauseSYNACK:      "its SYN in packet %d has not been acknowledged",
	becauseSYNACKAgain: "it repeated its SYN, first sent in packet %d, after the ACK had passed: the ACK has not taken effect",
	becauseOwnACK:      "it acknowledged the peer's SYN in packet %d",
	becausePeerACK:     "packet %d acknowledged its SYN",
	becauseAckedFIN:    "it acknowledged the peer's FIN in packet %d and has not sent its own",
	becauseFIN:         "its FIN in packet %d has not been acknowledged",
	becauseFINAgain:    "it repeated its FIN, first sent in packet %d, after the ACK had passed: the ACK did not arrive",
	becauseFINAcked:    "packet %d acknowledged its FIN; the peer has not sent one that it acknowledged",
	becauseCrossed:     "its FIN in packet %d crossed the peer's, and has not been acknowledged",
	becauseAnswered:    "its FIN in packet %d answered the peer's, and has not been acknowledged",
	becauseBothClosed:  "both FINs are acknowledged, the last in packet %d, and it closed first",
	becauseLastAcked:   "packet %d acknowledged its FIN, which answered the peer's",
	becauseTimedOut:    "both FINs are acknowledged, the last in packet %d, and TIME_WAIT has passed",
	becauseOwnRST:      "it sent a RST in packet %d",
	becauseRefused:     "it answered the SYN with a RST in packet %d",
	becausePeerRST:     "it must have taken the peer's RST in packet %d",
	becauseNewSYN:      "it opened a new connection with the same addresses and ports in packet %d",
	becauseNewOther:    "packet %d belongs to a new connection with the same addresses and ports",
	becauseForged:      "the SYN in packet %d is hardly its own: it ignored the answer, and lives on in an older connection",
	becauseStray:       "what it sent, up to packet %d, has neither SYN nor ACK and belongs to no connection",
	becauseOldSYN:      "packet %d answers the SYN of its older connection, which came again: it has not opened another",
}

// appendTo appends the sentence, without a full stop.
func (w why) appendTo(b []byte) []byte {
	sentence := sentences[w.reason]
	if w.packet == 0 {
		sentence = sentences[becauseNothing]
	}
	before, after, found := strings.Cut(sentence, "%d")
	if b = append(b, before...); found {
		b = append(strconv.AppendUint(b, w.packet, 10), after...)
	}
	return b
}

// conclude says in which state the endpoint of direction dir is at a moment.
func (p *part) conclude(c *conn, dir int, at *clock) conclusion {
	m := moment{x: &c.dirs[dir], y: &c.dirs[1-dir], clock: at, crossing: c.crossing(dir)}
	v, sure := p.judge(c, dir, m)
	switch {
	case v.state == tcp.Unknown || m.x.Packets == 0 && v.state != tcp.Listen || !c.openingSeen():
		v.certainty = Assumed
	case sure && !p.doubtful(c, dir, m, v.state):
		v.certainty = Confirmed
	default:
		v.certainty = Presumed
	}
	return v
}

// doubtful reports whether the capture may have missed what would change X's state, or X may be gone without a word.
func (p *part) doubtful(c *conn, dir int, m moment, state tcp.State) bool {
	x, y := m.x, m.y
	_, _, odd := m.endedByPeer(state)
	_, ended := m.endedBySelf()
	odd = odd || !ended && x.ResetLast.Seen() && x.Last.Time < x.ResetLast.Time+disorder
	forged := c.left[dir].at.Time > x.Last.Time && !m.stillLeft(c.left[dir])
	// Y has tried to open another with the same addresses and ports, which X should have answered.
	again := c.left[1-dir]
	unanswered := again.asked != 0 && (again.repeated || x.Last.Time <= again.asked && m.clock.past(again.asked, delayedACK+m.crossing))
	return p.dropped || odd || unanswered || forged || !x.HasSYN() || !y.HasSYN() || x.Doubtful(y) || y.Doubtful(x) || m.silent()
}

// judge returns the state with its reason, and whether it is beyond doubt for a capture that missed nothing.
func (p *part) judge(c *conn, dir int, m moment) (v conclusion, sure bool) {
	x, y := m.x, m.y
	if left := c.left[dir]; m.stillLeft(left) {
		why := why{becauseNewOther, left.at.Packet()}
		if left.proven {
			why.reason = becauseNewSYN
		}
		return conclusion{state: tcp.Closed, since: left.at.Time, why: why}, left.proven && left.repeated // or somebody forged it
	}
	if r, ended := m.endedBySelf(); ended {
		v := conclusion{state: tcp.Closed, since: r.Time, why: why{becauseOwnRST, r.Packet()}, reset: true}
		if x.Has&reassembly.Started == 0 && y.HasSYN() {
			v.why.reason = becauseRefused // a firewall on the path answers in the same words
		}
		return v, r.Stamped
	}
	if c.older != none && c.openAttempt() && p.forged(c, dir, m.clock) {
		return conclusion{why: why{becauseForged, x.Syn.Packet()}}, false
	}
	if p.oldSYN(c, dir) {
		return conclusion{why: why{becauseOldSYN, y.Syn.Packet()}}, false
	}
	f, doubts := m.collect()
	v = p.explain(c, dir, m, f)
	sure = decided(f, doubts)
	if r, ended, _ := m.endedByPeer(v.state); ended && v.state != tcp.Unknown && v.state != tcp.Closed {
		v = conclusion{state: tcp.Closed, since: r.Time, why: why{becausePeerRST, r.Packet()}, reset: true}
		return v, false
	}
	switch v.state {
	case tcp.Unknown:
		if p.isListener(c.ends[dir], c.encap) {
			v.state, v.why = tcp.Listen, why{becauseListener, c.start.Packet}
		}
		return v, false
	case tcp.SynRcvd:
		// What waits for the ACK repeats the SYN-ACK until it gives up, without a word. What does not repeat it at all keeps
		// nothing: it has sent a SYN cookie. The timer doubles: the next interval is as long as all before it and the first.
		// They began with Y's SYN, at the earliest; a SYN-ACK in between may answer a repeated SYN. Whatever else X sends shows
		// that it is there.
		first := x.Syn.Time
		if earlier, _, ok := p.earlierSYNs(c, dir); ok {
			first = min(first, earlier)
		}
		if y.HasSYN() {
			first = min(first, y.Syn.Time)
		}
		if patience := synRepeats + (x.SynLast-first)*9/8; !y.FirstAck.Seen() && m.clock.past(x.Last.Time, patience) {
			v.state, v.since, v.why.reason = tcp.Closed, x.Last.Time+patience, becauseGaveUp
			return v, false
		}
	case tcp.SynSent:
		// A socket in SYN_SENT repeats its SYN; nothing else on the wire shows that an application gives up.
		patience := max(m.patience(), synRepeats)
		if _, earlier, ok := p.earlierSYNs(c, dir); ok && x.SYNs == 1 {
			patience = max(patience, (x.SynLast-earlier)*9/4)
		}
		if x.HasSYN() && m.clock.past(x.SynLast, patience) {
			v.state, v.since, v.why.reason = tcp.Closed, x.SynLast+patience, becauseGaveUp
		}
		return v, false
	case tcp.Closed:
		return v, false // nothing shows that the last ACK arrived
	case tcp.FinWait2:
		// An orphan leaves silently, after tcp_fin_timeout or at once where there are too many.
		return v, false
	case tcp.TimeWait:
		// Linux forgets it at once above tcp_max_tw_buckets. A FIN that came again and was not answered did not arrive.
		lastFIN := y.SentLast
		if x.Packets > 0 {
			lastFIN = max(x.SentLast, min(y.SentLast, x.Last.Time))
		}
		if m.clock.past(lastFIN, int64(p.cfg.TimeWait)-1) {
			v.state, v.since, v.why.reason = tcp.Closed, lastFIN+int64(p.cfg.TimeWait), becauseTimedOut
		}
		return v, false
	}
	return v, sure
}

// forged reports whether the SYN of direction dir of c, which the peer answered within an older connection, was sent by
// somebody else.
func (p *part) forged(c *conn, dir int, at *clock) bool {
	var buf conn
	old := p.load(c.older, &buf)
	d := old.directionOf(c.ends[dir])
	m := moment{x: &old.dirs[d], y: &old.dirs[1-d], clock: at, crossing: old.crossing(d)}
	left := old.left[d]
	return left.proven && left.at.Packet() == c.dirs[dir].Syn.Packet() && !m.stillLeft(left)
}

// oldSYN reports whether c began with a SYN-ACK to a SYN with which the silent end of direction dir had opened an older
// connection: an old duplicate, as in figure 8 of RFC 9293.
func (p *part) oldSYN(c *conn, dir int) bool {
	if y := &c.dirs[1-dir]; c.dirs[dir].Packets == 0 && y.Has&reassembly.SYNACK != 0 {
		var buf conn
		for i := c.older; i != none; i = p.older(i) {
			old := p.load(i, &buf)
			if x := &old.dirs[old.directionOf(c.ends[dir])]; x.Has&reassembly.BareSYN != 0 && (x.ISS+1 == y.Ack || x.SynEnd == y.Ack) {
				return true
			}
		}
	}
	return false
}

// earlierSYNs returns when X first and last sent the SYN of c before c, if it did: the attempt was refused, but the RST
// did not arrive, and the SYN has come again to cross a newer one of Y's. Its timer has doubled all the while.
func (p *part) earlierSYNs(c *conn, dir int) (first, last int64, ok bool) {
	if c.older == none {
		return 0, 0, false
	}
	x := &c.dirs[dir]
	var buf conn
	for i := c.older; i != none; i = p.older(i) {
		old := p.load(i, &buf)
		if o := &old.dirs[old.directionOf(c.ends[dir])]; o.HasSYN() && o.ISS == x.ISS {
			first, last, ok = o.Syn.Time, max(last, o.SynLast), true
		}
	}
	return first, last, ok
}

// explain gives the state that follows from f, its beginning and its reason.
func (p *part) explain(c *conn, dir int, m moment, f facts) conclusion {
	x, y := m.x, m.y
	v := conclusion{state: stateOf(f)}
	rests := func(r reason, at reassembly.Mark) {
		v.since, v.why = at.Time, why{r, at.Packet()}
	}
	switch v.state {
	case tcp.SynSent:
		rests(becauseSYN, x.Syn)
	case tcp.SynRcvd:
		rests(becauseSYNACK, x.Syn)
		if y.HasSYN() && y.Acks(x.ISS+1) {
			v.why.reason = becauseSYNACKAgain
		}
	case tcp.Established:
		switch {
		case !c.openingSeen():
			rests(becauseMidstream, c.start.Mark())
			v.atLeast = true
		case x.Has&reassembly.BareSYN != 0 && x.FirstPlain.Seen():
			rests(becauseOwnACK, x.FirstPlain)
		case y.FirstPlain.Seen():
			rests(becausePeerACK, y.FirstPlain)
		default:
			rests(becausePeerACK, y.FirstAck)
		}
	case tcp.CloseWait:
		rests(becauseAckedFIN, x.AckReached)
	case tcp.FinWait1:
		rests(becauseFIN, x.FinSent)
		if y.Acks(x.Fin + 1) {
			v.why.reason = becauseFINAgain
		}
	case tcp.FinWait2:
		rests(becauseFINAcked, y.AckReached)
	case tcp.Closing:
		rests(becauseCrossed, later(x.FinSent, x.AckReached))
		v.why.packet = x.FinSent.Packet()
	case tcp.LastAck:
		rests(becauseAnswered, x.FinSent)
		if y.Acks(x.Fin + 1) {
			v.why.reason = becauseFINAgain
		}
	case tcp.TimeWait:
		rests(becauseBothClosed, later(x.AckReached, y.AckReached))
	case tcp.Closed:
		rests(becauseLastAcked, y.AckReached)
	}
	switch {
	case v.state == tcp.Unknown:
	case x.Packets == 0:
		rests(becauseUnseen, y.Last)
		v.atLeast = true
	case y.Packets == 0 && v.state != tcp.SynSent:
		rests(becauseOneSided, x.Last)
		v.atLeast = true
	}
	switch {
	case v.state == tcp.Unknown:
		v.why, v.since = why{becauseNothing, c.start.Packet}, c.start.Time
		if x.Packets > 0 && x.Last.Seen() {
			v.why = why{becauseStray, x.Last.Packet()}
		}
	case !v.why.seen():
		rests(becauseMidstream, c.start.Mark())
		v.atLeast = true
	}
	return v
}

func (w why) seen() bool { return w.packet != 0 }

func later(a, b reassembly.Mark) reassembly.Mark {
	if b.Time > a.Time {
		return b
	}
	return a
}

// view fills in v with connection index as it stands at now.
func (p *part) view(index uint32, now int64, v *Connection) {
	if !p.viewEnded(p.at(index), index, now, v) {
		p.viewAny(index, now, v)
	}
}

// viewAny is view for connections of all kinds.
func (p *part) viewAny(index uint32, now int64, v *Connection) {
	var buf conn
	c, id := p.load(index, &buf), p.at(index).number()
	client, known := c.client()
	if !known {
		client = p.guessClient(c)
	}
	x, y := &c.dirs[client], &c.dirs[1-client]
	at := clockAt(now)
	ends := [2]conclusion{p.conclude(c, client, &at), p.conclude(c, 1-client, &at)}
	v.ID, v.Ref, v.Encap, v.Start = id, Ref{id, p.placeOf(index)}, c.encap, c.start.Time
	v.Last = max(x.Last.Time, y.Last.Time, x.ResetLast.Time, y.ResetLast.Time)
	v.Until = at.until
	v.RolesGuessed, v.FirstFrom = !known, Role(client)
	v.Opened, v.ClosedFirst, v.EndedBy = opened(x, y), closedFirst(x, y), endedBy(x, y, &ends)
	v.Ends[Client].view(c.ends[client], x, y, &ends[0])
	v.Ends[Server].view(c.ends[1-client], y, x, &ends[1])
	v.Ends[Client].Odd, v.Ends[Server].Odd = Oddities{}, Oddities{}
	if o := p.odd[index]; o != nil {
		v.Ends[Client].Odd, v.Ends[Server].Odd = o[client], o[1-client]
	}
	v.ZeekState, v.ZeekHistory, v.WiresharkCompleteness = c.zeek.ConnState(), c.zeek.History(), c.comp.Value()
	v.Visibility = BothSides
	switch {
	case x.Packets == 0:
		v.Visibility = ServerOnly
	case y.Packets == 0 && v.Opened != Unanswered:
		v.Visibility = ClientOnly
	}
	v.HandshakeRTT = 0
	if x.HasSYN() && y.HasSYN() && x.FirstPlain.Time > x.Syn.Time {
		v.HandshakeRTT = x.FirstPlain.Time - x.Syn.Time
	}
}

// view fills in e with the end that sent x and received y, of which v is concluded. It sets each field but Odd where it is:
// a Connection of its own, copied to where it belongs, would take 190 ns longer, of 600.
func (e *Endpoint) view(at endpoint, x, y *reassembly.Direction, v *conclusion) {
	e.Addr, e.Port = at.addr, at.port
	e.State, e.Certainty, e.Since, e.SinceAtLeast, e.why = v.state, v.certainty, v.since, v.atLeast, v.why
	e.GaveUp = v.why.reason == becauseGaveUp
	e.Packets, e.PayloadBytes = uint64(x.Packets), x.Payload
	e.Retransmitted, e.OutOfOrder = uint64(x.Retransmitted), uint64(x.OutOfOrder)
	e.MissedBytes, e.ZeroWindows = x.Missed(y), uint64(x.ZeroWindows)

	f := &e.Facts
	f.SYN, f.FirstACK, f.AckReached, f.FIN = markOf(x.Syn), markOf(x.FirstPlain), markOf(x.AckReached), markOf(x.FinSent)
	f.RSTFirst, f.RST, f.Last = markOf(x.ResetFirst.Mark), markOf(x.ResetLast.Mark), markOf(x.Last)
	f.SYNLast, f.SentLast, f.DataLast, f.SYNs, f.FINs = x.SynLast, x.SentLast, x.DataLast, x.SYNs, x.FINs
	f.Asked, f.AskedIdle, f.Repeats = markOf(x.Asked), time.Duration(x.AskedIdle)*time.Millisecond, x.Repeats
	f.ZeroWindow = markOf(x.ZeroSince)
	f.DataSegments = uint64(x.DataSegments)
	f.AcksFIN = y.HasFIN() && x.Acks(y.Fin+1)
	f.PastFIN, f.Unacked = 0, 0
	if y.Has&reassembly.ACK != 0 && x.Outstanding(y) {
		f.Unacked = uint32(x.Next.Sub(y.Ack))
	}
	dataEnd := x.Next
	if x.HasFIN() {
		dataEnd = x.Fin
	}
	if y.HasFIN() && x.DataSegments > 0 && dataEnd.After(y.FinAck) {
		f.PastFIN = uint32(dataEnd.Sub(y.FinAck))
	}
}

// opened says how client x and server y began.
func opened(x, y *reassembly.Direction) Opened {
	switch {
	case x.Has&y.Has&reassembly.BareSYN != 0:
		return Simultaneous
	case !x.HasSYN() && !y.HasSYN():
		return Midstream
	case x.Has&reassembly.SynPayload != 0 && y.Acks(x.SynEnd) && x.Retransmitted == 0:
		return FastOpen
	case y.HasSYN() || x.Has&reassembly.ACK != 0 || y.Has&reassembly.ACK != 0:
		return Handshake
	case y.ResetFirst.Seen():
		return Refused
	}
	return Unanswered
}

func closedFirst(x, y *reassembly.Direction) ClosedFirst {
	switch {
	case x.HasFIN() && y.HasFIN() && x.FinAck == y.Fin+1:
		return ServerClosed
	case x.HasFIN() && y.HasFIN() && y.FinAck == x.Fin+1:
		return ClientClosed
	case x.HasFIN() && y.HasFIN():
		return BothClosed
	case x.HasFIN():
		return ClientClosed
	case y.HasFIN():
		return ServerClosed
	}
	return NoneClosed
}

func endedBy(x, y *reassembly.Direction, ends *[2]conclusion) EndedBy {
	for i := range ends {
		switch ends[i].state {
		case tcp.Closed, tcp.TimeWait, tcp.Unknown, tcp.Listen:
		default:
			return NotEnded
		}
	}
	switch {
	case x.HasFIN() && y.HasFIN() && x.Acks(y.Fin+1) && y.Acks(x.Fin+1),
		x.HasFIN() && y.Packets == 0 && x.AcksUnseenFIN(), y.HasFIN() && x.Packets == 0 && y.AcksUnseenFIN():
		return EndedByFIN
	case ends[0].reset || ends[1].reset:
		return EndedByRST
	}
	return NotEnded
}

// wellKnown is the first port that an unprivileged process may take.
const wellKnown = 1024

// guessClient names the client of a connection whose opening was not seen: not the end that listens elsewhere in this
// capture, nor the one with a well-known port, nor the one with the lower port.
func (p *part) guessClient(c *conn) int {
	a, b := c.ends[0], c.ends[1]
	listensA, listensB := p.isListener(a, c.encap), p.isListener(b, c.encap)
	switch {
	case listensA != listensB && listensA:
		return 1
	case listensA != listensB:
		return 0
	case (a.port < wellKnown) != (b.port < wellKnown) && a.port < wellKnown:
		return 1
	case (a.port < wellKnown) != (b.port < wellKnown):
		return 0
	case a.port < b.port:
		return 1
	}
	return 0
}
