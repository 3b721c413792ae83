package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

// BenchmarkRead reads and decodes files of 96-octet snaps, as production captures are made, and one of whole packets. The
// files are in the page cache.
func BenchmarkRead(b *testing.B) {
	const packets = 200000
	var recs, wholes []rec
	for i := range packets {
		header := tcpData()
		header.Seq = uint32(i) * 1448
		header.Options = []layers.TCPOption{{OptionType: 1}, {OptionType: 1}, {OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}}
		f := build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), header, data(1448))
		recs = append(recs, rec{time: int64(i) * 1e6, data: bytes.Clone(f[:96]), wire: len(f)})
		if i < packets/10 {
			wholes = append(wholes, rec{time: int64(i) * 1e6, data: f})
		}
	}
	le := binary.LittleEndian
	modern := join(ngSection(le), ngInterface(le, linkEthernet, 96))
	for _, r := range recs {
		modern = append(modern, ngPacket(le, r)...)
	}
	classic := pcapFile(le, 1000, 96, 1, recs...)
	for _, c := range []struct {
		name   string
		b      []byte
		count  int
		filter string
		names  Names
	}{
		{"pcap", classic, packets, "", nil},
		{"pcap, names", classic, packets, "", deaf{}},
		{"whole", ethernetFile(wholes...), len(wholes), "", nil},
		{"whole, names", ethernetFile(wholes...), len(wholes), "", deaf{}},
		{"pcapng", modern, packets, "", nil},
		{"gzip", gzipped(b, classic), packets, "", nil},
		{"zstd", zstandard(b, classic), packets, "", nil},
		{"filter", classic, packets, "tcp port 80", nil},
	} {
		path := write(b, "x", c.b)
		b.Run(c.name, func(b *testing.B) {
			batch := make([]tcp.Segment, 512)
			cfg := Config{Encaps: new(tcp.EncapTable), Filter: c.filter, Names: c.names}
			b.ReportAllocs()
			for b.Loop() {
				s, err := OpenFiles([]string{path}, cfg)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = s.Read(batch)
				}
				if err != io.EOF || s.Stats().Segments != uint64(c.count) {
					b.Fatal(err, s.Stats())
				}
				s.Close()
			}
			report(b, c.count*b.N)
		})
	}
}

func report(b *testing.B, packets int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
	b.ReportMetric(float64(packets)/b.Elapsed().Seconds(), "packets/s")
}

// BenchmarkDecode decodes packets of one kind that lie in a file's buffer, without reading.
func BenchmarkDecode(b *testing.B) {
	stamped, syn := tcpData(), tcpData()
	stamps := layers.TCPOption{OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}
	stamped.Options = []layers.TCPOption{{OptionType: 1}, {OptionType: 1}, stamps}
	syn.SYN, syn.ACK = true, false
	syn.Options = []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}, {OptionType: 4, OptionLength: 2},
		stamps, {OptionType: 1}, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}}}
	for _, c := range []struct {
		name string
		link linkType
		b    []byte
	}{
		{"IPv4", linkEthernet, build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), stamped, data(100))},
		{"IPv6", linkEthernet, build(b, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolTCP), stamped, data(100))},
		{"SYN", linkEthernet, build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), syn)},
		{"raw IPv4", linkRaw, build(b, ip4(layers.IPProtocolTCP), stamped, data(100))},
		{"VLAN", linkEthernet, build(b, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), stamped, data(100))},
		{"VXLAN", linkEthernet, overUDP(b, portVXLAN, join(uint32(0x08000000), uint32(0x100)), frame4(b))},
		{"not at all", linkEthernet, build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(53), data(60))},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := &fileSource{decoder: decoder{encaps: new(tcp.EncapTable)}}
			var buf []byte
			for i := range s.records {
				s.records[i] = record{time: int64(i), at: uint32(len(buf)), kept: uint32(len(c.b)), wire: len(c.b)}
				buf = append(buf, c.b...)
			}
			batch := make([]tcp.Segment, len(s.records))
			b.ReportAllocs()
			for b.Loop() {
				s.take(batch, s.records[:], &tap{link: c.link}, buf)
			}
			report(b, len(s.records)*b.N)
		})
	}
}

// BenchmarkDivide goes over packets of many connections for a source that wants all of them, or those of some parts.
func BenchmarkDivide(b *testing.B) {
	frame := build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcpData(), data(30))
	for _, c := range []struct {
		name     string
		division *division
	}{
		{"undivided", nil}, {"all", &division{wants: tcp.AllParts}}, {"half", &division{wants: 0x5555}}, {"none", &division{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := &fileSource{decoder: decoder{encaps: new(tcp.EncapTable)}, division: c.division}
			var buf []byte
			var all [len(s.records)]record
			for i := range all {
				all[i] = record{time: int64(i), at: uint32(len(buf)), kept: uint32(len(frame)), wire: len(frame)}
				frame[34], frame[35] = byte(i*7), byte(i) // the port
				buf = append(buf, frame...)
			}
			batch := make([]tcp.Segment, len(s.records))
			b.ReportAllocs()
			for b.Loop() {
				s.records = all
				s.take(batch, s.records[:], &tap{link: linkEthernet}, buf)
			}
			report(b, len(all)*b.N)
		})
	}
}
