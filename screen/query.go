package screen

import (
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Column is one that the table of connections has, and can be sorted by.
type Column uint8

// The columns, from left to right.
const (
	ID Column = iota
	Client
	Server
	ClientState
	ServerState
	Age     // how long both ends have been in their states
	Packets // of both ends
	Bytes   // of payload, of both ends
	Resent  // segments that were sent again, by either end
	RTT     // of the handshake
	Process
	Findings // the worst first; then how cleanly it ended

	numColumns int = iota
)

var columnTitles = [numColumns]string{
	"ID", "CLIENT", "SERVER", "CLIENT STATE", "SERVER STATE", "FOR", "PACKETS", "BYTES", "RESENT", "RTT", "PROCESS",
	"FINDINGS",
}

// descending columns show the most first.
var descending = [numColumns]bool{Age: true, Packets: true, Bytes: true, Resent: true, RTT: true}

// Query is what a Screen wants to be told. Queries can be compared.
type Query struct {
	Sort    Column
	Reverse bool   // not in the order that the column has by itself: the most packets first, the lowest address first
	Filter  string // see ParseFilter
	// Offset and Rows are the part of the table that is wanted: the first row, from 0, and how many.
	Offset, Rows int
	Open         uint64 // ID of the connection that is told in detail; 0 is none
}

// ordered is what the order of the connections depends on.
type ordered struct {
	sort    Column
	reverse bool
	filter  string
}

func (q *Query) ordered() ordered { return ordered{q.Sort, q.Reverse, q.Filter} }

// lasting returns since when both ends of c have been in their states, in ns since 1970, 0 if that is not known, and
// whether it may have been longer.
func lasting(c *tracker.Connection) (since int64, atLeast bool) {
	e := &c.Ends[tracker.Client]
	if other := &c.Ends[tracker.Server]; other.Since > e.Since {
		e = other
	}
	return e.Since, e.SinceAtLeast
}

// addressKey orders addresses by value, and ports of IPv4 addresses with them.
func addressKey(a tcp.Addr, port uint16) [2]uint64 {
	if a.Is4() {
		return [2]uint64{0, a.Lo<<16 | uint64(port)}
	}
	return [2]uint64{a.Hi, a.Lo}
}
