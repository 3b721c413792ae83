package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

// decodeLayers is decode by gopacket, for the link types and headers that it decodes in the same way: Ethernet and raw
// IP, VLANs, both versions of IP and TCP. ok is false for everything else.
func decodeLayers(link linkType, b []byte) (s tcp.Segment, encap tcp.Encapsulation, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	var (
		eth  layers.Ethernet
		tag  layers.Dot1Q
		v4   layers.IPv4
		v6   layers.IPv6
		head layers.TCP
		feed = gopacket.NilDecodeFeedback
		next = layers.EthernetTypeIPv4
		size int
	)
	switch link {
	case linkEthernet:
		if eth.DecodeFromBytes(b, feed) != nil {
			return
		}
		b, next = eth.Payload, eth.EthernetType
	case linkIPv6:
		next = layers.EthernetTypeIPv6
	}
	for next == layers.EthernetTypeDot1Q || next == layers.EthernetTypeQinQ {
		if tag.DecodeFromBytes(b, feed) != nil || tag.VLANIdentifier != 0 && !encap.AddVLAN(tag.VLANIdentifier) {
			return
		}
		b, next = tag.Payload, tag.Type
	}
	switch next {
	case layers.EthernetTypeIPv4:
		total := 0
		if len(b) >= 4 {
			total = int(binary.BigEndian.Uint16(b[2:])) // gopacket puts a length of its own where there is none
		}
		if v4.DecodeFromBytes(b, feed) != nil || total == 0 || v4.Version != 4 || v4.Protocol != layers.IPProtocolTCP || v4.FragOffset != 0 {
			return
		}
		s.Src, s.Dst, s.IPID = tcp.AddrFrom4([4]byte(v4.SrcIP)), tcp.AddrFrom4([4]byte(v4.DstIP)), v4.Id
		b, size = v4.Payload, int(v4.Length)-4*int(v4.IHL)
	case layers.EthernetTypeIPv6:
		if v6.DecodeFromBytes(b, feed) != nil || v6.Length == 0 || v6.Version != 6 || v6.NextHeader != layers.IPProtocolTCP {
			return
		}
		s.Src, s.Dst = tcp.AddrFrom16([16]byte(v6.SrcIP)), tcp.AddrFrom16([16]byte(v6.DstIP))
		b, size = v6.Payload, int(v6.Length)
	default:
		return
	}
	err := head.DecodeFromBytes(b, feed)
	header := 4 * int(head.DataOffset)
	if len(b) < tcpHeaderLen || header < tcpHeaderLen || header > len(b) || header > size {
		return
	}
	s.SrcPort, s.DstPort, s.Seq, s.Ack = uint16(head.SrcPort), uint16(head.DstPort), tcp.Seq(head.Seq), tcp.Seq(head.Ack)
	s.Window, s.Len = head.Window, uint32(size-header)
	for i, set := range []bool{head.FIN, head.SYN, head.RST, head.PSH, head.ACK, head.URG, head.ECE, head.CWR, head.NS} {
		if set {
			s.Flags |= 1 << i
		}
	}
	if err != nil { // gopacket lists the option that it could not read, last
		s.Options.Has = tcp.HasMalformedOption
		head.Options = head.Options[:len(head.Options)-1]
	}
	for _, o := range head.Options {
		if o.OptionType > 1 && !decodeOption(&s.Options, byte(o.OptionType), o.OptionData) {
			s.Options.Has |= tcp.HasMalformedOption
		}
	}
	return s, encap, true
}

// FuzzDecode holds the header walk against gopacket, and every packet against itself with a shorter snap length.
func FuzzDecode(f *testing.F) {
	for _, c := range linkTypeHeaders(f) {
		b, _ := c.packet(f)
		f.Add(uint16(c.link), b, uint16(0), uint16(60))
	}
	for _, c := range tunnelCases(f) {
		f.Add(uint16(linkEthernet), c.b, uint16(0), uint16(80))
	}
	syn := tcpData()
	syn.SYN, syn.ACK, syn.Options = true, false, []layers.TCPOption{
		{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}, {OptionType: 4, OptionLength: 2},
		{OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}, {OptionType: 1}, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}}}
	f.Add(uint16(linkEthernet), build(f, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), syn), uint16(0), uint16(58))
	f.Add(uint16(linkRaw), build(f, ip6(layers.IPProtocolTCP), syn), uint16(1000), uint16(58))
	f.Add(uint16(linkEthernet), build(f, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolTCP), tcpData(), gopacket.Payload(getRequest)), uint16(0), uint16(100))
	f.Add(uint16(linkEthernet), build(f, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 53, DstPort: 53}, data(40)), uint16(0), uint16(60))
	f.Fuzz(func(t *testing.T, link uint16, b []byte, beyond, snap uint16) {
		wire := len(b) + int(beyond)
		got, encap, r := decodeOne(linkType(link), b, wire)
		if r != decoded && int(r) >= NumReasons {
			t.Fatalf("reason %d", r)
		}
		switch linkType(link) {
		case linkEthernet, linkIPv4, linkIPv6:
			want, wantEncap, ok := decodeLayers(linkType(link), b)
			if ok && (r != decoded || got != want || encap != wantEncap) {
				t.Fatalf("%v, -gopacket +ours:\n%s%s", r, cmp.Diff(want, got), cmp.Diff(wantEncap, encap))
			}
		}
		if linkType(link) == linkEthernet {
			compareUsual(t, b, wire)
		}
		// A shorter snap length may lose the segment, or options, but must not make another one of it.
		cut, cutEncap, cutReason := decodeOne(linkType(link), b[:min(int(snap), len(b))], wire)
		if cutReason != decoded {
			return
		}
		if cut.Options.Has&tcp.HasMalformedOption != 0 {
			cut.Options, got.Options = tcp.Options{}, tcp.Options{}
		}
		if cut.Window == tcp.WindowUnknown {
			got.Window = tcp.WindowUnknown
		}
		if r != decoded || cut != got || cutEncap != encap {
			t.Fatalf("%v, -whole +cut:\n%s%s", r, cmp.Diff(got, cut), cmp.Diff(encap, cutEncap))
		}
	})
}

// FuzzOptions holds that options never claim more than they can, and that the short cuts are only that.
func FuzzOptions(f *testing.F) {
	f.Add(join("\x02\x04\x05\xb4\x04\x02\x08\x0a", uint32(7), uint32(0), "\x01\x03\x03\x07"))
	f.Add(join("\x02\x04\x05\xb4\x04\x02\x08\x0a", uint32(7), uint32(8), "\x01\x03\x03\xff"))
	f.Add(join("\x01\x01\x08\x0a", uint32(1), uint32(2)))
	f.Add(join("\x01\x01\x05\x12", make([]byte, 16), "\xfe\x04\xf9\x89"))
	f.Add([]byte{2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, slow tcp.Options
		decodeOptions(&o, b, false)
		if o.SACKs > 4 || o.WindowScale > maxScale || o.Has&tcp.HasMSS == 0 && o.MSS != 0 {
			t.Fatalf("%+v", o)
		}
		decodeOptions(&slow, append([]byte{optNop}, b...), false) // the length of which keeps it off the short cuts
		if o != slow {
			t.Fatal(cmp.Diff(slow, o))
		}
	})
}

// FuzzFile reads files of any content to their end, in more than one way.
func FuzzFile(f *testing.F) {
	le, be := binary.LittleEndian, binary.BigEndian
	frame := frame4(f)
	classic := pcapFile(be, 1, 65535, 1, rec{data: frame}, rec{data: frame[:60], wire: 1500})
	modern := join(ngSection(le), ngInterface(le, linkEthernet, 64, ngOption(le, 9, []byte{0x8a}), ngOption(le, 14, make([]byte, 8))),
		ngPacket(le, rec{data: frame}), ngBlock(le, blockSimplePacket, append(le.AppendUint32(nil, 60), frame[:60]...)),
		ngSection(be), ngInterface(be, linkSLL2, 0), ngPacket(be, rec{data: join(uint16(etherIPv4), make([]byte, 18), frame[14:])}))
	f.Add(classic)
	f.Add(modern)
	f.Add(ethernetFile(rec{data: frame}))
	f.Add(gzipped(f, classic))
	f.Add(zstandard(f, modern))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		compareWays(t, b, 200)
		s := &fileSource{decoder: decoder{encaps: new(tcp.EncapTable)}, filters: make(map[linkType]*filter)}
		s.stats.Sources = make([]SourceStats, 1)
		in := &file{}
		if err := s.start(in, iotestReader{bytes.NewReader(b)}); err != nil {
			in.close()
			return
		}
		if err := in.packets.next(&in.head); err != nil {
			s.finish(in, err)
			return
		}
		s.active = []*file{in}
		batch := make([]tcp.Segment, 4)
		// A compressed file of a few octets may hold gigabytes.
		for range 10000 {
			n, err := s.Read(batch)
			if err != nil {
				if n != 0 {
					t.Fatal(n, err)
				}
				break
			}
			for _, segment := range batch[:n] {
				if segment.Time > math.MaxInt64/2 || segment.Time < math.MinInt64/2 || segment.Packet == 0 || segment.Packet > s.packets {
					t.Fatalf("%+v", segment)
				}
			}
			if s.packets != s.segments+s.skipped.Total() {
				t.Fatalf("%+v", s.totals)
			}
		}
		in.close()
		var cut *truncation
		if s.err != nil && s.err != io.EOF && errors.As(s.err, &cut) {
			t.Fatal("a file that breaks off is not an error", s.err)
		}
	})
}

// iotestReader returns few octets at a time, so that records lie across the window's refills.
type iotestReader struct{ r io.Reader }

func (r iotestReader) Read(b []byte) (int, error) { return r.r.Read(b[:min(len(b), 13)]) }

// FuzzCopy copies the packets of files of any content and reads the copy.
func FuzzCopy(f *testing.F) {
	le := binary.LittleEndian
	frame := frame4(f)
	f.Add(pcapFile(binary.BigEndian, 1, 65535, 1|fcsPresent|1<<fcsWordsShift, rec{data: frame}, rec{data: frame[:60], wire: 1500}))
	f.Add(join(ngSection(le), ngInterface(le, linkEthernet, 0), ngInterface(le, linkSLL2, 0, ngOption(le, optionResolution, []byte{9})),
		ngPacket(le, rec{data: frame}), ngPacket(le, rec{time: 3, data: frame[:61], on: 1}), ngPacket(le, rec{data: frame, on: 1})))
	f.Add(join(ngSection(le), ngInterface(le, 147, 0, ngOption(le, optionTimeOffset, data(8))), ngPacket(le, rec{data: frame})))
	f.Add(gzipped(f, ethernetFile(rec{data: frame}, rec{data: frame})))
	dir := f.TempDir()
	file := func(t *testing.T, name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := OpenFiles([]string{file(t, "in", b)}, Config{Encaps: new(tcp.EncapTable)})
		if err != nil {
			return
		}
		defer s.Close()
		want, batch := []tcp.Segment(nil), make([]tcp.Segment, 100)
		for range 100 { // a compressed file of a few octets may hold gigabytes
			n, err := s.Read(batch)
			want = append(want, batch[:n]...)
			if err != nil {
				break
			}
		}
		var out bytes.Buffer
		n, err := CopyPackets(t.Context(), s, all, &out)
		if err != nil || n != s.Stats().Packets {
			t.Fatalf("%d packets copied of %d: %v", n, s.Stats().Packets, err)
		}
		again, err := OpenFiles([]string{file(t, "out", out.Bytes())}, Config{Encaps: new(tcp.EncapTable)})
		if err != nil {
			if len(want) > 0 || !strings.Contains(err.Error(), "is not supported") {
				t.Fatal(err)
			}
			return
		}
		got, stats := readAll(t, again)
		if len(got) != len(want) || stats.Packets != n {
			t.Fatalf("%d packets with %d segments in the copy, %d with %d in the file", stats.Packets, len(got), n, len(want))
		}
		for i := range want {
			w, g := &want[i], &got[i]
			const latest = int64(math.MaxUint32) // second that pcap can tell
			sameTime := g.Time == max(0, w.Time) || w.Time/1e9 > latest && g.Time/1e9 == latest
			if !sameTime || g.Packet != w.Packet || g.Seq != w.Seq || g.Src != w.Src || g.Flags != w.Flags {
				t.Fatal(cmp.Diff(*w, *g))
			}
		}
	})
}
