package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// found returns the lines of the findings of one kind, with Summary.
func (w *traffic) found(kind diagnosis.Kind, at time.Duration) []string {
	var all []string
	for _, f := range of(w.analyze(at), kind) {
		all = append(all, line(f)+": "+f.Summary)
	}
	return all
}

// wants checks that the findings of one kind are those, by the beginning of their lines.
func (w *traffic) wants(kind diagnosis.Kind, at time.Duration, want ...string) {
	w.t.Helper()
	got := w.found(kind, at)
	for i := range got {
		if i < len(want) && strings.HasPrefix(got[i], want[i]) {
			got[i] = want[i]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("at %v (-want +got):\n%s", at, diff)
	}
}

// halfOpen begins n handshakes that are answered and not completed, each from another address.
func (w *traffic) halfOpen(at time.Duration, n int) {
	for i := range n {
		k := w.talk(at+time.Duration(i)*time.Millisecond, host("stranger", i), host("server", 0))
		k.say(0, tracker.Client, tcp.SYN, 0).say(trip, tracker.Server, tcp.SYN|tcp.ACK, 0).again(time.Second, tracker.Server, tcp.SYN|tcp.ACK, 0)
	}
}

func TestSYNFlood(t *testing.T) {
	t.Run("a hundred at once", func(t *testing.T) {
		w := newTraffic(t, 1)
		w.halfOpen(0, 100)
		w.wants(diagnosis.SYNFlood, 4*time.Second, "critical syn_flood client 100 addresses ×100 since 0.000 for 4.0: 100 handshakes with "+
			"10.0.0.2:80 were half-open at once, from 100 addresses; 0 completed meanwhile.")
		w.wants(diagnosis.HalfOpenHandshake, 4*time.Second)
	})
	t.Run("99 are not", func(t *testing.T) {
		w := newTraffic(t, 1)
		w.halfOpen(0, 99)
		w.wants(diagnosis.SYNFlood, 4*time.Second)
		w.wants(diagnosis.HalfOpenHandshake, 4*time.Second, "warning half_open_handshake client 99 addresses ×99 since 0.000 for 4.0")
	})
	t.Run("of one port", func(t *testing.T) {
		w := newTraffic(t, 1)
		w.halfOpen(0, 99)
		k := w.talk(0, host("stranger", 100), host("server", 1))
		k.say(0, tracker.Client, tcp.SYN, 0).say(trip, tracker.Server, tcp.SYN|tcp.ACK, 0)
		w.wants(diagnosis.SYNFlood, 4*time.Second)
	})
	for _, c := range []struct {
		name      string
		completed int
		want      int
	}{
		{"while 99 complete", 99, 1},
		{"while as many complete: the service is busy, and some of its clients are broken", 100, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTraffic(t, 1)
			w.halfOpen(0, 100)
			for i := range c.completed {
				w.talk(time.Millisecond+time.Duration(i)*900*time.Microsecond, host("client", 1), host("server", 0)).open().close(trip, tracker.Client)
			}
			if got := w.found(diagnosis.SYNFlood, 4*time.Second); len(got) != c.want {
				t.Errorf("%q, want %d", got, c.want)
			}
		})
	}
	t.Run("what the server has given up is no more half-open", func(t *testing.T) {
		w := newTraffic(t, 1)
		w.halfOpen(0, 60)
		w.halfOpen(30*time.Second, 60)
		w.wants(diagnosis.SYNFlood, 32*time.Second)
	})
	t.Run("from one address", func(t *testing.T) {
		w := newTraffic(t, 1)
		for i := range 100 {
			w.talk(time.Duration(i)*time.Millisecond, host("stranger", 0), host("server", 0)).
				say(0, tracker.Client, tcp.SYN, 0).say(trip, tracker.Server, tcp.SYN|tcp.ACK, 0)
		}
		w.wants(diagnosis.SYNFlood, 2*time.Second, "critical syn_flood client 10.0.0.3 ×100 since 0.000 for 2.0")
	})
}

// probe asks once for a port, which refuses or does not answer.
func (w *traffic) probe(at time.Duration, source, target tcp.Addr, port int, refuses bool) {
	k := w.talk(at, source, target)
	k.port[tracker.Server] = uint16(port)
	k.say(0, tracker.Client, tcp.SYN, 0)
	if refuses {
		k.next[tracker.Server] = 0
		k.say(trip, tracker.Server, tcp.RST|tcp.ACK, 0)
	}
}

func TestPortScan(t *testing.T) {
	for _, c := range []struct {
		name    string
		ports   int
		every   time.Duration
		refuses bool
		want    []string
	}{
		{"20 ports that refuse", 20, time.Second, true, []string{"warning port_scan client 10.0.0.3 ×20 since 0.000 for 19.0"}},
		{"20 that do not answer", 20, time.Second, false, []string{"warning port_scan client 10.0.0.3 ×20 since 0.000 for 19.0"}},
		{"19", 19, time.Second, true, nil},
		{"20 within a minute", 20, 60 * time.Second / 19, true, []string{"warning port_scan client 10.0.0.3 ×20 since 0.000 for 60.0"}},
		{"20 within more than a minute", 20, 60*time.Second/19 + time.Millisecond, true, nil},
		{"100, one each three seconds: always 20 a minute", 100, 3 * time.Second, true, []string{"warning port_scan client 10.0.0.3 ×100 since 0.000 for 297.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTraffic(t, 1)
			for i := range c.ports {
				w.probe(time.Duration(i)*c.every, host("stranger", 0), host("server", 0), 1000+i, c.refuses)
			}
			w.wants(diagnosis.PortScan, 300*time.Second, c.want...)
			w.wants(diagnosis.HostScan, 300*time.Second)
			w.wants(diagnosis.UnansweredSYN, 300*time.Second)
			if c.want != nil {
				w.wants(diagnosis.Refused, 300*time.Second)
			}
		})
	}
	t.Run("the same port 100 times is no scan", func(t *testing.T) {
		w := newTraffic(t, 1)
		for i := range 100 {
			w.probe(time.Duration(i)*100*time.Millisecond, host("client", 0), host("server", 0), 80, true)
		}
		w.wants(diagnosis.PortScan, 11*time.Second)
		w.wants(diagnosis.Refused, 11*time.Second, "warning refused server 10.0.0.2:80 ×100 since 0.000")
	})
	t.Run("the ports that answer are not counted", func(t *testing.T) {
		w := newTraffic(t, 1)
		for i := range 19 {
			w.probe(time.Duration(i)*time.Second, host("client", 0), host("server", 0), 1000+i, true)
		}
		for range 10 {
			w.talk(time.Second, host("client", 0), host("server", 0)).open().close(trip, tracker.Client)
		}
		w.wants(diagnosis.PortScan, 60*time.Second)
	})
	t.Run("of two sources, ten ports each", func(t *testing.T) {
		w := newTraffic(t, 1)
		for i := range 20 {
			w.probe(time.Duration(i)*time.Second, host("stranger", i%2), host("server", 0), 1000+i, true)
		}
		w.wants(diagnosis.PortScan, 60*time.Second)
	})
	t.Run("segments with odd flags", func(t *testing.T) {
		w := newTraffic(t, 1)
		for i := range 20 {
			k := w.talk(time.Duration(i)*time.Second, host("stranger", 0), host("server", 0))
			k.port[tracker.Server] = uint16(1000 + i)
			k.say(0, tracker.Client, tcp.FIN|tcp.PSH|tcp.URG, 0)
		}
		w.wants(diagnosis.PortScan, 60*time.Second, "warning port_scan client 10.0.0.3 ×20 since 0.000 for 19.0")
	})
}

func TestHostScan(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts int
		every time.Duration
		want  []string
	}{
		{"20 hosts", 20, time.Second, []string{"warning host_scan client 10.0.0.3 ×20 since 0.000 for 19.0: 10.0.0.3 asked 20 hosts within a minute"}},
		{"19", 19, time.Second, nil},
		{"20 within a minute", 20, 60 * time.Second / 19, []string{"warning host_scan client 10.0.0.3 ×20 since 0.000 for 60.0"}},
		{"20 within more than a minute", 20, 60*time.Second/19 + time.Millisecond, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTraffic(t, 1)
			for i := range c.hosts {
				w.probe(time.Duration(i)*c.every, host("stranger", 0), host("server", i), 22, i%2 == 0)
			}
			w.wants(diagnosis.HostScan, 80*time.Second, c.want...)
			w.wants(diagnosis.PortScan, 80*time.Second)
		})
	}
	t.Run("many ports of many hosts are one scan", func(t *testing.T) {
		w := newTraffic(t, 1)
		for i := range 400 {
			w.probe(time.Duration(i)*10*time.Millisecond, host("stranger", 0), host("server", i/20), 1000+i%20, true)
		}
		w.wants(diagnosis.HostScan, 10*time.Second, "warning host_scan client 10.0.0.3 ×400 since 0.000 for 4.0")
		w.wants(diagnosis.PortScan, 10*time.Second)
	})
	t.Run("a client whose servers answer is none", func(t *testing.T) {
		w := newTraffic(t, 1)
		for i := range 100 {
			w.talk(time.Duration(i)*100*time.Millisecond, host("client", 0), host("server", i)).open().close(trip, tracker.Client)
		}
		w.calm(60 * time.Second)
	})
}

// closedByClient adds connections that the client closes first, one a millisecond.
func (w *traffic) closedByClient(at time.Duration, n int) time.Duration {
	for range n {
		w.talk(at, host("client", 1), host("server", 0)).open().close(trip, tracker.Client)
		at += time.Millisecond
	}
	return at
}

// Half and nine tenths of the 28,232 ports that Linux has for connections to one service.
func TestTimeWaitPressure(t *testing.T) {
	t.Parallel()
	w := newTraffic(t, 1)
	at := w.closedByClient(0, 14115)
	w.wants(diagnosis.TimeWaitPressure, 20*time.Second)
	if at > 20*time.Second {
		t.Fatal("too late")
	}
	at = w.closedByClient(20*time.Second, 1)
	w.wants(diagnosis.TimeWaitPressure, 21*time.Second, "warning time_wait_pressure client 10.0.1.1 ×14116 since 0.002: 10.0.1.1 had 14116 "+
		"connections to 10.0.0.2:80 in TIME_WAIT at once: 50 % of its 28232 ephemeral ports.")
	at = w.closedByClient(max(at, 21*time.Second), 25408-14116)
	w.wants(diagnosis.TimeWaitPressure, 40*time.Second, "warning time_wait_pressure client 10.0.1.1 ×25408 since 0.002")
	w.closedByClient(max(at, 40*time.Second), 1)
	w.wants(diagnosis.TimeWaitPressure, 41*time.Second, "critical time_wait_pressure client 10.0.1.1 ×25409 since 0.002")
}

func TestTimeWaitPressureWithALowerThreshold(t *testing.T) {
	for _, c := range []struct {
		name string
		fill func(w *traffic)
		want []string
	}{
		{"as many", func(w *traffic) { w.closedByClient(0, 20) }, []string{"warning time_wait_pressure client 10.0.1.1 ×20 since 0.002"}},
		{"one less", func(w *traffic) { w.closedByClient(0, 19) }, nil},
		{"1.8 times as many", func(w *traffic) { w.closedByClient(0, 36) }, []string{"critical time_wait_pressure client 10.0.1.1 ×36 since 0.002"}},
		{"a minute apart", func(w *traffic) { w.closedByClient(w.closedByClient(0, 10)+61*time.Second, 10) }, nil},
		{"closed by the server, which has the ports to itself", func(w *traffic) {
			for i := range 40 {
				w.talk(time.Duration(i)*time.Millisecond, host("client", 1), host("server", 0)).open().close(trip, tracker.Server)
			}
		}, nil},
		{"of two clients", func(w *traffic) {
			for i := range 38 {
				w.talk(time.Duration(i)*time.Millisecond, host("client", i%2), host("server", 0)).open().close(trip, tracker.Client)
			}
		}, nil},
		{"to two services", func(w *traffic) {
			for i := range 38 {
				w.talk(time.Duration(i)*time.Millisecond, host("client", 1), host("server", i%2)).open().close(trip, tracker.Client)
			}
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTraffic(t, 1)
			w.set("time_wait_pressure=20")
			c.fill(w)
			w.wants(diagnosis.TimeWaitPressure, 70*time.Second, c.want...)
		})
	}
}

func TestChurn(t *testing.T) {
	short := func(n int, every, life time.Duration, clients int) *traffic {
		w := newTraffic(t, 1)
		for i := range n {
			w.talk(time.Duration(i)*every, host("client", i%clients), host("server", 0)).open().close(life, w.either())
		}
		return w
	}
	t.Run("50 a second for ten seconds", func(t *testing.T) {
		short(500, 20*time.Millisecond, 5*time.Millisecond, 1).wants(diagnosis.Churn, 20*time.Second,
			"info churn client 10.0.0.1 ×500 since 0.000: 10.0.0.1 opened 500 short connections to 10.0.0.2:80 within 10 s, 50 a second.")
	})
	t.Run("49 a second", func(t *testing.T) {
		short(1470, time.Second/49, 5*time.Millisecond, 1).wants(diagnosis.Churn, 60*time.Second)
	})
	t.Run("for nine seconds", func(t *testing.T) {
		short(450, 20*time.Millisecond, 5*time.Millisecond, 1).wants(diagnosis.Churn, 20*time.Second)
	})
	t.Run("of two clients", func(t *testing.T) {
		short(998, 10*time.Millisecond, 5*time.Millisecond, 2).wants(diagnosis.Churn, 20*time.Second)
	})
	t.Run("that last for longer than ten seconds", func(t *testing.T) {
		short(1000, 10*time.Millisecond, 11*time.Second, 1).wants(diagnosis.Churn, 60*time.Second)
	})
}
