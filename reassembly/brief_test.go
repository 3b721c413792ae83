package reassembly

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
)

// pair is a connection, kept both ways.
type pair struct {
	at    Origin
	full  [2]Direction
	brief [2]Brief
	rare  [2]Rare
	syn   SYN  // of direction 1
	spelt bool // brief has been given up
	took  int  // by the short way
}

func (p *pair) synOf(dir int) *SYN {
	if dir == 0 {
		return nil
	}
	return &p.syn
}

// add takes in s both ways and reports a difference.
func (p *pair) add(s *tcp.Segment, dir int) string {
	x, y := &p.full[dir], &p.full[1-dir]
	if p.at == (Origin{}) {
		p.at = Origin{s.Time, s.Packet}
	}
	before, rare := p.brief[dir], p.rare[dir]
	if !x.Foreign(s, y) {
		x.Add(s, y)
	} else {
		x.Packets++
	}
	if p.spelt {
		return ""
	}
	bx, by := &p.brief[dir], &p.brief[1-dir]
	first := bx.packets == 0 && by.packets == 0
	if first && CanOpen(s) {
		bx.Open(s, &p.rare[dir])
		p.took++
	} else if !first && (dir == 1 && bx.Answer(s, by, &p.rare[dir], p.at, &p.syn) || bx.Continue(s, by, &p.rare[dir], p.at)) {
		p.took++
	} else {
		if *bx != before || p.rare[dir] != rare {
			return "changed although refused"
		}
		for i := range p.full {
			b, r, ok := Pack(&p.full[i], p.at, p.synOf(i))
			p.brief[i], p.rare[i] = b, r
			p.spelt = p.spelt || !ok
		}
		if p.spelt {
			return ""
		}
	}
	for i := range p.full {
		want := p.full[i]
		want.settle()
		var got Direction
		p.brief[i].Unpack(&got, &p.rare[i], p.at, p.synOf(i))
		if got != want {
			return cmp.Diff(want, got, cmp.AllowUnexported(Direction{}, Mark{}, Reset{}))
		}
	}
	return ""
}

// TestBriefSaysTheSame plays random conversations, most of which stay in order for a while, by the short way and by the
// long one.
func TestBriefSaysTheSame(t *testing.T) {
	var took, total int
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var p pair
		next := [2]tcp.Seq{tcp.Seq(r.Uint32()), tcp.Seq(r.Uint32())}
		received := [2]tcp.Seq{next[1], next[0]}
		stamps := r.IntN(2) == 0
		odd := r.IntN(200) + 3 // one segment of so many is out of line
		now, packet := int64(1e18), uint64(r.IntN(1000)+1)
		if r.IntN(20) == 0 {
			packet = 1<<32 - 5
		}
		midstream := r.IntN(3) == 0
		var history []tcp.Segment
		for i := range 60 {
			packet += uint64(r.IntN(3) + 1)
			gap := [...]int64{1e5, 1e7, 3e9}[r.IntN(3)]
			if r.IntN(1000) == 0 {
				gap = 3e14
			}
			now += r.Int64N(gap)
			dir := r.IntN(2)
			s := tcp.Segment{Time: now, Packet: packet, Seq: next[dir], Ack: received[dir], Flags: tcp.ACK, Window: uint16(100 + r.IntN(3))}
			if stamps {
				s.Options.Has |= tcp.HasTimestamps
				s.Options.TSVal, s.Options.TSEcr = uint32(now/1e6), uint32(now/1e6-int64(r.IntN(20)))
			}
			switch {
			case !midstream && i == 0:
				s.Flags, dir, s.Seq, s.Ack = tcp.SYN, 0, next[0], 0
			case !midstream && i == 1:
				s.Flags, dir, s.Seq, s.Ack = tcp.SYN|tcp.ACK, 1, next[1], next[0]
				received[1] = next[0]
			case !midstream && i == 2:
				received[0] = next[1]
				dir, s.Seq, s.Ack = 0, next[0], received[0]
			case r.IntN(3) == 0:
				s.Len = uint32(r.IntN(3)) * 700
			case r.IntN(30) == 0:
				s.Flags |= tcp.FIN
				s.Len = uint32(r.IntN(2)) * 10
			}
			if i < 2 && r.IntN(2) == 0 {
				s.Options.Has |= tcp.HasWindowScale
				s.Options.WindowScale = uint8(r.IntN(15))
			}
			if r.IntN(odd) == 0 {
				switch r.IntN(12) {
				case 0:
					s.Seq += tcp.Seq(r.IntN(2000)) - 1000
				case 1:
					s.Ack += tcp.Seq(r.IntN(2000)) - 1000
				case 2:
					s.Flags ^= 1 << r.IntN(9)
				case 3:
					s.Window = 0
				case 4:
					s.Options.SACKs, s.Options.SACK[0] = 1, tcp.SeqRange{Left: s.Ack + 10, Right: s.Ack + 20}
				case 5:
					s.Time -= r.Int64N(1e10)
				case 6:
					s.Options.Has ^= tcp.HasTimestamps
				case 7:
					s.Options.TSVal, s.Options.TSEcr = r.Uint32(), r.Uint32()
				case 8:
					s.Options.Has |= tcp.HasMalformedOption
				case 9:
					s.Seq--
				case 10:
					if len(history) > 0 {
						s = history[r.IntN(len(history))]
					}
				case 11:
					s.Len += 1 << 30
				}
				if s.Options.Has&tcp.HasTimestamps == 0 {
					s.Options.TSVal, s.Options.TSEcr = 0, 0
				}
			} else {
				next[dir] = s.End()
			}
			received[1-dir] = next[dir]
			if r.IntN(3) == 0 {
				received[1-dir] -= min(tcp.Seq(s.Len), 5)
			}
			history = append(history, s)
			total++
			if diff := p.add(&s, dir); diff != "" {
				t.Fatalf("seed %d, segment %d, direction %d, %+v:\n%s", seed, i, dir, s, diff)
			}
		}
		took += p.took
	}
	if took < total/3 {
		t.Errorf("only %d of %d segments went the short way", took, total)
	}
	t.Logf("%d of %d segments went the short way", took, total)
}
