package deliver

import (
	"bytes"
	"context"
	"io"
)

// Lines writes events as JSON lines, for journald and whatever ships logs.
type Lines struct {
	name string
	to   io.Writer
	text []byte
	torn bool // the last line that was written has no end
}

// NewLines returns an output that writes to to, which it does not close. A write cannot be given up: while a pipe is full
// that nobody reads, it waits, beyond any timeout.
func NewLines(name string, to io.Writer) *Lines { return &Lines{name: name, to: to} }

// Name returns the name that was given.
func (l *Lines) Name() string { return l.name }

// Send writes the batch at once. What a write that failed has torn is a line by itself, and its event follows again, whole.
func (l *Lines) Send(_ context.Context, batch []*Item) error {
	l.text = l.text[:0]
	if l.torn {
		l.text = append(l.text, '\n')
	}
	start := len(l.text)
	for _, item := range batch {
		l.text = append(append(l.text, item.JSON...), '\n')
	}
	n, err := l.to.Write(l.text)
	if err == nil && n < len(l.text) {
		err = io.ErrShortWrite
	}
	if err == nil {
		l.torn = false
		return nil
	}
	if n = min(max(n, 0), len(l.text)); n == 0 {
		return err
	}
	l.torn = l.text[n-1] != '\n'
	return &Partial{Err: err, Sent: bytes.Count(l.text[min(start, n):n], []byte{'\n'})}
}
