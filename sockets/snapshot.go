package sockets

import (
	"iter"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tcpleak/tcp"
)

// Snapshot is what the kernel said of its sockets, each state when it was last asked for. It is never changed and may be
// read concurrently.
type Snapshot struct {
	// Namespaces are those that were asked, that of the Sampler first.
	Namespaces []Namespace
	// Limited says in one line what could not be asked and what would help; empty when nothing is missing.
	Limited string

	tables []*table // the newest first
}

// All yields every socket once, as last seen. Sockets of states that are dumped rarely may be gone since [Socket.At].
func (s *Snapshot) All() iter.Seq[*Socket] {
	return func(yield func(*Socket) bool) {
		for i, t := range s.tables {
			for j := range t.sockets {
				if sock := &t.sockets[j]; !known(s.tables[:i], sock) && !yield(sock) {
					return
				}
			}
		}
	}
}

// Lookup returns the sockets of one connection of this host, from the local end to the remote. Where both ends are on this
// host, the other end is the socket from the remote to the local. In several namespaces there may be several; that of the
// Sampler comes first.
func (s *Snapshot) Lookup(local, remote netip.AddrPort) []Socket {
	var found []Socket
	for i, t := range s.tables {
		for sock := range t.find(pair{plain(local), plain(remote)}) {
			if !known(s.tables[:i], sock) {
				found = append(found, *sock)
			}
		}
	}
	s.ownFirst(found)
	return found
}

// Listeners returns the sockets that a connection to the local address belongs to until it is accepted: those of the same
// namespace and port with exactly this address, else with any. Several share a port with SO_REUSEPORT; which of them has
// the connection in its queue cannot be told.
func (s *Snapshot) Listeners(namespace uint64, local netip.AddrPort) []Socket {
	local = plain(local)
	var exact, same, other []Socket
	for _, t := range s.tables {
		for _, i := range t.listeners() {
			sock := t.sockets[i]
			addr := sock.Local.Addr()
			switch {
			case sock.Namespace != namespace || sock.Local.Port() != local.Port():
			case addr == local.Addr():
				exact = append(exact, sock)
			case addr.IsUnspecified() && addr.Is4() == local.Addr().Is4():
				same = append(same, sock)
			case addr == netip.IPv6Unspecified(): // takes IPv4, too, unless IPV6_V6ONLY is set
				other = append(other, sock)
			}
		}
	}
	switch {
	case len(exact) > 0:
		return exact
	case len(same) > 0:
		return same
	}
	return other
}

// Asked returns when the kernel was last asked for sockets in a state; the zero time if never.
func (s *Snapshot) Asked(state tcp.State) time.Time {
	for _, t := range s.tables {
		if t.states.Has(state) {
			return t.at
		}
	}
	return time.Time{}
}

// ownFirst moves the sockets of the Sampler's namespace to the front.
func (s *Snapshot) ownFirst(found []Socket) {
	if len(s.Namespaces) == 0 {
		return
	}
	slices.SortStableFunc(found, func(a, b Socket) int {
		own := s.Namespaces[0].Inode
		switch {
		case a.Namespace == own && b.Namespace != own:
			return -1
		case a.Namespace != own && b.Namespace == own:
			return 1
		}
		return 0
	})
}

// known reports whether a newer table shows what has become of the connection: it may have changed its state between two
// dumps.
func known(newer []*table, sock *Socket) bool {
	for _, t := range newer {
		for other := range t.find(pair{sock.Local, sock.Remote}) {
			if other.Namespace == sock.Namespace {
				return true
			}
		}
	}
	return false
}

// table is one dump, of all namespaces.
type table struct {
	sockets []Socket
	states  States
	at      time.Time
	leftOut int // sockets beyond maxSockets

	once    sync.Once // guards the making of what follows: not everyone looks up
	first   map[pair]int32
	next    []int32 // the next socket with the same pair; 0 ends, as the first socket is nobody's next
	listens []int32
}

// pair is a connection as one end sees it.
type pair struct{ local, remote netip.AddrPort }

func (t *table) index() {
	t.once.Do(func() {
		t.first = make(map[pair]int32, len(t.sockets))
		t.next = make([]int32, len(t.sockets))
		for i := len(t.sockets) - 1; i >= 0; i-- {
			sock := &t.sockets[i]
			p := pair{sock.Local, sock.Remote}
			t.next[i] = t.first[p]
			t.first[p] = int32(i)
			if sock.State == tcp.Listen {
				t.listens = append(t.listens, int32(i))
			}
		}
	})
}

func (t *table) find(p pair) iter.Seq[*Socket] {
	return func(yield func(*Socket) bool) {
		t.index()
		i, ok := t.first[p]
		for ok && yield(&t.sockets[i]) {
			i = t.next[i]
			ok = i != 0
		}
	}
}

func (t *table) listeners() []int32 {
	t.index()
	return t.listens
}
