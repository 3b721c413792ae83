package tracker_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

const (
	ms = int64(1e6)
	// captureDisorder is how far apart in time segments may be that a capture shows in the wrong order: several receive
	// queues, each with its own clock reading.
	captureDisorder = 3 * ms
	// closest is the least time between two segments of a conversation; a copy of one is stamped within it.
	closest = ms / 20
)

// A talker is one end of a made-up connection.
type talker struct {
	next, una tcp.Seq // SND.NXT, SND.UNA
	received  tcp.Seq // RCV.NXT
	echo      uint32  // TS.Recent
	fin       bool
}

// conversation makes up connections that keep to RFC 9293, with losses behind the capture.
type conversation struct {
	*rand.Rand
	now    int64
	ends   [2]talker
	stamps bool
	loss   float64
	out    []tcp.Segment
}

// send lets end e send a segment of n octets from seq, and reports whether it arrived.
func (c *conversation) send(e int, flags tcp.Flags, seq tcp.Seq, n uint32) (arrived bool) {
	x, y := &c.ends[e], &c.ends[1-e]
	s := tcp.Segment{
		Time: c.now, Packet: uint64(len(c.out) + 1), IPID: uint16(len(c.out)), Src: addresses["client"], SrcPort: 40000,
		Dst: addresses["server"], DstPort: 80, Flags: flags, Seq: seq, Len: n, Window: 1000,
	}
	if e == 1 {
		s = back(s)
	}
	if flags.Any(tcp.ACK) {
		s.Ack = x.received
	}
	if c.stamps {
		s.Options.Has, s.Options.TSVal, s.Options.TSEcr = tcp.HasTimestamps, uint32(c.now/ms)+uint32(e)<<30, x.echo
	}
	c.out = append(c.out, s)
	x.next = x.next.Max(s.End())
	c.now += closest + c.Int64N(2*ms)
	if c.Float64() < c.loss {
		return false
	}
	if flags.Any(tcp.ACK) {
		y.una = y.una.Max(s.Ack)
	}
	if flags.Any(tcp.SYN) && y.received == 0 || s.Seq == y.received {
		y.received, y.echo = s.End(), s.Options.TSVal
	}
	return true
}

// deliver sends from e until the peer has acknowledged it.
func (c *conversation) deliver(e int, flags tcp.Flags, n uint32) {
	seq, wait := c.ends[e].next, 200*ms
	end := (&tcp.Segment{Seq: seq, Len: n, Flags: flags}).End()
	for range 6 {
		if c.send(e, flags, seq, n) && c.send(1-e, tcp.ACK, c.ends[1-e].next, 0) && c.ends[e].una.AtOrAfter(end) {
			return
		}
		c.now += wait
		wait *= 2
	}
}

// connection makes up one connection.
func (c *conversation) connection() []tcp.Segment {
	for e := range c.ends {
		iss := tcp.Seq(c.Uint32() | 1)
		c.ends[e] = talker{next: iss, una: iss}
	}
	iss := [2]tcp.Seq{c.ends[0].next, c.ends[1].next}
	for wait := 1000 * ms; ; wait *= 2 {
		if c.send(0, tcp.SYN, iss[0], 0) && c.send(1, tcp.SYN|tcp.ACK, iss[1], 0) && c.send(0, tcp.ACK, iss[0]+1, 0) {
			break
		}
		c.now += wait
		if wait > 4000*ms {
			return c.out
		}
	}
	for range c.IntN(8) {
		e := c.IntN(2)
		switch x := &c.ends[e]; {
		case c.IntN(12) == 0:
			c.send(e, tcp.RST|tcp.ACK, x.next, 0)
			return c.out
		case x.fin:
		case c.IntN(4) == 0:
			x.fin = true
			c.deliver(e, tcp.FIN|tcp.ACK, 0)
		default:
			c.deliver(e, tcp.PSH|tcp.ACK, uint32(1+c.IntN(1400)))
		}
		c.now += c.Int64N(3) * 300 * ms
	}
	return c.out
}

// distort returns segments as a capture with several queues, mirrored ports or more than one interface may show them: some
// twice, and neighbours swapped, in so many passes; in none, each segment moves by one place at most. Each keeps its number
// and its time.
func distort(random *rand.Rand, segments []tcp.Segment, passes int) []tcp.Segment {
	out := slices.Clone(segments)
	near := func(a, b *tcp.Segment) bool { return max(a.Time-b.Time, b.Time-a.Time) <= captureDisorder }
	for i := 1; i < len(out); i++ {
		if near(&out[i-1], &out[i]) && random.IntN(2) == 0 {
			out[i-1], out[i] = out[i], out[i-1]
			i++
		}
	}
	for i := len(out) - 1; i >= 0; i-- {
		if random.IntN(3) == 0 {
			again := out[i]
			again.Time += random.Int64N(closest)
			out = slices.Insert(out, i+1, again)
		}
	}
	for range passes {
		for i := 1; i < len(out); i++ {
			if near(&out[i-1], &out[i]) && random.IntN(2) == 0 {
				out[i-1], out[i] = out[i], out[i-1]
			}
		}
	}
	return out
}

// verdict is what must not depend on the order of a capture.
type verdict struct {
	Opened, ClosedFirst, EndedBy, Visibility string
	Guessed                                  bool
	States                                   [2]tcp.State
	Marks                                    [2][6]uint64 // packets: SYN, first ACK, highest ACK, FIN, RST, last
	SYNs, FINs                               [2]uint16
	Payload                                  [2]uint64
}

// judged returns the verdicts on the connections that segments make, in the order of their SYNs, and the certainties.
func judged(segments []tcp.Segment, now int64) (verdicts []verdict, certainty [][2]tracker.Certainty) {
	table := tracker.New(tracker.Config{})
	table.Add(segments)
	var all []tracker.Connection
	for c := range table.Connections(now) {
		all = append(all, *c)
	}
	syn := func(c tracker.Connection) uint64 { return c.Ends[0].Facts.SYN.Packet }
	slices.SortFunc(all, func(a, b tracker.Connection) int { return cmp.Compare(syn(a), syn(b)) })
	for _, c := range all {
		v := verdict{
			Opened: c.Opened.String(), ClosedFirst: c.ClosedFirst.String(), EndedBy: c.EndedBy.String(),
			Visibility: c.Visibility.String(), Guessed: c.RolesGuessed,
		}
		var sure [2]tracker.Certainty
		for role, e := range c.Ends {
			f := e.Facts
			v.Marks[role] = [...]uint64{
				f.SYN.Packet, f.FirstACK.Packet, f.AckReached.Packet, f.FIN.Packet, f.RST.Packet, f.Last.Packet,
			}
			v.States[role], v.SYNs[role], v.FINs[role], v.Payload[role] = e.State, f.SYNs, f.FINs, e.PayloadBytes
			sure[role] = e.Certainty
		}
		verdicts, certainty = append(verdicts, v), append(certainty, sure)
	}
	return verdicts, certainty
}

// checkOrder compares segments with what captures in other orders make of them, at several moments after the last.
func checkOrder(t *testing.T, random *rand.Rand, segments []tcp.Segment, passes int) {
	t.Helper()
	last := slices.MaxFunc(segments, func(a, b tcp.Segment) int { return cmp.Compare(a.Time, b.Time) }).Time
	for range 4 {
		distorted := distort(random, segments, passes)
		for _, later := range []int64{captureDisorder, 300 * ms, 5000 * ms} {
			want, sure := judged(segments, last+later)
			got, surer := judged(distorted, last+later)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Fatalf("%d ms after the last (-in order +otherwise):\n%s\n%s", later/ms, diff, listing(distorted))
			}
			for i := range sure {
				if surer[i][0] > sure[i][0] || surer[i][1] > sure[i][1] {
					t.Fatalf("%d ms after the last, connection %d: %v in order, more certain otherwise: %v\n%s",
						later/ms, i+1, sure[i], surer[i], listing(distorted))
				}
			}
		}
	}
}

// listing writes segments as a trace.
func listing(segments []tcp.Segment) string {
	var b strings.Builder
	for _, s := range segments {
		fmt.Fprintf(&b, "%.6f  %d:%d  %-7v seq=%d ack=%d len=%d ts=%d/%d\t# %d\n", float64(s.Time-epoch)/1e9, s.SrcPort, s.DstPort,
			s.Flags, s.Seq, s.Ack, s.Len, s.Options.TSVal, s.Options.TSEcr, s.Packet)
	}
	return b.String()
}

// TestStatesDoNotDependOnTheOrderOfTheCapture shows made-up connections as captures do that are out of order or see packets
// twice: the same states for the same reasons, and never with more certainty.
func TestStatesDoNotDependOnTheOrderOfTheCapture(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			c := &conversation{Rand: random, now: epoch, stamps: random.IntN(2) == 0, loss: 0.2 * float64(random.IntN(2))}
			checkOrder(t, random, c.connection(), 1)
		})
	}
}

// TestFiguresDoNotDependOnTheOrderOfTheCapture does so with the examples of RFC 9293, five times as fast as printed. Figures
// 8 and 9 are of two incarnations with ISSs closer than RFC 9293 3.4.1 allows: there an ACK that has overtaken its SYN-ACK
// cannot be told from one of the other incarnation.
func TestFiguresDoNotDependOnTheOrderOfTheCapture(t *testing.T) {
	paths, err := filepath.Glob("testdata/rfc9293/*.trace")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no figures: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".trace")
		if strings.HasPrefix(name, "figure-08") || strings.HasPrefix(name, "figure-09") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			script, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			checkOrder(t, rand.New(rand.NewPCG(1, 2)), segmentsOf(t, string(script), 5), 0)
		})
	}
}

// segmentsOf returns the segments of a trace, faster times as fast.
func segmentsOf(t *testing.T, script string, faster int64) (segments []tcp.Segment) {
	tr := &trace{t: t}
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 2 && !strings.ContainsAny(fields[0]+fields[1], "=:|") {
			s := tr.segment(n+1, fields)
			s.Time = epoch + (s.Time-epoch)/faster
			segments = append(segments, s)
		}
	}
	return segments
}
