package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/tcp"
)

// played is a live source that a test plays.
type played struct{ last int64 }

func (p *played) Read([]tcp.Segment) (int, error) { return 0, os.ErrClosed }
func (p *played) Stats() capture.Stats            { return capture.Stats{Last: p.last} }
func (p *played) Last() int64                     { return p.last }
func (p *played) Close() error                    { return nil }

// heard is an audience that remembers.
type heard struct{ events []diagnosis.Event }

func (h *heard) hear(j *judgement) error {
	h.events = append(h.events, j.events...)
	return nil
}
func (h *heard) between()      {}
func (h *heard) report() error { return nil }

// newWatcher follows a source as -i does with the flags of o, without a kernel to ask.
func newWatcher(t *testing.T, o options) (*watcher, *played, *heard) {
	t.Helper()
	j := &job{live: true, format: "json", stdout: io.Discard, stderr: t.Output()}
	if err := o.prepare(j, nil); err != nil {
		t.Fatal(err)
	}
	source, audience := new(played), new(heard)
	return &watcher{job: j, source: source, monitor: diagnosis.NewMonitor(), audience: audience}, source, audience
}

// What counts in silence is how long ago the last packet was, wherever this host's clock has been set to since.
func TestSilenceIsCountedFromTheLastPacket(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"set back by an hour": time.Hour, "set ahead by a day": -24 * time.Hour, "left alone": 0} {
		w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
		clock := time.Now()
		w.tellTime(clock, true)
		source.last = clock.Add(ahead).UnixNano()
		if ahead < 0 {
			w.now = 0 // it has begun at that time
		}
		w.tellTime(clock, false)
		for range 10 {
			clock = clock.Add(200 * time.Millisecond)
			w.tellTime(clock, true)
		}
		if got := time.Duration(w.now - source.last); got != 2*time.Second {
			t.Errorf("%s: %v after the last packet, want 2s", name, got)
		}
	}
}

func TestPace(t *testing.T) {
	const cheap, dear = time.Millisecond, 100 * time.Millisecond
	for _, c := range []struct {
		name    string
		packets uint64 // a second
		costs   []time.Duration
		want    time.Duration
	}{
		{"few connections", 0, []time.Duration{cheap, cheap}, lookEvery},
		{"many, at rest", 10, []time.Duration{dear, dear, dear, dear}, restShare * dear},
		{"very many, at rest", 10, []time.Duration{dear, 10 * dear, 10 * dear, 10 * dear}, restAtLeast},
		{"very many, busy", 1_000_000, []time.Duration{dear, 10 * dear, 10 * dear, 10 * dear}, lookAtLeast},
		{"many, busy", 1_000_000, []time.Duration{dear, dear, dear, dear}, lookShare * dear},
		{"many at once", 1_000_000, []time.Duration{cheap, dear, dear, dear}, lookShare * dear},
		{"a hiccup", 1_000_000, []time.Duration{cheap, cheap, dear}, lookEvery},
		{"dear from now on", 1_000_000, []time.Duration{cheap, cheap, dear, dear}, lookShare * dear},
	} {
		var p paced
		var got time.Duration
		for _, cost := range c.costs {
			p.judge(cost)
			got = p.wait(c.packets, false)
		}
		if got < c.want || got > c.want+looks {
			t.Errorf("%s: the next after %v, want %v", c.name, got, c.want)
		}
	}
}

// What is due is judged at once where little has been before, however dear it is; where something is due all the time, the share
// is kept.
func TestWhatIsDueIsJudgedAtOnceIfThatWasSaved(t *testing.T) {
	const dear = 250 * time.Millisecond
	var p paced
	for range 3 {
		p.judge(dear)
	}
	p.pass(5*time.Minute, 0)
	if got := p.wait(0, true); got > looks {
		t.Errorf("after minutes in which nothing was due, the first waits for %v", got)
	}
	p.judge(dear)
	p.pass(time.Second, 0)
	if got := p.wait(0, true); got > looks {
		t.Errorf("a second later, the next waits for %v", got)
	}
	p.judge(dear)
	if got := p.wait(0, true); got < restShare*dear/2 {
		t.Errorf("the third in a row waits for %v only", got)
	}
	for _, urgent := range []bool{false, true} {
		n, begin := 0, p.at
		for p.at.Sub(begin) < time.Hour {
			p.wait(0, urgent)
			p.judge(dear)
			n++
		}
		if share := float64(n) * dear.Seconds() / time.Hour.Seconds(); share > 1.05/restShare || share < 0.9/restShare {
			t.Errorf("something is due all the time (urgent: %v): it takes %.2f %% of a core", urgent, 100*share)
		}
	}
	p.pass(5*time.Minute, 0)
	p.wait(0, false)
	p.judge(dear)
	p.pass(time.Second, 0)
	if got := p.wait(0, true); got > looks {
		t.Errorf("what is not urgent has left nothing for what is: %v", got)
	}
}

// paced plays a pace.
type paced struct {
	pace
	at      time.Time
	packets uint64
}

// looks is how far apart it is looked at.
const looks = 10 * time.Millisecond

func (p *paced) judge(cost time.Duration) {
	if p.at.IsZero() {
		p.at = time.Unix(1e9, 0)
	}
	p.spend(p.at, p.packets, cost)
}

func (p *paced) pass(d time.Duration, perSecond uint64) {
	p.at = p.at.Add(d)
	p.packets += uint64(d.Seconds() * float64(perSecond))
}

// wait lets time pass until it may judge, and returns how long that took.
func (p *paced) wait(perSecond uint64, urgent bool) time.Duration {
	begin := p.at
	for !p.may(p.at, p.packets, urgent) {
		p.pass(looks, perSecond)
	}
	return p.at.Sub(begin)
}

// Where nothing is heard, nothing is judged until something is due; then it is told, and told to be over in time.
func TestNothingIsJudgedUntilSomethingIsDue(t *testing.T) {
	w, source, audience := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
	begin := time.Now().UnixNano()
	at, packets := begin, uint64(0)
	say := func(fromClient bool, flags tcp.Flags, seq, ack uint32) {
		at, packets = at+int64(time.Millisecond), packets+1
		s := tcp.Segment{Time: at, Packet: packets, Src: addrOf(10, 1), SrcPort: 50_000, Dst: addrOf(10, 2), DstPort: 80, Flags: flags, Seq: tcp.Seq(seq), Ack: tcp.Seq(ack), Window: 65_000}
		if !fromClient {
			s.Src, s.SrcPort, s.Dst, s.DstPort = s.Dst, s.DstPort, s.Src, s.SrcPort
		}
		w.table.Add([]tcp.Segment{s})
		source.last = at
		w.heed([]tcp.Segment{s})
	}
	judged := 0
	pass := func(d time.Duration) {
		for end := at + int64(d); at < end; {
			at = min(at+int64(500*time.Millisecond), end)
			source.last = at
			var last int64
			if w.analysis != nil {
				last = w.analysis.Made()
			}
			w.due, w.again, w.pace.last = time.Time{}, time.Time{}, time.Time{} // hours pass faster than this host's clock goes
			if err := w.tick(false); err != nil {
				t.Fatal(err)
			}
			if w.analysis.Made() != last {
				judged++
			}
		}
	}
	say(true, tcp.SYN, 1000, 0)
	say(false, tcp.SYN|tcp.ACK, 5000, 1001)
	say(true, tcp.ACK, 1001, 5001)
	pass(time.Minute)
	if judged != 1 {
		t.Errorf("an open connection was judged %d times", judged)
	}
	say(true, tcp.FIN|tcp.ACK, 1001, 5001)
	say(false, tcp.ACK, 5001, 1002)
	closed := at
	if due := w.nextFinding(); due != closed+int64(60*time.Second) {
		t.Errorf("a finding is due %v after the FIN, want 1m0s", time.Duration(due-closed))
	}
	pass(59 * time.Second)
	if judged > 4 || len(audience.events) > 0 {
		t.Errorf("judged %d times in the minute before it is due, and told %v", judged, audience.events)
	}
	pass(2 * time.Second)
	if n := len(audience.events); n != 1 || audience.events[0].Finding.Kind != diagnosis.StuckCloseWait || audience.events[0].Time > closed+int64(61*time.Second) {
		t.Fatalf("%d events, want one that is told at once: %v", n, audience.events)
	}
	judged = 0
	pass(58 * time.Second) // not yet so long that FIN_WAIT_2 would be over at the other end
	if judged > 1 {
		t.Errorf("judged %d times while nothing changes", judged)
	}
	if f := w.monitor.Standing(); len(f) != 1 || f[0].For != time.Duration(at-f[0].Since) {
		t.Errorf("what stands does not get older: %v", f)
	}
	say(false, tcp.RST|tcp.ACK, 5001, 1002)
	pass(2 * time.Minute)
	last := audience.events[len(audience.events)-1]
	if last.Change != diagnosis.Cleared || len(w.monitor.Standing()) != 0 {
		t.Errorf("in the end %d findings stand, and the last was %v %s", len(w.monitor.Standing()), last.Change, last.Finding.Kind)
	}
}

// An hour of 200 connections a second: their number, their names and their findings may not add up.
func TestAnHourLeavesMemoryFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	const perSecond, span = 200, 3600
	w, source, audience := newWatcher(t, options{timeWait: time.Minute, maxConnections: liveConnections})
	var (
		begin   = time.Now().UnixNano()
		packets uint64
		batch   = make([]tcp.Segment, 0, batchSize)
		client  = func(i int) tcp.Addr { return addrOf(10, i%50_000) }
		server  = func(i int) tcp.Addr { return addrOf(11, (i+i/500)%30_000) }
	)
	say := func(i int, at int64, fromClient bool, flags tcp.Flags, seq, ack uint32, payload string) {
		packets++
		s := tcp.Segment{
			Time: at, Packet: packets, Src: client(i), SrcPort: uint16(10_000 + i/50_000), Dst: server(i), DstPort: 80, Flags: flags,
			Seq: tcp.Seq(seq), Ack: tcp.Seq(ack), Len: uint32(len(payload)), Window: 65_000,
		}
		if !fromClient {
			s.Src, s.SrcPort, s.Dst, s.DstPort = s.Dst, s.DstPort, s.Src, s.SrcPort
		}
		if payload != "" {
			w.names.Segment(&s, []byte(payload))
		}
		batch = append(batch, s)
		if len(batch) == cap(batch) {
			w.table.Add(batch)
			batch = batch[:0]
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	// One in 500 servers closes only after 150 s, which is longer than the threshold.
	const slow, until = 500, 150 * perSecond
	var third uint64
	for i := range perSecond * span {
		at := begin + int64(i)*int64(time.Second)/perSecond
		next := func() int64 { at += int64(10 * time.Microsecond); return at }
		get := fmt.Sprintf("GET / HTTP/1.1\r\nHost: shop-%d.example.com\r\n\r\n", i)
		asked := 1001 + uint32(len(get))
		say(i, next(), true, tcp.SYN, 1000, 0, "")
		say(i, next(), false, tcp.SYN|tcp.ACK, 5000, 1001, "")
		say(i, next(), true, tcp.ACK, 1001, 5001, "")
		say(i, next(), true, tcp.PSH|tcp.ACK, 1001, 5001, get)
		say(i, next(), false, tcp.PSH|tcp.ACK, 5001, asked, "well")
		say(i, next(), true, tcp.ACK, asked, 5005, "")
		say(i, next(), true, tcp.FIN|tcp.ACK, asked, 5005, "")
		say(i, next(), false, tcp.ACK, 5005, asked+1, "")
		closes := func(i int, asked uint32) {
			say(i, next(), false, tcp.FIN|tcp.ACK, 5005, asked+1, "")
			say(i, next(), true, tcp.ACK, asked+1, 5006, "")
		}
		if i%slow != 0 {
			closes(i, asked)
		}
		if old := i - until; old >= 0 && old%slow == 0 {
			closes(old, 1001+uint32(len(fmt.Sprintf("GET / HTTP/1.1\r\nHost: shop-%d.example.com\r\n\r\n", old))))
		}
		source.last = at
		switch {
		case i%(360*perSecond) == 0:
			w.due, w.pace = time.Time{}, pace{} // every six minutes, as hours pass faster than this host's clock goes
			w.table.Add(batch)
			batch = batch[:0]
			if err := w.tick(false); err != nil {
				t.Fatal(err)
			}
		case i == perSecond*span/3+1:
			third = heap()
		}
	}
	end := heap()
	raised, cleared := 0, 0
	for _, e := range audience.events {
		switch e.Change {
		case diagnosis.Raised:
			raised++
		case diagnosis.Cleared:
			cleared++
		}
	}
	standing := len(w.monitor.Standing())
	runtime.KeepAlive(w)
	t.Logf("%d packets; %d MB after a third, %d MB in the end, of which the table takes %d; %d findings raised, %d cleared", packets, third>>20, end>>20,
		w.table.Bytes()>>20, raised, cleared)
	if end > third+third/8 {
		t.Errorf("memory grows: %d octets after a third of the hour, %d in the end", third, end)
	}
	if w.table.Len() > liveConnections || raised < 200 || raised-cleared != standing || standing > raised/5 {
		t.Errorf("%d connections, %d findings raised, %d cleared, %d standing", w.table.Len(), raised, cleared, standing)
	}
}

// addrOf returns the nth address of a network of 2^24.
func addrOf(network byte, n int) tcp.Addr {
	return tcp.AddrFromNetip(netip.AddrFrom4([4]byte{network, byte(n >> 16), byte(n >> 8), byte(n)}))
}
