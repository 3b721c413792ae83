package capture

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"tcpleak/tcp"
)

// OpenFiles opens capture files as one stream, ordered by time. A name may be a pattern as in path.Match; a name that
// exists as it stands is never a pattern; "-" is standard input.
//
// A set of files is opened only as its turn comes: at first each is read up to its first packet, and then they are
// ordered by it. Files that overlap in time are merged packet by packet. A single pipe is not touched before the first
// Read, which may have to wait for it.
//
// What is written to a file after it was opened is not read.
func OpenFiles(names []string, cfg Config) (Source, error) {
	names, err := expand(names)
	if err != nil {
		return nil, err
	}
	if err := CheckFilter(cfg.Filter); err != nil {
		return nil, err
	}
	s := newFileSource(names, make(map[string]*origin), cfg)
	if err := s.openAll(cfg.Spool); err != nil {
		return nil, err
	}
	return s, nil
}

// Reopen opens the files of s once more, from their beginning and with the same filter, with their ids of encapsulations in
// another table: the two sources deliver the same, as far as s was opened. s may be in use or closed. What came through a
// pipe is there only with Config.Spool, as far as s has read it; an interface cannot be read again.
func Reopen(s Source, encaps *tcp.EncapTable) (Source, error) {
	files, err := reopenable(s)
	if err != nil {
		return nil, err
	}
	again := newFileSource(files.names, files.origins, Config{Filter: files.stats.Filter, Encaps: encaps})
	if err := again.openAll(false); err != nil {
		return nil, err
	}
	return again, nil
}

// reopenable returns s if its files can be read a second time.
func reopenable(s Source) (*fileSource, error) {
	files, ok := s.(*fileSource)
	if !ok {
		return nil, errors.New("packets of an interface pass by once: save them with -w FILE, and read that with -r FILE")
	}
	for _, name := range files.names {
		if err := files.origins[name].again(); err != nil {
			return nil, fmt.Errorf("%s: %w", displayName(name), err)
		}
	}
	return files, nil
}

func newFileSource(names []string, origins map[string]*origin, cfg Config) *fileSource {
	s := &fileSource{
		decoder: decoder{encaps: cfg.Encaps, learner: cfg.Names},
		done:    make(chan struct{}),
		filters: make(map[linkType]*filter),
		names:   names,
		origins: origins,
		cheap:   cfg.Filter == "",
	}
	s.stats.Filter = cfg.Filter
	return s
}

// openAll opens all files.
func (s *fileSource) openAll(spool bool) error {
	var files []*file
	for _, name := range s.names {
		f, err := s.inspect(name, len(s.names) == 1, spool)
		if err != nil {
			close(s.done)
			for _, open := range files {
				open.close()
			}
			return err
		}
		files = append(files, f)
	}
	slices.SortStableFunc(files, func(a, b *file) int { return cmp.Compare(a.first, b.first) })
	sources := make([]SourceStats, len(files))
	for i, f := range files {
		sources[i] = s.stats.Sources[f.index]
		f.index = i
	}
	s.stats.Sources = sources
	for _, f := range files {
		if !f.over {
			s.waiting = append(s.waiting, f)
		}
	}
	if slices.ContainsFunc(files, func(f *file) bool { return f.size < 0 }) {
		return nil
	}
	for _, f := range files {
		s.stats.BytesTotal += f.size
	}
	return nil
}

// expand turns names and patterns into the names of files, each once.
func expand(names []string) ([]string, error) {
	var all []string
	for _, name := range names {
		if name == "" {
			return nil, errors.New("the name of a capture file is empty: name one, or - for standard input")
		}
		_, err := os.Lstat(name)
		if name == "-" || err == nil || !strings.ContainsAny(name, "*?[") {
			all = append(all, name)
			continue
		}
		matches, err := filepath.Glob(name)
		if err != nil {
			return nil, fmt.Errorf("%s: not a valid pattern: close the bracket, or write \\[ for one in a name", name)
		}
		matches = slices.DeleteFunc(matches, func(match string) bool {
			info, err := os.Stat(match)
			return err == nil && info.IsDir()
		})
		if len(matches) == 0 {
			return nil, fmt.Errorf("%s: no file matches: check the directory with ls", name)
		}
		all = append(all, matches...)
	}
	if len(all) == 0 {
		return nil, errors.New("no capture file given: name one, or - for standard input")
	}
	seen := make(map[string]bool)
	return slices.DeleteFunc(all, func(name string) bool {
		again := seen[filepath.Clean(name)]
		seen[filepath.Clean(name)] = true
		return again
	}), nil
}

// fileSource merges files by time.
type fileSource struct {
	ledger
	decoder
	totals
	filters map[linkType]*filter
	names   []string
	origins map[string]*origin // by name
	cheap   bool               // to read again; as far as the files were opened
	read    atomic.Int64       // octets of the files, as they are stored
	waiting []*file            // by first packet, not yet reached
	active  []*file            // a heap, the file with the earliest packet first
	err     error              // why nothing more comes
	copier  *copier            // takes the packets as they are, undecoded; usually nil

	division *division  // nil if all segments are delivered
	records  [64]record // few enough that these and their headers stay in the first cache

	reading sync.Mutex // held by Read, so that Close closes no file under it
	done    chan struct{}
	once    sync.Once
}

// file is one input.
type file struct {
	name  string
	index int   // in Stats.Sources
	size  int64 // -1 if nobody knows, as with a pipe
	from  *origin
	again bool  // it has been read before, by another source
	first int64 // time of its first packet
	over  bool  // nothing is left to read

	packets packetReader // nil while it is closed
	head    packet       // the next to deliver
	count   uint64
	closers []func()
}

func (f *file) close() {
	for _, c := range slices.Backward(f.closers) {
		c()
	}
	f.closers, f.packets = nil, nil
}

// inspect finds out where a file belongs. Unless it is the only one or cannot be opened twice, it is closed again.
func (s *fileSource) inspect(name string, only, spool bool) (*file, error) {
	f := &file{name: name, index: len(s.stats.Sources)}
	s.stats.Sources = append(s.stats.Sources, SourceStats{Name: name})
	if f.from, f.again = s.origins[name]; !f.again {
		var err error
		if f.from, err = newOrigin(name, spool); err != nil {
			return nil, err
		}
		s.origins[name] = f.from
	}
	f.size = f.from.size
	if f.again && f.from.spool != nil {
		f.size = f.from.spool.size()
	}
	pipe := f.size < 0
	if f.size == 0 && !only {
		// The newest of a rotated set is empty until tcpdump flushes it: no reason to refuse the others.
		f.over, f.first = true, math.MaxInt64
		source := &s.stats.Sources[f.index]
		source.Truncated, source.Truncation = true, "it is empty"
		return f, nil
	}
	s.cheap = s.cheap && !pipe && name != "-"
	if pipe && only {
		f.first = math.MinInt64
		return f, nil
	}
	keep := only || pipe || name == "-"
	progress := &s.read
	if !keep {
		progress = new(atomic.Int64) // what is read twice counts once
	}
	if err := s.open(f, progress); err != nil {
		return nil, err
	}
	f.first = f.head.time
	if f.over {
		f.first = math.MaxInt64
	}
	if !keep {
		f.close()
		if f.over {
			s.read.Add(f.size)
		}
	}
	return f, nil
}

// open reads a file up to its first packet, or finds it over.
func (s *fileSource) open(f *file, progress *atomic.Int64) error {
	r, err := s.reader(f)
	if err != nil {
		return err
	}
	if err := s.start(f, &counter{r, progress}); err != nil {
		f.close()
		return fmt.Errorf("%s: %w", displayName(f.name), err)
	}
	if err := f.packets.next(&f.head); err != nil {
		return s.finish(f, err)
	}
	return nil
}

// reader opens a file.
func (s *fileSource) reader(f *file) (io.Reader, error) {
	if f.again {
		r, release, err := f.from.reopen(f.name, f.size)
		if err == nil {
			f.closers = append(f.closers, release)
		}
		return r, err
	}
	in := os.Stdin
	if f.name != "-" {
		var err error
		if in, err = os.Open(f.name); err != nil {
			return nil, fileError(f.name, err)
		}
		f.closers = append(f.closers, func() { in.Close() })
	}
	if f.size >= 0 {
		return io.LimitReader(in, f.size), nil
	}
	r := io.Reader(newInterruptible(in, s.done))
	if f.from.spool != nil {
		r = f.from.spool.tee(r)
	}
	return r, nil
}

// start makes f.packets read what r holds.
func (s *fileSource) start(f *file, r io.Reader) error {
	err := s.recognise(f, r)
	var cut *truncation
	if errors.As(err, &cut) {
		f.packets = brokenReader{cut}
		return nil
	}
	return err
}

// recognise finds out what r holds.
func (s *fileSource) recognise(f *file, r io.Reader) error {
	w, compression, release, err := decompress(r)
	if err != nil {
		return err
	}
	f.closers = append(f.closers, release)
	h, err := w.peek(4)
	if err != nil && !ended(err) {
		return err
	}
	newTap := func(network uint32, nanos bool) (*tap, error) { return s.tap(f, network, nanos) }
	format := "pcap"
	switch {
	case len(h) == 4 && binary.BigEndian.Uint32(h) == magicPcapng:
		format = "pcapng"
		f.packets = newPcapngReader(w, newTap, s.copier != nil)
	case len(h) == 4 && isPcap(h):
		f.packets, err = newPcapReader(w, newTap, s.copier != nil)
	default:
		err = notCapture(w)
	}
	s.mu.Lock()
	source := &s.stats.Sources[f.index]
	source.Format, source.Compression = format, compression
	s.mu.Unlock()
	s.cheap = s.cheap && compression == ""
	return err
}

// brokenReader stands for a file that ends within its header.
type brokenReader struct{ *truncation }

func (b brokenReader) next(*packet) error { return b.truncation }

func (brokenReader) ahead([]record, int64) (int, *tap, []byte) { return 0, nil, nil }

// tap notes that f has packets of a link type.
func (s *fileSource) tap(f *file, network uint32, nanos bool) (*tap, error) {
	link := linkType(network & 0xffff)
	s.mu.Lock()
	types := &s.stats.Sources[f.index].LinkTypes
	if !slices.Contains(*types, link.String()) && len(*types) < 100 {
		*types = append(*types, link.String())
	}
	s.mu.Unlock()
	t := &tap{link: link, network: network, nanos: nanos}
	if s.copier != nil {
		s.copier.meet(t)
	}
	if !link.supported() {
		return t, nil
	}
	var ok bool
	if t.filter, ok = s.filters[link]; !ok {
		var err error
		if t.filter, err = newFilter(link, s.stats.Filter); err != nil {
			return nil, err
		}
		s.filters[link] = t.filter
	}
	return t, nil
}

// Read implements Source.
func (s *fileSource) Read(batch []tcp.Segment) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	n := 0
	for n < len(batch) && s.err == nil {
		// A long stretch without TCP must neither hide progress nor hold up Close.
		const stretch = 4096
		n += s.fill(batch[n:], stretch)
		select {
		case <-s.done:
			s.err = os.ErrClosed
		default:
		}
		s.publish()
	}
	if n == 0 {
		return 0, s.err
	}
	return n, nil
}

// fill reads at most limit packets, and fewer if batch is full or s.err is set.
func (s *fileSource) fill(batch []tcp.Segment, limit int) (n int) {
	for ; limit > 0 && n < len(batch); limit-- {
		if len(s.waiting) > 0 && (len(s.active) == 0 || s.waiting[0].first <= s.active[0].head.time) {
			if s.err = s.activate(); s.err != nil {
				return n
			}
		}
		if len(s.active) == 0 {
			if len(s.waiting) == 0 {
				s.err = io.EOF
				return n
			}
			continue
		}
		f := s.active[0]
		p := &f.head
		s.records[0] = record{time: p.time, kept: uint32(len(p.data)), wire: p.wire}
		f.count++
		n += s.take(batch[n:], s.records[:1], p.on, p.data)
		// One by one is for files that overlap, and for the packet across the end of the buffer.
		skims := s.skims(f)
		for before := s.others(); n < len(batch); {
			if skims != nil {
				already := s.packets
				k := skims.skim(s.records[:min(len(s.records), len(batch)-n)], before, limit-1, s.division.wants, &s.totals)
				passed := s.packets - already
				f.count += passed
				limit -= int(passed)
				k = s.takeRun(batch[n:], s.records[:k], skims.on, skims.buf[:skims.end], true)
				s.segments += uint64(k)
				if n += k; n == len(batch) {
					break
				}
			}
			k, on, buf := f.packets.ahead(s.records[:min(len(s.records), len(batch)-n, limit-1)], before)
			if k == 0 {
				break
			}
			f.count += uint64(k)
			limit -= k
			n += s.take(batch[n:], s.records[:k], on, buf)
		}
		if err := f.packets.next(p); err != nil {
			if s.err = s.finish(f, err); s.err != nil {
				return n
			}
		}
		if f.over || len(s.active) > 1 {
			s.settle()
		}
	}
	return n
}

// skims returns the reader of f if s wants only parts of what it reads, and that is plain.
func (s *fileSource) skims(f *file) *pcapReader {
	r, ok := f.packets.(*pcapReader)
	if !ok || s.division == nil || s.copier != nil || r.on.link != linkEthernet || r.on.filter != nil {
		return nil
	}
	return r
}

// others returns the time of the earliest packet of any file but the first active one.
func (s *fileSource) others() int64 {
	t := int64(math.MaxInt64)
	if len(s.waiting) > 0 {
		t = s.waiting[0].first
	}
	for _, f := range s.active[1:min(3, len(s.active))] { // the heap's second row
		t = min(t, f.head.time)
	}
	return t
}

// take enters packets and what became of them, and returns how many segments they gave. batch has room for as many.
func (s *fileSource) take(batch []tcp.Segment, records []record, on *tap, buf []byte) (n int) {
	s.seenAll(records)
	switch plain := on.link == linkEthernet && on.filter == nil; {
	case s.copier != nil:
		s.copier.take(records, on, buf)
	case s.division == nil || !plain:
		n = s.takeRun(batch, records, on, buf, s.division == nil)
	default:
		for len(records) > 0 {
			var mine []record
			mine, records = s.pick(records, buf)
			n += s.takeRun(batch[n:], mine, on, buf, true)
			if len(records) > 0 {
				n += s.takeRun(batch[n:], records[:1], on, buf, false)
				records = records[1:]
			}
		}
	}
	s.segments += uint64(n)
	return n
}

// takeRun is take for packets of which the source wants all; or, if mine is false, those that turn out to be its own.
func (s *fileSource) takeRun(batch []tcp.Segment, records []record, on *tap, buf []byte, mine bool) (n int) {
	plain := mine && on.link == linkEthernet && on.filter == nil
	for i := 0; i < len(records); i++ {
		if plain {
			k := usual(batch[n:], records[i:], buf)
			if s.learner != nil {
				s.tellUsual(batch[n:n+k], records[i:i+k], buf)
			}
			n += k
			if i += k; i == len(records) {
				break
			}
		}
		p := &records[i]
		data := buf[p.at:][:p.kept]
		r := Filtered
		if on.filter == nil || on.filter.match(data, p.wire) {
			batch[n].Time, batch[n].Packet = p.time, p.number
			r = s.decode(&batch[n], on.link, data, p.wire)
		}
		switch {
		case r == decoded && (mine || s.division.wants.Has(batch[n].Part())):
			n++
		case r != decoded && (mine || s.division.first):
			s.skipped[r]++
		}
	}
	return n
}

// activate opens the file that is due.
func (s *fileSource) activate() error {
	f := s.waiting[0]
	s.waiting = s.waiting[1:]
	if f.packets == nil {
		if err := s.open(f, &s.read); err != nil {
			return err
		}
	}
	if f.over {
		return nil
	}
	s.active = append(s.active, f)
	for i := len(s.active) - 1; i > 0 && s.earlier(i, (i-1)/2); i = (i - 1) / 2 {
		s.active[i], s.active[(i-1)/2] = s.active[(i-1)/2], s.active[i]
	}
	return nil
}

// finish closes f, from which no packet came: at its end that is no error.
func (s *fileSource) finish(f *file, err error) error {
	f.close()
	f.over = true
	s.mu.Lock()
	source := &s.stats.Sources[f.index]
	source.Packets = f.count
	if err != io.EOF {
		source.Truncated, source.Truncation = true, err.Error()
	}
	s.mu.Unlock()
	var cut *truncation
	if err != io.EOF && !errors.As(err, &cut) {
		return fmt.Errorf("%s: %w", displayName(f.name), err)
	}
	return nil
}

// displayName is what messages call a file.
func displayName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// settle restores the heap after its first file has advanced.
func (s *fileSource) settle() {
	if s.active[0].over {
		last := len(s.active) - 1
		s.active[0], s.active[last] = s.active[last], nil
		s.active = s.active[:last]
	}
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.active); child++ {
			if s.earlier(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		s.active[i], s.active[least] = s.active[least], s.active[i]
		i = least
	}
}

// earlier reports whether the i-th file's next packet comes before the j-th's.
func (s *fileSource) earlier(i, j int) bool {
	a, b := s.active[i], s.active[j]
	return a.head.time < b.head.time || a.head.time == b.head.time && a.index < b.index
}

func (s *fileSource) publish() {
	s.post(&s.totals)
	s.mu.Lock()
	for _, f := range s.active {
		s.stats.Sources[f.index].Packets = f.count
	}
	s.mu.Unlock()
}

// Stats implements Source.
func (s *fileSource) Stats() Stats {
	stats := s.snapshot()
	stats.BytesRead = s.read.Load()
	s.division.addTo(&stats)
	return stats
}

// Close implements Source.
func (s *fileSource) Close() error {
	s.once.Do(func() { close(s.done) })
	s.reading.Lock()
	defer s.reading.Unlock()
	for _, f := range slices.Concat(s.waiting, s.active) {
		f.close()
	}
	s.waiting, s.active = nil, nil
	s.err = os.ErrClosed
	return nil
}

// counter counts what is read, which a decompressor does in a goroutine of its own.
type counter struct {
	r    io.Reader
	read *atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// fileError names the file once, and what to try.
func fileError(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no such file: check the name; a pattern must be quoted", name)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied: run as its owner or with sudo", name)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%s: too many open files, as those that overlap in time are open together: raise the limit with ulimit -n", name)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}
