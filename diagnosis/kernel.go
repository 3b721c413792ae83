package diagnosis

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Socket is what this host's kernel says of an end that is its own.
type Socket struct {
	Local, Remote netip.AddrPort
	State         tcp.State
	RecvQueue     uint32 // octets that the application has not read
	SendQueue     uint32 // octets that are not acknowledged
	Unaccepted    bool   // it is open, and no application has accepted it
	Holders       []Holder
}

// Holder is a process that has a socket open. Its texts hold no control characters.
type Holder struct {
	PID, FD   int
	Name      string
	Command   string // "" if it is not shown
	Container string // "" outside of containers
}

// String is for people: "pid 4242 java, fd 87".
func (h Holder) String() string {
	text := fmt.Sprintf("pid %d %s, fd %d", h.PID, h.Name, h.FD)
	if h.Container != "" {
		text += " in " + h.Container
	}
	return text
}

// SortHolders orders holders by process and descriptor.
func SortHolders(holders []Holder) {
	slices.SortFunc(holders, func(a, b Holder) int { return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.FD, b.FD)) })
}

// FromKernel returns findings that rest on what the kernel says of its sockets, not on packets, the worst first: sockets that
// were left in CLOSE_WAIT before a capture could see it, and ends of which kernel and wire disagree. since is when each was
// first found to be so, in ns since 1970, now the time of the call.
func (r *Rules) FromKernel(old []Socket, disagreements []Disagreement, now int64, since func(*Socket) int64) []Finding {
	groups := make(map[key]*Finding)
	add := func(k key, s *Socket, c *tracker.Connection) (f *Finding, first bool) {
		f = groups[k]
		if first = f == nil; first {
			about, _ := Explain(k.kind)
			f = &Finding{
				Kind: k.kind, Severity: about.Severity, Certainty: tracker.Confirmed, Since: now, lasts: true, Culprits: 1,
				Culprit: Culprit{Role: k.role, Addr: k.addr}, Service: k.service.addrPort(), key: k,
			}
			if k.role == tracker.Server {
				f.Culprit.Port = k.service.port
			}
			groups[k] = f
		}
		f.Count++
		if c != nil {
			f.Connections = append(f.Connections, c.ID)
			f.Example = cmp.Or(f.Example, c.ID)
		}
		f.Since = min(f.Since, since(s))
		f.For = time.Duration(now - f.Since)
		for _, h := range s.Holders {
			if len(f.Holders) < maxHolders && !slices.Contains(f.Holders, h) {
				f.Holders = append(f.Holders, h)
			}
		}
		return f, first
	}
	for i := range old {
		s := &old[i]
		role, service := tracker.Server, s.Local
		if looksLikeClient(s) {
			role, service = tracker.Client, s.Remote
		}
		local := tcp.AddrFromNetip(s.Local.Addr())
		k := key{kind: OldCloseWait, role: role, addr: local, service: endpoint{tcp.AddrFromNetip(service.Addr()), service.Port()}}
		f, _ := add(k, s, nil)
		f.ForAtLeast = true
		where := "sport"
		if role == tracker.Client {
			where = "dport"
		}
		side := "of the server " + service.String()
		if role == tracker.Client {
			side = fmt.Sprintf("of the client %s to %s", s.Local.Addr(), service)
		}
		f.Summary = fmt.Sprintf("%s %s in CLOSE_WAIT since before the capture began.", sockets(f.Count), side)
		f.Cause = "The kernel lists them; their FIN passed before the capture began, so how long they have been so is not known. The application " +
			"has not called close() on them."
		f.Next, f.Command = fmt.Sprintf("On %s, see whether the number grows, and which process holds them", s.Local.Addr()),
			fmt.Sprintf("ss -tnp state close-wait '( %s = :%d )'", where, service.Port())
	}
	for i := range disagreements {
		d := &disagreements[i]
		end := &d.Connection.Ends[d.Role]
		k := key{kind: KernelDisagrees, role: d.Role, addr: end.Addr, service: endpointOf(&d.Connection.Ends[tracker.Server])}
		f, first := add(k, &d.Socket, &d.Connection)
		if !first {
			continue
		}
		peer := &d.Connection.Ends[d.Role.Peer()]
		if d.Gone {
			f.Summary = fmt.Sprintf("This host has no socket any more for %s to %s, which is in %v as far as packets show.", hostPort(end), hostPort(peer), end.State)
			f.Cause = "The socket went without a FIN or a RST that was seen here: a firewall dropped it, the process or its namespace was removed, or an " +
				"administrator killed the socket. The peer still believes that the connection is open."
			f.Next = fmt.Sprintf("On %s, see whether the peer still has it", peer.Addr)
			f.Command = fmt.Sprintf("ss -tnpo 'dst %s and dport = :%d'", end.Addr, end.Port)
		} else {
			f.Summary = fmt.Sprintf("For the kernel, %s to %s is %v; the packets say that the %v has gone.", hostPort(end), hostPort(peer), d.Socket.State, d.Role.Peer())
			f.Cause = "The packet that ended the connection passed the capture, and this host did not take it: its own firewall drops it, it arrived at " +
				"another interface than expected, or its sequence number was not the one that the kernel expects."
			f.Next = fmt.Sprintf("On %s, look at the socket, and for rules that drop RST or FIN", end.Addr)
			f.Command = fmt.Sprintf("ss -tnpoie 'dst %s and dport = :%d'; nft list ruleset", peer.Addr, peer.Port)
		}
		f.Evidence = marks(proof(end.Facts.Last, d.Role, "the last of this end"), proof(peer.Facts.Last, d.Role.Peer(), "the last of its peer"))
		if peer.Facts.RST.Seen() {
			f.Evidence = marks(proof(end.Facts.Last, d.Role, "the last of this end"), proof(peer.Facts.RST, d.Role.Peer(), "its peer resets the connection"))
		}
	}
	all := make([]Finding, 0, len(groups))
	for k, f := range groups {
		SortHolders(f.Holders)
		if !r.muted[k.kind] {
			all = append(all, *f)
		}
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), a.key.compare(b.key))
	})
	for i := range all {
		all[i].ID = i + 1
	}
	return all
}

// maxHolders is how many descriptors a finding names.
const maxHolders = 10

// Disagreement is an end of which the kernel says something else than the packets.
type Disagreement struct {
	Connection tracker.Connection
	Role       tracker.Role // of this host's end
	Socket     Socket       // the addresses alone if it is Gone
	Gone       bool         // there is no socket any more
}

func sockets(n int) string {
	if n == 1 {
		return "1 socket"
	}
	return fmt.Sprintf("%d sockets", n)
}

// ephemeralFrom is where the ports begin that systems choose by themselves: 32768 in Linux.
const ephemeralFrom = 32768

// looksLikeClient guesses by the ports.
func looksLikeClient(s *Socket) bool {
	return s.Local.Port() >= ephemeralFrom && s.Remote.Port() < ephemeralFrom
}
