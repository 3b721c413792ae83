package diagnosis

import (
	"fmt"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// rules is ordered from causes to symptoms: of those that stand alone, a connection has a finding about the first that holds.
var rules = []rule{
	{
		kind: AcceptQueueFull, seen: true, looksFor: synAgain,
		holds: func(s *suspect) (held, bool) {
			switch {
			case s.role != tracker.Server:
				return held{}, false
			case s.c.Opened == tracker.Unanswered: // a full accept queue turns away SYNs, too
				return heldFromTo(s.peer.Facts.SYN.Time, gaveUp(s.peer)), s.peer.Facts.SYNs > 1 &&
					s.crowd.overflowed(endpointOf(s.x), s.peer.Facts.SYN.Time, s.peer.Facts.SYNLast)
			}
			ended := int64(0)
			if s.x.State != tcp.SynRcvd {
				ended = s.x.Facts.SYNLast
			}
			return heldFromTo(s.peer.Facts.FirstACK.Time, ended), s.crowd.queueOverflowed(s.c)
		},
		culprit: self,
		summary: func(s *suspect, age string) string {
			if s.c.Opened == tracker.Unanswered {
				return fmt.Sprintf("The server %s takes up no connections: it has not answered the SYN of %s either, sent %s.", hostPort(s.x), hostPort(s.peer),
					times(s.peer.Facts.SYNs))
			}
			return fmt.Sprintf("The server %s does not take up connections: it repeats its SYN-ACK, sent %s, although the ACK of %s has passed.",
				hostPort(s.x), times(s.x.Facts.SYNs), hostPort(s.peer))
		},
		cause: func(s *suspect) string {
			return "The accept queue of the listening socket is full: the application is too slow to accept(), or stuck, and the backlog " +
				"is too small for the burst. The kernel then throws the client's ACK and data away, while the client believes that the " +
				"connection is open and waits for an answer."
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, compare Recv-Q with Send-Q (the backlog), and look for overflows; if there are none, a firewall behind the capture "+
					"drops the ACKs", s.x.Addr),
				fmt.Sprintf("ss -ltn '( sport = :%d )'; nstat -az TcpExtListenOverflows TcpExtListenDrops", s.x.Port)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.SYN, s.role.Peer(), "asks for the connection"),
				proof(s.x.Facts.SYN, s.role, fmt.Sprintf("answers; sent %s", times(s.x.Facts.SYNs))),
				proof(s.peer.Facts.FirstACK, s.role.Peer(), "completes the handshake, to no effect"),
			)
		},
	},
	{
		kind: ClosedWhileSending, moment: true, seen: true, looksFor: pastFIN,
		// A client that goes on to close, or aborts by itself, has not been waiting for an answer.
		holds: func(s *suspect) (held, bool) {
			x, y := &s.x.Facts, &s.peer.Facts
			return heldSince(y.FIN.Time), s.role == tracker.Client && y.FIN.Seen() && x.PastFIN > 0 && !saysGoodbye(s) && y.RSTFirst.Seen() &&
				y.RSTFirst.Time >= y.FIN.Time && (!x.FIN.Seen() || x.FIN.Time > y.RSTFirst.Time) &&
				(!x.RSTFirst.Seen() || x.RSTFirst.Time > y.RSTFirst.Time)
		},
		culprit: nobody,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The server %s closed the connection while the client %s was sending, and answered with RST: the request is lost.",
				hostPort(s.peer), hostPort(s.x))
		},
		cause: func(s *suspect) string {
			if late := s.x.Facts.DataLast - s.peer.Facts.FIN.Time; late >= int64(time.Second) && s.x.Facts.AcksFIN {
				return fmt.Sprintf("The server had closed %s before, and the client's kernel knew; its application took the connection from the pool "+
					"without looking. A pool must notice that a connection has been closed while it was idle, or test it before use.", Age(time.Duration(late)))
			}
			if idle := s.x.Facts.AskedIdle; idle >= time.Second || s.peer.Facts.DataLast == 0 || s.peer.Facts.FIN.Time-s.peer.Facts.DataLast >= int64(time.Second) {
				return "The keep-alive timeouts do not match: the server closes an idle connection in the same moment in which the client " +
					"takes it from its pool for the next request. The client sees \"connection reset by peer\" although nothing is broken."
			}
			return "The server closed before it had read all of the request: a limit on its size, a handler that answers early, or a restart. " +
				"What the client sends afterwards is answered by RST, which may also destroy the response before the client has read it."
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("Make the idle timeout of the client's pool shorter than the server's keep-alive timeout (and retry what may be "+
				"repeated); on %s, find the timeout of the process", s.peer.Addr), fmt.Sprintf("ss -tlnp '( sport = :%d )'", s.peer.Port)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.FIN, s.role.Peer(), "closes its end"),
				proof(s.x.Facts.Asked, s.role, "sends, not knowing"),
				proof(s.peer.Facts.RSTFirst, s.role.Peer(), "has no socket any more"),
			)
		},
	},
	{
		kind: ResetAfterIdle, moment: true, seen: true, looksFor: reset,
		holds: func(s *suspect) (held, bool) {
			x, y := &s.x.Facts, &s.peer.Facts
			return held{since: x.Asked.Time, counts: x.Asked.Time - int64(x.AskedIdle), ended: x.Asked.Time}, x.Asked.Seen() && y.RST.Seen() && y.RST.Time >= x.Asked.Time &&
				y.Last.Seen() && y.Last.Time < x.Asked.Time && !y.FIN.Seen()
		},
		culprit: peer,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The %v %s was answered by RST when it spoke to %s again after %s of silence.",
				s.role, hostPort(s.x), hostPort(s.peer), Age(s.x.Facts.AskedIdle))
		},
		cause: func(s *suspect) string {
			return fmt.Sprintf("The %v no longer knew the connection, and nobody had told the %v: a firewall, NAT or load balancer on the way "+
				"forgot it after its idle timeout, or the %[1]v's process was restarted.", s.role.Peer(), s.role)
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("Send keep-alives more often than every %s (SO_KEEPALIVE with TCP_KEEPIDLE), or close idle connections before "+
				"that; on %s, see which sockets have a keep-alive timer", Age(s.x.Facts.AskedIdle), s.x.Addr), ssOptions("-tnop", s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.Last, s.role.Peer(), "last sign of life"),
				proof(s.x.Facts.Asked, s.role, fmt.Sprintf("speaks again after %s", Age(s.x.Facts.AskedIdle))),
				proof(s.peer.Facts.RST, s.role.Peer(), "knows no such connection"),
			)
		},
	},
	{
		kind: HalfOpen, looksFor: asksAgain,
		holds: func(s *suspect) (held, bool) {
			x, y := &s.x.Facts, &s.peer.Facts
			ended := int64(0)
			if s.x.State == tcp.Closed && x.RST.Seen() && !y.RST.Seen() {
				ended = x.RST.Time // it gave up
			}
			open := s.x.State == tcp.Established || s.x.State == tcp.CloseWait || ended != 0
			return heldFromTo(x.Asked.Time, ended), open && x.Repeats >= 3 && y.Last.Seen() && y.Last.Time < x.Asked.Time && s.peer.State != tcp.SynRcvd
		},
		culprit: func(s *suspect) blame {
			if tooLarge(s) {
				return nobody(s)
			}
			return peer(s)
		},
		summary: func(s *suspect, age string) string {
			if tooLarge(s) {
				return fmt.Sprintf("The %v %s does not get an answer to the first large thing that it sent to %s, %d octets: it has asked %d times in %s.",
					s.role, hostPort(s.x), hostPort(s.peer), s.x.Facts.Unacked, int(s.x.Facts.Repeats)+1, age)
			}
			return fmt.Sprintf("The %v %s no longer answers, and the %v %s does not know: it has asked %d times in %s.",
				s.role.Peer(), hostPort(s.peer), s.role, hostPort(s.x), int(s.x.Facts.Repeats)+1, age)
		},
		cause: func(s *suspect) string {
			if tooLarge(s) {
				return fmt.Sprintf("What is small has passed, and nothing large: full segments do not fit through a tunnel or link on the way, and the ICMP errors "+
					"that would say so are filtered (a path MTU black hole). Or the host of the %v went away just then, or a firewall does not like what it read.",
					s.role.Peer())
			}
			return fmt.Sprintf("The host of the %v crashed or lost its network, or a firewall on the way drops the packets of this connection without "+
				"a word, as it does when it has forgotten it. The %v keeps its socket until its retransmissions or keep-alives run out: 15 minutes by default in Linux.",
				s.role.Peer(), s.role)
		},
		next: func(s *suspect) (advice, command string) {
			if tooLarge(s) {
				return fmt.Sprintf("On %s, see up to which size packets get through to %s", s.x.Addr, s.peer.Addr), "tracepath -n " + s.peer.Addr.String()
			}
			return fmt.Sprintf("On %s, see whether its packets arrive at all", s.peer.Addr), tcpdumpCommand(s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.Last, s.role.Peer(), "last sign of life"),
				proof(s.x.Facts.Asked, s.role, fmt.Sprintf("asks; again %s since, without an answer", times(s.x.Facts.Repeats))),
				proof(s.x.Facts.RST, s.role, "gives up"),
			)
		},
	},
	{
		kind: ZeroWindow, oneSided: true, seen: true, looksFor: zeroWindow,
		holds: func(s *suspect) (held, bool) {
			open := s.x.State == tcp.Established || s.x.State == tcp.CloseWait || s.x.State == tcp.FinWait1 || s.x.State == tcp.FinWait2
			return heldSince(s.x.Facts.ZeroWindow.Time), open && s.x.Facts.ZeroWindow.Seen() && s.peer.State != tcp.Closed
		},
		culprit: self,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The %v %s has kept its receive window closed for %s: %s may not send.", s.role, hostPort(s.x), age, hostPort(s.peer))
		},
		cause: func(s *suspect) string {
			return fmt.Sprintf("The application on the %v does not read: its receive buffer is full. It is stuck, overloaded, or waits for something "+
				"else while the %v waits for it.", s.role, s.role.Peer())
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, find the process whose Recv-Q is full, and look at what its threads wait for", s.x.Addr), ssOptions("-tnpm", s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.x.Facts.ZeroWindow, s.role, "closes its window"),
				proof(s.peer.Facts.Asked, s.role.Peer(), "probes it"),
			)
		},
	},
	{
		kind: StuckCloseWait, looksFor: inState(tcp.CloseWait),
		holds: func(s *suspect) (held, bool) {
			// A half-closed end that still sends is at work.
			return held{since: s.x.Since, counts: max(s.x.Since, s.x.Facts.DataLast)}, s.x.State == tcp.CloseWait && !mayHaveClosed(s.c, s.x)
		},
		culprit: self,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The %v %s has not closed its end, %s after the %v %s closed.",
				s.role, hostPort(s.x), age, s.role.Peer(), hostPort(s.peer))
		},
		cause: func(s *suspect) string {
			doubt := ""
			if s.x.MissedBytes+s.peer.MissedBytes > 0 {
				doubt = "Unless the capture has missed its FIN, as it misses other packets of this connection: "
			}
			return doubt + fmt.Sprintf("The %v sent its FIN and the %v's kernel acknowledged it, but the application on the %[2]v never "+
				"called close() on this socket. Usually a code path forgets it: an unread response body, an error return, a "+
				"pool that does not notice that the other end has gone; or nobody has accepted the connection, and then ss shows no "+
				"process. Unless it is still at work on its answer, the socket and its descriptor stay until the process closes "+
				"them or ends.", s.role.Peer(), s.role)
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, name the process", s.x.Addr), ssOptions("-tnp state close-wait", s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.FIN, s.role.Peer(), "closes its end"),
				proof(s.x.Facts.AckReached, s.role, "acknowledges the FIN; its own never follows"),
				proof(s.x.Facts.Last, s.role, "last sign of life"),
			)
		},
	},
	stuckClose(StuckFinWait1, tcp.FinWait1, "closed first"),
	stuckClose(StuckClosing, tcp.Closing, "closed at the same time as its peer"),
	stuckClose(StuckLastAck, tcp.LastAck, "closed after its peer"),
	{
		kind: StuckFinWait2, looksFor: inState(tcp.FinWait2),
		holds: func(s *suspect) (held, bool) {
			// If the peer's FIN has passed and is not repeated, X has most likely received it, and the capture has missed X's ACK.
			return held{since: s.x.Since, counts: max(s.x.Since, s.peer.Facts.DataLast)}, s.x.State == tcp.FinWait2 && s.peer.State != tcp.CloseWait &&
				!s.peer.Facts.FIN.Seen() && !mayHaveClosed(s.c, s.peer)
		},
		culprit: peer,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The %v %s has waited %s for the FIN of %s, which will not come.", s.role, hostPort(s.x), age, hostPort(s.peer))
		},
		cause: func(s *suspect) string {
			return fmt.Sprintf("The %v acknowledged the FIN and then left without one of its own that arrived: it aborted, its process or host went "+
				"away, or its last packets were lost. A socket that the application of the %v has closed goes after tcp_fin_timeout (60 s); one "+
				"that it has only shut down for writing stays.", s.role.Peer(), s.role)
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, name the process that still holds its end", s.x.Addr), ssOptions("-tnp state fin-wait-2", s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.x.Facts.FIN, s.role, "closes its end"),
				proof(s.peer.Facts.AckReached, s.role.Peer(), "acknowledges the FIN"),
				proof(s.peer.Facts.RST, s.role.Peer(), "leaves, unheard"),
			)
		},
	},
	{
		kind: HalfOpenHandshake, shared: true, looksFor: inState(tcp.SynRcvd) | gaveUpSign,
		holds: func(s *suspect) (held, bool) {
			syn := s.x.Facts.SYN
			// Where neither end repeats what it asked, all that followed may be what the capture misses.
			unseen := s.crowd.missesPackets() && s.x.Facts.SYNs < 2 && s.peer.Facts.SYNs < 2
			return heldFromTo(syn.Time, gaveUp(s.x)), syn.Seen() && !unseen && (s.x.State == tcp.SynRcvd || s.x.GaveUp && s.x.Facts.SYN.Flags.Any(tcp.ACK))
		},
		culprit: func(s *suspect) blame {
			if answered(s) {
				return self(s)
			}
			return peer(s)
		},
		summary: func(s *suspect, age string) string {
			if answered(s) {
				return fmt.Sprintf("The %v %s does not take the ACK that completes the handshake, %s after it answered the SYN.",
					s.role, hostPort(s.x), age)
			}
			return fmt.Sprintf("The %v %s waited %s for the ACK that completes the handshake with %s.",
				s.role, hostPort(s.x), age, hostPort(s.peer))
		},
		cause: func(s *suspect) string {
			switch {
			case answered(s):
				return fmt.Sprintf("The %v's ACK passed the capture, yet the %v goes on repeating its SYN-ACK: the ACK is lost between the capture "+
					"and the %[2]v, or thrown away there. The %[1]v believes that the connection is open.", s.role.Peer(), s.role)
			case s.peer.Facts.SYNLast > s.x.Facts.SYN.Time:
				return fmt.Sprintf("The %v answered the SYN, and the %v goes on repeating it: the SYN-ACK does not reach it. A firewall or "+
					"an asymmetric route drops it on the way back.", s.role, s.role.Peer())
			}
			return fmt.Sprintf("The %v answered the SYN, and the %v has been silent since. It went away, the SYN-ACK is dropped on "+
				"the way back, or the SYN's source address was forged.", s.role, s.role.Peer())
		},
		next: func(s *suspect) (advice, command string) {
			if answered(s) {
				return fmt.Sprintf("On %s, see whether the ACK arrives", s.x.Addr), tcpdumpCommand(s)
			}
			return fmt.Sprintf("On %s, see whether the SYN-ACK arrives", s.peer.Addr), tcpdumpCommand(s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.SYN, s.role.Peer(), "asks for the connection"),
				proof(s.x.Facts.SYN, s.role, fmt.Sprintf("answers; sent %s", times(s.x.Facts.SYNs))),
				proof(s.peer.Facts.FirstACK, s.role.Peer(), "completes the handshake, to no effect"),
			)
		},
	},
	{
		kind: UnansweredSYN, seen: true, looksFor: synAgain,
		holds: func(s *suspect) (held, bool) {
			return heldFromTo(s.x.Facts.SYN.Time, gaveUp(s.x)), s.role == tracker.Client && s.c.Opened == tracker.Unanswered && s.x.Facts.SYNs > 1
		},
		culprit: peer,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The server %s has not answered the SYN of %s, sent %s.", hostPort(s.peer), hostPort(s.x), times(s.x.Facts.SYNs))
		},
		cause: func(s *suspect) string {
			switch p := s.crowd.ports[endpointOf(s.peer)]; {
			case p == nil || p.completed == 0:
			case p.lastStart < s.x.Facts.SYN.Time:
				return fmt.Sprintf("The same port took connections until %s UTC, and no more since: its accept queue is full because the process hangs, the "+
					"host or its network went down, or a firewall has begun to drop SYNs.", clock(p.lastStart))
			case p.others(s.x.Addr):
				return fmt.Sprintf("The same port answers others at this time: it listens. A firewall or a route drops what comes from %s, or the "+
					"port's accept queue is full now and then.", s.x.Addr)
			default:
				return "The same port answers other SYNs of this client: some are lost on the way, or the accept queue is full now and then."
			}
			return "The port answers nobody in this capture: the host is down, a firewall drops the SYN, or its answer does not come back this way. " +
				"A host that is up and has nothing on the port would answer with RST."
		},
		next: func(s *suspect) (advice, command string) {
			dump := fmt.Sprintf("tcpdump -ni any 'tcp and host %s and port %d'", s.x.Addr, s.peer.Port)
			if s.crowd.answers(endpointOf(s.peer)) {
				return fmt.Sprintf("On %s, compare Recv-Q with Send-Q (the backlog), then see whether the SYN arrives", s.peer.Addr),
					fmt.Sprintf("ss -ltn '( sport = :%d )'; %s", s.peer.Port, dump)
			}
			return fmt.Sprintf("On %s, see whether the SYN arrives, and whether an answer leaves", s.peer.Addr), dump
		},
		evidence: func(s *suspect) []Evidence {
			return marks(proof(s.x.Facts.SYN, s.role, fmt.Sprintf("asks for the connection; sent %s", times(s.x.Facts.SYNs))))
		},
	},
	{
		kind: Refused, moment: true, seen: true, looksFor: refused,
		holds: func(s *suspect) (held, bool) {
			return heldSince(s.peer.Facts.RSTFirst.Time), s.role == tracker.Client && s.c.Opened == tracker.Refused
		},
		culprit: peer,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The server %s refused the connection of %s.", hostPort(s.peer), s.x.Addr)
		},
		cause: func(s *suspect) string {
			if s.crowd.answers(endpointOf(s.peer)) {
				return "The port took other connections in this capture: the service was restarted or crashed, or a firewall rejects this client."
			}
			return "Nothing listens on this port: the service is down, listens on another address or port, or a firewall rejects with RST."
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, see what listens", s.peer.Addr), fmt.Sprintf("ss -tlnp '( sport = :%d )'", s.peer.Port)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.x.Facts.SYN, s.role, "asks for the connection"),
				proof(s.peer.Facts.RSTFirst, s.role.Peer(), "refuses"),
			)
		},
	},
	{
		kind: Aborted, moment: true, seen: true, looksFor: reset,
		holds: func(s *suspect) (held, bool) {
			x, y := &s.x.Facts, &s.peer.Facts
			opened := s.c.Opened >= tracker.Handshake && s.c.Ends[tracker.Client].Facts.FirstACK.Seen() || s.c.Opened == tracker.Midstream && y.Last.Seen()
			return heldSince(x.RSTFirst.Time), opened && s.c.EndedBy == tracker.EndedByRST && x.RSTFirst.Seen() &&
				(!y.RSTFirst.Seen() || x.RSTFirst.Time <= y.RSTFirst.Time)
		},
		culprit: func(s *suspect) blame {
			if gaveUpAsking(s) {
				return peer(s)
			}
			return self(s)
		},
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The %v %s ended the connection with %s by RST: %s.", s.role, hostPort(s.x), hostPort(s.peer), abortKind(s))
		},
		cause: func(s *suspect) string {
			switch {
			case gaveUpAsking(s):
				return fmt.Sprintf("The %v's keep-alive probes ran out, or its application's patience: the host of the %v crashed or lost its network, or a "+
					"firewall on the way drops the packets of this connection without a word.", s.role, s.role.Peer())
			case s.x.Facts.FIN.Seen() && !s.x.Facts.RSTFirst.Flags.Any(tcp.ACK):
				return fmt.Sprintf("The application on the %v had closed its socket, and the %v sent more: there is nobody left to read it.", s.role, s.role.Peer())
			case !s.x.Facts.RSTFirst.Flags.Any(tcp.ACK):
				return fmt.Sprintf("The %v's host answered a segment for which it has no socket: the process was killed or restarted, or a device on the "+
					"way answers in its name.", s.role)
			}
			return fmt.Sprintf("The application on the %v closed the socket with data unread, or with SO_LINGER set to 0, or was killed with data "+
				"unread. What was in flight is lost.", s.role)
		},
		next: func(s *suspect) (advice, command string) {
			if gaveUpAsking(s) {
				return fmt.Sprintf("On %s, see whether its packets arrive at all", s.peer.Addr), tcpdumpCommand(s)
			}
			return fmt.Sprintf("Ask the log of the process on %s for this time; count such ends", s.x.Addr), "nstat -az TcpExtTCPAbortOnData TcpExtTCPAbortOnClose TcpEstabResets"
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.x.Facts.FIN, s.role, "closes its end"),
				proof(s.peer.Facts.Asked, s.role.Peer(), "sends"),
				proof(s.x.Facts.RSTFirst, s.role, "resets"),
			)
		},
	},
	{
		kind: Idle, looksFor: inState(tcp.Established),
		holds: func(s *suspect) (held, bool) {
			return heldSince(s.c.Last), s.role == tracker.Client && s.x.State == tcp.Established && s.peer.State == tcp.Established
		},
		culprit: nobody,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("%s and %s have been silent for %s, connected.", hostPort(s.x), hostPort(s.peer), age)
		},
		cause: func(s *suspect) string {
			return "A pool that keeps more than it needs, a long poll, or a connection that one side has forgotten. Devices on the way forget idle " +
				"connections, often after 5 to 60 minutes."
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, see which process holds it", s.x.Addr), ssOptions("-tnop state established", s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(proof(s.x.Facts.Last, s.role, "last sign of life"), proof(s.peer.Facts.Last, s.role.Peer(), "last sign of life"))
		},
	},
	{
		kind: SlowHandshake, beside: true, moment: true, seen: true, looksFor: synAgain,
		holds: func(s *suspect) (held, bool) {
			x, y := &s.x.Facts, &s.peer.Facts
			return heldSince(x.SYN.Time), s.role == tracker.Client && s.c.Opened == tracker.Handshake && x.SYN.Seen() && x.FirstACK.Seen() && y.SYN.Seen() &&
				(x.SYNs > 1 || y.SYNs > 1) && s.peer.State != tcp.SynRcvd && !s.peer.GaveUp
		},
		culprit: nobody,
		summary: func(s *suspect, age string) string {
			took := max(s.x.Facts.FirstACK.Time, s.peer.Facts.SYNLast, s.x.Facts.SYNLast) - s.x.Facts.SYN.Time
			return fmt.Sprintf("The handshake of %s with %s took %s: SYN sent %s, SYN-ACK %s.", hostPort(s.x), hostPort(s.peer),
				Age(time.Duration(took)), times(s.x.Facts.SYNs), times(s.peer.Facts.SYNs))
		},
		cause: func(s *suspect) string {
			switch {
			case s.x.Facts.SYNs > 1 && s.x.Facts.SYNLast <= s.peer.Facts.SYN.Time:
				return "The first SYN was not answered: it was lost on the way, or dropped by the server, whose backlog may have been full."
			case s.peer.Facts.SYNLast > s.x.Facts.FirstACK.Time:
				return "The server repeated its SYN-ACK after the client's ACK had passed: the ACK was lost behind the capture, the accept queue was full " +
					"for a moment, or the server waits for data first (TCP_DEFER_ACCEPT)."
			}
			return "The SYN-ACK was lost on its way to the client, or late."
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, look for full queues; if there are none, the path loses packets", s.peer.Addr),
				"nstat -az TcpExtListenOverflows TcpExtListenDrops TcpExtTCPReqQFullDrop"
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.x.Facts.SYN, s.role, "asks for the connection; sent "+times(s.x.Facts.SYNs)),
				proof(s.peer.Facts.SYN, s.role.Peer(), "answers; sent "+times(s.peer.Facts.SYNs)),
				proof(s.x.Facts.FirstACK, s.role, "completes the handshake"),
			)
		},
	},
	{
		kind: PathLoss, beside: true, moment: true, goesOn: true, oneSided: true, seen: true, looksFor: sentAgain,
		holds: func(s *suspect) (held, bool) {
			const share = 20 // 5 %
			n := s.x.Facts.DataSegments
			return heldSince(s.c.Start), n >= uint64(max(s.limit.Count, 1)) && s.x.Retransmitted*share >= n
		},
		culprit: nobody,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("Of %d data segments from %s to %s, %d were sent again (%d %%).", s.x.Facts.DataSegments, hostPort(s.x), hostPort(s.peer),
				s.x.Retransmitted, s.x.Retransmitted*100/max(s.x.Facts.DataSegments, 1))
		},
		cause: func(s *suspect) string {
			return fmt.Sprintf("The path from the %v to the %v loses packets, or its ACKs: a full queue, a bad link, a shaper.", s.role, s.role.Peer())
		},
		next: func(s *suspect) (advice, command string) {
			return fmt.Sprintf("On %s, look at the retransmissions and the round trips of this path", s.x.Addr), ssOptions("-tni", s)
		},
		evidence: func(s *suspect) []Evidence { return nil },
	},
	{
		kind: BlindReset, beside: true, moment: true, seen: true, looksFor: reset,
		holds: func(s *suspect) (held, bool) {
			x := &s.x.Facts
			return heldSince(x.RST.Time), x.RST.Seen() && x.Last.Time > x.RST.Time && s.x.State != tcp.Closed
		},
		culprit: self,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("A RST in the name of the %v %s had no effect: both ends go on.", s.role, hostPort(s.x))
		},
		cause: func(s *suspect) string {
			return "Its sequence number is not the next (RFC 5961): somebody guesses to break the connection, a middlebox resets too late, or it answers an " +
				"old segment."
		},
		next: func(s *suspect) (advice, command string) {
			return "Compare its TTL and IP id with those of the packets around it: a third party's differ", ""
		},
		evidence: func(s *suspect) []Evidence { return marks(proof(s.x.Facts.RST, s.role, "is not believed")) },
	},
	odd(ChallengeACK, tracker.ChallengeACK, "asked with a challenge ACK whether a SYN or a RST was meant",
		"A SYN or an inexact RST came for an open connection (RFC 5961). Either the other end has forgotten the connection and opens it again, or somebody guesses."),
	odd(InvalidFlags, tracker.InvalidFlags, "sent segments with flags that no TCP sends",
		"A scanner that looks for differences between stacks (nmap's null, FIN and Xmas scans), or a broken device."),
	odd(SYNInside, tracker.SYNInside, "opened a connection that the other end still has open",
		"The host was restarted or lost the connection, and uses the same port again (RFC 9293 3.5.1). The other end answers with an ACK, and the old one is reset."),
	odd(DataAfterFIN, tracker.DataAfterFIN, "sent data beyond its own FIN",
		"No healthy stack does: a broken stack, a middlebox that rewrites sequence numbers, or a forged segment."),
	odd(PortReused, tracker.PortReused, "used the addresses and ports of an ended connection again",
		"Normal where many connections are made to the same server: Linux allows it after TIME_WAIT, or earlier with timestamps."),
	{
		kind: CaptureGap, beside: true, moment: true, goesOn: true, whole: true, oneSided: true, looksFor: gap,
		holds: func(s *suspect) (held, bool) { return heldSince(s.c.Start), s.x.MissedBytes > 0 },
	},
}

// stuckClose is the rule for an end in state, which it keeps until its FIN is acknowledged.
func stuckClose(kind Kind, state tcp.State, how string) rule {
	return rule{
		kind: kind, looksFor: inState(state),
		holds: func(s *suspect) (held, bool) {
			// A host repeats its FIN. Where the capture misses packets, or began late, it may have missed the ACK; and so it has,
			// most likely, where the peer has closed as well: then it is the last packet that is missing, and nobody is left waiting.
			sure := repeatsFIN(s) || state == tcp.FinWait1 && !s.crowd.missesPackets() && s.c.Opened != tracker.Midstream
			return heldSince(s.x.Facts.FIN.Time), s.x.State == state && s.x.Facts.FIN.Seen() && sure
		},
		culprit: func(s *suspect) blame {
			switch {
			case !repeatsFIN(s):
				return self(s)
			case s.peer.Facts.AcksFIN:
				return nobody(s) // the path loses the ACKs
			}
			return peer(s)
		},
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The %v %s %s, and its FIN, sent %s, has not been acknowledged for %s.", s.role, hostPort(s.x), how, times(s.x.Facts.FINs), age)
		},
		cause: func(s *suspect) string {
			if !repeatsFIN(s) {
				return fmt.Sprintf("The %v has not repeated its FIN, as a host that still has the connection does: it went away after it had closed, or the capture "+
					"does not see all of its packets.", s.role)
			}
			if s.peer.Facts.AcksFIN {
				return fmt.Sprintf("The %v has acknowledged the FIN, and its ACKs do not arrive: a firewall or a route drops them behind the capture, on "+
					"the way to the %v, whose kernel goes on repeating the FIN and gives up by itself.", s.role.Peer(), s.role)
			}
			return fmt.Sprintf("The %v does not answer any more: its host is down or unreachable, or a firewall drops what comes from the %v, or the "+
				"answers. The %[2]v's kernel goes on repeating the FIN, and gives up by itself.", s.role.Peer(), s.role)
		},
		next: func(s *suspect) (advice, command string) {
			if !repeatsFIN(s) {
				return fmt.Sprintf("On %s, see whether the socket is still there", s.x.Addr), ssOptions("-tnop", s)
			}
			if s.peer.Facts.AcksFIN {
				return fmt.Sprintf("On %s, see whether the ACKs arrive", s.x.Addr),
					fmt.Sprintf("tcpdump -ni any 'tcp and host %s and port %d'", s.peer.Addr, s.c.Ends[tracker.Server].Port)
			}
			return fmt.Sprintf("On %s, see whether the FIN arrives, and whether an answer leaves", s.peer.Addr), tcpdumpCommand(s)
		},
		evidence: func(s *suspect) []Evidence {
			return marks(
				proof(s.peer.Facts.Last, s.role.Peer(), "last sign of life"),
				proof(s.x.Facts.FIN, s.role, fmt.Sprintf("closes its end; sent %s", times(s.x.Facts.FINs))),
			)
		},
	}
}

// odd is the rule for what is counted and told, and hardly ever matters.
func odd(kind Kind, what tracker.Oddity, did, cause string) rule {
	return rule{
		kind: kind, beside: true, moment: true, seen: true, oneSided: true, looksFor: oddity,
		holds: func(s *suspect) (held, bool) {
			o := &s.x.Odd[what]
			return heldSince(o.First.Time), o.Count > 0 && !(kind == SYNInside && sawNoEnd(s))
		},
		culprit: self,
		summary: func(s *suspect, age string) string {
			return fmt.Sprintf("The %v %s %s.", s.role, hostPort(s.x), did)
		},
		cause: func(*suspect) string { return cause },
		next: func(s *suspect) (advice, command string) {
			if kind == PortReused {
				return "If connections fail at that, see how many wait in TIME_WAIT on " + s.x.Addr.String(), ssOptions("-Htn state time-wait", s) + " | wc -l"
			}
			return "If there are many, see whether they come from " + s.x.Addr.String() + " itself: a third party's packets differ in TTL and IP id", ""
		},
		evidence: func(s *suspect) []Evidence {
			return marks(proof(s.x.Odd[what].First, s.role, fmt.Sprintf("the first of %d", s.x.Odd[what].Count)))
		},
	}
}

// sawNoEnd reports whether an older connection with the same addresses and ports, which the capture shows open, had probably ended
// when s began: the capture misses packets, or the SYN was accepted at once, where a receiver that has the connection open asks
// back first (RFC 5961 4).
func sawNoEnd(s *suspect) bool {
	return s.crowd.missesPackets() || s.x.Facts.SYNs == 1 && s.peer.Facts.SYN.Seen()
}

// saysGoodbye reports whether what the end sent past its peer's FIN may be a TLS close_notify, in answer to the FIN or to the
// peer's own close_notify just before it: a server that closed resets that, and nobody minds. It takes 24 octets in TLS 1.3,
// up to 31 in TLS 1.2 with AEAD or stream ciphers, and with block ciphers a header of 5 octets, an IV but in TLS 1.0, and the
// alert, its MAC (SHA-1 to SHA-384) and the padding in blocks of 16 (RFC 5246 6.2.3.2). It is sent at once.
func saysGoodbye(s *suspect) bool {
	const small, atOnce = 31, int64(100 * time.Millisecond)
	x, y := &s.x.Facts, &s.peer.Facts
	heardFIN := x.AcksFIN && x.AckReached.Time <= x.DataLast
	heardData := y.DataLast != 0 && y.DataLast <= x.DataLast && y.FIN.Time-y.DataLast <= atOnce
	alert := x.PastFIN <= small || x.PastFIN == 5+32 || x.PastFIN == 5+16+32 || x.PastFIN == 5+16+48 || x.PastFIN == 5+16+64
	return alert && x.DataLast-y.FIN.Time <= atOnce && (heardFIN || heardData)
}

func self(s *suspect) blame   { return blame{role: s.role} }
func peer(s *suspect) blame   { return blame{role: s.role.Peer()} }
func nobody(s *suspect) blame { return blame{role: s.role, nobody: true} }

// gaveUp returns when e gave up, 0 if it did not.
func gaveUp(e *tracker.Endpoint) int64 {
	if !e.GaveUp {
		return 0
	}
	return e.Since
}

// mayHaveClosed reports whether e may have sent its FIN before the capture began: it has not sent payload since.
func mayHaveClosed(c *tracker.Connection, e *tracker.Endpoint) bool {
	return c.Opened == tracker.Midstream && e.Facts.DataSegments == 0
}

// tooLarge reports whether the end has sent more than fits into any path's smallest packets, and nothing of such a size has been
// acknowledged before: 1,180 octets of payload fit into the 1,280 that each IPv6 link must carry (RFC 8200 5), with all options.
func tooLarge(s *suspect) bool {
	const fits = 1180
	unacked := uint64(s.x.Facts.Unacked)
	return s.c.Opened != tracker.Midstream && unacked > fits && s.x.PayloadBytes <= unacked+fits
}

// answered reports whether the ACK that the end in SYN_RCVD waits for has passed the capture.
func answered(s *suspect) bool { return s.peer.Facts.FirstACK.Seen() }

func repeatsFIN(s *suspect) bool { return s.x.Facts.FINs > 1 || s.x.Facts.Repeats > 0 }

// gaveUpAsking reports whether the end that aborted had asked again and again, and the peer had not answered.
func gaveUpAsking(s *suspect) bool {
	x, y := &s.x.Facts, &s.peer.Facts
	return x.RSTFirst.Flags.Any(tcp.ACK) && x.Asked.Seen() && x.Repeats > 1 && y.Last.Time < x.Asked.Time && x.RSTFirst.Time > x.Asked.Time
}

func abortKind(s *suspect) string {
	switch x := &s.x.Facts; {
	case gaveUpAsking(s):
		return fmt.Sprintf("it had asked %d times, and nothing answered", int(x.Repeats)+1)
	case x.FIN.Seen() && !x.RSTFirst.Flags.Any(tcp.ACK):
		return "data came after it had closed"
	case !x.RSTFirst.Flags.Any(tcp.ACK):
		return "it knew no such connection when a segment came"
	case s.peer.PayloadBytes == 0:
		return "an abortive close, with nothing unread"
	}
	return "an abortive close, perhaps with data unread"
}

// clock writes the time of day in UTC.
func clock(ns int64) string { return time.Unix(0, ns).UTC().Format(time.TimeOnly) }

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

func hostPort(e *tracker.Endpoint) string { return endpointOf(e).String() }

// ssOptions finds the sockets like that of the suspect on its host: a server's by its own port, a client's, which has
// another port each time, by the server's.
func ssOptions(options string, s *suspect) string {
	if s.role == tracker.Server {
		return fmt.Sprintf("ss %s '( sport = :%d )'", options, s.x.Port)
	}
	return fmt.Sprintf("ss %s 'dst %s'", options, hostPort(s.peer))
}

// tcpdumpCommand shows, on the peer's host, what comes from the suspect's.
func tcpdumpCommand(s *suspect) string {
	return fmt.Sprintf("tcpdump -ni any 'tcp and host %s and port %d'", s.x.Addr, s.c.Ends[tracker.Server].Port)
}
