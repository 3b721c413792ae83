package capture

import (
	"encoding/binary"

	"tcpleak/tcp"
)

// UDP ports of tunnels.
const (
	portVXLAN      = 4789
	portLinuxVXLAN = 8472 // Linux's default, older than the one IANA gave
	portGeneve     = 6081
)

// tunnel notes a tunnel and reports whether there was room.
func (d *decoder) tunnel(t tcp.TunnelType, id uint32) bool {
	return !d.nest() && d.encap.AddTunnel(t, id)
}

func (d *decoder) udp(seg *tcp.Segment, b []byte, size int) Reason {
	const header = 8
	if len(b) < 4 {
		return NotTCP
	}
	if d.learner != nil {
		d.tellDatagram(seg, b, size)
	}
	port := binary.BigEndian.Uint16(b[2:])
	if port != portVXLAN && port != portLinuxVXLAN && port != portGeneve {
		return NotTCP
	}
	if len(b) < header+8 {
		return short(b, size)
	}
	b, size = b[header:], size-header
	if port == portGeneve {
		return d.geneve(seg, b, size)
	}
	if b[0]&0x08 == 0 { // RFC 7348 5: without this flag there is no VNI, and it is not VXLAN
		return NotTCP
	}
	if !d.tunnel(tcp.VXLAN, binary.BigEndian.Uint32(b[4:])>>8) {
		return TooManyEncapsulations
	}
	return d.ethernet(seg, b[8:], size-8)
}

// geneve decodes RFC 8926; b has at least 8 octets.
func (d *decoder) geneve(seg *tcp.Segment, b []byte, size int) Reason {
	if b[0]>>6 != 0 {
		return NotTCP
	}
	header := 8 + 4*int(b[0]&0x3f)
	if len(b) < header {
		return short(b, size)
	}
	if !d.tunnel(tcp.Geneve, binary.BigEndian.Uint32(b[4:])>>8) {
		return TooManyEncapsulations
	}
	return d.tunnelled(seg, binary.BigEndian.Uint16(b[2:]), b[header:], size-header)
}

// tunnelled decodes what a tunnel's protocol field announces: an Ethernet frame, or what an EtherType does.
func (d *decoder) tunnelled(seg *tcp.Segment, t uint16, b []byte, size int) Reason {
	if t == etherTEB {
		return d.ethernet(seg, b, size)
	}
	if t < etherLowestType {
		return NotTCP
	}
	return d.etherType(seg, t, b, size)
}

// gre decodes RFC 2784 with the key and sequence number of RFC 2890, and version 1, which is PPTP's (RFC 2637).
func (d *decoder) gre(seg *tcp.Segment, b []byte, size int) Reason {
	const (
		checksum, routing, key, sequence = 0x8000, 0x4000, 0x2000, 0x1000
		ack                              = 0x0080 // version 1 only
	)
	if len(b) < 4 {
		return short(b, size)
	}
	flags, proto := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	version := flags & 7
	if flags&routing != 0 || version > 1 || version == 1 && proto != etherPPP {
		return NotTCP // source routing was withdrawn in 2000
	}
	header, keyAt := 4, 4
	if flags&checksum != 0 {
		header, keyAt = header+4, keyAt+4
	}
	if flags&key != 0 {
		header += 4
	}
	if flags&sequence != 0 {
		header += 4
	}
	if version == 1 && flags&ack != 0 {
		header += 4
	}
	if len(b) < header {
		return short(b, size)
	}
	if d.nest() {
		return TooManyEncapsulations
	}
	// In version 1 the key is a length and a call id that differs by direction.
	if flags&key != 0 && version == 0 && !d.encap.AddTunnel(tcp.GRE, binary.BigEndian.Uint32(b[keyAt:])) {
		return TooManyEncapsulations
	}
	b, size = b[header:], size-header
	switch proto {
	case etherPPP:
		return d.ppp(seg, b, size)
	case etherERSPAN:
		if flags&sequence == 0 { // type I has no header of its own
			return d.ethernet(seg, b, size)
		}
		return d.erspan(seg, b, size, 8)
	case etherERSPAN3:
		return d.erspan(seg, b, size, 12)
	}
	return d.tunnelled(seg, proto, b, size)
}

// erspan decodes a mirrored frame of type II (header of 8 octets) or III (12), draft-foschiano-erspan-03.
func (d *decoder) erspan(seg *tcp.Segment, b []byte, size, header int) Reason {
	if len(b) < header {
		return short(b, size)
	}
	session := uint32(binary.BigEndian.Uint16(b[2:]) & 0x3ff)
	isIP := false
	if header == 12 {
		last := binary.BigEndian.Uint16(b[10:])
		if last&1 != 0 { // a platform-specific subheader follows
			header += 8
		}
		isIP = last>>10&0x1f == 2
	}
	if len(b) < header {
		return short(b, size)
	}
	if !d.encap.AddTunnel(tcp.ERSPAN, session) {
		return TooManyEncapsulations
	}
	b, size = b[header:], size-header
	if isIP {
		return d.ip(seg, b, size)
	}
	return d.ethernet(seg, b, size)
}

// pppoe decodes a session packet (RFC 2516) from the header after the EtherType on.
func (d *decoder) pppoe(seg *tcp.Segment, b []byte, wire int) Reason {
	const header = 6
	if len(b) < header {
		return short(b, wire)
	}
	if b[0] != 0x11 {
		return Malformed
	}
	if b[1] != 0 { // discovery
		return NotTCP
	}
	if !d.encap.AddTunnel(tcp.PPPoE, uint32(binary.BigEndian.Uint16(b[2:]))) {
		return TooManyEncapsulations
	}
	return d.ppp(seg, b[header:], wire-header)
}

// mpls passes over a label stack (RFC 3032). Nothing in it says what it carries: by RFC 4928 the first four bits of IP
// are its version, and those of a pseudowire's control word, which precedes an Ethernet frame, are 0.
func (d *decoder) mpls(seg *tcp.Segment, b []byte, wire int) Reason {
	const bottom = 0x01
	for labels := 0; ; labels++ {
		if len(b) < 4 {
			return short(b, wire)
		}
		if labels > 4*maxNesting {
			return TooManyEncapsulations
		}
		last := b[2]&bottom != 0
		b, wire = b[4:], wire-4
		if last {
			break
		}
	}
	if len(b) == 0 {
		return short(b, wire)
	}
	switch b[0] >> 4 {
	case 4, 6:
		return d.ip(seg, b, wire)
	case 0:
		// Pseudowires without a control word exist, and so do hardware addresses that begin with 0.
		if len(b) >= 4+ethernetHeaderLen && knownEtherType(b[4:]) {
			return d.ethernet(seg, b[4:], wire-4)
		}
	}
	if len(b) >= ethernetHeaderLen && knownEtherType(b) {
		return d.ethernet(seg, b, wire)
	}
	return NotTCP
}

// knownEtherType reports whether b looks like an Ethernet frame that may hold TCP.
func knownEtherType(b []byte) bool {
	switch binary.BigEndian.Uint16(b[12:]) {
	case etherIPv4, etherIPv6, etherVLAN, etherQinQ, etherOldQinQ, etherMPLS, etherMPLSMulti, etherPPPoE:
		return true
	}
	return false
}
