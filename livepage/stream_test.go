package livepage

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
)

// patience bounds every wait.
const patience = 15 * time.Second

// event is one that a browser is sent.
type event struct{ name, data string }

// reader is a browser that listens.
type reader struct {
	t      *testing.T
	body   io.ReadCloser
	events chan event // closed when the stream ends
	retry  chan string
}

func (w *world) read(t *testing.T) *reader {
	t.Helper()
	response, err := http.Get(w.server.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s, %s", response.Status, got)
	}
	r := &reader{t: t, body: response.Body, events: make(chan event, 1000), retry: make(chan string, 1)}
	t.Cleanup(func() { r.body.Close() })
	go func() {
		defer close(r.events)
		var e event
		lines := bufio.NewScanner(r.body)
		lines.Buffer(nil, 1<<24)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case name == "event":
				e.name = value
			case name == "data":
				e.data = value
			case name == "retry":
				r.retry <- value
			case lines.Text() == "" && e.name != "":
				r.events <- e
				e = event{}
			}
		}
	}()
	return r
}

// next returns the next event with a name.
func (r *reader) next(name string) string {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-r.events:
			if !ok {
				r.t.Fatalf("the stream ended before %q", name)
			}
			if e.name == name {
				return e.data
			}
		case <-deadline:
			r.t.Fatalf("no %q came", name)
		}
	}
}

// ended waits until the stream has ended.
func (r *reader) ended() {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-r.events:
			if !ok {
				return
			}
		case <-deadline:
			r.t.Fatal("the stream does not end")
		}
	}
}

func decoded[V any](t *testing.T, data string) (v V) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("%v: %.300s", err, data)
	}
	return v
}

// waitFor waits until something is so that the test cannot be told of.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("%s: never", what)
		}
	}
}

func (w *world) listening() int {
	w.Page.mu.Lock()
	defer w.Page.mu.Unlock()
	return len(w.streams)
}

func TestAStreamTellsWhatHoldsAndWhatChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	r := w.read(t)
	if got := <-r.retry; got != "3000" {
		t.Errorf("retry: %s", got)
	}
	first := decoded[head](t, r.next("head"))
	if diff := cmp.Diff([]string{"eth0", "tcp"}, []string{first.Source, first.Filter}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if f := decoded[findings](t, r.next("findings")); len(f.Findings) == 0 || f.Findings[0].Severity != "critical" || f.Findings[0].Kind != "leak" {
		t.Errorf("the worst is %+v", f.Findings)
	}
	if c := decoded[chart](t, r.next("chart")); len(c.Lines) == 0 || !strings.Contains(c.Desc, "CLOSE_WAIT") {
		t.Errorf("the chart is %+v", c)
	}
	w.judge(time.Minute)
	second := decoded[head](t, r.next("head"))
	if second.Time == first.Time {
		t.Errorf("the time is still %s", second.Time.Text)
	}
}

func TestAFrameIsMadeOnceForAllWhoRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	w.judge(time.Second)
	if w.sent[headPart] != nil {
		t.Error("nobody reads, and there is a frame")
	}
	var streams [2]*stream
	for i := range streams {
		streams[i], _ = w.listen()
	}
	var frames [2][]byte
	for i, s := range streams {
		waitFor(t, "a frame", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			frames[i] = s.pending[headPart]
			return frames[i] != nil
		})
	}
	if &frames[0][0] != &frames[1][0] {
		t.Error("each has a frame of its own")
	}
	for _, s := range streams {
		w.leave(s)
	}
}

func TestSoManyMayReadAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	var readers []*reader
	for range maxStreams {
		readers = append(readers, w.read(t))
	}
	status, text, header := w.get(t, "/events")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("one more gets %d %q, %v", status, text, header)
	}
	readers[0].body.Close()
	waitFor(t, "a place is free", func() bool { return w.listening() < maxStreams })
	w.read(t).next("head")
}

func TestWhoDoesNotReadIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.writeWithin = 200 * time.Millisecond
	long := strings.Repeat("a line that fills what lies between ", 4000)
	n := 0
	w.change = func(j *Judgement) {
		n++
		for i := range j.Findings {
			j.Findings[i].Cause = fmt.Sprint(n, long)
		}
	}
	w.judge(0)
	good := w.read(t)
	good.next("findings")
	deaf, err := net.Dial("tcp", w.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	if err := deaf.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(deaf, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, "it listens", func() bool { return w.listening() == 2 })
	waitFor(t, "it is left", func() bool {
		began := time.Now()
		w.judge(time.Second)
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("a judgement took %v", took)
		}
		return w.listening() == 1
	})
	w.judge(time.Second)
	good.next("findings")
}

func TestStreamsEndWithThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	r := w.read(t)
	r.next("head")
	w.Close()
	r.ended()
	if status, _, _ := w.get(t, "/events"); status != http.StatusServiceUnavailable {
		t.Errorf("then one more gets %d", status)
	}
}

func TestUpdatesAreAsFarApartAsPromised(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	r := w.read(t)
	r.next("head")
	began := time.Now()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				w.judge(time.Second)
			}
		}
	}()
	const updates = 3
	for range updates {
		r.next("head")
	}
	// The first may follow at once.
	if took := time.Since(began); took < (updates-1)*updateEvery-50*time.Millisecond {
		t.Errorf("%d updates in %v", updates, took)
	}
}

func TestAFindingThatClearsIsGoneAndRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	r := w.read(t)
	before := decoded[findings](t, r.next("findings"))
	w.change = func(j *Judgement) {
		cleared := j.Findings[0]
		j.Findings = j.Findings[1:]
		j.Events = append(j.Events, diagnosis.Event{Time: j.Now, Change: diagnosis.Cleared, Finding: cleared})
	}
	w.judge(time.Second)
	after := decoded[findings](t, r.next("findings"))
	if len(after.Findings) != len(before.Findings)-1 {
		t.Errorf("%d findings, then %d", len(before.Findings), len(after.Findings))
	}
	_, text, _ := w.get(t, "/")
	if !strings.Contains(text, `<b class="cleared">cleared</b>`) {
		t.Error("the page does not remember it")
	}
}
