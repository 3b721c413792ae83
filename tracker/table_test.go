package tracker_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tcpleak/compat"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// at is one segment of the connection from client number n.
func at(n int, time int64, flags tcp.Flags, seq, ack tcp.Seq) tcp.Segment {
	return tcp.Segment{
		Time: epoch + time, Packet: 1, Src: tcp.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), SrcPort: 40000,
		Dst: addresses["server"], DstPort: 80, Flags: flags, Seq: seq, Ack: ack, Window: 100,
	}
}

func back(s tcp.Segment) tcp.Segment {
	s.Src, s.Dst, s.SrcPort, s.DstPort = s.Dst, s.Src, s.DstPort, s.SrcPort
	return s
}

func open(table *tracker.Table, n int, time int64) {
	table.Add([]tcp.Segment{
		at(n, time, tcp.SYN, 100, 0), back(at(n, time+1, tcp.SYN|tcp.ACK, 300, 101)), at(n, time+2, tcp.ACK, 101, 301),
	})
}

func states(table *tracker.Table, now int64) map[tcp.State]int {
	count := make(map[tcp.State]int)
	for c := range table.Connections(epoch + now) {
		count[c.Ends[tracker.Client].State]++
	}
	return count
}

func TestAFloodOfSYNsEvictsOnlyItself(t *testing.T) {
	table := tracker.New(tracker.Config{MaxConnections: 1000})
	const established, halfClosed, flood = 50, 20, 20_000
	for n := range established + halfClosed {
		open(table, n, int64(n)*1000)
		if n >= established {
			table.Add([]tcp.Segment{at(n, int64(n)*1000+3, tcp.FIN|tcp.ACK, 101, 301), back(at(n, int64(n)*1000+4, tcp.ACK, 301, 102))})
		}
	}
	for n := range flood {
		table.Add([]tcp.Segment{at(100_000+n, 1e9+int64(n)*1e6, tcp.SYN, 7, 0)})
	}
	want := map[tcp.State]int{tcp.Established: established, tcp.FinWait2: halfClosed, tcp.SynSent: 1000 - established - halfClosed}
	if diff := cmp.Diff(want, states(table, 1e9+flood*1e6)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, want := table.Stats().Evicted.Total(), uint64(flood-(1000-established-halfClosed)); got != want {
		t.Errorf("%d evicted, want %d", got, want)
	}
}

func TestClosedConnectionsAreEvictedBeforeOpenOnes(t *testing.T) {
	table := tracker.New(tracker.Config{MaxConnections: 4})
	open(table, 1, 0)
	open(table, 2, 1000)
	table.Add([]tcp.Segment{at(2, 2000, tcp.RST|tcp.ACK, 101, 301)})
	for n := 3; n < 6; n++ {
		open(table, n, int64(n)*10_000)
	}
	if diff := cmp.Diff(map[tcp.State]int{tcp.Established: 4}, states(table, 1e6)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTheTableFindsEveryConnectionAgain holds the hash table, with its evictions and incarnations, against what was put in.
func TestTheTableFindsEveryConnectionAgain(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table := tracker.New(tracker.Config{MaxConnections: 3000, Seed: random.Uint64()})
	const clients = 5000
	var opened, length int
	for i := range 60_000 {
		n, time := random.IntN(clients), int64(i)*1e7
		iss := tcp.Seq(random.Uint32())
		table.Add([]tcp.Segment{at(n, time, tcp.SYN, iss, 0)})
		opened++
		if random.IntN(2) == 0 {
			table.Add([]tcp.Segment{back(at(n, time+1, tcp.RST|tcp.ACK, 0, iss+1))})
		}
		if length = table.Len(); length > 3000 {
			t.Fatalf("%d connections, more than allowed", length)
		}
	}
	if got := int(table.Stats().Evicted.Total()) + length; got != opened {
		t.Errorf("%d evicted and held, want the %d that were opened", got, opened)
	}
	last, count := uint64(0), 0
	for c := range table.Connections(epoch) {
		if c.ID <= last {
			t.Fatalf("connection %d follows %d", c.ID, last)
		}
		last = c.ID
		count++
		var again tracker.Connection
		if !table.Get(c.Ref, epoch, &again) || again.ID != c.ID {
			t.Fatalf("connection %d is not found again", c.ID)
		}
	}
	if count != length {
		t.Errorf("%d connections listed, %d held", count, length)
	}
}

func TestASocketConnectedToItselfIsOneConnection(t *testing.T) {
	table := tracker.New(tracker.Config{})
	s := at(1, 0, tcp.SYN, 100, 0)
	s.Dst, s.DstPort = s.Src, s.SrcPort
	for i := range 4 {
		s.Time += int64(i) * 1e9
		table.Add([]tcp.Segment{s})
	}
	if table.Len() != 1 {
		t.Errorf("%d connections, want 1", table.Len())
	}
}

func TestTheSeedDoesNotChangeTheResult(t *testing.T) {
	var reports [2][]tracker.Connection
	for i := range reports {
		table := tracker.New(tracker.Config{Seed: uint64(i) * 0x123456789})
		for n := range 500 {
			open(table, n%300, int64(n)*1e6)
		}
		for c := range table.Connections(epoch + 1e9) {
			reports[i] = append(reports[i], *c)
		}
	}
	if diff := cmp.Diff(reports[0], reports[1], cmpopts.IgnoreUnexported(tracker.Ref{}, tracker.Endpoint{})); diff != "" {
		t.Errorf("(-one seed +another):\n%s", diff)
	}
}

func TestASegmentOfAKnownConnectionDoesNotAllocate(t *testing.T) {
	table := tracker.New(tracker.Config{})
	open(table, 1, 0)
	batch := []tcp.Segment{at(1, 1e9, tcp.ACK, 101, 301)}
	batch[0].Len = 10
	if n := testing.AllocsPerRun(1000, func() {
		batch[0].Time += 1e7
		batch[0].Seq += 10
		table.Add(batch)
	}); n != 0 {
		t.Errorf("%v allocations per segment, want 0", n)
	}
}

// BenchmarkAdd takes in segments in the middle of connections, picked at random.
func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct {
		name        string
		connections int
	}{{"1", 1}, {"1k", 1_000}, {"10k", 10_000}, {"1M", 1_000_000}} {
		b.Run(c.name, func(b *testing.B) {
			table := tracker.New(tracker.Config{})
			next := make([]tcp.Seq, c.connections)
			for n := range next {
				open(table, n, 0)
				next[n] = 101
			}
			random := rand.New(rand.NewPCG(1, 2))
			batch := make([]tcp.Segment, 512)
			now := int64(1e9)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := 0; i < len(batch); i += 2 {
					n := random.IntN(c.connections)
					now += 10_000
					batch[i] = at(n, now, tcp.ACK|tcp.PSH, next[n], 301)
					batch[i].Len = 100
					next[n] += 100
					batch[i+1] = back(at(n, now+1000, tcp.ACK, 301, next[n]))
				}
				b.StartTimer()
				table.Add(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/packet")
		})
	}
}

// FuzzTable feeds segments that no stack would send, few enough in their values to meet each other.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x12\x01\x00\x01\x00\x10\x00\x01\x01\x00"))
	f.Add([]byte("\x02\x00\xff\x00\x00\x12\x01\x00\x00\x00\x11\x00\x00\x01\x09\x11\x01\x01\x01\x00\x04\x01\x02\x02\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		table := tracker.New(tracker.Config{MaxConnections: 8})
		var now int64
		var segments uint64
		for ; len(b) >= 5; b = b[5:] {
			now += int64(b[4]&0x7f) * 1e7
			s := at(int(b[1]>>1)%12, now, tcp.Flags(b[0])&0x1ff, tcp.Seq(int8(b[2])), tcp.Seq(int8(b[3])))
			s.Packet = segments + 1
			s.Len = uint32(b[0]>>6) * 3
			if b[4]&0x80 != 0 {
				s.Options.Has, s.Options.TSVal, s.Options.TSEcr = tcp.HasTimestamps, uint32(b[2]), uint32(b[3])
				s.Options.SACKs, s.Options.SACK[0] = 1, tcp.SeqRange{Left: s.Ack + 2, Right: s.Ack + 9}
			}
			if b[1]&1 != 0 {
				s = back(s)
			}
			table.Add([]tcp.Segment{s})
			segments++
		}
		if stats := table.Stats(); stats.Segments+stats.Duplicates != segments {
			t.Fatalf("%d segments and %d duplicates of %d", stats.Segments, stats.Duplicates, segments)
		}
		if table.Len() > 8 {
			t.Fatalf("%d connections, more than allowed", table.Len())
		}
		for c := range table.Connections(epoch + now) {
			for _, e := range c.Ends {
				if e.Since > epoch+now || e.State != tcp.Unknown && e.Why() == "" || e.Certainty == tracker.Confirmed && c.Opened == tracker.Midstream {
					t.Fatalf("connection %d: %+v", c.ID, e)
				}
			}
		}
	})
}

func TestASYNWithPayloadBeginsTheConversation(t *testing.T) {
	tr := play(t, `
		0.000  client  SYN      seq=100 len=10
		0.001  server  SYN,ACK  seq=300 ack=111
		0.002  client  ACK      seq=111 ack=301
	`)
	for c := range tr.table.Connections(tr.now) {
		if want := uint8(compat.CompleteSYN | compat.CompleteSYNACK | compat.CompleteACK | compat.CompleteData); c.WiresharkCompleteness != want {
			t.Errorf("tcp.completeness is %d, want %d", c.WiresharkCompleteness, want)
		}
	}
}
