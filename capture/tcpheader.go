package capture

import (
	"encoding/binary"

	"tcpleak/tcp"
)

const (
	tcpHeaderLen = 20
	tcpNeeded    = 14 // up to the flags, which is what a snap length of 68 leaves of TCP over IPv6 over Ethernet
	tcpWindow    = 16 // up to the window
)

// TCP option kinds, by IANA.
const (
	optEnd           = 0
	optNop           = 1
	optMSS           = 2
	optWindowScale   = 3
	optSACKPermitted = 4
	optSACK          = 5
	optTimestamps    = 8
	optFastOpen      = 34
	optExperiment1   = 253
	optExperiment2   = 254

	fastOpenMagic = 0xf989 // RFC 7413, appendix A: Fast Open before it had a kind of its own
	maxScale      = 14     // RFC 7323 2.3: a larger shift count must be taken as 14
)

// The two lists of options that nearly all segments carry, told by their first octets. A SYN takes 18 ns to decode this way
// and 45 if its options are walked one by one; where connections are short, one segment in thirteen has a SYN.
const (
	onlyTimestamps = 0x01_01_08_0a // all that an established connection sends, padded as RFC 7323 appendix A recommends

	linuxSYN     = 0x02_04_0000_04_02_08_0a // MSS, SACK permitted, time stamps; 8 octets on
	linuxScale   = 0x01_03_03               // padding and the window scale, of which the last octet is the shift count
	linuxSegment = 0x00_00_ffff_00_00_00_00 // where the maximum segment size stands in linuxSYN
)

// tcp is decodeTCP for a packet of which names may be learned.
func (d *decoder) tcp(seg *tcp.Segment, b []byte, size int) Reason {
	r := decodeTCP(seg, b, size)
	if d.learner != nil && r == decoded {
		d.tellSegment(seg, b, size)
	}
	return r
}

// decodeTCP reads a TCP header and its options into seg; b starts at the header and ends with the datagram or where the
// snap length cut it, size is what the datagram has from the header on.
func decodeTCP(seg *tcp.Segment, b []byte, size int) Reason {
	if size < tcpHeaderLen {
		return Malformed
	}
	if len(b) < tcpNeeded {
		return TruncatedHeader
	}
	header := int(b[12]>>4) * 4
	if header < tcpHeaderLen || header > size {
		return Malformed
	}
	seg.SrcPort = binary.BigEndian.Uint16(b[0:2])
	seg.DstPort = binary.BigEndian.Uint16(b[2:4])
	seg.Seq = tcp.Seq(binary.BigEndian.Uint32(b[4:8]))
	seg.Ack = tcp.Seq(binary.BigEndian.Uint32(b[8:12]))
	seg.Flags = tcp.Flags(binary.BigEndian.Uint16(b[12:14]) & 0x1ff)
	seg.Window = tcp.WindowUnknown
	if len(b) >= tcpWindow {
		seg.Window = binary.BigEndian.Uint16(b[14:16])
	}
	seg.Len = uint32(size - header)
	seg.Options = tcp.Options{}
	switch {
	case header == tcpHeaderLen:
	case len(b) >= header:
		decodeOptions(&seg.Options, b[tcpHeaderLen:header], false)
	default:
		decodeOptions(&seg.Options, b[min(tcpHeaderLen, len(b)):], true)
	}
	return decoded
}

// decodeOptions reads options until the list ends, an impossible length makes the rest unreadable, or b is used up; cut
// says that the snap length ended b early. An option whose length does not fit its kind is passed over, as Linux does.
func decodeOptions(o *tcp.Options, b []byte, cut bool) {
	switch {
	case cut:
	case len(b) == 12 && binary.BigEndian.Uint32(b) == onlyTimestamps:
		o.TSVal, o.TSEcr = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		o.Has = tcp.HasTimestamps
		return
	case len(b) == 20 && binary.BigEndian.Uint64(b)&^linuxSegment == linuxSYN && binary.BigEndian.Uint32(b[16:])>>8 == linuxScale:
		o.MSS = binary.BigEndian.Uint16(b[2:])
		o.TSVal, o.TSEcr = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		o.WindowScale = min(b[19], maxScale)
		o.Has = tcp.HasMSS | tcp.HasSACKPermitted | tcp.HasTimestamps | tcp.HasWindowScale
		return
	}
	for len(b) > 0 {
		kind := b[0]
		if kind == optEnd {
			return
		}
		if kind == optNop {
			b = b[1:]
			continue
		}
		if len(b) < 2 || int(b[1]) < 2 || int(b[1]) > len(b) {
			o.Has |= tcp.HasMalformedOption
			return
		}
		if !decodeOption(o, kind, b[2:b[1]]) {
			o.Has |= tcp.HasMalformedOption
		}
		b = b[b[1]:]
	}
	if cut {
		o.Has |= tcp.HasMalformedOption
	}
}

// decodeOption reads one option's data and reports whether its length fits its kind.
func decodeOption(o *tcp.Options, kind byte, data []byte) bool {
	switch kind {
	case optMSS:
		if len(data) != 2 {
			return false
		}
		o.MSS = binary.BigEndian.Uint16(data)
		o.Has |= tcp.HasMSS
	case optWindowScale:
		if len(data) != 1 {
			return false
		}
		o.WindowScale = min(data[0], maxScale)
		o.Has |= tcp.HasWindowScale
	case optSACKPermitted:
		if len(data) != 0 {
			return false
		}
		o.Has |= tcp.HasSACKPermitted
	case optSACK:
		if len(data) == 0 || len(data)%8 != 0 {
			return false
		}
		o.SACKs, o.SACK = 0, [4]tcp.SeqRange{}
		for ; len(data) > 0 && int(o.SACKs) < len(o.SACK); data = data[8:] {
			o.SACK[o.SACKs] = tcp.SeqRange{
				Left:  tcp.Seq(binary.BigEndian.Uint32(data)),
				Right: tcp.Seq(binary.BigEndian.Uint32(data[4:])),
			}
			o.SACKs++
		}
	case optTimestamps:
		if len(data) != 8 {
			return false
		}
		o.TSVal, o.TSEcr = binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
		o.Has |= tcp.HasTimestamps
	case optFastOpen:
		o.Has |= tcp.HasFastOpen
	case optExperiment1, optExperiment2:
		if len(data) >= 2 && binary.BigEndian.Uint16(data) == fastOpenMagic {
			o.Has |= tcp.HasFastOpen
		}
	}
	return true
}
