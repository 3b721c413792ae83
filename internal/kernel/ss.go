package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tcpleak/tcp"
)

// Socket states as ss prints them. Linux has a state of its own, NEW_SYN_RECV, for a handshake that is not yet a socket;
// ss shows it as SYN-RECV too.
var ssStates = map[string]tcp.State{
	"LISTEN":     tcp.Listen,
	"SYN-SENT":   tcp.SynSent,
	"SYN-RECV":   tcp.SynRcvd,
	"ESTAB":      tcp.Established,
	"FIN-WAIT-1": tcp.FinWait1,
	"FIN-WAIT-2": tcp.FinWait2,
	"CLOSE-WAIT": tcp.CloseWait,
	"CLOSING":    tcp.Closing,
	"LAST-ACK":   tcp.LastAck,
	"TIME-WAIT":  tcp.TimeWait,
	"UNCONN":     tcp.Closed,
}

// SocketState is one line of ss -tanH.
type SocketState struct {
	State       tcp.State
	Local, Peer netip.AddrPort // Peer is the zero AddrPort for a listening socket
}

// ParseSS parses the output of ss -tanH. The order is that of the addresses, so that two readings can be compared.
func ParseSS(output string) ([]SocketState, error) {
	var all []SocketState
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 5 {
			return nil, fmt.Errorf("ss: line %q: want 5 fields", line)
		}
		state, ok := ssStates[fields[0]]
		if !ok {
			return nil, fmt.Errorf("ss: line %q: unknown state %q", line, fields[0])
		}
		local, err := parseSSAddr(fields[3])
		if err != nil {
			return nil, fmt.Errorf("ss: line %q: %w", line, err)
		}
		peer, err := parseSSAddr(fields[4])
		if err != nil {
			return nil, fmt.Errorf("ss: line %q: %w", line, err)
		}
		all = append(all, SocketState{state, local, peer})
	}
	slices.SortFunc(all, func(a, b SocketState) int {
		if c := a.Local.Compare(b.Local); c != 0 {
			return c
		}
		return a.Peer.Compare(b.Peer)
	})
	return all, nil
}

// parseSSAddr reads "10.0.0.1:80", "[fd00::1]:80", "[::ffff:10.0.0.1]:80", "0.0.0.0:*", "*:80" and "10.0.0.1%eth0:80".
func parseSSAddr(s string) (netip.AddrPort, error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return netip.AddrPort{}, fmt.Errorf("address %q has no port", s)
	}
	host, port := s[:colon], s[colon+1:]
	host, _, _ = strings.Cut(host, "%")
	host = strings.Trim(host, "[]")
	if host == "*" {
		host = "::"
	}
	if port == "*" {
		return netip.AddrPort{}, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ap, err := netip.ParseAddrPort("0.0.0.0:" + port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addr.Unmap(), ap.Port()), nil
}
