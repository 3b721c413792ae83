package tracker

import (
	"time"

	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// Oddity is something that a healthy stack hardly ever sends.
type Oddity uint8

// The oddities.
const (
	InvalidFlags Oddity = iota // flags that no state allows: none, SYN with FIN, FIN without ACK, …
	SYNInside                  // a SYN with another ISS while the receiver has the connection open (RFC 5961 4)
	PortReused                 // a SYN with the addresses and ports of a connection that has ended
	ChallengeACK               // an ACK that asks whether a SYN or a RST was meant (RFC 5961)
	DataAfterFIN               // payload beyond the sender's own FIN
	numOddities
)

// Odd counts one oddity of one end.
type Odd struct {
	Count uint32
	First Mark
}

// Oddities is what one end has sent that is odd, by Oddity.
type Oddities [numOddities]Odd

// invalidFlags is indexed by FIN, SYN, RST, PSH, ACK and URG: beyond those, flags are for congestion control.
var invalidFlags = func() (invalid [64]bool) {
	for i := range invalid {
		f := tcp.Flags(i)
		invalid[i] = !f.Any(tcp.FIN|tcp.SYN|tcp.RST|tcp.ACK) || f.Any(tcp.SYN) && f.Any(tcp.FIN|tcp.RST) ||
			f.Any(tcp.FIN) && (f.Any(tcp.RST) || !f.Any(tcp.ACK))
	}
	return invalid
}()

func hasInvalidFlags(f tcp.Flags) bool { return invalidFlags[f&63] }

// note counts an oddity of the end of direction dir of the connection at index.
func (p *part) note(index uint32, dir int, what Oddity, at reassembly.Mark) {
	o := p.odd[index]
	if o == nil {
		if len(p.odd) >= p.limits.odd {
			return
		}
		if p.odd == nil {
			p.odd = make(map[uint32]*[2]Oddities)
		}
		o = new([2]Oddities)
		p.odd[index] = o
	}
	x := &o[dir][what]
	if x.Count++; x.Count == 1 {
		x.First = markOf(at)
	}
}

// challengeTime is how long after a SYN or a RST that it did not accept an end may take to challenge it.
const challengeTime = int64(time.Second)

// noteOdd looks at s, which has just been taken in from direction dir of c.
func (p *part) noteOdd(c *conn, dir int, s *tcp.Segment) {
	x, y := &c.dirs[dir], &c.dirs[1-dir]
	if hasInvalidFlags(s.Flags) {
		p.note(c.index, dir, InvalidFlags, reassembly.MarkOf(s))
	}
	if s.Len > 0 && x.Has&reassembly.BeyondFIN != 0 && s.End().After(x.Fin+1) {
		p.note(c.index, dir, DataAfterFIN, reassembly.MarkOf(s))
	}
	if at := c.disputed[dir]; at != 0 && s.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK) == tcp.ACK && s.Len == 0 {
		c.disputed[dir] = 0
		if s.Seq == x.Next && s.Time-at <= challengeTime {
			p.note(c.index, dir, ChallengeACK, reassembly.MarkOf(s))
		}
	}
	if s.Flags.Any(tcp.RST) && y.Has&reassembly.Plain != 0 && s.Seq != y.Ack {
		c.disputed[1-dir] = s.Time
	}
}

// noteReuse looks at a SYN that opens the connection at index, while there is an older one with the same addresses and ports.
func (p *part) noteReuse(index uint32, s *tcp.Segment) {
	older := p.older(index)
	if older == none || s.Flags.Any(tcp.ACK|tcp.RST) {
		return
	}
	old := p.load(older, &p.work)
	if old.openAttempt() {
		return // an attempt after another that failed
	}
	dir := old.direction(s)
	at := clockAt(s.Time)
	switch p.conclude(old, 1-dir, &at).state {
	case tcp.Established, tcp.FinWait1, tcp.FinWait2, tcp.CloseWait, tcp.Closing, tcp.LastAck:
		p.note(index, 0, SYNInside, reassembly.MarkOf(s))
		old.disputed[1-dir] = s.Time
		p.save(old)
	default:
		p.note(index, 0, PortReused, reassembly.MarkOf(s))
	}
}
