package names

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
)

// TestWhoTellsFirstDoesNotMatter tells of the same packets in their order, and part by part as goroutines may that run ahead of
// each other, with so many names that some are forgotten.
func TestWhoTellsFirstDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type told struct {
		seg     tcp.Segment
		payload []byte
	}
	var all []told
	for i := range 6000 {
		seg := tcp.Segment{
			Packet: uint64(i + 1), Time: int64(i) * 1e8, Src: tcp.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(40))}), Dst: tcp.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(30))}),
			SrcPort: uint16(40000 + r.IntN(3)), DstPort: 80,
		}
		payload := request(fmt.Sprintf("%d.example.com", r.IntN(5)))
		if r.IntN(50) == 0 {
			payload = []byte("CONNECT api.example.com:443 HTTP/1.1\r\n\r\n")
		}
		all = append(all, told{seg, payload})
	}
	const epoch = 1000
	names := func(order func(a, b told) int) (got []string) {
		b := New(200)
		b.Hold()
		for from := 0; from < len(all); from += epoch {
			// Whoever is ahead has told some of what comes later, too.
			batch := slices.Clone(all[from:min(from+epoch, len(all))])
			slices.SortStableFunc(batch, order)
			for i := range batch {
				b.Segment(&batch[i].seg, batch[i].payload)
			}
			if before := from + epoch - 100; before > 0 {
				b.Settle(uint64(before))
			}
		}
		b.Release()
		for _, told := range all {
			got = append(got, b.Server(told.seg.Src, told.seg.SrcPort, told.seg.Dst, 80)+" "+b.Server(told.seg.Src, 1, told.seg.Dst, 80))
		}
		return got
	}
	inOrder := names(func(a, b told) int { return 0 })
	byPart := names(func(a, b told) int { return int(b.seg.Part()) - int(a.seg.Part()) })
	if diff := cmp.Diff(inOrder, byPart); diff != "" {
		t.Errorf("-in order +part by part:\n%s", diff)
	}
	if known := slices.Compact(slices.Sorted(slices.Values(inOrder))); len(known) < 5 {
		t.Errorf("only %q", known)
	}
}

func TestWhatIsHeldWaits(t *testing.T) {
	b := New(16)
	b.Hold()
	for packet := range uint64(3) {
		seg := segment(int64(packet), client)
		seg.Packet, seg.SrcPort = packet, 1000+uint16(packet)
		b.Segment(seg, request(fmt.Sprintf("at-%d.example", packet)))
	}
	want(t, b, anyone, 443, "")
	b.Settle(2)
	want(t, b, anyone, 443, "at-1.example")
	b.Release()
	want(t, b, anyone, 443, "at-2.example")
	b.Segment(segment(9, other), request("at-once.example"))
	want(t, b, anyone, 443, "at-once.example")
}

func TestOneMayAskWhileOthersTell(t *testing.T) {
	b := New(64)
	var all sync.WaitGroup
	for teller := range 4 {
		all.Go(func() {
			for i := range 20_000 {
				seg := segment(int64(i), client)
				seg.SrcPort = uint16(1000 + (i+teller)%3)
				b.Segment(seg, request(fmt.Sprintf("%d.example", i%50)))
				b.Server(client, seg.SrcPort, server, 443)
			}
		})
	}
	all.Wait()
	if b.Server(client, 0, server, 443) == "" {
		t.Error("nothing was learned")
	}
}
