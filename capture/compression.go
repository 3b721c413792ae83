package capture

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the most memory that a zstd stream may ask for: what the zstd program itself grants by default.
const maxZstdWindow = 128 << 20

// decompress returns a window on what r holds, uncompressed, and the name of the compression or "". release ends what
// the decompressor has running.
func decompress(r io.Reader) (w *window, compression string, release func(), err error) {
	w = newWindow(r)
	release = func() {}
	h, err := w.peek(4)
	if err != nil && !ended(err) {
		return nil, "", nil, err
	}
	if len(h) < 4 {
		return w, "", release, nil
	}
	magic := binary.LittleEndian.Uint32(h)
	switch {
	case magic&0xffffff == 0x088b1f:
		z, err := gzip.NewReader(w)
		if err != nil {
			if ended(err) {
				err = &truncation{"the gzip header", 0}
			}
			return nil, "", nil, broken("gzip", err)
		}
		return newWindow(compressed{z, "gzip"}), "gzip", release, nil
	case magic == 0xfd2fb528, magic&^0xf == 0x184d2a50: // a frame, or one to skip
		z, err := zstd.NewReader(w, zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, "", nil, broken("zstd", err)
		}
		return newWindow(compressed{z, "zstd"}), "zstd", z.Close, nil
	}
	return w, "", release, nil
}

// compressed names the format in what goes wrong in a decompressor, which often does not say.
type compressed struct {
	r    io.Reader
	name string
}

func (c compressed) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	return n, broken(c.name, err)
}

// broken leaves alone what says that the stream is over.
func broken(name string, err error) error {
	if err == nil || err == io.EOF || ended(err) {
		return err
	}
	return fmt.Errorf("the %s data is damaged (%w): test it with %s -t", name, err, name)
}
