package diagnosis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// watch returns what m says at the times given, as "61.1 raised 1 warning stuck_close_wait server 10.0.0.2:80 ×1 since …".
func (tr *trace) watch(m *diagnosis.Monitor, times ...float64) []string {
	var said []string
	for _, at := range times {
		for _, e := range m.Update(tr.analyze(at)) {
			said = append(said, fmt.Sprintf("%.1f %v %d %s", time.Duration(e.Time-epoch).Seconds(), e.Change, e.Finding.ID, line(&e.Finding)))
		}
	}
	return said
}

func wantSaid(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAFindingIsRaisedOnceAndClearedOnce(t *testing.T) {
	m, tr := diagnosis.NewMonitor(), play(t, opened+`
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
	`)
	wantSaid(t, tr.watch(m, 2, 30, 61, 61.2, 62, 90, 500),
		"61.2 raised 1 warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 60.2")
	tr.script(`
		600.000  server  FIN,ACK  seq=301 ack=102
		600.010  client  ACK      seq=102 ack=302
	`)
	wantSaid(t, tr.watch(m, 600.2, 601, 700),
		"600.2 cleared 1 warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 599.2")
	if standing := m.Standing(); len(standing) != 0 {
		t.Errorf("still standing: %+v", standing)
	}
}

func TestSilenceAloneClearsAFinding(t *testing.T) {
	m, tr := diagnosis.NewMonitor(), play(t, opened+`
		1.010  server  SYN,ACK  seq=300 ack=101
		1.020  client  ACK      seq=101 ack=301
		2.010  server  SYN,ACK  seq=300 ack=101
		2.020  client  ACK      seq=101 ack=301
	`)
	// No SYN-ACK for twice the interval: the ACK has arrived.
	wantSaid(t, tr.watch(m, 3, 3.1, 3.5, 4, 5, 6, 7),
		"3.1 raised 1 warning half_open_handshake server 10.0.0.2:80 ×1 since 0.010 for 3.1",
		"5.0 raised 2 info slow_handshake client nobody ×1 since 0.000",
		"5.0 cleared 1 warning half_open_handshake server 10.0.0.2:80 ×1 since 0.010 for 5.0")
}

// leave makes n connections stuck in CLOSE_WAIT at the server.
func (w *traffic) leave(at time.Duration, n int) {
	for range n {
		w.talk(at, host("client", 0), host("server", 0)).open().half(time.Millisecond, tracker.Client)
	}
}

// said is what m has to say about w at times in seconds.
func (w *traffic) said(m *diagnosis.Monitor, times ...int) []string {
	var said []string
	for _, at := range times {
		for _, e := range m.Update(w.analyze(time.Duration(at) * time.Second)) {
			said = append(said, fmt.Sprintf("%d %v %d %v %s ×%d", at, e.Change, e.Finding.ID, e.Finding.Severity, e.Finding.Kind, e.Finding.Count))
		}
	}
	return said
}

func TestAFindingIsUpdatedWhenItHasDoubled(t *testing.T) {
	m, w := diagnosis.NewMonitor(), newTraffic(t, 1)
	w.leave(0, 3)
	w.leave(10*time.Second, 2)
	w.leave(20*time.Second, 1)
	w.leave(30*time.Second, 5)
	w.leave(40*time.Second, 1)
	wantSaid(t, w.said(m, 62, 72, 82, 92, 102, 112, 122),
		"62 raised 1 warning stuck_close_wait ×3",
		"82 updated 1 warning stuck_close_wait ×6",
		"102 updated 1 warning stuck_close_wait ×12")
}

func TestAFindingIsUpdatedWhenItIsWorse(t *testing.T) {
	m, w := diagnosis.NewMonitor(), newTraffic(t, 1)
	for i := range 6 {
		w.probe(time.Duration(i)*10*time.Second, host("client", 0), host("server", 0), 80, true)
	}
	wantSaid(t, w.said(m, 1, 11, 21, 31, 41, 51, 61, 100),
		"1 raised 1 info refused ×1",
		"11 updated 1 info refused ×2",
		"31 updated 1 info refused ×4",
		"41 updated 1 warning refused ×5")
}

func TestWhatHappensInAMomentIsClearedAMinuteAfterTheLast(t *testing.T) {
	m, w := diagnosis.NewMonitor(), newTraffic(t, 1)
	abort := func(at time.Duration) {
		w.talk(at, host("client", 0), host("server", 0)).open().say(trip, tracker.Client, tcp.RST|tcp.ACK, 0)
	}
	abort(0)
	abort(30 * time.Second)
	wantSaid(t, w.said(m, 1, 20, 31, 60, 90, 91, 92, 200),
		"1 raised 1 info aborted ×1",
		"31 updated 1 info aborted ×2",
		"91 cleared 1 info aborted ×2")
	// It is raised again, as another, and not with what was told before.
	abort(300 * time.Second)
	wantSaid(t, w.said(m, 301, 360, 361, 362), "301 raised 2 info aborted ×3", "361 cleared 2 info aborted ×3")
}

func TestWhatHappenedLongBeforeIsNotRaised(t *testing.T) {
	m, tr := diagnosis.NewMonitor(), play(t, opened+`
		1.000  client  RST,ACK  seq=101 ack=301
	`)
	wantSaid(t, tr.watch(m, 61.1, 70, 600))
	m = diagnosis.NewMonitor()
	wantSaid(t, tr.watch(m, 60.5, 61), "60.5 raised 1 info aborted client 10.0.0.1:40000 ×1 since 1.000")
}

func TestIDsStay(t *testing.T) {
	m, tr := diagnosis.NewMonitor(), play(t, opened+`
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		2.000  client  SYN      seq=100 port=4001
		2.010  server  SYN,ACK  seq=300 ack=101 port=4001
		2.020  client  ACK      seq=101 ack=301 port=4001
		2.030  client  ACK,PSH  seq=101 ack=301 len=10 port=4001
		2.040  server  ACK      seq=301 ack=111 win=0 port=4001
	`)
	wantSaid(t, tr.watch(m, 8, 62, 100),
		"8.0 raised 1 warning zero_window server 10.0.0.2:80 ×1 since 2.040 for 6.0",
		"62.0 raised 2 warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 61.0")
	// In the analysis the older is the first; where it is watched, each keeps its number.
	var standing []string
	for _, f := range m.Standing() {
		standing = append(standing, fmt.Sprint(f.ID, " ", f.Kind))
	}
	if diff := cmp.Diff([]string{"1 zero_window", "2 stuck_close_wait"}, standing); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tr.script(`
		110.0  server  ACK  seq=301 ack=111 port=4001
	`)
	wantSaid(t, tr.watch(m, 110), "110.0 cleared 1 warning zero_window server 10.0.0.2:80 ×1 since 2.040 for 108.0")
	tr.script(`
		120.0  server  ACK  seq=301 ack=111 win=0 port=4001
	`)
	wantSaid(t, tr.watch(m, 126), "126.0 raised 3 warning zero_window server 10.0.0.2:80 ×1 since 120.000 for 6.0")
}

func TestBeyondIsWhatStandsInOneAndNotInTheOther(t *testing.T) {
	script := opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
	`
	tr := play(t, script)
	one, other := diagnosis.NewMonitor(), diagnosis.NewMonitor()
	one.Update(tr.analyze(70))
	want := []string{"The server 10.0.0.2:80 has not closed its end, 1m08s after the client 10.0.0.1:40000 closed."}
	if diff := cmp.Diff(want, one.Beyond(other)); diff != "" {
		t.Errorf("beyond one that has seen nothing (-want +got):\n%s", diff)
	}
	if got := other.Beyond(one); len(got) != 0 {
		t.Errorf("the other way round %q, want nothing", got)
	}
	other.Update(tr.analyze(80))
	if got := one.Beyond(other); len(got) != 0 {
		t.Errorf("beyond one that has seen the same, later, %q, want nothing", got)
	}
}

// What a connection suffers late in its life is raised then, however old it is.
func TestAnOldConnectionIsWatchedAsAnyOther(t *testing.T) {
	t.Run("its path begins to lose", func(t *testing.T) {
		m, w := diagnosis.NewMonitor(), newTraffic(t, 1)
		k := w.talk(0, host("client", 0), host("server", 0)).open()
		k.at = 300 * time.Second
		for range 50 {
			k.say(trip, tracker.Client, tcp.ACK, 1000).again(200*time.Millisecond, tracker.Client, tcp.ACK, 1000).say(trip, tracker.Server, tcp.ACK, 0)
		}
		wantSaid(t, w.said(m, 10, 300, 311), "311 raised 1 info path_loss ×1")
	})
	t.Run("the capture begins to miss", func(t *testing.T) {
		m, tr := diagnosis.NewMonitor(), play(t, answered+`
		300.0  server  ACK  seq=321 ack=1111
		`)
		wantSaid(t, tr.watch(m, 301), "301.0 raised 1 info capture_gap client nobody ×1 since 0.000")
	})
}

// What goes on is not cleared.
func TestWhatGoesOnStands(t *testing.T) {
	t.Run("churn", func(t *testing.T) {
		m, w := diagnosis.NewMonitor(), newTraffic(t, 1)
		for i := range 200 * 60 {
			w.talk(time.Duration(i)*time.Second/60, host("client", 1), host("server", 0)).open().close(trip, tracker.Client)
		}
		var times []int
		for at := 1; at <= 200; at++ {
			times = append(times, at)
		}
		wantSaid(t, w.said(m, times...), "9 raised 1 info churn ×540")
	})
	t.Run("TIME_WAIT", func(t *testing.T) {
		m, w := diagnosis.NewMonitor(), newTraffic(t, 1)
		w.set("time_wait_pressure=100", "churn=1000")
		for i := range 200 * 2 {
			w.talk(time.Duration(i)*time.Second/2, host("client", 1), host("server", 0)).open().close(trip, tracker.Client)
		}
		var times []int
		for at := 1; at <= 200; at++ {
			times = append(times, at)
		}
		wantSaid(t, w.said(m, times...), "50 raised 1 warning time_wait_pressure ×100")
	})
}

// What had ended an hour ago is not standing.
func TestWhatHasEndedIsCleared(t *testing.T) {
	for _, s := range []story{
		{"an accept queue that was full, and the connection was taken up", opened + `
		1.010  server  SYN,ACK  seq=300 ack=101
		3.010  server  SYN,ACK  seq=300 ack=101
		3.020  client  ACK      seq=101 ack=301
		3.100  client  ACK,PSH  seq=101 ack=301 len=10
		3.110  server  ACK,PSH  seq=301 ack=111 len=10
		3.120  client  FIN,ACK  seq=111 ack=311
		3.130  server  FIN,ACK  seq=311 ack=112
		3.140  client  ACK      seq=112 ack=312
		`},
		{"a handshake that the server has given up", `
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		1.010  server  SYN,ACK  seq=300 ack=101
		`},
		{"a SYN that is no more repeated", `
		0.000  client  SYN  seq=100
		1.000  client  SYN  seq=100
		`},
		{"keep-alives that were given up, with a RST", answered + `
		0.900  server  ACK      seq=320 ack=111
		1.900  server  ACK      seq=320 ack=111
		2.900  server  ACK      seq=320 ack=111
		3.900  server  ACK      seq=320 ack=111
		4.900  server  RST,ACK  seq=321 ack=111
		`},
	} {
		t.Run(s.name, func(t *testing.T) {
			m, tr := diagnosis.NewMonitor(), play(t, s.script)
			if said := tr.watch(m, 3.02, 3.2, 4, 6); len(said) == 0 {
				t.Error("it was not raised")
			}
			tr.watch(m, 60, 120, 600, 3600)
			for _, f := range m.Standing() {
				t.Errorf("still standing: %s", line(&f))
			}
		})
	}
}
