package capture

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

func TestWindowShowsTheStreamWhateverItsPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	stream := make([]byte, 3_000_000)
	for i := range stream {
		stream[i] = byte(r.Uint32())
	}
	for _, c := range []struct {
		name string
		most int // octets asked for
		r    io.Reader
	}{
		{"small", 2000, bytes.NewReader(stream)},
		{"as much as there is", firstWindow, bytes.NewReader(stream)},
		{"large", maxWindow, bytes.NewReader(stream)},
		{"in small pieces", 2000, iotestReader{bytes.NewReader(stream)}},
		{"large, in small pieces", maxWindow, iotestReader{bytes.NewReader(stream)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWindow(c.r)
			for {
				at := int(w.at())
				n := 1 + r.IntN(c.most)
				if r.IntN(8) == 0 {
					n = c.most
				}
				b, err := w.peek(n)
				if want := stream[at:min(at+n, len(stream))]; !bytes.Equal(b, want) {
					t.Fatalf("at %d: %d octets, want %d, or others", at, len(b), len(want))
				}
				if w.offset%page != 0 || len(w.buf)%page != 0 || len(w.buf) > maxWindow+page {
					t.Fatalf("at %d: the window has %d octets from %d", at, len(w.buf), w.offset)
				}
				if err != nil {
					if err != io.EOF || at+n <= len(stream) {
						t.Fatal(err)
					}
					return
				}
				if err := w.skip(int64(r.IntN(2 * n))); err != nil {
					if err != io.EOF || w.at() != int64(len(stream)) {
						t.Fatal(err)
					}
					return
				}
			}
		})
	}
}
