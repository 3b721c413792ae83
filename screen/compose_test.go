package screen

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// listed returns the IDs of the rows that q asks for.
func (w *world) listed(q Query) (ids []uint64) {
	w.composer.saved = saveUpTo
	for _, r := range w.compose(q).Rows {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestOrders(t *testing.T) {
	w := small()
	w.composer.Process = func(c *tracker.Connection) string { return []string{"", "zsh", "java"}[c.ID%3] }
	for _, tt := range []struct {
		by   Column
		want []uint64
	}{
		{ID, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{Client, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{Server, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{ClientState, []uint64{1, 2, 3, 4, 5, 6, 9, 7, 8}},
		{ServerState, []uint64{9, 1, 2, 3, 4, 5, 6, 7, 8}},
		{Age, []uint64{1, 2, 3, 4, 5, 6, 9, 7, 8}},
		{Packets, []uint64{4, 5, 6, 7, 8, 1, 2, 3, 9}},
		{Bytes, []uint64{4, 5, 6, 1, 2, 3, 7, 8, 9}},
		{Resent, []uint64{9, 1, 2, 3, 4, 5, 6, 7, 8}},
		{RTT, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{Process, []uint64{2, 5, 8, 1, 4, 7, 3, 6, 9}},
		{Findings, []uint64{4, 5, 6, 9, 1, 2, 3, 7, 8}},
	} {
		if diff := gocmp.Diff(tt.want, w.listed(Query{Sort: tt.by, Rows: 100})); diff != "" {
			t.Errorf("by %s (-want +got)\n%s", columnTitles[tt.by], diff)
		}
	}
}

func TestOrderOfManyInPages(t *testing.T) {
	t.Parallel()
	const n = 2200
	w := crowd(n)
	for by := range Column(numColumns) {
		for _, reverse := range []bool{false, true} {
			all := w.listed(Query{Sort: by, Reverse: reverse, Rows: maxRows})
			all = append(all, w.listed(Query{Sort: by, Reverse: reverse, Offset: maxRows, Rows: maxRows})...)
			if len(all) != n {
				t.Fatalf("%d connections by %s", len(all), columnTitles[by])
			}
			type place struct {
				key [2]uint64
				id  uint64
			}
			var places []place
			a := w.composer.analysis
			for c, findings := range a.Connections(0, a.Counts.Connections) {
				key := keyOf(by, c, w.now, findings, "")
				if reverse {
					key = [2]uint64{^key[0], ^key[1]}
				}
				places = append(places, place{key, c.ID})
			}
			slices.SortFunc(places, func(a, b place) int {
				return cmp.Or(cmp.Compare(a.key[0], b.key[0]), cmp.Compare(a.key[1], b.key[1]), cmp.Compare(a.id, b.id))
			})
			for i, p := range places {
				if all[i] != p.id {
					t.Fatalf("by %s, reversed %v: connection %d in place %d, want %d", columnTitles[by], reverse, all[i], i, p.id)
				}
			}
			// From anywhere, whatever was looked at before.
			w.composer.order.of.filter = "forgotten"
			for _, offset := range []int{2000, 0, 700, n - 10, n + 50} {
				want := all[min(offset, n):min(offset+37, n)]
				if got := w.listed(Query{Sort: by, Reverse: reverse, Offset: offset, Rows: 37}); !slices.Equal(got, want) {
					t.Fatalf("by %s, from %d: %d, want %d", columnTitles[by], offset, got, want)
				}
			}
		}
	}
}

func TestSelectFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, of := range []func(i int) uint64{
		func(int) uint64 { return rng.Uint64() }, func(int) uint64 { return rng.Uint64N(3) }, func(int) uint64 { return 7 },
		func(i int) uint64 { return uint64(i) }, func(i int) uint64 { return uint64(-i) }, func(i int) uint64 { return uint64(i % 100 * (i % 7)) },
	} {
		for _, n := range []int{0, 1, 2, 63, 64, 65, 1000, 5000} {
			entries := make([]entry, n)
			for i := range entries {
				entries[i].key[0] = of(i)
			}
			sorted := slices.SortedFunc(slices.Values(entries), entry.compare)
			for _, first := range []int{0, 1, n / 3, n - 1, n} {
				if first < 0 || first > n {
					continue
				}
				mixed := slices.Clone(entries)
				selectFirst(mixed, first)
				slices.SortFunc(mixed[:first], entry.compare)
				if !slices.Equal(mixed[:first], sorted[:first]) {
					t.Fatalf("the first %d of %d are not the least", first, n)
				}
			}
		}
	}
}

func TestFilters(t *testing.T) {
	w := small()
	w.composer.Process = func(c *tracker.Connection) string { return fmt.Sprintf("pid %d Java", c.ID) }
	for _, tt := range []struct {
		filter string
		want   []uint64
	}{
		{"", []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"10.0.0.3", []uint64{7, 8}},
		{"10.0.0.3:60002", []uint64{8}},
		{"close_wait", []uint64{4, 5, 6}},
		{"CLOSE_wait 50002", []uint64{5}},
		{"!close_wait !closed", []uint64{1, 2, 3}},
		{"state:FIN_WAIT_2", []uint64{4, 5, 6}},
		{"state:closed", []uint64{7, 8, 9}},
		{"finding:stuck", []uint64{4, 5, 6}},
		{"unanswered", []uint64{9}},
		{"port:443", []uint64{7, 8}},
		{"port:44", nil},
		{"server::443", []uint64{7, 8}},
		{"client:10.0.0.2", []uint64{4, 5, 6}},
		{"server:10.0.0.2", nil},
		{"id:5", []uint64{5}},
		{"process:java id:5", []uint64{5}},
		{"pid java !java", nil},
		{"age>120s", []uint64{1, 2, 3, 4, 5, 6}},
		{"age<2m", []uint64{7, 8, 9}},
		{"age>120", []uint64{1, 2, 3, 4, 5, 6}},
		{"age>", []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}},           // still being written
		{"state: ! port:", []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}}, // likewise
		{"a:b", nil},
	} {
		if got := w.listed(Query{Sort: ID, Filter: tt.filter, Rows: 100}); !slices.Equal(got, tt.want) {
			t.Errorf("%q picks %d, want %d", tt.filter, got, tt.want)
		}
		if f := w.compose(Query{Sort: ID, Filter: tt.filter}); f.Matches != len(tt.want) {
			t.Errorf("%q matches %d, want %d", tt.filter, f.Matches, len(tt.want))
		}
	}
}

func TestFiltersThatCannotBeRead(t *testing.T) {
	for filter, want := range map[string]string{
		"port:http":  "port:http: not a port; as in port:8080",
		"port:70000": "port:70000: not a port; as in port:8080",
		"x id:-1":    "id:-1: not a number; as in id:12",
		"!age>soon":  "age>soon: not a duration; as in age>60s",
	} {
		if _, err := ParseFilter(filter); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", filter, err, want)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{"state:CLOSE_WAIT", "!age>60s", "port:80 finding:", "age<-5m", "::", "\xff!"} {
		f.Add(seed)
	}
	w := small()
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := ParseFilter(text)
		if err != nil {
			return
		}
		for c, findings := range w.composer.analysis.Connections(0, 9) {
			filter.passes(&subject{c: c, now: w.now, findings: findings, kinds: w.composer.analysis.Findings})
		}
	})
}

func TestRow(t *testing.T) {
	w := small()
	w.composer.Process = func(*tracker.Connection) string { return "java" }
	f := w.compose(Query{Sort: ID, Offset: 3, Rows: 1})
	want := []Row{{
		ID: 4, Ends: [2]End{{host(2), 50001, tcp.FinWait2, tracker.Presumed}, {host(257), 80, tcp.CloseWait, tracker.Confirmed}},
		For: 2*time.Minute + 3*time.Second + 42*time.Millisecond, Known: true, Packets: 11, Bytes: 2200, RTT: 2 * time.Millisecond, Process: "java",
		Findings: []diagnosis.Kind{diagnosis.StuckCloseWait}, Worst: diagnosis.Warning,
	}}
	if diff := gocmp.Diff(want, f.Rows, gocmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() < 100*time.Millisecond })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDetail(t *testing.T) {
	w := small()
	f := w.compose(Query{Open: 9})
	if d := f.Detail; d == nil || d.Gone || d.Ladder.Connection.ID != 9 || len(d.Findings) != 1 || d.Findings[0].Kind != diagnosis.UnansweredSYN {
		t.Fatalf("%+v", d)
	}
	for _, id := range []uint64{10, 1 << 60} {
		if d := w.compose(Query{Open: id}).Detail; d == nil || !d.Gone || d.ID != id {
			t.Errorf("connection %d, of which there is none: %+v", id, d)
		}
	}
}

func TestForgottenConnections(t *testing.T) {
	w := newWorld()
	w.table = tracker.New(tracker.Config{MaxConnections: 50})
	w.composer = NewComposer(w.table)
	for i := range 50 {
		w.talk(i, 1000, 300, 80).open().close()
	}
	w.judge(time.Second)
	q := Query{Sort: ID, Rows: 3, Open: 1}
	if f := w.compose(q); f.Rows[0].Gone || f.Detail.Gone {
		t.Fatalf("forgotten at once: %+v", f.Rows)
	}
	for i := range 50 {
		w.talk(100+i, 1000, 300, 80).open()
	}
	// The order is that of before: it is not made again within a second.
	w.composer.built, w.composer.cost = time.Now(), time.Hour
	f := w.compose(q)
	want := []Row{{ID: 1, Gone: true}, {ID: 2, Gone: true}, {ID: 3, Gone: true}}
	if diff := gocmp.Diff(want, f.Rows); diff != "" || !f.Detail.Gone || f.Evicted != 50 {
		t.Errorf("%d forgotten, detail %+v (-want +got)\n%s", f.Evicted, f.Detail, diff)
	}
}

func TestFrameSharesNothingWithTheTable(t *testing.T) {
	w := small()
	q := Query{Sort: Findings, Rows: 100, Open: 4}
	show := func(f *Frame) string {
		return fmt.Sprintf("%+v %+v %+v %+v", f.Rows, f.Counts, f.Findings, f.Detail)
	}
	f := w.compose(q)
	before := show(&f)
	for i := range 500 {
		w.talk(1000+i, 1000, 257, 80).open().half()
	}
	w.judge(time.Hour)
	w.compose(q)
	if diff := gocmp.Diff(before, show(&f)); diff != "" {
		t.Errorf("it has changed (-before +after)\n%s", diff)
	}
}

func TestBeforeTheFirstAnalysis(t *testing.T) {
	w := newWorld()
	f := w.compose(Query{Rows: 100, Open: 1})
	if f.Rows != nil || f.Detail != nil || f.Sources[0] != "eth0" {
		t.Errorf("%+v", f)
	}
}

func TestNoticesAreTheLast(t *testing.T) {
	w := newWorld()
	a := w.rules.Analyze(w.table, w.now, diagnosis.Capture{})
	for i := range 120 {
		w.composer.Judge(a, []diagnosis.Event{{Time: int64(i)}})
	}
	f := w.compose(Query{})
	if len(f.Notices) != maxNotices || f.Notices[0].Event.Time != 120-maxNotices || f.Notices[maxNotices-1].Event.Time != 119 {
		t.Errorf("%d notices, from %d", len(f.Notices), f.Notices[0].Event.Time)
	}
}

func TestHistory(t *testing.T) {
	var h history
	second := int64(time.Second)
	at := epoch + second/2
	h.advance(at, 1000)
	h.count(&diagnosis.Counts{States: [tcp.NumStates][2]int{tcp.CloseWait: {1, 2}}})
	h.advance(at+second/4, 1010)
	if h.known != 1 || h.perSecond != 0 {
		t.Errorf("a rate of %v within the first second", h.perSecond)
	}
	h.advance(at+second, 1300)
	h.count(&diagnosis.Counts{States: [tcp.NumStates][2]int{tcp.CloseWait: {0, 5}}})
	h.advance(at+3*second, 1500)
	h.advance(at, 1500) // a clock that is set back changes nothing
	if h.perSecond != 100 || h.known != 4 {
		t.Errorf("%v packets/s, %d seconds known", h.perSecond, h.known)
	}
	if got, want := h.traffic[Seconds-4:], []uint32{0, 300, 100, 100}; !slices.Equal(got, want) {
		t.Errorf("traffic %d, want %d", got, want)
	}
	// What nobody has counted since is as it was.
	if got, want := h.states[tcp.CloseWait][Seconds-5:], []uint32{0, 3, 5, 5, 5}; !slices.Equal(got, want) {
		t.Errorf("in CLOSE_WAIT %d, want %d", got, want)
	}
	h.advance(at+3600*second, 1500)
	if h.known != Seconds || h.traffic != [Seconds]uint32{} {
		t.Errorf("after an hour %v, %d", h.traffic, h.known)
	}
}

// Where nothing is heard, an order stays as it is until something is judged, or an age or a process is asked for.
func TestOrdersStayWhereNothingChanges(t *testing.T) {
	w := small()
	for _, c := range []struct {
		name   string
		query  Query
		change func()
		want   bool
	}{
		{name: "nothing", query: Query{Sort: Age}},
		{name: "an age", query: Query{Sort: ID, Filter: "age>5m"}, want: true},
		{name: "processes", query: Query{Sort: Process}, want: true},
		{name: "a judgement", query: Query{Sort: Age}, change: func() { w.judge(time.Minute) }, want: true},
		{name: "the last judgement again", query: Query{Sort: Age}, change: func() { w.composer.Judge(w.composer.analysis.Later(w.now+1), nil) }},
		{name: "a segment", query: Query{Sort: Age}, change: func() { w.talk(9, 1000, 257, 80).open() }, want: true},
	} {
		w.compose(c.query)
		w.composer.charge(time.Now(), time.Millisecond)
		if c.change != nil {
			c.change()
		}
		if got := w.composer.mayOrder(time.Now().Add(time.Hour), c.query.ordered()); got != c.want {
			t.Errorf("%s: the order is made again: %v", c.name, got)
		}
	}
}

// Orders may take a sixtieth of the time, and a twentieth where others are asked for, but for what was saved before.
func TestOrdersKeepToTheirShare(t *testing.T) {
	const cost = 100 * time.Millisecond
	for _, asking := range []bool{false, true} {
		p := Composer{table: tracker.New(tracker.Config{})}
		start := time.Unix(1000, 0)
		spent, first := time.Duration(0), time.Duration(-1)
		const span = 60 * time.Second
		for at := time.Duration(0); at < span; at += showEvery {
			of := p.order.of
			if asking {
				of = ordered{filter: fmt.Sprint(at)}
			}
			p.segments++ // they always come
			if p.mayOrder(start.Add(at), of) {
				p.charge(start.Add(at), cost)
				p.order.of = of
				spent += cost
				if at > 0 && first < 0 {
					first = at
				}
			}
		}
		share := time.Duration(againShare)
		if asking {
			share = orderShare
		}
		if limit := span/share + 2*cost; spent > limit {
			t.Errorf("asking %v: %v of %v", asking, spent, span)
		}
		if spent < span/share/2 {
			t.Errorf("asking %v: only %v of %v", asking, spent, span)
		}
		if asking {
			continue
		}
		// After a while without questions, several are answered at once.
		at, answered := start.Add(span), 0
		for ; p.mayOrder(at, ordered{filter: fmt.Sprint(answered)}); answered++ {
			p.charge(at, cost)
		}
		if answered == 0 || answered > int(saveUpTo/cost)+1 {
			t.Errorf("%d orders at once", answered)
		}
	}
}
