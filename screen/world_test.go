package screen

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// epoch is when captures begin: 2026-01-01 12:00 UTC.
var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano()

// world is a live loop without packets: a table, which it takes segments into, and what it makes of it.
type world struct {
	table    *tracker.Table
	rules    *diagnosis.Rules
	monitor  *diagnosis.Monitor
	composer *Composer
	packets  uint64
	now      int64
}

func newWorld() *world {
	table := tracker.New(tracker.Config{})
	return &world{table: table, rules: diagnosis.NewRules(), monitor: diagnosis.NewMonitor(), composer: NewComposer(table), now: epoch}
}

// judge judges the table as it stands after a while.
func (w *world) judge(after time.Duration) {
	w.now += int64(after)
	a := w.rules.Analyze(w.table, w.now, diagnosis.Capture{})
	w.composer.Judge(a, w.monitor.Update(a))
}

func (w *world) capture() Capture {
	return Capture{Now: w.now, Sources: []string{"eth0"}, Filter: "tcp port 80", Packets: w.packets}
}

func (w *world) compose(q Query) Frame { return w.composer.Compose(w.capture(), q) }

// talk is a connection in the making.
type talk struct {
	w    *world
	ends [2]tcp.Addr
	port [2]uint16
	seq  [2]uint32
}

// host is an address of 10.0.0.0/8.
func host(n int) tcp.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|uint32(n))
	return tcp.AddrFrom4(a)
}

func (w *world) talk(client int, clientPort uint16, server int, serverPort uint16) *talk {
	return &talk{w: w, ends: [2]tcp.Addr{host(client), host(server)}, port: [2]uint16{clientPort, serverPort}, seq: [2]uint32{1000, 5000}}
}

// say sends a segment, a millisecond later.
func (k *talk) say(from tracker.Role, flags tcp.Flags, payload uint32) *talk {
	k.w.now += int64(time.Millisecond)
	k.w.packets++
	to := from.Peer()
	s := tcp.Segment{
		Time: k.w.now, Packet: k.w.packets, Src: k.ends[from], Dst: k.ends[to], SrcPort: k.port[from], DstPort: k.port[to],
		Seq: tcp.Seq(k.seq[from]), Len: payload, Window: 65000, Flags: flags,
	}
	if flags.Any(tcp.ACK) {
		s.Ack = tcp.Seq(k.seq[to])
	}
	k.seq[from] += payload
	if flags.Any(tcp.SYN | tcp.FIN) {
		k.seq[from]++
	}
	k.w.table.Add([]tcp.Segment{s})
	return k
}

func (k *talk) open() *talk {
	return k.say(tracker.Client, tcp.SYN, 0).say(tracker.Server, tcp.SYN|tcp.ACK, 0).say(tracker.Client, tcp.ACK, 0)
}

// ask is a request and its answer.
func (k *talk) ask() *talk {
	return k.say(tracker.Client, tcp.PSH|tcp.ACK, 100).say(tracker.Server, tcp.PSH|tcp.ACK, 1000).say(tracker.Client, tcp.ACK, 0)
}

// half is closed by the client, and not by the server.
func (k *talk) half() *talk {
	return k.say(tracker.Client, tcp.FIN|tcp.ACK, 0).say(tracker.Server, tcp.ACK, 0)
}

func (k *talk) close() *talk {
	return k.half().say(tracker.Server, tcp.FIN|tcp.ACK, 0).say(tracker.Client, tcp.ACK, 0)
}

// small is a world with a bit of everything: connections 1 to 3 are open, 4 to 6 left in CLOSE_WAIT by the server 10.0.1.1:80
// for two minutes, 7 and 8 closed, 9 never answered.
func small() *world {
	w := newWorld()
	for i := range 3 {
		w.talk(1, uint16(40001+i), 257, 80).open().ask()
	}
	for i := range 3 {
		w.talk(2, uint16(50001+i), 257, 80).open().ask().ask().half()
	}
	for i := range 2 {
		w.talk(3, uint16(60001+i), 258, 443).open().ask().close()
	}
	lost := w.talk(4, 33000, 259, 5432)
	for range 3 {
		lost.say(tracker.Client, tcp.SYN, 0).seq[tracker.Client]--
		w.now += int64(time.Second)
	}
	w.judge(2 * time.Minute)
	return w
}

// crowd is n connections of all sorts.
func crowd(n int) *world {
	w := newWorld()
	for i := range n {
		k := w.talk(i%500, uint16(1024+i/500), 1<<16+i%20, 80)
		switch i % 40 {
		case 0:
			k.open().half()
		case 1:
			k.say(tracker.Client, tcp.SYN, 0)
		case 2, 3, 4, 5, 6, 7, 8, 9:
			k.open().ask()
		default:
			k.open().ask().close()
		}
	}
	w.judge(2 * time.Minute)
	return w
}

// BenchmarkCompose tells what a frame of 100,000 connections costs, beside the analysis that comes before it: with the order
// that there is, and with a new one. For the new one, a twentieth of the time is set aside.
func BenchmarkCompose(b *testing.B) {
	const connections = 100_000
	w := crowd(connections)
	if n := w.table.Len(); n < connections*99/100 {
		b.Fatalf("%d connections", n)
	}
	b.Run("Analyze", func(b *testing.B) {
		for b.Loop() {
			w.rules.Analyze(w.table, w.now, diagnosis.Capture{})
		}
	})
	b.Run("Frame", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.compose(Query{Sort: Findings, Rows: 150, Open: 5})
		}
	})
	for _, q := range []Query{
		{Sort: Findings}, {Sort: ID, Reverse: true}, {Sort: Client}, {Sort: Age}, {Sort: Findings, Filter: "state:close_wait age>60s"},
		{Sort: Findings, Filter: "10.0.1.7 close"},
	} {
		b.Run(fmt.Sprintf("Order/%s_%s", columnTitles[q.Sort], q.Filter), func(b *testing.B) {
			b.ReportAllocs()
			q.Rows = 150
			for b.Loop() {
				w.composer.arrange(q.ordered(), w.now)
				w.composer.rows(&q, w.now)
			}
		})
	}
}

// BenchmarkView tells what it takes to put a frame into lines.
func BenchmarkView(b *testing.B) {
	m := newModel(New(Options{Environ: []string{}, Location: time.UTC}), true, true)
	w := crowd(1000)
	m.Update(tea.WindowSizeMsg{Width: 160, Height: 50})
	for range 3 {
		m.screen.Show(w.compose(m.screen.Query()))
		m.turned = time.Time{}
		m.Update(frameMsg{})
	}
	for b.Loop() {
		m.Update(nil)
		m.View()
	}
}
