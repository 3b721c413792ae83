package diagnosis_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// told is all that an analysis tells.
type told struct {
	Findings []diagnosis.Finding
	Quality  diagnosis.Quality
	Counts   diagnosis.Counts
	Notable  []uint64
	About    map[uint64][]int
}

func tellAll(a *diagnosis.Analysis) told {
	all := told{Findings: a.Findings, Quality: a.Quality, Counts: a.Counts, About: make(map[uint64][]int)}
	for c := range a.Notable() {
		all.Notable = append(all.Notable, c.ID)
	}
	for c, ids := range a.Connections(0, a.Counts.Connections) {
		if len(ids) > 0 {
			all.About[c.ID] = slices.Clone(ids)
		}
	}
	return all
}

// sameAnyway checks that an analysis tells the same without short cuts, and by any number of goroutines; that the short cut
// of each rule leaves out nothing; and that the counts are those of the connections.
func sameAnyway(t *testing.T, rules *diagnosis.Rules, table *tracker.Table, now int64, capture diagnosis.Capture) {
	t.Helper()
	a := rules.Analyze(table, now, capture)
	want := tellAll(a)
	if diff := cmp.Diff(tellAll(rules.AnalyzeAtLength(table, now, capture)), want, equal); diff != "" {
		t.Errorf("short cuts change the analysis (-without +with):\n%s", diff)
	}
	t.Run("", func(t *testing.T) {
		for _, n := range []int{1, 2, 5} {
			diagnosis.Workers(t, n)
			if diff := cmp.Diff(want, tellAll(rules.Analyze(table, now, capture)), equal); diff != "" {
				t.Errorf("%d goroutines change the analysis (-as many as usual +so many):\n%s", n, diff)
			}
		}
	})
	var counts diagnosis.Counts
	var byStanding [diagnosis.NumStandings][]uint64
	for c := range table.Connections(now) {
		if kinds := rules.Overlooked(c, now); kinds != nil {
			t.Errorf("connection %d shows nothing that %v looks for, which holds", c.ID, kinds)
		}
		found := len(a.Of(c)) > 0
		counts.Add(c, found)
		standing := diagnosis.StandingOf(c, found)
		byStanding[standing] = append(byStanding[standing], c.ID)
	}
	if diff := cmp.Diff(counts, a.Counts); diff != "" {
		t.Errorf("counts (-connections +analysis):\n%s", diff)
	}
	notable := slices.Concat(byStanding[:diagnosis.Clean]...)
	if diff := cmp.Diff(notable[:min(len(notable), diagnosis.MaxNotable)], want.Notable, equal); diff != "" {
		t.Errorf("notable (-connections +analysis):\n%s", diff)
	}
}

// sensitive are rules by which a few connections make a crowd, and a moment is long.
func sensitive(t *testing.T) *diagnosis.Rules {
	rules := diagnosis.NewRules()
	for _, text := range []string{
		"syn_flood=2", "port_scan=2", "host_scan=2", "refused=2", "time_wait_pressure=2", "churn=1", "leak=2", "leak=2s", "path_loss=2", "idle=100ms",
		"stuck_close_wait=0s", "stuck_fin_wait_1=0s", "stuck_fin_wait_2=0s", "half_open_handshake=0s", "unanswered_syn=0s",
	} {
		threshold, err := diagnosis.ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		rules.Set(threshold)
	}
	return rules
}

// TestNoShortCutChangesAnything reads all captures that there are: each by itself, and all as one.
func TestNoShortCutChangesAnything(t *testing.T) {
	files, err := filepath.Glob("../testdata/*/*.pcap*")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	files = append(files, "../testdata/demo.pcap")
	all, last := tracker.New(tracker.Config{}), int64(0)
	for _, file := range files {
		table, now := read(t, file, all)
		last = max(last, now)
		for _, rules := range []*diagnosis.Rules{diagnosis.NewRules(), sensitive(t)} {
			sameAnyway(t, rules, table, now, diagnosis.Capture{})
		}
		if t.Failed() {
			t.Fatal(file)
		}
	}
	for _, rules := range []*diagnosis.Rules{diagnosis.NewRules(), sensitive(t)} {
		sameAnyway(t, rules, all, last, diagnosis.Capture{Dropped: 1})
	}
}

// read returns what a capture is about, and when it ends. It tells all, too.
func read(t *testing.T, file string, all *tracker.Table) (*tracker.Table, int64) {
	source, err := capture.OpenFiles([]string{file}, capture.Config{Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	table, batch := tracker.New(tracker.Config{}), make([]tcp.Segment, 256)
	for {
		n, err := source.Read(batch)
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return table, source.Last()
		}
		if err != nil {
			t.Fatal(err)
		}
		table.Add(batch[:n])
		all.Add(batch[:n])
	}
}

// TestNoShortCutChangesTraffic is the same of connections as they are made in numbers, some of them left behind.
func TestNoShortCutChangesTraffic(t *testing.T) {
	const minutes = 3
	for seed := range uint64(4) {
		w := newTraffic(t, seed)
		random := rand.New(rand.NewPCG(seed, 5))
		for i := range 1500 {
			at := time.Duration(i) * minutes * time.Minute / 1500
			client, server := host("client", random.IntN(3)), host("server", random.IntN(3))
			k := w.talk(at, client, server)
			switch random.IntN(10) {
			case 0:
				k.open().ask(trip).half(trip, w.either()) // left behind
			case 1:
				k.open().ask(trip)
			case 2:
				k.open().ask(trip).answer(trip)
			case 3:
				k.open().say(trip, w.either(), tcp.RST|tcp.ACK, 0)
			case 4:
				w.probe(at, client, server, 100+random.IntN(50), random.IntN(2) == 0)
			case 5:
				k.say(0, tracker.Client, tcp.SYN, 0).say(trip, tracker.Server, tcp.SYN|tcp.ACK, 0)
			case 6:
				k.open().ask(trip).answer(trip).close(w.between(time.Second, 40*time.Second), w.either())
			default:
				k.open().ask(trip).answer(trip).close(trip, w.either())
			}
		}
		// Of the clients of one port, each goroutine sees one.
		for i := range 200 {
			client := host("stranger", 1+i/100)
			w.talk(time.Duration(i)*minutes*time.Minute/200, client, host("server", 9)).open().ask(trip)
		}
		w.talk((minutes-1)*time.Minute, host("stranger", 2), host("server", 9)).say(0, tracker.Client, tcp.SYN, 0).
			again(time.Second, tracker.Client, tcp.SYN, 0).again(2*time.Second, tracker.Client, tcp.SYN, 0)
		w.feed(minutes * time.Minute)
		for _, rules := range []*diagnosis.Rules{w.rules, sensitive(t)} {
			sameAnyway(t, rules, w.table, epoch+int64(minutes*time.Minute), diagnosis.Capture{})
		}
		kinds := ""
		for _, f := range w.rules.Analyze(w.table, epoch+int64(minutes*time.Minute), diagnosis.Capture{}).Findings {
			kinds += string(f.Kind) + " "
		}
		if !strings.Contains(kinds, "leak") {
			t.Errorf("seed %d: there is no leak in it: %s", seed, kinds)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
