package capture

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

func vlans(ids ...uint16) tcp.Encapsulation {
	var e tcp.Encapsulation
	for _, id := range ids {
		e.AddVLAN(id)
	}
	return e
}

func tunnels(list ...tcp.Tunnel) tcp.Encapsulation {
	var e tcp.Encapsulation
	for _, t := range list {
		e.AddTunnel(t.Type, t.ID)
	}
	return e
}

// snap is an LLC header with an EtherType.
func snap(t uint16) []byte { return join("\xaa\xaa\x03\x00\x00\x00", t) }

// linkTypeHeaders lead to packet4 or packet6.
func linkTypeHeaders(t testing.TB) []linkCase {
	sll := join(uint16(0), uint16(1), uint16(6), make([]byte, 8))
	sll2 := join(uint16(0), uint32(3), uint16(1), "\x00\x06", make([]byte, 8))
	le := binary.LittleEndian
	wifi := join(make([]byte, 22), uint16(0))
	return []linkCase{
		{"Ethernet", linkEthernet, join(make([]byte, 12), uint16(etherIPv4)), 4, tcp.Encapsulation{}},
		{"Ethernet, IPv6", linkEthernet, join(make([]byte, 12), uint16(etherIPv6)), 6, tcp.Encapsulation{}},
		{"Ethernet, LLC and SNAP", linkEthernet, join(make([]byte, 12), uint16(148), snap(etherIPv4)), 4, tcp.Encapsulation{}},
		{"VLAN", linkEthernet, join(make([]byte, 12), uint16(etherVLAN), uint16(0xe00a), uint16(etherIPv4)), 4, vlans(10)},
		{"QinQ", linkEthernet, join(make([]byte, 12), uint16(etherQinQ), uint16(20), uint16(etherVLAN), uint16(10), uint16(etherIPv6)), 6, vlans(20, 10)},
		{"QinQ of old", linkEthernet, join(make([]byte, 12), uint16(etherOldQinQ), uint16(20), uint16(etherVLAN), uint16(10), uint16(etherIPv4)), 4, vlans(20, 10)},
		{"a priority tag is no VLAN", linkEthernet, join(make([]byte, 12), uint16(etherVLAN), uint16(0xe000), uint16(etherIPv4)), 4, tcp.Encapsulation{}},
		{"MPLS, two labels", linkEthernet, join(make([]byte, 12), uint16(etherMPLS), uint32(16<<12), uint32(17<<12|0x100)), 4, tcp.Encapsulation{}},
		{"MPLS, IPv6", linkEthernet, join(make([]byte, 12), uint16(etherMPLS), uint32(16<<12|0x100)), 6, tcp.Encapsulation{}},
		{"MPLS, pseudowire with control word", linkEthernet, join(make([]byte, 12), uint16(etherMPLS), uint32(16<<12|0x100), uint32(0), make([]byte, 12), uint16(etherIPv4)), 4, tcp.Encapsulation{}},
		{"MPLS, pseudowire without", linkEthernet, join(make([]byte, 12), uint16(etherMPLS), uint32(16<<12|0x100), make([]byte, 12), uint16(etherIPv4)), 4, tcp.Encapsulation{}},
		{"PPPoE", linkEthernet, join(make([]byte, 12), uint16(etherPPPoE), "\x11\x00", uint16(99), uint16(142), uint16(0x21)), 4, tunnels(tcp.Tunnel{Type: tcp.PPPoE, ID: 99})},
		{"PPPoE, IPv6, in a VLAN", linkEthernet, join(make([]byte, 12), uint16(etherVLAN), uint16(7), uint16(etherPPPoE), "\x11\x00", uint16(99), uint16(162), uint16(0x57)), 6,
			func() tcp.Encapsulation { e := vlans(7); e.AddTunnel(tcp.PPPoE, 99); return e }()},
		{"SLL", linkSLL, join(sll, uint16(etherIPv4)), 4, tcp.Encapsulation{}},
		{"SLL, VLAN", linkSLL, join(sll, uint16(etherVLAN), uint16(10), uint16(etherIPv6)), 6, vlans(10)},
		{"SLL2", linkSLL2, join(uint16(etherIPv4), sll2), 4, tcp.Encapsulation{}},
		{"SLL2, VLAN", linkSLL2, join(uint16(etherVLAN), sll2, uint16(10), uint16(etherIPv6)), 6, vlans(10)},
		{"raw 101", linkRaw, nil, 4, tcp.Encapsulation{}},
		{"raw 12", linkRaw12, nil, 6, tcp.Encapsulation{}},
		{"raw 14", linkRaw14, nil, 4, tcp.Encapsulation{}},
		{"IPv4 228", linkIPv4, nil, 4, tcp.Encapsulation{}},
		{"IPv6 229", linkIPv6, nil, 6, tcp.Encapsulation{}},
		{"null of a little-endian host", linkNull, le.AppendUint32(nil, 2), 4, tcp.Encapsulation{}},
		{"null of a big-endian host", linkNull, join(uint32(2)), 4, tcp.Encapsulation{}},
		{"null, IPv6 of FreeBSD", linkNull, le.AppendUint32(nil, 28), 6, tcp.Encapsulation{}},
		{"null, IPv6 of macOS", linkNull, le.AppendUint32(nil, 30), 6, tcp.Encapsulation{}},
		{"loop", linkLoop, join(uint32(2)), 4, tcp.Encapsulation{}},
		{"loop, IPv6 of OpenBSD", linkLoop, join(uint32(24)), 6, tcp.Encapsulation{}},
		{"PPP", linkPPP, join(uint16(0x21)), 4, tcp.Encapsulation{}},
		{"PPP, compressed protocol", linkPPP, join("\x57"), 6, tcp.Encapsulation{}},
		{"PPP with HDLC", linkPPPHDLC, join("\xff\x03", uint16(0x21)), 4, tcp.Encapsulation{}},
		{"Cisco HDLC", linkPPPHDLC, join("\x0f\x00", uint16(etherIPv6)), 6, tcp.Encapsulation{}},
		{"PPPoE without Ethernet", linkPPPoE, join("\x11\x00", uint16(99), uint16(142), uint16(0x21)), 4, tunnels(tcp.Tunnel{Type: tcp.PPPoE, ID: 99})},
		{"802.11", link80211, join("\x08\x01", wifi[2:], snap(etherIPv4)), 4, tcp.Encapsulation{}},
		{"802.11 between access points", link80211, join("\x08\x03", wifi[2:], make([]byte, 6), snap(etherIPv4)), 4, tcp.Encapsulation{}},
		{"802.11 QoS, high throughput", link80211, join("\x88\x82", wifi[2:], make([]byte, 6), snap(etherIPv6)), 6, tcp.Encapsulation{}},
		{"802.11 with radiotap", link80211Radiotap, join("\x00\x00\x08\x00", uint32(0), "\x08\x01", wifi[2:], snap(etherIPv4)), 4, tcp.Encapsulation{}},
		{"802.11 with radiotap and padding", link80211Radiotap,
			join("\x00\x00\x11\x00", "\x03\x00\x00\x00", make([]byte, 8), 0x20, "\x88\x01", wifi[2:], uint16(0), uint16(0), snap(etherIPv4)), 4, tcp.Encapsulation{}},
	}
}

type linkCase struct {
	name   string
	link   linkType
	header []byte
	ip     int
	encap  tcp.Encapsulation
}

func (c linkCase) packet(t testing.TB) ([]byte, tcp.Segment) {
	if c.ip == 4 {
		return join(c.header, packet4(t)), segment4()
	}
	return join(c.header, packet6(t)), segment6()
}

func TestEveryLinkTypeLeadsToTheSegment(t *testing.T) {
	for _, c := range linkTypeHeaders(t) {
		t.Run(c.name, func(t *testing.T) {
			b, want := c.packet(t)
			got, encap, r := decodeOne(c.link, b, len(b))
			diff(t, "reason", decoded, r)
			diff(t, "segment", want, got)
			diff(t, "encapsulation", c.encap, encap)
		})
	}
}

// A header that is cut is the capture's doing, as long as it is certain that TCP could follow.
func TestCutAnywhereEveryLinkTypeIsTruncated(t *testing.T) {
	for _, c := range linkTypeHeaders(t) {
		b, _ := c.packet(t)
		for n := range len(b) - 100 - (20 - tcpNeeded) {
			if _, _, r := decodeOne(c.link, b[:n], len(b)); r != TruncatedHeader && r != NotTCP {
				t.Errorf("%s cut after %d octets: %v", c.name, n, r)
			}
		}
	}
}

func TestUnknownLinkTypesAreNamedByNumber(t *testing.T) {
	diff(t, "name", "147", linkType(147).String())
	_, _, r := decodeOne(147, make([]byte, 60), 60)
	diff(t, "reason", UnsupportedLinkType, r)
}

func TestEncryptedAndFragmentedWiFiGivesNoSegment(t *testing.T) {
	b, _ := linkCase{link: link80211, header: join("\x08\x41", make([]byte, 22), snap(etherIPv4)), ip: 4}.packet(t)
	_, _, r := decodeOne(link80211, b, len(b))
	diff(t, "encrypted", NotTCP, r)
	b[1], b[22] = 1, 2
	_, _, r = decodeOne(link80211, b, len(b))
	diff(t, "fragment", Fragment, r)
}

func TestVLANsBeyondTheLimitAreRefused(t *testing.T) {
	header := join(make([]byte, 12))
	for id := range uint16(tcp.MaxEncapDepth + 1) {
		header = join(header, uint16(etherVLAN), id+1)
	}
	b := join(header, uint16(etherIPv4), packet4(t))
	_, _, r := decodeOne(linkEthernet, b, len(b))
	diff(t, "reason", TooManyEncapsulations, r)
}

func TestATableThatIsFullRefusesNewEncapsulations(t *testing.T) {
	d := decoder{encaps: new(tcp.EncapTable)}
	for i := range tcp.MaxEncapsulations {
		e := tunnels(tcp.Tunnel{Type: tcp.GRE, ID: uint32(i)})
		d.encaps.ID(&e)
	}
	b := build(t, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv4), gopacket.Payload(packet4(t)))
	var s tcp.Segment
	diff(t, "with a VLAN", TooManyEncapsulations, d.decode(&s, linkEthernet, b, len(b)))
	b = frame4(t)
	diff(t, "without", decoded, d.decode(&s, linkEthernet, b, len(b)))
}
