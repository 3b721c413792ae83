package reassembly_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/reassembly"
	"tcpleak/tcp"
)

const ms = int64(1e6)

// seg is a segment in the terms of a test: octets from and to, as [from, to).
func seg(at int64, flags tcp.Flags, from, to tcp.Seq) *tcp.Segment {
	return &tcp.Segment{Time: at, Packet: uint64(at/ms) + 1, Flags: flags, Seq: from, Len: uint32(to.Sub(from)), Window: 100}
}

func acks(s *tcp.Segment, ack tcp.Seq) *tcp.Segment {
	s.Ack = ack
	s.Flags |= tcp.ACK
	return s
}

// add feeds x with segments and returns the class of the last.
func add(x, y *reassembly.Direction, segments ...*tcp.Segment) reassembly.Verdict {
	var v reassembly.Verdict
	for _, s := range segments {
		v = x.Add(s, y)
	}
	return v
}

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		name string
		sent []*tcp.Segment
		want reassembly.Class
	}{
		{"new data", []*tcp.Segment{seg(0, tcp.ACK, 100, 200)}, reassembly.New},
		{"pure ACK", []*tcp.Segment{seg(0, tcp.ACK, 100, 200), acks(seg(1*ms, 0, 200, 200), 5)}, reassembly.PureACK},
		{"window update", []*tcp.Segment{
			acks(seg(0, 0, 100, 200), 5), {Time: ms, Flags: tcp.ACK, Seq: 200, Ack: 5, Window: 900},
		}, reassembly.WindowUpdate},
		{"retransmission", []*tcp.Segment{seg(0, 0, 100, 200), seg(300*ms, 0, 100, 200)}, reassembly.Retransmission},
		{"out of order", []*tcp.Segment{
			seg(0, 0, 100, 200), seg(1*ms, 0, 300, 400), seg(1*ms+1, 0, 200, 300),
		}, reassembly.OutOfOrder},
		{"a hole filled late is a retransmission", []*tcp.Segment{
			seg(0, 0, 100, 200), seg(1*ms, 0, 300, 400), seg(300*ms, 0, 200, 300),
		}, reassembly.Retransmission},
		{"keep-alive", []*tcp.Segment{seg(0, 0, 100, 200), seg(10_000*ms, tcp.ACK, 199, 199)}, reassembly.KeepAlive},
		{"RST", []*tcp.Segment{seg(0, tcp.RST, 100, 100)}, reassembly.ResetClass},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x, y reassembly.Direction
			if got := add(&x, &y, c.sent...).Class; got != c.want {
				t.Errorf("class %d, want %d", got, c.want)
			}
		})
	}
}

func TestAProbeIntoAClosedWindowIsNoKeepAlive(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, seg(0, 0, 100, 200))
	add(&y, &x, &tcp.Segment{Time: ms, Flags: tcp.ACK, Seq: 5, Ack: 200, Window: 0})
	if got := add(&x, &y, seg(500*ms, tcp.ACK, 199, 199)).Class; got != reassembly.ZeroWindowProbe {
		t.Errorf("class %d, want ZeroWindowProbe", got)
	}
	if y.ZeroWindows != 1 || x.Probes != 1 {
		t.Errorf("%d zero windows and %d probes, want 1 and 1", y.ZeroWindows, x.Probes)
	}
}

func TestAnACKOfUnseenOctetsShowsWhatTheCaptureMissed(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, seg(0, 0, 100, 200), seg(ms, 0, 250, 300))
	if n := x.Missed(&y); n != 0 {
		t.Errorf("%d octets missed before any ACK, want 0: they may have been lost on their way to the capture", n)
	}
	v := add(&y, &x, acks(seg(2*ms, 0, 5, 5), 320))
	if n := x.Missed(&y); n != 70 || !v.AcksMissed {
		t.Errorf("%d octets missed, AcksMissed %v; want 50 in the hole and 20 beyond the end", n, v.AcksMissed)
	}
	if !x.Doubtful(&y) {
		t.Error("a direction with missed octets must be doubtful")
	}
	add(&x, &y, seg(3*ms, 0, 200, 250), seg(3*ms, 0, 300, 320))
	if n := x.Missed(&y); n != 0 || x.Doubtful(&y) {
		t.Errorf("%d octets missed after all arrived late, want 0", n)
	}
	if x.Payload != 220 {
		t.Errorf("%d octets of payload, want 220: each counted once", x.Payload)
	}
}

func TestHolesAreBounded(t *testing.T) {
	var x, y reassembly.Direction
	for i := range 100 {
		at := tcp.Seq(1000 * i)
		add(&x, &y, seg(int64(i)*ms, 0, at, at+10))
	}
	if !x.Doubtful(&y) || x.Has&reassembly.HolesLost == 0 {
		t.Error("forgotten holes must leave the direction in doubt")
	}
}

func TestTheFINRemembersWhatItsFirstTransmissionAcknowledged(t *testing.T) {
	var x, y reassembly.Direction
	add(&x, &y, acks(seg(0, tcp.FIN, 100, 100), 50), acks(seg(300*ms, tcp.FIN, 100, 100), 51))
	if x.Fin != 100 || x.FinAck != 50 || x.FINs != 2 || x.Gap != 300*ms {
		t.Errorf("FIN at %d, acknowledging %d, sent %d times, %d ns apart; want 100, 50, 2, 300 ms", x.Fin, x.FinAck, x.FINs, x.Gap)
	}
}

// TestFactsDoNotDependOnTheOrderOfTheCapture shuffles a conversation, and shows some of it twice. Only what is about order
// itself, or counts, may differ.
func TestFactsDoNotDependOnTheOrderOfTheCapture(t *testing.T) {
	type facts struct {
		Low, Next, ISS, SynEnd, Ack, Fin, FinAck, SeqBelow, Top, TopAck, SACKed tcp.Seq
		TSVal, TSBelow, TSReached, TSEcr, SynTSVal                              uint32
		Has                                                                     reassembly.Facts
		Payload, Missed                                                         uint64
		Syn, FirstAck, FirstPlain, AckReached, FinSent, Last                    uint64
		ResetFirst, ResetLast                                                   uint64
		SynLast, SentLast                                                       int64
	}
	of := func(x, y *reassembly.Direction) facts {
		return facts{
			x.Low, x.Next, x.ISS, x.SynEnd, x.Ack, x.Fin, x.FinAck, x.SeqBelow, x.Top, x.TopAck, x.SACKed,
			x.TSVal, x.TSBelow, x.TSReached, x.TSEcr, x.SynTSVal, x.Has &^ reassembly.FINBehind, x.Payload, x.Missed(y),
			x.Syn.Packet(), x.FirstAck.Packet(), x.FirstPlain.Packet(), x.AckReached.Packet(), x.FinSent.Packet(), x.Last.Packet(),
			x.ResetFirst.Packet(), x.ResetLast.Packet(), x.SynLast, x.SentLast,
		}
	}
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		base := tcp.Seq(random.Uint32())
		var sent []*tcp.Segment
		push := func(s *tcp.Segment) {
			s.Packet, s.Time = uint64(len(sent)+1), int64(len(sent))*ms
			s.Options.TSVal, s.Options.TSEcr, s.Options.Has = uint32(1000+s.Time/ms), uint32(500+s.Ack), tcp.HasTimestamps
			sent = append(sent, s)
		}
		push(seg(0, tcp.SYN, base, base))
		at, ack := base+1, tcp.Seq(7)
		for range random.IntN(4) {
			to := at + tcp.Seq(random.IntN(3)*50)
			push(acks(seg(0, 0, at, to), ack))
			at, ack = to, ack+tcp.Seq(random.IntN(2)*30)
			if random.IntN(3) == 0 {
				push(acks(seg(0, 0, at, at), ack))
				s := sent[len(sent)-1]
				s.Options.SACKs, s.Options.SACK[0] = 1, tcp.SeqRange{Left: ack + 50, Right: ack + 60 + tcp.Seq(random.IntN(50))}
			}
		}
		push(acks(seg(0, tcp.FIN, at, at), ack))
		push(acks(seg(0, tcp.FIN, at, at), ack+tcp.Seq(random.IntN(2))))
		push(acks(seg(0, 0, at+1, at+1), ack+1))
		for range random.IntN(3) {
			push(seg(0, tcp.RST, at+1, at+1))
		}
		var y, want reassembly.Direction
		add(&y, &want, acks(seg(0, 0, 7, 7), at+1))
		add(&want, &y, sent...)
		var got reassembly.Direction
		order := random.Perm(len(sent))
		for range random.IntN(len(sent)) {
			order = slices.Insert(order, random.IntN(len(order)), random.IntN(len(sent)))
		}
		for _, i := range order {
			add(&got, &y, sent[i])
		}
		if diff := cmp.Diff(of(&want, &y), of(&got, &y)); diff != "" {
			t.Fatalf("seed %d, order %v (-in order +shuffled):\n%s", seed, order, diff)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	var x, y reassembly.Direction
	s := acks(seg(0, 0, 100, 200), 5)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Time += ms
		s.Seq += 100
		x.Add(s, &y)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	var x, y reassembly.Direction
	s := acks(seg(0, 0, 100, 200), 5)
	if n := testing.AllocsPerRun(1000, func() {
		s.Time += ms
		s.Seq += 250
		x.Add(s, &y)
	}); n != 0 {
		t.Errorf("%v allocations per segment, want 0", n)
	}
}

func ExampleMark() {
	m := reassembly.MarkOf(&tcp.Segment{Packet: 12, Flags: tcp.SYN | tcp.ACK})
	fmt.Println(m.Packet(), m.Flags())
	// Output: 12 SYN,ACK
}
