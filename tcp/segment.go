// Package tcp is the vocabulary: what a TCP segment says, the sequence numbers and states that follow from it.
package tcp

import (
	"encoding/binary"
	"net/netip"
)

// Addr is an IP address as two words in network order; IPv4 is mapped as in RFC 4291 2.5.5.2. Unlike netip.Addr it holds
// no pointer, so that tables of millions of addresses cost the garbage collector nothing.
type Addr struct{ Hi, Lo uint64 }

// AddrFrom4 maps an IPv4 address.
func AddrFrom4(a [4]byte) Addr {
	return Addr{Lo: 0xffff_0000_0000 | uint64(binary.BigEndian.Uint32(a[:]))}
}

// AddrFrom16 takes an IPv6 address.
func AddrFrom16(a [16]byte) Addr {
	return Addr{Hi: binary.BigEndian.Uint64(a[:8]), Lo: binary.BigEndian.Uint64(a[8:])}
}

// AddrFromNetip takes an address of either family; a zone is dropped.
func AddrFromNetip(a netip.Addr) Addr { return AddrFrom16(a.As16()) }

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

// Netip returns a as a netip.Addr, IPv4 unmapped.
func (a Addr) Netip() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b).Unmap()
}

// String returns the usual text of the address: "10.0.0.1", "2001:db8::1".
func (a Addr) String() string { return a.Netip().String() }

// Less orders addresses by value.
func (a Addr) Less(b Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// SeqRange is a half-open range of sequence space, [Left, Right).
type SeqRange struct{ Left, Right Seq }

// Options are the TCP options that say something about the state of a connection.
type Options struct {
	TSVal, TSEcr uint32 // RFC 7323, valid with HasTimestamps
	MSS          uint16 // octets, valid with HasMSS
	WindowScale  uint8  // shift count 0 to 14, valid with HasWindowScale
	Has          OptionSet
	SACKs        uint8 // how many of SACK are filled, 0 to 4
	SACK         [4]SeqRange
}

// OptionSet says which options a header carried.
type OptionSet uint8

// The members of an OptionSet.
const (
	HasMSS OptionSet = 1 << iota
	HasWindowScale
	HasSACKPermitted
	HasTimestamps
	HasFastOpen        // RFC 7413 cookie or request, also in its experimental form (kind 254, magic 0xF989)
	HasMalformedOption // an option's length was impossible, or the snap length cut the options; those before it are valid
)

// Segment is one TCP segment as the capture saw it. It is a value without pointers: the caller owns it and a Source fills
// it in, so that reading allocates nothing. It takes two cache lines: what is asked of every segment comes first, and
// selective acknowledgments, which few have, come last.
type Segment struct {
	Time     int64  // nanoseconds since 1970 in UTC, as the capture stamped it
	Packet   uint64 // number of the packet in the stream, from 1
	Src, Dst Addr
	Seq, Ack Seq
	Len      uint32 // payload octets by the IP header, whatever the capture kept; 0 to 2³²-1
	Encap    uint32 // identity of VLANs and tunnels around it, see EncapTable; 0 is none
	SrcPort  uint16
	DstPort  uint16
	Window   uint16 // as in the header, not scaled; WindowUnknown where the snap length cut it off
	IPID     uint16 // IPv4 identification; 0 for IPv6
	Flags    Flags
	Options  Options
}

// WindowUnknown stands for a window that was not captured: open, as most are.
const WindowUnknown = 1<<16 - 1

// End returns the sequence number after the segment: SYN and FIN occupy one each (RFC 9293 3.4).
func (s *Segment) End() Seq {
	end := s.Seq.Add(s.Len)
	if s.Flags.Any(SYN) {
		end++
	}
	if s.Flags.Any(FIN) {
		end++
	}
	return end
}
