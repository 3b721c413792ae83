package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"tcpleak/tcp"
)

// CopyPackets reads the files of s once more and writes to w, octet for octet, those packets whose tcp.Segment.Packet keep
// accepts, and returns how many they are. It goes as far as s has been read, and s may be closed. As with Reopen, what came
// through a pipe is there only with Config.Spool.
//
// The output is a pcap file if the packets are all of one link type, otherwise pcapng. Nanoseconds are written if one of
// the packets may have some. Of a packet of more than 256 KiB the rest is left out, as everywhere.
//
// keep is asked about every packet in the order of their numbers; where the files are of several link types or pcapng, this
// happens twice. An error of w is returned as it is; any other says in one line what is wrong, and w then holds only some
// of the packets.
func CopyPackets(ctx context.Context, s Source, keep func(packet uint64) bool, w io.Writer) (packets uint64, err error) {
	files, err := reopenable(s)
	if err != nil {
		return 0, err
	}
	c := &copier{keep: keep, index: make(map[uint32]int)}
	again, err := files.openCopy(c)
	if err != nil {
		return 0, err
	}
	defer func() { again.Close() }()
	if len(c.met) > 1 || !again.allPcap() {
		if err := again.copyAll(ctx, s.Stats()); err != nil {
			return 0, err
		}
		again.Close()
		if again, err = files.openCopy(c); err != nil {
			return 0, err
		}
	} else {
		c.taps, c.nanos = c.met, c.metNanos
	}
	if len(c.taps) == 0 {
		c.taps = append(c.met, tapWritten{network: uint32(linkEthernet)})[:1]
	}
	for i, t := range c.taps {
		c.index[t.network] = i
	}
	c.out = newPacketWriter(w, newFileLayout(c.taps, c.nanos))
	if err := again.copyAll(ctx, s.Stats()); err != nil {
		return 0, err
	}
	return c.packets, c.out.flush()
}

// SavePackets is CopyPackets to a file; "-" is standard output. A file of that name is replaced when all is written, so
// that after a failure it is as it was; only what is no regular file, as a named pipe, is written to at once. None that s reads
// is written to.
func SavePackets(ctx context.Context, s Source, keep func(packet uint64) bool, name string) (packets uint64, err error) {
	if name == "-" {
		return CopyPackets(ctx, s, keep, namedWriter{os.Stdout, "standard output"})
	}
	files, err := reopenable(s)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return 0, fmt.Errorf("%s: is a directory: name a file in it to write to", name)
	case err == nil:
		for _, o := range files.origins {
			if os.SameFile(info, o.info) {
				return 0, fmt.Errorf("%s: is one of the captures that are read: name another file to write to", name)
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, writeError(name, err)
	}
	out, finish, err := create(name, info)
	if err != nil {
		return 0, writeError(name, err)
	}
	packets, err = CopyPackets(ctx, s, keep, namedWriter{out, name})
	return packets, finish(err)
}

// create opens a file to write to, which takes its name when it is finished without an error. Of what is not a regular
// file, as /dev/null or a named pipe, there is no second one to rename.
func create(name string, existing fs.FileInfo) (out *os.File, finish func(error) error, err error) {
	if existing != nil && !existing.Mode().IsRegular() {
		out, err = os.OpenFile(name, os.O_WRONLY, 0)
		return out, func(err error) error { return cmp.Or(err, writeError(name, out.Close())) }, err
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target // or the link would be replaced
	}
	for range 100 {
		out, err = os.OpenFile(fmt.Sprintf("%s.%08x.part", name, rand.Uint32()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return out, func(err error) error {
		if err == nil && existing != nil {
			err = writeError(name, out.Chmod(existing.Mode().Perm()))
		}
		err = cmp.Or(err, writeError(name, out.Close()))
		if err == nil {
			err = writeError(name, os.Rename(out.Name(), name))
		}
		if err != nil {
			os.Remove(out.Name())
		}
		return err
	}, nil
}

// namedWriter names the file in what goes wrong.
type namedWriter struct {
	out  *os.File
	name string
}

func (w namedWriter) Write(b []byte) (int, error) {
	n, err := w.out.Write(b)
	return n, writeError(w.name, err)
}

// writeError names the file that could not be written.
func writeError(name string, err error) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: cannot be written: %w: choose a directory that you may write to", name, err)
	}
	return fmt.Errorf("%s: cannot be written: %w", name, err)
}

// copier takes packets in place of the decoder.
type copier struct {
	keep     func(packet uint64) bool
	met      []tapWritten // of the files, as far as they were opened: one for each link type
	metNanos bool
	taps     []tapWritten // of the packets that are kept
	nanos    bool
	index    map[uint32]int // in taps, by network
	out      *packetWriter  // nil while it is only to be found out which link types are kept
	packets  uint64         // written
	err      error
}

// meet enters a tap of the files.
func (c *copier) meet(t *tap) {
	const enough = 2 // to know that they differ
	if len(c.met) == 0 || c.met[0].network != t.network && len(c.met) < enough {
		c.met = append(c.met, tapWritten{network: t.network})
	}
	c.metNanos = c.metNanos || t.nanos
}

// take is for packets of the same tap.
func (c *copier) take(records []record, on *tap, buf []byte) {
	for i := range records {
		p := &records[i]
		if c.err != nil || !c.keep(p.number) {
			continue
		}
		at, known := c.index[on.network]
		if c.out != nil {
			c.err = c.out.write(at, p.time, buf[p.at:][:p.kept], p.wire)
			c.packets++
			continue
		}
		if !known {
			c.index[on.network] = len(c.taps)
			c.taps = append(c.taps, tapWritten{network: on.network})
		}
		c.nanos = c.nanos || on.nanos
	}
}

// openCopy opens the files of s for c.
func (s *fileSource) openCopy(c *copier) (*fileSource, error) {
	again := newFileSource(s.names, s.origins, Config{})
	again.copier = c
	return again, again.openAll(false)
}

// allPcap reports whether all files are of the kind that has one link type, which is known from the beginning.
func (s *fileSource) allPcap() bool {
	for i := range s.stats.Sources {
		if format := s.stats.Sources[i].Format; format != "pcap" && format != "" {
			return false
		}
	}
	return true
}

// copyAll gives its copier the packets that another source has read before.
func (s *fileSource) copyAll(ctx context.Context, before Stats) error {
	batch := make([]tcp.Segment, len(s.records)) // never filled
	for s.packets < before.Packets && s.err == nil && s.copier.err == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.fill(batch, int(min(4096, before.Packets-s.packets)))
	}
	switch {
	case s.copier.err != nil:
		return s.copier.err
	case s.packets < before.Packets && s.err != io.EOF:
		return s.err
	case s.packets < before.Packets || s.totals.first != before.First || s.totals.last != before.Last:
		return errors.New("the captures have changed since they were first read: read a copy that nobody writes to")
	}
	return nil
}
