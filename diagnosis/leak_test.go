package diagnosis_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

const clients = 50 // that share the load, so that none of them runs out of ports

// load adds one second of a busy service: perSecond connections that live for 5 to 500 ms and are closed by either end.
func (w *traffic) load(second, perSecond int) {
	for range perSecond {
		life := w.between(5*time.Millisecond, 500*time.Millisecond)
		start := time.Duration(second)*time.Second + w.between(0, time.Second-1)
		k := w.talk(start, host("client", w.random.IntN(clients)), host("server", 0)).open()
		k.ask(time.Millisecond).answer(life/2-time.Millisecond).close(life/2, w.either())
	}
}

// A leaker leaves one connection behind.
type leaker struct {
	name    string
	often   bool // with more seeds
	leave   func(w *traffic, at time.Duration)
	culprit tracker.Role
	address tcp.Addr
	port    uint16
}

var leakers = []leaker{
	{"server in CLOSE_WAIT", true, func(w *traffic, at time.Duration) {
		w.talk(at, host("client", w.random.IntN(clients)), host("server", 0)).open().ask(trip).answer(5*time.Millisecond).half(trip, tracker.Client)
	}, tracker.Server, host("server", 0), 80},
	{"client in CLOSE_WAIT", false, func(w *traffic, at time.Duration) {
		w.talk(at, host("client", 7), host("server", 0)).open().ask(trip).answer(5*time.Millisecond).half(trip, tracker.Server)
	}, tracker.Client, host("client", 7), 0},
	{"client's pool, answered and never used again", false, func(w *traffic, at time.Duration) {
		w.talk(at, host("client", 7), host("server", 0)).open().ask(trip).answer(5 * time.Millisecond)
	}, tracker.Client, host("client", 7), 0},
	{"server hangs, for many clients", false, func(w *traffic, at time.Duration) {
		w.talk(at, host("client", w.random.IntN(clients)), host("server", 0)).open().ask(trip)
	}, tracker.Server, host("server", 0), 80},
	{"server hangs, for one client", false, func(w *traffic, at time.Duration) {
		w.talk(at, host("client", 7), host("server", 0)).open().ask(trip)
	}, tracker.Server, host("server", 0), 80},
	{"clients that nobody sends away", false, func(w *traffic, at time.Duration) {
		w.talk(at, host("client", w.random.IntN(clients)), host("server", 0)).open().ask(trip).answer(5 * time.Millisecond)
	}, tracker.Server, host("server", 0), 80},
}

// found adds a minute of load with one connection left behind in each second, and checks that they are found in time.
func (l *leaker) found(t *testing.T, seed uint64, perSecond int) {
	t.Helper()
	w := newTraffic(t, seed)
	for second := range 60 {
		w.load(second, perSecond)
		l.leave(w, time.Duration(second)*time.Second+w.between(0, time.Second-1))
	}
	// A trend needs a minute, or as good as that: 57 s. Then it is there, and goes on being there.
	if got := above(w.analyze(56 * time.Second)); len(got) > 0 {
		t.Errorf("after 56 s: %q", got)
	}
	for _, second := range []time.Duration{58, 60} {
		leaks := of(w.analyze(second*time.Second), diagnosis.Leak)
		if len(leaks) != 1 {
			t.Errorf("seed %d: %d leaks after %d s, want 1", seed, len(leaks), second)
			continue
		}
		f := leaks[0]
		want := diagnosis.Culprit{Role: l.culprit, Addr: l.address, Port: l.port}
		if f.Culprit != want || f.Severity != diagnosis.Critical || f.Service.String() != "10.0.0.2:80" {
			t.Errorf("seed %d: %s, of %v; want critical, of %v %v:%d", seed, line(f), f.Service, want.Role, want.Addr, want.Port)
		}
		// 50 to 60 of them are old enough to tell. They are 60 a minute, and 1,024 in 17 minutes from the first.
		if g := f.Growth; f.Count < 45 || f.Count > 61 || math.Abs(g.PerMinute-60) > 4 || len(g.Limits) != 2 ||
			(g.Limits[0].In+second*time.Second-17*time.Minute).Abs() > 90*time.Second {
			t.Errorf("seed %d: %d left behind, growth %+v", seed, f.Count, *g)
		}
		early := 0
		for _, begin := range f.Begins {
			if begin < seconds(30) {
				early++
			}
		}
		if len(f.Begins) != f.Count || early < 29 || early > 31 {
			t.Errorf("seed %d: it is told when %d of %d began, of %d of them in the first 30 s", seed, len(f.Begins), f.Count, early)
		}
	}
}

// One connection left behind among a thousand healthy ones, each second, is found within a minute.
func TestALeakAmongAThousandConnectionsASecond(t *testing.T) {
	for _, l := range leakers {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			seeds := uint64(1)
			if l.often {
				seeds = 3
			}
			for seed := range seeds {
				l.found(t, seed, 1000)
			}
		})
	}
}

func TestALeakAmongFewerConnections(t *testing.T) {
	for _, l := range leakers {
		t.Run(l.name, func(t *testing.T) {
			for seed := range uint64(5) {
				l.found(t, seed, 20)
			}
		})
	}
}

func TestALeakInWords(t *testing.T) {
	for _, c := range []struct{ name, summary, cause, command string }{
		{"server in CLOSE_WAIT", "The server 10.0.0.2:80 leaks connections: 60 are left in CLOSE_WAIT, 60 more per minute over 1m00s.",
			"the application on the server does not", "ss -tnp state close-wait '( sport = :80 )'"},
		{"client in CLOSE_WAIT", "The client 10.0.7.1, towards 10.0.0.2:80, leaks connections: 60 are left in CLOSE_WAIT",
			"the application on the client does not", "ss -tnp state close-wait 'dst 10.0.0.2:80'"},
		{"client's pool", "The client 10.0.7.1, towards 10.0.0.2:80, leaks connections: 50 are left open and silent",
			"The client has had its answer, and neither uses the connection again nor closes it", "ss -tnp state established 'dst 10.0.0.2:80'"},
		{"server hangs, for many", "The server 10.0.0.2:80 leaks connections: 50 are left open and silent",
			"The clients have sent requests and wait", "ss -tnp state established '( sport = :80 )'"},
		{"server hangs, for one", "The server 10.0.0.2:80 leaks connections", "The clients have sent requests and wait", ""},
		{"clients that nobody sends away", "The server 10.0.0.2:80 leaks connections", "the server has no idle timeout", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTraffic(t, 1)
			for _, l := range leakers {
				if strings.HasPrefix(l.name, c.name) {
					for second := range 60 {
						l.leave(w, time.Duration(second)*time.Second)
					}
				}
			}
			leaks := of(w.analyze(60*time.Second), diagnosis.Leak)
			if len(leaks) != 1 {
				t.Fatalf("%d leaks, want 1", len(leaks))
			}
			f := leaks[0]
			if !strings.Contains(f.Summary, c.summary) || !strings.Contains(f.Cause, c.cause) || !strings.Contains(f.Command, c.command) {
				t.Errorf("%s\n%s\n%s\nwant\n%s\n%s\n%s", f.Summary, f.Cause, f.Command, c.summary, c.cause, c.command)
			}
		})
	}
}

// A leak takes both: growth for as long, and by as many, as its threshold says.
func TestWhatIsTooLittleForALeak(t *testing.T) {
	left := func(every time.Duration, n int) *traffic {
		w := newTraffic(t, 1)
		for i := range n {
			w.talk(time.Duration(i)*every, host("client", i%clients), host("server", 0)).open().ask(trip).answer(trip).half(trip, tracker.Client)
		}
		return w
	}
	for _, c := range []struct {
		name       string
		every      time.Duration
		n          int
		thresholds []string
		at         time.Duration
		want       int
	}{
		{"30 in a minute", 2 * time.Second, 30, nil, 60 * time.Second, 1},
		{"9 in a minute", 6 * time.Second, 9, nil, 60 * time.Second, 0},
		{"9, where 5 are too many", 6 * time.Second, 9, []string{"leak=5"}, 60 * time.Second, 1},
		{"30 at once, and no more", time.Millisecond, 30, nil, 60 * time.Second, 0},
		{"30 within 30 s", time.Second, 30, nil, 30 * time.Second, 0},
		{"30 within 30 s, where that is long", time.Second, 30, []string{"leak=30s"}, 30 * time.Second, 1},
		{"none for minutes", time.Second, 60, nil, 200 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := left(c.every, c.n)
			w.set(c.thresholds...)
			if got := of(w.analyze(c.at), diagnosis.Leak); len(got) != c.want {
				t.Errorf("%d leaks, want %d", len(got), c.want)
			}
		})
	}
}

// A connection of a leak that has a finding of its own has that one; the leak counts it.
func TestALeakDoesNotHideWhatIsStuck(t *testing.T) {
	w := newTraffic(t, 1)
	for second := range 120 {
		leakers[0].leave(w, time.Duration(second)*time.Second)
	}
	a := consistent(t, w.rules, w.table, epoch, diagnosis.Capture{})
	if len(a.Findings) != 0 {
		t.Errorf("of nothing: %q", lines(a))
	}
	w.feed(120 * time.Second)
	a = consistent(t, w.rules, w.table, epoch+120e9, diagnosis.Capture{})
	want := []string{
		"critical leak server 10.0.0.2:80 ×120 since 0.007 for 120.0",
		"warning stuck_close_wait server 10.0.0.2:80 ×60 since 0.007 for 120.0",
	}
	if diff := cmp.Diff(want, lines(a)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAThousandHealthyConnectionsASecondAreCalm(t *testing.T) {
	t.Parallel()
	w := newTraffic(t, 1)
	second := 0
	for _, until := range []int{30, 60, 90, 120, 300} {
		for ; second < until; second++ {
			w.load(second, 1000)
			w.feed(time.Duration(second) * time.Second)
		}
		w.calm(time.Duration(until) * time.Second)
	}
}

func TestHealthyTrafficIsCalmWhateverTheSeed(t *testing.T) {
	for seed := range uint64(10) {
		w := newTraffic(t, seed)
		for second := range 120 {
			w.load(second, 50)
		}
		w.calm(30*time.Second, 60*time.Second, 61*time.Second, 90*time.Second, 120*time.Second)
	}
}

// often are times every ten seconds over ten minutes.
func often() (times []time.Duration) {
	for at := 20 * time.Second; at <= 600*time.Second; at += 10 * time.Second {
		times = append(times, at)
	}
	return times
}

// pool keeps as many connections open as size says, each for a life that it draws, and uses each now and then. It ends after
// ten minutes.
func (w *traffic) pool(size func(at time.Duration) int, least, most, pause time.Duration) {
	type member struct{ until time.Duration }
	var open []member
	for at := time.Duration(0); at < 600*time.Second; at += 200 * time.Millisecond {
		kept := open[:0]
		for _, m := range open {
			if m.until > at {
				kept = append(kept, m)
			}
		}
		open = kept
		for len(open) < size(at) {
			until := at + w.between(least, most)
			k := w.talk(at+w.between(0, 200*time.Millisecond), host("client", 1), host("server", 0)).open()
			for {
				wait := w.between(pause/10, pause)
				if k.at+wait+time.Second > until {
					k.close(max(until-k.at, trip), w.either())
					break
				}
				k.ask(wait).answer(w.between(time.Millisecond, 100*time.Millisecond))
			}
			open = append(open, member{until})
		}
	}
}

func TestAPoolThatBreathesIsNoLeak(t *testing.T) {
	sine := func(period time.Duration) func(at time.Duration) int {
		return func(at time.Duration) int {
			return 35 + int(25*math.Sin(2*math.Pi*at.Seconds()/period.Seconds()))
		}
	}
	bursts := func(every, long time.Duration) func(at time.Duration) int {
		return func(at time.Duration) int {
			if at%every < long {
				return 60
			}
			return 10
		}
	}
	for _, c := range []struct {
		name string
		size func(at time.Duration) int
	}{
		{"sine of 20 s", sine(20 * time.Second)},
		{"sine of 90 s", sine(90 * time.Second)},
		{"sine of 4 min", sine(240 * time.Second)},
		{"sine of 20 min: it grows for half of the time", sine(1200 * time.Second)},
		{"bursts of 5 s each minute", bursts(60*time.Second, 5*time.Second)},
		{"bursts of a minute each three", bursts(180*time.Second, 60*time.Second)},
		{"bursts that come closer", func(at time.Duration) int {
			return 10 + int(50*at/(600*time.Second))*int(at/time.Second%2)
		}},
		{"a ramp over all of the ten minutes", func(at time.Duration) int { return 10 + int(50*at/(600*time.Second)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(3) {
				for _, pause := range []time.Duration{time.Second, 30 * time.Second} { // busy, and hardly used
					w := newTraffic(t, seed)
					w.pool(c.size, 5*time.Second, 40*time.Second, pause)
					w.calm(often()...)
				}
			}
		})
	}
}

// A pool that warms up grows as a leak does, but its connections are in use; and then it grows no more.
func TestAPoolThatWarmsUpAndStaysIsNoLeak(t *testing.T) {
	for _, warm := range []time.Duration{10 * time.Second, time.Minute, 3 * time.Minute} {
		for _, pause := range []time.Duration{2 * time.Second, 20 * time.Second} {
			t.Run(fmt.Sprint(warm, " ", pause), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(3) {
					w := newTraffic(t, seed)
					w.pool(func(at time.Duration) int { return min(50, 1+int(50*at/warm)) }, time.Hour, time.Hour, pause)
					w.calm(often()...)
				}
			})
		}
	}
}

// Users of a WebSocket come and stay. Pings tell that they are there.
func TestMoreAndMoreWebSocketUsersAreNoLeak(t *testing.T) {
	for seed := range uint64(4) {
		for _, pinging := range []tracker.Role{tracker.Client, tracker.Server} {
			w := newTraffic(t, seed)
			for user := range 600 {
				k := w.talk(time.Duration(user)*time.Second+w.between(0, time.Second), host("client", user), host("server", 0)).open().ask(trip).answer(trip)
				for k.at < 600*time.Second {
					k.say(20*time.Second, pinging, tcp.ACK|tcp.PSH, 6).say(trip, pinging.Peer(), tcp.ACK|tcp.PSH, 6).say(trip, pinging, tcp.ACK, 0)
				}
			}
			w.calm(often()...)
		}
	}
}

// Connections are kept for a minute after their last request, as servers do. A capture that begins in the middle sees each for
// the first time when it speaks: what it sees grows, what there is does not.
func TestKeepAliveConnectionsFromTheMiddleAreNoLeak(t *testing.T) {
	for _, idle := range []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 3 * time.Minute} {
		t.Run(idle.String(), func(t *testing.T) {
			for seed := range uint64(4) {
				w := newTraffic(t, seed)
				for at := -12 * idle; at < 10*time.Minute; at += w.between(0, 2*time.Second) {
					k := w.talk(at, host("client", w.random.IntN(clients)), host("server", 0)).open().ask(trip).answer(5 * time.Millisecond)
					for range w.random.IntN(10) {
						k.ask(w.between(time.Millisecond, idle-time.Second)).answer(5 * time.Millisecond)
					}
					k.close(idle, tracker.Server)
				}
				w.forget()
				w.calm(often()...)
			}
		})
	}
}

// The same, of a single client that keeps them: its pool is steady.
func TestASteadyPoolFromTheStartOfTheCaptureIsNoLeak(t *testing.T) {
	for seed := range uint64(8) {
		w := newTraffic(t, seed)
		for at := -20 * time.Minute; at < 10*time.Minute; at += w.between(0, 2*time.Second) {
			k := w.talk(at, host("client", 1), host("server", 0)).open().ask(trip).answer(5 * time.Millisecond)
			for range w.random.IntN(10) {
				k.ask(w.between(time.Millisecond, 89*time.Second)).answer(5 * time.Millisecond)
			}
			k.close(90*time.Second, tracker.Client)
		}
		w.forget()
		w.calm(often()...)
	}
}
