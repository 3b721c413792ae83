package tcp

// Connections are divided into so many parts by their addresses and ports, so that work on them can be shared. Both
// directions of a connection are in the same part, and in every run.
const (
	NumParts = 1 << partBits
	partBits = 4
)

// Parts is a set of parts, by bit.
type Parts uint32

// AllParts is the set of all.
const AllParts Parts = 1<<NumParts - 1

// Has reports whether a part, 0 to NumParts-1, is in the set.
func (p Parts) Has(part uint) bool { return p>>part&1 != 0 }

// PartOf returns the part of a connection, 0 to NumParts-1. addrs is the XOR of the four halves of its two addresses, where
// those of IPv4 may be its 32 bits alone; ports that of its ports.
func PartOf(addrs uint64, ports uint16) uint {
	return uint((addrs ^ uint64(ports)<<32) * 0x9e3779b97f4a7c15 >> (64 - partBits))
}

// Part returns the part of the segment's connection.
func (s *Segment) Part() uint {
	return PartOf(s.Src.Lo^s.Dst.Lo^s.Src.Hi^s.Dst.Hi, s.SrcPort^s.DstPort)
}
