// Package livepage shows a browser what a capture holds now, and keeps that up to date.
package livepage

import (
	"context"
	"embed"
	"html/template"
	"slices"
	"sync"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/report/page"
	"tcpleak/screen"
)

// Config says whose page it is.
type Config struct {
	Host, Version string         // of the agent; Host may be ""
	Zone          *time.Location // of the times that are shown; nil is UTC
	// Ask answers what a Screen may ask, too. It is called concurrently. An error means that there is no answer now.
	Ask func(context.Context, screen.Query) (screen.Frame, error)
}

// Judgement is what holds at a moment. Nothing in it may be changed afterwards.
type Judgement struct {
	screen.Capture
	Quality  diagnosis.Quality
	Counts   diagnosis.Counts
	Bytes    int    // of memory that the connections take
	Evicted  uint64 // connections that were forgotten
	Findings []diagnosis.Finding
	Events   []diagnosis.Event // what has changed
}

const (
	// updateEvery is how often browsers are told what has changed, at most.
	updateEvery = 500 * time.Millisecond
	// maxStreams is how many browsers are told at a time. More are asked to come again.
	maxStreams = 32
	// maxLog is how many events are remembered.
	maxLog = 30
)

// Page is a page and those who look at it. It is safe for concurrent use.
type Page struct {
	cfg  Config
	wake chan struct{} // there is something new, and somebody to tell it to
	done chan struct{}
	// writeWithin is how long a browser may take to read. One that does not is left.
	writeWithin time.Duration

	mu      sync.Mutex
	closed  bool
	last    *Judgement // nil before the first
	rate    rate
	history history
	log     []diagnosis.Event // the newest last
	streams map[*stream]struct{}
	sent    [numParts][]byte // what all that listen have been told, or will be
}

// New returns a page that has nothing to show yet.
func New(cfg Config) *Page {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	p := &Page{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{}), writeWithin: writeWithin, streams: make(map[*stream]struct{})}
	go p.publish()
	return p
}

// Close ends the streams. It may be called more than once.
func (p *Page) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.done)
	}
}

// Judge takes note of j. It takes microseconds, whoever looks at the page: what they see is made elsewhere.
func (p *Page) Judge(j Judgement) {
	p.mu.Lock()
	p.last = &j
	p.rate.advance(j.Now, j.Packets)
	p.history.add(j.Now, &j.Counts)
	for _, e := range j.Events[max(len(j.Events)-maxLog, 0):] {
		// What the log does not show may be much.
		e.Finding.Connections, e.Finding.Begins, e.Finding.Evidence, e.Finding.Holders = nil, nil, nil, nil
		p.log = append(p.log, e)
	}
	p.log = slices.Delete(p.log, 0, max(len(p.log)-maxLog, 0))
	watched := len(p.streams) > 0
	p.mu.Unlock()
	if watched {
		p.tell()
	}
}

func (p *Page) tell() {
	select {
	case p.wake <- struct{}{}:
	default: // it is to be told already
	}
}

// moment is what the page holds at a moment; it shares nothing that changes.
type moment struct {
	*Judgement
	perSecond float64
	history   history
	log       []diagnosis.Event
}

// now returns what holds; false before the first judgement.
func (p *Page) now() (moment, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return moment{}, false
	}
	m := moment{p.last, p.rate.perSecond, p.history, slices.Clone(p.log)}
	m.history.points = slices.Clone(p.history.points)
	return m, true
}

// rate is how many packets arrive.
type rate struct {
	since     int64 // ns since 1970; 0 before the first
	packets   uint64
	perSecond float64
}

func (r *rate) advance(now int64, packets uint64) {
	elapsed := now - r.since
	switch {
	case r.since == 0:
		r.since, r.packets = now, packets
	case elapsed >= int64(time.Second):
		r.perSecond = float64(packets-r.packets) / time.Duration(elapsed).Seconds()
		r.since, r.packets = now, packets
	}
}

//go:embed page.html page.css page.js icon.svg
var files embed.FS

var layout = template.Must(template.New("page.html").ParseFS(files, "page.html"))

// file returns one of the files, which are there.
func file(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return b
}

// sheet is the style of a report, and what this page has beyond.
var sheet = append([]byte(page.Style()), file("page.css")...)
