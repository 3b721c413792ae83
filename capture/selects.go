package capture

import (
	"encoding/binary"
	"net/netip"

	"tcpleak/tcp"
)

// Selects returns a function that reports whether an expression lets pass the plain segments between two endpoints, as they
// are on Ethernet without VLANs and tunnels, in either direction. It is not safe for concurrent use.
func Selects(expression string) (func(a, b netip.AddrPort) bool, error) {
	passes, err := Passes(expression)
	if err != nil {
		return nil, err
	}
	return func(a, b netip.AddrPort) bool { return passes(a, b, tcp.ACK) || passes(b, a, tcp.ACK) }, nil
}

// Passes is Selects for one direction, and for segments with these flags and without payload.
func Passes(expression string) (func(src, dst netip.AddrPort, flags tcp.Flags) bool, error) {
	f, err := newFilter(linkEthernet, expression)
	if err != nil {
		return nil, err
	}
	var frame [ethernetHeaderLen + ipv6HeaderLen + tcpHeaderLen]byte
	return func(src, dst netip.AddrPort, flags tcp.Flags) bool {
		b := plain(frame[:0], src, dst, flags)
		return f.match(b, len(b))
	}, nil
}

// plain appends a segment without payload, in a frame.
func plain(frame []byte, src, dst netip.AddrPort, flags tcp.Flags) []byte {
	frame = append(frame, make([]byte, ethernetHeaderLen)...)
	from, to := src.Addr().Unmap(), dst.Addr().Unmap()
	if from.Is4() {
		binary.BigEndian.PutUint16(frame[12:], etherIPv4)
		frame = append(frame, 0x45, 0, 0, ipv4HeaderLen+tcpHeaderLen, 0, 0, 0x40, 0, 64, 6, 0, 0)
		a, b := from.As4(), to.As4()
		frame = append(append(frame, a[:]...), b[:]...)
	} else {
		binary.BigEndian.PutUint16(frame[12:], etherIPv6)
		frame = append(frame, 0x60, 0, 0, 0, 0, tcpHeaderLen, 6, 64)
		a, b := from.As16(), to.As16()
		frame = append(append(frame, a[:]...), b[:]...)
	}
	at := len(frame)
	frame = append(frame, make([]byte, tcpHeaderLen)...)
	header := frame[at:]
	binary.BigEndian.PutUint16(header, src.Port())
	binary.BigEndian.PutUint16(header[2:], dst.Port())
	header[12], header[13] = tcpHeaderLen/4<<4, byte(flags)
	binary.BigEndian.PutUint16(header[14:], 0xffff)
	return frame
}
