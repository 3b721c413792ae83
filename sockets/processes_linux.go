package sockets

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxHolders  = 64      // of one socket that are told of
	maxInterest = 1 << 18 // sockets that are looked for or watched
	maxHeld     = 1 << 20 // sockets of all processes that are remembered; beyond, only those of interest are

	processesSlice = 20 * time.Millisecond  // processor time of one step
	processesSaved = 100 * time.Millisecond // processor time that may be saved up: a search on a busy host

	forgetAfter  = time.Minute      // an inode that nobody asks for
	aliveEvery   = time.Second      // how often it is made sure that a process lives, while somebody asks for it
	recheckEvery = 15 * time.Second // the same otherwise, and for descriptors, and for names, which exec changes
	atOnce       = 64               // processes that are named or made sure of in a step; as many descriptors
	fullEvery    = 30 * time.Second // least time between two searches of all processes that cannot be paid from savings
	afreshEvery  = time.Minute      // the same for searches that are for nothing missing, but for who else holds a socket
	backOff      = 2 * time.Second  // after the first search without finding; doubles
	longestBack  = 5 * time.Minute

	linksAtOnce = 256 // descriptors that are looked at between two looks at the clock: about a millisecond
)

// processes remembers who holds which socket. What it knows, it has from searches: through all processes, or first only
// through those that were named before, as what is new is often theirs. A search goes on over many steps.
type processes struct {
	detail CommandDetail

	// Only for the goroutine that is in step.
	budget   budget
	search   *search
	lastFull time.Time     // when the last search of all processes ended
	fullCost time.Duration // what it took

	mu       sync.Mutex // guards what follows
	now      time.Time  // of the last step
	searches int        // that were begun
	denied   int        // processes that the last search of all was not allowed to look at
	byPID    map[int]*process
	index    map[uint32][]holder // who holds an inode, as of the last look
	interest map[uint32]*interest
	pending  map[uint32]*interest  // those that nobody was found for
	nameless map[*process]struct{} // those to be named, or whose name is old
	recheck  []uint32              // inodes whose descriptors are to be looked at again
	missing  int                   // inodes of interest that were searched for in vain
}

type process struct {
	pid      int
	start    uint64
	held     []held    // ordered by inode
	searched int       // number of the search that looked at it last
	alive    time.Time // when it was seen last
	asked    time.Time // when it was answered with last
	named    time.Time // when info was read
	info     Process
}

type held struct{ inode, fd uint32 }

type holder struct {
	*process
	fd uint32
}

// interest is in one inode.
type interest struct {
	since     int       // number of searches begun before it; a later one counts
	last      time.Time // when somebody was interested
	checked   time.Time // when its descriptors were looked at
	next      time.Time // not to be searched for before
	fruitless int       // searches of all processes without finding
	narrow    bool      // those that were named have been searched
}

// search is under way.
type search struct {
	full   bool
	number int
	cost   time.Duration
	denied int
	pids   []int // still to be looked at

	// The process that is being looked at, if dir is not nil.
	at    *process
	dir   *os.File // its /proc/PID/fd
	names []string // descriptors read from dir, not looked at yet
	held  []held
}

func newProcesses(detail CommandDetail, share float64) *processes {
	return &processes{
		detail:   detail,
		budget:   budget{share: share, most: processesSaved},
		byPID:    make(map[int]*process),
		index:    make(map[uint32][]holder),
		interest: make(map[uint32]*interest),
		pending:  make(map[uint32]*interest),
		nameless: make(map[*process]struct{}),
	}
}

// of answers Sampler.Processes.
func (p *processes) of(inode uint32) ([]Process, bool) {
	if inode == 0 {
		return nil, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	who := p.want(inode, p.now)
	if who == nil {
		return nil, false
	}
	if len(p.index[inode]) == 0 {
		return nil, who.fruitless > 0
	}
	var all []Process
	for _, h := range p.index[inode] {
		h.asked = p.now
		if p.now.Sub(h.named) >= recheckEvery {
			p.nameless[h.process] = struct{}{}
		}
		if h.named.IsZero() {
			return nil, false // the next step names it
		}
		info := h.info
		info.FD = int(h.fd)
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b Process) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.PID, b.PID))
	})
	return all[:min(len(all), maxHolders)], true
}

// want notes that somebody is interested in an inode; nil where there is no room.
func (p *processes) want(inode uint32, now time.Time) *interest {
	i := p.interest[inode]
	if i == nil {
		if len(p.interest) >= maxInterest {
			return nil
		}
		i = &interest{since: p.searches, checked: now}
		p.interest[inode] = i
		if len(p.index[inode]) == 0 {
			p.pending[inode] = i
		}
		for _, h := range p.index[inode] {
			if h.named.IsZero() {
				p.nameless[h.process] = struct{}{}
			}
		}
	}
	i.last = now
	return i
}

// interested takes the inodes of a new dump, and forgets those that nobody was interested in for a while.
func (p *processes) interested(sockets []Socket, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range sockets {
		if inode := sockets[i].Inode; inode != 0 {
			p.want(inode, now)
		}
	}
	p.recheck = p.recheck[:0]
	p.missing = 0
	for inode, i := range p.interest {
		if now.Sub(i.last) >= forgetAfter {
			delete(p.interest, inode)
			delete(p.pending, inode)
			continue
		}
		switch {
		case i.fruitless > 0:
			p.missing++
		case len(p.index[inode]) > 0 && now.Sub(i.checked) >= recheckEvery:
			p.recheck = append(p.recheck, inode)
		}
	}
}

// unseen reports whether there are sockets whose holders were searched for in vain while some processes could not be looked
// at.
func (p *processes) unseen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.denied > 0 && p.missing > 0
}

// step goes on, for at most processesSlice, and reports whether what unseen says has changed.
func (p *processes) step(now time.Time) bool {
	before := p.unseen()
	start := processorTime()
	spent := func() time.Duration { return processorTime() - start }
	left := min(processesSlice, p.budget.earn(now))
	p.mu.Lock()
	p.now = now
	p.mu.Unlock()

	// However much was spent before, the little that is asked for now is answered.
	p.bury(now)
	p.name(now)
	if left > 0 {
		p.checkDescriptors(now)
		p.choose(now)
		for p.search != nil && spent() < left {
			before := spent()
			p.goOn(now)
			if p.search != nil {
				p.search.cost += spent() - before
			}
		}
	}
	p.budget.spend(spent())
	return p.unseen() != before
}

// bury forgets the processes that have ended, among those that were named.
func (p *processes) bury(now time.Time) {
	p.mu.Lock()
	var due []*process
	for _, proc := range p.byPID {
		if proc.named.IsZero() || len(due) == atOnce {
			continue
		}
		every := recheckEvery
		if now.Sub(proc.asked) < every {
			every = aliveEvery
		}
		if now.Sub(proc.alive) >= every {
			due = append(due, proc)
		}
	}
	p.mu.Unlock()
	for _, proc := range due {
		if start, err := startOf(proc.pid); err != nil || start != proc.start {
			p.forget(proc)
		} else {
			p.mu.Lock()
			proc.alive = now
			p.mu.Unlock()
		}
	}
}

// forget removes a process and asks anew for what it held.
func (p *processes) forget(proc *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold(proc, nil)
	if p.byPID[proc.pid] == proc {
		delete(p.byPID, proc.pid)
	}
	delete(p.nameless, proc)
}

// name reads the names of processes that hold what somebody is interested in.
func (p *processes) name(now time.Time) {
	p.mu.Lock()
	var due []*process
	for proc := range p.nameless {
		if len(due) == atOnce {
			break
		}
		due = append(due, proc)
		delete(p.nameless, proc)
	}
	p.mu.Unlock()
	for _, proc := range due {
		// Not under the lock: reading a command line waits for the process if that is changing its memory map.
		info, start, err := describe(proc.pid, p.detail)
		if err != nil || start != proc.start {
			p.forget(proc)
			continue
		}
		p.mu.Lock()
		if !proc.named.IsZero() {
			info.Started = proc.info.Started // computed from two clocks, and not quite the same each time
			if info.Namespace == 0 {
				info.Namespace = proc.info.Namespace // the right to look was given up
			}
		}
		proc.info, proc.named, proc.alive = info, now, now
		p.mu.Unlock()
	}
}

// checkDescriptors makes sure that some descriptors still are the sockets that they were: a process may have closed or passed
// on what another one holds, too.
func (p *processes) checkDescriptors(now time.Time) {
	p.mu.Lock()
	n := min(len(p.recheck), atOnce)
	due := slices.Clone(p.recheck[:n])
	p.recheck = p.recheck[n:]
	p.mu.Unlock()
	buf := make([]byte, 64)
	for _, inode := range due {
		p.mu.Lock()
		who := p.interest[inode]
		if who != nil {
			who.checked = now
		}
		holders := slices.Clone(p.index[inode])
		p.mu.Unlock()
		for _, h := range holders[:min(len(holders), maxHolders)] {
			n, err := unix.Readlink(fmt.Sprintf("/proc/%d/fd/%d", h.pid, h.fd), buf)
			if err == unix.EACCES {
				continue // the right to look was given up
			}
			if got, ok := linkInode(buf[:max(n, 0)], "socket"); err != nil || !ok || got != uint64(inode) {
				p.mu.Lock()
				p.hold(h.process, slices.DeleteFunc(slices.Clone(h.held), func(x held) bool { return x.inode == inode }))
				p.mu.Unlock()
			}
		}
	}
}

// choose begins a search if one is due.
func (p *processes) choose(now time.Time) {
	if p.search != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	due, narrow := false, false
	for _, i := range p.pending {
		if !i.next.After(now) {
			due = true
			narrow = narrow || !i.narrow
		}
	}
	since := now.Sub(p.lastFull)
	affordable := p.lastFull.IsZero() || p.budget.left >= p.fullCost
	afresh := len(p.interest) > len(p.pending) && (affordable && since >= afreshEvery || since >= 5*afreshEvery)
	s := &search{number: p.searches + 1}
	for pid, proc := range p.byPID {
		if !proc.named.IsZero() {
			s.pids = append(s.pids, pid)
		}
	}
	switch {
	case due && (affordable || since >= fullEvery), afresh:
		s.full = true
		first := slices.Clone(s.pids)
		slices.Sort(first)
		for _, pid := range listPIDs() {
			if _, ok := slices.BinarySearch(first, pid); !ok {
				s.pids = append(s.pids, pid)
			}
		}
	case narrow && len(s.pids) > 0:
	default:
		return
	}
	slices.Reverse(s.pids) // taken from the end
	p.searches++
	p.search = s
}

// goOn looks at some descriptors of the next process.
func (p *processes) goOn(now time.Time) {
	s := p.search
	if s.dir == nil {
		if len(s.pids) == 0 {
			p.end(now)
			return
		}
		pid := s.pids[len(s.pids)-1]
		s.pids = s.pids[:len(s.pids)-1]
		p.open(pid)
		return
	}
	if len(s.names) == 0 {
		// An error is the end, too: the process has.
		if s.names, _ = s.dir.Readdirnames(linksAtOnce); len(s.names) == 0 {
			p.look(now)
			return
		}
	}
	buf := make([]byte, 64)
	dir := int(s.dir.Fd())
	for _, name := range s.names {
		fd, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		n, err := unix.Readlinkat(dir, name, buf)
		if err == unix.EACCES {
			p.deny()
			return
		}
		if err != nil {
			continue
		}
		if inode, ok := linkInode(buf[:n], "socket"); ok && inode>>32 == 0 {
			s.held = append(s.held, held{uint32(inode), uint32(fd)})
		}
	}
	s.names = nil
}

// open begins to look at a process.
func (p *processes) open(pid int) {
	s := p.search
	start, err := startOf(pid)
	if err != nil {
		return
	}
	p.mu.Lock()
	proc := p.byPID[pid]
	p.mu.Unlock()
	if proc != nil && proc.start != start {
		p.forget(proc)
		proc = nil
	}
	if proc == nil {
		proc = &process{pid: pid, start: start}
	}
	s.at = proc
	if s.dir, err = os.Open(fmt.Sprintf("/proc/%d/fd", pid)); os.IsPermission(err) {
		p.deny()
	} else if err != nil {
		s.at, s.dir = nil, nil
	}
}

// deny leaves a process that may not be looked at. What is known of it, from before the right was given up, stands.
func (p *processes) deny() {
	s := p.search
	s.denied++
	s.at.searched = s.number
	s.dir.Close() // may be nil
	s.at, s.dir, s.names, s.held = nil, nil, nil, nil
}

// look takes what the process that was looked at holds.
func (p *processes) look(now time.Time) {
	s := p.search
	s.dir.Close()
	proc := s.at
	s.at, s.dir = nil, nil
	proc.searched = s.number

	slices.SortFunc(s.held, func(a, b held) int { return cmp.Or(cmp.Compare(a.inode, b.inode), cmp.Compare(a.fd, b.fd)) })
	s.held = slices.CompactFunc(s.held, func(a, b held) bool { return a.inode == b.inode })
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.index)+len(s.held) > maxHeld {
		s.held = slices.DeleteFunc(s.held, func(h held) bool { return p.interest[h.inode] == nil })
	}
	p.hold(proc, s.held)
	if len(s.held) > 0 {
		p.byPID[proc.pid] = proc
		proc.alive = now
	}
	s.held = nil
}

// hold replaces what a process holds. Both lists are ordered by inode, and mostly the same.
func (p *processes) hold(proc *process, new []held) {
	old := proc.held
	proc.held = slices.Clip(new)
	for len(old) > 0 || len(new) > 0 {
		switch {
		case len(new) == 0 || len(old) > 0 && old[0].inode < new[0].inode:
			p.release(proc, old[0].inode)
			old = old[1:]
		case len(old) == 0 || new[0].inode < old[0].inode:
			p.take(proc, new[0])
			new = new[1:]
		default:
			if old[0].fd != new[0].fd {
				p.release(proc, old[0].inode)
				p.take(proc, new[0])
			}
			old, new = old[1:], new[1:]
		}
	}
}

func (p *processes) take(proc *process, h held) {
	p.index[h.inode] = append(p.index[h.inode], holder{proc, h.fd})
	if i := p.interest[h.inode]; i != nil {
		i.fruitless = 0
		delete(p.pending, h.inode)
		if proc.named.IsZero() {
			p.nameless[proc] = struct{}{}
		}
	}
}

func (p *processes) release(proc *process, inode uint32) {
	rest := slices.DeleteFunc(p.index[inode], func(h holder) bool { return h.process == proc })
	if len(rest) > 0 {
		p.index[inode] = rest
		return
	}
	delete(p.index, inode)
	if i := p.interest[inode]; i != nil {
		i.since, i.next, i.narrow = p.searches, time.Time{}, false
		p.pending[inode] = i
	}
}

// end ends a search: what it did not find is asked for again later, and later still.
func (p *processes) end(now time.Time) {
	s := p.search
	p.search = nil
	var gone []*process
	p.mu.Lock()
	for _, i := range p.pending {
		if i.since >= s.number {
			continue // not yet wanted when the search began
		}
		i.narrow = true
		if s.full {
			i.next = now.Add(min(backOff<<min(i.fruitless, 16), longestBack))
			if i.fruitless++; i.fruitless == 1 {
				p.missing++
			}
		}
	}
	if s.full {
		p.denied = s.denied
		p.lastFull, p.fullCost = now, s.cost
		for _, proc := range p.byPID {
			if proc.searched != s.number {
				gone = append(gone, proc)
			}
		}
	}
	p.mu.Unlock()
	for _, proc := range gone {
		p.forget(proc)
	}
}

func (p *processes) close() {
	if p.search != nil && p.search.dir != nil {
		p.search.dir.Close()
	}
	p.search = nil
}

// describe reads what is to be said of a process, and when it started, in ticks.
func describe(pid int, detail CommandDetail) (Process, uint64, error) {
	// Opened once, so that all of it is about the same process, or fails: PIDs are used again.
	dir, err := unix.Open(fmt.Sprintf("/proc/%d", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Process{}, 0, err
	}
	defer unix.Close(dir)
	stat, err := readAt(dir, "stat")
	if err != nil {
		return Process{}, 0, err
	}
	start, err := startTicks(stat)
	if err != nil {
		return Process{}, 0, err
	}
	info := Process{PID: pid, Started: startTime(start)}
	if comm, err := readAt(dir, "comm"); err == nil {
		info.Name = clean(string(trimNewline(comm)), maxName)
	}
	if detail != NoCommand {
		if cmdline, err := readAt(dir, "cmdline"); err == nil {
			info.Command = command(cmdline, detail)
		}
	}
	if cgroup, err := readAt(dir, "cgroup"); err == nil {
		info.Container, info.Unit = owner(cgroup)
	}
	buf := make([]byte, 64)
	if n, err := unix.Readlinkat(dir, "ns/net", buf); err == nil {
		info.Namespace, _ = linkInode(buf[:n], "net")
	}
	return info, start, nil
}

func trimNewline(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] == '\n' {
		return b[:len(b)-1]
	}
	return b
}

// readAt reads at most 4096 octets of a file in /proc.
func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 4096))
}

// startOf returns when a process started, in ticks.
func startOf(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return startTicks(stat)
}

// startTime turns ticks since the host's start into a time. A tick is 10 ms for user space, whatever the kernel's own is.
func startTime(ticks uint64) time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	ago := time.Duration(up.Nano()) - time.Duration(ticks)*10*time.Millisecond
	return time.Now().Add(-ago).Round(10 * time.Millisecond).UTC()
}
