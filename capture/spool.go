package capture

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// origin is what readings of the same file have in common. It does not change once the file has been inspected.
type origin struct {
	info  fs.FileInfo
	size  int64  // octets that are read of it, at most; -1 if nobody knows, as with a pipe
	spool *spool // where it is to be had again; nil for a file that has a name, and for a pipe that is not kept
}

// newOrigin finds out what kind of file a name stands for.
func newOrigin(name string, keep bool) (*origin, error) {
	info, err := os.Stdin.Stat()
	if name != "-" {
		info, err = os.Stat(name)
	}
	if err != nil {
		return nil, fileError(name, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s: is a directory: name the files in it, as '%s'", name, filepath.Join(name, "*"))
	}
	o := &origin{info: info, size: info.Size()}
	switch {
	case !info.Mode().IsRegular():
		o.size = -1
		if keep {
			if o.spool, err = newSpool(); err != nil {
				return nil, fmt.Errorf("%s: %w", displayName(name), err)
			}
		}
	case name == "-": // a file that has no name here, and of which the program before us may have read the beginning
		begin, err := os.Stdin.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fileError(displayName(name), err)
		}
		o.size = max(0, o.size-begin)
		o.spool = &spool{file: os.Stdin, begin: begin, kept: o.size}
	}
	return o, nil
}

// reopen opens, for another reading, the first size octets of what has been read of the file before.
func (o *origin) reopen(name string, size int64) (r io.Reader, release func(), err error) {
	if o.spool != nil {
		return io.NewSectionReader(o.spool.file, o.spool.begin, size), func() {}, nil
	}
	in, err := os.Open(name)
	if err != nil {
		return nil, nil, fileError(name, err)
	}
	if info, err := in.Stat(); err != nil || !os.SameFile(info, o.info) {
		in.Close()
		return nil, nil, fmt.Errorf("%s: is another file than when it was first read: read a copy that nobody rotates away", name)
	}
	return io.LimitReader(in, size), func() { in.Close() }, nil
}

// again returns an error if the file cannot be read a second time.
func (o *origin) again() error {
	switch {
	case o.spool != nil:
		return o.spool.failure()
	case o.size < 0:
		return errors.New("a pipe can be read only once: save what it carries to a file, and read that with -r FILE")
	}
	return nil
}

// spool keeps what passes through a pipe in a temporary file without a name: it is gone with the last source that can read
// it, and with the process at the latest.
type spool struct {
	file  *os.File
	begin int64 // where in file it begins

	mu   sync.Mutex
	kept int64 // octets
	err  error // why nothing more is kept
}

func newSpool() (*spool, error) {
	file, err := os.CreateTemp("", "tcpleak-*")
	if err == nil {
		err = os.Remove(file.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("no temporary file to keep it in for a second reading: %w: point TMPDIR to a directory that can be written", err)
	}
	return &spool{file: file}, nil
}

// tee returns a reader of r that keeps what it reads.
func (s *spool) tee(r io.Reader) io.Reader { return &spoolingReader{r, s} }

type spoolingReader struct {
	r     io.Reader
	spool *spool
}

func (t *spoolingReader) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	t.spool.add(b[:n])
	return n, err
}

// add keeps b. The first reading goes on if it cannot be kept.
func (s *spool) add(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	_, err := s.file.Write(b)
	if err == nil {
		s.kept += int64(len(b))
		return
	}
	dir := filepath.Dir(s.file.Name())
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	s.err = fmt.Errorf("could not be kept in %s for a second reading, after %d octets: %w: point TMPDIR to a directory with more room",
		dir, s.kept, err)
	s.file.Close() // gives back the room
}

// size returns how many octets are there.
func (s *spool) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

func (s *spool) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
