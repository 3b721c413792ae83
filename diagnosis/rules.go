package diagnosis

import (
	"fmt"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// The kinds of findings.
const (
	StuckCloseWait    Kind = "stuck_close_wait"
	HalfOpenHandshake Kind = "half_open_handshake"
)

// suspect is one end X of a connection, looked at by a rule.
type suspect struct {
	c       *tracker.Connection
	role    tracker.Role
	x, peer *tracker.Endpoint
}

// rule is one kind of finding. It holds for an end while that end is in state for the threshold or longer; the rest puts
// it into words.
type rule struct {
	kind      Kind
	severity  Severity
	threshold time.Duration
	state     tcp.State
	shared    bool // see Finding.Shared
	culprit   func(s suspect) tracker.Role
	summary   func(s suspect, age string) string
	cause     func(s suspect) string
	next      func(s suspect) (advice, command string)
	evidence  func(s suspect) []Evidence
}

// rules is ordered: a connection has one finding, about the first rule that holds.
var rules = []rule{
	{
		kind: StuckCloseWait, severity: Warning, threshold: 60 * time.Second, state: tcp.CloseWait,
		culprit: func(s suspect) tracker.Role { return s.role },
		summary: func(s suspect, age string) string {
			return fmt.Sprintf("The %v %s has not closed its end, %s after the %v %s closed.",
				s.role, hostPort(s.x), age, s.role.Peer(), hostPort(s.peer))
		},
		cause: func(s suspect) string {
			return fmt.Sprintf("The %v sent its FIN and the %v's kernel acknowledged it, but the application on the %[2]v never "+
				"called close() on this socket. Usually a code path forgets it: an unread response body, an error return, a "+
				"pool that does not notice that the other end has gone. The socket and its descriptor stay until the process "+
				"closes them or ends.", s.role.Peer(), s.role)
		},
		next: func(s suspect) (advice, command string) {
			return fmt.Sprintf("On %s, name the process", s.x.Addr), ssCommand("state close-wait", s)
		},
		evidence: func(s suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.FIN, s.role.Peer(), "closes its end"),
				proof(s.x.Facts.AckReached, s.role, "acknowledges the FIN; its own never follows"),
				proof(s.x.Facts.Last, s.role, "last sign of life"),
			)
		},
	},
	{
		kind: HalfOpenHandshake, severity: Warning, threshold: 3 * time.Second, state: tcp.SynRcvd, shared: true,
		culprit: func(s suspect) tracker.Role {
			if answered(s) {
				return s.role
			}
			return s.role.Peer()
		},
		summary: func(s suspect, age string) string {
			if answered(s) {
				return fmt.Sprintf("The %v %s does not take the ACK that completes the handshake, %s after it answered the SYN.",
					s.role, hostPort(s.x), age)
			}
			return fmt.Sprintf("The %v %s has waited %s for the ACK that completes the handshake with %s.",
				s.role, hostPort(s.x), age, hostPort(s.peer))
		},
		cause: func(s suspect) string {
			if answered(s) {
				return fmt.Sprintf("The %v's ACK passed the capture, yet the %v goes on repeating its SYN-ACK. Either its accept queue is "+
					"full, because the application is too slow to accept(), or the ACK is lost between the capture and the %[2]v. "+
					"The %[1]v believes that the connection is open.", s.role.Peer(), s.role)
			}
			if s.peer.Facts.SYNLast > s.x.Facts.SYN.Time {
				return fmt.Sprintf("The %v answered the SYN, and the %v goes on repeating it: the SYN-ACK does not reach it. A firewall or "+
					"an asymmetric route drops it on the way back.", s.role, s.role.Peer())
			}
			return fmt.Sprintf("The %v answered the SYN, and the %v has been silent since. It went away, the SYN-ACK is dropped on "+
				"the way back, or the SYN's source address was forged.", s.role, s.role.Peer())
		},
		next: func(s suspect) (advice, command string) {
			if answered(s) {
				return fmt.Sprintf("On %s, compare Recv-Q with Send-Q (the backlog), and look for overflows", s.x.Addr),
					fmt.Sprintf("ss -ltn '( sport = :%d )'; nstat -az TcpExtListenOverflows", s.x.Port)
			}
			return fmt.Sprintf("On %s, see whether the SYN-ACK arrives", s.peer.Addr),
				fmt.Sprintf("tcpdump -ni any 'tcp and host %s and port %d'", s.x.Addr, s.x.Port)
		},
		evidence: func(s suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.SYN, s.role.Peer(), "asks for the connection"),
				proof(s.x.Facts.SYN, s.role, fmt.Sprintf("answers; sent %s", times(s.x.Facts.SYNs))),
				proof(s.peer.Facts.FirstACK, s.role.Peer(), "completes the handshake, to no effect"),
			)
		},
	},
}

// answered reports whether the ACK that the end in SYN_RCVD waits for has passed the capture.
func answered(s suspect) bool { return s.peer.Facts.FirstACK.Seen() }

func times(n uint16) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func proof(m tracker.Mark, from tracker.Role, meaning string) Evidence {
	return Evidence{Mark: m, From: from, Meaning: meaning}
}

// marks keeps the segments that were seen, each once and in the order in which they are given.
func marks(all ...Evidence) []Evidence {
	var kept []Evidence
	for _, e := range all {
		if e.Seen() && (len(kept) == 0 || kept[len(kept)-1].Packet != e.Packet) {
			kept = append(kept, e)
		}
	}
	return kept
}

func hostPort(e *tracker.Endpoint) string {
	if e.Addr.Is4() {
		return fmt.Sprintf("%s:%d", e.Addr, e.Port)
	}
	return fmt.Sprintf("[%s]:%d", e.Addr, e.Port)
}

// ssCommand finds the sockets like that of the suspect on its host: a server's by its own port, a client's, which has
// another port each time, by the server's.
func ssCommand(filter string, s suspect) string {
	if s.role == tracker.Server {
		return fmt.Sprintf("ss -tnp %s '( sport = :%d )'", filter, s.x.Port)
	}
	return fmt.Sprintf("ss -tnp %s 'dst %s'", filter, hostPort(s.peer))
}
