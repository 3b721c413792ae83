package tcp

// State is the state of one endpoint of a connection (RFC 9293 3.3.2).
type State uint8

// The states of RFC 9293, and Unknown for an endpoint of which the capture shows nothing.
const (
	Unknown State = iota
	Listen
	SynSent
	SynRcvd
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
	Closed
	NumStates int = iota
)

var stateNames = [NumStates]string{
	"UNKNOWN", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING",
	"LAST_ACK", "TIME_WAIT", "CLOSED",
}

// String returns the state's name as RFC 9293 spells it, with underscores: "FIN_WAIT_1".
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return "UNKNOWN"
	}
	return stateNames[s]
}

// Open reports whether an endpoint in state s still holds a socket that an application or the kernel must finish:
// neither gone (CLOSED, TIME_WAIT) nor not begun (UNKNOWN, LISTEN).
func (s State) Open() bool {
	switch s {
	case Unknown, Listen, TimeWait, Closed:
		return false
	}
	return true
}
