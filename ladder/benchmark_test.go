package ladder_test

import (
	"testing"

	"tcpleak/ladder"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// crowd returns segments of n connections, interleaved, of which none is told.
func crowd(n int) (segments []tcp.Segment) {
	flags := [...]tcp.Flags{tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK, tcp.PSH | tcp.ACK, tcp.ACK, tcp.PSH | tcp.ACK, tcp.ACK, tcp.FIN | tcp.ACK, tcp.FIN | tcp.ACK, tcp.ACK}
	from := [...]int{0, 1, 0, 0, 1, 1, 0, 0, 1, 0}
	next := make([][2]uint32, n)
	for round := range flags {
		for i := range n {
			s := tcp.Segment{Time: epoch + int64(len(segments))*1000, Packet: uint64(len(segments) + 1), Window: 1000, Flags: flags[round],
				IPID: uint16(len(segments)), Src: addr4(10, i), SrcPort: uint16(20000 + i%20000), Dst: addr4(11, 1), DstPort: 80}
			own, peer := from[round], 1-from[round]
			if own == 1 {
				s.Src, s.Dst, s.SrcPort, s.DstPort = s.Dst, s.Src, s.DstPort, s.SrcPort
			}
			if s.Seq = tcp.Seq(next[i][own]); s.Flags.Any(tcp.ACK) {
				s.Ack = tcp.Seq(next[i][peer])
			}
			if s.Flags.Any(tcp.PSH) {
				s.Len = 100
			}
			next[i][own] = uint32(s.End())
			segments = append(segments, s)
		}
	}
	return segments
}

func addr4(net byte, i int) tcp.Addr {
	return tcp.AddrFrom4([4]byte{net, byte(i >> 16), byte(i >> 8), byte(i)})
}

// BenchmarkTeller takes in segments of which it tells none, beside a table that takes in the same: telling one connection must
// not make a large capture slow. "one" tells one of them.
func BenchmarkTeller(b *testing.B) {
	const connections, batch = 20_000, 256
	segments := crowd(connections)
	all := func(add func([]tcp.Segment)) {
		for i := 0; i < len(segments); i += batch {
			add(segments[i:min(i+batch, len(segments))])
		}
	}
	none := tracker.Connection{ID: 1 << 40}
	none.Ends[tracker.Client] = tracker.Endpoint{Addr: addr4(12, 1), Port: 19_999}
	none.Ends[tracker.Server] = tracker.Endpoint{Addr: addr4(11, 1), Port: 80}
	table := tracker.New(tracker.Config{})
	all(table.Add)
	var one tracker.Connection
	for c := range table.Connections(segments[len(segments)-1].Time) {
		if c.ID == connections/2 {
			one = *c
		}
	}
	run := func(name string, start func() func([]tcp.Segment)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				all(start())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(segments)), "ns/segment")
		})
	}
	run("table", func() func([]tcp.Segment) { return tracker.New(tracker.Config{}).Add })
	run("none", func() func([]tcp.Segment) {
		return ladder.NewTeller(tracker.New(tracker.Config{}), []tracker.Connection{none}).Add
	})
	run("one", func() func([]tcp.Segment) {
		return ladder.NewTeller(tracker.New(tracker.Config{}), []tracker.Connection{one}).Add
	})
	one.Ends[tracker.Client], one.Ends[tracker.Server] = one.Ends[tracker.Server], one.Ends[tracker.Client]
	run("one with its roles wrong", func() func([]tcp.Segment) {
		return ladder.NewTeller(tracker.New(tracker.Config{}), []tracker.Connection{one}).Add
	})
}
