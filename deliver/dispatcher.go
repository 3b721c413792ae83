package deliver

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"tcpleak/diagnosis"
)

// The defaults of a Config.
const (
	DefaultCapacity   = 10_000
	DefaultMaxBytes   = 16 << 20
	DefaultBatch      = 100
	DefaultMinBackoff = time.Second
	DefaultMaxBackoff = time.Minute
	DefaultTimeout    = 10 * time.Second
)

const (
	// batchOctets bounds a batch: half of what nginx lets through unless it is told otherwise.
	batchOctets = 512 << 10
	// leastBytes holds a batch, and an event about as many connections as a finding lists.
	leastBytes = 1 << 20
	// longestPause bounds what a receiver can ask for by Retry-After.
	longestPause = time.Hour
)

// Config is an output and how it is served. Zero fields have the defaults above.
type Config struct {
	Output   Output
	Capacity int // events that its queue holds, at least 2
	MaxBytes int // octets of memory that they take, at least 1 MiB
	Batch    int // events in one Send, at least 1; half the Capacity at most
	// MinBackoff and MaxBackoff are the pauses after the first failure and after many; each is shortened by up to a half, at
	// random, so that a receiver that comes back is not met by all hosts at once.
	MinBackoff, MaxBackoff time.Duration
	Timeout                time.Duration // of one Send
	// Tell, if it is not nil, is told on one line when the output begins to fail or to refuse, and when it takes events again;
	// of an output that goes back and forth, no more than once in ten seconds. Calls come from the output's own goroutine, and
	// hold up nobody else.
	Tell func(line string)
}

// complete fills in the defaults.
func (c Config) complete() (Config, error) {
	if c.Output == nil {
		return c, errors.New("deliver: an output is missing")
	}
	c.Capacity = cmp.Or(c.Capacity, DefaultCapacity)
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	c.Batch = cmp.Or(c.Batch, min(DefaultBatch, c.Capacity/2))
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	switch {
	case c.MinBackoff == 0 && c.MaxBackoff == 0:
		c.MinBackoff, c.MaxBackoff = DefaultMinBackoff, DefaultMaxBackoff
	case c.MinBackoff == 0:
		c.MinBackoff = min(DefaultMinBackoff, c.MaxBackoff)
	case c.MaxBackoff == 0:
		c.MaxBackoff = max(DefaultMaxBackoff, c.MinBackoff)
	}
	var wrong string
	switch {
	case c.Capacity < 2:
		wrong = fmt.Sprintf("a queue for %d events: it takes 2 at least", c.Capacity)
	case c.MaxBytes < leastBytes:
		wrong = fmt.Sprintf("a queue of %d octets: it takes %d at least", c.MaxBytes, leastBytes)
	case c.Batch < 1 || c.Batch > c.Capacity/2:
		wrong = fmt.Sprintf("batches of %d events: 1 to %d, half of what the queue holds", c.Batch, c.Capacity/2)
	case c.MinBackoff < 0 || c.MaxBackoff < c.MinBackoff:
		wrong = fmt.Sprintf("pauses of %s to %s: the first must be positive and not above the second", c.MinBackoff, c.MaxBackoff)
	case c.Timeout < 0:
		wrong = fmt.Sprintf("a timeout of %s: it must be positive", c.Timeout)
	default:
		return c, nil
	}
	return c, fmt.Errorf("deliver: %s: %s", oneLine(c.Output.Name()), wrong)
}

// completeAll is complete for outputs that are to stand side by side.
func completeAll(outputs []Config) ([]Config, error) {
	all := make([]Config, len(outputs))
	names := make(map[string]bool)
	for i, c := range outputs {
		var err error
		if all[i], err = c.complete(); err != nil {
			return nil, err
		}
		name := c.Output.Name()
		if names[name] {
			return nil, fmt.Errorf("deliver: two outputs are called %s: give one of them another name", oneLine(name))
		}
		names[name] = true
	}
	return all, nil
}

// Stats is how an output fares.
type Stats struct {
	Name    string
	Kind    string // "lines", "webhook" or "otlp"; "other" for an Output that is none of this package's
	Queued  int    // events that wait, or are being sent
	Sent    uint64 // events that were taken
	Failed  uint64 // times that Send did not take a whole batch
	Retried uint64 // times that events had to be sent again
	Lost    uint64 // events that will not arrive: there was no room, or they were refused
	Refused uint64 // of Lost: those that the output would never take
	// LastError is why it last failed, on one line, though it may have recovered since; "" if it never did.
	LastError string
	// Down is since when it has taken nothing, the zero Time while it works. One that neither takes a batch nor fails counts
	// once its timeout is over.
	Down time.Time
}

// Dispatcher hands events to outputs. Its methods may be called concurrently.
type Dispatcher struct {
	start string // which start of the agent this is

	mu      sync.Mutex
	number  uint64 // of the last event
	workers []*worker
	retired []*worker // empty their queues, and are gone
	closed  bool
}

// New begins to serve outputs.
func New(outputs ...Config) (*Dispatcher, error) {
	outputs, err := completeAll(outputs)
	if err != nil {
		return nil, err
	}
	var start [8]byte
	crand.Read(start[:]) // it never fails
	d := &Dispatcher{start: hex.EncodeToString(start[:])}
	for _, c := range outputs {
		d.workers = append(d.workers, begin(c))
	}
	return d, nil
}

// Start tells this start of the agent apart from all others: the first part of each event's ID.
func (d *Dispatcher) Start() string { return d.start }

// Put queues events for every output, and waits for none. They are serialised once, whatever the number of outputs; what it
// costs does not depend on how full the queues are. After Close it counts them as lost.
func (d *Dispatcher) Put(events []diagnosis.Event) {
	if len(events) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.workers) == 0 {
		return
	}
	items := make([]*Item, len(events))
	for i := range events {
		d.number++
		items[i] = newItem(d.start+"-"+strconv.FormatUint(d.number, 10), &events[i])
	}
	for _, w := range d.workers {
		w.put(items, d.closed)
	}
}

// Reload serves these outputs from now on, or none of them and returns an error. One of the same name as before takes over
// the queue and the counts. One that is no longer among them is left when its queue is empty, or after its timeout; what
// it has not taken by then is lost.
func (d *Dispatcher) Reload(outputs ...Config) error {
	outputs, err := completeAll(outputs)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("deliver: closed")
	}
	before := make(map[string]*worker)
	for _, w := range d.workers {
		before[w.name] = w
	}
	d.workers = nil
	for _, c := range outputs {
		w := before[c.Output.Name()]
		if w == nil {
			w = begin(c)
		} else {
			delete(before, w.name)
			w.change(c)
		}
		d.workers = append(d.workers, w)
	}
	for _, w := range before {
		d.retired = append(d.retired, w)
		go d.retire(w)
	}
	return nil
}

func (d *Dispatcher) retire(w *worker) {
	w.drain()
	timer := time.AfterFunc(w.settings().Timeout, w.cancel)
	defer timer.Stop()
	<-w.done
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.retired {
		if d.retired[i] == w {
			d.retired = append(d.retired[:i], d.retired[i+1:]...)
			return
		}
	}
}

// Stats returns how each output fares, in the order of their configuration.
func (d *Dispatcher) Stats() []Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Stats, 0, len(d.workers))
	for _, w := range d.workers {
		all = append(all, w.stats())
	}
	return all
}

// Close takes in nothing more and sends what is queued, as long as ctx allows. If something is left then, it returns an
// error that says how much, for which output and why. It does not wait for an output beyond ctx.
func (d *Dispatcher) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	workers := append(append([]*worker(nil), d.workers...), d.retired...)
	d.mu.Unlock()
	for _, w := range workers {
		w.drain()
	}
	var left []string
	for _, w := range workers {
		select {
		case <-w.done:
		case <-ctx.Done():
		}
		w.cancel()
		s := w.stats()
		if s.Queued == 0 {
			continue
		}
		text := fmt.Sprintf("%s: %d", oneLine(s.Name), s.Queued)
		if s.LastError != "" && !s.Down.IsZero() {
			text += " (" + s.LastError + ")"
		}
		left = append(left, text)
	}
	if left == nil {
		return nil
	}
	return errors.New("deliver: events that were not delivered: " + strings.Join(left, "; "))
}

// worker serves one output.
type worker struct {
	name   string
	ctx    context.Context // ends when nothing is to be sent any more
	cancel context.CancelFunc
	wake   chan struct{} // there is something new; has room for one
	hurry  chan struct{} // there is another output, which has earned no pause; has room for one
	closed chan struct{} // closed when what is queued is all there will be
	once   sync.Once
	done   chan struct{} // closed when it has ended

	mu       sync.Mutex
	config   Config
	queue    queue
	limit    int // events in the next batch
	failures int // since something was taken
	began    time.Time
	left     []io.Closer // outputs that others have replaced, and that may be in use
	mood     mood
	Stats
}

func begin(c Config) *worker {
	w := &worker{
		name: c.Output.Name(), config: c, limit: c.Batch, queue: queue{capacity: c.Capacity, most: c.MaxBytes},
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), closed: make(chan struct{}), done: make(chan struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	go w.run()
	return w
}

func (w *worker) put(items []*Item, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if closed {
		w.Lost += uint64(len(items))
		return
	}
	for _, item := range items {
		w.Lost += uint64(w.queue.push(item))
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// change goes on with another output of the same name.
func (w *worker) change(c Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.config.Output.(io.Closer); ok && w.config.Output != c.Output {
		w.left = append(w.left, old)
	}
	w.config, w.limit = c, c.Batch
	w.queue.capacity, w.queue.most = c.Capacity, c.MaxBytes
	w.Lost += uint64(w.queue.makeRoom())
	w.failures = 0
	select {
	case w.hurry <- struct{}{}:
	default:
	}
}

func (w *worker) settings() Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.config
}

// drain has it end once its queue is empty.
func (w *worker) drain() { w.once.Do(func() { close(w.closed) }) }

func (w *worker) stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.Stats
	s.Name, s.Kind, s.Queued = w.name, kindOf(w.config.Output), w.queue.len()
	if s.Down.IsZero() && !w.began.IsZero() && time.Since(w.began) > w.config.Timeout {
		s.Down = w.began
		s.LastError = "it has been at the same batch since " + w.began.UTC().Format(time.RFC3339)
	}
	return s
}

func kindOf(o Output) string {
	switch o.(type) {
	case *Lines:
		return "lines"
	case *Webhook:
		return "webhook"
	case *OTLP:
		return "otlp"
	}
	return "other"
}

// run sends what is queued until there is nothing more to come, or ctx ends.
func (w *worker) run() {
	defer close(w.done)
	defer w.closeOutputs()
	closed := w.closed // nil once it has cut a pause short
	for w.await() {
		batch, c := w.take()
		ctx, cancel := context.WithTimeout(w.ctx, c.Timeout)
		err := c.Output.Send(ctx, batch)
		if err != nil && errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", c.Timeout)
		}
		cancel()
		if w.ctx.Err() != nil && err != nil {
			w.giveBack(batch)
			return
		}
		pause, asked := w.settle(batch, c, err)
		if line := w.mood.after(err, len(batch)); line != "" && c.Tell != nil {
			c.Tell(oneLine(w.name) + ": " + line)
		}
		if pause == 0 {
			continue
		}
		cut := closed
		if asked {
			cut = nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-w.hurry:
		case <-cut:
			closed = nil
		case <-w.ctx.Done():
		}
		timer.Stop()
	}
}

// await waits until there is something to send. It returns false when there is nothing more to do.
func (w *worker) await() bool {
	for {
		if w.ctx.Err() != nil {
			return false
		}
		w.mu.Lock()
		waiting := w.queue.len() > 0
		w.mu.Unlock()
		if waiting {
			return true
		}
		select {
		case <-w.closed:
			return false
		default:
		}
		select {
		case <-w.wake:
		case <-w.closed:
		case <-w.ctx.Done():
		}
	}
}

func (w *worker) take() ([]*Item, Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
	return w.queue.take(w.limit, batchOctets), w.config
}

func (w *worker) giveBack(batch []*Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Time{}
	w.queue.settle(batch)
}

// settle takes note of how a Send ended, and returns how long to wait before the next, and whether the receiver asked for it.
func (w *worker) settle(batch []*Item, c Config, err error) (pause time.Duration, asked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	began := w.began
	w.began = time.Time{}
	var (
		permanent *Permanent
		partial   *Partial
		later     *Later
		back      []*Item
		taken     = len(batch)
	)
	if err != nil {
		w.LastError = oneLine(err.Error())
		w.Failed++
	}
	switch {
	case err == nil:
	case errors.As(err, &permanent):
		rejected := permanent.Rejected
		if rejected <= 0 || rejected > len(batch) {
			rejected = len(batch)
		}
		if permanent.Divide && rejected == len(batch) && len(batch) > 1 {
			taken, back = 0, batch
			w.limit = len(batch) / 2
			w.Retried += uint64(len(back))
			break
		}
		taken -= rejected
		w.Lost += uint64(rejected)
		w.Refused += uint64(rejected)
	default:
		taken = 0
		if errors.As(err, &partial) {
			taken = min(max(partial.Sent, 0), len(batch))
		}
		back = batch[taken:]
		w.Retried += uint64(len(back))
		if taken > 0 {
			w.failures = 0
		}
		w.failures++
		pause = backoff(c, w.failures)
		if errors.As(err, &later) && later.After > pause {
			pause, asked = min(later.After, longestPause), true
		}
	}
	w.Sent += uint64(taken)
	switch {
	case err == nil:
		w.failures, w.Down = 0, time.Time{}
		w.limit = min(2*w.limit, w.config.Batch)
	case taken > 0:
		w.Down = time.Time{}
	case w.Down.IsZero():
		w.Down = began
	}
	w.queue.settle(back)
	// Smaller settings may have come while these were out.
	w.Lost += uint64(w.queue.makeRoom())
	if w.config.Output != c.Output {
		pause, asked = 0, false
	}
	return pause, asked
}

// backoff is the pause after so many failures in a row.
func backoff(c Config, failures int) time.Duration {
	pause := c.MinBackoff
	for i := 1; i < failures && pause < c.MaxBackoff; i++ {
		pause *= 2
	}
	pause = min(pause, c.MaxBackoff)
	return pause - rand.N(pause/2+1)
}

func (w *worker) closeOutputs() {
	w.mu.Lock()
	all := w.left
	if last, ok := w.config.Output.(io.Closer); ok {
		all = append(all, last)
	}
	w.mu.Unlock()
	for _, c := range all {
		c.Close() // nothing is sent any more: there is nobody to tell
	}
}
