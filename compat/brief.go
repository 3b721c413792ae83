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

// UnchangedBy reports whether the Zeek that b stands for would not notice s, of direction dir, which repeats nothing and
// acknowledges nothing that was missed. It may be false where it is so.
func (b *BriefZeek) UnchangedBy(s *tcp.Segment, dir uint8) bool {
	bit, role := uint32(sawACK), dir
	if s.Len > 0 {
		bit = uint32(sawData)
	}
	if b.flags()&zeekSwapped != 0 {
		role ^= 1
	}
	return s.Flags&(tcp.SYN|tcp.FIN|tcp.RST) == 0 && s.Window != 0 && b.rest>>(seenShift+seenBits*role)&bit != 0 &&
		b.rest>>(stateShift+3*dir)&7 != 0
}
