package capture

import (
	"encoding/binary"
	"fmt"

	"tcpleak/tcp"
)

// linkType is a link-layer header type as capture files number them (tcpdump.org/linktypes.html).
type linkType uint32

// The link types that are understood. 12 and 14 are what BSDs and Linux call raw IP outside of files, and some programs
// write into files.
const (
	linkNull          linkType = 0
	linkEthernet      linkType = 1
	linkPPP           linkType = 9
	linkRaw12         linkType = 12
	linkRaw14         linkType = 14
	linkPPPHDLC       linkType = 50
	linkPPPoE         linkType = 51
	linkRaw           linkType = 101
	link80211         linkType = 105
	linkLoop          linkType = 108
	linkSLL           linkType = 113
	link80211Radiotap linkType = 127
	linkIPv4          linkType = 228
	linkIPv6          linkType = 229
	linkSLL2          linkType = 276
)

var linkNames = map[linkType]string{
	linkNull:          "NULL",
	linkEthernet:      "ETHERNET",
	linkPPP:           "PPP",
	linkRaw12:         "RAW",
	linkRaw14:         "RAW",
	linkPPPHDLC:       "PPP_HDLC",
	linkPPPoE:         "PPP_ETHER",
	linkRaw:           "RAW",
	link80211:         "IEEE802_11",
	linkLoop:          "LOOP",
	linkSLL:           "LINUX_SLL",
	link80211Radiotap: "IEEE802_11_RADIOTAP",
	linkIPv4:          "IPV4",
	linkIPv6:          "IPV6",
	linkSLL2:          "LINUX_SLL2",
}

// supported reports whether packets of this link type can be decoded.
func (l linkType) supported() bool { return linkNames[l] != "" }

// String returns libpcap's name without LINKTYPE_, or the number.
func (l linkType) String() string {
	if name := linkNames[l]; name != "" {
		return name
	}
	return fmt.Sprint(uint32(l))
}

// inFiles returns the number that a file has for what libpcap calls l on an interface.
func (l linkType) inFiles() linkType {
	if l == linkRaw12 || l == linkRaw14 {
		return linkRaw
	}
	return l
}

// EtherTypes, by IEEE.
const (
	etherIPv4       = 0x0800
	etherVLAN       = 0x8100
	etherTEB        = 0x6558 // an Ethernet frame in a tunnel
	etherIPv6       = 0x86dd
	etherMPLS       = 0x8847
	etherMPLSMulti  = 0x8848
	etherPPPoE      = 0x8864
	etherPPP        = 0x880b
	etherQinQ       = 0x88a8
	etherERSPAN     = 0x88be
	etherOldQinQ    = 0x9100
	etherERSPAN3    = 0x22eb
	etherLowestType = 0x0600 // anything below is the length of an LLC frame
)

const (
	ethernetHeaderLen = 14
	sllHeaderLen      = 16
	sll2HeaderLen     = 20
	loopHeaderLen     = 4
)

// link decodes a packet as it lies in a capture.
func (d *decoder) link(seg *tcp.Segment, link linkType, b []byte, wire int) Reason {
	switch link {
	case linkEthernet:
		return d.ethernet(seg, b, wire)
	case linkSLL:
		if len(b) < sllHeaderLen {
			return short(b, wire)
		}
		return d.etherType(seg, binary.BigEndian.Uint16(b[14:]), b[sllHeaderLen:], wire-sllHeaderLen)
	case linkSLL2:
		if len(b) < sll2HeaderLen {
			return short(b, wire)
		}
		return d.etherType(seg, binary.BigEndian.Uint16(b), b[sll2HeaderLen:], wire-sll2HeaderLen)
	case linkRaw, linkRaw12, linkRaw14:
		return d.ip(seg, b, wire)
	case linkIPv4:
		return d.ipv4(seg, b, wire)
	case linkIPv6:
		return d.ipv6(seg, b, wire)
	case linkNull, linkLoop:
		if len(b) < loopHeaderLen {
			return short(b, wire)
		}
		switch addressFamily(b) {
		case etherIPv4:
			return d.ipv4(seg, b[loopHeaderLen:], wire-loopHeaderLen)
		case etherIPv6:
			return d.ipv6(seg, b[loopHeaderLen:], wire-loopHeaderLen)
		}
		return NotTCP
	case linkPPP, linkPPPHDLC:
		return d.ppp(seg, b, wire)
	case linkPPPoE:
		return d.pppoe(seg, b, wire)
	case link80211:
		return d.wifi(seg, b, wire, false)
	case link80211Radiotap:
		return d.radiotap(seg, b, wire)
	}
	return UnsupportedLinkType
}

func (d *decoder) ethernet(seg *tcp.Segment, b []byte, wire int) Reason {
	if len(b) < ethernetHeaderLen {
		return short(b, wire)
	}
	return d.etherType(seg, binary.BigEndian.Uint16(b[12:]), b[ethernetHeaderLen:], wire-ethernetHeaderLen)
}

// etherType decodes what an EtherType announces, through any VLAN tags.
func (d *decoder) etherType(seg *tcp.Segment, t uint16, b []byte, wire int) Reason {
	for tags := 0; ; tags++ {
		switch t {
		case etherIPv4:
			return d.ipv4(seg, b, wire)
		case etherIPv6:
			return d.ipv6(seg, b, wire)
		case etherVLAN, etherQinQ, etherOldQinQ:
			if len(b) < 4 {
				return short(b, wire)
			}
			// Id 0 is a priority without a VLAN, and an end may send with it and receive without (IEEE 802.1Q 9.6).
			id := binary.BigEndian.Uint16(b) & 0xfff
			if id != 0 && !d.encap.AddVLAN(id) || tags == maxNesting {
				return TooManyEncapsulations
			}
			t, b, wire = binary.BigEndian.Uint16(b[2:]), b[4:], wire-4
		case etherMPLS, etherMPLSMulti, etherPPPoE:
			if d.nest() {
				return TooManyEncapsulations
			}
			if t == etherPPPoE {
				return d.pppoe(seg, b, wire)
			}
			return d.mpls(seg, b, wire)
		default:
			if t < etherLowestType {
				return d.llc(seg, b, wire)
			}
			return NotTCP
		}
	}
}

// llc decodes an IEEE 802.2 header if it is the one that carries an EtherType (SNAP, RFC 1042).
func (d *decoder) llc(seg *tcp.Segment, b []byte, wire int) Reason {
	const header = 8
	if len(b) < header {
		if len(b) < wire && len(b) >= 3 && [3]byte(b) != [3]byte{0xaa, 0xaa, 3} {
			return NotTCP
		}
		return short(b, wire)
	}
	t := binary.BigEndian.Uint16(b[6:])
	if [6]byte(b) != [6]byte{0xaa, 0xaa, 3} || t < etherLowestType {
		return NotTCP
	}
	return d.etherType(seg, t, b[header:], wire-header)
}

// addressFamily returns the EtherType of a BSD loopback packet. The family stands in the byte order of the host that
// captured, which the file does not tell, and IPv6 has as many numbers as there are systems.
func addressFamily(b []byte) uint16 {
	family := binary.LittleEndian.Uint32(b)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(b)
	}
	switch family {
	case 2:
		return etherIPv4
	case 10, 24, 28, 30: // Linux; NetBSD and OpenBSD; FreeBSD; macOS
		return etherIPv6
	}
	return 0
}

// ppp decodes a PPP frame, with or without the HDLC address and control octets (RFC 1662), or Cisco's HDLC.
func (d *decoder) ppp(seg *tcp.Segment, b []byte, wire int) Reason {
	if len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0 {
		return d.etherType(seg, binary.BigEndian.Uint16(b[2:]), b[4:], wire-4)
	}
	if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
		b, wire = b[2:], wire-2
	}
	if len(b) < 2 {
		return short(b, wire)
	}
	proto, n := binary.BigEndian.Uint16(b), 2
	if b[0]&1 != 0 { // compressed to one octet, RFC 1661 6.5
		proto, n = uint16(b[0]), 1
	}
	switch proto {
	case 0x0021:
		return d.ipv4(seg, b[n:], wire-n)
	case 0x0057:
		return d.ipv6(seg, b[n:], wire-n)
	case 0x0281:
		if d.nest() {
			return TooManyEncapsulations
		}
		return d.mpls(seg, b[n:], wire-n)
	}
	return NotTCP
}

// radiotap passes over the measurements that precede an 802.11 frame (radiotap.org).
func (d *decoder) radiotap(seg *tcp.Segment, b []byte, wire int) Reason {
	const (
		more     = 1 << 31 // another word of bits follows
		hasTSFT  = 1 << 0
		hasFlags = 1 << 1
		padded   = 0x20 // flag: the 802.11 header is padded to four octets
	)
	if len(b) < 8 {
		return short(b, wire)
	}
	header := int(binary.LittleEndian.Uint16(b[2:]))
	if header < 8 {
		return Malformed
	}
	if header > len(b) {
		return short(b, wire)
	}
	present := binary.LittleEndian.Uint32(b[4:])
	at := 8
	for word := present; word&more != 0; at += 4 {
		if at+4 > header {
			return Malformed
		}
		word = binary.LittleEndian.Uint32(b[at:])
	}
	if present&hasTSFT != 0 {
		at = (at+7)&^7 + 8
	}
	pad := present&hasFlags != 0 && at < header && b[at]&padded != 0
	return d.wifi(seg, b[header:], wire-header, pad)
}

// wifi decodes an 802.11 data frame that is not encrypted. An aggregate of several frames (A-MSDU) could hold several
// segments and is passed over.
func (d *decoder) wifi(seg *tcp.Segment, b []byte, wire int, padded bool) Reason {
	if len(b) < 24 {
		if len(b) >= 1 && b[0]&0x0c != 0x08 {
			return NotTCP
		}
		return short(b, wire)
	}
	const (
		data, noData, qos                = 0x08, 0x40, 0x80 // of the type and subtype
		toDS, fromDS, protected, htOrder = 0x01, 0x02, 0x40, 0x80
		aggregate                        = 0x80 // of the QoS control field
	)
	if b[0]&0x0f != data || b[0]&noData != 0 || b[1]&protected != 0 {
		return NotTCP
	}
	if b[22]&0x0f != 0 {
		return Fragment
	}
	header := 24
	if b[1]&(toDS|fromDS) == toDS|fromDS {
		header += 6
	}
	if b[0]&qos != 0 {
		if len(b) > header && b[header]&aggregate != 0 {
			return NotTCP
		}
		header += 2
		if b[1]&htOrder != 0 {
			header += 4
		}
	}
	if padded {
		header = (header + 3) &^ 3
	}
	if len(b) < header {
		return short(b, wire)
	}
	return d.llc(seg, b[header:], wire-header)
}
