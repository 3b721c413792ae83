package capture

import (
	"errors"
	"io"
)

const (
	// maxPacket is how much of a packet is kept: libpcap's own limit, and enough for the largest offloaded segment.
	maxPacket = 256 << 10

	firstWindow = 128 << 10 // fits the processor's second cache, so that walking the headers rarely waits for memory
	maxWindow   = maxPacket + 4<<10
)

// window looks at a stream of bytes through one buffer that moves forward. It never holds more than maxWindow, whatever
// lengths the stream claims.
type window struct {
	r      io.Reader
	buf    []byte
	pos    int
	end    int
	offset int64 // of buf[0] in the stream
	err    error // why nothing more can be read, after what is buffered
}

func newWindow(r io.Reader) *window { return &window{r: r, buf: make([]byte, firstWindow)} }

// at returns the position in the stream.
func (w *window) at() int64 { return w.offset + int64(w.pos) }

// peek returns the next n octets, at most maxWindow, without moving on; fewer together with the error that ended the
// stream. They are valid until the next call of any method.
func (w *window) peek(n int) ([]byte, error) {
	if w.end-w.pos >= n {
		return w.buf[w.pos : w.pos+n], nil
	}
	return w.fill(n)
}

func (w *window) fill(n int) ([]byte, error) {
	if n > len(w.buf) {
		bigger := make([]byte, min(max(n, 2*len(w.buf)), maxWindow))
		copy(bigger, w.buf[w.pos:w.end])
		w.buf = bigger
	} else {
		copy(w.buf, w.buf[w.pos:w.end])
	}
	w.offset += int64(w.pos)
	w.end -= w.pos
	w.pos = 0
	for empty := 0; w.end < n && w.err == nil; {
		got, err := w.r.Read(w.buf[w.end:])
		w.end += got
		w.err = err
		if got > 0 {
			empty = 0
		} else if empty++; empty == 100 && err == nil {
			w.err = io.ErrNoProgress
		}
	}
	if w.end < n {
		return w.buf[:w.end], w.err
	}
	return w.buf[:n], nil
}

// skip moves n octets on, and reports the error that ended the stream before.
func (w *window) skip(n int64) error {
	for n > int64(w.end-w.pos) {
		n -= int64(w.end - w.pos)
		w.pos = w.end
		if _, err := w.peek(1); err != nil {
			return err
		}
	}
	w.pos += int(n)
	return nil
}

// Read drains the window, then its stream: for a decompressor, once the window has shown that one is needed.
func (w *window) Read(b []byte) (int, error) {
	if w.pos == w.end {
		if w.err != nil {
			return 0, w.err
		}
		return w.r.Read(b)
	}
	n := copy(b, w.buf[w.pos:w.end])
	w.pos += n
	return n, nil
}

// ended reports whether err means that the stream is over: io.EOF, or a compressed stream that breaks off.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
