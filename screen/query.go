package screen

import (
	"fmt"
	"slices"
	"strings"

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

var columnNames = [numColumns]string{
	"id", "client", "server", "client_state", "server_state", "age", "packets", "bytes", "resent", "rtt", "process", "findings",
}

// String returns the column's name: "client_state".
func (c Column) String() string { return columnNames[min(int(c), numColumns-1)] }

// ParseColumn returns the column with a name.
func ParseColumn(name string) (Column, error) {
	if i := slices.Index(columnNames[:], name); i >= 0 {
		return Column(i), nil
	}
	return 0, fmt.Errorf("no column has the name %q; there are %s", name, strings.Join(columnNames[:], ", "))
}

// Columns returns all there are, from left to right.
func Columns() []Column {
	all := make([]Column, numColumns)
	for i := range all {
		all[i] = Column(i)
	}
	return all
}

// Falling reports whether a column shows the most first.
func (c Column) Falling() bool { return descending[c] }

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

// SameOrder reports whether q and o ask for the same connections in the same order.
func (q *Query) SameOrder(o *Query) bool { return q.ordered() == o.ordered() }

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
