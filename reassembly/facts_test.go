package reassembly_test

import (
	"testing"

	"tcpleak/reassembly"
	"tcpleak/tcp"
)

func stamp(s *tcp.Segment, val, ecr uint32) *tcp.Segment {
	s.Options.TSVal, s.Options.TSEcr = val, ecr
	s.Options.Has |= tcp.HasTimestamps
	return s
}

func window(s *tcp.Segment, w uint16) *tcp.Segment {
	s.Window = w
	return s
}

func sack(s *tcp.Segment, ranges ...tcp.SeqRange) *tcp.Segment {
	s.Options.SACKs = uint8(copy(s.Options.SACK[:], ranges))
	return s
}

// wraps are first sequence numbers around which numbers wrap, or change sign where they are compared.
var wraps = []tcp.Seq{1000, 1<<32 - 50, 1<<32 - 150, 1<<31 - 50, 1<<31 - 150}

func TestWhatASegmentIsFor(t *testing.T) {
	for _, c := range []struct {
		name string
		x, y []*tcp.Segment // what x sends is added after y
		want reassembly.Verdict
	}{
		{"an ACK while the peer has data outstanding", []*tcp.Segment{acks(seg(0, 0, 0, 9), 5), acks(seg(ms, 0, 9, 9), 5)},
			[]*tcp.Segment{seg(0, 0, 1, 7)}, reassembly.Verdict{Class: reassembly.DuplicateACK, Behind: true}},
		{"an ACK of all that the peer has sent", []*tcp.Segment{acks(seg(0, 0, 0, 9), 5), acks(seg(ms, 0, 9, 9), 5)},
			[]*tcp.Segment{seg(0, 0, 1, 5)}, reassembly.Verdict{Class: reassembly.PureACK, Behind: true}},
		{"an ACK of a peer that was not captured", []*tcp.Segment{acks(seg(0, 0, 0, 9), 5), acks(seg(ms, 0, 9, 9), 5)},
			nil, reassembly.Verdict{Class: reassembly.PureACK, Behind: true}},
		{"an ACK of more, with another window", []*tcp.Segment{acks(seg(0, 0, 0, 9), 5), window(acks(seg(ms, 0, 9, 9), 6), 7)},
			[]*tcp.Segment{seg(0, 0, 1, 7)}, reassembly.Verdict{Class: reassembly.PureACK, Behind: true}},
		{"data with another window", []*tcp.Segment{acks(seg(0, 0, 0, 9), 5), window(acks(seg(ms, 0, 9, 19), 5), 7)},
			[]*tcp.Segment{seg(0, 0, 1, 7)}, reassembly.Verdict{Class: reassembly.New}},
		{"a RST at the next number", []*tcp.Segment{seg(0, 0, 0, 9), seg(ms, tcp.RST, 9, 9)}, nil,
			reassembly.Verdict{Class: reassembly.ResetClass, Behind: true}},
		{"a RST beyond", []*tcp.Segment{seg(0, 0, 0, 9), seg(ms, tcp.RST, 10, 10)}, nil,
			reassembly.Verdict{Class: reassembly.ResetClass}},
		{"a RST of an end that has sent nothing", []*tcp.Segment{seg(ms, tcp.RST, 0, 0)}, nil,
			reassembly.Verdict{Class: reassembly.ResetClass}},
		{"an ACK of what the capture does not hold", []*tcp.Segment{acks(seg(0, 0, 0, 9), 8)},
			[]*tcp.Segment{seg(0, 0, 1, 7)}, reassembly.Verdict{Class: reassembly.New, AcksMissed: true}},
		{"an ACK of all that the capture holds", []*tcp.Segment{acks(seg(0, 0, 0, 9), 7)},
			[]*tcp.Segment{seg(0, 0, 1, 7)}, reassembly.Verdict{Class: reassembly.New}},
		{"an ACK of a hole", []*tcp.Segment{acks(seg(0, 0, 0, 9), 4)},
			[]*tcp.Segment{seg(0, 0, 1, 3), seg(0, 0, 5, 7)}, reassembly.Verdict{Class: reassembly.New, AcksMissed: true}},
		{"an ACK up to a hole", []*tcp.Segment{acks(seg(0, 0, 0, 9), 3)},
			[]*tcp.Segment{seg(0, 0, 1, 3), seg(0, 0, 5, 7)}, reassembly.Verdict{Class: reassembly.New}},
		{"an ACK of a hole that was acknowledged before", []*tcp.Segment{acks(seg(0, 0, 0, 9), 5), acks(seg(ms, 0, 9, 19), 7)},
			[]*tcp.Segment{seg(0, 0, 1, 3), seg(0, 0, 5, 7)}, reassembly.Verdict{Class: reassembly.New}},
		{"an ACK of the rest of a hole", []*tcp.Segment{acks(seg(0, 0, 0, 9), 4), acks(seg(ms, 0, 9, 19), 5)},
			[]*tcp.Segment{seg(0, 0, 1, 3), seg(0, 0, 5, 7)}, reassembly.Verdict{Class: reassembly.New, AcksMissed: true}},
		{"the same ACK of a hole again", []*tcp.Segment{acks(seg(0, 0, 0, 9), 4), acks(seg(ms, 0, 9, 19), 4)},
			[]*tcp.Segment{seg(0, 0, 1, 3), seg(0, 0, 5, 7)}, reassembly.Verdict{Class: reassembly.New}},
		{"data without ACK", []*tcp.Segment{seg(0, 0, 0, 9)},
			[]*tcp.Segment{seg(0, 0, 1<<31+1, 1<<31+7)}, reassembly.Verdict{Class: reassembly.New}},
		{"a hole filled within 3 ms of the last new octet", []*tcp.Segment{
			seg(0, 0, 0, 9), seg(5*ms, 0, 19, 29), seg(7*ms, 0, 9, 19),
		}, nil, reassembly.Verdict{Class: reassembly.OutOfOrder, Behind: true}},
		{"a hole before the first segment filled at once", []*tcp.Segment{seg(5*ms, 0, 19, 29), seg(6*ms, 0, 9, 19)},
			nil, reassembly.Verdict{Class: reassembly.OutOfOrder, Behind: true}},
		{"sent twice within 3 ms", []*tcp.Segment{seg(0, 0, 0, 9), seg(ms, 0, 0, 9)}, nil,
			reassembly.Verdict{Class: reassembly.Retransmission, Behind: true}},
		{"a retransmission with something new behind it", []*tcp.Segment{seg(0, 0, 0, 9), seg(300*ms, 0, 0, 19)}, nil,
			reassembly.Verdict{Class: reassembly.New}},
		{"the last octet again, acknowledged: it asks for an answer", []*tcp.Segment{seg(0, 0, 0, 9), seg(5000*ms, 0, 8, 9)},
			[]*tcp.Segment{acks(seg(0, 0, 1, 1), 9)}, reassembly.Verdict{Class: reassembly.KeepAlive, Behind: true}},
		{"the last octet again, not acknowledged: it is sent for its own sake", []*tcp.Segment{seg(0, 0, 0, 9), seg(300*ms, 0, 8, 9)},
			[]*tcp.Segment{acks(seg(0, 0, 1, 1), 8)}, reassembly.Verdict{Class: reassembly.Retransmission, Behind: true}},
		{"the last octet and one more", []*tcp.Segment{seg(0, 0, 0, 9), seg(5000*ms, 0, 8, 10)},
			[]*tcp.Segment{acks(seg(0, 0, 1, 1), 9)}, reassembly.Verdict{Class: reassembly.New}},
		{"the FIN again", []*tcp.Segment{seg(0, tcp.FIN, 0, 9), seg(300*ms, tcp.FIN, 9, 9)},
			[]*tcp.Segment{acks(seg(0, 0, 1, 1), 10)}, reassembly.Verdict{Class: reassembly.Retransmission, Behind: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x, y reassembly.Direction
			add(&y, &x, c.y...)
			if got := add(&x, &y, c.x...); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestWindowEnd(t *testing.T) {
	syn := func(at int64, flags tcp.Flags, scale uint8, has tcp.OptionSet) *tcp.Segment {
		s := seg(at, flags, 0, 0)
		s.Options.WindowScale, s.Options.Has = scale, has
		return s
	}
	const scaled = tcp.HasWindowScale
	for _, c := range []struct {
		name string
		x, y []*tcp.Segment
		want uint32 // octets beyond the acknowledgment
	}{
		{"no scaling", []*tcp.Segment{syn(0, tcp.SYN, 0, 0)}, []*tcp.Segment{syn(0, tcp.SYN|tcp.ACK, 0, 0)}, 10},
		{"both scale", []*tcp.Segment{syn(0, tcp.SYN, 3, scaled)}, []*tcp.Segment{syn(0, tcp.SYN|tcp.ACK, 7, scaled)}, 10 << 3},
		{"only this end offers to", []*tcp.Segment{syn(0, tcp.SYN, 3, scaled)}, []*tcp.Segment{syn(0, tcp.SYN|tcp.ACK, 0, 0)}, 10},
		{"only the other end offers to", []*tcp.Segment{syn(0, tcp.SYN, 0, 0)}, []*tcp.Segment{syn(0, tcp.SYN|tcp.ACK, 7, scaled)}, 10},
		{"more than RFC 7323 allows", []*tcp.Segment{syn(0, tcp.SYN, 15, scaled)},
			[]*tcp.Segment{syn(0, tcp.SYN|tcp.ACK, 7, scaled)}, 10 << 14},
		{"this SYN was missed", []*tcp.Segment{seg(0, 0, 1, 1)}, []*tcp.Segment{syn(0, tcp.SYN|tcp.ACK, 7, scaled)}, 10 << 14},
		{"the other SYN was missed", []*tcp.Segment{syn(0, tcp.SYN, 3, scaled)}, []*tcp.Segment{seg(0, 0, 1, 1)}, 10 << 14},
		{"both were cut off", []*tcp.Segment{syn(0, tcp.SYN, 0, tcp.HasMalformedOption)},
			[]*tcp.Segment{syn(0, tcp.SYN|tcp.ACK, 0, tcp.HasMalformedOption)}, 10 << 14},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, base := range wraps {
				var x, y reassembly.Direction
				add(&x, &y, c.x...)
				add(&y, &x, c.y...)
				add(&x, &y, window(acks(seg(ms, 0, 1, 1), base), 10))
				if got := x.WindowEnd(&y).Sub(base); uint32(got) != c.want {
					t.Errorf("acknowledging %d: window of %d octets, want %d", base, got, c.want)
				}
			}
		})
	}
}

func TestForeignSegments(t *testing.T) {
	plain := func(flags tcp.Flags, seq tcp.Seq) *tcp.Segment { return acks(seg(9*ms, flags, seq, seq), 300) }
	cut := plain(0, 150)
	cut.Options.Has = tcp.HasMalformedOption
	for _, c := range []struct {
		name           string
		xStamps, ySays bool
		s              *tcp.Segment
		want           bool
	}{
		{"without the timestamp that both ends use", true, true, plain(0, 150), true},
		{"far below", true, true, plain(0, 1<<32-1<<20), true},
		{"exactly the next", true, true, plain(0, 200), false},
		{"with a timestamp", true, true, stamp(plain(0, 150), 1, 1), false},
		{"its options were not all captured", true, true, cut, false},
		{"a SYN", true, true, plain(tcp.SYN, 150), false},
		{"a RST, which need not carry one", true, true, plain(tcp.RST, 150), false},
		{"only the peer uses timestamps", false, true, plain(0, 150), false},
		{"only this end uses timestamps", true, false, plain(0, 150), false},
		{"no end does", false, false, plain(0, 150), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x, y reassembly.Direction
			mine, theirs := acks(seg(0, 0, 100, 200), 300), acks(seg(0, 0, 300, 300), 200)
			if c.xStamps {
				stamp(mine, 1000, 2000)
			}
			if c.ySays {
				stamp(theirs, 2000, 1000)
			}
			add(&x, &y, mine)
			add(&y, &x, theirs)
			if got := x.Foreign(c.s, &y); got != c.want {
				t.Errorf("Foreign = %v, want %v", got, c.want)
			}
		})
	}
}

func TestAResetShowsItsSendersClock(t *testing.T) {
	for _, c := range []struct {
		name   string
		stamps bool
		rst    *tcp.Segment
		want   bool
	}{
		{"the newest timestamp", true, stamp(seg(ms, tcp.RST, 9, 9), 1000, 0), true},
		{"18 hours later", true, stamp(seg(ms, tcp.RST, 9, 9), 1000+1<<26-1, 0), true},
		{"later than any clock", true, stamp(seg(ms, tcp.RST, 9, 9), 1000+1<<26, 0), false},
		{"an older one", true, stamp(seg(ms, tcp.RST, 9, 9), 999, 0), false},
		{"none", true, seg(ms, tcp.RST, 9, 9), false},
		{"none, although the value would fit", true, &tcp.Segment{
			Time: ms, Packet: 9, Flags: tcp.RST, Options: tcp.Options{TSVal: 1000},
		}, false},
		{"one where the sender used none", false, stamp(seg(ms, tcp.RST, 9, 9), 1000, 0), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x, y reassembly.Direction
			first := seg(0, 0, 0, 9)
			if c.stamps {
				stamp(first, 1000, 0)
			}
			add(&x, &y, first, c.rst)
			if x.ResetLast.Stamped != c.want {
				t.Errorf("Stamped = %v, want %v", x.ResetLast.Stamped, c.want)
			}
		})
	}
}

func TestSACKRemembersTheHighestRange(t *testing.T) {
	r := func(left, right tcp.Seq) tcp.SeqRange { return tcp.SeqRange{Left: left, Right: right} }
	for _, c := range []struct {
		name   string
		sent   []*tcp.Segment
		sacked bool
		want   tcp.Seq
	}{
		{"of several in one segment", []*tcp.Segment{sack(acks(seg(0, 0, 0, 0), 100), r(120, 130), r(150, 160), r(140, 145))}, true, 160},
		{"of several segments", []*tcp.Segment{
			sack(acks(seg(0, 0, 0, 0), 100), r(120, 130)), sack(acks(seg(ms, 0, 0, 0), 100), r(120, 140)),
			sack(acks(seg(2*ms, 0, 0, 0), 100), r(120, 130)),
		}, true, 140},
		{"not a duplicate below the acknowledgment (RFC 2883)", []*tcp.Segment{sack(acks(seg(0, 0, 0, 0), 100), r(80, 90))}, false, 0},
		{"not one up to it", []*tcp.Segment{sack(acks(seg(0, 0, 0, 0), 100), r(80, 100))}, false, 0},
		{"not once it is acknowledged", []*tcp.Segment{
			sack(acks(seg(0, 0, 0, 0), 100), r(120, 130)), acks(seg(ms, 0, 0, 0), 130),
		}, false, 0},
		{"until all of it is", []*tcp.Segment{
			sack(acks(seg(0, 0, 0, 0), 100), r(120, 130)), acks(seg(ms, 0, 0, 0), 129),
		}, true, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, base := range wraps {
				var x, y reassembly.Direction
				for _, s := range c.sent {
					s := *s
					s.Ack += base
					for i := range s.Options.SACK {
						s.Options.SACK[i].Left += base
						s.Options.SACK[i].Right += base
					}
					x.Add(&s, &y)
				}
				if got := x.Has&reassembly.Sacked != 0; got != c.sacked || got && x.SACKed-base != c.want {
					t.Errorf("from %d: SACKed %v at %d, want %v at %d", base, got, x.SACKed-base, c.sacked, c.want)
				}
			}
		})
	}
}

func TestHoles(t *testing.T) {
	for _, c := range []struct {
		name    string
		sent    []*tcp.Segment
		acked   tcp.Seq
		missed  uint64
		payload uint64
		doubt   bool
	}{
		{"none", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 10, 20)}, 20, 0, 20, false},
		{"one", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 15, 20)}, 20, 5, 15, true},
		{"one, acknowledged in part", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 15, 20)}, 12, 2, 15, true},
		{"one, not acknowledged", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 15, 20)}, 10, 0, 15, true},
		{"filled", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 15, 20), seg(2*ms, 0, 10, 15)}, 20, 0, 20, false},
		{"filled from the left", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 15, 20), seg(2*ms, 0, 8, 12)}, 20, 3, 17, true},
		{"filled from the right", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 15, 20), seg(2*ms, 0, 12, 18)}, 20, 2, 18, true},
		{"filled from the left, then the rest", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 15, 20), seg(2*ms, 0, 8, 12), seg(3*ms, 0, 12, 15),
		}, 20, 0, 20, false},
		{"filled from the right, then the rest", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 15, 20), seg(2*ms, 0, 12, 15), seg(3*ms, 0, 10, 12),
		}, 20, 0, 20, false},
		{"filled in the middle", []*tcp.Segment{seg(0, 0, 0, 10), seg(ms, 0, 15, 20), seg(2*ms, 0, 12, 13)}, 20, 4, 16, true},
		{"filled in the middle, then wholly", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 15, 20), seg(2*ms, 0, 12, 13), seg(3*ms, 0, 5, 20),
		}, 20, 0, 20, false},
		{"filled in the middle of the first of three", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 20, 30), seg(ms, 0, 40, 50), seg(ms, 0, 60, 70), seg(2*ms, 0, 13, 16), seg(3*ms, 0, 30, 40),
		}, 70, 17, 53, true},
		{"three, filled by one", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 20, 30), seg(ms, 0, 40, 50), seg(ms, 0, 60, 70), seg(3*ms, 0, 5, 65),
		}, 70, 0, 70, false},
		{"before the first segment", []*tcp.Segment{seg(0, 0, 20, 30), seg(ms, 0, 0, 10)}, 30, 10, 20, true},
		{"before the first segment, filled by what overlaps it", []*tcp.Segment{seg(0, 0, 20, 30), seg(ms, 0, 0, 25)}, 30, 0, 30, false},
		{"more octets acknowledged than were sent", []*tcp.Segment{seg(0, 0, 0, 10)}, 13, 3, 10, true},
		{"one more than is kept: the oldest is forgotten", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 17, 30), seg(ms, 0, 40, 50), seg(ms, 0, 60, 70), seg(ms, 0, 81, 90), seg(ms, 0, 103, 110),
		}, 110, 44, 59, true},
		{"all forgotten or filled: still in doubt", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 20, 30), seg(ms, 0, 40, 50), seg(ms, 0, 60, 70), seg(ms, 0, 80, 90), seg(ms, 0, 100, 110),
			seg(2*ms, 0, 0, 110),
		}, 110, 0, 100, true},
		{"one before four: it is not kept, and in doubt", []*tcp.Segment{
			seg(0, 0, 20, 30), seg(ms, 0, 40, 50), seg(ms, 0, 60, 70), seg(ms, 0, 80, 90), seg(ms, 0, 100, 110), seg(ms, 0, 0, 10),
			seg(2*ms, 0, 30, 110),
		}, 110, 0, 100, true},
		{"ACKs between payload that is never captured: one, and no end to it", []*tcp.Segment{
			seg(0, 0, 0, 0), seg(ms, 0, 10, 10), seg(2*ms, 0, 20, 20), seg(3*ms, 0, 30, 30), seg(4*ms, 0, 40, 40), seg(5*ms, 0, 50, 50), seg(6*ms, 0, 60, 60),
		}, 60, 60, 0, true},
		{"one of four split: the rest is not kept, and in doubt", []*tcp.Segment{
			seg(0, 0, 0, 10), seg(ms, 0, 20, 30), seg(ms, 0, 40, 50), seg(ms, 0, 60, 70), seg(ms, 0, 80, 90), seg(ms, 0, 13, 16),
			seg(2*ms, 0, 5, 13), seg(2*ms, 0, 20, 90),
		}, 90, 0, 86, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, base := range wraps {
				var x, y reassembly.Direction
				for _, s := range c.sent {
					s := *s
					s.Seq += base
					x.Add(&s, &y)
				}
				add(&y, &x, acks(seg(9*ms, 0, 1, 1), base+c.acked))
				if x.Missed(&y) != c.missed || x.Payload != c.payload || x.Doubtful(&y) != c.doubt {
					t.Errorf("from %d: %d missed, %d octets, doubtful %v; want %d, %d, %v",
						base, x.Missed(&y), x.Payload, x.Doubtful(&y), c.missed, c.payload, c.doubt)
				}
			}
		})
	}
}

func TestNothingIsMissedOfWhoWasNotSeenOrNotAcknowledged(t *testing.T) {
	var x, y reassembly.Direction
	add(&y, &x, acks(seg(0, 0, 1, 1), 1<<20))
	if n := x.Missed(&y); n != 0 {
		t.Errorf("%d octets missed of an end that was not captured, want 0", n)
	}
	var z reassembly.Direction
	add(&x, &z, seg(0, 0, 1<<31+5, 1<<31+9))
	if n := x.Missed(&z); n != 0 {
		t.Errorf("%d octets missed before any acknowledgment, want 0", n)
	}
	if !x.Outstanding(&z) {
		t.Error("what nobody has acknowledged is outstanding")
	}
}

// Holes 2³⁰ octets behind can no longer be told from what lies ahead: they are counted, and leave a doubt.
func TestOldHolesAreForgottenButCounted(t *testing.T) {
	for _, base := range wraps {
		var x, y reassembly.Direction
		add(&x, &y, seg(0, 0, base, base+10), seg(ms, 0, base+15, base+20))
		at := base + 20
		for i := range 6 {
			if i == 2 {
				at += 3 // another hole, which is not forgotten
			}
			add(&x, &y, seg(ms, 0, at, at+1<<28))
			at += 1 << 28
		}
		add(&y, &x, acks(seg(2*ms, 0, 1, 1), at))
		if n := x.Missed(&y); n != 8 {
			t.Errorf("from %d: %d octets missed, want the 5 and 3 of the holes", base, n)
		}
		if !x.Doubtful(&y) {
			t.Errorf("from %d: a hole that was forgotten must leave a doubt", base)
		}
		if got := x.Next.Sub(x.Low); got != 1<<30 {
			t.Errorf("from %d: remembers %d octets back, want 2³⁰", base, got)
		}
	}
}

func TestWhatLeavesADoubt(t *testing.T) {
	for _, c := range []struct {
		name string
		x, y []*tcp.Segment
		want bool
	}{
		{"a FIN acknowledged after it was sent", []*tcp.Segment{seg(ms, tcp.FIN, 9, 9)}, []*tcp.Segment{acks(seg(2*ms, 0, 1, 1), 10)}, false},
		{"a FIN acknowledged long before the one that was captured", []*tcp.Segment{seg(300*ms, tcp.FIN, 9, 9)},
			[]*tcp.Segment{acks(seg(ms, 0, 1, 1), 10)}, true},
		{"a FIN acknowledged just before it, in a capture that is out of order", []*tcp.Segment{seg(4*ms, tcp.FIN, 9, 9)},
			[]*tcp.Segment{acks(seg(ms, 0, 1, 1), 10)}, false},
		{"data before a FIN acknowledged before it", []*tcp.Segment{seg(0, 0, 0, 9), seg(300*ms, tcp.FIN, 9, 9)},
			[]*tcp.Segment{acks(seg(ms, 0, 1, 1), 9)}, false},
		{"an echo of a timestamp that was sent", []*tcp.Segment{stamp(seg(0, 0, 0, 9), 1000, 1)},
			[]*tcp.Segment{stamp(acks(seg(ms, 0, 1, 1), 9), 1, 1000)}, false},
		{"an echo of a timestamp that was not captured", []*tcp.Segment{stamp(seg(0, 0, 0, 9), 1000, 1)},
			[]*tcp.Segment{stamp(acks(seg(ms, 0, 1, 1), 9), 1, 1001)}, true},
		{"an acknowledgment of an end that was not captured", nil, []*tcp.Segment{acks(seg(ms, 0, 1, 1), 9)}, false},
		{"no acknowledgment", []*tcp.Segment{seg(0, 0, 1<<31+1, 1<<31+9)}, []*tcp.Segment{seg(ms, 0, 1, 1)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x, y reassembly.Direction
			add(&x, &y, c.x...)
			add(&y, &x, c.y...)
			if got := x.Doubtful(&y); got != c.want {
				t.Errorf("Doubtful = %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheFINKeepsTheLowestAcknowledgment(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, acks(seg(300*ms, tcp.FIN, 100, 100), 51), acks(seg(0, tcp.FIN, 100, 100), 50), acks(seg(600*ms, tcp.FIN, 100, 100), 52))
	if x.FinAck != 50 || x.FINs != 3 || x.FinSent.Time != 0 {
		t.Errorf("FIN acknowledging %d, sent %d times, first at %d; want 50, 3, 0", x.FinAck, x.FINs, x.FinSent.Time)
	}
}

func TestWhatIsSentBeyondTheFINShowsWhatItHadNotAcknowledged(t *testing.T) {
	for _, c := range []struct {
		name string
		sent []*tcp.Segment
		want tcp.Seq
	}{
		{"nothing", []*tcp.Segment{acks(seg(0, tcp.FIN, 100, 100), 51)}, 51},
		{"an older acknowledgment", []*tcp.Segment{acks(seg(ms, tcp.FIN, 100, 100), 51), acks(seg(0, 0, 101, 101), 50)}, 50},
		{"an older acknowledgment, beyond half of all numbers", []*tcp.Segment{
			acks(seg(ms, tcp.FIN, 1<<31+100, 1<<31+100), 51), acks(seg(0, 0, 1<<31+101, 1<<31+101), 50),
		}, 50},
		{"the first of several", []*tcp.Segment{
			acks(seg(ms, tcp.FIN, 100, 100), 51), acks(seg(2*ms, 0, 101, 101), 52), acks(seg(0, 0, 101, 101), 50),
		}, 50},
		{"the first of several, captured first", []*tcp.Segment{
			acks(seg(0, 0, 101, 101), 50), acks(seg(ms, tcp.FIN, 100, 100), 51), acks(seg(2*ms, 0, 101, 101), 52),
		}, 50},
		{"nothing, and data before it", []*tcp.Segment{acks(seg(0, 0, 90, 100), 40), acks(seg(ms, tcp.FIN, 100, 100), 51)}, 51},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x, y reassembly.Direction
			add(&x, &y, c.sent...)
			if got := x.AckWithFIN(); got != c.want {
				t.Errorf("the FIN came with ACK %d, want %d", got, c.want)
			}
		})
	}
}

func TestAFINThatWasNotCaptured(t *testing.T) {
	for _, c := range []struct {
		name string
		sent []*tcp.Segment
		want bool
	}{
		{"an acknowledgment advances by one", []*tcp.Segment{acks(seg(0, 0, 0, 0), 50), acks(seg(ms, 0, 0, 0), 51)}, true},
		{"an acknowledgment advances by more", []*tcp.Segment{acks(seg(0, 0, 0, 0), 50), acks(seg(ms, 0, 0, 0), 52)}, false},
		{"an acknowledgment advances behind the own FIN", []*tcp.Segment{
			acks(seg(0, tcp.FIN, 0, 0), 50), acks(seg(ms, 0, 1, 1), 90),
		}, true},
		{"the first acknowledgment", []*tcp.Segment{acks(seg(0, 0, 0, 0), 1)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x, y reassembly.Direction
			add(&x, &y, c.sent...)
			if got := x.AcksUnseenFIN(); got != c.want {
				t.Errorf("AcksUnseenFIN = %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheWindowIsThatOfTheLastSegment(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, window(seg(2*ms, 0, 0, 9), 7), window(seg(ms, 0, 0, 0), 0)) // captured late
	if x.Window != 7 || x.ZeroWindows != 0 {
		t.Errorf("window %d, closed %d times; want 7, 0", x.Window, x.ZeroWindows)
	}
	add(&x, &y, window(seg(3*ms, 0, 9, 9), 0), window(seg(4*ms, 0, 9, 9), 0), window(seg(5*ms, 0, 9, 9), 1), window(seg(6*ms, 0, 9, 9), 0))
	if x.Window != 0 || x.ZeroWindows != 2 {
		t.Errorf("window %d, closed %d times; want 0, 2", x.Window, x.ZeroWindows)
	}
	var z reassembly.Direction
	add(&z, &y, window(seg(0, tcp.SYN, 0, 0), 0))
	if z.ZeroWindows != 0 {
		t.Error("a SYN whose window is 0 closes nothing: nothing was open")
	}
	var midstream reassembly.Direction
	add(&midstream, &y, window(seg(0, 0, 5, 5), 0))
	if midstream.ZeroWindows != 1 {
		t.Error("a window that is closed when the connection is first seen counts")
	}
}

func TestCounters(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, seg(0, 0, 0, 10), seg(ms, 0, 20, 30), seg(2*ms, 0, 10, 20), seg(300*ms, 0, 10, 20), seg(900*ms, 0, 10, 30))
	if x.OutOfOrder != 1 || x.Retransmitted != 2 || x.Gap != 600*ms || x.SentLast != 900*ms || x.Payload != 30 {
		t.Errorf("%d out of order, %d again, gap %d, last at %d, %d octets; want 1, 2, 600 ms, 900 ms, 30",
			x.OutOfOrder, x.Retransmitted, x.Gap, x.SentLast, x.Payload)
	}
	add(&x, &y, seg(500*ms, 0, 0, 10)) // captured late
	if x.Gap != 600*ms || x.SentLast != 900*ms {
		t.Errorf("gap %d, last at %d after one captured late; want 600 ms, 900 ms", x.Gap, x.SentLast)
	}
}

func TestTheSYNsOfOneOpening(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, stamp(seg(0, tcp.SYN, 100, 100), 1000, 0), stamp(seg(1000*ms, tcp.SYN, 100, 110), 2000, 0),
		stamp(seg(500*ms, tcp.SYN, 100, 100), 1500, 0))
	if x.SynEnd != 111 || x.SYNs != 3 || x.SynLast != 1000*ms || x.Syn.Time != 0 || x.SynTSVal != 2000 {
		t.Errorf("SYN until %d, %d times, last at %d, first at %d, clock %d; want 111, 3, 1000 ms, 0, 2000",
			x.SynEnd, x.SYNs, x.SynLast, x.Syn.Time, x.SynTSVal)
	}
}

// A SYN-ACK's echo is of the SYN that it answers, whatever came since.
func TestOnlySegmentsWithACKAndWithoutSYNEcho(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, stamp(seg(0, tcp.SYN|tcp.ACK, 0, 0), 1, 7), stamp(seg(ms, 0, 1, 9), 2, 8))
	if x.Has&reassembly.TimestampEcho != 0 {
		t.Errorf("echo %d, want none", x.TSEcr)
	}
	add(&x, &y, stamp(acks(seg(2*ms, 0, 9, 9), 5), 3, 6))
	if x.Has&reassembly.TimestampEcho == 0 || x.TSEcr != 6 {
		t.Errorf("echo %d, want 6", x.TSEcr)
	}
}

func TestCountsSaturate(t *testing.T) {
	var x, y reassembly.Direction
	for i := range int64(1<<16 + 5) {
		add(&x, &y, seg(i*ms, tcp.SYN|tcp.FIN, 100, 100))
	}
	if x.SYNs != 1<<16-1 || x.FINs != 1<<16-1 {
		t.Errorf("%d SYNs and %d FINs, want 65535 of each", x.SYNs, x.FINs)
	}
}

// Acknowledgments are compared with those of the moment, not with the first: a connection may carry any amount.
func TestAcks(t *testing.T) {
	var x, y reassembly.Direction
	if x.Acks(0) {
		t.Error("an end that has acknowledged nothing acknowledges octet 0")
	}
	for _, base := range wraps {
		x = reassembly.Direction{}
		add(&x, &y, acks(seg(0, 0, 0, 0), base+100))
		for offset, want := range map[tcp.Seq]bool{0: true, 99: true, 100: true, 101: false, 1 << 30: false} {
			if got := x.Acks(base + offset); got != want {
				t.Errorf("after ACK %d, Acks(%d) = %v, want %v", base+100, base+offset, got, want)
			}
		}
	}
}
