package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/tcp"
)

// at returns a file with one segment at each of the times, told apart by the sequence number.
func at(t testing.TB, times ...int64) []byte {
	var recs []rec
	for _, at := range times {
		f := frame4(t)
		f[41] = byte(at)
		recs = append(recs, rec{time: at * 1e9, data: f})
	}
	return ethernetFile(recs...)
}

// seconds returns the times of segments, and checks that they are numbered from 1.
func seconds(t testing.TB, segments []tcp.Segment) []int64 {
	var s []int64
	for i, segment := range segments {
		s = append(s, segment.Time/1e9)
		diff(t, "packet number", uint64(i+1), segment.Packet)
		diff(t, "the packet's own octets", byte(segment.Time/1e9), byte(segment.Seq))
	}
	return s
}

// directory fills a directory with files and returns their full names.
func directory(t testing.TB, files map[string][]byte) func(name string) string {
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

func TestFilesAreOneStreamInTheOrderOfTime(t *testing.T) {
	in := directory(t, map[string][]byte{
		"c": at(t, 7, 8), "a": at(t, 9), "b": gzipped(t, at(t, 1, 2, 3)), "empty": at(t),
	})
	segments, stats := readAll(t, open(t, in("empty"), in("c"), in("a"), in("b")))
	diff(t, "times", []int64{1, 2, 3, 7, 8, 9}, seconds(t, segments))
	var names []string
	for _, s := range stats.Sources {
		names = append(names, fmt.Sprint(filepath.Base(s.Name), " ", s.Packets))
	}
	diff(t, "sources", []string{"b 3", "c 2", "a 1", "empty 0"}, names)
	diff(t, "bytes", stats.BytesTotal, stats.BytesRead)
}

func TestFilesThatOverlapAreMerged(t *testing.T) {
	in := directory(t, map[string][]byte{
		"a": at(t, 1, 4, 7, 10), "b": at(t, 2, 5, 8), "c": at(t, 3, 6, 9, 12, 15), "d": at(t, 4), "e": at(t, 13, 14),
	})
	segments, _ := readAll(t, open(t, in("e"), in("d"), in("c"), in("b"), in("a")))
	diff(t, "times", []int64{1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15}, seconds(t, segments))
}

func TestAFileKeepsItsOwnOrder(t *testing.T) {
	segments, stats := readBytes(t, at(t, 5, 3, 4))
	diff(t, "times", []int64{5, 3, 4}, seconds(t, segments))
	diff(t, "first and last", [2]int64{3e9, 5e9}, [2]int64{stats.First, stats.Last})
}

func TestManyFilesDoNotStayOpen(t *testing.T) {
	files := make(map[string][]byte)
	for i := range 100 {
		files[fmt.Sprintf("dump%03d", i)] = at(t, int64(2*i), int64(2*i+1))
	}
	in := directory(t, files)
	s := open(t, in("dump*"))
	batch := make([]tcp.Segment, 50)
	if n, err := s.Read(batch); n != 50 || err != nil {
		t.Fatal(n, err)
	}
	source := s.(*fileSource)
	if len(source.active) > 1 {
		t.Errorf("%d files are open", len(source.active))
	}
	for _, f := range source.waiting {
		if f.packets != nil {
			t.Fatalf("%s is open", f.name)
		}
	}
	segments, _ := readAll(t, s)
	diff(t, "the rest", 150, len(segments))
}

func TestPatternsAndNames(t *testing.T) {
	in := directory(t, map[string][]byte{"dump1": at(t, 1), "dump2": at(t, 2), "dump[1]": at(t, 3)})
	if err := os.Mkdir(in("dumpdir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names []string
		want  []int64
	}{
		{[]string{in("dump*")}, []int64{1, 2, 3}},
		{[]string{in("dump?"), in("dump1")}, []int64{1, 2}},
		{[]string{in("dump[1]")}, []int64{3}}, // a name that exists is no pattern
		{[]string{in("dump[12]")}, []int64{1, 2}},
	} {
		segments, _ := readAll(t, open(t, c.names...))
		diff(t, fmt.Sprint(c.names), c.want, seconds(t, segments))
	}
}

func TestFilesThatCannotBeOpenedSayWhy(t *testing.T) {
	in := directory(t, map[string][]byte{"good": at(t, 1), "bad": []byte("hello")})
	if err := os.WriteFile(in("secret"), nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, "no capture file given: name one, or - for standard input"},
		{[]string{in("none")}, in("none") + ": no such file: check the name; a pattern must be quoted"},
		{[]string{in("no*")}, in("no*") + ": no file matches: check the directory with ls"},
		{[]string{in("[")}, in("[") + ": not a valid pattern: close the bracket, or write \\[ for one in a name"},
		{[]string{in("")}, in("") + ": is a directory: name the files in it, as '" + in("*") + "'"},
		{[]string{in("good"), in("bad")}, in("bad") + ": not a capture file, but text: if it is tcpdump's output, capture again with tcpdump -w; tcpleak reads pcap and pcapng, plain or compressed with gzip or zstd"},
		{[]string{in("secret")}, in("secret") + ": permission denied: run as its owner or with sudo"},
	} {
		if len(c.names) == 1 && c.names[0] == in("secret") && os.Getuid() == 0 {
			continue // root may read it
		}
		_, err := OpenFiles(c.names, Config{Encaps: new(tcp.EncapTable)})
		diff(t, "error", c.want, fmt.Sprint(err))
	}
}

// pipeAsStdin makes standard input a pipe and returns its other end.
func pipeAsStdin(t *testing.T) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = r
	t.Cleanup(func() {
		os.Stdin = stdin
		w.Close()
	})
	return w
}

func TestStandardInput(t *testing.T) {
	for name, b := range map[string][]byte{"plain": at(t, 2, 3), "gzip": gzipped(t, at(t, 2, 3))} {
		w := pipeAsStdin(t)
		go func() {
			w.Write(b)
			w.Close()
		}()
		segments, stats := readAll(t, open(t, "-"))
		diff(t, name, []int64{2, 3}, seconds(t, segments))
		diff(t, "total", int64(0), stats.BytesTotal)
		diff(t, "name", "-", stats.Sources[0].Name)
	}
}

func TestStandardInputIsMergedWithFiles(t *testing.T) {
	w := pipeAsStdin(t)
	go func() {
		w.Write(at(t, 2, 4))
		w.Close()
	}()
	segments, _ := readAll(t, open(t, write(t, "x", at(t, 1, 3, 5)), "-"))
	diff(t, "times", []int64{1, 2, 3, 4, 5}, seconds(t, segments))
}

func TestANamedPipeIsReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	go os.WriteFile(path, at(t, 2, 4), 0)
	segments, _ := readAll(t, open(t, write(t, "x", at(t, 1, 3, 5)), path))
	diff(t, "times", []int64{1, 2, 3, 4, 5}, seconds(t, segments))
}

func TestCloseEndsAReadThatWaitsForAPipe(t *testing.T) {
	w := pipeAsStdin(t)
	s := open(t, "-") // does not wait for the writer
	b := at(t, 1, 2, 3)
	if _, err := w.Write(b[:len(b)-10]); err != nil {
		t.Fatal(err)
	}
	results := make(chan string)
	go func() {
		for range 2 {
			n, err := s.Read(make([]tcp.Segment, 10))
			results <- fmt.Sprint(n, err)
		}
	}()
	select {
	case r := <-results:
		t.Fatal("Read did not wait", r)
	case <-time.After(50 * time.Millisecond):
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	diff(t, "first Read", "2 <nil>", <-results)
	diff(t, "second Read", "0 file already closed", <-results)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	diff(t, "packets", uint64(2), s.Stats().Packets)
}

func TestStatsMayBeAskedForWhileReading(t *testing.T) {
	s := open(t, write(t, "a", at(t, 1, 2, 3, 4, 5, 6)), write(t, "b", at(t, 4, 5, 6)))
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := 0; i < 100 || s.Last() != 6e9; i++ {
			if st := s.Stats(); st.Packets != st.Segments+st.Skipped.Total() {
				t.Error(st)
			}
		}
	}()
	segments, _ := readAll(t, s)
	<-done
	diff(t, "segments", 9, len(segments))
	diff(t, "last", int64(6e9), s.Last())
}

func TestReadAfterTheEnd(t *testing.T) {
	s := open(t, write(t, "a", at(t, 1)))
	batch := make([]tcp.Segment, 5)
	n, err := s.Read(batch)
	diff(t, "Read", "1 <nil>", fmt.Sprint(n, err))
	for range 2 {
		n, err = s.Read(batch)
		diff(t, "Read at the end", "0 EOF", fmt.Sprint(n, err))
	}
	s.Close()
	n, err = s.Read(batch)
	diff(t, "Read after Close", "0 file already closed", fmt.Sprint(n, err))
}

func TestAnErrorComesAfterWhatPrecedesIt(t *testing.T) {
	b := at(t, 1, 2)
	b[len(b)-len(frame4(t))-5] = 0xff // the upper octet of the second packet's captured length
	b[len(b)-len(frame4(t))-4] = 0xff
	path := write(t, "x", append(b, make([]byte, 64)...))
	s := open(t, path)
	batch := make([]tcp.Segment, 5)
	n, err := s.Read(batch)
	diff(t, "Read", "1 <nil>", fmt.Sprint(n, err))
	n, err = s.Read(batch)
	if n != 0 || err == nil || err == io.EOF || !strings.HasPrefix(err.Error(), path+": packet 2 at offset") {
		t.Error(n, err)
	}
}

func TestReadingDoesNotAllocatePerPacket(t *testing.T) {
	const packets, batches = 20000, 150
	le := binary.LittleEndian
	interfaces := ngSection(le)
	var ethernet, sll2, any []rec
	for _, c := range linkTypeHeaders(t) {
		interfaces = join(interfaces, ngInterface(le, c.link, 0))
		b, _ := c.packet(t)
		any = append(any, rec{data: b, on: len(any)}, rec{data: b[:20], on: len(any)})
		switch c.link {
		case linkEthernet:
			ethernet = append(ethernet, rec{data: b}, rec{data: b[:20]})
		case linkSLL2:
			sll2 = append(sll2, rec{data: b})
		}
		interfaces = join(interfaces, ngInterface(le, c.link, 96)) // so that on is the index of the first
	}
	for _, c := range tunnelCases(t) {
		ethernet = append(ethernet, rec{data: c.b})
	}
	many := func(recs []rec) (all []rec) {
		for i := range packets {
			all = append(all, recs[i%len(recs)])
		}
		return all
	}
	modern := interfaces
	for _, r := range many(any) {
		modern = append(modern, ngPacket(le, r)...)
	}
	for _, c := range []struct {
		name   string
		file   []byte
		filter string
	}{
		{"the usual", ethernetFile(many([]rec{{data: frame4(t)}})...), ""},
		{"VLANs, IPv6 and tunnels", ethernetFile(many(ethernet)...), ""},
		{"SLL2", pcapFile(le, 1000, 65535, uint32(linkSLL2), many(sll2)...), ""},
		{"big-endian", pcapFile(binary.BigEndian, 1, 65535, uint32(linkEthernet), many(ethernet)...), ""},
		{"pcapng, every link type", modern, ""},
		{"a filter", ethernetFile(many(ethernet)...), "greater 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := OpenFiles([]string{write(t, "x", c.file)}, Config{Encaps: new(tcp.EncapTable), Filter: c.filter})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			batch := make([]tcp.Segment, packets/2/(batches+20)) // half of the packets of some have no segment
			read := func() {
				if n, err := s.Read(batch); n != len(batch) || err != nil {
					t.Fatal(n, err)
				}
			}
			for range 5 {
				read() // what comes up for the first time may cost
			}
			if n := testing.AllocsPerRun(batches, read); n != 0 {
				t.Errorf("%v allocations per batch", n)
			}
		})
	}
}
