package kernel

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"tcpleak/tcp"
)

// Truth is what the kernel knew when a capture ended: the JSON file beside each capture.
type Truth struct {
	Scenario    string    `json:"scenario"`
	Description string    `json:"description"`
	CapturedAt  string    `json:"captured_at"` // "client" or "server": whose end of the veth pair
	Kernel      string    `json:"kernel"`      // as uname -r prints it
	Packets     int       `json:"packets"`     // of any kind
	First       time.Time `json:"first"`       // of the first packet
	Last        time.Time `json:"last"`        // of the last packet
	End         time.Time `json:"end"`         // when ss was read for the last time; no packet passed between the two readings

	// Endpoints holds both ends of every connection that the capture shows, in the order of their first packet.
	// It is absent where there are too many connections, or more hosts than two.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	Listeners []Listener `json:"listeners"`

	// The rest is known of the captures in testdata/findings only.

	Connections int               `json:"connections,omitempty"` // 4-tuples in the capture
	Thresholds  map[string]string `json:"thresholds,omitempty"`  // under which the expectation holds; others are the defaults
	Healthy     bool              `json:"healthy,omitempty"`     // nothing is wrong, whatever it looks like: no finding above info
	Expect      []Expected        `json:"expect,omitempty"`
}

// Expected is a group of findings that the capture must give: those of one kind with one culprit. It follows from what was
// done to the connections, never from what tcpleak says of them.
type Expected struct {
	Kind     string `json:"kind"`
	Severity string `json:"severity"` // of the group
	// Culprit is the end at fault. It is absent where neither end is: the path, the capture, or both ends' settings.
	Culprit *Culprit `json:"culprit,omitempty"`
	// Service is the server's address and port, where there is one.
	Service netip.AddrPort `json:"service,omitzero"`
	// Connections counts those that the group is about, ConnectionsMax those that it may also name.
	Connections    int    `json:"connections"`
	ConnectionsMax int    `json:"connections_max,omitempty"`
	Why            string `json:"why"` // what was done
}

// Culprit is the end at fault. A role without an address stands for many, a client without a port for any of its ports.
type Culprit struct {
	Role    string     `json:"role"` // "client" or "server"
	Address netip.Addr `json:"address,omitzero"`
	Port    uint16     `json:"port,omitempty"`
}

// Endpoint is one end of one connection. A 4-tuple that was used twice is one connection here: its state is that of the
// latest use.
type Endpoint struct {
	Host        string     `json:"host"` // "client" or "server": the namespace, not the role
	Address     netip.Addr `json:"address"`
	Port        uint16     `json:"port"`
	PeerAddress netip.Addr `json:"peer_address"`
	PeerPort    uint16     `json:"peer_port"`
	State       string     `json:"state"`   // a name of tcp.State; CLOSED when ss lists no such socket
	Packets     int        `json:"packets"` // that it sent; an endpoint that sent none has shown nothing

	// Listening is set where the host listens on this address and port: an absent socket may then be called LISTEN too.
	Listening bool `json:"listening,omitempty"`
	// Undecidable is set where the capture cannot tell the state, and says why.
	Undecidable string `json:"undecidable,omitempty"`
}

// Listener is a listening socket.
type Listener struct {
	Host    string     `json:"host"`
	Address netip.Addr `json:"address"` // unspecified: all of them
	Port    uint16     `json:"port"`
}

// String spells the group as "accept_queue_full ×7, critical: server 10.77.0.2:80".
func (e Expected) String() string {
	s := fmt.Sprintf("`%s` ×%d", e.Kind, e.Connections)
	if e.ConnectionsMax > 0 {
		s += fmt.Sprintf(" to %d", e.ConnectionsMax)
	}
	s += ", " + e.Severity
	switch c := e.Culprit; {
	case c == nil:
	case !c.Address.IsValid():
		s += ": many " + c.Role + "s"
	case c.Port == 0:
		s += fmt.Sprintf(": %s %v", c.Role, c.Address)
	default:
		s += fmt.Sprintf(": %s %v", c.Role, netip.AddrPortFrom(c.Address, c.Port))
	}
	return s
}

// Tuple names one direction of a connection, or the endpoint that sends it.
type Tuple struct{ Src, Dst netip.AddrPort }

// Reverse returns the other direction.
func (t Tuple) Reverse() Tuple { return Tuple{t.Dst, t.Src} }

// Tuple returns the direction in which the endpoint sends.
func (e *Endpoint) Tuple() Tuple {
	return Tuple{netip.AddrPortFrom(e.Address, e.Port), netip.AddrPortFrom(e.PeerAddress, e.PeerPort)}
}

// ReadTruth reads a truth file.
func ReadTruth(path string) (*Truth, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := new(Truth)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Write writes a truth file.
func (t *Truth) Write(path string) error {
	b, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Check reports how t disagrees with the packets it belongs to, or with itself.
func (t *Truth) Check(packets *Packets) error {
	if t.Packets != packets.Total || !t.First.Equal(packets.First) || !t.Last.Equal(packets.Last) {
		return fmt.Errorf("%d packets from %v to %v; the capture has %d from %v to %v",
			t.Packets, t.First, t.Last, packets.Total, packets.First, packets.Last)
	}
	if t.End.Before(t.Last) {
		return fmt.Errorf("ss was read at %v, before the last packet at %v", t.End, t.Last)
	}
	sent := make(map[Tuple]int)
	for i := range packets.TCP {
		sent[packets.TCP[i].Tuple]++
	}
	seen := make(map[Tuple]bool)
	for i := range t.Endpoints {
		e := &t.Endpoints[i]
		tuple := e.Tuple()
		switch {
		case seen[tuple]:
			return fmt.Errorf("%v is listed twice", tuple)
		case sent[tuple] != e.Packets:
			return fmt.Errorf("%v sent %d packets; the capture has %d", tuple, e.Packets, sent[tuple])
		case sent[tuple] == 0 && sent[tuple.Reverse()] == 0:
			return fmt.Errorf("%v is not in the capture", tuple)
		case !isState(e.State):
			return fmt.Errorf("%v: unknown state %q", tuple, e.State)
		}
		seen[tuple] = true
	}
	for tuple := range sent {
		if !seen[tuple] || !seen[tuple.Reverse()] {
			return fmt.Errorf("%v is in the capture but not in the truth", tuple)
		}
	}
	return nil
}

// Summary counts the connections by the states of their ends, "client/server" where the client sent the first packet, a
// state that the capture cannot tell in parentheses: "ESTABLISHED/ESTABLISHED ×5, ESTABLISHED/(SYN_RCVD)".
func (t *Truth) Summary() string {
	counts := make(map[string]int)
	for i := 0; i+1 < len(t.Endpoints); i += 2 {
		counts[t.Endpoints[i].summary()+"/"+t.Endpoints[i+1].summary()]++
	}
	parts := slices.Sorted(maps.Keys(counts))
	for i, part := range parts {
		if n := counts[part]; n > 1 {
			parts[i] += fmt.Sprintf(" ×%d", n)
		}
	}
	return strings.Join(parts, ", ")
}

func (e *Endpoint) summary() string {
	if e.Undecidable != "" {
		return "(" + e.State + ")"
	}
	return e.State
}

func isState(name string) bool {
	for s := range tcp.NumStates {
		if tcp.State(s).String() == name {
			return true
		}
	}
	return false
}
