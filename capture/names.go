package capture

import (
	"encoding/binary"

	"tcpleak/tcp"
)

// Names learns what servers are called from what packets carry. Payloads are those octets of it that were captured, valid
// for the time of the call. Of segments, Time, Packet, addresses and ports are valid. Sources that Divide made, and a live source
// on several interfaces, call from several goroutines.
type Names interface {
	// Segment is told of segments that begin as a TLS ClientHello or an HTTP/1 request does.
	Segment(seg *tcp.Segment, payload []byte)
	// Datagram is told of UDP datagrams from port 53 or 5353, which count as NotTCP all the same.
	Datagram(seg *tcp.Segment, payload []byte)
}

// Ports of DNS.
const (
	portDNS  = 53
	portMDNS = 5353
)

// leastTold is how much must have been captured of a segment's payload: "GET / HTTP/1.1" and a Host are 25 octets, with
// others than one letter soon more; a ClientHello with a name is longer.
const leastTold = 32

// promising reports whether b, of leastTold octets or more, may begin with the name of a server.
func promising(b []byte) bool {
	switch b[0] {
	case 0x16: // TLS: a handshake record, and in it a ClientHello
		return b[1] == 3 && b[5] == 1
	case 'C', 'D', 'G', 'H', 'O', 'P':
		switch string(b[:4]) {
		case "GET ", "POST", "PUT ", "HEAD", "PATC", "DELE", "OPTI", "CONN":
			return true
		}
	}
	return false
}

// tellSegment passes on the segment that b, of size octets on the wire, begins with.
func (d *decoder) tellSegment(seg *tcp.Segment, b []byte, size int) {
	b = b[:min(len(b), size)]
	if header := int(b[12]>>4) * 4; len(b)-header >= leastTold && promising(b[header:]) && !d.deaf.Has(seg.Part()) {
		d.learner.Segment(seg, b[header:])
	}
}

// tellUsual passes on what usual has decoded. That is a loop of its own so that without names it costs nothing.
func (d *decoder) tellUsual(segments []tcp.Segment, records []record, buf []byte) {
	for i := range segments {
		seg := &segments[i]
		if seg.Len < leastTold {
			continue
		}
		b := buf[records[i].at:][:records[i].kept]
		at := ethernetHeaderLen + ipv4HeaderLen
		if b[12] == etherIPv6>>8 {
			at = ethernetHeaderLen + ipv6HeaderLen
		}
		at += int(b[at+12]>>4) * 4
		// What is kept of the packet may be longer than the segment, by padding, or shorter.
		if at+leastTold <= len(b) && promising(b[at:]) {
			d.learner.Segment(seg, b[at:min(len(b), at+int(seg.Len))])
		}
	}
}

// tellDatagram passes on the UDP datagram that b, of size octets on the wire, begins with: four at least are there.
func (d *decoder) tellDatagram(seg *tcp.Segment, b []byte, size int) {
	const header = 8
	seg.SrcPort, seg.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if seg.SrcPort != portDNS && seg.SrcPort != portMDNS || d.deaf.Has(seg.Part()) {
		return
	}
	if b = b[:min(len(b), size)]; len(b) > header {
		d.learner.Datagram(seg, b[header:])
	}
}
