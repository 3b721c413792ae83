package diagnosis_test

import (
	"testing"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// BenchmarkAnalyze judges 100,000 connections of all sorts: most have closed, some are open, a few are broken.
func BenchmarkAnalyze(b *testing.B) {
	const connections = 100_000
	w := newTraffic(b, 1)
	for i := range connections {
		at := time.Duration(i) * time.Millisecond
		client, server := host("client", i%500), host("server", i%20)
		k := w.talk(at, client, server)
		switch kind := i % 40; {
		case kind < 24:
			k.open().ask(trip).answer(trip).close(trip, w.either())
		case kind < 32:
			k.open().ask(trip).answer(trip)
		case kind < 34:
			k.open().half(trip, w.either())
		case kind == 34:
			k.open().say(trip, w.either(), tcp.RST|tcp.ACK, 0)
		case kind == 35:
			w.probe(at, client, server, 80, true)
		case kind == 36:
			w.probe(at, client, server, 443, false)
		case kind == 37:
			k.say(0, tracker.Client, tcp.SYN, 0).say(trip, tracker.Server, tcp.SYN|tcp.ACK, 0).again(time.Second, tracker.Server, tcp.SYN|tcp.ACK, 0)
		case kind == 38:
			k.open().say(trip, tracker.Client, tcp.FIN|tcp.ACK, 0).again(time.Second, tracker.Client, tcp.FIN|tcp.ACK, 0)
		default:
			k.open().ask(trip).ask(trip).again(time.Second, tracker.Client, tcp.ACK|tcp.PSH, 200)
		}
	}
	w.feed(200 * time.Second)
	const now = epoch + int64(200*time.Second)
	if n := w.table.Len(); n < connections*99/100 {
		b.Fatalf("%d connections", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.rules.Analyze(w.table, now, diagnosis.Capture{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/connections, "ns/connection")
}
