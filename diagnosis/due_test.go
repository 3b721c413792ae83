package diagnosis_test

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// steps counts the moments at which a table may be judged otherwise, and those at which it is.
type steps struct{ due, changed int }

// keeps checks that nothing but the age of findings changes between now and what is said to be the next change, and so on from
// there, for so many of them.
func (n *steps) keeps(t *testing.T, rules *diagnosis.Rules, table *tracker.Table, now int64, most int) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(now), 1))
	for range most {
		a := rules.Analyze(table, now, diagnosis.Capture{})
		next := a.NextChange()
		if next <= now {
			t.Fatalf("at %v, the next change was %v ago", time.Unix(0, now).UTC(), time.Duration(now-next))
		}
		if f := a.NextFinding(); f < next {
			t.Fatalf("there is a finding %v before the next change", time.Duration(next-f))
		}
		far := next
		if next == tracker.Never {
			far = now + int64(100*time.Hour)
		}
		for _, at := range []int64{now + random.Int64N(far-now), far - 1} {
			b := rules.Analyze(table, at, diagnosis.Capture{})
			if diff := cmp.Diff(tellAll(a.Later(at)), tellAll(b), equal); diff != "" && !a.Looks() {
				t.Fatalf("%v before the next change, %v after now, something has changed (-now +then):\n%s", time.Duration(next-at), time.Duration(at-now), diff)
			}
			if x, y := views(table, now), views(table, at); !slices.Equal(x, y) {
				i := slices.IndexFunc(x, func(c tracker.Connection) bool { return c != y[c.ID-x[0].ID] })
				t.Fatalf("%v before the next change, %v after now, a connection has changed:\n%+v\n%+v", time.Duration(next-at), time.Duration(at-now), x[i], y[i])
			}
		}
		if next == tracker.Never {
			return
		}
		if !a.Looks() {
			n.due++
			if cmp.Diff(tellAll(a.Later(next)), tellAll(rules.Analyze(table, next, diagnosis.Capture{})), equal) != "" ||
				!slices.Equal(untimed(views(table, now)), untimed(views(table, next))) {
				n.changed++
			}
		}
		now = next
	}
}

func views(table *tracker.Table, now int64) (all []tracker.Connection) {
	for c := range table.Connections(now) {
		all = append(all, *c)
	}
	return all
}

func untimed(all []tracker.Connection) []tracker.Connection {
	for i := range all {
		all[i].Until = 0
	}
	return all
}

// withoutLeaks is r without leaks, for which an analysis is not exact.
func withoutLeaks(r *diagnosis.Rules) *diagnosis.Rules {
	r.Mute(diagnosis.Leak)
	return r
}

// TestNothingChangesBeforeItsTime reads all captures that there are, and waits after each.
func TestNothingChangesBeforeItsTime(t *testing.T) {
	files, err := filepath.Glob("../testdata/*/*.pcap*")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	all, last := tracker.New(tracker.Config{}), int64(0)
	var n steps
	by := []*diagnosis.Rules{diagnosis.NewRules(), withoutLeaks(diagnosis.NewRules()), withoutLeaks(sensitive(t))}
	for i, file := range files {
		table, now := read(t, file, all)
		last = max(last, now)
		if n.keeps(t, by[i%len(by)], table, now, 4); t.Failed() {
			t.Fatal(file)
		}
	}
	if n.due < 100 || n.changed*10 < n.due*9 {
		t.Errorf("of %d moments at which something may change, something did at %d", n.due, n.changed)
	}
	var together steps
	together.keeps(t, by[1], all, last, 1)
}

// TestNothingChangesInTrafficBeforeItsTime is the same of connections as they are made in numbers, at moments in between.
func TestNothingChangesInTrafficBeforeItsTime(t *testing.T) {
	for seed := range uint64(2) {
		w := newTraffic(t, seed)
		random := rand.New(rand.NewPCG(seed, 6))
		const lasts = 2 * time.Minute
		for i := range 150 {
			at := time.Duration(i) * lasts / 150
			client, server := host("client", random.IntN(3)), host("server", random.IntN(3))
			k := w.talk(at, client, server)
			switch random.IntN(9) {
			case 0:
				k.open().ask(trip).half(trip, w.either())
			case 1:
				k.open().ask(trip).again(time.Second, tracker.Client, tcp.ACK|tcp.PSH, 200)
			case 2:
				k.open().ask(trip).answer(trip)
			case 3:
				k.open().say(trip, w.either(), tcp.RST|tcp.ACK, 0)
			case 4:
				w.probe(at, client, server, 100+random.IntN(50), random.IntN(2) == 0)
			case 5:
				k.say(0, tracker.Client, tcp.SYN, 0).say(trip, tracker.Server, tcp.SYN|tcp.ACK, 0).again(time.Second, tracker.Server, tcp.SYN|tcp.ACK, 0)
			case 6:
				k.open().say(trip, tracker.Client, tcp.FIN|tcp.ACK, 0).again(time.Second, tracker.Client, tcp.FIN|tcp.ACK, 0)
			default:
				k.open().ask(trip).answer(trip).close(trip, w.either())
			}
		}
		var n steps
		for _, until := range []time.Duration{20 * time.Second, 50 * time.Second, lasts} {
			w.feed(until)
			for _, rules := range []*diagnosis.Rules{w.rules, withoutLeaks(diagnosis.NewRules()), withoutLeaks(sensitive(t))} {
				n.keeps(t, rules, w.table, epoch+int64(until), 10)
			}
		}
		if n.changed*10 < n.due*9 {
			t.Errorf("seed %d: of %d moments at which something may change, something did at %d", seed, n.due, n.changed)
		}
	}
}

// TestNothingLeaksWhereNothingBegins holds the short cut against the search that it saves.
func TestNothingLeaksWhereNothingBegins(t *testing.T) {
	for seed := range uint64(6) {
		w := newTraffic(t, seed)
		random := rand.New(rand.NewPCG(seed, 7))
		lasts := time.Duration(60+random.IntN(240)) * time.Second
		for i := range 120 {
			k := w.talk(time.Duration(i)*lasts/120, host("client", 1), host("server", 1)).open().ask(trip)
			if seed%2 == 0 {
				k.half(trip, tracker.Client)
			}
		}
		w.feed(lasts)
		calm := 0
		for s := range 200 {
			now := epoch + int64(lasts) + int64(s)*int64(2*time.Second)
			a := w.rules.Analyze(w.table, now, diagnosis.Capture{})
			leaks := slices.ContainsFunc(a.Findings, func(f diagnosis.Finding) bool { return f.Kind == diagnosis.Leak })
			atLength := slices.ContainsFunc(w.rules.AnalyzeAtLength(w.table, now, diagnosis.Capture{}).Findings, func(f diagnosis.Finding) bool { return f.Kind == diagnosis.Leak })
			if leaks != atLength {
				t.Fatalf("seed %d: %d s later, a leak is found: %v; by looking for it all the time: %v", seed, 2*s, leaks, atLength)
			}
			if s == 0 && !leaks {
				t.Errorf("seed %d: there is no leak in it", seed)
			}
			if !a.Looks() {
				calm = 2 * s
				break
			}
		}
		if calm == 0 {
			t.Errorf("seed %d: leaks are looked for after minutes of silence", seed)
		}
	}
}
