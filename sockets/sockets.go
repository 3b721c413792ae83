// Package sockets asks this host's kernel about its TCP sockets, and /proc for the processes that hold them.
//
// # What the answer proves
//
// A [Socket] is what the kernel held at the moment when it was asked: its own state, not one inferred from packets. Against
// what a capture shows it stands like this:
//
//   - Packets in flight make the two differ for a while, and so does the time between the packet, the answer and the
//     comparison: a difference proves something only when it is still there on asking again, after longer than a round trip
//     and the delay of the capture. [Socket.At] says when the kernel was asked.
//   - A [Snapshot] is not one moment. The kernel walks its table in pieces, some milliseconds in all, while connections go
//     on: one that changes its state during the walk can be missing or appear as it was. States are dumped at different
//     times, too, see [Config]. That a Snapshot lacks a connection proves nothing; that [Sampler.Ask] does not find it,
//     proves that no network namespace that could be asked had it just then.
//   - A namespace that could not be asked may hold any connection: see [Snapshot.Limited]. The addresses of containers are
//     theirs, and so are their connections.
//   - The kernel knows one end. That the application has closed it (no inode), or nobody has accepted it, is certain; what
//     the peer has received is not in it, except for what it has acknowledged.
//   - Orphaned FIN_WAIT_2 and TIME_WAIT are kept as small records without queues, user or inode. FIN_WAIT_2 ends after
//     net.ipv4.tcp_fin_timeout (60 s) when nobody holds the socket: RFC 9293 knows no such timeout, and the peer learns
//     nothing of it.
//   - Request sockets, handshakes without a socket of their own, are SYN_RCVD. With SYN cookies there is no record at all.
//
// # Who holds a socket
//
// A socket is named by its inode; the processes that have it open are found by reading the links in /proc/PID/fd, which is
// by far the dearest question asked here. Answers are remembered while process and descriptor last. Nobody is found for
// sockets of the kernel itself, those on their way in a message between processes, those that only io_uring knows, and
// those in the descriptor table that a thread has for itself alone.
package sockets

import (
	"net/netip"
	"time"

	"tcpleak/tcp"
)

// States is a set of TCP states.
type States uint16

// StatesOf returns the set of the given states.
func StatesOf(states ...tcp.State) States {
	var set States
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// Has reports whether state is in the set.
func (s States) Has(state tcp.State) bool { return s>>state&1 != 0 }

// Socket is one of the kernel's TCP sockets, or what it keeps of a connection before and after there is one.
type Socket struct {
	// Local and Remote are as on the wire: an IPv4 connection of an IPv6 socket has IPv4 addresses, and there are no
	// zones. Remote is 0.0.0.0:0 or [::]:0 for LISTEN.
	Local, Remote netip.AddrPort

	At        time.Time // when the kernel was asked
	Namespace uint64    // inode of the network namespace
	Cookie    uint64    // the kernel's own number of the socket, never used again while the host is up

	// RecvQueue is how many octets in order the application has not read yet. The peer's FIN counts as one, so that in
	// CLOSE_WAIT 0 says that the application has seen the end of the stream and not closed, more, that it does not read.
	// For LISTEN: how many connections wait to be accepted.
	RecvQueue uint32
	// SendQueue is how many octets are not acknowledged yet, sent or not; a FIN counts as one. For LISTEN: how many
	// connections may wait to be accepted.
	SendQueue uint32

	Inode     uint32        // 0: no process holds it, see Unaccepted and Orphaned
	UID       uint32        // the user who made it; 0 where the kernel no longer, or not yet, knows
	Interface uint32        // index of the interface that it is bound to; 0 for most
	Expires   time.Duration // until Timer ends, as of At
	State     tcp.State
	Timer     Timer
	// Retransmits counts what Timer did since the peer last answered: retransmissions, keep-alives or window probes. 0 to
	// 255.
	Retransmits uint8
}

// Unaccepted reports whether the connection is open, and no application has accepted it: it waits in its listener's queue.
// (A later subflow of Multipath TCP looks the same.)
func (s *Socket) Unaccepted() bool {
	return s.Inode == 0 && (s.State == tcp.Established || s.State == tcp.CloseWait)
}

// Orphaned reports whether the application has closed the socket, or ended, and the kernel is left to finish alone.
func (s *Socket) Orphaned() bool {
	if s.Inode != 0 {
		return false
	}
	switch s.State {
	case tcp.FinWait1, tcp.FinWait2, tcp.Closing, tcp.LastAck:
		return true
	}
	return false
}

// Timer is what a socket waits for by the clock.
type Timer uint8

// The timers of a socket, with the kernel's numbers.
const (
	NoTimer Timer = iota
	Retransmission
	KeepAlive
	TimeWaitTimer // also the end of an orphaned FIN_WAIT_2
	WindowProbe
)

// String says what is waited for.
func (t Timer) String() string {
	switch t {
	case NoTimer:
		return "none"
	case Retransmission:
		return "retransmission"
	case KeepAlive:
		return "keep-alive"
	case TimeWaitTimer:
		return "time wait"
	case WindowProbe:
		return "window probe"
	}
	return "unknown"
}

// Process is a process that has a socket open. Its texts come from whoever wrote the program: control characters in them
// are replaced by "�", and their length is bounded.
type Process struct {
	PID       int
	FD        int       // its lowest descriptor of the socket
	Name      string    // as ps -o comm shows it, at most 64 characters
	Command   string    // at most 256 characters; see CommandDetail
	Started   time.Time // to 10 ms
	Container string    // "docker 3f2a9c1b4d5e", "podman …", "kubernetes …", "lxc name"; empty outside of containers
	Unit      string    // systemd's name for the service or session: "nginx.service"; empty if there is none
	Namespace uint64    // inode of the network namespace it is in now, which need not be the socket's; 0 unknown
}

// Namespace is a network namespace.
type Namespace struct {
	Inode uint64
	Name  string // of its file in /run/netns or /run/docker/netns; empty if there is none
	PID   int    // a process in it: nsenter -t PID -n ss -tan; 0 if none was seen
}

// CommandDetail says how much of a command line [Process.Command] shows. Command lines may hold passwords, and reports are
// passed on.
type CommandDetail uint8

const (
	// ProgramOnly shows the program, and the script or archive it runs; "…" stands for arguments left out: "nginx",
	// "java … app.jar …", "python3 server.py …". A program that writes its own title, as postgres does, shows all of that.
	ProgramOnly CommandDetail = iota
	// WithArguments shows the whole, secrets and all.
	WithArguments
	// NoCommand shows nothing; Process.Name remains.
	NoCommand
)
