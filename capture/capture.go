// Package capture turns capture files and live interfaces into TCP segments, whose packets it can save as they were.
//
// Every header between the link and TCP is walked by hand. gopacket's decoders index past the end of short GRE, PPPoE,
// MPLS, ERSPAN and PPP headers, take a payload's length from the captured bytes, and allocate; its file readers know eight
// bits of the link type and allocate what a length field says. What remains of gopacket here is its binding to libpcap,
// for live interfaces and filter expressions, and in the tests the second opinion that the header walk is held against.
package capture

import (
	"time"

	"tcpleak/tcp"
)

// Source delivers the TCP segments of a capture. Read belongs to one goroutine; Stats, Last and Close may be called from
// any, at any time.
type Source interface {
	// Read fills batch, which the caller owns and which must not be empty, and returns how many segments it holds. It
	// returns an error only together with 0: io.EOF at the end, os.ErrClosed after Close, and otherwise one line saying
	// what is wrong, in which source, where, and what to try; everything before it has been delivered.
	// A live source returns (0, nil) when nothing arrived within Config.Timeout.
	Read(batch []tcp.Segment) (n int, err error)

	// Stats returns what has been read so far. It copies the list of sources: fine once a second, not once a packet.
	Stats() Stats

	// Last returns Stats().Last and costs nothing.
	Last() int64

	// Close ends a Read that waits and releases files and interfaces. The live source's last counters remain readable.
	Close() error
}

// Config says how to open a Source.
type Config struct {
	Filter string          // tcpdump expression; "" lets everything pass
	Encaps *tcp.EncapTable // gives VLANs and tunnels their ids; required
	Names  Names           // learns the names of servers; may be nil. A source opened by Divide or Reopen has none

	// For files only.
	Spool bool // keep what comes through pipes in a temporary file in $TMPDIR, so that it can be read again

	// For live sources only.
	SnapLen     int           // octets kept of each packet; 0 is DefaultSnapLen
	BufferBytes int           // kernel buffer per interface; 0 is DefaultBufferBytes
	Promiscuous bool          // also packets for other hosts; the pseudo-interface "any" cannot
	Timeout     time.Duration // between ticks of a silent interface, in whole milliseconds; 0 is DefaultTimeout
	Rest        time.Duration // how long a busy interface is left to the kernel's buffer at a time, as long as that has ample room; 0 is not at all
	MaxPackets  uint64        // end with io.EOF after so many that pass the filter, on all interfaces together; 0 is never
	Save        Save          // where to write what is captured, too
}

// Defaults of Config.
const (
	DefaultSnapLen     = 256 // Ethernet, two tunnels, and the longest IP and TCP headers
	DefaultBufferBytes = 32 << 20
	DefaultTimeout     = 200 * time.Millisecond
)
