package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

// BenchmarkRead reads and decodes a file of 96-octet snaps, as production captures are made.
func BenchmarkRead(b *testing.B) {
	const packets = 200000
	var recs []rec
	for i := range packets {
		header := tcpData()
		header.Seq = uint32(i) * 1448
		header.Options = []layers.TCPOption{{OptionType: 1}, {OptionType: 1}, {OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}}
		f := build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), header, data(1448))
		recs = append(recs, rec{time: int64(i) * 1e6, data: f[:96], wire: len(f)})
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
		filter string
	}{
		{"pcap", classic, ""},
		{"pcapng", modern, ""},
		{"gzip", gzipped(b, classic), ""},
		{"zstd", zstandard(b, classic), ""},
		{"filter", classic, "tcp port 80"},
	} {
		path := write(b, "x", c.b)
		b.Run(c.name, func(b *testing.B) {
			batch := make([]tcp.Segment, 256)
			cfg := Config{Encaps: new(tcp.EncapTable), Filter: c.filter}
			b.ReportAllocs()
			for b.Loop() {
				s, err := OpenFiles([]string{path}, cfg)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = s.Read(batch)
				}
				if err != io.EOF || s.Stats().Segments != packets {
					b.Fatal(err, s.Stats())
				}
				s.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/packet")
		})
	}
}

// BenchmarkDecode decodes one packet, of each common kind.
func BenchmarkDecode(b *testing.B) {
	syn := tcpData()
	syn.SYN, syn.ACK, syn.Options = true, false, []layers.TCPOption{
		{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}, {OptionType: 4, OptionLength: 2},
		{OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}, {OptionType: 1}, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}}}
	for name, f := range map[string][]byte{
		"IPv4":       frame4(b),
		"SYN":        build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), syn),
		"IPv6":       build(b, ether(layers.EthernetTypeIPv6), gopacket.Payload(packet6(b))),
		"VLAN":       build(b, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv4), gopacket.Payload(packet4(b))),
		"VXLAN":      overUDP(b, portVXLAN, join(uint32(0x08000000), uint32(0x100)), frame4(b)),
		"not at all": build(b, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(53), data(60)),
	} {
		b.Run(fmt.Sprint(name), func(b *testing.B) {
			d := decoder{encaps: new(tcp.EncapTable)}
			var s tcp.Segment
			b.ReportAllocs()
			for b.Loop() {
				d.decode(&s, linkEthernet, f, len(f))
			}
		})
	}
}
