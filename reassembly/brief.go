package reassembly

import "tcpleak/tcp"

// Origin is what the times and packet numbers of a Brief count from: the first segment of its connection.
type Origin struct {
	Time   int64 // ns since 1970
	Packet uint64
}

// Mark returns the mark of that segment, without flags.
func (o Origin) Mark() Mark { return Mark{o.Time, o.Packet << flagBits} }

// Brief is a Direction to which nothing out of the ordinary has happened, in a third of the space: no segment was lost,
// repeated or out of order, no RST, no closed window, no keep-alive. Most directions are so for all of their life.
//
// What a Direction keeps and a Brief does not follows from the rest then: Unpack spells it out. It takes over where
// Open, Answer and Continue cannot, all of which do the same as Direction.Add.
//
// It lies in two parts, as memory is fetched in lines of 64 octets: a segment in the middle of a connection leaves Rare alone.
type Brief struct {
	first tcp.Seq // ISS with a SYN, else Low
	Next  tcp.Seq
	Ack   tcp.Seq
	has   Facts

	seqBelow  tcp.Seq
	tsBelow   uint32
	tsReached uint32
	tsVal     uint32
	tsEcr     uint32
	ackStep   uint32
	packets   uint32
	data      uint32 // DataSegments
	askedIdle uint32

	last        smallMark
	asked       smallMark // seen if has has hasAsked
	ackReached  smallMark
	advanced    uint32 // low 32 bits of 48, like those of a smallMark
	advancedTop uint16
	window      uint16
}

// Rare is the part of a Brief that the opening and the close fill in.
type Rare struct {
	firstPlain  smallMark
	synTSVal    uint32 // without a SYN, and as long as X sent nothing but ACKs: TopAck
	finAck      tcp.Seq
	dataLast    uint32 // valid with FIN, before which it is advanced
	dataLastTop uint16
	fin         uint8  // of FinSent, the lower flags; its time is advanced
	syn         uint8  // of Syn, the lower flags
	finPacket   uint32 // of FinSent
}

const (
	hasAsked   Facts = 1 << 27
	scaleShift       = 28 // the window scale, 0 to 14, is in the top bits of has

	// inBrief are the facts that may be known of what a Brief says.
	inBrief = Started | BareSYN | SYNACK | FIN | ACK | Plain | Below | TSBelow | TimestampSent | TimestampEcho | SynTimestamp |
		FINQueued | FINBehind | BeyondSYN | OptionsCut | ScaleSent
)

// smallMark is a Mark relative to an Origin: 39 hours and 2³² packets around it.
type smallMark struct {
	low    uint32
	packet uint32
	rest   uint32 // the upper 16 bits of the time, then the flags
}

func (m smallMark) time() int64 { return fromTop(m.low, uint16(m.rest>>16)) }

func fromTop(low uint32, top uint16) int64 { return int64(int16(top))<<32 | int64(low) }

// fits reports whether t can be told in 48 bits.
func fits(t int64) bool { return t<<16>>16 == t }

func (m smallMark) mark(at Origin) Mark {
	return Mark{at.Time + m.time(), (at.Packet+uint64(m.packet))<<flagBits | uint64(m.rest&(1<<flagBits-1))}
}

// small is the inverse of mark; where m does not fit, Pack notices that mark does not return it.
func small(m Mark, at Origin) smallMark {
	t := m.Time - at.Time
	return smallMark{uint32(t), uint32(m.Packet() - at.Packet), uint32(uint16(t>>32))<<16 | uint32(m.Flags())}
}

// Has returns the set of things known.
func (b *Brief) Has() Facts { return b.has & (hasAsked - 1) }

// ISS returns the initial sequence number, if the SYN was seen.
func (b *Brief) ISS() (tcp.Seq, bool) { return b.first, b.has&(BareSYN|SYNACK) != 0 }

// FIN returns the sequence number that the FIN occupies, if it was seen.
func (b *Brief) FIN() (tcp.Seq, bool) { return b.Next - 1, b.has&FIN != 0 }

// Acks is Direction.Acks.
func (b *Brief) Acks(seq tcp.Seq) bool { return b.has&ACK != 0 && b.Ack.AtOrAfter(seq) }

// synMark returns the mark of the SYN: of the connection's first segment, if syn is nil.
func (r *Rare) synMark(syn *SYN) smallMark {
	if syn == nil {
		return smallMark{rest: uint32(r.syn)}
	}
	return smallMark{syn.low, syn.packet, uint32(syn.top)<<16 | uint32(r.syn)}
}

// finMark returns the mark of the FIN, sent at t.
func (r *Rare) finMark(t int64, at Origin) Mark {
	return Mark{t, (at.Packet+uint64(r.finPacket))<<flagBits | uint64(r.fin)}
}

// Ended are the facts of a direction that has ended as BothEnded says, as Unpack gives them. What it leaves out is the same for all.
type Ended struct {
	Syn, FirstPlain, AckReached, FinSent, Last, Asked Mark
	DataLast                                          int64
	FinAck                                            tcp.Seq
	Packets, DataSegments, AskedIdle                  uint32
	Payload                                           uint32 // octets
}

// BothEnded reports whether x has sent a SYN, y has answered it with another, and each has then sent a FIN, which the other has
// acknowledged, later than it was sent.
func BothEnded(x, y *Brief) bool {
	const opened, closed = BareSYN | SYNACK, ACK | Plain | FIN
	return x.has&(opened|closed) == BareSYN|closed && y.has&(opened|closed) == SYNACK|closed && x.Ack == y.Next && y.Ack == x.Next &&
		fromTop(x.advanced, x.advancedTop) <= y.ackReached.time() && fromTop(y.advanced, y.advancedTop) <= x.ackReached.time()
}

// Ended fills in e; its other arguments are those of Unpack.
func (b *Brief) Ended(e *Ended, r *Rare, at Origin, syn *SYN) {
	e.Syn, e.FirstPlain, e.AckReached, e.Last = r.synMark(syn).mark(at), r.firstPlain.mark(at), b.ackReached.mark(at), b.last.mark(at)
	e.FinSent = r.finMark(at.Time+fromTop(b.advanced, b.advancedTop), at)
	e.Asked, e.AskedIdle = Mark{}, b.askedIdle
	if b.has&hasAsked != 0 {
		e.Asked = b.asked.mark(at)
	}
	e.DataLast = 0
	if b.data > 0 {
		e.DataLast = at.Time + fromTop(r.dataLast, r.dataLastTop)
	}
	e.FinAck, e.Packets, e.DataSegments, e.Payload = r.finAck, b.packets, b.data, uint32(b.Next-b.first)-2
}

// Pack returns d in brief, and false where that would leave out something. syn is where the SYN is kept, as in Unpack.
func Pack(d *Direction, at Origin, syn *SYN) (b Brief, r Rare, ok bool) {
	if d.Has&^inBrief != 0 || d.nHoles != 0 || d.Retransmitted|d.OutOfOrder|d.ZeroWindows != 0 || d.Probes|d.Repeats != 0 ||
		d.SYNs > 1 || d.FINs > 1 || d.ResetFirst.Seen() {
		return b, r, false
	}
	advanced, dataLast := d.advanced-at.Time, d.DataLast-at.Time
	b = Brief{
		first: d.Low, Next: d.Next, Ack: d.Ack,
		seqBelow: d.SeqBelow, tsBelow: d.TSBelow, tsReached: d.TSReached, tsVal: d.TSVal, tsEcr: d.TSEcr,
		ackStep: d.AckStep, packets: d.Packets, data: d.DataSegments, askedIdle: d.AskedIdle,
		has: d.Has | Facts(d.WindowScale)<<scaleShift, window: d.Window,
		last: small(d.Last, at), advanced: uint32(advanced), advancedTop: uint16(advanced >> 32),
	}
	r = Rare{synTSVal: d.SynTSVal, finAck: d.FinAck}
	if d.Asked.Seen() {
		b.has |= hasAsked
		b.asked = small(d.Asked, at)
	}
	if d.Has&ACK != 0 {
		b.ackReached = small(d.AckReached, at)
	}
	if d.Has&Plain != 0 {
		r.firstPlain = small(d.FirstPlain, at)
	}
	if d.HasSYN() {
		m := small(d.Syn, at)
		r.syn = uint8(m.rest)
		if syn != nil {
			*syn = SYN{m.low, m.packet, uint16(m.rest >> 16)}
		}
	}
	if b.onlyACKs() {
		r.synTSVal = uint32(d.TopAck)
	}
	if d.Has&FIN != 0 {
		fin := small(d.FinSent, at)
		r.finPacket, r.fin = fin.packet, uint8(fin.rest)
		r.dataLast, r.dataLastTop = uint32(dataLast), uint16(dataLast>>32)
	}
	var back Direction
	b.Unpack(&back, &r, at, syn)
	d.settle()
	return b, r, back == *d
}

// onlyACKs reports whether X was seen to send nothing that occupies sequence space, but ACKs.
func (b *Brief) onlyACKs() bool { return b.has&(ACK|BareSYN|SYNACK) == ACK && b.Next == b.first }

// settle gives what has no meaning the value that Unpack gives it.
func (d *Direction) settle() {
	if d.Has&Sacked == 0 {
		d.SACKed = 0
	}
	// Top is looked at only where it is the number after the FIN. All before Next in order, it cannot become that any more;
	// unless the FIN was overtaken by all that was captured since, of which Next is then still the beginning.
	if d.Has&ACK != 0 && d.Next != d.Low && !(d.Top == d.Fin+1 && d.Has&FIN != 0 && d.TopAck.Before(d.FinAck)) {
		d.Top, d.TopAck, d.topTime = d.Next-1, d.Ack, d.AckReached.Time
	}
}

// SYN is where and when a SYN was first seen, relative to an Origin.
type SYN struct {
	low    uint32
	packet uint32
	top    uint16
}

// Unpack fills in d with what b and r say. syn is that of the direction; nil for that of which the Origin is the SYN.
func (b *Brief) Unpack(d *Direction, r *Rare, at Origin, syn *SYN) {
	*d = Direction{
		Low: b.first, Next: b.Next, Ack: b.Ack,
		SeqBelow: b.seqBelow, TSBelow: b.tsBelow, TSReached: b.tsReached, TSVal: b.tsVal, TSEcr: b.tsEcr, SynTSVal: r.synTSVal,
		AckStep: b.ackStep, Window: b.window, WindowScale: uint8(b.has >> scaleShift), Has: b.has & (hasAsked - 1),
		Packets: b.packets, DataSegments: b.data, AskedIdle: b.askedIdle,
	}
	if b.has&Started == 0 {
		return
	}
	d.Last = b.last.mark(at)
	d.advanced = at.Time + fromTop(b.advanced, b.advancedTop)
	payload := uint32(b.Next - b.first)
	if payload > 0 {
		d.SentLast = d.advanced
	}
	if b.data > 0 {
		d.DataLast = d.advanced
	}
	if b.has&hasAsked != 0 {
		d.Asked = b.asked.mark(at)
	}
	if b.has&(BareSYN|SYNACK) != 0 {
		payload--
		d.ISS, d.SynEnd = b.first, b.first+1
		d.Syn = r.synMark(syn).mark(at)
		d.SYNs, d.SynLast, d.SynAsked = 1, d.Syn.Time, d.Syn.Time
	}
	if b.has&Plain != 0 {
		d.FirstPlain = r.firstPlain.mark(at)
		d.FirstAck = d.FirstPlain
	}
	if b.has&ACK != 0 {
		d.AckReached = b.ackReached.mark(at)
		d.Top, d.TopAck, d.topTime = b.Next-1, b.Ack, d.AckReached.Time
		if b.onlyACKs() {
			d.Top, d.TopAck, d.topTime = b.Next, tcp.Seq(r.synTSVal), d.FirstPlain.Time
			d.SynTSVal = 0
		}
		if b.has&SYNACK != 0 {
			d.FirstAck = d.Syn
		}
	}
	if b.has&FIN != 0 {
		payload--
		d.Fin, d.FinAck, d.FINs = b.Next-1, r.finAck, 1
		d.FinSent = r.finMark(d.advanced, at)
		d.DataLast = at.Time + fromTop(r.dataLast, r.dataLastTop)
		if b.data == 0 {
			d.DataLast = 0
		}
	}
	d.Payload = uint64(payload)
}

// stamp returns s as a smallMark, and false where it cannot be told.
func stamp(s *tcp.Segment, at Origin) (m smallMark, t int64, ok bool) {
	t = s.Time - at.Time
	packet := s.Packet - at.Packet
	return smallMark{uint32(t), uint32(packet), uint32(uint16(t>>32))<<16 | uint32(s.Flags&(1<<flagBits-1))}, t, fits(t) && packet < 1<<32
}

// CanOpen reports whether Open may be called with s.
func CanOpen(s *tcp.Segment) bool {
	return s.Flags&(tcp.SYN|tcp.ACK|tcp.FIN|tcp.RST|tcp.AE) == tcp.SYN && s.Len == 0 && s.Window != 0
}

// Open takes in s, the SYN that is the first segment of a connection, as Direction.Add does.
func (x *Brief) Open(s *tcp.Segment, r *Rare) {
	m := smallMark{rest: uint32(s.Flags & (1<<flagBits - 1))}
	*x = Brief{has: Started | BareSYN | Below | hasAsked, packets: 1, seqBelow: s.Seq + 1, last: m, asked: m}
	x.addSYN(s, r)
	if x.has&TimestampSent != 0 {
		x.has |= TSBelow
		x.tsBelow = s.Options.TSVal
	}
}

// Answer takes in s, the first segment of y's peer x, as Direction.Add does, if it is the SYN-ACK that answers y's SYN;
// otherwise it returns false and leaves all as it is.
func (x *Brief) Answer(s *tcp.Segment, y *Brief, r *Rare, at Origin, syn *SYN) bool {
	m, t, ok := stamp(s, at)
	if s.Flags&(tcp.SYN|tcp.ACK|tcp.FIN|tcp.RST|tcp.AE) != tcp.SYN|tcp.ACK || s.Len > 0 || s.Window == 0 || s.Options.SACKs > 0 || !ok ||
		x.packets > 0 || y.has&(BareSYN|SYNACK|ACK) != BareSYN || s.Ack != y.Next {
		return false
	}
	*x = Brief{has: Started | SYNACK | ACK | hasAsked, packets: 1, Ack: s.Ack, tsReached: s.Options.TSVal, last: m, asked: m, ackReached: m,
		askedIdle: idle(t - y.last.time())}
	x.advanced, x.advancedTop = uint32(t), uint16(t>>32)
	*syn = SYN{m.low, m.packet, uint16(m.rest >> 16)}
	x.addSYN(s, r)
	return true
}

func (x *Brief) addSYN(s *tcp.Segment, r *Rare) {
	x.first, x.Next, x.window = s.Seq, s.Seq+1, s.Window
	*r = Rare{syn: uint8(s.Flags)}
	if s.Options.Has&tcp.HasWindowScale != 0 {
		x.has |= ScaleSent | Facts(s.Options.WindowScale&15)<<scaleShift
	}
	if s.Options.Has&tcp.HasMalformedOption != 0 {
		x.has |= OptionsCut
	}
	if s.Options.Has&tcp.HasTimestamps != 0 {
		x.has |= TimestampSent | SynTimestamp
		x.tsVal, r.synTSVal = s.Options.TSVal, s.Options.TSVal
	}
}

// Continue takes in s as Direction.Add does, if it is what comes next, in order and in time: an ACK, payload, a FIN. Otherwise
// it returns false and leaves all as it is.
func (x *Brief) Continue(s *tcp.Segment, y *Brief, r *Rare, at Origin) bool {
	m, t, ok := stamp(s, at)
	if s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) != tcp.ACK || s.Window == 0 || s.Options.SACKs > 0 || !ok ||
		x.has&(ACK|BareSYN) == 0 || y.has&Started == 0 || s.Seq != x.Next || s.Ack.After(y.Next) || x.has&ACK != 0 && s.Ack.Before(x.Ack) {
		return false
	}
	before := x.last.time()
	if t < before {
		return false
	}
	end := s.End()
	if end != s.Seq {
		if x.has&FIN != 0 || uint32(end-x.first) > memory || s.Flags.Has(tcp.FIN|tcp.AE) {
			return false
		}
		if x.onlyACKs() {
			r.synTSVal = 0
		}
		if last := y.last.time(); x.has&hasAsked == 0 || last >= x.asked.time() {
			x.has |= hasAsked
			x.asked, x.askedIdle = m, idle(t-max(before, last))
		}
	}
	x.packets++
	x.last = m
	x.window = s.Window
	if s.Ack != x.Ack || x.has&ACK == 0 {
		x.seqBelow = x.Next
		x.has |= Below
		if x.has&TimestampSent != 0 {
			x.tsBelow = x.tsVal
			x.has |= TSBelow
		}
		if x.has&ACK != 0 {
			x.ackStep = uint32(s.Ack - x.Ack)
		}
		x.Ack, x.ackReached, x.tsReached = s.Ack, m, s.Options.TSVal
	}
	if y.has&(BareSYN|SYNACK) != 0 && x.Ack.After(y.first+1) {
		x.has |= BeyondSYN
	}
	if x.has&Plain == 0 {
		r.firstPlain = m
	}
	x.has |= ACK | Plain
	if s.Options.Has&tcp.HasTimestamps != 0 {
		if x.has&TimestampSent == 0 || newer(s.Options.TSVal, x.tsVal) {
			x.tsVal = s.Options.TSVal
			x.has |= TimestampSent
		}
		if x.has&TimestampEcho == 0 || newer(s.Options.TSEcr, x.tsEcr) {
			x.tsEcr = s.Options.TSEcr
			x.has |= TimestampEcho
		}
	}
	if end == s.Seq {
		return true
	}
	x.Next = end
	if s.Flags.Any(tcp.FIN) {
		x.has |= FIN
		if !y.Acks(s.Seq) {
			x.has |= FINQueued
		}
		r.finAck, r.finPacket, r.fin = s.Ack, m.packet, uint8(m.rest)
		r.dataLast, r.dataLastTop = x.advanced, x.advancedTop
		if s.Len > 0 {
			r.dataLast, r.dataLastTop = uint32(t), uint16(t>>32)
		}
	}
	x.advanced, x.advancedTop = uint32(t), uint16(t>>32)
	if s.Len > 0 {
		x.data++
	}
	return true
}
