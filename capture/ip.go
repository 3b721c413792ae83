package capture

import (
	"encoding/binary"

	"tcpleak/tcp"
)

// IP protocol and IPv6 extension header numbers, by IANA.
const (
	protoHopByHop    = 0
	protoIPv4        = 4
	protoTCP         = 6
	protoUDP         = 17
	protoIPv6        = 41
	protoRouting     = 43
	protoFragment    = 44
	protoGRE         = 47
	protoAH          = 51
	protoDestination = 60
	protoMobility    = 135
	protoMPLS        = 137
	protoHIP         = 139
	protoShim6       = 140
)

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40

	// maxNesting bounds the headers that may hold other packets. Four tunnels, each in IP and with an Ethernet frame
	// in it, fit.
	maxNesting = 10
)

// decoder walks a packet's headers down to TCP. Each step takes what the capture kept of the packet from its header on,
// b, and how much there was on the wire, which an outer IP header may narrow down; wire is never used for more than
// telling a short packet from a short snap length, and for the length of packets whose IP header does not say.
type decoder struct {
	encaps  *tcp.EncapTable
	learner Names             // may be nil
	deaf    tcp.Parts         // whose names another source tells
	encap   tcp.Encapsulation // around the current packet
	nested  int               // headers met in the current packet that may hold other packets

	// The encapsulation of the last packet that had one, which spares most packets the table's lock.
	lastEncap tcp.Encapsulation
	lastID    uint32
}

// decode fills in everything of seg but Time and Packet, which the caller has, and returns decoded; or the reason why there
// is no segment, and seg is undefined.
func (d *decoder) decode(seg *tcp.Segment, link linkType, b []byte, wire int) Reason {
	d.nested = 0
	if d.encap.VLANs|d.encap.Tunnels != 0 {
		d.encap = tcp.Encapsulation{}
	}
	r := decoded
	if link == linkEthernet && len(b) >= ethernetHeaderLen && binary.BigEndian.Uint16(b[12:]) == etherIPv4 {
		r = d.ipv4(seg, b[ethernetHeaderLen:], wire-ethernetHeaderLen) // most packets, and sooner
	} else {
		r = d.link(seg, link, b, wire)
	}
	if r != decoded {
		return r
	}
	seg.Encap = 0
	if d.encap.VLANs|d.encap.Tunnels != 0 {
		if d.encap != d.lastEncap {
			id, ok := d.encaps.ID(&d.encap)
			if !ok {
				return TooManyEncapsulations
			}
			d.lastEncap, d.lastID = d.encap, id
		}
		seg.Encap = d.lastID
	}
	return decoded
}

// short says why b ends within a header: the capture cut it off, or the packet itself is too small.
func short(b []byte, wire int) Reason {
	if len(b) < wire {
		return TruncatedHeader
	}
	return Malformed
}

// nest enters a header that may hold another packet, and reports whether that is deep enough to stop.
func (d *decoder) nest() bool {
	d.nested++
	return d.nested > maxNesting
}

// ip decodes a packet of either version.
func (d *decoder) ip(seg *tcp.Segment, b []byte, wire int) Reason {
	if len(b) == 0 {
		return short(b, wire)
	}
	switch b[0] >> 4 {
	case 4:
		return d.ipv4(seg, b, wire)
	case 6:
		return d.ipv6(seg, b, wire)
	}
	return NotTCP
}

func (d *decoder) ipv4(seg *tcp.Segment, b []byte, wire int) Reason {
	if len(b) < ipv4HeaderLen {
		return short(b, wire)
	}
	header := int(b[0]&0xf) * 4
	if b[0]>>4 != 4 || header < ipv4HeaderLen {
		return Malformed
	}
	total := int(binary.BigEndian.Uint16(b[2:4]))
	if total == 0 { // left to segmentation offload
		total = wire
	}
	if total < header {
		return Malformed
	}
	if len(b) < header {
		return short(b, wire)
	}
	if len(b) > total { // what follows is the link's padding or trailer
		b = b[:total]
	}
	seg.Src = tcp.AddrFrom4([4]byte(b[12:16]))
	seg.Dst = tcp.AddrFrom4([4]byte(b[16:20]))
	seg.IPID = binary.BigEndian.Uint16(b[4:6])
	proto := b[9]
	if binary.BigEndian.Uint16(b[6:8])&0x1fff != 0 {
		return laterFragment(proto)
	}
	if proto == protoTCP {
		return d.tcp(seg, b[header:], total-header)
	}
	return d.protocol(seg, proto, b[header:], total-header)
}

func (d *decoder) ipv6(seg *tcp.Segment, b []byte, wire int) Reason {
	if len(b) < ipv6HeaderLen {
		return short(b, wire)
	}
	if b[0]>>4 != 6 {
		return Malformed
	}
	seg.Src = tcp.AddrFrom16([16]byte(b[8:24]))
	seg.Dst = tcp.AddrFrom16([16]byte(b[24:40]))
	seg.IPID = 0
	next := b[6]
	size := int(binary.BigEndian.Uint16(b[4:6]))
	b = b[ipv6HeaderLen:]
	if size == 0 { // left to segmentation offload, or above 65,535
		size = max(wire-ipv6HeaderLen, 0)
		if jumbo := jumboLength(next, b); jumbo > 0 {
			size = min(size, jumbo)
		}
	}
	if len(b) > size {
		b = b[:size]
	}
	if next == protoTCP {
		return d.tcp(seg, b, size)
	}
	return d.protocol(seg, next, b, size)
}

// jumboLength returns what the jumbo payload option says (RFC 2675), which Linux also writes for its own segments above
// 64 KiB; 0 if there is none.
func jumboLength(next byte, b []byte) int {
	if next != protoHopByHop || len(b) < 8 {
		return 0
	}
	for o := b[2:min(len(b), 8+8*int(b[1]))]; len(o) > 0; {
		switch {
		case o[0] == 0: // Pad1
			o = o[1:]
		case len(o) < 2 || len(o) < 2+int(o[1]):
			return 0
		case o[0] == 0xc2 && o[1] == 4:
			return int(min(binary.BigEndian.Uint32(o[2:6]), 1<<31-1))
		default:
			o = o[2+int(o[1]):]
		}
	}
	return 0
}

// laterFragment says what becomes of a fragment that is not the first of a datagram of the given protocol.
func laterFragment(proto byte) Reason {
	switch proto {
	case protoTCP, protoGRE, protoIPv4, protoIPv6, protoMPLS, protoAH, protoRouting, protoDestination:
		return Fragment
	}
	return NotTCP
}

// protocol follows the chain of extension headers, as it may be in IPv6, to TCP or a tunnel.
func (d *decoder) protocol(seg *tcp.Segment, next byte, b []byte, size int) Reason {
	for {
		header := 8
		switch next {
		case protoTCP:
			return d.tcp(seg, b, size)
		case protoUDP:
			return d.udp(seg, b, size)
		case protoGRE:
			return d.gre(seg, b, size)
		case protoIPv4, protoIPv6, protoMPLS:
			if d.nest() {
				return TooManyEncapsulations
			}
			switch next {
			case protoIPv4:
				return d.ipv4(seg, b, size)
			case protoIPv6:
				return d.ipv6(seg, b, size)
			}
			return d.mpls(seg, b, size)
		case protoHopByHop, protoRouting, protoDestination, protoMobility, protoHIP, protoShim6:
			if len(b) < 8 {
				return short(b, size)
			}
			header += 8 * int(b[1])
		case protoAH:
			if len(b) < 8 {
				return short(b, size)
			}
			header += 4 * int(b[1]) // RFC 4302 2.2: in words of four octets, less two
		case protoFragment:
			if len(b) < 8 {
				return short(b, size)
			}
			if binary.BigEndian.Uint16(b[2:4])&0xfff8 != 0 {
				return laterFragment(b[0])
			}
		default:
			return NotTCP
		}
		if len(b) < header {
			return short(b, size)
		}
		next, b, size = b[0], b[header:], size-header
	}
}
