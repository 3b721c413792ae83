package diagnosis_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// traffic is what many hosts say to each other. Connections are written one after the other, each as a whole, and are fed
// to the table in the order of time.
type traffic struct {
	t       testing.TB
	table   *tracker.Table
	rules   *diagnosis.Rules
	random  *rand.Rand
	pending map[int64][]tcp.Segment // by second after the epoch, may be negative
	packet  uint64
	ipid    uint16
	ports   map[tcp.Addr]uint16
}

func newTraffic(t testing.TB, seed uint64) *traffic {
	return &traffic{
		t: t, table: tracker.New(tracker.Config{}), rules: diagnosis.NewRules(), random: rand.New(rand.NewPCG(seed, 7)),
		pending: make(map[int64][]tcp.Segment), ports: make(map[tcp.Addr]uint16),
	}
}

// set changes thresholds, as --threshold does.
func (w *traffic) set(thresholds ...string) {
	w.t.Helper()
	for _, text := range thresholds {
		threshold, err := diagnosis.ParseThreshold(text)
		if err != nil {
			w.t.Fatal(err)
		}
		w.rules.Set(threshold)
	}
}

// between is a random time between two.
func (w *traffic) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)+1))
}

// feed gives the table what was said before a time after the epoch.
func (w *traffic) feed(until time.Duration) {
	last := int64(until / time.Second)
	for _, second := range slices.Sorted(func(yield func(int64) bool) {
		for second := range w.pending {
			if !yield(second) {
				return
			}
		}
	}) {
		if second >= last {
			return
		}
		batch := w.pending[second]
		delete(w.pending, second)
		slices.SortStableFunc(batch, func(a, b tcp.Segment) int { return cmp.Compare(a.Time, b.Time) })
		for i := range batch {
			w.packet++
			batch[i].Packet = w.packet
		}
		w.table.Add(batch)
	}
}

// forget loses what was said before the epoch: the capture begins there.
func (w *traffic) forget() {
	for second := range w.pending {
		if second < 0 {
			delete(w.pending, second)
		}
	}
}

// analyze judges what was said before a time after the epoch, which must be a whole second, at that time.
func (w *traffic) analyze(at time.Duration) *diagnosis.Analysis {
	w.feed(at)
	now := epoch + int64(at)
	return w.rules.Analyze(w.table, now, diagnosis.Capture{})
}

// above tells the findings of a that are more than info.
func above(a *diagnosis.Analysis) []string {
	var all []string
	for i := range a.Findings {
		if f := &a.Findings[i]; f.Severity > diagnosis.Info {
			all = append(all, line(f))
		}
	}
	return all
}

// of returns the findings of a kind.
func of(a *diagnosis.Analysis, kind diagnosis.Kind) []*diagnosis.Finding {
	var all []*diagnosis.Finding
	for i := range a.Findings {
		if a.Findings[i].Kind == kind {
			all = append(all, &a.Findings[i])
		}
	}
	return all
}

// calm checks that nothing above info is found at any of the times.
func (w *traffic) calm(times ...time.Duration) {
	w.t.Helper()
	for _, at := range times {
		if got := above(w.analyze(at)); len(got) > 0 {
			w.t.Errorf("at %v: %q", at, got)
			return
		}
	}
}

// host is the n-th address of a kind: "client", "server" or "stranger".
func host(kind string, n int) tcp.Addr {
	a := address(kind).Netip().As4()
	binary.BigEndian.PutUint16(a[1:], uint16(n))
	return tcp.AddrFrom4(a)
}

// talk is one connection: what both ends have sent, all of which arrives.
type talk struct {
	w    *traffic
	at   time.Duration // after the epoch
	ends [2]tcp.Addr
	port [2]uint16
	next [2]tcp.Seq
}

// talk begins a connection that says nothing yet, from the client's next port to port 80.
func (w *traffic) talk(at time.Duration, client, server tcp.Addr) *talk {
	const first, ports = 32768, 28232
	n := w.ports[client]
	w.ports[client] = (n + 1) % ports
	k := &talk{w: w, at: at, ends: [2]tcp.Addr{client, server}, port: [2]uint16{first + n, 80}}
	k.next = [2]tcp.Seq{tcp.Seq(w.random.Uint32()), tcp.Seq(w.random.Uint32())}
	return k
}

// say adds what one end says, after a pause.
func (k *talk) say(pause time.Duration, from tracker.Role, flags tcp.Flags, length int) *talk {
	k.at += pause
	k.w.ipid++
	to := from.Peer()
	s := tcp.Segment{
		Time: epoch + int64(k.at), Src: k.ends[from], Dst: k.ends[to], SrcPort: k.port[from], DstPort: k.port[to],
		Flags: flags, Seq: k.next[from], Len: uint32(length), Window: 1000, IPID: k.w.ipid,
	}
	if flags.Any(tcp.ACK) {
		s.Ack = k.next[to]
	}
	k.next[from] = s.End()
	second := int64(k.at / time.Second)
	if k.at < 0 {
		second--
	}
	k.w.pending[second] = append(k.w.pending[second], s)
	return k
}

// again repeats what one end has just said, after a pause.
func (k *talk) again(pause time.Duration, from tracker.Role, flags tcp.Flags, length int) *talk {
	k.next[from] -= tcp.Seq(length)
	if flags.Any(tcp.SYN | tcp.FIN) {
		k.next[from]--
	}
	return k.say(pause, from, flags, length)
}

const trip = 300 * time.Microsecond

func (k *talk) open() *talk {
	return k.say(0, tracker.Client, tcp.SYN, 0).say(trip, tracker.Server, tcp.SYN|tcp.ACK, 0).say(trip, tracker.Client, tcp.ACK, 0)
}

// ask sends a request after a pause.
func (k *talk) ask(pause time.Duration) *talk {
	return k.say(pause, tracker.Client, tcp.ACK|tcp.PSH, 200).say(trip, tracker.Server, tcp.ACK, 0)
}

// answer sends the response after a pause.
func (k *talk) answer(pause time.Duration) *talk {
	return k.say(pause, tracker.Server, tcp.ACK|tcp.PSH, 900).say(trip, tracker.Client, tcp.ACK, 0)
}

// half closes one end after a pause; the other acknowledges.
func (k *talk) half(pause time.Duration, role tracker.Role) *talk {
	return k.say(pause, role, tcp.FIN|tcp.ACK, 0).say(trip, role.Peer(), tcp.ACK, 0)
}

// close closes both, one first, after a pause.
func (k *talk) close(pause time.Duration, first tracker.Role) *talk {
	return k.half(pause, first).half(trip, first.Peer())
}

// either is one of the ends, by chance.
func (w *traffic) either() tracker.Role { return tracker.Role(w.random.IntN(2)) }

// TestTrafficIsHealthy holds the hosts above against the tracker: what they open and close properly is that.
func TestTrafficIsHealthy(t *testing.T) {
	w := newTraffic(t, 1)
	w.talk(0, host("client", 0), host("server", 0)).open().ask(time.Millisecond).answer(time.Millisecond).close(time.Millisecond, tracker.Client)
	w.talk(0, host("client", 0), host("server", 0)).open().close(time.Millisecond, tracker.Server)
	w.talk(0, host("client", 1), host("server", 0)).open().half(time.Millisecond, tracker.Server)
	w.feed(time.Second)
	var got []string
	for c := range w.table.Connections(epoch + 1e9) {
		got = append(got, fmt.Sprintf("%v: %v %v %v", c.Ends[0].Addr, c.Opened, c.Ends[0].State, c.Ends[1].State))
	}
	want := []string{
		"10.0.0.1: handshake TIME_WAIT CLOSED", "10.0.0.1: handshake CLOSED TIME_WAIT", "10.0.1.1: handshake CLOSE_WAIT FIN_WAIT_2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
