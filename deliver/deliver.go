// Package deliver hands findings to outputs that may be slow or down, and loses none that its queues can hold.
//
// Each output has a queue and a goroutine of its own, so that one that is down delays neither the capture nor the other
// outputs. What is in a queue is in memory: it does not outlive the process.
package deliver

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"tcpleak/diagnosis"
	"tcpleak/report"
)

// Output is where events go. Send is called by one goroutine at a time. It delivers a batch, in order and with at least one
// item, or returns why it could not: a *Permanent for what would not be taken another time either, a *Partial for a batch of
// which the beginning was taken, a *Later where the receiver says when to try again. Any other error means that the whole batch
// is to be tried again. An output that is also an io.Closer is closed when nothing is sent to it any more.
//
// Send should return when ctx ends. One that does not delays nobody but itself.
type Output interface {
	// Name tells the output apart from others, on one line, without secrets.
	Name() string
	Send(ctx context.Context, batch []*Item) error
}

// Item is an event on its way. All outputs share it: it must not be changed.
type Item struct {
	// ID is the event's own: the start of the agent, 16 hexadecimal digits, and the number of the event since, from 1. A
	// receiver that has seen an ID has seen the event: it is sent again when an answer was lost.
	ID string
	// JSON is the event as report.EventJSON writes it, with the ID as "id", and without the line's end.
	JSON []byte
	// Event is the same without what only JSON lists: connections and evidence.
	Event diagnosis.Event

	size int // octets that it takes in memory, about
}

// newItem serialises an event once for all outputs.
func newItem(id string, e *diagnosis.Event) *Item {
	line := bytes.NewBuffer(make([]byte, 0, 2048+8*len(e.Finding.Connections)))
	fmt.Fprintf(line, `{"id":%q,`, id) // an ID has nothing to escape
	begin := line.Len()
	report.EventJSON(line, e) // a Buffer takes everything
	text := line.Bytes()
	copy(text[begin:], text[begin+1:]) // the object's own brace
	text = bytes.TrimRight(text[:len(text)-1], "\n")

	item := &Item{ID: id, JSON: text, Event: *e}
	f := &item.Event.Finding
	f.Connections, f.Begins, f.Evidence = nil, nil, nil
	const fixed = 1024 // the structures themselves
	item.size = fixed + cap(text) + len(id) + len(f.Summary) + len(f.Cause) + len(f.Next) + len(f.Command)
	for _, h := range f.Holders {
		item.size += 80 + len(h.Name) + len(h.Command) + len(h.Container)
	}
	return item
}

// Permanent is why a batch, or a part of it, will never be taken.
type Permanent struct {
	Err error
	// Rejected is how many of the batch were not taken; 0 stands for all.
	Rejected int
	// Divide: it may be the size of the batch, or one event in it. Halves are tried then, down to single events.
	Divide bool
}

func (e *Permanent) Error() string { return e.Err.Error() }
func (e *Permanent) Unwrap() error { return e.Err }

// Partial is why only the first Sent of a batch were taken.
type Partial struct {
	Err  error
	Sent int
}

func (e *Partial) Error() string { return e.Err.Error() }
func (e *Partial) Unwrap() error { return e.Err }

// Later is an error with the time that the receiver asks to be left alone for.
type Later struct {
	Err   error
	After time.Duration
}

func (e *Later) Error() string { return e.Err.Error() }
func (e *Later) Unwrap() error { return e.Err }

// longestText bounds what is kept of an error, in octets: receivers answer with whole pages.
const longestText = 300

// oneLine is s fit for a line of a log or a page.
func oneLine(s string) string {
	s = report.Clean(strings.Join(strings.Fields(s), " "))
	if len(s) <= longestText {
		return s
	}
	cut := longestText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
