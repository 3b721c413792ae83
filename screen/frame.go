package screen

import (
	"time"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Seconds is how far back the histories in a Frame go.
const Seconds = 60

// Frame is all that one redraw needs. It shares nothing with the table that it tells of.
type Frame struct {
	Query Query // that it answers. Its order may still be that of an earlier one
	Capture
	PerSecond float64 // packets, in the last second
	Bytes     int     // of memory that the connections take
	Evicted   uint64  // connections that were forgotten
	Counts    diagnosis.Counts
	// States counts the endpoints in each state, second by second, the last being the present one; Traffic the packets.
	States  [tcp.NumStates][Seconds]uint32
	Traffic [Seconds]uint32
	Known   int // for how many seconds, up to now, they have been kept

	Findings []diagnosis.Finding // the worst first. They must not be changed
	Notices  []Notice            // the last of them, the newest last

	Rows    []Row // from Query.Offset on
	Matches int   // how many connections pass the filter
	Detail  *Detail
}

// Capture is what a Frame tells of where the packets come from.
type Capture struct {
	Now     int64    // ns since 1970, on the capture's clock
	Sources []string // interfaces or files
	Filter  string
	Packets uint64
	Dropped uint64 // by the kernel and the interface
}

// Notice is something that has just happened: with a finding, or with the capture.
type Notice struct {
	Event diagnosis.Event
	// Text is what has happened, in one line, if it has nothing to do with a finding. Of Event, only the Time is valid then.
	Text string
}

// Row is a connection in the table.
type Row struct {
	ID       uint64
	Ends     [2]End // by tracker.Role
	For      time.Duration
	Known    bool // since when both ends are in their states
	AtLeast  bool // For is a lower bound
	Packets  uint64
	Bytes    uint64
	Resent   uint64
	RTT      time.Duration // of the handshake; 0 is unknown
	Process  string
	Name     string           // of the server, as its clients say: not to be trusted
	Findings []diagnosis.Kind // each once, the worst first
	Worst    diagnosis.Severity
	Gone     bool // it has been forgotten, and only the ID is known
}

// End is one end of a connection in the table.
type End struct {
	Addr      tcp.Addr
	Port      uint16
	State     tcp.State
	Certainty tracker.Certainty
}

// Detail is one connection, step by step, and what is wrong with it.
type Detail struct {
	ID       uint64
	Gone     bool // it has been forgotten, or there never was one
	Process  string
	Name     string // as in Row
	Ladder   ladder.Ladder
	Findings []diagnosis.Finding // they must not be changed
}
