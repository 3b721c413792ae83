package capture

import (
	"io"
	"os"
)

// interruptible reads a pipe in a goroutine of its own, so that Close ends a Read that waits for bytes which may never
// come. The goroutine itself ends when the pipe next has something to say, or with the process.
type interruptible struct {
	chunks chan chunk
	spent  chan []byte // buffers to use again
	done   <-chan struct{}
	buf    []byte // of rest
	rest   []byte
	err    error
}

type chunk struct {
	b   []byte
	err error
}

func newInterruptible(r io.Reader, done <-chan struct{}) *interruptible {
	const buffers = 4
	i := &interruptible{chunks: make(chan chunk, buffers), spent: make(chan []byte, buffers), done: done}
	for range buffers {
		i.spent <- make([]byte, 64<<10)
	}
	go i.run(r)
	return i
}

func (i *interruptible) run(r io.Reader) {
	for {
		var c chunk
		select {
		case c.b = <-i.spent:
		case <-i.done:
			return
		}
		var n int
		n, c.err = r.Read(c.b)
		c.b = c.b[:n]
		select {
		case i.chunks <- c:
		case <-i.done:
			return
		}
		if c.err != nil {
			return
		}
	}
}

// Read returns os.ErrClosed once done is closed, even if there is more to read.
func (i *interruptible) Read(b []byte) (int, error) {
	if len(i.rest) == 0 {
		if i.buf != nil {
			i.spent <- i.buf[:cap(i.buf)]
			i.buf = nil
		}
		if i.err != nil {
			return 0, i.err
		}
		select {
		case c := <-i.chunks:
			i.buf, i.rest, i.err = c.b, c.b, c.err
		case <-i.done:
			return 0, os.ErrClosed
		}
	}
	n := copy(b, i.rest)
	i.rest = i.rest[n:]
	if len(i.rest) == 0 && i.err != nil {
		return n, i.err
	}
	return n, nil
}
