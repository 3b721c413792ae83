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

// churned is a table of n connections, of many more that it has forgotten: indices are used again in another order.
func churned(n int) *tracker.Table {
	table := tracker.New(tracker.Config{MaxConnections: n})
	for i := range 3 * n {
		now := int64(i) * 1e6
		open(table, i, now)
		if i%3 > 0 {
			table.Add([]tcp.Segment{at(i-i%7, now+3, tcp.RST|tcp.ACK, 101, 301)})
		}
	}
	return table
}

func TestAListIsInTheOrderOfIDs(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, 3000} {
		fresh := tracker.New(tracker.Config{})
		for i := range n {
			open(fresh, i, int64(i))
		}
		for name, table := range map[string]*tracker.Table{"fresh": fresh, "churned": churned(max(n, 1))} {
			l := table.List()
			if l.Len() != table.Len() {
				t.Errorf("%s: %d of %d", name, l.Len(), table.Len())
			}
			var c tracker.Connection
			last := uint64(0)
			for i := range l.Len() {
				l.View(i, epoch, &c)
				if c.ID <= last {
					t.Fatalf("%s, %d connections: %d after %d", name, n, c.ID, last)
				}
				last = c.ID
			}
		}
	}
}

// TestAListIsReadConcurrently is for the race detector.
func TestAListIsReadConcurrently(t *testing.T) {
	table := churned(500)
	const now, readers = epoch + int64(10e9), 4
	l := table.List()
	var ids [readers][]uint64
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			var c, again tracker.Connection
			for i := range l.Len() {
				l.View(i, now, &c)
				if !table.Get(c.Ref, now, &again) || again.ID != c.ID {
					return
				}
				ids[r] = append(ids[r], c.ID)
			}
		})
	}
	wg.Wait()
	for r := range readers {
		if diff := cmp.Diff(ids[0], ids[r]); diff != "" || len(ids[r]) != l.Len() {
			t.Errorf("reader %d, %d connections (-want +got):\n%s", r, len(ids[r]), diff)
		}
	}
}

// TestAViewSetsEverything reads each connection into one that held another before.
func TestAViewSetsEverything(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	flags := []tcp.Flags{tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK, tcp.ACK, tcp.ACK | tcp.PSH, tcp.FIN | tcp.ACK, tcp.RST, tcp.RST | tcp.ACK, tcp.FIN, 0}
	table := tracker.New(tracker.Config{})
	for i := range 6000 {
		s := at(i/25, int64(i)*1e6, flags[random.IntN(len(flags))], tcp.Seq(100+random.IntN(4)), tcp.Seq(300+random.IntN(4)))
		s.Packet, s.Len, s.Window = uint64(i+1), uint32(random.IntN(3)), uint16(random.IntN(3))
		if random.IntN(2) == 0 {
			s = back(s)
			s.Seq, s.Ack = s.Seq+200, s.Ack-200
		}
		table.Add([]tcp.Segment{s})
	}
	l := table.List()
	const now = epoch + int64(100e9)
	var reused tracker.Connection
	for range 20_000 {
		var fresh tracker.Connection
		i := random.IntN(l.Len())
		l.View(i, now, &fresh)
		l.View(i, now, &reused)
		if reused != fresh {
			t.Fatalf("connection %d (-want +got):\n%s", fresh.ID, cmp.Diff(fresh, reused, cmpopts.IgnoreUnexported(tracker.Endpoint{}, tracker.Ref{})))
		}
	}
}

// BenchmarkList sorts 100,000 connections, most of which took the place of others.
func BenchmarkList(b *testing.B) {
	const n = 100_000
	table := churned(n)
	b.ReportAllocs()
	for b.Loop() {
		table.List()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/connection")
}
