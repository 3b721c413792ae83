package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tcpleak/tcp"
)

// The packet that most tests carry: 100 octets of data from 10.0.0.1:40000 to 10.0.0.2:80.

var (
	clientIP4, serverIP4 = net.IP{10, 0, 0, 1}, net.IP{10, 0, 0, 2}
	clientIP6, serverIP6 = net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2")
)

func ether(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: t}
}

func ip4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Id: 77, Protocol: proto, SrcIP: clientIP4, DstIP: serverIP4}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: clientIP6, DstIP: serverIP6}
}

func vlan(id uint16, t layers.EthernetType) *layers.Dot1Q {
	return &layers.Dot1Q{VLANIdentifier: id, Type: t}
}

func udp(port layers.UDPPort) *layers.UDP { return &layers.UDP{SrcPort: 50000, DstPort: port} }

func tcpData() *layers.TCP {
	return &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1000, Ack: 2000, PSH: true, ACK: true, Window: 501}
}

func data(n int) gopacket.Payload { return make([]byte, n) }

// build serializes layers, lengths filled in.
func build(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

func packet4(t testing.TB) []byte { return build(t, ip4(layers.IPProtocolTCP), tcpData(), data(100)) }

func packet6(t testing.TB) []byte { return build(t, ip6(layers.IPProtocolTCP), tcpData(), data(100)) }

func frame4(t testing.TB) []byte {
	return build(t, ether(layers.EthernetTypeIPv4), gopacket.Payload(packet4(t)))
}

// segment4 is what packet4 says.
func segment4() tcp.Segment {
	return tcp.Segment{
		Src: tcp.AddrFrom4([4]byte{10, 0, 0, 1}), Dst: tcp.AddrFrom4([4]byte{10, 0, 0, 2}), SrcPort: 40000, DstPort: 80,
		Seq: 1000, Ack: 2000, Flags: tcp.PSH | tcp.ACK, Window: 501, Len: 100, IPID: 77,
	}
}

// segment6 is what packet6 says.
func segment6() tcp.Segment {
	s := segment4()
	s.Src, s.Dst, s.IPID = tcp.AddrFrom16([16]byte(clientIP6)), tcp.AddrFrom16([16]byte(serverIP6)), 0
	return s
}

// numbered is s as the given packet of a capture, at the given time.
func numbered(s tcp.Segment, packet uint64, time int64) tcp.Segment {
	s.Packet, s.Time = packet, time
	return s
}

// join concatenates octets, big-endian numbers of 16 and 32 bits, and strings.
func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		case gopacket.Payload:
			b = append(b, p...)
		case string:
			b = append(b, p...)
		case byte:
			b = append(b, p)
		case int:
			b = append(b, byte(p))
		case uint16:
			b = binary.BigEndian.AppendUint16(b, p)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		default:
			panic(p)
		}
	}
	return b
}

// byteOrder is what the file builders need of a byte order.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// rec is a packet in a file.
type rec struct {
	time int64 // nanoseconds
	data []byte
	wire int // 0 is len(data)
	on   int // interface in a pcapng file
}

func (r rec) length() uint32 {
	if r.wire == 0 {
		return uint32(len(r.data))
	}
	return uint32(r.wire)
}

// pcapFile writes the classic format; unit is 1000 or 1, the nanoseconds of a time stamp's fraction.
func pcapFile(order byteOrder, unit int64, snap, network uint32, recs ...rec) []byte {
	magic := uint32(magicMicros)
	if unit == 1 {
		magic = magicNanos
	}
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = order.AppendUint64(b, 0)
	b = order.AppendUint32(b, snap)
	b = order.AppendUint32(b, network)
	for _, r := range recs {
		b = order.AppendUint32(b, uint32(r.time/1e9))
		b = order.AppendUint32(b, uint32(r.time%1e9/unit))
		b = order.AppendUint32(b, uint32(len(r.data)))
		b = order.AppendUint32(b, r.length())
		b = append(b, r.data...)
	}
	return b
}

// ethernetFile is a pcap file of the usual kind.
func ethernetFile(recs ...rec) []byte {
	return pcapFile(binary.LittleEndian, 1000, 262144, uint32(linkEthernet), recs...)
}

// ngBlock writes a pcapng block.
func ngBlock(order byteOrder, kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := order.AppendUint32(nil, kind)
	b = order.AppendUint32(b, uint32(len(body)+12))
	b = append(b, body...)
	return order.AppendUint32(b, uint32(len(body)+12))
}

func ngSection(order byteOrder) []byte {
	body := order.AppendUint32(nil, 0x1a2b3c4d)
	body = order.AppendUint16(body, 1)
	body = order.AppendUint16(body, 0)
	return ngBlock(order, blockSection, order.AppendUint64(body, 1<<64-1))
}

func ngOption(order byteOrder, code uint16, value []byte) []byte {
	b := order.AppendUint16(nil, code)
	b = order.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func ngInterface(order byteOrder, link linkType, snap uint32, options ...[]byte) []byte {
	body := order.AppendUint16(nil, uint16(link))
	body = order.AppendUint16(body, 0)
	body = order.AppendUint32(body, snap)
	for _, o := range options {
		body = append(body, o...)
	}
	return ngBlock(order, blockInterface, body)
}

// ngPacket writes an enhanced packet block; r.time is in the interface's own units.
func ngPacket(order byteOrder, r rec) []byte {
	body := order.AppendUint32(nil, uint32(r.on))
	body = order.AppendUint32(body, uint32(r.time>>32))
	body = order.AppendUint32(body, uint32(r.time))
	body = order.AppendUint32(body, uint32(len(r.data)))
	body = order.AppendUint32(body, r.length())
	return ngBlock(order, blockEnhancedPacket, append(body, r.data...))
}

func gzipped(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, b := range parts {
		w := gzip.NewWriter(&all)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// write puts b into a file of its own.
func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll reads a source to its end, which must come without error.
func readAll(t testing.TB, s Source) ([]tcp.Segment, Stats) {
	t.Helper()
	segments, stats, err := drain(s)
	if err != nil {
		t.Fatal(err)
	}
	return segments, stats
}

// drain reads a source until an error other than io.EOF, which it returns, and closes it.
func drain(s Source) ([]tcp.Segment, Stats, error) {
	defer s.Close()
	var segments []tcp.Segment
	batch := make([]tcp.Segment, 3)
	for {
		n, err := s.Read(batch)
		segments = append(segments, batch[:n]...)
		if err == io.EOF {
			return segments, s.Stats(), nil
		}
		if err != nil {
			return segments, s.Stats(), err
		}
	}
}

// open opens files without a filter.
func open(t testing.TB, names ...string) Source {
	t.Helper()
	s, err := OpenFiles(names, Config{Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readBytes reads a file with the given content.
func readBytes(t testing.TB, b []byte) ([]tcp.Segment, Stats) {
	t.Helper()
	return readAll(t, open(t, write(t, "x", b)))
}

// openError is the error of opening or reading a file with the given content, without the directory.
func openError(t *testing.T, b []byte) string {
	t.Helper()
	path := write(t, "x.pcap", b)
	s, err := OpenFiles([]string{path}, Config{Encaps: new(tcp.EncapTable)})
	if err == nil {
		_, _, err = drain(s)
	}
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	if prefix := filepath.Dir(path) + "/"; len(text) > len(prefix) && text[:len(prefix)] == prefix {
		text = text[len(prefix):]
	}
	return text
}

func diff(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// decodeOne decodes a packet and returns its segment and what surrounds it.
func decodeOne(link linkType, b []byte, wire int) (tcp.Segment, tcp.Encapsulation, Reason) {
	d := decoder{encaps: new(tcp.EncapTable), learner: new(overheard)}
	var s tcp.Segment
	r := d.decode(&s, link, b, wire)
	if r != decoded {
		return tcp.Segment{}, tcp.Encapsulation{}, r
	}
	e := d.encaps.Get(s.Encap)
	s.Encap = 0
	return s, e, r
}
