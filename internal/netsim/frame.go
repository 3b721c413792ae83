package netsim

import (
	"fmt"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tcpleak/tcp"
)

// fate is what became of a frame.
type fate uint8

const (
	unseen  fate = iota // it was lost before the capture saw it
	lost                // it was lost behind the capture
	arrived             // it was delivered, once or more
)

func (f fate) String() string {
	return [...]string{"lost before the capture", "lost behind the capture", ""}[f]
}

// frame is a segment on its way from one host to the other.
type frame struct {
	segment tcp.Segment // as captured; Packet is 0 if it was not
	from    int
	sent    int64 // ns since 1970
	order   int   // among all that was sent
	fate    fate
	copies  int
	arrival int64 // of the first copy
	bytes   []byte
	cut     bool // it met a host that was down
	inOrder bool // one of its copies was what the receiver expected next, and had room for
	crossed bool // it is a SYN-ACK that met an end in SYN_RCVD: Linux takes its ACK, gVisor does not
}

// seen reports whether the capture saw f.
func (f *frame) seen() bool { return f.segment.Packet != 0 }

// delivered reports whether f has reached its receiver.
func (f *frame) delivered() bool { return f.copies > 0 }

// decode reads an IP packet without a link layer. Anything but TCP is no frame.
func decode(b []byte) (s tcp.Segment, ok bool) {
	var t header.TCP
	switch header.IPVersion(b) {
	case header.IPv4Version:
		ip := header.IPv4(b)
		if ip.TransportProtocol() != header.TCPProtocolNumber {
			return s, false
		}
		s.Src, s.Dst = tcp.AddrFrom4(ip.SourceAddress().As4()), tcp.AddrFrom4(ip.DestinationAddress().As4())
		s.IPID = ip.ID()
		t = header.TCP(ip.Payload())
	case header.IPv6Version:
		ip := header.IPv6(b)
		if ip.TransportProtocol() != header.TCPProtocolNumber {
			return s, false
		}
		s.Src, s.Dst = tcp.AddrFrom16(ip.SourceAddress().As16()), tcp.AddrFrom16(ip.DestinationAddress().As16())
		t = header.TCP(ip.Payload())
	default:
		return s, false
	}
	s.SrcPort, s.DstPort = t.SourcePort(), t.DestinationPort()
	s.Seq, s.Ack = tcp.Seq(t.SequenceNumber()), tcp.Seq(t.AckNumber())
	s.Flags, s.Window = tcp.Flags(t.Flags()), t.WindowSize()
	s.Len = uint32(len(t.Payload()))
	if s.Flags.Any(tcp.SYN) {
		o := header.ParseSynOptions(t.Options(), s.Flags.Any(tcp.ACK))
		s.Options = tcp.Options{MSS: o.MSS, TSVal: o.TSVal, TSEcr: o.TSEcr, Has: tcp.HasMSS}
		if o.WS >= 0 {
			s.Options.WindowScale = uint8(o.WS)
			s.Options.Has |= tcp.HasWindowScale
		}
		if o.TS {
			s.Options.Has |= tcp.HasTimestamps
		}
		if o.SACKPermitted {
			s.Options.Has |= tcp.HasSACKPermitted
		}
		return s, true
	}
	o := header.ParseTCPOptions(t.Options())
	if o.TS {
		s.Options = tcp.Options{TSVal: o.TSVal, TSEcr: o.TSEcr, Has: tcp.HasTimestamps}
	}
	for _, block := range o.SACKBlocks[:min(len(o.SACKBlocks), len(s.Options.SACK))] {
		s.Options.SACK[s.Options.SACKs] = tcp.SeqRange{Left: tcp.Seq(block.Start), Right: tcp.Seq(block.End)}
		s.Options.SACKs++
	}
	return s, true
}

// line tells about f as a person reads it, with numbers relative to those of the connection.
func (f *frame) line(base [2]tcp.Seq) string {
	s := &f.segment
	var b strings.Builder
	fmt.Fprintf(&b, "%s > %s  %-8s seq %d", hostNames[f.from], hostNames[1-f.from], s.Flags, s.Seq-base[f.from])
	if s.Len > 0 {
		fmt.Fprintf(&b, "+%d", s.Len)
	}
	if s.Flags.Any(tcp.ACK) {
		fmt.Fprintf(&b, " ack %d", s.Ack-base[1-f.from])
	}
	fmt.Fprintf(&b, " win %d", s.Window)
	for _, r := range s.Options.SACK[:s.Options.SACKs] {
		fmt.Fprintf(&b, " sack %d-%d", r.Left-base[1-f.from], r.Right-base[1-f.from])
	}
	if s.Options.Has&tcp.HasTimestamps != 0 {
		fmt.Fprintf(&b, " ts %d/%d", s.Options.TSVal, s.Options.TSEcr)
	}
	switch {
	case f.cut:
		b.WriteString("  (host is down)")
	case f.fate != arrived:
		fmt.Fprintf(&b, "  (%v)", f.fate)
	case f.arrival != 0:
		fmt.Fprintf(&b, "  (arrived %v later", time.Duration(f.arrival-s.Time).Round(time.Microsecond))
		if f.copies > 1 {
			fmt.Fprintf(&b, ", %d times", f.copies)
		}
		b.WriteByte(')')
	}
	return b.String()
}
