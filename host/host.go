// Package host holds what this host's kernel says of its sockets against what packets say, and names the processes.
package host

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/sockets"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

const (
	// settled is how long nothing may have passed on a connection before kernel and wire are compared: longer than a
	// segment, its capture and the kernel's answer take.
	settled = int64(3 * time.Second)
	// lasting is how long a socket has been seen in CLOSE_WAIT before it is a finding: whoever closes soon is not at fault.
	lasting = 400 * time.Millisecond
	// maxFollowed bounds the sockets that are remembered, so that their going is noticed.
	maxFollowed = 100_000
	// maxAsked is how many sockets the kernel is asked for one by one at a time: 20 µs each.
	maxAsked = 50
	// forget is how long a socket that went is held against the wire.
	forget = 10 * time.Minute
)

// Config says what is captured, and how the kernel is asked.
type Config struct {
	Sockets    sockets.Config                          // AllNamespaces is for where packets of containers may pass
	Interfaces []string                                // that are captured on; "any" is all
	Selects    func(local, remote netip.AddrPort) bool // whether a connection passes the capture's filter; nil lets all pass
}

// Host is this host, as its kernel sees it. Socket may be called concurrently with itself, all else not.
type Host struct {
	cfg      Config
	links    links
	sampler  *sockets.Sampler
	snapshot *sockets.Snapshot
	follow   map[pair]*followed
	old      map[uint64]int64 // cookies of sockets in CLOSE_WAIT whose FIN the capture has not shown, and since when
	disputed map[pair]int64   // since when kernel and wire disagree
}

type pair struct{ local, remote netip.AddrPort }

// followed is a socket that the kernel had.
type followed struct {
	gone int64 // when it was found gone, ns since 1970; 0 while it is there
}

// Open begins to ask the kernel.
func Open(cfg Config) (*Host, error) {
	var l links
	l.refresh(time.Now(), cfg.Interfaces)
	cfg.Sockets.AllNamespaces = cfg.Sockets.AllNamespaces && (l.any || len(l.bridged) > 0)
	sampler, err := sockets.New(cfg.Sockets)
	if err != nil {
		return nil, err
	}
	return &Host{
		cfg: cfg, links: l, sampler: sampler, follow: make(map[pair]*followed), old: make(map[uint64]int64), disputed: make(map[pair]int64),
	}, nil
}

// Close ends it.
func (h *Host) Close() error { return h.sampler.Close() }

// Sample asks the kernel if it is time to.
func (h *Host) Sample(now time.Time) error {
	snapshot, err := h.sampler.Sample(now)
	if err == nil && snapshot != h.snapshot {
		h.snapshot = snapshot
		h.links.refresh(now, h.cfg.Interfaces)
	}
	return err
}

// Limited says in one line what the kernel could not be asked, and what would help; "" if there is nothing.
func (h *Host) Limited() string {
	if h.snapshot == nil {
		return ""
	}
	return h.snapshot.Limited
}

// Socket returns this host's socket of an end of a connection, if it is this host's.
func (h *Host) Socket(c *tracker.Connection, role tracker.Role) (diagnosis.Socket, bool) {
	if h.snapshot == nil {
		return diagnosis.Socket{}, false
	}
	p := pairOf(c, role)
	for _, s := range h.snapshot.Lookup(p.local, p.remote) {
		if h.near(&s) {
			return h.describe(&s), true
		}
	}
	return diagnosis.Socket{}, false
}

// near reports whether the packets of s may be among those captured.
func (h *Host) near(s *sockets.Socket) bool {
	own := len(h.snapshot.Namespaces) > 0 && s.Namespace == h.snapshot.Namespaces[0].Inode
	return h.links.carry(s.Local.Addr(), s.Remote.Addr(), own) && (h.cfg.Selects == nil || h.cfg.Selects(s.Local, s.Remote))
}

// still reports whether a socket of the snapshot is in the same state now. With many network namespaces snapshots are far
// apart; a question about one socket is cheap.
func (h *Host) still(s *sockets.Socket, now int64, asked *int) bool {
	if now-s.At.UnixNano() < int64(lasting) {
		return true
	}
	if *asked++; *asked > maxAsked {
		return true // as far as is known
	}
	found, err := h.sampler.Ask(s.Local, s.Remote)
	return err != nil || slices.ContainsFunc(found, func(o sockets.Socket) bool { return o.Cookie == s.Cookie && o.State == s.State })
}

func (h *Host) describe(s *sockets.Socket) diagnosis.Socket {
	d := diagnosis.Socket{
		Local: s.Local, Remote: s.Remote, State: s.State, RecvQueue: s.RecvQueue, SendQueue: s.SendQueue, Unaccepted: s.Unaccepted(),
	}
	if s.Inode == 0 {
		return d
	}
	holders, _ := h.sampler.Processes(s.Inode)
	for _, p := range holders {
		d.Holders = append(d.Holders, diagnosis.Holder{
			PID: p.PID, FD: p.FD, Name: p.Name, Command: p.Command, Container: cmp.Or(p.Container, p.Unit),
		})
	}
	return d
}

// Annotate names, in the findings of a, the processes that have the sockets at fault open.
func (h *Host) Annotate(a *diagnosis.Analysis) {
	const looked = 10 // connections of a finding
	var c tracker.Connection
	for i := range a.Findings {
		f := &a.Findings[i]
		if f.Culprits == 0 {
			continue
		}
		ids := f.Connections[:min(len(f.Connections), looked)]
		for _, id := range slices.Concat([]uint64{f.Example}, ids) {
			if !a.Connection(id, &c) || len(f.Holders) >= looked {
				continue
			}
			if s, ok := h.Socket(&c, f.Culprit.Role); ok {
				for _, holder := range s.Holders {
					if !slices.Contains(f.Holders, holder) {
						f.Holders = append(f.Holders, holder)
					}
				}
			}
		}
		diagnosis.SortHolders(f.Holders)
	}
}

// Findings returns what the kernel knows and packets do not show, or show otherwise; now is the time of a, in ns since 1970.
func (h *Host) Findings(rules *diagnosis.Rules, table *tracker.Table, now int64) []diagnosis.Finding {
	if h.snapshot == nil {
		return nil
	}
	var old []diagnosis.Socket
	var disagreements []diagnosis.Disagreement
	since := make(map[pair]int64)
	present := make(map[uint64]bool)
	asked := 0
	var c tracker.Connection
	for s := range h.snapshot.All() {
		if s.State == tcp.Listen || !h.near(s) {
			continue
		}
		p := pair{s.Local, s.Remote}
		known := find(table, p, now, &c)
		if f := h.follow[p]; f != nil {
			f.gone = 0
		} else if known && len(h.follow) < maxFollowed {
			h.follow[p] = &followed{}
		}
		switch {
		case s.State == tcp.CloseWait && !(known && c.Ends[roleOf(&c, p).Peer()].Facts.FIN.Seen()):
			present[s.Cookie] = true
			first, ok := h.old[s.Cookie]
			if !ok {
				h.old[s.Cookie] = now
			} else if now-first >= int64(lasting) && h.still(s, now, &asked) {
				old = append(old, h.describe(s))
				since[p] = first
			}
		case s.State == tcp.Established && known:
			role := roleOf(&c, p)
			if peer := &c.Ends[role.Peer()]; peer.State != tcp.Closed || peer.Certainty == tracker.Assumed || now-c.Last < settled {
				delete(h.disputed, p)
				break
			}
			if h.disputed[p] == 0 {
				h.disputed[p] = c.Last
			}
			if s.At.UnixNano() > c.Last+settled {
				disagreements = append(disagreements, diagnosis.Disagreement{Connection: c, Role: role, Socket: h.describe(s)})
				since[p] = h.disputed[p]
			}
		}
	}
	for cookie := range h.old {
		if !present[cookie] {
			delete(h.old, cookie)
		}
	}
	for _, d := range h.goneWithoutAPacket(table, now) {
		disagreements = append(disagreements, d)
		since[pairOf(&d.Connection, d.Role)] = h.follow[pairOf(&d.Connection, d.Role)].gone
	}
	return rules.FromKernel(old, disagreements, now, func(s *diagnosis.Socket) int64 {
		return cmp.Or(since[pair{s.Local, s.Remote}], now)
	})
}

// goneWithoutAPacket returns the ends that had a socket and have none any more, although their packets do not say so. That
// there never was one proves nothing: it may be another host's, behind a NAT on this one.
func (h *Host) goneWithoutAPacket(table *tracker.Table, now int64) (all []diagnosis.Disagreement) {
	asked := 0
	var c tracker.Connection
	for p, f := range h.follow {
		if len(h.snapshot.Lookup(p.local, p.remote)) > 0 {
			f.gone = 0
			continue
		}
		if !find(table, p, now, &c) || now-f.gone > int64(forget) && f.gone != 0 {
			delete(h.follow, p)
			continue
		}
		role := roleOf(&c, p)
		if !c.Ends[role].State.Open() {
			delete(h.follow, p)
			continue
		}
		if now-c.Last < settled {
			continue
		}
		if f.gone == 0 {
			if asked++; asked > maxAsked {
				continue
			}
			// A snapshot may have missed it, as it changed its state.
			if found, err := h.sampler.Ask(p.local, p.remote); err != nil || slices.ContainsFunc(found, func(s sockets.Socket) bool { return h.near(&s) }) {
				continue
			}
			f.gone = now
			continue
		}
		if now-f.gone >= settled {
			all = append(all, diagnosis.Disagreement{
				Connection: c, Role: role, Gone: true, Socket: diagnosis.Socket{Local: p.local, Remote: p.remote, State: tcp.Closed},
			})
		}
	}
	slices.SortFunc(all, func(a, b diagnosis.Disagreement) int { return cmp.Compare(a.Connection.ID, b.Connection.ID) })
	return all
}

// find fills in c with the newest connection of p, which no VLAN or tunnel surrounds: what is inside of one is seldom this
// host's.
func find(table *tracker.Table, p pair, now int64, c *tracker.Connection) bool {
	ref, ok := table.Find(tcp.AddrFromNetip(p.local.Addr()), p.local.Port(), tcp.AddrFromNetip(p.remote.Addr()), p.remote.Port(), 0)
	return ok && table.Get(ref, now, c)
}

func pairOf(c *tracker.Connection, role tracker.Role) pair {
	e, peer := &c.Ends[role], &c.Ends[role.Peer()]
	return pair{netip.AddrPortFrom(e.Addr.Netip(), e.Port), netip.AddrPortFrom(peer.Addr.Netip(), peer.Port)}
}

// roleOf returns the role of p's local end.
func roleOf(c *tracker.Connection, p pair) tracker.Role {
	e := &c.Ends[tracker.Client]
	if e.Port == p.local.Port() && e.Addr == tcp.AddrFromNetip(p.local.Addr()) {
		return tracker.Client
	}
	return tracker.Server
}
