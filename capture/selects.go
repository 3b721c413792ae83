package capture

import (
	"encoding/binary"
	"net/netip"
)

// Selects returns a function that reports whether an expression lets pass the plain segments between two endpoints, as they
// are on Ethernet without VLANs and tunnels, in either direction. It is not safe for concurrent use.
func Selects(expression string) (func(a, b netip.AddrPort) bool, error) {
	f, err := newFilter(linkEthernet, expression)
	if err != nil {
		return nil, err
	}
	return func(a, b netip.AddrPort) bool {
		return f == nil || f.passes(a, b) || f.passes(b, a)
	}, nil
}

// passes asks the filter about an ACK without payload.
func (f *filter) passes(src, dst netip.AddrPort) bool {
	const ethernet, tcpHeader = 14, 20
	frame := make([]byte, ethernet, ethernet+40+tcpHeader)
	from, to := src.Addr().Unmap(), dst.Addr().Unmap()
	if from.Is4() {
		binary.BigEndian.PutUint16(frame[12:], 0x0800)
		frame = append(frame, 0x45, 0, 0, 20+tcpHeader, 0, 0, 0x40, 0, 64, 6, 0, 0)
	} else {
		binary.BigEndian.PutUint16(frame[12:], 0x86dd)
		frame = append(frame, 0x60, 0, 0, 0, 0, tcpHeader, 6, 64)
	}
	frame = append(append(frame, from.AsSlice()...), to.AsSlice()...)
	header := make([]byte, tcpHeader)
	binary.BigEndian.PutUint16(header, src.Port())
	binary.BigEndian.PutUint16(header[2:], dst.Port())
	header[12], header[13] = tcpHeader/4<<4, 0x10
	binary.BigEndian.PutUint16(header[14:], 0xffff)
	frame = append(frame, header...)
	return f.match(frame, len(frame))
}
