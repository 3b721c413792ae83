package traffic

import "tcpleak/tcp"

// connection is one that is being played.
type connection struct {
	ends       [2]end // client, server
	rtt        uint32 // µs
	exchanges  uint16 // left
	fate       Fate
	stage      stage
	turn       uint8 // the end that sent last
	begun      bool
	v6         bool
	timestamps bool
	at         uint8 // the next step in plan
	planned    uint8 // steps in plan
	plan       [maxSteps]step
}

// end is one end of a connection. Sequence numbers are plain: they are compared only for being equal.
type end struct {
	host   uint32 // the IPv4 address, and the last four octets of the IPv6 address
	iss    uint32
	next   uint32 // SND.NXT
	acked  uint32 // the last acknowledgment sent
	hole   uint32 // where what was lost begins
	lost   uint32 // octets that were lost, and not sent again since
	clock  uint32 // TSval at the start
	recent uint32 // the TSval to echo, TS.Recent of RFC 7323
	port   uint16
	id     uint16 // IPv4 identification of the next packet
}

// stage says what of a connection has been planned.
type stage uint8

const (
	opening stage = iota
	using
	closing
	over
)

// step is one packet of a plan.
type step struct {
	kind kind
	dir  uint8  // the end that sends
	size uint16 // of the payload
	wait uint32 // µs, beyond the way from the other end or the time between two packets
}

// kind says what a packet is.
type kind uint8

const (
	syn     kind = iota // SYN or SYN-ACK, also repeated
	refusal             // the RST that answers a SYN
	ack                 // of all that has arrived, selective if there is a hole
	data
	lost    // data that is lost behind the capture
	missing // data that is lost before the capture: not written
	resend  // what was lost, lost again behind the capture
	fill    // what was lost, sent again
	probe   // a keep-alive
	fin
	rst
)

// maxSteps is what the longest exchange takes.
const maxSteps = 16

const (
	second   = 1_000_000 // µs
	firstRTO = 200_000   // µs, Linux's least
	// reordering is how long a sender takes a segment for late and not for lost, µs. Less, and a repetition over IPv6 without
	// timestamps could as well be the same packet seen twice.
	reordering = 4000
	// keepAlive is the silence after which a server probes. One request in idleShare keeps it waiting for longer.
	keepAlive = 10 * second
	idleShare = 160
	// maxThink bounds what the exponential distribution draws, in means.
	maxThink = 8
)

func (c *connection) then(kind kind, dir uint8, size uint16, wait uint32) {
	c.plan[c.planned] = step{kind, dir, size, wait}
	c.planned++
}

// plan lays down the next steps of c, and reports whether there are any.
func (g *generator) plan(c *connection) bool {
	c.at, c.planned = 0, 0
	switch c.stage {
	case opening:
		g.planOpening(c)
	case using:
		g.planExchange(c)
	case closing:
		g.planClose(c)
	case over:
		return false
	}
	return true
}

func (g *generator) planOpening(c *connection) {
	c.stage = over
	c.then(syn, 0, 0, 0)
	switch c.fate {
	case Unanswered:
		for i := range g.rng.IntN(4) {
			c.then(syn, 0, 0, second<<i)
		}
	case Refused:
		c.then(refusal, 1, 0, 0)
	case Stuck:
		c.then(syn, 1, 0, 0)
		c.then(ack, 0, 0, 0)
		for i := range 1 + g.rng.IntN(3) {
			c.then(syn, 1, 0, second<<i)
			c.then(ack, 0, 0, 0)
		}
	default:
		c.then(syn, 1, 0, 0)
		c.then(ack, 0, 0, 0)
		c.stage = using
	}
}

// planExchange plans a request and the response to it. What is to go wrong goes wrong in the last.
func (g *generator) planExchange(c *connection) {
	if c.fate != Held {
		c.exchanges--
	}
	if c.exchanges == 0 {
		c.stage = closing
	}
	think := uint32(min(g.rng.ExpFloat64(), maxThink) * g.think)
	idle := g.rng.IntN(idleShare) == 0
	if g.cfg.Flood > 0 && c.fate == HalfClosed {
		think, idle = 0, false // it is to be done with when the flood begins
	}
	if idle {
		for range 2 {
			c.then(probe, 1, 0, keepAlive)
			c.then(ack, 0, 0, 0)
		}
	}
	c.then(data, 0, g.size(c), think)
	if g.rng.IntN(10) < 3 {
		c.then(ack, 1, 0, 0)
	}
	if c.exchanges > 0 {
		g.planResponse(c)
		return
	}
	switch c.fate {
	case Reset:
		c.then(rst, uint8(g.rng.IntN(2)), 0, 0)
		c.stage = over
	case HalfOpen:
		c.then(lost, 1, g.size(c), 0)
		for i := range 5 {
			c.then(resend, 1, 0, firstRTO<<i)
		}
		c.stage = over
	case Retransmitted:
		c.then(lost, 1, g.size(c), 0)
		c.then(resend, 1, 0, firstRTO)
		c.then(fill, 1, 0, 2*firstRTO)
		c.then(ack, 0, 0, 0)
	case Lossy:
		where := lost
		if g.rng.IntN(2) == 0 {
			where = missing
		}
		c.then(data, 1, g.size(c), 0)
		c.then(where, 1, g.size(c), 0)
		for range 3 {
			c.then(data, 1, g.size(c), 0)
			c.then(ack, 0, 0, 0)
		}
		c.then(fill, 1, 0, reordering)
		c.then(ack, 0, 0, 0)
	default:
		g.planResponse(c)
	}
}

// planResponse plans some segments, of which every other is acknowledged, and the last.
func (g *generator) planResponse(c *connection) {
	n := 1 + g.rng.IntN(5)
	for i := range n {
		c.then(data, 1, g.size(c), 0)
		if i%2 == 1 || i == n-1 {
			c.then(ack, 0, 0, 0)
		}
	}
}

func (g *generator) planClose(c *connection) {
	c.stage = over
	first := uint8(0)
	if c.fate != HalfClosed {
		first = uint8(g.rng.IntN(2))
	}
	c.then(fin, first, 0, 0)
	if c.fate == HalfClosed {
		c.then(ack, 1, 0, 0)
		return
	}
	if g.rng.IntN(2) == 0 {
		c.then(ack, 1-first, 0, 0)
	}
	c.then(fin, 1-first, 0, 0)
	c.then(ack, first, 0, 0)
}

// size draws the payload of a segment: evenly, as far as the segment size lets it be even.
func (g *generator) size(c *connection) uint16 {
	least, most := 1, 2*g.cfg.Payload-1
	if most > MaxPayload {
		least, most = most-MaxPayload+1, MaxPayload
	}
	return uint16(min(least+g.rng.IntN(most-least+1), c.maxSegment()))
}

// maxSegment is what fits into 1,500 octets beside a timestamp.
func (c *connection) maxSegment() int {
	if c.v6 {
		return MaxPayload - 20
	}
	return MaxPayload
}

// play writes the packet of a step and keeps what follows from it.
func (g *generator) play(c *connection, s step) {
	x, y := &c.ends[s.dir], &c.ends[1-s.dir]
	c.turn = s.dir
	p := packet{dir: s.dir, seq: x.next, flags: tcp.ACK, window: openWindow}
	arrives := true
	switch s.kind {
	case syn:
		p.seq, p.window = x.iss, firstWindow
		x.next = x.iss + 1
		p.flags = tcp.SYN
		if s.dir == 1 {
			p.flags |= tcp.ACK
		}
	case refusal:
		p.seq, p.window, p.flags, p.bare = 0, 0, tcp.RST|tcp.ACK, true
	case ack:
	case data, lost, missing:
		p.size, p.flags = s.size, tcp.PSH|tcp.ACK
		x.next += uint32(s.size)
		if s.kind != data {
			x.hole, x.lost, arrives = p.seq, uint32(s.size), false
		}
	case resend, fill:
		p.seq, p.size, p.flags = x.hole, uint16(x.lost), tcp.PSH|tcp.ACK
		if arrives = s.kind == fill; arrives {
			x.lost = 0
		}
	case probe:
		p.seq--
	case fin:
		p.flags |= tcp.FIN
		x.next++
	case rst:
		p.flags |= tcp.RST
		p.window = 0
	}
	if s.kind == missing {
		return
	}
	if p.flags.Any(tcp.ACK) {
		p.ack = y.next
		if y.lost > 0 {
			p.ack = y.hole
			p.sackLeft, p.sackRight = y.hole+y.lost, y.next
		}
		x.acked = p.ack
	}
	p.value, p.echo = x.clock+uint32(g.now/1000), x.recent
	g.frames.write(g.now, c, &p)
	// RFC 7323 4.3: what is echoed is of the segment that moves the acknowledgment on.
	if arrives && (p.seq == y.acked || p.flags.Any(tcp.SYN)) {
		y.recent = p.value
	}
}
