package netsim

import (
	"container/heap"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// epoch is where simulated time begins, in ns since 1970: an hour into 2024, so that no timestamp is near zero.
const epoch = int64(1704067200+3600) * int64(time.Second)

// clock is simulated time with everything that is to happen in it. Unlike faketime.ManualClock it tells when the next
// thing is due, and runs what is due at the same instant in the order in which it was asked for.
type clock struct {
	mu     sync.Mutex
	now    int64 // ns since 1970
	order  uint64
	events events
	flying int // events that are frames on their way
}

// event is a timer of one of the stacks, or a frame on its way.
type event struct {
	at    int64
	order uint64
	index int // in the heap, -1 when not there
	host  int // whose timer it is
	frame bool
	run   func()
}

type events []*event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q events) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *events) Push(x any) {
	e := x.(*event)
	e.index = len(*q)
	*q = append(*q, e)
}
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	e.index = -1
	return e
}

func (c *clock) time() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) schedule(e *event, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order++
	e.at, e.order = c.now+max(int64(after), 0), c.order
	heap.Push(&c.events, e)
	if e.frame {
		c.flying++
	}
}

// cancel takes e out and reports whether it was still to come.
func (c *clock) cancel(e *event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.index < 0 {
		return false
	}
	heap.Remove(&c.events, e.index)
	return true
}

// next returns when the next event is due, and until if none is before.
func (c *clock) next(until int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) == 0 {
		return until
	}
	return min(c.events[0].at, until)
}

// advance moves time to the next event, at most to limit, and returns the event.
func (c *clock) advance(limit int64) *event {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) == 0 || c.events[0].at > limit {
		c.now = limit
		return nil
	}
	e := heap.Pop(&c.events).(*event)
	if e.frame {
		c.flying--
	}
	c.now = e.at
	return e
}

// hostClock is the clock as one stack sees it.
type hostClock struct {
	*clock
	host int
}

var _ tcpip.Clock = hostClock{}

// Now implements tcpip.Clock.
func (c hostClock) Now() time.Time { return time.Unix(0, c.time()) }

// NowMonotonic implements tcpip.Clock.
func (c hostClock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(time.Duration(c.time() - epoch + int64(time.Hour)))
}

// AfterFunc implements tcpip.Clock.
func (c hostClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &timer{clock: c.clock, event: event{index: -1, host: c.host, run: f}}
	c.schedule(&t.event, d)
	return t
}

type timer struct {
	clock *clock
	event event
}

// Stop implements tcpip.Timer.
func (t *timer) Stop() bool { return t.clock.cancel(&t.event) }

// Reset implements tcpip.Timer.
func (t *timer) Reset(d time.Duration) {
	t.clock.cancel(&t.event)
	t.clock.schedule(&t.event, d)
}
