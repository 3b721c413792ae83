package tracker

import (
	"math/rand/v2"
	"testing"

	"tcpleak/tcp"
)

// closings plays connections that are opened and closed, most of them in order: who closes, what is sent before, after and in
// between, and when, is random.
func closings(random *rand.Rand, n int) (segments []tcp.Segment) {
	now := int64(1e18)
	for i := range n {
		var hosts [2]tcp.Addr
		for role := range hosts {
			hosts[role] = tcp.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if i%5 == 0 {
				hosts[role].Hi = 0x20010db8 << 32
			}
		}
		hosts[Server].Lo ^= 1 << 30
		ports, next, acked, stamp := [2]uint16{40000, 443}, [2]tcp.Seq{tcp.Seq(random.Uint32()), tcp.Seq(random.Uint32())}, [2]tcp.Seq{}, uint32(0)
		stamped := random.IntN(3) > 0
		send := func(from Role, flags tcp.Flags, size uint32) {
			now += int64(random.IntN(50e6))
			t := now
			if random.IntN(200) == 0 {
				t -= int64(random.IntN(80e6)) // another clock
			}
			s := tcp.Segment{
				Time: t, Packet: uint64(len(segments) + 1), Src: hosts[from], Dst: hosts[from.Peer()], SrcPort: ports[from], DstPort: ports[from.Peer()],
				Seq: next[from], Flags: flags, Len: size, Window: 500, Encap: uint32(i % 3), IPID: uint16(len(segments)),
			}
			if flags.Any(tcp.ACK) {
				acked[from] = next[from.Peer()]
				if flags.Any(tcp.FIN) && random.IntN(4) == 0 {
					acked[from] -= tcp.Seq(random.IntN(3)) // it has not had all
				}
				s.Ack = acked[from]
			}
			if stamped {
				stamp++
				s.Options = tcp.Options{Has: tcp.HasTimestamps, TSVal: stamp, TSEcr: stamp - 1}
			}
			next[from] = s.End()
			switch random.IntN(300) {
			case 0: // the capture misses it
			case 1: // it is sent again
				again := s
				again.Time, again.IPID = again.Time+300e6, again.IPID+1
				segments = append(segments, s, again)
			default:
				segments = append(segments, s)
			}
		}
		send(Client, tcp.SYN, 0)
		send(Server, tcp.SYN|tcp.ACK, 0)
		send(Client, tcp.ACK, 0)
		talk := func(n int) {
			for range random.IntN(n) {
				from := Role(random.IntN(2))
				send(from, tcp.ACK|tcp.PSH, uint32(random.IntN(3)*700))
			}
		}
		talk(6)
		first := Role(random.IntN(2))
		send(first, tcp.FIN|tcp.ACK, uint32(random.IntN(2)*10))
		if random.IntN(4) == 0 {
			send(first.Peer(), tcp.ACK, 0)
			for range random.IntN(3) {
				send(first.Peer(), tcp.ACK, 100)
			}
		}
		send(first.Peer(), tcp.FIN|tcp.ACK, uint32(random.IntN(2)*10))
		send(first, tcp.ACK, 0)
		if random.IntN(3) == 0 {
			send(first.Peer(), tcp.ACK, 0)
		}
		if random.IntN(50) == 0 {
			send(first, tcp.RST, 0)
		}
	}
	return segments
}

// TestViewEndedSaysTheSame holds the short cut to the long way.
func TestViewEndedSaysTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	table := New(Config{})
	segments := closings(random, 20_000)
	table.Add(segments)
	short, answered := 0, 0
	for _, now := range []int64{segments[len(segments)-1].Time, segments[len(segments)/2].Time + int64(30e9)} {
		for _, at := range table.List().order {
			p, index := table.parts[at.part()], at.index()
			got, want := Connection{ID: 7, Ends: [2]Endpoint{{GaveUp: true}, {MissedBytes: 1}}}, Connection{}
			if !p.viewEnded(p.at(index), index, now, &got) {
				continue
			}
			short++
			if p.viewAny(index, now, &want); got != want {
				t.Fatalf("connection %d:\n%+v\nwant\n%+v", want.ID, got, want)
			}
			if got.ClosedFirst != BothClosed {
				answered++
			}
		}
	}
	if total := 2 * table.Len(); short < total/2 || short > total*95/100 || answered < short/3 || answered == short {
		t.Errorf("%d of %d views are short, %d of them of those where one closed first", short, total, answered)
	}
}

// BenchmarkView views connections that have ended in order.
func BenchmarkView(b *testing.B) {
	table := New(Config{})
	table.Add(closings(rand.New(rand.NewPCG(3, 4)), 2000))
	var places []place
	var c Connection
	for _, at := range table.List().order {
		if p := table.parts[at.part()]; p.viewEnded(p.at(at.index()), at.index(), 0, &c) {
			places = append(places, at)
		}
	}
	for name, view := range map[string]func(p *part, index uint32, now int64, v *Connection){"short": (*part).view, "long": (*part).viewAny} {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				at := places[i%len(places)]
				view(table.parts[at.part()], at.index(), 1e18, &c)
				i++
			}
		})
	}
}
