package capture

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"tcpleak/tcp"
)

func TestPcapngInEitherByteOrderAndCompression(t *testing.T) {
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		plain := join(ngSection(order), ngInterface(order, linkEthernet, 0), ngBlock(order, 5, make([]byte, 12)),
			ngPacket(order, rec{time: 1700000000123456, data: frame4(t)}))
		for compression, b := range map[string][]byte{"": plain, "gzip": gzipped(t, plain), "zstd": zstandard(t, plain)} {
			segments, stats := readBytes(t, b)
			diff(t, "segments", []tcp.Segment{numbered(segment4(), 1, 1700000000123456000)}, segments)
			stats.Sources[0].Name = ""
			diff(t, "sources", []SourceStats{{Format: "pcapng", Compression: compression, LinkTypes: []string{"ETHERNET"}, Packets: 1}}, stats.Sources)
		}
	}
}

func TestPcapngInterfacesHaveTheirOwnLinkTypeAndClock(t *testing.T) {
	le := binary.LittleEndian
	b := join(ngSection(le),
		ngInterface(le, linkEthernet, 0, ngOption(le, 2, []byte("eth0")), ngOption(le, 9, []byte{9})),
		ngInterface(le, linkSLL2, 0, ngOption(le, 9, []byte{0x80 | 10}), ngOption(le, 14, le.AppendUint64(nil, 1000))),
		ngInterface(le, linkRaw, 0, ngOption(le, 9, []byte{12}), ngOption(le, 0, nil), ngOption(le, 9, []byte{0})),
		ngPacket(le, rec{on: 0, time: 5, data: frame4(t)}),
		ngPacket(le, rec{on: 1, time: 1536, data: join(uint16(etherIPv6), make([]byte, 18), packet6(t))}),
		ngPacket(le, rec{on: 2, time: 7000, data: packet4(t)}))
	segments, stats := readBytes(t, b)
	diff(t, "segments", []tcp.Segment{numbered(segment4(), 1, 5), numbered(segment6(), 2, 1001.5e9), numbered(segment4(), 3, 7)}, segments)
	diff(t, "link types", []string{"ETHERNET", "LINUX_SLL2", "RAW"}, stats.Sources[0].LinkTypes)
	diff(t, "first", int64(5), stats.First)
	diff(t, "last", int64(1001.5e9), stats.Last)
}

func TestPcapngSectionsStartAnew(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	segments, _ := readBytes(t, join(
		ngSection(le), ngInterface(le, linkEthernet, 0), ngPacket(le, rec{time: 1, data: frame4(t)}),
		ngSection(be), ngInterface(be, linkRaw, 0), ngPacket(be, rec{time: 2, data: packet6(t)})))
	diff(t, "segments", []tcp.Segment{numbered(segment4(), 1, 1000), numbered(segment6(), 2, 2000)}, segments)
}

func TestPcapngUnsupportedInterfacesArePassedOver(t *testing.T) {
	le := binary.LittleEndian
	segments, stats := readBytes(t, join(ngSection(le), ngInterface(le, 220, 0), ngInterface(le, linkEthernet, 0),
		ngPacket(le, rec{on: 0, time: 1, data: make([]byte, 64)}), ngPacket(le, rec{on: 1, time: 2, data: frame4(t)})))
	diff(t, "segments", []tcp.Segment{numbered(segment4(), 2, 2000)}, segments)
	diff(t, "skipped", Skipped{UnsupportedLinkType: 1}, stats.Skipped)
	diff(t, "link types", []string{"220", "ETHERNET"}, stats.Sources[0].LinkTypes)
}

func TestPcapngOtherPacketBlocks(t *testing.T) {
	le := binary.LittleEndian
	f := frame4(t)
	simple := ngBlock(le, blockSimplePacket, append(le.AppendUint32(nil, uint32(len(f))), f[:64]...))
	old := le.AppendUint32(nil, 0xffff<<16) // interface 0, drops unknown
	old = le.AppendUint64(old, 2<<32)       // microseconds, the upper word first
	old = le.AppendUint32(old, uint32(len(f)))
	old = le.AppendUint32(old, uint32(len(f)))
	segments, _ := readBytes(t, join(ngSection(le), ngInterface(le, linkEthernet, 64), ngBlock(le, blockPacket, append(old, f...)), simple))
	diff(t, "segments; the simple block has no time of its own",
		[]tcp.Segment{numbered(segment4(), 1, 2000), numbered(segment4(), 2, 2000)}, segments)
}

func TestPcapngThatBreaksOffIsReadUpToThere(t *testing.T) {
	le := binary.LittleEndian
	head := join(ngSection(le), ngInterface(le, linkEthernet, 0))
	one := join(head, ngPacket(le, rec{data: frame4(t)}))
	whole := join(one, ngPacket(le, rec{data: frame4(t)}))
	for end := len(one) + 1; end < len(whole); end++ {
		segments, stats := readBytes(t, whole[:end])
		diff(t, "segments", 1, len(segments))
		diff(t, "truncated", true, stats.Sources[0].Truncated)
	}
	_, stats := readBytes(t, whole[:len(whole)-2])
	diff(t, "truncation", fmt.Sprintf("ends in the middle of packet 2 at offset %d", len(one)), stats.Sources[0].Truncation)
	for end := 8; end < len(head); end++ {
		if end == 28 {
			continue
		}
		_, stats := readBytes(t, whole[:end])
		diff(t, "truncated", true, stats.Sources[0].Truncated)
	}
}

func TestPcapngContradictionsAreErrors(t *testing.T) {
	le := binary.LittleEndian
	head := join(ngSection(le), ngInterface(le, linkEthernet, 0))
	good := ngPacket(le, rec{data: frame4(t)})
	change := func(at int, v uint32) []byte {
		b := append([]byte(nil), good...)
		le.PutUint32(b[at:], v)
		return join(head, b)
	}
	advice := ": the file is damaged there; capture again"
	for want, b := range map[string][]byte{
		"claims an impossible length of 7":                       change(4, 7),
		"claims an impossible length of 8":                       change(4, 8),
		"names interface 9 of 1":                                 change(8, 9),
		"claims 4294967295 captured octets and has room for 156": change(20, math.MaxUint32),
		"has two different lengths":                              change(len(good)-4, 12),
		"is too short for a packet":                              join(head, ngBlock(le, blockEnhancedPacket, make([]byte, 16))),
		"is too short for an interface":                          join(head, ngBlock(le, blockInterface, make([]byte, 4))),
		"claims 16777216 captured octets, above the snap length and 256 KiB": func() []byte {
			b := join(head, good)
			le.PutUint32(b[len(head)+4:], 17<<20)
			le.PutUint32(b[len(head)+20:], 16<<20)
			return b
		}(),
	} {
		diff(t, "error", fmt.Sprintf("x.pcap: the block at offset %d %s%s", len(head), want, advice), openError(t, b))
	}
	bad := ngSection(le)
	le.PutUint32(bad[8:], 0)
	diff(t, "error", "x.pcap: the block at offset 0 has no byte order"+advice, openError(t, bad))
	bad = ngSection(le)
	bad[12] = 2
	diff(t, "error", "x.pcap: pcapng version 2.0 at offset 0, only 1.x is known: convert it with editcap -F pcapng IN OUT", openError(t, bad))
}

func TestClocksDoNotOverflow(t *testing.T) {
	for _, c := range []struct {
		clock clock
		units uint64
		want  int64
	}{
		{clock{resolution: 6}, 1700000000123456, 1700000000123456000},
		{clock{resolution: 0}, 1700000000, 1700000000e9},
		{clock{resolution: 3, offset: -1}, 1500, 5e8},
		{clock{resolution: 12}, 1999, 1},
		{clock{resolution: 127}, math.MaxUint64, 0},
		{clock{resolution: 28}, math.MaxUint64, 1},
		{clock{resolution: 0x80}, 3, 3e9},
		{clock{resolution: 0x80 | 32}, 1700000000<<32 | 1<<31, 1700000000.5e9},
		{clock{resolution: 0x80 | 63}, math.MaxUint64, 1999999999},
		{clock{resolution: 0x80 | 64}, 1 << 63, 5e8},
		{clock{resolution: 0xff}, math.MaxUint64, 0},
		{clock{resolution: 0}, math.MaxUint64, farthest},
		{clock{resolution: 6, offset: math.MaxInt64}, math.MaxUint64, farthest},
		{clock{resolution: 6, offset: math.MinInt64}, 0, -int64(farthest) / 1e9 * 1e9},
	} {
		diff(t, fmt.Sprintf("%+v of %d", c.clock, c.units), c.want, c.clock.nanoseconds(c.units))
	}
}
