package capture

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Save says where a live source writes the packets that it reads, as tcpdump does with -w, -C and -W. The zero Save writes
// nothing. The first file is begun by the first Read. One that exists is overwritten.
//
// The file is pcap with nanoseconds, or pcapng where the interfaces differ in their link type; its packets are numbered as
// tcp.Segment.Packet. It is written as Read receives them, so after a crash it ends with the last batch. If it
// cannot be written any more, capturing goes on and Stats.SaveError says why; the file then ends with a whole packet.
type Save struct {
	Name  string // "-" is standard output: a broken pipe there ends the process, unless it ignores SIGPIPE
	Bytes int64  // once a file is larger, begin another: Name1, Name2 and so on; 0 is never
	Files int    // go round so many, with Bytes: Name0 to Name9, or Name00 to Name11; 0 is without end
}

func (s Save) check() error {
	switch {
	case s.Bytes < 0 || s.Files < 0:
		return errors.New("the size and the number of files to save to must not be negative")
	case s.Files > 0 && s.Bytes == 0:
		return errors.New("a number of files to save to needs the size at which to begin the next")
	case s.Name == "" && s.Bytes > 0:
		return errors.New("a size of files to save to needs their name")
	case s.Name == "-" && s.Bytes > 0:
		return errors.New("standard output cannot be split into files: save to a file with a name")
	}
	return nil
}

// fileName returns the name of the n-th file, from 0, as tcpdump gives it.
func (s Save) fileName(n int) string {
	digits := 0
	if s.Files > 0 {
		n %= s.Files
		for most := s.Files - 1; most > 0; most /= 10 {
			digits++
		}
	}
	if n == 0 && digits == 0 {
		return s.Name
	}
	return fmt.Sprintf("%s%0*d", s.Name, digits, n)
}

// saver writes to a Save. Its methods may be called at the same time.
type saver struct {
	Save
	layout *fileLayout

	writing sync.Mutex // which takes as long as the reader of a pipe likes
	name    string     // of the file, in messages
	size    int64      // of the file, in octets

	mu      sync.Mutex
	out     *os.File // changes with both locks held; nil when there is none to write to
	files   int      // begun
	packets uint64   // written
	err     error    // why no more are
}

// failed notes an error, unless there was one before.
func (s *saver) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = cmp.Or(s.err, err)
}

// start begins the first file.
func (s *saver) start() error {
	s.begin(0)
	return s.err
}

// begin begins the n-th file, from 0.
func (s *saver) begin(n int) {
	var out *os.File
	if s.Name == "-" {
		out, s.name = os.Stdout, "standard output"
	} else {
		var err error
		s.name = s.fileName(n)
		if out, err = os.OpenFile(s.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666); err != nil {
			s.failed(writeError(s.name, err))
			return
		}
	}
	s.size = 0
	s.mu.Lock()
	s.out = out
	s.files++
	s.mu.Unlock()
	s.write(s.layout.appendHeader(nil), 0)
}

// end closes the file.
func (s *saver) end() {
	if s.out != nil && s.out != os.Stdout {
		s.failed(writeError(s.name, s.out.Close()))
	}
	s.mu.Lock()
	s.out = nil
	s.mu.Unlock()
}

// add writes packets that are laid out as in the file.
func (s *saver) add(packets []byte) {
	s.writing.Lock()
	defer s.writing.Unlock()
	for len(packets) > 0 && s.out != nil {
		if s.Bytes > 0 && s.size > s.Bytes {
			s.end()
			if s.err == nil {
				s.begin(s.files)
			}
			continue
		}
		// Like tcpdump's, a file has one packet more than it has room for.
		n, count := 0, uint64(0)
		for n < len(packets) && (s.Bytes == 0 || s.size+int64(n) <= s.Bytes) {
			n += s.layout.packetLen(packets[n:])
			count++
		}
		s.write(packets[:n], count)
		packets = packets[n:]
	}
}

// write writes whole packets, or none after an error.
func (s *saver) write(b []byte, packets uint64) {
	n, err := s.out.Write(b)
	if err != nil {
		n, packets = s.whole(b[:n], packets)
	}
	s.size += int64(n)
	s.mu.Lock()
	s.packets += packets
	s.mu.Unlock()
	if err == nil {
		return
	}
	s.failed(writeError(s.name, err))
	if s.out != os.Stdout {
		_ = s.out.Truncate(s.size) // a pipe cannot be: its reader sees that it is cut off
	}
	s.end()
}

// whole returns how many octets of b, of which that many packets were to be written, are whole ones, and how many those are.
func (s *saver) whole(b []byte, packets uint64) (n int, count uint64) {
	for ; count < packets && len(b)-n >= pcapPacketHeaderLen; count++ {
		next := n + s.layout.packetLen(b[n:])
		if next > len(b) {
			break
		}
		n = next
	}
	return n, count
}

// close ends the file; what waits for the reader of a named pipe is given up after pipeGrace.
func (s *saver) close() {
	if s.Name == "-" {
		return // not ours to close, and nothing could end a write that waits
	}
	if !s.writing.TryLock() {
		s.mu.Lock()
		_ = s.out.SetWriteDeadline(time.Now().Add(pipeGrace)) // files have none
		s.mu.Unlock()
		s.writing.Lock()
	}
	defer s.writing.Unlock()
	s.end()
}

const pipeGrace = 500 * time.Millisecond

// enter adds to a source's statistics.
func (s *saver) enter(stats *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Saved, stats.SavedFiles = s.packets, s.files
	if s.err != nil {
		stats.SaveError = s.err.Error()
	}
}
