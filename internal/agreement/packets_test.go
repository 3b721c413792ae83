package agreement

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"tcpleak/capture"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// packet is one captured packet.
type packet struct {
	time     time.Time
	original int
	data     []byte
}

func readPackets(t testing.TB, path string) []packet {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var packets []packet
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, packet{info.Timestamp, info.Length, data})
	}
}

func (p packet) info() gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: p.time, CaptureLength: len(p.data), Length: p.original}
}

// form is a way in which the packets of a capture may be stored or distorted without losing what they say.
type form struct {
	name  string
	write func(w io.Writer, packets []packet) error
}

var forms = []form{
	{"as is", writePcap},
	{"pcapng", writePcapng},
	{"gzip", func(w io.Writer, packets []packet) error {
		z := gzip.NewWriter(w)
		if err := writePcap(z, packets); err != nil {
			return err
		}
		return z.Close()
	}},
	{"68 bytes", func(w io.Writer, packets []packet) error { return writePcap(w, cut(packets, 68)) }},
	{"doubled", func(w io.Writer, packets []packet) error { return writePcap(w, doubled(packets)) }},
	{"neighbours swapped", func(w io.Writer, packets []packet) error { return writePcap(w, swapped(packets, false)) }},
	{"neighbours swapped, restamped", func(w io.Writer, packets []packet) error { return writePcap(w, swapped(packets, true)) }},
}

func writePcap(w io.Writer, packets []packet) error {
	out := pcapgo.NewWriterNanos(w)
	if err := out.WriteFileHeader(262144, layers.LinkTypeEthernet); err != nil {
		return err
	}
	for _, p := range packets {
		if err := out.WritePacket(p.info(), p.data); err != nil {
			return err
		}
	}
	return nil
}

func writePcapng(w io.Writer, packets []packet) error {
	out, err := pcapgo.NewNgWriter(w, layers.LinkTypeEthernet)
	if err != nil {
		return err
	}
	for _, p := range packets {
		if err := out.WritePacket(p.info(), p.data); err != nil {
			return err
		}
	}
	return out.Flush()
}

func cut(packets []packet, snap int) []packet {
	short := append([]packet(nil), packets...)
	for i := range short {
		short[i].data = short[i].data[:min(snap, len(short[i].data))]
	}
	return short
}

func doubled(packets []packet) []packet {
	var twice []packet
	for _, p := range packets {
		again := p
		again.time = p.time.Add(700 * time.Microsecond)
		twice = append(twice, p, again)
	}
	return twice
}

func swapped(packets []packet, restamp bool) []packet {
	all := append([]packet(nil), packets...)
	for i := 0; i+1 < len(all); i += 2 {
		if restamp && all[i+1].time.Sub(all[i].time) > time.Millisecond {
			continue // no capture is that far out of order
		}
		all[i], all[i+1] = all[i+1], all[i]
		if restamp {
			all[i].time, all[i+1].time = all[i+1].time, all[i].time
		}
	}
	return all
}

// lost removes packets at random.
func lost(packets []packet, share float64, random *rand.Rand) []packet {
	var left []packet
	for _, p := range packets {
		if random.Float64() >= share {
			left = append(left, p)
		}
	}
	return left
}

// analyse runs the file at path through capture and tracker as the command does, and returns the time of the last packet.
func analyse(t testing.TB, path string) (*tracker.Table, int64) {
	t.Helper()
	source, err := capture.OpenFiles([]string{path}, capture.Config{Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	table := tracker.New(tracker.Config{})
	batch := make([]tcp.Segment, 64)
	for {
		n, err := source.Read(batch)
		if errors.Is(err, io.EOF) {
			return table, source.Last()
		}
		if err != nil {
			t.Fatal(err)
		}
		table.Add(batch[:n])
	}
}

func analyseAs(t testing.TB, packets []packet, write func(io.Writer, []packet) error) (*tracker.Table, int64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	if err := errors.Join(write(w, packets), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return analyse(t, path)
}

// segmentsOf decodes packets; a packet that is no TCP segment is nil.
func segmentsOf(t testing.TB, packets []packet) []*tcp.Segment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segments")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := writePcap(file, packets); err != nil {
		t.Fatal(err)
	}
	source, err := capture.OpenFiles([]string{path}, capture.Config{Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	segments := make([]*tcp.Segment, len(packets))
	for {
		one := make([]tcp.Segment, 1)
		if n, err := source.Read(one); err != nil || n == 0 {
			return segments
		}
		segments[one[0].Packet-1] = &one[0]
	}
}
