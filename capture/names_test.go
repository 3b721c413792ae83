package capture

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

// overheard keeps what Names is told.
type overheard []string

func (n *overheard) Segment(seg *tcp.Segment, payload []byte) {
	*n = append(*n, fmt.Sprintf("%d: %v:%d > %v:%d %q", seg.Time, seg.Src, seg.SrcPort, seg.Dst, seg.DstPort, payload))
}

func (n *overheard) Datagram(seg *tcp.Segment, payload []byte) {
	*n = append(*n, fmt.Sprintf("%d: UDP %v:%d > %v:%d %q", seg.Time, seg.Src, seg.SrcPort, seg.Dst, seg.DstPort, payload))
}

const getRequest = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"

// overhear reads the packets of a file, and returns what Names is told.
func overhear(t *testing.T, file []byte) (overheard, Stats) {
	t.Helper()
	var names overheard
	s, err := OpenFiles([]string{write(t, "x.pcap", file)}, Config{Encaps: new(tcp.EncapTable), Names: &names})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, stats := readAll(t, s)
	return names, stats
}

func TestNamesAreToldOfTheFirstOctetsOfARequest(t *testing.T) {
	hello := join("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", make([]byte, 60))
	for _, c := range []struct {
		name    string
		payload string
		told    bool
	}{
		{"GET", getRequest, true},
		{"POST", "POST /orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n", true},
		{"ClientHello", string(hello), true},
		{"ServerHello", string(join(hello[:5], "\x02", hello[6:])), false},
		{"answer", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", false},
		{"TLS data", string(join("\x17", hello[1:])), false},
		{"nearly GET", "GETTING nowhere, at some considerable length", false},
		{"too short", "GET / HTTP/1.0\r\n\r\n", false},
	} {
		want := overheard(nil)
		if c.told {
			want = overheard{fmt.Sprintf("1000: 10.0.0.1:40000 > 10.0.0.2:80 %q", c.payload)}
		}
		frame := build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcpData(), gopacket.Payload(c.payload))
		got, _ := overhear(t, ethernetFile(rec{time: 1000, data: frame}))
		diff(t, c.name, want, got)
	}
}

// Whatever surrounds it, the payload is that of the packet: without padding, and up to where the snap length cut it.
func TestNamesAreToldTheSameOnEveryWay(t *testing.T) {
	payload := gopacket.Payload(getRequest)
	v4 := build(t, ip4(layers.IPProtocolTCP), tcpData(), payload)
	v6 := build(t, ip6(layers.IPProtocolTCP), tcpData(), payload)
	const from4, from6 = "0: 10.0.0.1:40000 > 10.0.0.2:80", "0: 2001:db8::1:40000 > 2001:db8::2:80"
	usual4 := build(t, ether(layers.EthernetTypeIPv4), gopacket.Payload(v4))
	for _, c := range []struct {
		name string
		link linkType
		b    []byte
		from string
		cut  int // of the request
	}{
		{"IPv4", linkEthernet, usual4, from4, 0},
		{"IPv4, padded", linkEthernet, join(usual4, "trailer of the link"), from4, 0},
		{"IPv4, cut", linkEthernet, usual4[:len(usual4)-5], from4, 5},
		{"IPv6", linkEthernet, build(t, ether(layers.EthernetTypeIPv6), gopacket.Payload(v6)), from6, 0},
		{"VLAN", linkEthernet, build(t, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv4), gopacket.Payload(v4)), from4, 0},
		{"VLAN, padded", linkEthernet, join(build(t, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv4), gopacket.Payload(v4)), "trailer"), from4, 0},
		{"raw IPv4", linkRaw, v4, from4, 0},
		{"raw IPv6, cut", linkRaw, v6[:len(v6)-5], from6, 5},
		{"SLL2", linkSLL2, join(uint16(etherIPv4), make([]byte, 18), v4), from4, 0},
		{"VXLAN", linkEthernet, overUDP(t, portVXLAN, join(uint32(0x08000000), uint32(0x100)), usual4), from4, 0},
	} {
		file := pcapFile(binary.LittleEndian, 1000, 262144, uint32(c.link), rec{data: c.b, wire: len(c.b) + c.cut})
		got, _ := overhear(t, file)
		diff(t, c.name, overheard{fmt.Sprintf("%s %q", c.from, getRequest[:len(getRequest)-c.cut])}, got)
	}
}

func TestNamesAreToldOfDNSWhichIsNotTCP(t *testing.T) {
	answer := func(from layers.UDPPort) []byte {
		return build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: from, DstPort: 50000}, gopacket.Payload("an answer"))
	}
	question := build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(53), gopacket.Payload("a question"))
	got, stats := overhear(t, ethernetFile(rec{time: 1000, data: question}, rec{time: 2000, data: answer(53)}, rec{time: 3000, data: answer(5353)},
		rec{time: 4000, data: answer(123)}, rec{time: 5000, data: answer(53)[:42]}))
	diff(t, "told", overheard{`2000: UDP 10.0.0.1:53 > 10.0.0.2:50000 "an answer"`, `3000: UDP 10.0.0.1:5353 > 10.0.0.2:50000 "an answer"`}, got)
	diff(t, "not TCP", uint64(5), stats.Skipped[NotTCP])
}

// What a filter rejects is not looked at, as it is not when capturing.
func TestNamesAreNotToldOfWhatIsFiltered(t *testing.T) {
	frame := build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcpData(), gopacket.Payload(getRequest))
	path := write(t, "x.pcap", ethernetFile(rec{data: frame}))
	for filter, want := range map[string]int{"port 80": 1, "port 81": 0} {
		var names overheard
		s, err := OpenFiles([]string{path}, Config{Encaps: new(tcp.EncapTable), Names: &names, Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, s)
		s.Close()
		diff(t, filter, want, len(names))
	}
}

func TestReadingWithNamesDoesNotAllocate(t *testing.T) {
	frame := build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcpData(), gopacket.Payload(getRequest))
	s := &fileSource{decoder: decoder{encaps: new(tcp.EncapTable), learner: deaf{}}}
	s.records[0] = record{time: 1, kept: uint32(len(frame)), wire: len(frame)}
	batch := make([]tcp.Segment, 1)
	on := &tap{link: linkEthernet}
	if n := testing.AllocsPerRun(100, func() { s.take(batch, s.records[:1], on, frame) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// deaf learns nothing.
type deaf struct{}

func (deaf) Segment(*tcp.Segment, []byte)  {}
func (deaf) Datagram(*tcp.Segment, []byte) {}
