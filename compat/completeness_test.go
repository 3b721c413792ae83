package compat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/compat"
	"tcpleak/tcp"
)

func completenessOf(steps []step) uint8 {
	var c compat.Completeness
	for i := range steps {
		c.Segment(&steps[i].segment)
	}
	return c.Value()
}

// The values were recorded from tshark 4.0.17; TestCompletenessAgreesWithTshark holds the same traces against the one
// that is installed.
var completenessTraces = []struct {
	name, trace string
	want        uint8
}{
	{"SYN unanswered", ">S >S*", 1},
	{"SYN-ACK not acknowledged", ">S <SA", 3},
	{"established, idle", ">S <SA >A", 7},
	{"complete with data", ">S <SA >A >PA:10 <A <PA:20 >A >FA <FA >A", 31},
	{"complete without data", ">S <SA >A >FA <FA >A", 23},
	{"reset after data", ">S <SA >A >PA:10 <A <R", 47},
	{"refused: the RST acknowledges the SYN", ">S <RA", 37},
	{"a FIN without ACK does not count", ">S <SA >A >F", 7},
	{"fast open", ">S:100 <SA >A", 15},
	{"middle of a connection", ">PA:10 <A >PA:10", 12},
	{"SYN-ACK first", ">SA <A", 6},
}

func TestCompleteness(t *testing.T) {
	for _, c := range completenessTraces {
		if got := completenessOf(parseTrace(t, unregistered, c.trace)); got != c.want {
			t.Errorf("%s: %s: %d, want %d", c.name, c.trace, got, c.want)
		}
	}
}

func TestCompletenessOfARealCapture(t *testing.T) {
	want, err := os.ReadFile("testdata/loopback.completeness")
	if err != nil {
		t.Fatal(err)
	}
	streams := readLoopback(t, "testdata/loopback.pcap")
	var got strings.Builder
	for i, steps := range streams {
		fmt.Fprintf(&got, "%d %d\n", i, completenessOf(steps))
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("stream and completeness (-tshark +ours):\n%s", diff)
	}
}

func TestCompletenessAgreesWithTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark: apt-get install tshark")
	}
	var traces []string
	for _, c := range completenessTraces {
		traces = append(traces, c.trace)
	}
	traces = append(traces, randomTraces(rand.New(rand.NewPCG(1, 2)), 500)...)

	var want strings.Builder
	capture := rawPcapHeader()
	for i, trace := range traces {
		steps := parseTrace(t, [2]uint16{uint16(10000 + i), 50000}, trace)
		for j := range steps {
			capture = appendRawPacket(capture, &steps[j].segment)
		}
		fmt.Fprintf(&want, "%d %d  %s\n", i, completenessOf(steps), trace)
	}
	file := filepath.Join(t.TempDir(), "traces.pcap")
	if err := os.WriteFile(file, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("tshark", "-2", "-r", file, "-T", "fields", "-e", "tcp.stream", "-e", "tcp.completeness")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, &stderr)
	}
	last := make([]int, len(traces))
	for line := range strings.Lines(string(out)) {
		var stream, completeness int
		if _, err := fmt.Sscan(line, &stream, &completeness); err != nil || stream >= len(last) {
			t.Fatalf("tshark printed %q", line)
		}
		last[stream] = completeness
	}
	var got strings.Builder
	for i, completeness := range last {
		fmt.Fprintf(&got, "%d %d  %s\n", i, completeness, traces[i])
	}
	if diff := cmp.Diff(got.String(), want.String()); diff != "" {
		t.Errorf("stream, completeness and trace (-tshark +ours):\n%s", diff)
	}
}

// randomTraces returns traces of at least two segments. Of a stream of one segment tshark shows the value before it.
func randomTraces(random *rand.Rand, n int) []string {
	flags := []string{"A", "PA:9", "FA", "F", "FA:5", "RA", "R", "A", "PA:1", "SA", "SFA", "P:3", ""}
	openings := []string{">S <SA >A", ">S", ">S:7 <SA", ">SA", ">A", ">FA"}
	var traces []string
	for range n {
		trace := openings[random.IntN(len(openings))]
		for range 1 + random.IntN(6) {
			trace += " " + string("><"[random.IntN(2)]) + flags[random.IntN(len(flags))]
		}
		traces = append(traces, trace)
	}
	return traces
}

const linkTypeRaw = 101

func rawPcapHeader() []byte {
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = append(header, 2, 0, 4, 0)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, 65535)
	return binary.LittleEndian.AppendUint32(header, linkTypeRaw)
}

func appendRawPacket(capture []byte, s *tcp.Segment) []byte {
	size := 40 + s.Len
	for _, word := range []uint32{uint32(s.Time / 1e9), uint32(s.Time % 1e9 / 1e3), size, size} {
		capture = binary.LittleEndian.AppendUint32(capture, word)
	}
	ip := make([]byte, size)
	src, dst := s.Src.Netip().As4(), s.Dst.Netip().As4()
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(size))
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	header := ip[20:]
	binary.BigEndian.PutUint16(header, s.SrcPort)
	binary.BigEndian.PutUint16(header[2:], s.DstPort)
	binary.BigEndian.PutUint32(header[4:], uint32(s.Seq))
	binary.BigEndian.PutUint32(header[8:], uint32(s.Ack))
	header[12] = 5 << 4
	header[13] = byte(s.Flags)
	binary.BigEndian.PutUint16(header[14:], s.Window)
	return append(capture, ip...)
}

// readLoopback reads an Ethernet capture without VLANs and IP options, its streams in the order of their first packets.
func readLoopback(t *testing.T, file string) [][]step {
	t.Helper()
	capture, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var streams [][]step
	index := make(map[[2]uint16]int)
	for rest := capture[24:]; len(rest) > 0; {
		captured := binary.LittleEndian.Uint32(rest[8:])
		frame := rest[16 : 16+captured]
		rest = rest[16+captured:]
		ip := frame[14:]
		size, total := 20, int(binary.BigEndian.Uint16(ip[2:]))
		if ip[0]>>4 == 6 {
			size, total = 40, 40+int(binary.BigEndian.Uint16(ip[4:]))
		}
		header := ip[size:]
		s := tcp.Segment{
			SrcPort: binary.BigEndian.Uint16(header), DstPort: binary.BigEndian.Uint16(header[2:]),
			Seq: tcp.Seq(binary.BigEndian.Uint32(header[4:])), Ack: tcp.Seq(binary.BigEndian.Uint32(header[8:])),
			Len:    uint32(total - size - int(header[12]>>4)*4),
			Flags:  tcp.Flags(header[13]),
			Window: binary.BigEndian.Uint16(header[14:]),
		}
		i, ok := index[[2]uint16{s.SrcPort, s.DstPort}]
		if !ok {
			i = len(streams)
			streams = append(streams, nil)
			index[[2]uint16{s.SrcPort, s.DstPort}] = i
			index[[2]uint16{s.DstPort, s.SrcPort}] = i
		}
		streams[i] = append(streams[i], step{segment: s})
	}
	return streams
}
