package names

import (
	"fmt"
	"testing"

	"tcpleak/tcp"
)

// TestWhatIsRepeatedChangesNothing holds a Book that passes over what connections repeat against one that enters all of it: of
// 40 connections to two servers, whose names change now and then.
func TestWhatIsRepeatedChangesNothing(t *testing.T) {
	const limit = 24 // so that the oldest give way, too
	quick, slow := New(limit), New(limit)
	for i := range 4000 {
		seg := segment(int64(i)*1e6, client)
		seg.SrcPort = uint16(1000 + i*7%40)
		seg.Dst = tcp.AddrFrom4([4]byte{203, 0, 113, byte(i / 3 % 2)})
		name := fmt.Sprintf("%d.example.com", i/500%3)
		if i%97 == 0 {
			name = "other.example.com"
		}
		payload := request(name)
		quick.Segment(seg, payload)
		slow.turns.Add(1)
		slow.Segment(seg, payload)
		for _, port := range []uint16{seg.SrcPort, seg.SrcPort + 1, 0} {
			for _, from := range []tcp.Addr{seg.Src, {}} {
				if got, want := quick.Server(from, port, seg.Dst, seg.DstPort), slow.Server(from, port, seg.Dst, seg.DstPort); got != want {
					t.Fatalf("after %d: from %v:%d it is %q, want %q", i, from, port, got, want)
				}
			}
		}
	}
}

func TestWhatIsRepeatedIsPassedOver(t *testing.T) {
	b := New(4)
	seg, payload := segment(1, client), request("api.example.com")
	b.Segment(seg, payload)
	if n := testing.AllocsPerRun(100, func() { b.Segment(seg, payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	k := key{seg.Src, seg.Dst, seg.SrcPort, seg.DstPort}
	last := b.ears[seg.Part()].memo.find(&k, b.hashOf(k))
	for age, want := range map[int64]bool{-1: false, 0: true, memoTime - 1: true, memoTime: false} {
		now := last.moment
		now.time += age
		if got := last.holds(now); got != want {
			t.Errorf("after %d ns it holds: %v, want %v", age, got, want)
		}
	}
}
