package capture

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

func outer(t testing.TB, proto layers.IPProtocol, rest ...[]byte) []byte {
	var b []byte
	for _, r := range rest {
		b = append(b, r...)
	}
	return build(t, ether(layers.EthernetTypeIPv4), ip4(proto), gopacket.Payload(b))
}

func overUDP(t testing.TB, port layers.UDPPort, rest ...[]byte) []byte {
	var b []byte
	for _, r := range rest {
		b = append(b, r...)
	}
	return outer(t, layers.IPProtocolUDP, build(t, udp(port), gopacket.Payload(b)))
}

type tunnelCase struct {
	name  string
	b     []byte
	want  tcp.Segment
	encap tcp.Encapsulation
}

func tunnelCases(t testing.TB) []tunnelCase {
	p4, p6, f4 := packet4(t), packet6(t), frame4(t)
	none := tcp.Encapsulation{}
	vni := func(kind tcp.TunnelType) tcp.Encapsulation { return tunnels(tcp.Tunnel{Type: kind, ID: 0x123456}) }
	vxlan := join(uint32(0x08000000), uint32(0x12345600))
	return []tunnelCase{
		{"4in4", outer(t, layers.IPProtocolIPv4, p4), segment4(), none},
		{"6in4", outer(t, layers.IPProtocolIPv6, p6), segment6(), none},
		{"4in6", build(t, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolIPv4), gopacket.Payload(p4)), segment4(), none},
		{"6in6", build(t, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolIPv6), gopacket.Payload(p6)), segment6(), none},
		{"MPLS in IP", outer(t, layers.IPProtocolMPLSInIP, join(uint32(0x00010100)), p4), segment4(), none},
		{"GRE without key", outer(t, layers.IPProtocolGRE, join(uint16(0), uint16(etherIPv4)), p4), segment4(), none},
		{"GRE with checksum, key and sequence", outer(t, layers.IPProtocolGRE, join(uint16(0xb000), uint16(etherIPv6), uint32(0), uint32(42), uint32(1)), p6),
			segment6(), tunnels(tcp.Tunnel{Type: tcp.GRE, ID: 42})},
		{"GRE with sequence only", outer(t, layers.IPProtocolGRE, join(uint16(0x1000), uint16(etherIPv4), uint32(1)), p4), segment4(), none},
		{"Ethernet in GRE", outer(t, layers.IPProtocolGRE, join(uint16(0), uint16(etherTEB)), f4), segment4(), none},
		{"VLAN in Ethernet in GRE", outer(t, layers.IPProtocolGRE, join(uint16(0), uint16(etherTEB)),
			build(t, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv4), gopacket.Payload(p4))), segment4(), vlans(10)},
		{"MPLS in GRE", outer(t, layers.IPProtocolGRE, join(uint16(0), uint16(etherMPLS), uint32(0x00010100)), p4), segment4(), none},
		{"PPTP", outer(t, layers.IPProtocolGRE, join(uint16(0x3081), uint16(etherPPP), uint16(144), uint16(7), uint32(1), uint32(2), "\xff\x03\x00\x21"), p4), segment4(), none},
		{"ERSPAN I", outer(t, layers.IPProtocolGRE, join(uint16(0), uint16(etherERSPAN)), f4), segment4(), none},
		{"ERSPAN II", outer(t, layers.IPProtocolGRE, join(uint16(0x1000), uint16(etherERSPAN), uint32(1), uint16(0x1005), uint16(0x0800|300), uint32(0)), f4),
			segment4(), tunnels(tcp.Tunnel{Type: tcp.ERSPAN, ID: 300})},
		{"ERSPAN III", outer(t, layers.IPProtocolGRE, join(uint16(0x1000), uint16(etherERSPAN3), uint32(1), uint16(0x2005), uint16(300), uint32(0), uint32(0)), f4),
			segment4(), tunnels(tcp.Tunnel{Type: tcp.ERSPAN, ID: 300})},
		{"ERSPAN III with subheader", outer(t, layers.IPProtocolGRE, join(uint16(0x1000), uint16(etherERSPAN3), uint32(1), uint16(0x2005), uint16(300), uint32(0), uint32(1), uint32(5), uint32(6)), f4),
			segment4(), tunnels(tcp.Tunnel{Type: tcp.ERSPAN, ID: 300})},
		{"ERSPAN III without Ethernet", outer(t, layers.IPProtocolGRE, join(uint16(0x1000), uint16(etherERSPAN3), uint32(1), uint16(0x2005), uint16(300), uint32(0), uint32(2<<10)), p6),
			segment6(), tunnels(tcp.Tunnel{Type: tcp.ERSPAN, ID: 300})},
		{"VXLAN", overUDP(t, portVXLAN, vxlan, f4), segment4(), vni(tcp.VXLAN)},
		{"VXLAN on Linux's port", overUDP(t, portLinuxVXLAN, vxlan, f4), segment4(), vni(tcp.VXLAN)},
		{"Geneve with options", overUDP(t, portGeneve, join("\x02\x00", uint16(etherTEB), uint32(0x12345600), make([]byte, 8)), f4), segment4(), vni(tcp.Geneve)},
		{"Geneve, IPv6 inside", overUDP(t, portGeneve, join("\x00\x00", uint16(etherIPv6), uint32(0x12345600)), p6), segment6(), vni(tcp.Geneve)},
		{"VXLAN in VXLAN", overUDP(t, portVXLAN, vxlan, overUDP(t, portVXLAN, join(uint32(0x08000000), uint32(0x100)), f4)), segment4(),
			tunnels(tcp.Tunnel{Type: tcp.VXLAN, ID: 0x123456}, tcp.Tunnel{Type: tcp.VXLAN, ID: 1})},
	}
}

func TestEveryTunnelLeadsToTheSegment(t *testing.T) {
	for _, c := range tunnelCases(t) {
		t.Run(c.name, func(t *testing.T) {
			got, encap, r := decodeOne(linkEthernet, c.b, len(c.b))
			diff(t, "reason", decoded, r)
			diff(t, "segment", c.want, got)
			diff(t, "encapsulation", c.encap, encap)

			cut := len(c.b) - 100 // the inner headers alone: lengths come from the inner IP header
			got, _, _ = decodeOne(linkEthernet, c.b[:cut], len(c.b))
			diff(t, "segment without payload", c.want, got)
			for n := range cut - (20 - tcpNeeded) {
				if _, _, r := decodeOne(linkEthernet, c.b[:n], len(c.b)); r != TruncatedHeader && r != NotTCP {
					t.Errorf("cut after %d octets: %v", n, r)
				}
			}
		})
	}
}

func TestTunnelsNestedTooDeepAreRefused(t *testing.T) {
	b := frame4(t)
	for range tcp.MaxEncapDepth + 1 {
		b = overUDP(t, portVXLAN, join(uint32(0x08000000), uint32(0x12345600)), b)
	}
	_, _, r := decodeOne(linkEthernet, b, len(b))
	diff(t, "with ids", TooManyEncapsulations, r)
	p := packet4(t)
	for range maxNesting + 1 {
		p = build(t, ip4(layers.IPProtocolIPv4), gopacket.Payload(p))
	}
	_, _, r = decodeOne(linkRaw, p, len(p))
	diff(t, "without ids", TooManyEncapsulations, r)
}

func TestWhatOnlyLooksLikeATunnelIsNotTCP(t *testing.T) {
	for name, b := range map[string][]byte{
		"VXLAN's port without its flag": overUDP(t, portVXLAN, data(60)),
		"Geneve of a later version":     overUDP(t, portGeneve, join("\xc0\x00", data(60))),
		"PPPoE discovery":               build(t, ether(etherPPPoE), gopacket.Payload(join("\x11\x09", data(60)))),
		"GRE with routing":              outer(t, layers.IPProtocolGRE, join(uint16(0x4000), uint16(etherIPv4), data(60))),
		"GRE of a later version":        outer(t, layers.IPProtocolGRE, join(uint16(2), uint16(etherIPv4), data(60))),
		"MPLS with an unknown payload":  build(t, ether(layers.EthernetTypeMPLSUnicast), gopacket.Payload(join(uint32(0x100), data(60)))),
	} {
		_, _, r := decodeOne(linkEthernet, b, len(b))
		diff(t, name, NotTCP, r)
	}
}
