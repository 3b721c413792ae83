package sockets

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/tcp"
)

// maxSockets bounds a dump: 140 octets each, so 36 MB.
const maxSockets = 1 << 18

// Parts of Config.Share: for what is dumped often, for what is dumped rarely, for finding namespaces and for finding
// processes. A fifth is left for what is not measured here, such as collecting the garbage.
const (
	oftenPart      = 0.45
	rarelyPart     = 0.15
	namespacesPart = 0.05
	processesPart  = 0.15
)

type sampler struct {
	cfg Config

	mu     sync.Mutex // guards what follows
	closed bool
	spaces *namespaces
	often  dumps
	rarely dumps
	newest *Snapshot
	procs  *processes // nil with Config.NoProcess; has a lock of its own
}

// dumps are those of a set of states.
type dumps struct {
	pace
	states States
	table  *table
	failed int // namespaces
	broken int // answers
}

func newSampler(cfg Config) (*sampler, error) {
	spaces, err := newNamespaces(cfg.AllNamespaces, namespacesPart*cfg.Share)
	if err != nil {
		return nil, err
	}
	// The cheapest question there is tells whether the kernel answers.
	if err := spaces.all[0].dump(kernelMask(StatesOf(tcp.Listen)), func([]byte) {}); err != nil {
		spaces.close()
		return nil, explain(err)
	}
	s := &sampler{
		cfg:    cfg,
		spaces: spaces,
		often:  dumps{states: cfg.Often, pace: pace{every: cfg.OftenEvery, share: oftenPart * cfg.Share}},
		rarely: dumps{states: cfg.Rarely, pace: pace{every: cfg.RarelyEvery, share: rarelyPart * cfg.Share}},
		newest: new(Snapshot),
	}
	if !cfg.NoProcess {
		s.procs = newProcesses(cfg.Command, processesPart*cfg.Share)
	}
	return s, nil
}

func (s *sampler) sample(now time.Time) (*Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.newest, os.ErrClosed
	}
	runtime.LockOSThread() // the clock is the thread's
	defer runtime.UnlockOSThread()

	changed := false
	if s.cfg.AllNamespaces {
		changed = s.spaces.refresh(now)
	}
	for _, d := range [...]*dumps{&s.often, &s.rarely} {
		if !d.due(now) {
			continue
		}
		start := processorTime()
		err := s.dump(d, now)
		if err == nil && d == &s.often && s.procs != nil {
			s.procs.interested(d.table.sockets, now)
		}
		d.ran(now, processorTime()-start)
		if err != nil {
			return s.newest, err
		}
		changed = true
	}
	if s.procs != nil {
		changed = s.procs.step(now) || changed
	}
	if changed {
		s.newest = s.snapshot()
	}
	return s.newest, nil
}

// dump asks in every namespace. Only the failure of the first, the Sampler's own, is an error: others come and go.
func (s *sampler) dump(d *dumps, now time.Time) error {
	t := &table{states: d.states, at: now}
	if d.table != nil {
		t.sockets = make([]Socket, 0, len(d.table.sockets)+len(d.table.sockets)/16)
	}
	mask := kernelMask(d.states)
	d.failed, d.broken = 0, 0
	for i, n := range s.spaces.all {
		err := n.dump(mask, func(msg []byte) {
			sock, err := parseSocket(msg)
			switch {
			case err != nil:
				d.broken++
				return
			case len(t.sockets) >= maxSockets:
				t.leftOut++
				return
			}
			sock.At, sock.Namespace = now, n.Inode
			t.sockets = append(t.sockets, sock)
			n.noteBound(sock.Interface)
		})
		switch {
		case err == nil:
		case i == 0:
			return explain(err)
		default:
			d.failed++
		}
	}
	d.table = t
	return nil
}

func (d *diag) noteBound(boundTo uint32) {
	if boundTo != 0 && len(d.bound) < maxBound {
		d.bound[boundTo] = struct{}{}
	}
}

func (s *sampler) snapshot() *Snapshot {
	snap := &Snapshot{Namespaces: s.spaces.list(), Limited: s.limits()}
	for _, d := range [...]*dumps{&s.often, &s.rarely} {
		if d.table != nil {
			snap.tables = append(snap.tables, d.table)
		}
	}
	slices.SortStableFunc(snap.tables, func(a, b *table) int { return b.at.Compare(a.at) })
	return snap
}

func (s *sampler) limits() string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if s.procs != nil && s.procs.unseen() {
		add("processes of other users are not seen: run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
	}
	if s.spaces.hidden {
		add("the network namespaces of other users' processes are not seen: run as root, or with CAP_SYS_PTRACE")
	}
	if n := s.spaces.refused; n > 0 {
		add("%d network namespaces may not be entered: run as root, or with CAP_SYS_ADMIN", n)
	}
	if n := s.spaces.tooMany; n > 0 {
		add("%d network namespaces beyond %d are left out", n, maxNamespaces)
	}
	for _, d := range [...]*dumps{&s.often, &s.rarely} {
		if d.failed > 0 {
			add("%d network namespaces did not answer", d.failed)
		}
		if d.broken > 0 {
			add("%d of the kernel's answers could not be read", d.broken)
		}
		if d.table != nil && d.table.leftOut > 0 {
			add("%d sockets beyond %d are left out", d.table.leftOut, maxSockets)
		}
	}
	return strings.Join(all, "; ")
}

func (s *sampler) ask(local, remote netip.AddrPort) ([]Socket, error) {
	if !local.IsValid() || !remote.IsValid() || local.Addr().Is4() != remote.Addr().Is4() {
		return nil, fmt.Errorf("no connection goes from %v to %v: give two addresses of one family", local, remote)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, os.ErrClosed
	}
	now := time.Now()
	p := pair{local, remote}
	var found []Socket
	var errs []error
	for _, n := range s.spaces.all {
		err := n.lookup(p, func(msg []byte) {
			sock, err := parseSocket(msg)
			// Without a connection the kernel names the listener.
			if err != nil || sock.Local != local || sock.Remote != remote {
				return
			}
			sock.At, sock.Namespace = now, n.Inode
			if !slices.ContainsFunc(found, func(other Socket) bool {
				return other.Cookie == sock.Cookie && other.Namespace == sock.Namespace
			}) {
				found = append(found, sock)
			}
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(found) == 0 && len(errs) > 0 {
		return nil, fmt.Errorf("asking the kernel for the socket from %v to %v: %w", local, remote, errors.Join(errs...))
	}
	return found, nil
}

func (s *sampler) holders(inode uint32) ([]Process, bool) {
	if s.procs == nil {
		return nil, false
	}
	return s.procs.of(inode)
}

func (s *sampler) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	s.closed = true
	s.spaces.close()
	if s.procs != nil {
		s.procs.close()
	}
	return nil
}

// processorTime is what the calling thread has used, in the kernel too.
func processorTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
