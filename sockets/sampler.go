package sockets

import (
	"net/netip"
	"time"

	"tcpleak/tcp"
)

const (
	// DefaultOften are the states that a connection should leave soon, and LISTEN, whose queue says who does not accept.
	// They are few on a healthy host, so that asking for them costs little more than the kernel's walk.
	DefaultOften States = 1<<tcp.SynSent | 1<<tcp.SynRcvd | 1<<tcp.FinWait1 | 1<<tcp.FinWait2 | 1<<tcp.CloseWait | 1<<tcp.Closing |
		1<<tcp.LastAck | 1<<tcp.Listen
	// DefaultRarely is ESTABLISHED: most sockets, most of them fine.
	DefaultRarely States = 1 << tcp.Established
)

// The defaults of Config. They follow from what a question costs, in processor time, most of it the kernel's; measured on two
// cores of an AMD EPYC in a virtual machine with Linux 6.18, a connection table of 262,144 buckets and 10,000 sockets:
//
//	1.2 to 2.6 ms  a dump of half-closed states, none of the 10,000 among them: the walk over the table
//	14 to 19 ms    a dump of all 10,000
//	0.07 ms        a dump of LISTEN only
//	60 to 80 ms    looking for holders among 10,000 descriptors in 90 processes
//	0.02 ms        Ask
//
// With the defaults, a minute of that took 0.5 s, the start included: 0.8 % of a core, with a dump of the half-closed states
// every 0.6 s, of the others every 13 s. With all 10,000 among the states to be dumped often, it took 0.55 s, and they were
// dumped every 4 s.
const (
	DefaultOftenEvery  = 500 * time.Millisecond
	DefaultRarelyEvery = 10 * time.Second
	DefaultShare       = 0.01
)

// Config says what a Sampler asks for. The zero value is what most want.
type Config struct {
	// Often and Rarely are the states to dump, 0 for the defaults. What is in both belongs to Often. StatesOf(tcp.Unknown)
	// is a set that no socket is in. TIME_WAIT has to be asked for: there can be tens of thousands.
	Often, Rarely States
	// OftenEvery and RarelyEvery are the least intervals between two dumps, 0 for the defaults. They grow as needed to keep
	// the share.
	OftenEvery, RarelyEvery time.Duration
	// Share of one core that sampling may take in the long run, 0 to 1; 0 for the default. A start may take up to 100 ms
	// more, once.
	Share float64
	// AllNamespaces asks in every network namespace in which a process is or that has a name in /run/netns or
	// /run/docker/netns. It needs CAP_SYS_ADMIN and CAP_SYS_PTRACE. A namespace that has been found needs no more rights to
	// be asked again, so these may be dropped after the first Sample; later ones are then not seen.
	//
	// The Sampler keeps a socket in each namespace, and with it the namespace, until the next Sample finds that nobody else
	// is there: Sample must be called on.
	AllNamespaces bool
	// NoProcess leaves out who holds the sockets; nothing of /proc/PID is read but namespaces.
	//
	// Otherwise the processes of the same user are seen; those of others need CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
	NoProcess bool
	// Command is how much of the command line is shown.
	Command CommandDetail
}

func (cfg *Config) setDefaults() {
	if cfg.Often == 0 {
		cfg.Often = DefaultOften
	}
	if cfg.Rarely == 0 {
		cfg.Rarely = DefaultRarely
	}
	cfg.Rarely &^= cfg.Often
	if cfg.OftenEvery <= 0 {
		cfg.OftenEvery = DefaultOftenEvery
	}
	if cfg.RarelyEvery <= 0 {
		cfg.RarelyEvery = DefaultRarelyEvery
	}
	if !(cfg.Share > 0 && cfg.Share <= 1) {
		cfg.Share = DefaultShare
	}
}

// Sampler asks the kernel, as often as the share of a core allows that it may take, and remembers who holds which socket.
// Its methods may be called concurrently. Close it after use.
type Sampler struct{ s *sampler }

// New opens the kernel's socket diagnosis in the network namespace of the calling thread. The error says what is missing;
// it is always there on systems other than Linux.
func New(cfg Config) (*Sampler, error) {
	cfg.setDefaults()
	s, err := newSampler(cfg)
	if err != nil {
		return nil, err
	}
	return &Sampler{s}, nil
}

// Sample dumps what is due at now, goes on looking for processes, and returns the newest of everything. Called more often
// than anything is due, it does next to nothing; every 100 to 250 ms is good. The first call dumps everything.
//
// A call takes as long as the dump, about a microsecond a socket, and at most 20 ms for processes: a loop that must not wait
// calls it in a goroutine of its own. Snapshots are never changed.
//
// On an error the Snapshot is that of the last success, never nil.
func (s *Sampler) Sample(now time.Time) (*Snapshot, error) { return s.s.sample(now) }

// Ask asks the kernel now about one connection of this host, in every namespace, that of the Sampler first, and is thus what
// a suspicion is to be settled with. No answer and no error: no socket, not even TIME_WAIT. There can be several, in
// different namespaces. It takes some 10 µs for each namespace, and waits for a Sample under way.
//
// A socket that is bound to an interface is found only if a Snapshot has shown one bound to the same interface.
func (s *Sampler) Ask(local, remote netip.AddrPort) ([]Socket, error) {
	return s.s.ask(plain(local), plain(remote))
}

// Processes returns who holds the socket with this inode, the oldest process first, at most 64. It is known when it was
// found or when everything that may be looked at was searched: until then Sample is looking, and the caller asks again.
// An inode that is not asked for during a minute is forgotten. Nothing is read from the system, so it never waits long.
//
// Sockets in a state of Config.Often are looked for without being asked for.
func (s *Sampler) Processes(inode uint32) (holders []Process, known bool) {
	return s.s.holders(inode)
}

// Close gives up everything the Sampler holds in the system.
func (s *Sampler) Close() error { return s.s.close() }

// plain returns ap as it is on the wire: IPv4 unmapped, without a zone.
func plain(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
