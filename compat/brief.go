package compat

import "tcpleak/tcp"

// BriefZeek is a Zeek in a quarter of the space, for connections of which nothing was lost or sent twice and that no RST
// ended. The zero value is that of the zero Zeek.
type BriefZeek struct {
	history [2]uint32 // 12 letters of 5 bits, the first in the lowest bits; the flags in the four highest
	rest    uint32    // see Pack
}

// Numbers are the sequence numbers of the last SYN and FIN of each direction, which a BriefZeek leaves out.
type Numbers struct {
	SYN, FIN       [2]tcp.Seq
	HasSYN, HasFIN [2]bool
}

func (n *Numbers) last() (last [2]struct{ syn, fin, rst uint16 }) {
	for dir := range last {
		if n.HasSYN[dir] {
			last[dir].syn = fold(n.SYN[dir])
		}
		if n.HasFIN[dir] {
			last[dir].fin = fold(n.FIN[dir])
		}
	}
	return last
}

// Where the parts of rest begin: for each of two directions, or roles, 3 bits of state, 3 of the state before, 7 of what
// was seen; then 4 of the number of letters.
const (
	stateShift   = 0
	beforeShift  = 6
	seenShift    = 12
	lettersShift = 26
	flagsShift   = 28 // in the second word of history
	seenBits     = 7
)

// Has reports whether z has seen these numbers, and no others.
func (z *Zeek) Has(n *Numbers) bool { return z.last == n.last() }

// SetNumbers makes z have seen these numbers.
func (z *Zeek) SetNumbers(n *Numbers) { z.last = n.last() }

// Pack returns z in brief, and false where that would leave out more than the Numbers.
func (z *Zeek) Pack() (b BriefZeek, ok bool) {
	if z.letters > lettersPerWord || z.count != [2]struct{ rexmit, window, gap uint16 }{} {
		return b, false
	}
	b.history = [2]uint32{uint32(z.history[0]), uint32(z.history[0]>>32) | uint32(z.flags)<<flagsShift}
	b.rest = uint32(z.letters) << lettersShift
	for i := range 2 {
		b.rest |= uint32(z.state[i])<<(stateShift+3*i) | uint32(z.before[i])<<(beforeShift+3*i) | uint32(z.seen[i])<<(seenShift+seenBits*i)
	}
	return b, true
}

// Unpack fills in z with what b says, and n, which may be nil.
func (b *BriefZeek) Unpack(z *Zeek, n *Numbers) {
	*z = Zeek{
		history: [2]uint64{uint64(b.history[0]) | uint64(b.history[1]&(1<<flagsShift-1))<<32},
		letters: uint8(b.rest >> lettersShift),
		flags:   b.flags(),
	}
	for i := range 2 {
		z.state[i] = zeekState(b.rest >> (stateShift + 3*i) & 7)
		z.before[i] = zeekState(b.rest >> (beforeShift + 3*i) & 7)
		z.seen[i] = uint8(b.rest>>(seenShift+seenBits*i)) & (1<<seenBits - 1)
	}
	if n != nil {
		z.last = n.last()
	}
}

func (b *BriefZeek) flags() uint8 { return uint8(b.history[1] >> flagsShift) }

// Segment takes in s, of direction dir, as Zeek.Segment does, if s repeats nothing, acknowledges nothing that was missed, and
// is a SYN that opens, the SYN-ACK that answers it, an ACK, payload or a FIN of an end that was heard before. Otherwise, and
// where it does not know, it returns false and changes nothing.
func (b *BriefZeek) Segment(s *tcp.Segment, dir uint8) bool {
	dir &= 1
	flags := s.Flags & (tcp.SYN | tcp.FIN | tcp.RST)
	if s.Window == 0 || b.rest>>lettersShift == lettersPerWord {
		return false
	}
	if flags == tcp.SYN {
		return b.segmentSYN(s, dir)
	}
	state := b.rest >> (stateShift + 3*dir) & 7
	role := dir
	if b.flags()&zeekSwapped != 0 {
		role ^= 1
	}
	bit, letter := uint32(sawACK), uint32(letterA)
	switch {
	case flags == tcp.FIN:
		if zeekState(state) != established || zeekState(b.rest>>(stateShift+3*(dir^1))&7) == reset {
			return false
		}
		bit, letter = uint32(sawFIN), letterF
	case flags != 0 || zeekState(state) == inactive || !s.Flags.Any(tcp.ACK):
		return false
	case s.Len > 0:
		bit, letter = uint32(sawData), letterD
	}
	if b.rest>>(seenShift+seenBits*role)&bit != 0 {
		return flags == 0
	}
	if flags == tcp.FIN {
		b.rest = b.rest&^(7<<(stateShift+3*dir)|7<<(beforeShift+3*dir)) |
			uint32(closed)<<(stateShift+3*dir) | uint32(established)<<(beforeShift+3*dir)
	}
	b.rest |= bit << (seenShift + seenBits*role)
	b.add(letter + responderLetter*uint32(role))
	if s.Len > 0 {
		b.history[1] |= uint32(zeekPayload) << flagsShift
	}
	return true
}

func (b *BriefZeek) add(letter uint32) {
	at := b.rest >> lettersShift * 5
	code := uint64(letter+1) << at
	b.history[0] |= uint32(code)
	b.history[1] |= uint32(code >> 32)
	b.rest += 1 << lettersShift
}

// What there is to say after the SYN of a connection, and after the SYN-ACK that answers it, without payload: by whether the
// ports make Zeek take the receiver for the originator.
var afterSYN, afterAnswer = func() (opened, answered [2]BriefZeek) {
	for i, ports := range [2][2]uint16{{50000, 80}, {80, 50000}} {
		syn := tcp.Segment{Flags: tcp.SYN, Window: 1, SrcPort: ports[0], DstPort: ports[1]}
		answer := tcp.Segment{Flags: tcp.SYN | tcp.ACK, Window: 1, SrcPort: ports[1], DstPort: ports[0]}
		var z Zeek
		z.Segment(&syn, 0, Seen{})
		opened[i], _ = z.Pack()
		z.Segment(&answer, 1, Seen{})
		answered[i], _ = z.Pack()
	}
	return opened, answered
}()

func (b *BriefZeek) segmentSYN(s *tcp.Segment, dir uint8) bool {
	switch {
	case s.Len > 0:
		return false
	case *b == BriefZeek{} && dir == 0 && !s.Flags.Any(tcp.ACK):
		*b = afterSYN[0]
		if startsAtResponder(s) {
			*b = afterSYN[1]
		}
		return true
	case *b == afterSYN[0] && dir == 1 && s.Flags.Any(tcp.ACK):
		*b = afterAnswer[0]
		return true
	case *b == afterSYN[1] && dir == 1 && s.Flags.Any(tcp.ACK):
		*b = afterAnswer[1]
		return true
	}
	return false
}
