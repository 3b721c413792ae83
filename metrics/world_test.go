package metrics

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// epoch is when captures begin: 2026-01-01 12:00 UTC.
var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano()

// world is a live loop without packets: a table, which it takes segments into, and what it makes of it.
type world struct {
	t       testing.TB
	m       *Metrics
	table   *tracker.Table
	rules   *diagnosis.Rules
	monitor *diagnosis.Monitor
	packets uint64
	now     int64
	clock   time.Time
	capture Capture
	more    []diagnosis.Finding // beside the analysis
	outputs []Output
}

// newWorld counts services at each judgement, unless cfg says otherwise.
func newWorld(t testing.TB, cfg Config, table tracker.Config) *world {
	w := &world{t: t, table: tracker.New(table), rules: diagnosis.NewRules(), monitor: diagnosis.NewMonitor(), now: epoch, clock: time.Unix(0, epoch)}
	cfg.Clock = func() time.Time { return w.clock }
	if cfg.Every == 0 {
		cfg.Every = time.Nanosecond
	}
	w.m = New(cfg)
	return w
}

// judge judges the table as it stands after a while.
func (w *world) judge(after time.Duration) {
	w.now += int64(after)
	w.clock = w.clock.Add(max(after, time.Millisecond))
	w.capture.Packets, w.capture.Table = w.packets, w.table.Stats()
	w.capture.Connections, w.capture.Bytes = w.table.Len(), w.table.Bytes()
	a := w.rules.Analyze(w.table, w.now, diagnosis.Capture{})
	events := w.monitor.Update(a, w.more...)
	w.m.Observe(Observation{Analysis: a, Events: events, Standing: w.monitor.Standing(), Capture: w.capture, Outputs: w.outputs, Now: w.now})
}

// talk is a connection in the making.
type talk struct {
	w    *world
	ends [2]tcp.Addr
	port [2]uint16
	seq  [2]uint32
}

// host is 10.a.b.c for n = a<<16 | b<<8 | c.
func host(n int) tcp.Addr { return tcp.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) }

func (w *world) talk(client int, clientPort uint16, server int, serverPort uint16) *talk {
	return &talk{w: w, ends: [2]tcp.Addr{host(client), host(server)}, port: [2]uint16{clientPort, serverPort}, seq: [2]uint32{1000, 5000}}
}

// say sends a segment, a millisecond later.
func (k *talk) say(from tracker.Role, flags tcp.Flags, payload uint32) *talk {
	k.w.now += int64(time.Millisecond)
	return k.at(k.w.now, from, flags, payload)
}

// at sends a segment that the capture stamps with a time.
func (k *talk) at(now int64, from tracker.Role, flags tcp.Flags, payload uint32) *talk {
	k.w.packets++
	s := tcp.Segment{
		Time: now, Packet: k.w.packets, Src: k.ends[from], Dst: k.ends[from.Peer()], SrcPort: k.port[from], DstPort: k.port[from.Peer()],
		Seq: tcp.Seq(k.seq[from]), Len: payload, Window: 65000, Flags: flags, IPID: uint16(k.w.packets),
	}
	if flags.Any(tcp.ACK) {
		s.Ack = tcp.Seq(k.seq[from.Peer()])
	}
	k.seq[from] += payload
	if flags.Any(tcp.SYN | tcp.FIN) {
		k.seq[from]++
	}
	k.w.table.Add([]tcp.Segment{s})
	return k
}

const client, server = tracker.Client, tracker.Server

func (k *talk) open() *talk {
	return k.say(client, tcp.SYN, 0).say(server, tcp.SYN|tcp.ACK, 0).say(client, tcp.ACK, 0)
}

// ask is a request and its answer.
func (k *talk) ask() *talk {
	return k.say(client, tcp.PSH|tcp.ACK, 100).say(server, tcp.PSH|tcp.ACK, 1000).say(client, tcp.ACK, 0)
}

// half is closed by the client, and not by the server.
func (k *talk) half() *talk { return k.say(client, tcp.FIN|tcp.ACK, 0).say(server, tcp.ACK, 0) }

func (k *talk) close() *talk {
	return k.half().say(server, tcp.FIN|tcp.ACK, 0).say(client, tcp.ACK, 0)
}

// refuse is a SYN and the RST that answers it.
func (k *talk) refuse() *talk { return k.say(client, tcp.SYN, 0).say(server, tcp.RST|tcp.ACK, 0) }

// resend sends 500 octets of payload n times in all, 250 ms apart.
func (k *talk) resend(from tracker.Role, n int) *talk {
	for i := range n {
		k.say(from, tcp.PSH|tcp.ACK, 500)
		k.w.now += int64(250 * time.Millisecond)
		if i < n-1 {
			k.seq[from] -= 500
		}
	}
	return k
}

// series returns what a scrape shows, name and labels as in the text format, without what belongs to tcpleak's process.
func (w *world) series() map[string]float64 {
	w.t.Helper()
	all := make(map[string]float64)
	gathered, err := w.m.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range gathered {
		if !strings.HasPrefix(f.GetName(), "tcpleak_") {
			continue
		}
		for _, one := range f.GetMetric() {
			var labels []string
			for _, l := range one.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			switch {
			case one.Counter != nil:
				all[name] = one.GetCounter().GetValue()
			case one.Gauge != nil:
				all[name] = one.GetGauge().GetValue()
			case one.Histogram != nil:
				all[name] = float64(one.GetHistogram().GetSampleCount())
			}
		}
	}
	return all
}

// expect holds series against their values.
func (w *world) expect(want map[string]float64) {
	w.t.Helper()
	got := w.series()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value, ok := got[name]
		if !ok {
			w.t.Errorf("no series %s", name)
		} else if value != want[name] {
			w.t.Errorf("%s is %v, want %v", name, value, want[name])
		}
	}
}

// scrape returns what Prometheus is answered.
func scrape(t testing.TB, w *world) string {
	t.Helper()
	answer := httptest.NewRecorder()
	w.m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}
