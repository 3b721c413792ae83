package tcp

import "strings"

// Flags are the control bits of a TCP header, in wire order: FIN is bit 0. The low nine bits are used (RFC 9293 3.1; AE is
// bit 8, RFC 9768).
type Flags uint16

// The control bits.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE
)

var flagNames = [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"}

// Has reports whether every bit of mask is set.
func (f Flags) Has(mask Flags) bool { return f&mask == mask }

// Any reports whether at least one bit of mask is set.
func (f Flags) Any(mask Flags) bool { return f&mask != 0 }

// String lists the bits that are set, SYN, FIN and RST first, as "SYN,ACK"; "none" for a null segment.
func (f Flags) String() string {
	if f == 0 {
		return "none"
	}
	var names []string
	for _, bit := range [...]int{1, 0, 2, 3, 4, 5, 6, 7, 8} {
		if f&(1<<bit) != 0 {
			names = append(names, flagNames[bit])
		}
	}
	return strings.Join(names, ",")
}
