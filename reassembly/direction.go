// Package reassembly puts one direction's sequence space back in order: what was sent, acknowledged, missed and repeated.
//
// It keeps facts, not payload. Those that states follow from are minima, maxima and unions over the segments of the
// direction, so that the order in which a capture shows them does not matter; what needs an order takes it from the
// capture's timestamps, and a few hints (Gap, Probes, Repeats, Asked, Window, AckStep, FINBehind) from the order of the capture.
//
// Sequence numbers are compared only with others of the moment: a connection that sends more than 2³¹ octets leaves its ISS
// behind. What is true of the opening is therefore kept as a fact of its own.
package reassembly

import "tcpleak/tcp"

// Mark names a captured segment that a fact rests on. The zero Mark is none.
type Mark struct {
	Time int64  // nanoseconds since 1970, UTC
	ref  uint64 // packet number << flagBits | flags
}

const flagBits = 9

// MarkOf returns the mark of s. Packet numbers above 2⁵⁵ would lose their top bits; a capture never gets there.
func MarkOf(s *tcp.Segment) Mark {
	return Mark{s.Time, s.Packet<<flagBits | uint64(s.Flags&(1<<flagBits-1))}
}

// Seen reports whether m names a segment.
func (m Mark) Seen() bool { return m.ref != 0 }

// Packet returns the segment's packet number, from 1.
func (m Mark) Packet() uint64 { return m.ref >> flagBits }

// Flags returns the segment's flags.
func (m Mark) Flags() tcp.Flags { return tcp.Flags(m.ref & (1<<flagBits - 1)) }

func (m *Mark) first(s *tcp.Segment) {
	if !m.Seen() || s.Time < m.Time {
		*m = MarkOf(s)
	}
}

func (m *Mark) last(s *tcp.Segment) {
	if !m.Seen() || s.Time >= m.Time {
		*m = MarkOf(s)
	}
}

// Reset is a RST as it was sent.
type Reset struct {
	Mark
	Seq, Ack tcp.Seq // Ack is valid if the flags have ACK
	// Stamped is set if it carried a timestamp that X's clock may show. Who forges a RST does not know it.
	Stamped bool
	// Exact is set if it was X's next number, or what Y expected next: of several RSTs, ResetLast is the last exact one if there
	// is one.
	Exact bool
	TSVal uint32 // valid if Stamped
}

// Facts is a set of things known about a direction.
type Facts uint32

// What may be known.
const (
	Started       Facts = 1 << iota // a segment other than RST was seen: Low and Next are valid
	BareSYN                         // a SYN without ACK was sent: an active open
	SYNACK                          // a SYN with ACK was sent
	FIN                             // a FIN was sent
	ACK                             // a segment with ACK was sent
	Plain                           // a segment with ACK and without SYN was sent
	Below                           // SeqBelow is valid
	TSBelow                         // TSBelow is valid
	TimestampSent                   // TSVal is valid
	TimestampEcho                   // TSEcr is valid
	SynTimestamp                    // SynTSVal is valid
	Sacked                          // SACKed is valid
	FINQueued                       // octets before the FIN were not acknowledged when it was sent: it may have waited
	FINBehind                       // the first FIN seen lay behind later segments: perhaps not its first transmission
	BeyondSYN                       // X acknowledged, also selectively, what Y sent after its SYN
	OptionsCut                      // a SYN's options were not all captured
	HolesLost                       // there were more holes than are kept
	ScaleSent                       // a SYN carried a window scale, which is in WindowScale
	SynPayload                      // a SYN carried payload (RFC 7413)
	BeyondFIN                       // payload was sent beyond the FIN
)

const maxHoles = 4

// Direction is what one endpoint sent. In its names the endpoint is X and its peer Y.
type Direction struct {
	// Sequence space. ISS is valid with BareSYN or SYNACK, FIN's position Fin with FIN, Ack with ACK.
	Low    tcp.Seq // the lowest sequence number seen, of the last 2³⁰
	ISS    tcp.Seq
	SynEnd tcp.Seq // the highest sequence number after a SYN and its payload
	Next   tcp.Seq // SND.NXT: the highest sequence number sent, plus one
	Ack    tcp.Seq // the highest acknowledgment sent: X's RCV.NXT
	Fin    tcp.Seq // the sequence number that the FIN occupies
	FinAck tcp.Seq // the lowest acknowledgment on any transmission of the FIN: what X had received when it closed
	// TopAck is the acknowledgment on the first segment that starts at Top, the highest sequence number at which one did.
	Top, TopAck tcp.Seq
	SACKed      tcp.Seq // the highest right edge that X acknowledged selectively
	// SeqBelow and TSBelow are the highest end and TSval of X's segments that acknowledged less than Ack. When Y has
	// received anything of X beyond either, it has received the acknowledgment Ack.
	SeqBelow  tcp.Seq
	TSBelow   uint32
	TSReached uint32 // TSval of the segment AckReached, if TimestampSent
	TSVal     uint32 // the newest
	TSEcr     uint32 // the newest on a segment without SYN
	SynTSVal  uint32 // the newest on a SYN

	AckStep     uint32 // octets by which Ack last advanced
	AskedIdle   uint32 // ms of silence of both ends before Asked, saturating; 0 without an earlier segment
	Window      uint16 // the newest, unscaled
	WindowScale uint8
	Has         Facts

	Packets       uint32
	Retransmitted uint32
	OutOfOrder    uint32
	ZeroWindows   uint32 // times that the window went from open to closed
	DataSegments  uint32 // with payload, retransmissions included
	Probes        uint16 // keep-alives and window probes that Y has not answered, saturating
	Repeats       uint16 // retransmissions and further probes since Asked, saturating
	SYNs          uint16 // transmissions of the SYN, saturating
	FINs          uint16 // transmissions of the FIN, saturating
	nHoles        uint8
	Payload       uint64 // octets, each counted once
	missed        uint64 // octets of holes that were forgotten

	Syn        Mark  // the first SYN
	FirstAck   Mark  // the first segment with ACK that Y may take: not one before the SYN's end, as a keep-alive may be
	FirstPlain Mark  // the first segment with ACK and without SYN
	AckReached Mark  // the first segment that acknowledged Ack
	FinSent    Mark  // the first FIN
	Last       Mark  // the last segment other than RST
	SynLast    int64 // when the SYN was last sent, ns since 1970
	SynAsked   int64 // when it was last sent before Y's FirstAck
	SentLast   int64 // when anything that occupies sequence space was last sent
	ProbeLast  int64 // when the last of Probes was sent
	DataLast   int64 // when payload was last sent for the first time, ns since 1970
	Asked      Mark  // the first segment since Y was last heard that needs an answer
	ZeroSince  Mark  // where the window went to zero; not Seen while it is open
	Gap        int64 // ns between the last retransmission and what was sent before it; 0 without retransmission
	advanced   int64 // when Next last grew
	topTime    int64 // of TopAck

	ResetFirst, ResetLast Reset
	holes                 [maxHoles]tcp.SeqRange // sent, by what was sent later, but not seen; in order
}

// Class says what a segment was for.
type Class uint8

// The classes.
const (
	New             Class = iota // it carries something not sent before
	PureACK                      // it acknowledges and carries nothing
	DuplicateACK                 // it acknowledges what was acknowledged, while the peer has data outstanding
	WindowUpdate                 // it repeats the acknowledgment with another window
	Retransmission               // what it carries was sent before
	OutOfOrder                   // it was overtaken by a later one on its way to the capture
	KeepAlive                    // it repeats the last octet's number to get an answer (RFC 9293 3.8.4)
	ZeroWindowProbe              // as KeepAlive or one octet, into a closed window (RFC 9293 3.8.6.1)
	ResetClass                   // it is a RST
)

// Verdict is what Add found out about a segment.
type Verdict struct {
	Class      Class
	Behind     bool // it ends at or before the highest sequence number that X had sent
	AcksMissed bool // it is the first to acknowledge octets of Y that the capture does not hold
}

// reorderWindow is how far apart in time two segments may be for the later to count as overtaken, not sent again: 3 ms,
// Wireshark's figure for a connection whose round trip is not known.
const reorderWindow = 3e6

// Add takes in a segment that X sent; y is what its peer sent.
func (d *Direction) Add(s *tcp.Segment, y *Direction) Verdict {
	d.Packets++
	if s.Flags.Any(tcp.RST) {
		d.addReset(s, y)
		return Verdict{Class: ResetClass, Behind: d.Has&Started != 0 && !s.Seq.After(d.Next)}
	}
	next, started, before := d.Next, d.Has&Started != 0, d.Last.Time
	d.Last.last(s)
	v := d.addSequence(s, y)
	if s.Seq != s.End() || v.Class == KeepAlive || v.Class == ZeroWindowProbe {
		d.addQuestion(s, y, v.Class, before)
	}
	if v.Class == PureACK && s.Flags.Any(tcp.ACK) && d.Has&ACK != 0 && s.Ack == d.Ack {
		switch {
		case s.Window != d.Window:
			v.Class = WindowUpdate
		case y.Has&Started != 0 && s.Ack.Before(y.Next):
			v.Class = DuplicateACK
		}
	}
	if s.Flags.Any(tcp.SYN) {
		d.addSYN(s, y)
	}
	d.addWindow(s)
	v.AcksMissed = s.Flags.Any(tcp.ACK) && y.missedBetween(d, s.Ack)
	d.addACK(s, y, next, started)
	if s.Flags.Any(tcp.FIN) {
		d.addFIN(s, y, started && !s.End().After(next))
	}
	d.addTimestamps(s)
	return v
}

// addQuestion notes what needs an answer: since when there has been none, and how often X has asked again.
func (d *Direction) addQuestion(s *tcp.Segment, y *Direction, class Class, before int64) {
	switch {
	case !d.Asked.Seen() || y.Last.Time >= d.Asked.Time:
		d.Asked, d.AskedIdle, d.Repeats = MarkOf(s), 0, 0
		if last := max(before, y.Last.Time); last != 0 {
			d.AskedIdle = idle(s.Time - last)
		}
	case class == Retransmission || class == KeepAlive || class == ZeroWindowProbe:
		d.Repeats = saturate(d.Repeats)
	}
	if s.Len == 0 {
		return
	}
	d.DataSegments++
	if class == New {
		d.DataLast = max(d.DataLast, s.Time)
	}
	if d.Has&FIN != 0 && s.End().After(d.Fin+1) {
		d.Has |= BeyondFIN
	}
}

func (d *Direction) addReset(s *tcp.Segment, y *Direction) {
	// Timestamps tick at most once a millisecond (RFC 7323 5.4): 2²⁶ are 18 hours. A guess passes once in 64 times.
	const plausible = 1 << 26
	stamped := s.Options.Has&tcp.HasTimestamps != 0 && d.Has&TimestampSent != 0 && s.Options.TSVal-d.TSVal < plausible
	r := Reset{MarkOf(s), s.Seq, s.Ack, stamped, d.Has&Started != 0 && s.Seq == d.Next || y.Has&ACK != 0 && s.Seq == y.Ack, s.Options.TSVal}
	if !d.ResetFirst.Seen() || s.Time < d.ResetFirst.Time {
		d.ResetFirst = r
	}
	if !d.ResetLast.Seen() || s.Time >= d.ResetLast.Time && (r.Exact || !d.ResetLast.Exact) {
		d.ResetLast = r
	}
}

func (d *Direction) addSYN(s *tcp.Segment, y *Direction) {
	if !d.HasSYN() {
		d.ISS, d.SynEnd = s.Seq, s.End()
	}
	if s.Flags.Any(tcp.ACK) {
		d.Has |= SYNACK
	} else {
		d.Has |= BareSYN
	}
	if s.Len > 0 {
		d.Has |= SynPayload
	}
	d.SynEnd = d.SynEnd.Max(s.End())
	d.SYNs = saturate(d.SYNs)
	d.Syn.first(s)
	d.SynLast = max(d.SynLast, s.Time)
	if !y.FirstAck.Seen() || s.Time <= y.FirstAck.Time {
		d.SynAsked = max(d.SynAsked, s.Time)
	}
	if s.Options.Has&tcp.HasWindowScale != 0 {
		d.WindowScale = s.Options.WindowScale
		d.Has |= ScaleSent
	}
	if s.Options.Has&tcp.HasMalformedOption != 0 {
		d.Has |= OptionsCut
	}
	if s.Options.Has&tcp.HasTimestamps != 0 && (d.Has&SynTimestamp == 0 || newer(s.Options.TSVal, d.SynTSVal)) {
		d.SynTSVal = s.Options.TSVal
		d.Has |= SynTimestamp
	}
}

func (d *Direction) addFIN(s *tcp.Segment, y *Direction, behind bool) {
	d.FINs = saturate(d.FINs)
	switch {
	case d.Has&FIN == 0:
		d.Has |= FIN
		d.Fin, d.FinAck = s.End()-1, s.Ack
		if behind {
			d.Has |= FINBehind
		}
		if !y.Acks(s.Seq) {
			d.Has |= FINQueued
		}
	case s.Ack.Before(d.FinAck):
		d.FinAck = s.Ack
	}
	d.FinSent.first(s)
}

// addACK needs what Next was before s: the end of everything that acknowledged less, when s acknowledges more.
func (d *Direction) addACK(s *tcp.Segment, y *Direction, next tcp.Seq, started bool) {
	switch {
	case !s.Flags.Any(tcp.ACK) || d.Has&ACK != 0 && s.Ack.Before(d.Ack):
		d.addBelow(s)
	case d.Has&ACK == 0 || s.Ack.After(d.Ack):
		if started {
			d.SeqBelow = next
			d.Has |= Below
			if d.Has&TimestampSent != 0 {
				d.TSBelow = d.TSVal
				d.Has |= TSBelow
			}
		}
		if d.Has&ACK != 0 {
			d.AckStep = uint32(s.Ack.Sub(d.Ack))
		}
		d.Ack, d.AckReached, d.TSReached = s.Ack, MarkOf(s), s.Options.TSVal
	case s.Time < d.AckReached.Time:
		d.AckReached, d.TSReached = MarkOf(s), s.Options.TSVal
	}
	if !s.Flags.Any(tcp.ACK) {
		return
	}
	if d.Has&ACK == 0 || s.Seq.After(d.Top) || s.Seq == d.Top && s.Time < d.topTime {
		d.Top, d.TopAck, d.topTime = s.Seq, s.Ack, s.Time
	}
	d.Has |= ACK
	if !d.HasSYN() || s.Seq.After(d.ISS) || s.Flags.Any(tcp.SYN) {
		d.FirstAck.first(s) // RFC 9293 3.10.7.4: what is not acceptable is answered, but its ACK is not processed
	}
	if !s.Flags.Any(tcp.SYN) {
		d.Has |= Plain
		d.FirstPlain.first(s)
	}
	for _, r := range s.Options.SACK[:min(int(s.Options.SACKs), len(s.Options.SACK))] {
		if d.Has&Sacked == 0 || r.Right.After(d.SACKed) {
			d.SACKed = r.Right
			d.Has |= Sacked
		}
	}
	if y.HasSYN() && (d.Ack.After(y.SynEnd) || d.Has&Sacked != 0 && d.SACKed.After(y.SynEnd)) {
		d.Has |= BeyondSYN
	}
	if d.Ack.AtOrAfter(d.SACKed) {
		d.Has &^= Sacked
	}
}

// addBelow notes a segment that acknowledges less than Ack, or nothing.
func (d *Direction) addBelow(s *tcp.Segment) {
	if end := s.End(); d.Has&Below == 0 || end.After(d.SeqBelow) {
		d.SeqBelow = end
	}
	d.Has |= Below
	if s.Options.Has&tcp.HasTimestamps != 0 && (d.Has&TSBelow == 0 || newer(s.Options.TSVal, d.TSBelow)) {
		d.TSBelow = s.Options.TSVal
		d.Has |= TSBelow
	}
}

func (d *Direction) addTimestamps(s *tcp.Segment) {
	if s.Options.Has&tcp.HasTimestamps == 0 {
		return
	}
	if d.Has&TimestampSent == 0 || newer(s.Options.TSVal, d.TSVal) {
		d.TSVal = s.Options.TSVal
		d.Has |= TimestampSent
	}
	// A SYN-ACK's echo proves nothing about the handshake's ACK: Linux updates the echo of a request socket even when
	// the accept queue is full and the ACK is thrown away.
	if s.Flags.Any(tcp.ACK) && !s.Flags.Any(tcp.SYN) && (d.Has&TimestampEcho == 0 || newer(s.Options.TSEcr, d.TSEcr)) {
		d.TSEcr = s.Options.TSEcr
		d.Has |= TimestampEcho
	}
}

func (d *Direction) addWindow(s *tcp.Segment) {
	if s.Time < d.Last.Time {
		return
	}
	switch {
	case s.Window != 0:
		d.ZeroSince = Mark{}
	case !s.Flags.Any(tcp.SYN) && (d.Window != 0 || d.Packets == 1):
		d.ZeroWindows++
		d.ZeroSince = MarkOf(s)
	}
	d.Window = s.Window
}

// addSequence places the octets of s among those sent before.
func (d *Direction) addSequence(s *tcp.Segment, y *Direction) Verdict {
	seq, end := s.Seq, s.End()
	occupies := seq != end
	if d.Has&Started == 0 {
		d.Has |= Started
		d.Low, d.Next = seq, end
		d.advanced = s.Time
		if !occupies {
			return Verdict{Class: PureACK}
		}
		d.SentLast = s.Time
		d.Payload += uint64(s.Len)
		return Verdict{Class: New}
	}
	if class, ok := d.probe(s, y); ok {
		if y.Last.Time >= d.ProbeLast {
			d.Probes = 0
		}
		d.Probes, d.ProbeLast = saturate(d.Probes), max(d.ProbeLast, s.Time)
		return Verdict{Class: class, Behind: true}
	}
	v := Verdict{Behind: !end.After(d.Next)}
	if seq.After(d.Next) {
		d.addHole(tcp.SeqRange{Left: d.Next, Right: seq})
	}
	fresh := uint32(0)
	if end.After(d.Next) {
		from := d.Next.Max(seq)
		fresh = uint32(end.Sub(from))
		d.Next = end
		d.advanced = max(d.advanced, s.Time)
	}
	d.forget()
	filled := d.fill(tcp.SeqRange{Left: seq, Right: end})
	if seq.Before(d.Low) {
		stop := d.Low
		if end.Before(stop) {
			stop = end
			d.addHoleBefore(tcp.SeqRange{Left: end, Right: d.Low})
		}
		filled += uint32(stop.Sub(seq))
		d.Low = seq
	}
	switch {
	case !occupies:
		v.Class = PureACK
	case fresh > 0:
		v.Class = New
	case filled > 0 && s.Time-d.advanced < reorderWindow:
		v.Class = OutOfOrder
		d.OutOfOrder++
	default:
		v.Class = Retransmission
		d.Retransmitted++
		if gap := s.Time - d.SentLast; gap > 0 {
			d.Gap = gap
		}
	}
	// After the FIN, an old duplicate of the SYN and what lies beyond the FIN repeat nothing that waits for an answer. A SYN-ACK
	// does: with Fast Open, the FIN may leave before the handshake is complete.
	if occupies && (d.Has&FIN == 0 || !seq.After(d.Fin) && s.Flags&(tcp.SYN|tcp.ACK) != tcp.SYN) {
		d.SentLast = max(d.SentLast, s.Time)
	}
	d.Payload += uint64(min(fresh+filled, s.Len))
	return v
}

// memory is how far behind Next anything is still compared: no window reaches farther (RFC 7323 2.2).
const memory = 1 << 30

// forget lets go of what lies too far behind to be compared.
func (d *Direction) forget() {
	if uint32(d.Next-d.Low) <= memory {
		return
	}
	d.Low = d.Next - memory
	for d.nHoles > 0 && d.holes[0].Left.Before(d.Low) {
		d.missed += uint64(d.holes[0].Right.Sub(d.holes[0].Left))
		d.Has |= HolesLost
		copy(d.holes[:], d.holes[1:d.nHoles])
		d.nHoles--
	}
}

// probe tells keep-alives and window probes, which repeat the number of the last octet, from its retransmission: one octet
// that Y has not acknowledged is sent for its own sake.
func (d *Direction) probe(s *tcp.Segment, y *Direction) (Class, bool) {
	if s.Flags.Any(tcp.SYN|tcp.FIN) || s.Len > 1 || s.Seq != d.Next-1 {
		return 0, false
	}
	switch {
	case y.Has&ACK != 0 && y.Window == 0:
		return ZeroWindowProbe, true
	case s.Len == 0 || y.Acks(d.Next):
		return KeepAlive, true
	}
	return 0, false
}

// addHole appends r, which lies behind all others. The oldest makes room: what it hides is then no longer known. What follows
// right behind another is the same hole: a capture that leaves payload out would have one for each ACK between.
func (d *Direction) addHole(r tcp.SeqRange) {
	if d.nHoles > 0 && d.holes[d.nHoles-1].Right == r.Left {
		d.holes[d.nHoles-1].Right = r.Right
		return
	}
	if int(d.nHoles) == len(d.holes) {
		copy(d.holes[:], d.holes[1:])
		d.nHoles--
		d.Has |= HolesLost
	}
	d.holes[d.nHoles] = r
	d.nHoles++
}

// addHoleBefore inserts r, which lies before all others.
func (d *Direction) addHoleBefore(r tcp.SeqRange) {
	if int(d.nHoles) == len(d.holes) {
		d.Has |= HolesLost
		return
	}
	copy(d.holes[1:], d.holes[:d.nHoles])
	d.holes[0] = r
	d.nHoles++
}

// fill takes r out of the holes and returns how many octets of them it covered.
func (d *Direction) fill(r tcp.SeqRange) uint32 {
	var covered uint32
	for i := 0; i < int(d.nHoles); i++ {
		h := &d.holes[i]
		if !r.Left.Before(h.Right) || !h.Left.Before(r.Right) {
			continue
		}
		left, right := h.Left.Max(r.Left), h.Right
		if r.Right.Before(right) {
			right = r.Right
		}
		covered += uint32(right.Sub(left))
		switch {
		case left == h.Left && right == h.Right:
			copy(d.holes[i:], d.holes[i+1:d.nHoles])
			d.nHoles--
			i--
		case left == h.Left:
			h.Left = right
		case right == h.Right:
			h.Right = left
		default:
			rest := tcp.SeqRange{Left: right, Right: h.Right}
			h.Right = left
			if int(d.nHoles) == len(d.holes) {
				d.Has |= HolesLost
				continue
			}
			copy(d.holes[i+2:], d.holes[i+1:d.nHoles])
			d.holes[i+1] = rest
			d.nHoles++
		}
	}
	return covered
}

// Foreign reports whether s cannot be X's own: the two ends agreed on timestamps, which X then puts on every segment
// (RFC 7323 3.2), and s has none. It must not be believed, except where it is exactly the next: there Y may well take it.
func (d *Direction) Foreign(s *tcp.Segment, y *Direction) bool {
	return d.Has&y.Has&TimestampSent != 0 && s.Options.Has&(tcp.HasTimestamps|tcp.HasMalformedOption) == 0 &&
		!s.Flags.Any(tcp.SYN|tcp.RST) && s.Seq != d.Next
}

// WindowEnd returns the end of what X lets y send, as far as its newest segment says. Scaling needs both ends' consent, which a
// SYN with options cut off does not show: then the window is as good as endless.
func (d *Direction) WindowEnd(y *Direction) tcp.Seq {
	shift := uint8(14)
	if d.HasSYN() && y.HasSYN() && d.Has&y.Has&OptionsCut == 0 {
		shift = min(d.WindowScale, shift)
		if y.Has&ScaleSent == 0 {
			shift = 0
		}
	}
	return d.Ack.Add(uint32(d.Window) << shift)
}

// HasSYN reports whether the SYN was seen.
func (d *Direction) HasSYN() bool { return d.Has&(BareSYN|SYNACK) != 0 }

// OnlyResets reports whether RSTs are all that X was seen to send.
func (d *Direction) OnlyResets() bool { return d.ResetFirst.Seen() && d.Has&Started == 0 }

// HasFIN reports whether the FIN was seen.
func (d *Direction) HasFIN() bool { return d.Has&FIN != 0 }

// AckWithFIN returns what X had received at most when it sent its FIN: the lowest acknowledgment on any transmission of the
// FIN, or on what lies beyond it and was sent later than the first.
func (d *Direction) AckWithFIN() tcp.Seq {
	if d.Top == d.Fin+1 && d.TopAck.Before(d.FinAck) {
		return d.TopAck
	}
	return d.FinAck
}

// Acks reports whether X has acknowledged everything before seq.
func (d *Direction) Acks(seq tcp.Seq) bool { return d.Has&ACK != 0 && d.Ack.AtOrAfter(seq) }

// AcksUnseenFIN guesses whether X has acknowledged a FIN of a peer whose segments were not captured: X's acknowledgment
// advanced after X had sent its own FIN, or last advanced by one octet, as it does for a FIN and hardly ever for data.
func (d *Direction) AcksUnseenFIN() bool {
	return d.HasFIN() && d.Ack.After(d.FinAck) || d.AckStep == 1
}

// Missed returns how many octets X has sent that the capture does not hold, although y, the peer, acknowledged them.
func (d *Direction) Missed(y *Direction) uint64 {
	if d.Has&Started == 0 || y.Has&ACK == 0 {
		return 0
	}
	n := d.missed
	if beyond := y.Ack.Sub(d.Next); beyond > 0 {
		n += uint64(beyond)
	}
	for _, h := range d.holes[:d.nHoles] {
		right := h.Right
		if y.Ack.Before(right) {
			right = y.Ack
		}
		if right.After(h.Left) {
			n += uint64(right.Sub(h.Left))
		}
	}
	return n
}

// missedBetween reports whether octets of X that the capture does not hold lie after y's acknowledgments so far and
// before ack.
func (d *Direction) missedBetween(y *Direction, ack tcp.Seq) bool {
	if d.Has&Started == 0 || y.Acks(ack) {
		return false
	}
	if ack.After(d.Next) {
		return true
	}
	for _, h := range d.holes[:d.nHoles] {
		if h.Left.Before(ack) && (y.Has&ACK == 0 || h.Right.After(y.Ack)) {
			return true
		}
	}
	return false
}

// Doubtful reports whether something that X sent may not have been seen: a hole in its sequence space, an acknowledgment
// by y of what was not sent or not yet sent, or an echo of a timestamp that no segment of X carried.
func (d *Direction) Doubtful(y *Direction) bool {
	if d.nHoles > 0 || d.Has&HolesLost != 0 {
		return true
	}
	if d.Has&Started != 0 && y.Has&ACK != 0 && y.Ack.After(d.Next) {
		return true
	}
	// Y had the FIN before it was seen: what was seen is a repetition, and says nothing about the first.
	if y.Acks(d.Fin+1) && y.AckReached.Time+int64(reorderWindow) < d.FinSent.Time {
		return true
	}
	return d.Has&TimestampSent != 0 && y.Has&TimestampEcho != 0 && newer(y.TSEcr, d.TSVal)
}

// Outstanding reports whether X has sent something that y has not acknowledged. What y has acknowledged may still be
// outstanding for X, if the ACK is lost.
func (d *Direction) Outstanding(y *Direction) bool {
	return d.Has&Started != 0 && (y.Has&ACK == 0 || d.Next.After(y.Ack))
}

// newer compares timestamp values, which wrap (RFC 7323 5.2).
func newer(a, b uint32) bool { return int32(a-b) > 0 }

// idle turns ns into ms.
func idle(ns int64) uint32 { return uint32(min(max(ns/1e6, 0), 1<<32-1)) }

func saturate(n uint16) uint16 {
	if n == 1<<16-1 {
		return n
	}
	return n + 1
}
