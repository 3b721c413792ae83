package compat

import "tcpleak/tcp"

// Completeness collects Wireshark's tcp.completeness of one connection, by the rules of packet-tcp.c 4.0. The zero value
// is ready. Its value is the one that Wireshark and "tshark -2" show at the connection's last packet: in one pass tshark
// shows at each packet what the packets before it gave.
//
// The rules look at flags only: an acknowledging RST or FIN without payload counts as an ACK too, and a FIN without ACK not
// at all.
type Completeness uint8

// The bits of a Completeness.
const (
	CompleteSYN Completeness = 1 << iota
	CompleteSYNACK
	CompleteACK
	CompleteData
	CompleteFIN
	CompleteRST
	completenessStarted Completeness = 1 << 7
)

// Segment takes the next segment of the connection.
func (c *Completeness) Segment(s *tcp.Segment) {
	first := *c&completenessStarted == 0
	*c |= completenessStarted
	switch s.Flags & (tcp.SYN | tcp.ACK) {
	case tcp.SYN:
		// Only a SYN that begins the conversation counts.
		if first {
			*c |= CompleteSYN
			if s.Len > 0 {
				*c |= CompleteData
			}
		}
	case tcp.SYN | tcp.ACK:
		*c |= CompleteSYNACK
	case tcp.ACK:
		if s.Len > 0 {
			*c |= CompleteData
		} else {
			*c |= CompleteACK
		}
	}
	if s.Flags.Has(tcp.FIN | tcp.ACK) {
		*c |= CompleteFIN
	}
	if s.Flags.Any(tcp.RST) {
		*c |= CompleteRST
	}
}

// Resume returns the Completeness of a connection that has begun, with the given Value.
func Resume(value uint8) Completeness { return Completeness(value) | completenessStarted }

// Value returns tcp.completeness, 0 to 63.
func (c Completeness) Value() uint8 { return uint8(c &^ completenessStarted) }
