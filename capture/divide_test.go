package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

var halves = []tcp.Parts{0x5555, 0xaaaa}

// inShares reads a file with several sources, and returns what all of them deliver, in order.
func inShares(t *testing.T, path string, wants []tcp.Parts) (segments []tcp.Segment, stats Stats, names overheard) {
	t.Helper()
	s, err := OpenFiles([]string{path}, Config{Encaps: new(tcp.EncapTable), Names: &names})
	if err != nil {
		return nil, Stats{}, nil // as it is for one
	}
	all, err := Divide(s, wants)
	if err != nil {
		t.Fatal(err)
	}
	if all == nil {
		all = []Source{s}
	}
	for i, one := range all {
		got, _, _ := drain(one)
		for _, segment := range got {
			if len(all) > 1 && !wants[i].Has(segment.Part()) {
				t.Errorf("source %d delivers what another wants: %+v", i, segment)
			}
		}
		segments = append(segments, got...)
	}
	slices.SortFunc(segments, func(a, b tcp.Segment) int { return int(a.Packet) - int(b.Packet) })
	slices.Sort(names)
	return segments, s.Stats(), names
}

// compareShares holds the sources that divide a file against one that reads all of it.
func compareShares(t *testing.T, name string, b []byte) {
	t.Helper()
	path := write(t, "x", b)
	want, wantStats, wantNames := inShares(t, path, nil)
	for _, wants := range [][]tcp.Parts{halves, {tcp.AllParts, 0}, {0, tcp.AllParts}, {0x000f, 0x00f0, 0xff00}} {
		got, stats, names := inShares(t, path, wants)
		diff(t, fmt.Sprintf("%s, %x: statistics", name, wants), wantStats, stats)
		diff(t, fmt.Sprintf("%s, %x: names", name, wants), wantNames, names)
		if !slices.Equal(want, got) {
			diff(t, fmt.Sprintf("%s, %x: segments", name, wants), want, got)
		}
	}
}

func TestSourcesThatDivideAFileDeliverAllOfIt(t *testing.T) {
	for name, file := range captures(t) {
		compareShares(t, name, file)
	}
}

// TestDamagedPacketsAreDivided damages packets of many connections, some of which say who the server is.
func TestDamagedPacketsAreDivided(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var recs []rec
	for i := range 4000 {
		ip, link := byte(4), layers.EthernetTypeIPv4
		frame := build(t, ether(link), ip4(layers.IPProtocolTCP), tcpData(), data(r.IntN(60)))
		if i%3 == 0 {
			ip, link = 6, layers.EthernetTypeIPv6
			frame = build(t, ether(link), ip6(layers.IPProtocolTCP), tcpData(), data(r.IntN(60)))
		}
		header := 14 + 20
		if ip == 6 {
			header = 14 + 40
		}
		frame[header], frame[header+1] = byte(r.Uint32()), byte(r.Uint32()) // the port
		if i%5 == 0 {
			frame = append(frame[:header+20], getRequest...)
		}
		for range r.IntN(3) {
			at := 12 + r.IntN(header+10)
			frame[min(at, len(frame)-1)] = byte(r.Uint32()) >> r.IntN(8)
		}
		wire := len(frame)
		if i%4 == 0 {
			frame = frame[:r.IntN(len(frame))]
		}
		recs = append(recs, rec{time: int64(i) * 1000, data: bytes.Clone(frame), wire: wire})
	}
	compareShares(t, "damaged", ethernetFile(recs...))
}

func TestWhatIsNotDivided(t *testing.T) {
	file := pcapFile(binary.LittleEndian, 1000, 65535, 1, rec{time: 1e9, data: tcpFrame(t)})
	for name, c := range map[string]struct {
		content []byte
		filter  string
	}{
		"what a filter looks at": {file, "tcp"}, "gzip": {gzipped(t, file), ""}, "zstd": {zstandard(t, file), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := OpenFiles([]string{write(t, "x", c.content)}, Config{Encaps: new(tcp.EncapTable), Filter: c.filter})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if all, err := Divide(s, halves); all != nil || err != nil {
				t.Errorf("%v, %v; want none, no error", all, err)
			}
		})
	}
}
