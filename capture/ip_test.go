package capture

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

func TestIPv6(t *testing.T) {
	b := packet6(t)
	got, _, r := decodeOne(linkRaw, b, len(b))
	diff(t, "reason", decoded, r)
	diff(t, "segment", segment6(), got)
}

func TestLengthComesFromTheIPHeader(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want tcp.Segment
	}{"IPv4": {packet4(t), segment4()}, "IPv6": {packet6(t), segment6()}} {
		t.Run(name, func(t *testing.T) {
			headers := len(c.b) - 100
			got, _, _ := decodeOne(linkRaw, c.b[:headers], len(c.b))
			diff(t, "when the snap length cuts the payload", c.want, got)
			padded := append(c.b, make([]byte, 30)...)
			got, _, _ = decodeOne(linkRaw, padded, len(padded))
			diff(t, "when the link pads the packet", c.want, got)
		})
	}
}

func TestEthernetPaddingIsNoPayload(t *testing.T) {
	b := append(build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcpData()), 1, 2, 3, 4, 5, 6)
	got, _, _ := decodeOne(linkEthernet, b, len(b))
	diff(t, "length", uint32(0), got.Len)
}

func TestLengthLeftToSegmentationOffloadIsTheFrames(t *testing.T) {
	b := packet4(t)
	b[2], b[3] = 0, 0
	frame := build(t, ether(layers.EthernetTypeIPv4), gopacket.Payload(b))
	got, _, _ := decodeOne(linkEthernet, frame[:64], 14+40+70000)
	diff(t, "IPv4 total length 0", uint32(70000), got.Len)

	b = packet6(t)
	b[4], b[5] = 0, 0
	frame = build(t, ether(layers.EthernetTypeIPv6), gopacket.Payload(b))
	got, _, _ = decodeOne(linkEthernet, frame[:80], 14+60+180000)
	diff(t, "IPv6 payload length 0", uint32(180000), got.Len)
}

func TestJumboPayloadOption(t *testing.T) {
	tcpPart := build(t, tcpData(), data(100))
	hop := join(protoTCP, 0, 0xc2, 4, uint32(8+20+180000))
	b := build(t, ip6(protoHopByHop), gopacket.Payload(join(hop, tcpPart)))
	b[4], b[5] = 0, 0
	got, _, r := decodeOne(linkIPv6, b, 40+8+20+180000+60)
	diff(t, "reason", decoded, r)
	diff(t, "length", uint32(180000), got.Len)
}

func TestIPv4OptionsArePassedOver(t *testing.T) {
	header := ip4(layers.IPProtocolTCP)
	header.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	b := build(t, header, tcpData(), data(100))
	got, _, r := decodeOne(linkIPv4, b, len(b))
	diff(t, "reason", decoded, r)
	diff(t, "segment", segment4(), got)
}

func TestIPv6ExtensionHeadersArePassedOver(t *testing.T) {
	rest := build(t, tcpData(), data(100))
	for name, chain := range map[string][]byte{
		"hop-by-hop":            join(protoTCP, 0, make([]byte, 6), rest),
		"long destination":      join(protoTCP, 2, make([]byte, 22), rest),
		"hop-by-hop, routing":   join(protoRouting, 0, make([]byte, 6), protoTCP, 0, make([]byte, 6), rest),
		"authentication header": join(protoTCP, 4, make([]byte, 22), rest),
		"first fragment":        join(protoTCP, 0, uint16(1), uint32(9), rest),
	} {
		first := map[string]layers.IPProtocol{"long destination": protoDestination, "authentication header": protoAH, "first fragment": protoFragment}[name]
		b := build(t, ip6(first), gopacket.Payload(chain))
		got, _, r := decodeOne(linkRaw, b, len(b))
		diff(t, name, decoded, r)
		diff(t, name, segment6(), got)
		for n := range len(b) - 100 - (20 - tcpNeeded) {
			if _, _, r := decodeOne(linkRaw, b[:n], len(b)); r != TruncatedHeader {
				t.Errorf("%s cut after %d octets: %v", name, n, r)
			}
		}
	}
}

func TestFragments(t *testing.T) {
	first := packet4(t)
	binary.BigEndian.PutUint16(first[6:], 0x2000)
	got, _, r := decodeOne(linkRaw, first, len(first))
	diff(t, "reason of the first", decoded, r)
	diff(t, "the first, with the length it has itself", segment4(), got)

	later := packet4(t)
	binary.BigEndian.PutUint16(later[6:], 185)
	_, _, r = decodeOne(linkRaw, later, len(later))
	diff(t, "a later one", Fragment, r)
	later[9] = protoUDP
	_, _, r = decodeOne(linkRaw, later, len(later))
	diff(t, "a later one of UDP", NotTCP, r)

	later6 := build(t, ip6(protoFragment), gopacket.Payload(join(protoTCP, 0, uint16(8), uint32(9), data(100))))
	_, _, r = decodeOne(linkRaw, later6, len(later6))
	diff(t, "a later one of IPv6", Fragment, r)
}

func TestNonsenseInIPHeadersIsMalformed(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"version":                     func(b []byte) { b[0] = 0x65 },
		"header length below 20":      func(b []byte) { b[0] = 0x44 },
		"total below header length":   func(b []byte) { b[2], b[3] = 0, 19 },
		"no room for a TCP header":    func(b []byte) { b[2], b[3] = 0, 39 },
		"header beyond total length":  func(b []byte) { b[0], b[2], b[3] = 0x4f, 0, 40 },
		"TCP header beyond the total": func(b []byte) { b[2], b[3], b[32] = 0, 40, 0x60 },
	} {
		b := packet4(t)
		change(b)
		_, _, r := decodeOne(linkIPv4, b, len(b))
		diff(t, name, Malformed, r)
	}
}

func TestTruncatedIPHeadersAreToldFromShortPackets(t *testing.T) {
	b := packet4(t)
	for n := range 34 {
		_, _, r := decodeOne(linkIPv4, b[:n], len(b))
		diff(t, "cut", TruncatedHeader, r)
	}
	for n := range 20 {
		_, _, r := decodeOne(linkIPv4, b[:n], n)
		diff(t, "short", Malformed, r)
	}
}

func TestOtherProtocolsAreNotTCP(t *testing.T) {
	for name, b := range map[string][]byte{
		"UDP":          build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(53), data(9)),
		"ICMP":         build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolICMPv4), data(9)),
		"ARP":          build(t, ether(layers.EthernetTypeARP), data(28)),
		"STP in LLC":   build(t, ether(0x26), gopacket.Payload("\x42\x42\x03\x00\x00\x00\x00\x00")),
		"ESP":          build(t, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolESP), data(40)),
		"no next":      build(t, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolNoNextHeader)),
		"GRE to other": build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolGRE), gopacket.Payload(join(uint16(0), uint16(0x883e), data(20)))),
	} {
		_, _, r := decodeOne(linkEthernet, b, len(b))
		diff(t, name, NotTCP, r)
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	d := decoder{encaps: new(tcp.EncapTable)}
	frames := [][]byte{
		frame4(t),
		build(t, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv6), gopacket.Payload(packet6(t))),
		build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(portVXLAN), &layers.VXLAN{ValidIDFlag: true, VNI: 7}, gopacket.Payload(frame4(t))),
	}
	var s tcp.Segment
	if n := testing.AllocsPerRun(1000, func() {
		for _, f := range frames {
			if r := d.decode(&s, linkEthernet, f, len(f)); r != decoded {
				t.Fatal(r)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
