package tracker_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// mixture is random traffic of n connections: complete, broken, repeated, with ports that are used again.
func mixture(n int) []tcp.Segment {
	r := rand.New(rand.NewPCG(3, 4))
	var all []tcp.Segment
	type going struct {
		client     int
		step       int
		iss, iss2  tcp.Seq
		six, stray bool
	}
	var open []going
	for begun := 0; begun < n || len(open) > 0; {
		if begun < n && (len(open) < 500 || r.IntN(8) == 0) {
			begun++
			open = append(open, going{client: r.IntN(n * 3 / 4), iss: tcp.Seq(r.Uint32()), iss2: tcp.Seq(r.Uint32()), six: r.IntN(8) == 0, stray: r.IntN(50) == 0})
		}
		i := r.IntN(len(open))
		c := &open[i]
		s := at(c.client, int64(len(all))*20_000, tcp.ACK, c.iss+1, c.iss2+1)
		if c.six {
			s.Src, s.Dst = tcp.AddrFrom16([16]byte{32, 1, 15: byte(c.client)}), tcp.AddrFrom16([16]byte{32, 1, 15: 255})
			s.SrcPort = uint16(c.client)
		}
		s.Packet, s.IPID = uint64(len(all)+1), uint16(len(all))
		switch c.step {
		case 0:
			s.Flags, s.Seq, s.Ack = tcp.SYN, c.iss, 0
		case 1:
			s.Flags, s.Seq = tcp.SYN|tcp.ACK, c.iss2
			s = back(s)
		case 3:
			s.Len = 100
		case 4:
			s.Seq, s.Ack = c.iss2+1, c.iss+101
			s = back(s)
		case 5:
			s.Flags, s.Seq = tcp.FIN|tcp.ACK, c.iss+101
		case 6:
			s.Flags, s.Seq, s.Ack = tcp.FIN|tcp.ACK, c.iss2+1, c.iss+102
			s = back(s)
		case 7:
			s.Seq, s.Ack = c.iss+102, c.iss2+2
		}
		if c.stray && c.step > 2 && r.IntN(3) == 0 {
			s.Flags, s.Window = s.Flags|tcp.RST, 0
		}
		all = append(all, s)
		if r.IntN(40) == 0 {
			s.Packet, s.IPID, s.Time = uint64(len(all)+1), s.IPID+1, s.Time+10_000
			all = append(all, s)
		}
		if c.step++; c.step == 8 || r.IntN(60) == 0 {
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		}
	}
	return all
}

// TestTheResultDoesNotDependOnTheGoroutines takes in the same segments one by one, and in batches that several
// goroutines share, with room for all and without.
func TestTheResultDoesNotDependOnTheGoroutines(t *testing.T) {
	const connections = 70_000
	segments := mixture(connections)
	now := segments[len(segments)-1].Time + 1e9
	for name, limits := range map[string]tracker.Config{
		"room for all": {}, "by number": {MaxConnections: 1 << 16}, "by memory": {MaxBytes: 20 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			var first *tracker.Table
			for _, way := range []struct{ shares, batch int }{{0, 1}, {2, 2048}, {5, 3000}} {
				cfg := limits
				cfg.Seed = uint64(way.batch)
				table := tracker.New(cfg)
				if way.shares == 0 {
					inBatches(segments, way.batch, table.Add)
				}
				var all sync.WaitGroup
				for i, share := range table.Shares(way.shares, func(uint64) bool { return true }) {
					all.Go(func() {
						inBatches(segments, way.batch+i, func(batch []tcp.Segment) { share.Add(batch) })
						share.Close()
					})
				}
				all.Wait()
				if first == nil {
					first = table
					if evicts := table.Stats().Evicted.Total() > 0; evicts != (limits != tracker.Config{}) {
						t.Fatalf("%+v", table.Stats())
					}
					continue
				}
				if diff := cmp.Diff(first.Stats(), table.Stats()); diff != "" {
					t.Errorf("%+v (-want +got):\n%s", way, diff)
				}
				a, b := first.List(), table.List()
				if a.Len() != b.Len() {
					t.Fatalf("%+v: %d connections, want %d", way, b.Len(), a.Len())
				}
				var want, got tracker.Connection
				for i := range a.Len() {
					a.View(i, now, &want)
					b.View(i, now, &got)
					if got != want {
						t.Fatalf("%+v: (-want +got):\n%s", way, cmp.Diff(want, got, cmpopts.IgnoreUnexported(tracker.Endpoint{}, tracker.Ref{})))
					}
				}
			}
		})
	}
}

func inBatches(segments []tcp.Segment, size int, add func([]tcp.Segment)) {
	for n := 0; n < len(segments); n += size {
		add(segments[n:min(n+size, len(segments))])
	}
}

// TestAFloodLeavesTheRestAlone sends SYNs from forged sources over connections that are open and half closed: those stay, and
// the memory within its bound.
func TestAFloodLeavesTheRestAlone(t *testing.T) {
	const established, halfClosed, bound = 1000, 100, 24 << 20
	flood := 1_000_000
	if testing.Short() {
		flood = 200_000
	}
	table := tracker.New(tracker.Config{MaxBytes: bound})
	for n := range established + halfClosed {
		open(table, n, int64(n)*1000)
		if n >= established {
			table.Add([]tcp.Segment{at(n, int64(n)*1000+3, tcp.FIN|tcp.ACK, 101, 301), back(at(n, int64(n)*1000+4, tcp.ACK, 301, 102))})
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	batch := make([]tcp.Segment, 4096)
	for sent := 0; sent < flood; sent += len(batch) {
		for i := range batch {
			s := at(0, 1e9+int64(sent+i)*1000, tcp.SYN, tcp.Seq(r.Uint32()), 0)
			s.Src.Lo, s.SrcPort = s.Src.Lo&^0xffff_ffff|uint64(r.Uint32()|1<<31), uint16(r.Uint32())
			batch[i] = s
		}
		table.Add(batch)
	}
	got := states(table, 1e9+int64(flood)*1000)
	if got[tcp.Established] != established || got[tcp.FinWait2] != halfClosed {
		t.Errorf("%v; want %d ESTABLISHED, %d FIN_WAIT_2", got, established, halfClosed)
	}
	stats := table.Stats()
	if held := table.Len(); stats.Evicted.Attempts == 0 || stats.Evicted.Total() != stats.Evicted.Attempts || held < bound/500 {
		t.Errorf("%d held, evicted %+v", held, stats.Evicted)
	}
	if bytes := table.Bytes(); bytes > bound {
		t.Errorf("the table takes %d octets, more than the %d allowed", bytes, bound)
	}
}
