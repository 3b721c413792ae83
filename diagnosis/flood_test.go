package diagnosis_test

import (
	"testing"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// A flood that is not answered is told from everything that healthy and broken clients do.
func TestAFloodThatIsNotAnswered(t *testing.T) {
	service := host("server", 0)
	forged := func(w *traffic, from time.Duration, n int) {
		for i := range n {
			w.talk(from+time.Duration(i)*5*time.Millisecond, host("stranger", i), service).say(0, tracker.Client, tcp.SYN, 0)
		}
	}
	serves := func(w *traffic, from time.Duration, n int) {
		for i := range n {
			w.talk(from+time.Duration(i)*5*time.Millisecond, host("client", i), service).open().close(trip, tracker.Client)
		}
	}
	const said = "critical syn_flood client 1000 addresses ×1000 since 1.000 for 19.0: 1000 SYNs for 10.0.0.2:80 within 10 s, from 1000 addresses, " +
		"were neither answered nor repeated; "
	for _, c := range []struct {
		name string
		play func(*traffic)
		at   time.Duration
		want []string
	}{
		{"a thousand addresses, each once", func(w *traffic) { serves(w, 0, 1); forged(w, time.Second, 1000) }, 20 * time.Second, []string{said + "0 handshakes completed meanwhile."}},
		{"999", func(w *traffic) { serves(w, 0, 1); forged(w, time.Second, 999) }, 20 * time.Second, nil},
		{"while a third as many are served", func(w *traffic) { forged(w, time.Second, 1000); serves(w, time.Second, 333) }, 20 * time.Second, []string{said + "333 handshakes completed meanwhile."}},
		{"a busy server, of which some answers are not captured", func(w *traffic) { forged(w, time.Second, 1000); serves(w, time.Second, 334) }, 20 * time.Second, nil},
		{"they may still be repeated", func(w *traffic) { serves(w, 0, 1); forged(w, time.Second, 1000) }, 6 * time.Second, nil},
		{"a capture of nothing but SYNs", func(w *traffic) { forged(w, time.Second, 1000) }, 20 * time.Second, nil},
		{"the server is down, and its clients ask again", func(w *traffic) {
			serves(w, 0, 1)
			for i := range 2000 {
				w.talk(time.Second+time.Duration(i)*2*time.Millisecond, host("client", i), service).say(0, tracker.Client, tcp.SYN, 0).again(time.Second, tracker.Client, tcp.SYN, 0)
			}
		}, 20 * time.Second, nil},
		{"the server is down, and a health check gives up each time before it asks again", func(w *traffic) {
			serves(w, 0, 1)
			for i := range 2000 {
				w.talk(time.Second+time.Duration(i)*2*time.Millisecond, host("client", i%400), service).say(0, tracker.Client, tcp.SYN, 0)
			}
		}, 20 * time.Second, nil},
		{"a thousand in a minute", func(w *traffic) {
			serves(w, 0, 1)
			for i := range 1000 {
				w.talk(time.Second+time.Duration(i)*60*time.Millisecond, host("stranger", i), service).say(0, tracker.Client, tcp.SYN, 0)
			}
		}, 80 * time.Second, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTraffic(t, 1)
			c.play(w)
			w.wants(diagnosis.SYNFlood, c.at, c.want...)
		})
	}
}

// Where a flood fills the table, what is held of it is too young to tell by itself.
func TestAFloodThatIsNotAnsweredAndFillsTheTable(t *testing.T) {
	w := newTraffic(t, 1)
	w.table = tracker.New(tracker.Config{MaxConnections: 2000})
	w.talk(0, host("client", 0), host("server", 0)).open()
	for i := range 20_000 {
		w.talk(time.Second+time.Duration(i)*100*time.Microsecond, host("stranger", i), host("server", 0)).say(0, tracker.Client, tcp.SYN, 0)
	}
	w.wants(diagnosis.SYNFlood, 3*time.Second, "critical syn_flood client 1999 addresses ×1999 since 2.800 for 0.2: 1999 SYNs for 10.0.0.2:80 within 10 s, from "+
		"1999 addresses, were neither answered nor repeated; 0 handshakes completed meanwhile. 18001 attempts more were seen in this capture, and "+
		"forgotten to stay within the limits.")
}
