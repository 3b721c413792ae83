package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/tcp"
)

func TestFilesToSaveToAreNamedAsTcpdumpDoes(t *testing.T) {
	for _, c := range []struct {
		files int
		want  string
	}{
		{0, "f f1 f2 f3"}, {1, "f f f f"}, {3, "f0 f1 f2 f0"}, {10, "f0 f1 f2 f3"}, {11, "f00 f01 f02 f03"}, {101, "f000 f001 f002 f003"},
	} {
		var got []string
		for n := range 4 {
			got = append(got, Save{Name: "f", Bytes: 1, Files: c.files}.fileName(n))
		}
		diff(t, fmt.Sprint(c.files), c.want, strings.Join(got, " "))
	}
}

// ethernetLayout is that of one interface.
var ethernetLayout = newFileLayout([]tapWritten{{network: uint32(linkEthernet)}}, true)

func newSaver(to Save, layout *fileLayout) (*saver, error) {
	s := &saver{Save: to, layout: layout}
	return s, s.start()
}

// saveAll saves packets, some at a time.
func saveAll(t *testing.T, to Save, layout *fileLayout, recs []rec) *saver {
	t.Helper()
	s, err := newSaver(to, layout)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	r := rand.New(rand.NewPCG(1, 2))
	for len(recs) > 0 {
		n := min(len(recs), 1+r.IntN(300))
		var b []byte
		for _, r := range recs[:n] {
			b = layout.appendPacket(b, r.on, r.time, r.data, int(r.length()))
		}
		s.add(b)
		recs = recs[n:]
	}
	return s
}

// packetsOf returns packets of various lengths, n in number.
func packetsOf(n int) (recs []rec) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		d := data(r.IntN(1500))
		for i := range d {
			d[i] = byte(r.Uint32())
		}
		recs = append(recs, rec{time: 1700000000_000000123 + int64(i)*1e6, data: d, wire: len(d) + i%2})
	}
	return recs
}

func TestFilesAreRotatedAsTcpdumpDoes(t *testing.T) {
	copyTool(t, "tcpdump", "tcpdump")
	recs := packetsOf(9000)
	path := write(t, "x.pcap", pcapFile(binary.LittleEndian, 1, maxPacket, 1, recs...))
	for _, args := range [][]string{nil, {"-W", "3"}, {"-W", "11"}, {"-W", "1"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			theirs, ours := t.TempDir(), t.TempDir()
			command := append([]string{"-Z", "root", "--time-stamp-precision=nano", "-r", path, "-C", "1", "-w", filepath.Join(theirs, "out")}, args...)
			if os.Getuid() != 0 {
				command = command[2:]
			}
			toolOutput(t, "tcpdump", command...)
			to := Save{Name: filepath.Join(ours, "out"), Bytes: 1e6}
			if args != nil {
				fmt.Sscan(args[1], &to.Files)
			}
			s := saveAll(t, to, ethernetLayout, recs)
			entries, err := os.ReadDir(theirs)
			if err != nil {
				t.Fatal(err)
			}
			saved, err := os.ReadDir(ours)
			diff(t, "files", fmt.Sprint(entries, nil), fmt.Sprint(saved, err))
			for _, e := range entries {
				want, _ := os.ReadFile(filepath.Join(theirs, e.Name()))
				got, err := os.ReadFile(filepath.Join(ours, e.Name()))
				if err != nil || !bytes.Equal(want, got) {
					t.Errorf("%s: %d octets, tcpdump wrote %d; %v", e.Name(), len(got), len(want), err)
				}
			}
			var stats Stats
			s.enter(&stats)
			diff(t, "statistics", Stats{Saved: 9000, SavedFiles: 7}, stats)
		})
	}
}

// sound reads a saved file to its end, which must be that of a packet.
func sound(t *testing.T, name string) Stats {
	t.Helper()
	_, stats := readAll(t, open(t, name))
	diff(t, "truncation", "", stats.Sources[0].Truncation)
	return stats
}

func TestAFileThatCannotBeBegunIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		dir:                             ": cannot be written: is a directory",
		filepath.Join(dir, "none", "x"): ": cannot be written: no such file or directory",
		"/dev/full":                     ": cannot be written: no space left on device",
	} {
		_, err := newSaver(Save{Name: name}, ethernetLayout)
		diff(t, "error", name+want, fmt.Sprint(err))
	}
	// Nor one that is to follow.
	name := filepath.Join(dir, "x")
	if err := os.Mkdir(name+"1", 0o700); err != nil {
		t.Fatal(err)
	}
	s := saveAll(t, Save{Name: name, Bytes: 100_000}, ethernetLayout, packetsOf(500))
	var stats Stats
	s.enter(&stats)
	diff(t, "error", name+"1: cannot be written: is a directory", stats.SaveError)
	diff(t, "packets", stats.Saved, sound(t, name).Packets)
}

func TestWhatIsSavedToAPipeStopsWhenNobodyReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	go func() {
		if in, err := os.Open(path); err == nil {
			in.Read(make([]byte, 1000))
			in.Close()
		}
	}()
	s := saveAll(t, Save{Name: path}, ethernetLayout, packetsOf(2000))
	var stats Stats
	s.enter(&stats)
	diff(t, "error", path+": cannot be written: broken pipe", stats.SaveError)
}

func TestSavingDoesNotAllocatePerPacket(t *testing.T) {
	mixed := newFileLayout([]tapWritten{{uint32(linkEthernet), "eth0"}, {uint32(linkSLL2), "any"}}, true)
	for name, layout := range map[string]*fileLayout{"pcap": ethernetLayout, "pcapng": mixed} {
		s, err := newSaver(Save{Name: filepath.Join(t.TempDir(), "x"), Bytes: 1e9}, layout)
		if err != nil {
			t.Fatal(err)
		}
		f := frame4(t)
		b := make([]byte, 0, 1<<20)
		if n := testing.AllocsPerRun(20, func() {
			b = b[:0]
			for i := range 1000 {
				b = layout.appendPacket(b, 0, int64(i), f[:i%len(f)], len(f))
			}
			s.add(b)
		}); n != 0 {
			t.Errorf("%s: %v allocations per 1000 packets", name, n)
		}
		s.close()
	}
}

func TestWhereToSaveIsChecked(t *testing.T) {
	for want, to := range map[string]Save{
		"the size and the number of files to save to must not be negative":       {Name: "x", Bytes: -1},
		"a number of files to save to needs the size at which to begin the next": {Name: "x", Files: 2},
		"a size of files to save to needs their name":                            {Bytes: 1},
		"standard output cannot be split into files: save to a file with a name": {Name: "-", Bytes: 1},
	} {
		_, err := OpenLive([]string{"lo"}, Config{Save: to, Encaps: new(tcp.EncapTable)})
		diff(t, "error", want, fmt.Sprint(err))
	}
}

// saved captures a connection and saves it.
func saved(t *testing.T, to string, names ...string) (live []tcp.Segment, stats Stats) {
	t.Helper()
	l, filter := listenLoopback(t)
	s := liveWith(t, Config{Filter: filter, Save: Save{Name: to}}, names...)
	for range 3 {
		talk(t, l)
	}
	live = until(t, s, fins(6*len(names)))
	diff(t, "Close", nil, s.Close())
	return live, s.Stats()
}

func TestWhatIsSavedGivesTheSameSegments(t *testing.T) {
	for _, names := range [][]string{{"lo"}, {"any"}, {"lo", "any"}} {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			want, stats := saved(t, path, names...)
			diff(t, "error", "", stats.SaveError)
			diff(t, "packets", stats.Packets, stats.Saved)
			diff(t, "files", 1, stats.SavedFiles)
			got, fromFile := readAll(t, open(t, path))
			diff(t, "segments", want, got[:min(len(got), len(want))]) // the rest came after the last FIN
			diff(t, "packets", stats.Packets, fromFile.Packets)
			var links []string
			for _, s := range stats.Sources {
				links = append(links, s.LinkTypes...)
			}
			diff(t, "link types", links, fromFile.Sources[0].LinkTypes)
			if _, err := exec.LookPath("tcpdump"); err != nil || len(names) > 1 {
				return // tcpdump knows only files of one link type
			}
			lines := bytes.Count(toolOutput(t, "tcpdump", "-nr", path), []byte("\n"))
			diff(t, "lines of tcpdump", int(stats.Packets), lines)
		})
	}
}

// Whoever captures gives up rights between the two: the file is the user's, then.
func TestTheFileIsBegunByTheFirstRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "none", "x")
	s := liveWith(t, Config{Save: Save{Name: path}}, "lo")
	_, err := s.Read(make([]tcp.Segment, 1))
	diff(t, "error", path+": cannot be written: no such file or directory", fmt.Sprint(err))
}

func TestALiveCaptureEndsAfterSoManyPackets(t *testing.T) {
	for _, names := range [][]string{{"lo"}, {"lo", "any"}} {
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			l, filter := listenLoopback(t)
			path := filepath.Join(t.TempDir(), "x")
			s := liveWith(t, Config{Filter: filter, MaxPackets: 13, Save: Save{Name: path}}, names...)
			for range 5 {
				talk(t, l)
			}
			segments, stats := readAll(t, s)
			diff(t, "segments", 13, len(segments))
			diff(t, "packets", uint64(13), stats.Packets)
			diff(t, "in the file", uint64(13), sound(t, path).Packets)
		})
	}
}

// untimed returns a pcap file without its times: each socket stamps a packet itself. They must not be too far off.
func untimed(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	diff(t, "magic", uint32(magicNanos), le.Uint32(b))
	for at := pcapFileHeaderLen; at < len(b); at += ethernetLayout.packetLen(b[at:]) {
		stamp := time.Unix(int64(le.Uint32(b[at:])), int64(le.Uint32(b[at+4:])))
		if ago := time.Since(stamp); ago < 0 || ago > time.Minute || stamp.Nanosecond() != int(le.Uint32(b[at+4:])) {
			t.Errorf("at offset %d a packet of %v", at, stamp)
		}
		clear(b[at : at+8])
	}
	return b
}

// TestTcpdumpSavesTheSame lets both capture the same packets.
func TestTcpdumpSavesTheSame(t *testing.T) {
	copyTool(t, "tcpdump", "tcpdump")
	for name, link := range map[string]string{"lo": "EN10MB", "any": "LINUX_SLL"} {
		t.Run(name, func(t *testing.T) {
			l, filter := listenLoopback(t)
			in := directory(t, nil)
			s := liveWith(t, Config{Filter: filter, SnapLen: 100, MaxPackets: 100, Save: Save{Name: in("ours")}}, name)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, "tcpdump", "-Z", "root", "-i", name, "-y", link, "-c", "100", "-s", "100",
				"-w", in("theirs"), "--time-stamp-precision=nano", filter)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(stderr); lines.Scan() && !strings.Contains(lines.Text(), "listening on"); {
			}
			for range 20 {
				talk(t, l)
			}
			readAll(t, s)
			diff(t, "tcpdump", nil, cmd.Wait())
			ours, theirs := untimed(t, in("ours")), untimed(t, in("theirs"))
			copy(ours[16:], theirs[16:20]) // the snap length
			if !bytes.Equal(ours, theirs) {
				t.Errorf("%d octets, tcpdump saved %d", len(ours), len(theirs))
			}
		})
	}
}

func TestCloseDoesNotWaitForTheReaderOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	idle, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	s, err := newSaver(Save{Name: path}, ethernetLayout)
	if err != nil {
		t.Fatal(err)
	}
	added := make(chan bool)
	go func() {
		s.add(ethernetLayout.appendPacket(nil, 0, 0, data(maxPacket), 0))
		close(added)
	}()
	for s.writing.TryLock() { // until it writes
		s.writing.Unlock()
		runtime.Gosched()
	}
	s.close()
	<-added
	var stats Stats
	s.enter(&stats)
	diff(t, "error", path+": cannot be written: i/o timeout", stats.SaveError)
}
