package deliver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/deliver"
	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// event is the finding with the given number, as it is raised, updated or cleared.
func event(id int, change diagnosis.Change) diagnosis.Event {
	return diagnosis.Event{Time: 1_772_334_245_000_060_708, Change: change, Finding: diagnosis.Finding{
		ID: id, Kind: diagnosis.Leak, Severity: diagnosis.Critical, Certainty: tracker.Confirmed,
		Connections: []uint64{4, 10}, Begins: []int64{1, 2}, Count: 16, Since: 1_772_334_051_000_000_000, For: 194 * time.Second,
		Culprit:  diagnosis.Culprit{Role: tracker.Server, Addr: tcp.AddrFromNetip(netip.MustParseAddr("10.77.0.2")), Port: 8080},
		Culprits: 1, Service: netip.MustParseAddrPort("10.77.0.2:8080"), Growth: &diagnosis.Growth{PerMinute: 5},
		Summary: "The server 10.77.0.2:8080 leaks connections.", Next: "see who holds them", Command: "ss -tnp",
		Holders: []diagnosis.Holder{{PID: 4242, FD: 87, Name: "ja\"va\x1b[2J\xff"}},
	}}
}

// raised are findings from one number up to another.
func raised(from, to int) (events []diagnosis.Event) {
	for id := from; id <= to; id++ {
		events = append(events, event(id, diagnosis.Raised))
	}
	return events
}

// fake is an output that does what answer says for each Send, by its number from 0, and keeps what it takes.
type fake struct {
	name   string
	answer func(n int, ctx context.Context, batch []*deliver.Item) error

	mu    sync.Mutex
	sends int
	when  []time.Time
	sizes []int
	taken []string // "raised 1"
	ids   []string
}

func (f *fake) Name() string { return f.name }

func (f *fake) Send(ctx context.Context, batch []*deliver.Item) error {
	f.mu.Lock()
	n := f.sends
	f.sends++
	f.when, f.sizes = append(f.when, time.Now()), append(f.sizes, len(batch))
	f.mu.Unlock()
	var err error
	if f.answer != nil {
		err = f.answer(n, ctx, batch)
	}
	took := len(batch)
	if err != nil {
		took = 0
	}
	if partial := (*deliver.Partial)(nil); errors.As(err, &partial) {
		took = partial.Sent
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, item := range batch[:took] {
		f.taken = append(f.taken, fmt.Sprint(item.Event.Change, " ", item.Event.Finding.ID))
		f.ids = append(f.ids, item.ID)
	}
	return err
}

func start(t *testing.T, outputs ...deliver.Config) *deliver.Dispatcher {
	t.Helper()
	d, err := deliver.New(outputs...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// finish closes d, which must empty its queues.
func finish(t *testing.T, d *deliver.Dispatcher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := d.Close(ctx); err != nil {
		t.Error(err)
	}
}

func names(change diagnosis.Change, from, to int) (all []string) {
	for id := from; id <= to; id++ {
		all = append(all, fmt.Sprint(change, " ", id))
	}
	return all
}

func wantTaken(t *testing.T, f *fake, want []string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(want, f.taken); diff != "" {
		t.Errorf("taken by %s (-want +got):\n%s", f.name, diff)
	}
}

// wantStats compares all but what the errors say.
func wantStats(t *testing.T, d *deliver.Dispatcher, want deliver.Stats) deliver.Stats {
	t.Helper()
	got := d.Stats()[0]
	bare := got
	bare.Name, bare.Kind, bare.LastError, bare.Down = "", "", "", time.Time{}
	if diff := cmp.Diff(want, bare); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	return got
}

var errDown = errors.New("connection\nrefused \x1b[31m")

func TestEventsArriveInOrderInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, other := &fake{name: "one"}, &fake{name: "other"}
		d := start(t, deliver.Config{Output: one, Batch: 100}, deliver.Config{Output: other, Batch: 7})
		d.Put(raised(1, 250))
		finish(t, d)
		wantTaken(t, one, names(diagnosis.Raised, 1, 250))
		wantTaken(t, other, names(diagnosis.Raised, 1, 250))
		if diff := cmp.Diff([]int{100, 100, 50}, one.sizes); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(one.ids, other.ids); diff != "" {
			t.Errorf("identities (-one +other):\n%s", diff)
		}
		wantStats(t, d, deliver.Stats{Sent: 250})
	})
}

func TestItemIsTheEventWithItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var item *deliver.Item
		out := &fake{name: "out", answer: func(_ int, _ context.Context, batch []*deliver.Item) error { item = batch[0]; return nil }}
		d := start(t, deliver.Config{Output: out})
		d.Put(raised(3, 3))
		finish(t, d)
		if want := d.Start() + "-1"; item.ID != want || len(d.Start()) != 16 {
			t.Errorf("ID %q, want %q", item.ID, want)
		}
		var got struct {
			ID, Type, Event string
			Finding         struct{ Connections []int }
		}
		if err := json.Unmarshal(item.JSON, &got); err != nil {
			t.Fatalf("%v: %s", err, item.JSON)
		}
		if got.ID != item.ID || got.Type != "event" || got.Event != "raised" || len(got.Finding.Connections) != 2 {
			t.Errorf("got %+v", got)
		}
		if strings.ContainsAny(string(item.JSON), "\n\x1b") {
			t.Errorf("a line with control characters: %q", item.JSON)
		}
	})
}

func TestOutputThatIsDownGetsAllInOrderWhenItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "out", answer: func(n int, _ context.Context, _ []*deliver.Item) error {
			if n < 12 {
				return errDown
			}
			return nil
		}}
		well := &fake{name: "well"}
		d := start(t, deliver.Config{Output: out, MinBackoff: time.Second, MaxBackoff: time.Minute}, deliver.Config{Output: well})
		began := time.Now()
		d.Put(raised(1, 3))
		synctest.Wait()
		d.Put(raised(4, 5))
		synctest.Wait()
		wantTaken(t, well, names(diagnosis.Raised, 1, 5))
		s := wantStats(t, d, deliver.Stats{Queued: 5, Retried: 3, Failed: 1})
		if s.Down != began || s.LastError != "connection refused �[31m" {
			t.Errorf("down since %v (want %v), last error %q", s.Down, began, s.LastError)
		}
		time.Sleep(time.Hour)
		wantTaken(t, out, names(diagnosis.Raised, 1, 5))
		s = wantStats(t, d, deliver.Stats{Sent: 5, Retried: 3 + 11*5, Failed: 12})
		if !s.Down.IsZero() || s.LastError == "" {
			t.Errorf("down since %v, last error %q after it returned", s.Down, s.LastError)
		}
		// 1 s, 2 s, 4 s, … to a minute, each shortened by a half at most.
		for i := 1; i < 12; i++ {
			most := min(time.Second<<(i-1), time.Minute)
			if pause := out.when[i].Sub(out.when[i-1]); pause < most/2 || pause > most {
				t.Errorf("pause %d: %s, want %s to %s", i, pause, most/2, most)
			}
		}
		finish(t, d)
	})
}

func TestFullQueueLosesUpdatesFirstThenTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := make(chan struct{})
		out := &fake{name: "out", answer: func(_ int, _ context.Context, _ []*deliver.Item) error {
			select {
			case <-up:
				return nil
			default:
				return errDown
			}
		}}
		d := start(t, deliver.Config{Output: out, Capacity: 6, Batch: 2})
		put := func(change diagnosis.Change, id int) { d.Put([]diagnosis.Event{event(id, change)}) }
		put(diagnosis.Raised, 1)
		put(diagnosis.Updated, 1)
		put(diagnosis.Raised, 2)
		put(diagnosis.Updated, 2)
		put(diagnosis.Cleared, 1)
		put(diagnosis.Raised, 3)
		synctest.Wait()
		put(diagnosis.Raised, 4) // for "updated 1"
		put(diagnosis.Raised, 5) // for "updated 2"
		put(diagnosis.Raised, 6) // for "raised 1"
		wantStats(t, d, deliver.Stats{Queued: 6, Lost: 3, Retried: d.Stats()[0].Retried, Failed: 1})
		close(up)
		time.Sleep(time.Minute)
		wantTaken(t, out, []string{"raised 2", "cleared 1", "raised 3", "raised 4", "raised 5", "raised 6"})
		finish(t, d)
	})
}

func TestWhatIsBeingSentIsNotLostForWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan error)
		out := &fake{name: "out", answer: func(int, context.Context, []*deliver.Item) error { return <-answer }}
		d := start(t, deliver.Config{Output: out, Capacity: 4, Batch: 2, Timeout: time.Minute})
		d.Put(raised(1, 2))
		synctest.Wait()
		d.Put(raised(3, 9))
		wantStats(t, d, deliver.Stats{Queued: 4, Lost: 5})
		answer <- errDown
		time.Sleep(time.Second)
		answer <- nil
		answer <- nil
		synctest.Wait()
		wantTaken(t, out, []string{"raised 1", "raised 2", "raised 8", "raised 9"})
		finish(t, d)
		wantStats(t, d, deliver.Stats{Sent: 4, Retried: 2, Lost: 5, Failed: 1})
	})
}

// An event about 10,000 connections takes more than a hundred others do.
func TestQueueIsBoundedInOctets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "out", answer: func(int, context.Context, []*deliver.Item) error { return errDown }}
		d := start(t, deliver.Config{Output: out, MaxBytes: 1 << 20})
		large := event(1, diagnosis.Raised)
		large.Finding.Connections = make([]uint64, diagnosis.MaxListed)
		for i := range large.Finding.Connections {
			large.Finding.Connections[i] = 1<<63 + uint64(i)
		}
		for range 50 {
			d.Put([]diagnosis.Event{large})
		}
		s := d.Stats()[0]
		if s.Queued < 2 || s.Queued > 5 || s.Queued+int(s.Lost) != 50 {
			t.Errorf("%d queued and %d lost of 50 events of 210 kB, in 1 MiB", s.Queued, s.Lost)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d.Close(ctx)
	})
}

func TestOutputThatHangsStopsNobody(t *testing.T) {
	hang := make(chan struct{})
	out := &fake{name: "hangs", answer: func(int, context.Context, []*deliver.Item) error { <-hang; return errDown }}
	well := &fake{name: "well"}
	const capacity = 500
	d := start(t, deliver.Config{Output: out, Capacity: capacity}, deliver.Config{Output: well, Capacity: 100_000})
	one := raised(1, 1)
	few := testing.AllocsPerRun(100, func() { d.Put(one) })
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for range capacity {
		d.Put(one)
	}
	full := heap()
	many := testing.AllocsPerRun(1000, func() { d.Put(one) })
	if many > few+3 { // the other output's goroutine allocates, too, by chance of the moment
		t.Errorf("Put allocates %v times with a queue that is full, %v with one that is not", many, few)
	}
	for range 20_000 {
		d.Put(one)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := d.Close(ctx) // does not wait for what hangs
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("hangs: %d", capacity)) {
		t.Errorf("Close: %v", err)
	}
	stats := d.Stats()
	if got := stats[0]; got.Queued != capacity || got.Lost != 101+capacity+1001+20_000-capacity {
		t.Errorf("hanging output: %+v", got)
	}
	// What well remembers of 20,000 events is some 100 octets each.
	if now := heap(); now > full+8<<20 {
		t.Errorf("the heap grew from %d to %d octets with a queue that was full before", full, now)
	}
	close(hang)
}

func TestHangingOutputIsSaidToBeDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		out := &fake{name: "hangs", answer: func(int, context.Context, []*deliver.Item) error { <-hang; return nil }}
		d := start(t, deliver.Config{Output: out, Timeout: 10 * time.Second})
		began := time.Now()
		d.Put(raised(1, 1))
		time.Sleep(9 * time.Second)
		if s := d.Stats()[0]; !s.Down.IsZero() {
			t.Errorf("down since %v before its time is over", s.Down)
		}
		time.Sleep(2 * time.Second)
		if s := d.Stats()[0]; s.Down != began || !strings.Contains(s.LastError, "the same batch") {
			t.Errorf("down since %v, want %v; %q", s.Down, began, s.LastError)
		}
		close(hang)
		finish(t, d)
	})
}

func TestRefusedBatchIsDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "out", answer: func(n int, _ context.Context, _ []*deliver.Item) error {
			if n == 0 {
				return &deliver.Permanent{Err: errors.New("no such hook")}
			}
			return nil
		}}
		d := start(t, deliver.Config{Output: out, Batch: 2})
		d.Put(raised(1, 5))
		finish(t, d)
		wantTaken(t, out, names(diagnosis.Raised, 3, 5))
		if s := wantStats(t, d, deliver.Stats{Sent: 3, Lost: 2, Refused: 2, Failed: 1}); s.LastError != "no such hook" {
			t.Errorf("last error %q", s.LastError)
		}
	})
}

func TestOneEventThatIsRefusedDoesNotCostTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "out", answer: func(_ int, _ context.Context, batch []*deliver.Item) error {
			for _, item := range batch {
				if item.Event.Finding.ID == 6 {
					return &deliver.Permanent{Err: errors.New("too large"), Divide: true}
				}
			}
			return nil
		}}
		d := start(t, deliver.Config{Output: out, Batch: 8})
		d.Put(raised(1, 16))
		finish(t, d)
		wantTaken(t, out, append(names(diagnosis.Raised, 1, 5), names(diagnosis.Raised, 7, 16)...))
		s := d.Stats()[0]
		if s.Sent != 15 || s.Lost != 1 || s.Refused != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestPartOfABatchIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "out", answer: func(n int, _ context.Context, _ []*deliver.Item) error {
			if n == 0 {
				return &deliver.Partial{Err: errDown, Sent: 3}
			}
			return nil
		}}
		d := start(t, deliver.Config{Output: out})
		d.Put(raised(1, 5))
		time.Sleep(time.Minute)
		wantTaken(t, out, names(diagnosis.Raised, 1, 5))
		wantStats(t, d, deliver.Stats{Sent: 5, Retried: 2, Failed: 1})
		finish(t, d)
	})
}

func TestCloseSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "hook", answer: func(int, context.Context, []*deliver.Item) error { return errDown }}
		d := start(t, deliver.Config{Output: out}, deliver.Config{Output: &fake{name: "well"}})
		d.Put(raised(1, 3))
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := d.Close(ctx)
		if want := "deliver: events that were not delivered: hook: 3 (connection refused �[31m)"; err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("Close took %s, want all of its 5 s", took)
		}
		d.Put(raised(4, 4))
		synctest.Wait()
		wantStats(t, d, deliver.Stats{Queued: 3, Lost: 1, Retried: d.Stats()[0].Retried, Failed: d.Stats()[0].Failed})
	})
}

// An agent that is told to stop should not sit out a minute's pause when the receiver is back.
func TestCloseCutsAPauseShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "out", answer: func(n int, _ context.Context, _ []*deliver.Item) error {
			if n == 0 {
				return errDown
			}
			return nil
		}}
		d := start(t, deliver.Config{Output: out, MinBackoff: time.Minute})
		d.Put(raised(1, 1))
		synctest.Wait()
		began := time.Now()
		finish(t, d)
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %s", took)
		}
		wantTaken(t, out, names(diagnosis.Raised, 1, 1))
	})
}

func TestReceiverThatAsksForTimeGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &fake{name: "out", answer: func(n int, _ context.Context, _ []*deliver.Item) error {
			if n == 0 {
				return &deliver.Later{Err: errDown, After: 7 * time.Minute}
			}
			return nil
		}}
		d := start(t, deliver.Config{Output: out})
		d.Put(raised(1, 1))
		synctest.Wait()
		finish(t, d) // not even then
		if pause := out.when[1].Sub(out.when[0]); pause != 7*time.Minute {
			t.Errorf("tried again after %s", pause)
		}
	})
}

func TestReloadKeepsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := func(int, context.Context, []*deliver.Item) error { return errDown }
		before, gone := &fake{name: "hook", answer: down}, &fake{name: "gone", answer: down}
		d := start(t, deliver.Config{Output: before, MinBackoff: time.Minute}, deliver.Config{Output: gone})
		d.Put(raised(1, 3))
		synctest.Wait()
		after, fresh := &fake{name: "hook"}, &fake{name: "fresh"}
		if err := d.Reload(deliver.Config{Output: after}, deliver.Config{Output: after}); err == nil {
			t.Error("two outputs of one name are taken")
		}
		if err := d.Reload(deliver.Config{Output: fresh}, deliver.Config{Output: after}); err != nil {
			t.Fatal(err)
		}
		d.Put(raised(4, 4))
		synctest.Wait()
		wantTaken(t, after, names(diagnosis.Raised, 1, 4))
		wantTaken(t, fresh, names(diagnosis.Raised, 4, 4))
		time.Sleep(time.Minute)
		if s := d.Stats(); len(s) != 2 || s[0].Name != "fresh" || s[1].Sent != 4 || s[1].Retried != 3 {
			t.Errorf("stats %+v", s)
		}
		finish(t, d)
	})
}

func TestPutFromManyGoroutines(t *testing.T) {
	out := &fake{name: "out", answer: func(n int, _ context.Context, _ []*deliver.Item) error {
		if n%3 == 0 {
			return errDown
		}
		return nil
	}}
	d := start(t, deliver.Config{Output: out, Capacity: 50, MinBackoff: time.Microsecond, MaxBackoff: time.Microsecond})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				d.Put(raised(1, 2))
				d.Stats()
			}
		})
	}
	all.Wait()
	finish(t, d)
	if s := d.Stats()[0]; s.Queued != 0 || s.Sent+s.Lost != 1600 {
		t.Errorf("of 1600: %+v", s)
	}
	seen := make(map[string]bool)
	for _, id := range out.ids {
		if seen[id] {
			t.Fatalf("%s arrived twice", id)
		}
		seen[id] = true
	}
}

func TestConfigErrors(t *testing.T) {
	out := &fake{name: "out"}
	for want, configs := range map[string][]deliver.Config{
		"deliver: an output is missing":                                                           {{}},
		"deliver: two outputs are called out: give one of them another name":                      {{Output: out}, {Output: out}},
		"deliver: out: a queue for -1 events: it takes 2 at least":                                {{Output: out, Capacity: -1}},
		"deliver: out: a queue of 5 octets: it takes 1048576 at least":                            {{Output: out, MaxBytes: 5}},
		"deliver: out: batches of 60 events: 1 to 50, half of what the queue holds":               {{Output: out, Capacity: 100, Batch: 60}},
		"deliver: out: pauses of 1m0s to 1s: the first must be positive and not above the second": {{Output: out, MinBackoff: time.Minute, MaxBackoff: time.Second}},
		"deliver: out: a timeout of -1s: it must be positive":                                     {{Output: out, Timeout: -time.Second}},
	} {
		if _, err := deliver.New(configs...); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// What Put costs while an output hangs does not depend on how much it holds.
func BenchmarkPut(b *testing.B) {
	for _, capacity := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("full-%d", capacity), func(b *testing.B) {
			hang := make(chan struct{})
			out := &fake{name: "hangs", answer: func(int, context.Context, []*deliver.Item) error { <-hang; return errDown }}
			d, err := deliver.New(deliver.Config{Output: out, Capacity: capacity, MaxBytes: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			one := raised(1, 1)
			for range capacity {
				d.Put(one)
			}
			b.ReportAllocs()
			for b.Loop() {
				d.Put(one)
			}
			b.StopTimer()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			d.Close(ctx)
			close(hang)
		})
	}
}
