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

	page = 4 << 10
)

// window looks at a stream of bytes through one buffer that moves forward, a page at least. It never holds more than
// maxWindow and a page, whatever lengths the stream claims.
//
// Whole pages, because then a file's octets lie as they do in the kernel's. Where a copy begins up to 63 octets further into
// its page than the original, AMD's Zen copies at a fifth of the speed: reads of a capture of whole packets, all of that
// kind, take 370 ns a packet instead of 75. Without regard to pages a read in sixty is of that kind, or with bad luck each.
type window struct {
	r      io.Reader
	buf    []byte
	pos    int
	end    int
	offset int64 // of buf[0] in the stream, in whole pages
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
	// What is left moves forward by pages.
	into := w.pos % page
	pages := w.pos - into
	buf := w.buf
	if into+n > len(buf) {
		w.buf = make([]byte, min(max(into+n+page-1, 2*len(buf)), maxWindow+page)/page*page)
	}
	copy(w.buf[into:], buf[w.pos:w.end])
	w.offset += int64(pages)
	w.pos -= pages
	w.end -= pages
	for empty := 0; w.end-w.pos < n && w.err == nil; {
		got, err := w.r.Read(w.buf[w.end:])
		w.end += got
		w.err = err
		if got > 0 {
			empty = 0
		} else if empty++; empty == 100 && err == nil {
			w.err = io.ErrNoProgress
		}
	}
	if w.end-w.pos < n {
		return w.buf[w.pos:w.end], w.err
	}
	return w.buf[w.pos : w.pos+n], nil
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
