package livepage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// What is sent has parts, each of which replaces the one before: who has missed some goes on with the newest.
const (
	headPart = iota
	findingsPart
	chartPart
	numParts
)

// The names of the parts' events.
var partNames = [numParts]string{"head", "findings", "chart"}

const (
	// heartbeat is how long nothing is sent at most, so that whoever lies between does not take the stream for dead.
	heartbeat   = 15 * time.Second
	writeWithin = 10 * time.Second
	// retryAfter is how long a browser waits before it comes again.
	retryAfter = 3 * time.Second
)

// stream is a browser that is told what changes.
type stream struct {
	wake chan struct{}

	mu      sync.Mutex
	pending [numParts][]byte // to be sent; nil is nothing
}

func (s *stream) put(part int, event []byte) {
	s.mu.Lock()
	s.pending[part] = event
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be sent.
func (s *stream) take() (events [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part, event := range s.pending {
		if event != nil {
			events = append(events, event)
			s.pending[part] = nil
		}
	}
	return events
}

// publish makes, when there is something new, what browsers are told, once for all of them.
func (p *Page) publish() {
	for {
		select {
		case <-p.wake:
		case <-p.done:
			return
		}
		m, ok := p.now()
		if !ok {
			continue
		}
		for part, value := range [numParts]any{p.head(&m), p.findings(&m), p.chart(&m)} {
			p.send(part, value)
		}
		select {
		case <-time.After(updateEvery):
		case <-p.done:
			return
		}
	}
}

// send tells all who listen of a part, if it has changed.
func (p *Page) send(part int, value any) {
	event := eventOf(part, value)
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes.Equal(event, p.sent[part]) {
		return
	}
	p.sent[part] = event
	for s := range p.streams {
		s.put(part, event)
	}
}

func eventOf(part int, value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // the types are those of this package, and each can be written
	}
	// There is no line break in it: JSON writes one as \n.
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", partNames[part], data)
}

// listen adds a stream; false if there are too many. What the others know it is told at once.
func (p *Page) listen() (*stream, bool) {
	s := &stream{wake: make(chan struct{}, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.streams) >= maxStreams {
		return nil, false
	}
	if len(p.streams) == 0 {
		p.sent = [numParts][]byte{} // it is old
	}
	p.streams[s] = struct{}{}
	for part, event := range p.sent {
		if event != nil {
			s.put(part, event)
		}
	}
	if p.last != nil {
		p.tell()
	}
	return s, true
}

func (p *Page) leave(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, s)
}

// events is the stream of what changes.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	s, ok := p.listen()
	if !ok {
		w.Header().Set("Retry-After", "10")
		http.Error(w, fmt.Sprintf("%d pages are open already", maxStreams), http.StatusServiceUnavailable)
		return
	}
	defer p.leave(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait until it has much
	out := http.NewResponseController(w)
	send := func(text ...[]byte) bool {
		// The server's own limit is for answers that end. Where there is none to set, a request's end is all that ends it.
		_ = out.SetWriteDeadline(time.Now().Add(p.writeWithin))
		for _, b := range text {
			if _, err := w.Write(b); err != nil {
				return false
			}
		}
		return out.Flush() == nil
	}
	if !send(fmt.Appendf(nil, "retry: %d\n\n", retryAfter.Milliseconds())) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-s.wake:
			if !send(s.take()...) {
				return
			}
			beat.Reset(heartbeat)
		case <-beat.C:
			if !send([]byte(": still here\n\n")) {
				return
			}
		case <-r.Context().Done():
			return
		case <-p.done:
			return
		}
	}
}
