package capture

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"tcpleak/tcp"
)

func TestPcapInEveryByteOrderUnitAndCompression(t *testing.T) {
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		for unit, at := range map[int64]int64{1000: 1700000000123456000, 1: 1700000000123456789} {
			plain := pcapFile(order, unit, 65535, uint32(linkEthernet), rec{time: at, data: frame4(t)}, rec{time: at + 5e9, data: frame4(t)})
			for compression, b := range map[string][]byte{
				"":     plain,
				"gzip": gzipped(t, plain[:90], plain[90:]), // two members
				"zstd": zstandard(t, plain),
			} {
				t.Run(fmt.Sprint(order, unit, compression), func(t *testing.T) {
					segments, stats := readBytes(t, b)
					diff(t, "segments", []tcp.Segment{numbered(segment4(), 1, at), numbered(segment4(), 2, at+5e9)}, segments)
					diff(t, "first", at, stats.First)
					diff(t, "last", at+5e9, stats.Last)
					diff(t, "bytes read", int64(len(b)), stats.BytesRead)
					diff(t, "bytes in all", int64(len(b)), stats.BytesTotal)
					stats.Sources[0].Name = ""
					diff(t, "sources", []SourceStats{{Format: "pcap", Compression: compression, LinkTypes: []string{"ETHERNET"}, Packets: 2}}, stats.Sources)
				})
			}
		}
	}
}

func TestUpperBitsOfThePcapLinkTypeAreNotTheLinkType(t *testing.T) {
	b := packet4(t)
	b[2], b[3] = 0, 0 // so that the length is the frame's, less its check sequence of 4 octets
	frame := join(make([]byte, 12), uint16(etherIPv4), b, uint32(0))
	segments, stats := readBytes(t, pcapFile(binary.LittleEndian, 1000, 65535, 2<<28|1<<26|uint32(linkEthernet), rec{data: frame}))
	diff(t, "link types", []string{"ETHERNET"}, stats.Sources[0].LinkTypes)
	diff(t, "length", uint32(100), segments[0].Len)
}

func TestSLL2IsNotTakenForItsLowerEightBits(t *testing.T) {
	b := join(uint16(etherIPv4), make([]byte, 18), packet4(t))
	segments, stats := readBytes(t, pcapFile(binary.LittleEndian, 1000, 65535, uint32(linkSLL2), rec{data: b}))
	diff(t, "segments", []tcp.Segment{numbered(segment4(), 1, 0)}, segments)
	diff(t, "link types", []string{"LINUX_SLL2"}, stats.Sources[0].LinkTypes)
}

func TestPacketsAreCountedByFate(t *testing.T) {
	arp := join(make([]byte, 12), uint16(0x0806), make([]byte, 28))
	f := frame4(t)
	segments, stats := readBytes(t, ethernetFile(rec{time: 1e9, data: arp}, rec{time: 2e9, data: f}, rec{time: 3e9, data: f[:20], wire: len(f)},
		rec{time: 4e9, data: f[:20]}, rec{time: 5e9, data: f}, rec{time: 6e9, data: arp}))
	diff(t, "segments", []tcp.Segment{numbered(segment4(), 2, 2e9), numbered(segment4(), 5, 5e9)}, segments)
	diff(t, "packets", uint64(6), stats.Packets)
	diff(t, "segments", uint64(2), stats.Segments)
	diff(t, "skipped", Skipped{NotTCP: 2, TruncatedHeader: 1, Malformed: 1}, stats.Skipped)
	diff(t, "first, of any protocol", int64(1e9), stats.First)
	diff(t, "last, of any protocol", int64(6e9), stats.Last)
}

func TestAPcapThatBreaksOffIsReadUpToThere(t *testing.T) {
	f := frame4(t)
	whole := ethernetFile(rec{data: f}, rec{data: f})
	first := 24 + 16 + len(f)
	for _, c := range []struct {
		end  int
		want string
	}{
		{10, "ends in the middle of the file header at offset 0"},
		{24, ""},
		{30, "ends in the middle of packet 1 at offset 24"},
		{first, ""},
		{first + 15, fmt.Sprintf("ends in the middle of packet 2 at offset %d", first)},
		{first + 16, fmt.Sprintf("ends in the middle of packet 2 at offset %d", first)},
		{len(whole) - 1, fmt.Sprintf("ends in the middle of packet 2 at offset %d", first)},
		{len(whole), ""},
	} {
		segments, stats := readBytes(t, whole[:c.end])
		diff(t, "truncation", c.want, stats.Sources[0].Truncation)
		diff(t, "truncated", c.want != "", stats.Sources[0].Truncated)
		want := 0
		if c.end >= first {
			want = 1
		}
		if c.end == len(whole) {
			want = 2
		}
		diff(t, "segments", want, len(segments))
	}
}

func TestACompressedStreamThatBreaksOffIsReadUpToThere(t *testing.T) {
	var recs []rec
	for i := range 10000 {
		f := frame4(t)
		binary.BigEndian.PutUint32(f[38:], uint32(i)*2654435761)
		recs = append(recs, rec{data: f})
	}
	plain := ethernetFile(recs...)
	for name, b := range map[string][]byte{"gzip": gzipped(t, plain), "zstd": zstandard(t, plain)} {
		segments, stats := readBytes(t, b[:len(b)-len(b)/4])
		if len(segments) == 0 || len(segments) == len(recs) || !stats.Sources[0].Truncated {
			t.Errorf("%s: %d segments, %+v", name, len(segments), stats.Sources[0])
		}
	}
}

func TestACompressedStreamThatBreaksOffAtItsBeginningIsTruncated(t *testing.T) {
	b := gzipped(t, ethernetFile(rec{data: frame4(t)}))
	for _, end := range []int{5, 11, 14} {
		_, stats := readBytes(t, b[:end])
		diff(t, "truncated", true, stats.Sources[0].Truncated)
	}
}

func TestDamagedCompressedDataIsAnError(t *testing.T) {
	plain := ethernetFile(rec{data: frame4(t)})
	gz, zst := gzipped(t, plain), zstandard(t, plain)
	gz[len(gz)-5] ^= 1   // the checksum's last octet
	zst[len(zst)-1] ^= 1 // likewise
	for name, b := range map[string][]byte{"gzip": gz, "zstd": zst} {
		text := openError(t, b)
		if !strings.Contains(text, "the "+name+" data is damaged") || !strings.Contains(text, name+" -t") || strings.Contains(text, "\n") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestCaptureLengthsBeyondReasonAreRefused(t *testing.T) {
	b := ethernetFile(rec{data: frame4(t)}, rec{data: frame4(t)})
	at := 24 + 16 + len(frame4(t))
	binary.LittleEndian.PutUint32(b[at+8:], 1<<30)
	path := write(t, "x.pcap", b)
	segments, _, err := drain(open(t, path))
	diff(t, "segments before", 1, len(segments))
	diff(t, "error", fmt.Sprintf("%s: packet 2 at offset %d claims 1073741824 captured octets, above the snap length and 256 KiB: "+
		"the file is damaged there; keep what is before it with editcap -r IN OUT 1-1", path, at), fmt.Sprint(err))
}

func TestPacketsAbove256KiBAreReadWhereTheSnapLengthAllows(t *testing.T) {
	big := append(frame4(t), make([]byte, 300<<10)...)
	segments, _ := readBytes(t, pcapFile(binary.LittleEndian, 1000, 1<<20, uint32(linkEthernet), rec{data: big}, rec{data: frame4(t)}))
	diff(t, "segments", []tcp.Segment{numbered(segment4(), 1, 0), numbered(segment4(), 2, 0)}, segments)
}

func TestACaptureLengthAboveTheOriginalIsTolerated(t *testing.T) {
	segments, _ := readBytes(t, ethernetFile(rec{data: frame4(t), wire: 60}, rec{data: frame4(t)}))
	diff(t, "segments", []tcp.Segment{numbered(segment4(), 1, 0), numbered(segment4(), 2, 0)}, segments)
}

func TestInputsThatAreNoCapturesSayWhatTheyAre(t *testing.T) {
	modified := ethernetFile()
	binary.LittleEndian.PutUint32(modified, magicKuznetzov)
	old := ethernetFile()
	old[4] = 1
	const try = "tcpleak reads pcap and pcapng, plain or compressed with gzip or zstd"
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "empty, not even a file header at offset 0: was the capture stopped before its first flush?"},
		{"empty, compressed", gzipped(t, nil), "empty, not even a file header at offset 0: was the capture stopped before its first flush?"},
		{"text", []byte("12:00:00.1 IP 10.0.0.1.80 > …"), "not a capture file, but text: if it is tcpdump's output, capture again with tcpdump -w; " + try},
		{"xz", []byte("\xfd7zXZ\x00\x00"), "not a capture file, but at offset 0 xz data: decompress it first, xz -dc FILE | tcpleak -r -; " + try},
		{"gzip twice", gzipped(t, gzipped(t, ethernetFile())), "not a capture file, but at offset 0 gzip data within compressed data: decompress it once more first; " + try},
		{"noise", []byte{1, 2, 3, 4, 5}, "not a capture file: it begins with 01 02 03 04 at offset 0; " + try},
		{"modified", modified, "a modified pcap format with other packet headers: convert it with editcap -F pcap IN OUT"},
		{"version 1", old, "pcap version 1.4, only 2.x is known: convert it with editcap -F pcap IN OUT"},
		{"link type", pcapFile(binary.LittleEndian, 1, 1, 147), "link type 147 is not supported: capture on an Ethernet, Wi-Fi, PPP, loopback or IP interface"},
	} {
		t.Run(c.name, func(t *testing.T) { diff(t, "error", "x.pcap: "+c.want, openError(t, c.b)) })
	}
}
