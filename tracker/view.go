package tracker

import (
	"time"

	"tcpleak/compat"
	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// Certainty says how far a state may be trusted.
type Certainty uint8

// The degrees of certainty, weakest first.
const (
	Assumed   Certainty = iota // the opening was not seen, or this side was not captured
	Presumed                   // rests on a segment in flight that nothing disputes, or on a capture with gaps
	Confirmed                  // the endpoint's own last segments prove it, and nothing was missed that could change it
)

// String returns the name in lower case: "confirmed".
func (c Certainty) String() string { return [...]string{"assumed", "presumed", "confirmed"}[c] }

// Role is an endpoint's part in a connection.
type Role uint8

// The roles. The client is the end that sent the first SYN.
const (
	Client Role = iota
	Server
)

// String returns "client" or "server".
func (r Role) String() string { return [...]string{"client", "server"}[r] }

// Peer returns the other role.
func (r Role) Peer() Role { return 1 - r }

// Opened says how a connection began, as far as the capture shows.
type Opened uint8

// The ways to open.
const (
	Midstream Opened = iota // its opening was not captured
	Unanswered
	Refused
	Handshake
	Simultaneous
	FastOpen
)

// String returns the name that the JSON output uses: "fast_open".
func (o Opened) String() string {
	return [...]string{"midstream", "unanswered", "refused", "handshake", "simultaneous", "fast_open"}[o]
}

// Visibility says whose segments the capture contains.
type Visibility uint8

// The visibilities.
const (
	BothSides Visibility = iota
	ClientOnly
	ServerOnly
)

// String returns "both", "client" or "server".
func (v Visibility) String() string { return [...]string{"both", "client", "server"}[v] }

// ClosedFirst says which end sent the first FIN.
type ClosedFirst uint8

// The values of ClosedFirst; BothClosed is a simultaneous close: each sent its FIN before it had the other's.
const (
	NoneClosed ClosedFirst = iota
	ClientClosed
	ServerClosed
	BothClosed
)

// String returns "client", "server" or "both", and "" while no end has closed.
func (c ClosedFirst) String() string { return [...]string{"", "client", "server", "both"}[c] }

// EndedBy says what ended a connection at both ends.
type EndedBy uint8

// The values of EndedBy.
const (
	NotEnded EndedBy = iota
	EndedByFIN
	EndedByRST
)

// String returns "fin" or "rst", and "" while the connection has not ended.
func (e EndedBy) String() string { return [...]string{"", "fin", "rst"}[e] }

// Mark is one captured segment that something rests on. The zero Mark is none: packets are numbered from 1.
type Mark struct {
	Time   int64 // nanoseconds since 1970, UTC
	Packet uint64
	Flags  tcp.Flags
}

// Seen reports whether m names a segment.
func (m Mark) Seen() bool { return m.Packet != 0 }

func markOf(m reassembly.Mark) Mark { return Mark{m.Time, m.Packet(), m.Flags()} }

// Facts is what a verdict on an endpoint may rest on: segments that it sent. A Mark that was not Seen has not happened.
type Facts struct {
	SYN        Mark   // the first SYN or SYN-ACK
	FirstACK   Mark   // the first segment with ACK and without SYN
	AckReached Mark   // the first that acknowledged all that this end has acknowledged
	FIN        Mark   // the first FIN
	RSTFirst   Mark   // the first RST
	RST        Mark   // the last RST; the last exact one, if there is one
	Last       Mark   // the last segment other than RST
	SYNLast    int64  // when the SYN was last sent, ns since 1970
	SentLast   int64  // when anything that occupies sequence space was last sent, ns since 1970
	DataLast   int64  // when payload was last sent for the first time, ns since 1970
	SYNs, FINs uint16 // how often the SYN and the FIN were sent, saturating

	Asked     Mark          // the first segment since the peer was last heard that needs an answer
	AskedIdle time.Duration // the silence of both ends before Asked
	Repeats   uint16        // how often it asked again since, saturating
	// ZeroWindow is where the receive window closed; not Seen while it is open.
	ZeroWindow Mark
	AcksFIN    bool // it has acknowledged the peer's FIN
	// PastFIN is how many octets this end sent that the peer had not received when it sent its FIN.
	PastFIN uint32
	// Unacked is how many octets of sequence space this end has sent and the peer has not acknowledged.
	Unacked      uint32
	DataSegments uint64 // segments with payload, retransmissions included
}

// Endpoint is one end of a connection as it stands at a moment.
type Endpoint struct {
	Addr      tcp.Addr
	Port      uint16
	State     tcp.State
	Certainty Certainty
	Since     int64 // when it entered State, ns since 1970; a lower bound of the age with SinceAtLeast; 0 is unknown
	// SinceAtLeast is set where the start was not seen: the endpoint is in State for at least now-Since.
	SinceAtLeast bool
	GaveUp       bool // it ended without a segment: what it repeated has long not been repeated
	Facts        Facts
	Odd          Oddities
	why          why

	Packets       uint64 // segments that this end sent, duplicates of the capture not counted
	PayloadBytes  uint64 // octets of payload, each counted once
	Retransmitted uint64 // segments sent again
	OutOfOrder    uint64 // segments that arrived behind a later one
	MissedBytes   uint64 // octets that the peer acknowledged and the capture does not hold
	ZeroWindows   uint64 // times the end closed its receive window
}

// Why says in words, without a full stop, what proves the state, with the packet number.
func (e *Endpoint) Why() string { return string(e.AppendWhy(nil)) }

// AppendWhy appends Why to b.
func (e *Endpoint) AppendWhy(b []byte) []byte {
	if e.why.packet == 0 && (e.State == tcp.Unknown || e.Packets > 0) {
		return b
	}
	return e.why.appendTo(b)
}

// Ref finds a connection of a Table again, as long as the table has not forgotten it.
type Ref struct {
	id    uint64
	place place
}

// ID returns the connection's ID.
func (r Ref) ID() uint64 { return r.id }

// Connection is one connection as it stands at a moment.
type Connection struct {
	ID           uint64 // from 1, in the order of the connections' first packets
	Ref          Ref
	Encap        uint32 // see tcp.EncapTable
	Opened       Opened
	Visibility   Visibility
	ClosedFirst  ClosedFirst
	EndedBy      EndedBy
	RolesGuessed bool // the opening was not seen: which end is the client is a guess
	FirstFrom    Role // who sent its first segment
	Start, Last  int64
	Until        int64       // when it may stand otherwise although no segment has come, ns since 1970; or Never
	HandshakeRTT int64       // ns from the first SYN to the ACK that completes the handshake; 0 is unknown
	Ends         [2]Endpoint // indexed by Role

	ZeekState             string // Zeek's conn_state
	ZeekHistory           compat.History
	WiresharkCompleteness uint8 // tcp.completeness, 0 to 63
}
