package sockets

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"tcpleak/tcp"
)

// The layouts below are those of linux/inet_diag.h, in the host's byte order but for ports and addresses.
const (
	socketIDSize = 48 // inet_diag_sockid: ports, addresses, interface, cookie
	requestSize  = 8 + socketIDSize
	answerSize   = 4 + socketIDSize + 20 // inet_diag_msg; attributes follow
)

// Address families of Linux, on any system.
const (
	familyIPv4 = 2
	familyIPv6 = 10
)

// kernelStates are TCP's states by the kernel's numbers (net/tcp_states.h).
var kernelStates = [...]tcp.State{
	1:  tcp.Established,
	2:  tcp.SynSent,
	3:  tcp.SynRcvd,
	4:  tcp.FinWait1,
	5:  tcp.FinWait2,
	6:  tcp.TimeWait,
	7:  tcp.Closed,
	8:  tcp.CloseWait,
	9:  tcp.LastAck,
	10: tcp.Listen,
	11: tcp.Closing,
	12: tcp.SynRcvd, // NEW_SYN_RECV, a request socket; answers call it 3, filters of some kernels do not
}

// kernelMask returns the filter for states.
func kernelMask(states States) uint32 {
	var mask uint32
	for number, state := range kernelStates {
		if state != tcp.Unknown && states.Has(state) {
			mask |= 1 << number
		}
	}
	return mask
}

// parseSocket reads an inet_diag_msg.
func parseSocket(b []byte) (Socket, error) {
	if len(b) < answerSize {
		return Socket{}, fmt.Errorf("the kernel describes a socket in %d octets, not %d", len(b), answerSize)
	}
	native := binary.NativeEndian
	id, rest := b[4:4+socketIDSize], b[4+socketIDSize:]
	addr := func(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)).Unmap() }
	switch b[0] {
	case familyIPv6:
	case familyIPv4:
		addr = func(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
	default:
		return Socket{}, fmt.Errorf("the kernel describes a TCP socket of address family %d", b[0])
	}
	s := Socket{
		Local:       netip.AddrPortFrom(addr(id[4:20]), binary.BigEndian.Uint16(id)),
		Remote:      netip.AddrPortFrom(addr(id[20:36]), binary.BigEndian.Uint16(id[2:])),
		Interface:   native.Uint32(id[36:]),
		Cookie:      uint64(native.Uint32(id[44:]))<<32 | uint64(native.Uint32(id[40:])),
		Timer:       Timer(b[2]),
		Retransmits: b[3],
		Expires:     time.Duration(native.Uint32(rest)) * time.Millisecond,
		RecvQueue:   native.Uint32(rest[4:]),
		SendQueue:   native.Uint32(rest[8:]),
		UID:         native.Uint32(rest[12:]),
		Inode:       native.Uint32(rest[16:]),
	}
	if int(b[1]) < len(kernelStates) {
		s.State = kernelStates[b[1]]
	}
	return s, nil
}

// lookupRequest asks for the socket of one connection: an inet_diag_req_v2.
func lookupRequest(p pair, boundTo uint32) []byte {
	b := make([]byte, requestSize)
	local, remote := p.local.Addr(), p.remote.Addr()
	b[0] = familyIPv6
	b[1] = protocolTCP
	id := b[8:]
	if local.Is4() && remote.Is4() {
		b[0] = familyIPv4
		copy(id[4:], local.AsSlice())
		copy(id[20:], remote.AsSlice())
	} else {
		src, dst := local.As16(), remote.As16()
		copy(id[4:], src[:])
		copy(id[20:], dst[:])
	}
	binary.BigEndian.PutUint16(id, p.local.Port())
	binary.BigEndian.PutUint16(id[2:], p.remote.Port())
	binary.NativeEndian.PutUint32(id[36:], boundTo)
	copy(id[40:], "\xff\xff\xff\xff\xff\xff\xff\xff") // any cookie
	return b
}

// dumpRequest asks for all sockets of a family in some states: an inet_diag_req_v2.
func dumpRequest(family byte, mask uint32) []byte {
	b := make([]byte, requestSize)
	b[0], b[1] = family, protocolTCP
	binary.NativeEndian.PutUint32(b[4:], mask)
	return b
}

// bothRequest asks for all sockets of both families in some states, in the form from before there were several families
// (inet_diag_req: family, two lengths, extensions, id, states, dbs). It takes the kernel one walk over its table of
// connections instead of two, and where few sockets match, the walk is what costs.
func bothRequest(mask uint32) []byte {
	b := make([]byte, 4+socketIDSize+8)
	b[0] = familyIPv4 // must be set, means nothing
	binary.NativeEndian.PutUint32(b[4+socketIDSize:], mask)
	return b
}

const protocolTCP = 6
