package compat

import (
	"math/rand/v2"
	"testing"

	"tcpleak/tcp"
)

// TestBriefZeekSaysTheSame plays random segments to both forms. Where the brief one does not know, it is told.
func TestBriefZeekSaysTheSame(t *testing.T) {
	flags := []tcp.Flags{tcp.ACK, tcp.ACK, tcp.ACK, tcp.FIN | tcp.ACK, tcp.PSH | tcp.ACK, tcp.ECE | tcp.ACK, tcp.SYN, tcp.RST, tcp.FIN, tcp.SYN | tcp.FIN, 0}
	ports := [][2]uint16{{50000, 80}, {80, 50000}, {80, 443}, {443, 80}, {1, 2}}
	knew := 0
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var z Zeek
		var b BriefZeek
		port := ports[r.IntN(len(ports))]
		orderly := r.IntN(2) == 0
		for i := range 12 {
			dir := uint8(r.IntN(2))
			s := tcp.Segment{Flags: flags[r.IntN(len(flags))], Len: uint32(r.IntN(2)), Window: uint16(min(r.IntN(20), 1)), Seq: tcp.Seq(r.IntN(3))}
			if orderly && i < 2 {
				dir = uint8(i)
				s = tcp.Segment{Flags: []tcp.Flags{tcp.SYN, tcp.SYN | tcp.ACK}[i], Window: 1, Seq: 7}
			}
			s.SrcPort, s.DstPort = port[dir], port[1-dir]
			seen := Seen{Behind: r.IntN(20) == 0, Gap: r.IntN(20) == 0}
			z.Segment(&s, dir, seen)
			before := b
			if seen == (Seen{}) && b.Segment(&s, dir) {
				knew++
			} else {
				if b != before && seen == (Seen{}) {
					t.Fatalf("seed %d, segment %d: changed although refused", seed, i)
				}
				var ok bool
				if b, ok = z.Pack(); !ok {
					break
				}
			}
			want := z
			want.last = [2]struct{ syn, fin, rst uint16 }{}
			var got Zeek
			b.Unpack(&got, nil)
			if got != want {
				t.Fatalf("seed %d, segment %d, direction %d, %v, %d octets: %+v, want %+v", seed, i, dir, s.Flags, s.Len, got, want)
			}
		}
	}
	if knew < 20_000 {
		t.Errorf("only %d segments were known", knew)
	}
}
