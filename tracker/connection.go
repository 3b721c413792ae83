package tracker

import (
	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// direction returns the direction of s in c. On a connection of a socket with itself all is direction 0.
func (c *conn) direction(s *tcp.Segment) int {
	return c.directionOf(endpoint{s.Src, s.SrcPort})
}

func (c *conn) directionOf(e endpoint) int {
	if e.port == c.ends[0].port && e.addr == c.ends[0].addr {
		return 0
	}
	return 1
}

// client returns the direction of the client, and false where the opening was not seen and nothing tells.
func (c *conn) client() (dir int, known bool) {
	a, b := &c.dirs[0], &c.dirs[1]
	bareA, bareB := a.Has&reassembly.BareSYN != 0, b.Has&reassembly.BareSYN != 0
	switch {
	case bareA && bareB:
		if b.Syn.Time < a.Syn.Time {
			return 1, true
		}
		return 0, true
	case bareA, b.Has&reassembly.SYNACK != 0:
		return 0, true
	case bareB, a.Has&reassembly.SYNACK != 0:
		return 1, true
	}
	return 0, false
}

// openingSeen reports whether the capture holds the start of the connection.
func (c *conn) openingSeen() bool { return c.dirs[0].HasSYN() || c.dirs[1].HasSYN() }

// crossing returns how long what the endpoint of direction dir sends may still ignore what passed the capture on its way
// to it: the round trip between the capture and that end as the handshake shows it, and a margin.
func (c *conn) crossing(dir int) int64 {
	client, _ := c.client()
	cl, sv := &c.dirs[client], &c.dirs[1-client]
	rtt := answerTime(cl, sv)
	if dir == client {
		rtt = answerTime(sv, cl)
	}
	return min(rtt*3/2+minCrossing, maxCrossing)
}

// answerTime returns how long after x's SYN, as it was last sent before, y first acknowledged. Where SYN-ACKs crossed, it does
// not show which of the SYNs was answered: then not longer than from the first.
func answerTime(x, y *reassembly.Direction) int64 {
	if !x.HasSYN() || !y.FirstAck.Seen() || y.FirstAck.Time < x.Syn.Time {
		return unknownAnswer
	}
	if x.Has&reassembly.BareSYN != 0 && x.Has&reassembly.SYNACK != 0 && y.Has&reassembly.SYNACK != 0 {
		return min(y.FirstAck.Time-x.Syn.Time, unknownAnswer)
	}
	return y.FirstAck.Time - x.SynAsked
}

// far is a distance in sequence space that no window reaches (RFC 7323 2.2 allows 2³⁰; 2²⁶ is 64 MiB) and that a random
// number in both fields keeps with odds of 1 in 1000.
const far = 1 << 26

// fit returns how far s lies from where the direction x of c and its peer y stand; ok is false where s cannot belong to c.
func (c *conn) fit(s *tcp.Segment, dir int) (distance uint64, ok bool) {
	x, y := &c.dirs[dir], &c.dirs[1-dir]
	ack := s.Flags.Any(tcp.ACK)
	// What cannot be compared counts as a window's length: worse than a good match, better than a stranger. The numbers of
	// successive incarnations are only some millions apart (RFC 6528: 250,000 a second).
	const unknown = 1 << 16
	if y.Has&reassembly.BareSYN != 0 && y.Has&(reassembly.ACK|reassembly.SYNACK) == 0 && x.Has&reassembly.Started == 0 {
		// An attempt that nobody has answered. A RST without ACK answers a segment with ACK (RFC 9293 3.10.7.1), which is
		// not this one.
		switch {
		case !ack:
			return 0, !s.Flags.Any(tcp.RST)
		case !s.Ack.After(y.ISS) || s.Ack.After(y.SynEnd):
			return 0, false // it acknowledges something else
		case s.Flags.Any(tcp.RST) && s.Seq == 0:
			return 0, true
		}
		return unknown, true
	}
	seqDistance, ackDistance := uint64(unknown), uint64(unknown)
	switch {
	case s.Flags.Any(tcp.RST) && s.Seq == 0 && ack && y.HasSYN() && s.Ack == y.SynEnd && y.Has&reassembly.ACK == 0:
		return 0, true // it refuses the SYN
	case s.Flags.Any(tcp.RST) && s.Seq == 0 && ack && x.Next != 0:
		// It answers a segment without ACK: its own number means nothing (RFC 9293 3.10.7.1).
	case s.Flags.Any(tcp.RST) && !ack && y.OnlyResets():
		// It answers a segment with ACK, but hardly a RST (RFC 9293 3.10.7.1).
	case x.Has&reassembly.Started != 0:
		seqDistance = distanceOf(s.Seq, x.Next)
	case y.Has&reassembly.ACK != 0:
		seqDistance = distanceOf(s.Seq, y.Ack)
	}
	switch {
	case !ack:
	case y.Has&reassembly.Started != 0:
		ackDistance = distanceOf(s.Ack, y.Next)
	case x.Has&reassembly.ACK != 0:
		ackDistance = distanceOf(s.Ack, x.Ack)
	}
	if seqDistance < far && ackDistance < far || min(seqDistance, ackDistance) < unknown {
		return seqDistance + ackDistance, true
	}
	return 0, false
}

func distanceOf(a, b tcp.Seq) uint64 {
	d := int64(a.Sub(b))
	if d < 0 {
		d = -d
	}
	return uint64(d)
}

// opens reports whether the SYN or SYN-ACK s from direction dir belongs to c: it repeats it, answers it, crosses it, or was
// overtaken by what followed it. replaces is set where the server has chosen another ISS before its first took effect.
func (c *conn) opens(s *tcp.Segment, dir int) (belongs, replaces bool) {
	x, y := &c.dirs[dir], &c.dirs[1-dir]
	if x.HasSYN() && x.ISS == s.Seq {
		return true, false
	}
	if !s.Flags.Any(tcp.ACK) {
		switch {
		case x.HasSYN():
			return false, false
		case x.Has&reassembly.Started != 0:
			return x.Low == s.Seq+1, false // overtaken by its own ACK
		case y.Has&reassembly.ACK != 0:
			return y.Ack == s.End() || y.Ack == s.Seq+1, false // overtaken by the answer
		case y.ResetFirst.Seen():
			return y.ResetFirst.Ack == s.End() || y.ResetFirst.Ack == s.Seq+1, false
		}
		// Simultaneous open, unless Y has given up that attempt.
		return y.Has&reassembly.BareSYN != 0 && !x.ResetFirst.Seen() && !c.left[1-dir].at.Seen(), false
	}
	if y.Has&reassembly.Started == 0 && y.ResetFirst.Seen() && y.ResetFirst.Seq == s.Ack && x.Has&reassembly.Started == 0 {
		return true, false // overtaken by the RST that it was answered with
	}
	answers := y.HasSYN() && s.Ack.After(y.ISS) && !s.Ack.After(y.SynEnd)
	switch {
	case !x.HasSYN() && y.Has&reassembly.Started != 0 && !y.HasSYN():
		return y.Low == s.Ack && (x.Has&reassembly.Started == 0 || x.Low == s.Seq+1), false // the client's SYN was missed
	case !x.HasSYN():
		return answers && (x.Has&reassembly.Started == 0 || x.Low == s.Seq+1), false
	case answers && x.Has&reassembly.BareSYN == 0 && !y.Acks(x.ISS+1):
		return true, true
	}
	return false, false
}

// openAttempt reports whether nobody has answered c's SYN: what comes from elsewhere says nothing about it.
func (c *conn) openAttempt() bool {
	return c.dirs[0].Has&reassembly.ACK == 0 && c.dirs[1].Has&reassembly.ACK == 0
}

// leaves notes that the sender of s has left c, proven if it has opened another.
func (c *conn) leaves(s *tcp.Segment, proven bool) {
	c.asks(s)
	c.left[c.direction(s)].note(s, proven)
}

// asks notes that c's other end should answer s, if c is still open.
func (c *conn) asks(s *tcp.Segment) {
	dir := c.direction(s)
	if l := &c.left[dir]; c.dirs[1-dir].Last.Time >= l.asked {
		l.asked = s.Time
	}
}

func (l *leaving) note(s *tcp.Segment, proven bool) {
	if l.at.Seen() {
		l.repeated = true
		return
	}
	l.at, l.proven = reassembly.MarkOf(s), proven
}
