package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tcpleak/tcp"
)

// odd keeps the first packet, the third and so on.
func odd(packet uint64) bool { return packet%2 == 1 }

func all(uint64) bool { return true }

// copied reads files to their end and copies packets of them.
func copied(t testing.TB, keep func(uint64) bool, cfg Config, names ...string) []byte {
	t.Helper()
	cfg.Encaps = new(tcp.EncapTable)
	s, err := OpenFiles(names, cfg)
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, s)
	var out bytes.Buffer
	want := uint64(0)
	for n := range s.Stats().Packets {
		if keep(n + 1) {
			want++
		}
	}
	n, err := CopyPackets(t.Context(), s, keep, &out)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "packets", want, n)
	return out.Bytes()
}

// various are packets of every length that matters, cut off and whole, in and out of order.
func various(t testing.TB, link linkType) []rec {
	f := frame4(t)
	if link == linkSLL2 {
		f = join(uint16(etherIPv4), uint32(3), uint16(1), "\x00\x06", make([]byte, 8), f[14:])
	}
	return []rec{{time: 1700000000_123456000, data: f}, {time: 1, data: data(1)}, {time: 5e9, data: f[:60], wire: 1500}, {time: 5e9},
		{time: 4e9 + 999999000, data: f[:61], wire: 64}, {time: 6e9, data: data(maxPacket)}, {time: math.MaxUint32 * 1e9, data: f[:62]}}
}

func kept(recs []rec, keep func(uint64) bool) (some []rec) {
	for i, r := range recs {
		if keep(uint64(i + 1)) {
			some = append(some, r)
		}
	}
	return some
}

func TestPacketsAreCopiedAsTheyAre(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	const ethernetWithFCS = 1 | fcsPresent | 2<<fcsWordsShift
	plain := various(t, linkEthernet)
	fine := various(t, linkSLL2)
	fine[0].time += 789
	micros := pcapFile(le, 1000, maxPacket, 1, kept(plain, odd)...)
	for _, c := range []struct {
		name       string
		file, want []byte
	}{
		{"µs", pcapFile(le, 1000, 65535, 1, plain...), micros},
		{"big-endian", pcapFile(be, 1000, 65535, 1, plain...), micros},
		{"ns, SLL2", pcapFile(le, 1, 65535, 276, fine...), pcapFile(le, 1, maxPacket, 276, kept(fine, odd)...)},
		{"big-endian, ns, SLL2", pcapFile(be, 1, 65535, 276, fine...), pcapFile(le, 1, maxPacket, 276, kept(fine, odd)...)},
		{"check sequences", pcapFile(be, 1000, 65535, ethernetWithFCS, plain...), pcapFile(le, 1000, maxPacket, ethernetWithFCS, kept(plain, odd)...)},
		{"gzip", gzipped(t, pcapFile(le, 1000, 65535, 1, plain...)), micros},
		{"zstd", zstandard(t, pcapFile(le, 1000, 65535, 1, plain...)), micros},
		{"cut off", pcapFile(le, 1000, 65535, 1, append(plain, rec{data: data(9)})...)[:24+len(pcapFile(le, 1000, 65535, 1, plain...))-24+20], micros},
		{"a packet that is too long", pcapFile(le, 1000, 1<<20, 1, rec{data: data(maxPacket + 9)}, rec{}, rec{time: 1e9, data: data(9)}),
			pcapFile(le, 1000, maxPacket, 1, rec{data: data(maxPacket), wire: maxPacket + 9}, rec{time: 1e9, data: data(9)})},
		{"no packets", ethernetFile(), ethernetFile()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := copied(t, odd, Config{}, write(t, "x", c.file))
			if !bytes.Equal(got, c.want) {
				t.Errorf("%d octets, want %d: %x…", len(got), len(c.want), got[:min(len(got), 200)])
			}
		})
	}
}

// ngTimed is an interface of a clock with 10^-n s.
func ngTimed(link linkType, n byte) []byte {
	return ngInterface(binary.LittleEndian, link, maxPacket, ngOption(binary.LittleEndian, optionResolution, []byte{n}), make([]byte, 4))
}

func TestPcapngIsCopiedAsPcapWhereThatCanHoldIt(t *testing.T) {
	le := binary.LittleEndian
	f := frame4(t)
	at := int64(1700000000_123456)
	for _, order := range []byteOrder{le, binary.BigEndian} {
		in := join(ngSection(order), ngInterface(order, linkEthernet, 0), ngInterface(order, linkSLL2, 0),
			ngInterface(order, linkEthernet, 0, ngOption(order, optionResolution, []byte{9})),
			ngPacket(order, rec{time: at, data: f, wire: 1500}), ngPacket(order, rec{time: at + 1, data: f[:61], on: 1}),
			ngPacket(order, rec{time: at*1000 + 2789, data: f, on: 2}), ngPacket(order, rec{time: at + 3, data: f[:13], on: 0}))
		path := write(t, "x", in)
		only := func(n ...uint64) func(uint64) bool {
			return func(packet uint64) bool { return slices.Contains(n, packet) }
		}
		for _, c := range []struct {
			name string
			keep func(uint64) bool
			want []byte
		}{
			{"one link type, µs", only(1, 4), ethernetFile(rec{time: at * 1000, data: f, wire: 1500}, rec{time: at*1000 + 3000, data: f[:13]})},
			{"one link type, some ns", only(1, 3), pcapFile(le, 1, maxPacket, 1, rec{time: at * 1000, data: f, wire: 1500}, rec{time: at*1000 + 2789, data: f})},
			{"the other link type", only(2), pcapFile(le, 1000, maxPacket, 276, rec{time: at*1000 + 1000, data: f[:61]})},
			{"both link types, µs", only(2, 4), join(ngSection(le), ngInterface(le, linkSLL2, maxPacket, make([]byte, 4)), ngInterface(le, linkEthernet, maxPacket, make([]byte, 4)),
				ngPacket(le, rec{time: at + 1, data: f[:61]}), ngPacket(le, rec{time: at + 3, data: f[:13], on: 1}))},
			{"all", all, join(ngSection(le), ngTimed(linkEthernet, 9), ngTimed(linkSLL2, 9),
				ngPacket(le, rec{time: at * 1000, data: f, wire: 1500}), ngPacket(le, rec{time: at*1000 + 1000, data: f[:61], on: 1}),
				ngPacket(le, rec{time: at*1000 + 2789, data: f}), ngPacket(le, rec{time: at*1000 + 3000, data: f[:13]}))},
			{"none", only(), ethernetFile()},
		} {
			t.Run(order.String()+" "+c.name, func(t *testing.T) {
				got := copied(t, c.keep, Config{}, path)
				if !bytes.Equal(got, c.want) {
					t.Errorf("got  %x\nwant %x", got, c.want)
				}
			})
		}
	}
}

func TestPcapngCheckSequencesAreCopied(t *testing.T) {
	le := binary.LittleEndian
	f := append(frame4(t), 1, 2, 3, 4)
	withFCS := ngInterface(le, linkEthernet, maxPacket, ngOption(le, optionFCSLength, []byte{4}), make([]byte, 4))
	packet := ngPacket(le, rec{time: 1, data: f})
	one := copied(t, all, Config{}, write(t, "x", join(ngSection(le), withFCS, packet)))
	diff(t, "pcap", pcapFile(le, 1000, maxPacket, 1|fcsPresent|2<<fcsWordsShift, rec{time: 1000, data: f}), one)
	both := join(ngSection(le), withFCS, ngInterface(le, linkEthernet, maxPacket, make([]byte, 4)), packet, ngPacket(le, rec{time: 1, data: f, on: 1}))
	diff(t, "pcapng", both, copied(t, all, Config{}, write(t, "x", both)))
}

// TestCopiesAreNumberedAsSegments copies, of captures of every kind, those packets that hold the segments of a filter or
// every third one, and reads the copy.
func TestCopiesAreNumberedAsSegments(t *testing.T) {
	for name, b := range captures(t) {
		t.Run(name, func(t *testing.T) {
			path := write(t, "x", b)
			s, err := OpenFiles([]string{path}, Config{Encaps: new(tcp.EncapTable), Filter: "tcp and greater 70"})
			if err != nil {
				t.Skip("not a capture, or not one for a filter")
			}
			segments, _, _ := drain(s) // some are damaged
			want := slices.DeleteFunc(segments, func(s tcp.Segment) bool { return s.Packet%3 == 0 })
			keep := make(map[uint64]bool)
			for i := range want {
				keep[want[i].Packet] = true
				want[i].Packet = uint64(i + 1)
			}
			var out bytes.Buffer
			if _, err := CopyPackets(t.Context(), s, func(n uint64) bool { return keep[n] }, &out); err != nil {
				t.Fatal(err)
			}
			got, stats := readBytes(t, out.Bytes())
			diff(t, "packets", uint64(len(want)), stats.Packets)
			diff(t, "segments", len(want), len(got))
			for i := range min(len(want), len(got)) {
				got[i].Encap = want[i].Encap // numbered as they come up
				if got[i] != want[i] {
					diff(t, "segment", want[i], got[i])
					break
				}
			}
		})
	}
}

func TestMergedFilesAreCopiedInTheOrderOfTime(t *testing.T) {
	in := directory(t, map[string][]byte{
		"a": at(t, 1, 4, 7, 10), "b": gzipped(t, at(t, 2, 5, 8)), "c": zstandard(t, at(t, 3, 6, 9, 12, 15)), "d": at(t, 4), "e": at(t, 13, 14), "empty": nil,
	})
	for _, filter := range []string{"", "tcp[7] & 1 == 1"} { // the lowest bit of the sequence number
		got := copied(t, func(n uint64) bool { return n != 3 }, Config{Filter: filter}, in("e"), in("d"), in("c"), in("b"), in("a"), in("empty"))
		if want := at(t, 1, 2, 4, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15); !bytes.Equal(got, want) {
			t.Errorf("%q: %d octets, want %d", filter, len(got), len(want))
		}
	}
}

func TestFilesOfDifferentLinkTypesAreCopiedAsPcapng(t *testing.T) {
	le := binary.LittleEndian
	f := frame4(t)
	in := directory(t, map[string][]byte{
		"a": pcapFile(le, 1000, 96, 1, rec{time: 1e9, data: f}, rec{time: 3e9, data: f}),
		"b": pcapFile(le, 1, 96, 101, rec{time: 2e9 + 1, data: f[14:]}),
	})
	want := join(ngSection(le), ngTimed(linkEthernet, 9), ngTimed(linkRaw, 9),
		ngPacket(le, rec{time: 1e9, data: f}), ngPacket(le, rec{time: 2e9 + 1, data: f[14:], on: 1}), ngPacket(le, rec{time: 3e9, data: f}))
	diff(t, "both", want, copied(t, all, Config{}, in("a"), in("b")))
	diff(t, "one", pcapFile(le, 1, maxPacket, 101, rec{time: 2e9 + 1, data: f[14:]}), copied(t, func(n uint64) bool { return n == 2 }, Config{}, in("a"), in("b")))
}

func TestTimesThatNoFormatHoldsAreCopiedAsTheNearest(t *testing.T) {
	le := binary.LittleEndian
	f := frame4(t)
	offset := func(seconds int64) []byte {
		return ngInterface(le, linkEthernet, 0, ngOption(le, optionTimeOffset, le.AppendUint64(nil, uint64(seconds))))
	}
	in := join(ngSection(le), offset(-1), offset(math.MaxUint32+1), ngPacket(le, rec{data: f}), ngPacket(le, rec{data: f, on: 1}))
	diff(t, "pcap", ethernetFile(rec{data: f}, rec{time: math.MaxUint32*1e9 + 999_999_999, data: f}), copied(t, all, Config{}, write(t, "x", in)))
}

func TestACopyEndsWhereReadingEnded(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		s := open(t, write(t, "x", at(t, 1, 2, 3, 4, 5)))
		if n, err := s.Read(make([]tcp.Segment, 3)); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		s.Close()
		var out bytes.Buffer
		_, err := CopyPackets(t.Context(), s, all, &out)
		diff(t, "error", nil, err)
		diff(t, "copy", at(t, 1, 2, 3), out.Bytes())
	})
	t.Run("damaged", func(t *testing.T) {
		b := at(t, 1, 2, 3)
		binary.LittleEndian.PutUint32(b[len(b)-len(frame4(t))-8:], 1<<31)
		s := open(t, write(t, "x", b))
		if _, _, err := drain(s); err == nil {
			t.Fatal("no error")
		}
		var out bytes.Buffer
		_, err := CopyPackets(t.Context(), s, all, &out)
		diff(t, "error", nil, err)
		diff(t, "copy", at(t, 1, 2), out.Bytes())
	})
	t.Run("grown", func(t *testing.T) {
		path := write(t, "x", at(t, 1, 2))
		s := open(t, path)
		if err := os.WriteFile(path, at(t, 1, 2, 3), 0o600); err != nil {
			t.Fatal(err)
		}
		readAll(t, s)
		var out bytes.Buffer
		_, err := CopyPackets(t.Context(), s, all, &out)
		diff(t, "error", nil, err)
		diff(t, "copy", at(t, 1, 2), out.Bytes())
	})
}

func TestCapturesThatChangeAreNotCopied(t *testing.T) {
	const changed = "the captures have changed since they were first read: read a copy that nobody writes to"
	for name, c := range map[string]struct {
		change func(path string) error
		want   string
	}{
		"cut off":      {func(path string) error { return os.Truncate(path, 30) }, changed},
		"written anew": {func(path string) error { return os.WriteFile(path, at(t, 7, 8, 9), 0) }, changed},
		"another in line": {func(path string) error {
			return errors.Join(os.Rename(path, path+"1"), os.WriteFile(path, at(t, 1, 2, 3), 0o600))
		}, "PATH: is another file than when it was first read: read a copy that nobody rotates away"},
		"gone": {os.Remove, "PATH: no such file: check the name; a pattern must be quoted"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "x", at(t, 1, 2, 3))
			s := open(t, path)
			readAll(t, s)
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			_, err := CopyPackets(t.Context(), s, all, io.Discard)
			diff(t, "error", strings.ReplaceAll(c.want, "PATH", path), fmt.Sprint(err))
		})
	}
}

func TestACopyCanBeCalledOff(t *testing.T) {
	s := open(t, write(t, "x", at(t, 1, 2, 3)))
	readAll(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := filepath.Join(t.TempDir(), "out")
	if _, err := SavePackets(ctx, s, all, out); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was left")
	}
}

func TestSavedPacketsReplaceAFile(t *testing.T) {
	s := open(t, write(t, "x", at(t, 1, 2, 3)))
	readAll(t, s)
	in := directory(t, map[string][]byte{"old": []byte("old"), "target": nil})
	if err := errors.Join(os.Chmod(in("old"), 0o640), os.Symlink("target", in("link"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new", "old", "link"} {
		n, err := SavePackets(t.Context(), s, odd, in(name))
		diff(t, "result", "2 <nil>", fmt.Sprint(n, err))
		b, err := os.ReadFile(in(name))
		diff(t, "error", nil, err)
		diff(t, name, at(t, 1, 3), b)
	}
	info, err := os.Lstat(in("link"))
	if err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Error("the link was replaced", err)
	}
	info, err = os.Stat(in("old"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Error("mode", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(in("old")))
	if err != nil || len(entries) != 4 {
		t.Error("more was left:", entries, err)
	}
}

func TestSavedPacketsGoIntoAPipe(t *testing.T) {
	s := open(t, write(t, "x", at(t, 1, 2, 3)))
	readAll(t, s)
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	read := make(chan []byte)
	go func() {
		b, _ := os.ReadFile(path)
		read <- b
	}()
	_, err := SavePackets(t.Context(), s, odd, path)
	diff(t, "error", nil, err)
	diff(t, "octets", at(t, 1, 3), <-read)
}

func TestFilesThatCannotBeSavedToSayWhy(t *testing.T) {
	path := write(t, "x", at(t, 1, 2, 3))
	s := open(t, path)
	readAll(t, s)
	in := directory(t, nil)
	if err := errors.Join(os.Symlink(path, in("symlink")), os.Link(path, in("link"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		path:             ": is one of the captures that are read: name another file to write to",
		in("symlink"):    ": is one of the captures that are read: name another file to write to",
		in("link"):       ": is one of the captures that are read: name another file to write to",
		in(""):           ": is a directory: name a file in it to write to",
		in("none/x"):     ": cannot be written: no such file or directory",
		"/dev/full":      ": cannot be written: no space left on device",
		path + "/nested": ": cannot be written: not a directory",
	} {
		_, err := SavePackets(t.Context(), s, all, name)
		diff(t, "error", name+want, fmt.Sprint(err))
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(b, at(t, 1, 2, 3)) {
		t.Error("the capture was written to", err)
	}
}

func TestReopenDeliversTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		content []byte
		filter  string
	}{
		"plain": {at(t, 1, 2, 3), ""}, "what a filter looks at": {at(t, 1, 2, 3), "tcp[7] & 1 == 1"},
		"gzip": {gzipped(t, at(t, 1, 2, 3)), ""}, "zstd": {zstandard(t, at(t, 1, 2, 3)), "tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := OpenFiles([]string{write(t, "x", c.content), write(t, "y", at(t, 2, 4))}, Config{Encaps: new(tcp.EncapTable), Filter: c.filter})
			if err != nil {
				t.Fatal(err)
			}
			want, stats := readAll(t, s)
			for range 2 {
				again, err := Reopen(s, new(tcp.EncapTable))
				if err != nil {
					t.Fatal(err)
				}
				got, more := readAll(t, again)
				diff(t, "segments", want, got)
				diff(t, "statistics", stats, more)
			}
		})
	}
}

func TestWhatCameThroughAPipeIsReadAgain(t *testing.T) {
	for name, c := range map[string]struct {
		b      []byte
		filter string
	}{"plain": {at(t, 2, 3, 5), ""}, "gzip": {gzipped(t, at(t, 2, 3, 5)), ""}, "filter": {at(t, 2, 3, 5), "tcp[7] & 1 == 1"}} {
		for _, others := range [][]string{nil, {write(t, "x", at(t, 1, 4))}} {
			t.Run(fmt.Sprint(name, len(others)), func(t *testing.T) {
				dir := t.TempDir()
				t.Setenv("TMPDIR", dir)
				w := pipeAsStdin(t)
				go func() {
					w.Write(c.b)
					w.Close()
				}()
				s, err := OpenFiles(append(others, "-"), Config{Encaps: new(tcp.EncapTable), Spool: true, Filter: c.filter})
				if err != nil {
					t.Fatal(err)
				}
				want, stats := readAll(t, s)
				again, err := Reopen(s, new(tcp.EncapTable))
				if err != nil {
					t.Fatal(err)
				}
				got, more := readAll(t, again)
				diff(t, "segments", want, got)
				more.BytesTotal = stats.BytesTotal // which is known by now
				diff(t, "statistics", stats, more)
				var out bytes.Buffer
				if _, err := CopyPackets(t.Context(), again, all, &out); err != nil {
					t.Fatal(err)
				}
				if others == nil {
					diff(t, "copy", at(t, 2, 3, 5), out.Bytes())
				} else {
					diff(t, "copy", at(t, 1, 2, 3, 4, 5), out.Bytes())
				}
				entries, err := os.ReadDir(dir)
				if err != nil || len(entries) > 0 {
					t.Error("left behind:", entries, err)
				}
			})
		}
	}
}

func TestWhatCameThroughAPipeUntilCloseIsReadAgain(t *testing.T) {
	w := pipeAsStdin(t)
	s, err := OpenFiles([]string{"-"}, Config{Encaps: new(tcp.EncapTable), Spool: true})
	if err != nil {
		t.Fatal(err)
	}
	b := at(t, 1, 2, 3, 4)
	w.Write(b[:len(b)-10])
	if n, err := s.Read(make([]tcp.Segment, 2)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	s.Close()
	var out bytes.Buffer
	_, err = CopyPackets(t.Context(), s, all, &out)
	diff(t, "error", nil, err)
	diff(t, "copy", at(t, 1, 2), out.Bytes())
}

func TestStandardInputThatIsAFileIsReadAgain(t *testing.T) {
	file, err := os.Open(write(t, "x", append([]byte("for another program"), at(t, 1, 2, 3)...)))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Seek(19, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = file
	defer func() { os.Stdin = stdin }()
	s := open(t, "-")
	want, stats := readAll(t, s)
	diff(t, "octets", stats.BytesTotal, stats.BytesRead)
	again, err := Reopen(s, new(tcp.EncapTable))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := readAll(t, again)
	diff(t, "segments", want, got)
	_, err = SavePackets(t.Context(), s, all, file.Name())
	diff(t, "error", file.Name()+": is one of the captures that are read: name another file to write to", fmt.Sprint(err))
}

func TestWhatCannotBeReadAgainSaysSo(t *testing.T) {
	t.Run("a pipe", func(t *testing.T) {
		w := pipeAsStdin(t)
		go func() {
			w.Write(at(t, 1))
			w.Close()
		}()
		s := open(t, "-")
		readAll(t, s)
		_, err := Reopen(s, new(tcp.EncapTable))
		diff(t, "error", "standard input: a pipe can be read only once: save what it carries to a file, and read that with -r FILE", fmt.Sprint(err))
		_, again := CopyPackets(t.Context(), s, all, io.Discard)
		diff(t, "error", fmt.Sprint(err), fmt.Sprint(again))
		_, again = SavePackets(t.Context(), s, all, filepath.Join(t.TempDir(), "x"))
		diff(t, "error", fmt.Sprint(err), fmt.Sprint(again))
	})
	t.Run("an interface", func(t *testing.T) {
		_, err := Reopen(&liveSource{}, new(tcp.EncapTable))
		diff(t, "error", "packets of an interface pass by once: save them with -w FILE, and read that with -r FILE", fmt.Sprint(err))
	})
	t.Run("a pipe that nobody could keep", func(t *testing.T) {
		t.Setenv("TMPDIR", "/nonexistent")
		pipeAsStdin(t)
		_, err := OpenFiles([]string{"-"}, Config{Encaps: new(tcp.EncapTable), Spool: true})
		if err == nil || !strings.HasPrefix(err.Error(), "standard input: no temporary file to keep it in for a second reading: ") {
			t.Error(err)
		}
	})
}

// copyTool skips the test where a program is missing.
func copyTool(t *testing.T, name, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("install %s: sudo apt-get install %s", name, pkg)
	}
}

func toolOutput(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, stderr.Bytes())
	}
	return out
}

// TestTcpdumpCopiesTheSame lets tcpdump write what passes a filter, and compares octet by octet.
func TestTcpdumpCopiesTheSame(t *testing.T) {
	copyTool(t, "tcpdump", "tcpdump")
	in := directory(t, nil)
	files := make(map[string][]byte)
	for _, name := range []string{"../testdata/demo.pcap", "../testdata/findings/several-at-once.pcap", "../testdata/findings/stuck-close-wait-ipv6.pcap",
		"../testdata/findings/capture-gap.pcap"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = b
	}
	links := make(map[string][]byte)
	files["cut.pcap"] = files["demo.pcap"][:len(files["demo.pcap"])-7]
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range linkTypeHeaders(t) {
		switch c.link {
		case linkRaw12, linkRaw14, linkIPv4, linkIPv6, linkPPPoE:
			continue // that libpcap writes under another number, or cannot filter
		}
		var recs []rec
		for i := range 50 {
			b, _ := c.packet(t)
			recs = append(recs, rec{time: 1700000000e9 + int64(i)*1_001_000 + 7, data: b[:len(b)-r.IntN(30)], wire: len(b) + i%3*100})
		}
		order := []byteOrder{binary.LittleEndian, binary.BigEndian}[len(links)%2]
		links[c.name] = pcapFile(order, 1, 65535, uint32(c.link), recs...)
	}
	maps.Copy(files, links)
	for name, b := range files {
		expression := "tcp and (tcp[13] & 7 != 0 or greater 200)"
		if _, ok := links[name]; ok {
			expression = "greater 200" // what libpcap takes for TCP differs
		}
		t.Run(name, func(t *testing.T) {
			path, want := in(name), in(name+".tcpdump")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			precision := "nano"
			if m := binary.LittleEndian.Uint32(b); m == magicMicros {
				precision = "micro"
			}
			cmd := exec.Command("tcpdump", "--time-stamp-precision="+precision, "-r", path, "-w", want, expression)
			if out, err := cmd.CombinedOutput(); err != nil && name != "cut.pcap" {
				t.Fatalf("%v: %s", err, out)
			}
			dumped, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			s, err := OpenFiles([]string{path}, Config{Encaps: new(tcp.EncapTable), Filter: expression})
			if err != nil {
				t.Fatal(err)
			}
			keep := make(map[uint64]bool)
			segments, _ := readAll(t, s)
			for _, s := range segments {
				keep[s.Packet] = true
			}
			if n := s.Stats().Skipped[Filtered]; len(keep) == 0 || n == 0 {
				t.Errorf("%d packets pass the filter and %d do not", len(keep), n)
			}
			var out bytes.Buffer
			if _, err := CopyPackets(t.Context(), s, func(n uint64) bool { return keep[n] }, &out); err != nil {
				t.Fatal(err)
			}
			got := out.Bytes()
			copy(got[16:], dumped[16:20]) // tcpdump keeps the snap length of the input
			if !bytes.Equal(got, dumped) {
				t.Errorf("%d octets, tcpdump wrote %d:\n% x\n% x", len(got), len(dumped), got[:min(100, len(got))], dumped[:min(100, len(dumped))])
			}
		})
	}
}

// TestTsharkReadsCopies compares what tshark sees in a copy with what it sees in editcap's and mergecap's.
func TestTsharkReadsCopies(t *testing.T) {
	copyTool(t, "tshark", "tshark")
	copyTool(t, "editcap", "wireshark-common")
	copyTool(t, "mergecap", "wireshark-common")
	le := binary.LittleEndian
	interfaces, packets := ngSection(le), []byte(nil)
	n := 0
	for _, c := range linkTypeHeaders(t) {
		if c.link == linkRaw12 || c.link == linkRaw14 {
			continue
		}
		interfaces = join(interfaces, ngInterface(le, c.link, 0, ngOption(le, optionResolution, []byte{byte(6 + n%4)})))
		b, _ := c.packet(t)
		at := int64(1700000000e6) + int64(n)
		packets = join(packets, ngPacket(le, rec{on: n, time: at * []int64{1, 10, 100, 1000}[n%4], data: b, wire: len(b) + n%3}))
		n++
	}
	in := directory(t, map[string][]byte{"mixed.pcapng": join(interfaces, packets), "a.pcap": at(t, 1, 3, 5, 9), "b.pcap": gzipped(t, at(t, 2, 4, 8)),
		"sll2.pcap": pcapFile(le, 1, 65535, 276, rec{time: 6e9 + 7, data: various(t, linkSLL2)[0].data})})
	see := func(path string) string {
		return string(toolOutput(t, "tshark", "-n", "-r", path, "-x")) + string(toolOutput(t, "tshark", "-n", "-r", path, "-Tfields",
			"-eframe.number", "-eframe.time_epoch", "-eframe.len", "-eframe.cap_len", "-eframe.encap_type"))
	}
	t.Run("several interfaces", func(t *testing.T) {
		args := []string{"-r", in("mixed.pcapng"), in("edited")}
		for i := 1; i <= n; i += 2 {
			args = append(args, fmt.Sprint(i))
		}
		toolOutput(t, "editcap", args...)
		if err := os.WriteFile(in("ours"), copied(t, odd, Config{}, in("mixed.pcapng")), 0o600); err != nil {
			t.Fatal(err)
		}
		diff(t, "what tshark sees", see(in("edited")), see(in("ours")))
	})
	t.Run("merged", func(t *testing.T) {
		toolOutput(t, "mergecap", "-w", in("merged"), in("a.pcap"), in("b.pcap"), in("sll2.pcap"))
		if err := os.WriteFile(in("ours"), copied(t, all, Config{}, in("a.pcap"), in("b.pcap"), in("sll2.pcap")), 0o600); err != nil {
			t.Fatal(err)
		}
		diff(t, "what tshark sees", see(in("merged")), see(in("ours")))
	})
}
