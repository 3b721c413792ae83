package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tcpleak/tcp"
)

// smallDisk returns a directory with room for as many octets.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tcpleak", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("run as root: sudo make test")
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestAFullDiskLeavesNoHalfFile(t *testing.T) {
	recs := make([]rec, 2000)
	for i := range recs {
		recs[i] = rec{time: int64(i), data: data(1000)}
	}
	s := open(t, write(t, "x", ethernetFile(recs...)))
	readAll(t, s)
	dir := smallDisk(t, "1m")
	out := filepath.Join(dir, "out")
	if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := SavePackets(t.Context(), s, all, out)
	diff(t, "error", out+": cannot be written: no space left on device", fmt.Sprint(err))
	b, _ := os.ReadFile(out)
	diff(t, "what was there", "old", string(b))
	entries, _ := os.ReadDir(dir)
	diff(t, "files", 1, len(entries))
}

func TestAFileThatCannotGrowEndsWithAWholePacket(t *testing.T) {
	mixed := newFileLayout([]tapWritten{{uint32(linkEthernet), "eth0"}, {uint32(linkSLL2), "any"}}, true)
	for name, layout := range map[string]*fileLayout{"pcap": ethernetLayout, "pcapng": mixed} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(smallDisk(t, "256k"), "out")
			recs := packetsOf(2000)
			for i := range recs {
				recs[i].on = i % 2 % len(layout.taps)
			}
			s := saveAll(t, Save{Name: out}, layout, recs)
			var stats Stats
			s.enter(&stats)
			diff(t, "error", out+": cannot be written: no space left on device", stats.SaveError)
			if saved := sound(t, out).Packets; saved != stats.Saved || saved < 200 {
				t.Errorf("%d packets in the file, %d said to be saved", saved, stats.Saved)
			}
		})
	}
}

func TestAPipeThatCarriesMoreThanThereIsRoomForIsReadOnce(t *testing.T) {
	dir := smallDisk(t, "64k")
	t.Setenv("TMPDIR", dir)
	w := pipeAsStdin(t)
	go func() {
		w.Write(ethernetFile(rec{data: frame4(t)}, rec{data: data(200_000)}, rec{data: frame4(t)}))
		w.Close()
	}()
	s, err := OpenFiles([]string{"-"}, Config{Encaps: new(tcp.EncapTable), Spool: true})
	if err != nil {
		t.Fatal(err)
	}
	segments, _ := readAll(t, s)
	diff(t, "segments", 2, len(segments))
	_, err = Reopen(s, new(tcp.EncapTable))
	if err == nil || !strings.HasPrefix(err.Error(), "standard input: could not be kept in "+dir+" for a second reading, after ") ||
		!strings.Contains(err.Error(), ": no space left on device: point TMPDIR to ") {
		t.Error(err)
	}
}
