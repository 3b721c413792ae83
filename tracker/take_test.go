package tracker_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// TestTakeIsAdd says so of whatever segments there are: many connections between few addresses, with numbers close to each
// other.
func TestTakeIsAdd(t *testing.T) {
	flags := []tcp.Flags{tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK, tcp.ACK, tcp.ACK | tcp.PSH, tcp.ACK | tcp.FIN, tcp.RST, tcp.RST | tcp.ACK}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		added, taken := tracker.New(tracker.Config{MaxConnections: 20}), tracker.New(tracker.Config{MaxConnections: 20})
		now := epoch
		for packet := range uint64(200) {
			now += random.Int64N(1e8)
			s := tcp.Segment{
				Time: now, Packet: packet + 1, Flags: flags[random.IntN(len(flags))], Window: uint16(random.IntN(3) * 1000), IPID: uint16(random.IntN(3)),
				Src: addresses["client"], Dst: addresses["server"], SrcPort: 40000 + uint16(random.IntN(30)/10), DstPort: 80,
				Seq: tcp.Seq(random.IntN(8)), Ack: tcp.Seq(random.IntN(8)), Len: uint32(random.IntN(3)),
			}
			if random.IntN(2) == 0 {
				s.Src, s.Dst, s.SrcPort, s.DstPort = s.Dst, s.Src, s.DstPort, s.SrcPort
			}
			added.Add([]tcp.Segment{s})
			taken.Take(&s)
		}
		if added.Stats() != taken.Stats() {
			t.Fatalf("seed %d: statistics are %+v, want %+v", seed, taken.Stats(), added.Stats())
		}
		want, got := added.List(), taken.List()
		for i := range want.Len() {
			var a, b tracker.Connection
			want.View(i, now, &a)
			got.View(i, now, &b)
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("seed %d: connection %d is %+v, want %+v", seed, a.ID, b, a)
			}
		}
	}
}
