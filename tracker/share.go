package tracker

import (
	"math"
	"sort"
	"sync"
	"time"
	"unsafe"

	"tcpleak/tcp"
)

// Share is the part of the work on a Table that one goroutine does: some of the connections. Each share must be given all
// segments of the parts that it wants, in the order of the capture, and passes over others: so each goroutine can read the
// capture for itself, and none hands another what it has in its cache. With two cores, to hand the segments over took a third
// of the time.
type Share struct {
	t      *Table
	has    [tcp.NumParts]int // 1 for the parts that are its own
	next   uint64            // number of the packet before which it waits for the others
	others *rendezvous
}

// epoch is after how many packets the shares wait for each other, to number the connections that began: seldom enough that
// they hardly wait (four times as often cost 5 % of the time), and often enough that what waits for a number takes 8 MiB.
const epoch = 1 << 19

// Shares divides the work among n goroutines, of which each is to use one, and to Close it at the end. In between, the table
// must not be used otherwise. What it holds in the end is what Add would have given. From time to time, when all have come to the
// same packet, proceed is told its number and asked whether to go on: if not, they stop there.
func (t *Table) Shares(n int, proceed func(before uint64) bool) []*Share {
	shares := make([]*Share, n)
	others := &rendezvous{t: t, all: n, members: n, proceed: proceed}
	others.arrived.L = &others.mu
	for i := range shares {
		shares[i] = newShare(t, i, n, others)
	}
	return shares
}

func newShare(t *Table, i, of int, others *rendezvous) *Share {
	s := &Share{t: t, others: others, next: epoch}
	for part := range s.has {
		if t.fold(uint(part))%of == i {
			s.has[part] = 1
		}
	}
	return s
}

// Wants returns the parts of which the share must be given the segments.
func (s *Share) Wants() (parts tcp.Parts) {
	for part, has := range s.has {
		parts |= tcp.Parts(has << part)
	}
	return parts
}

// Add takes in those of the segments that are the share's. From time to time it waits for the other shares. It returns false
// when all shall stop, and the rest of the batch has not been taken in.
func (s *Share) Add(batch []tcp.Segment) bool {
	for len(batch) > 0 && batch[len(batch)-1].Packet >= s.next {
		n := sort.Search(len(batch), func(i int) bool { return batch[i].Packet >= s.next })
		s.add(batch[:n])
		batch = batch[n:]
		s.next += epoch
		if !s.others.meet() {
			return false
		}
		for i, p := range s.t.parts {
			if s.has[i] != 0 {
				p.christen()
			}
		}
	}
	s.add(batch)
	return true
}

// Close says that the share will be given nothing more.
func (s *Share) Close() { s.others.leave() }

// rendezvous is where shares wait for each other; the last to come settles.
type rendezvous struct {
	t       *Table
	all     int
	mu      sync.Mutex
	arrived sync.Cond
	members int // those that have not left
	waiting int
	round   int
	stop    bool
	proceed func(before uint64) bool
}

// meet reports whether to go on.
func (r *rendezvous) meet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting++
	if !r.done() {
		for round := r.round; round == r.round; {
			r.arrived.Wait()
		}
	}
	return !r.stop
}

func (r *rendezvous) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members--
	r.done()
}

// done settles and lets all go on if none is missing.
func (r *rendezvous) done() bool {
	if r.waiting < r.members {
		return false
	}
	if r.t.enumerate(); r.members < r.all {
		r.t.christen() // the parts of those that have left, too
	}
	r.waiting = 0
	r.round++
	r.stop = !r.proceed(uint64(r.round) * epoch)
	r.arrived.Broadcast()
	return true
}

// track is a segment on its way.
type track struct {
	hash  uint64 // the same for both directions of a connection; unpredictable
	print uint64 // of all that tells it from other segments
	at    int32  // in the batch
	part  uint8
}

// group is some segments on their way. What one needs of memory is asked for when the group is made and when it is placed,
// and has arrived when it is taken in, while the processor was busy with the groups before.
type group struct {
	tracks [groupSize]track
	n      int
}

// groupSize is how many segments are on their way together; two groups are on their way at a time. Against reading from 32
// connections at a time, for which the processor waits, that saves a seventh of the processor time for a capture with 10,000
// connections open at once; 8 and 32 in a group are no better.
const groupSize = 16

// add goes over the segments in three steps.
func (s *Share) add(batch []tcp.Segment) {
	var groups [2]group
	made, placed := &groups[0], &groups[1]
	for next := 0; next < len(batch) || made.n+placed.n > 0; {
		s.t.takeIn(batch, placed)
		made, placed = placed, made
		s.t.place(placed)
		next = s.make(made, batch, next)
	}
}

// make fills in a group from the batch, beginning with a segment, and returns the next.
func (s *Share) make(g *group, batch []tcp.Segment, next int) int {
	var lines [2 * groupSize]unsafe.Pointer
	g.n = 0
	for ; next < len(batch) && g.n < groupSize; next++ {
		part := batch[next].Part()
		k := &g.tracks[g.n]
		k.at, k.part = int32(next), uint8(s.t.fold(part))
		g.n += s.has[part]
	}
	for i := range g.tracks[:g.n] {
		k := &g.tracks[i]
		seg, p := &batch[k.at], s.t.parts[k.part]
		k.hash = s.t.hash(seg.Src, seg.Dst, seg.SrcPort, seg.DstPort, seg.Encap)
		k.print = printOf(seg, k.hash)
		lines[2*i] = unsafe.Pointer(&p.slots[p.home(k.hash)])
		lines[2*i+1] = unsafe.Pointer(p.sightingsOf(k.print))
	}
	prefetch(&lines[0], 2*g.n)
	return next
}

// place asks for the connections of a group.
func (t *Table) place(g *group) {
	var lines [groupSize]unsafe.Pointer
	for i := range g.tracks[:g.n] {
		k := &g.tracks[i]
		p := t.parts[k.part]
		// As lookup will, but for a connection with the same tag.
		tag, mask := tagOf(k.hash), uint64(len(p.slots)-1)
		at := p.home(k.hash)
		for p.slots[at] != none && p.slots[at]&^indexMask != tag {
			at = (at + 1) & mask
		}
		index := p.slots[at] & indexMask
		if index >= p.records.used {
			index = 0
		}
		lines[i] = unsafe.Pointer(p.at(index))
	}
	prefetchRecords(&lines[0], g.n)
}

// takeIn takes in the segments of a group.
func (t *Table) takeIn(batch []tcp.Segment, g *group) {
	for i := range g.tracks[:g.n] {
		k := &g.tracks[i]
		seg, p := &batch[k.at], t.parts[k.part]
		if !p.seenAgain(k.print, seg.Time) {
			p.add(seg, k.hash)
			continue
		}
		p.stats.Duplicates++
		if seg.IPID == 0 && seg.Seq != seg.End() {
			// Or it is a retransmission, which has an IP id of its own where there is one.
			p.addCopy(seg, k.hash)
		}
	}
}

// fold turns a part of connections into an index of parts. It is the same in every run: so is then what is forgotten when a
// part is full.
func (t *Table) fold(part uint) int { return int(part) & (len(t.parts) - 1) }

// sightings are two segments that passed a moment ago, the newer first.
type sightings [2]sighting

// sighting has 32 bits of what tells a segment from others and 48 of its time: 78 hours. Of 32 bits, 4.3 s, a RST repeated by
// a timer would now and then be a copy.
type sighting struct {
	print uint32
	time  uint32
	top   uint16
}

const (
	recentSize = 1 << 12 // pairs, of all parts together: at 1 Mpps, 8 ms
	// duplicateWindow: mirror ports and the interface list of -i any repeat a packet within microseconds. What a host sends
	// twice differs in its IP id or timestamp; RSTs and IPv6 without timestamps do not, and may be as close as 3.2 ms, the
	// least that gVisor showed.
	duplicateWindow = int64(3 * time.Millisecond)
)

// printOf returns the print of a segment with a hash, which tells the connection and not the direction.
func printOf(s *tcp.Segment, hash uint64) uint64 {
	print := mix(hash^uint64(s.Seq)<<32^uint64(s.Ack), uint64(s.Len)<<32^uint64(s.Window)<<16^uint64(s.IPID))
	print = mix(print^uint64(s.Flags)^s.Src.Lo^s.Src.Hi^uint64(s.SrcPort)<<48, uint64(s.Options.TSVal)<<32^uint64(s.Options.TSEcr))
	for _, r := range s.Options.SACK[:min(int(s.Options.SACKs), len(s.Options.SACK))] {
		print = mix(print, uint64(r.Left)<<32|uint64(r.Right))
	}
	return print
}

func (p *part) sightingsOf(print uint64) *sightings { return &p.recent[print&uint64(len(p.recent)-1)] }

// seenAgain reports whether the capture has just shown the very same packet.
func (p *part) seenAgain(print uint64, time int64) bool {
	r := p.sightingsOf(print)
	now := sighting{uint32(print >> 32), uint32(time), uint16(time >> 32)}
	for _, then := range r {
		age := (time - int64(then.top)<<32 - int64(then.time)) << 16 >> 16
		if then.print == now.print && max(age, -age) <= duplicateWindow {
			return true
		}
	}
	r[1], r[0] = r[0], now
	return false
}

// birth is a connection that has no ID yet.
type birth struct {
	number uint64 // of its first packet; then its ID
	index  uint32
}

// settle gives the connections that began since the last time their IDs, and makes known who answered SYNs.
func (t *Table) settle() {
	t.enumerate()
	t.christen()
}

// enumerate finds out the IDs of the connections that began since the last time, in the order of the capture, whichever part they
// are in, and makes known who answered SYNs.
func (t *Table) enumerate() {
	const none = math.MaxUint64
	var firsts [tcp.NumParts]uint64 // the packet of each part's first birth that is not numbered yet: all goroutines wait for this
	var done [tcp.NumParts]int
	for i := range firsts {
		firsts[i] = none
		if i < len(t.parts) && len(t.parts[i].births) > 0 {
			firsts[i] = t.parts[i].births[0].number
		}
	}
	for {
		next := 0
		for i, packet := range firsts {
			if packet < firsts[next] {
				next = i
			}
		}
		if firsts[next] == none {
			break
		}
		t.lastID++
		births := t.parts[next].births[done[next]:]
		births[0].number = t.lastID
		done[next]++
		if firsts[next] = none; len(births) > 1 {
			firsts[next] = births[1].number
		}
	}
	for _, p := range t.parts {
		for _, k := range p.heard {
			if len(t.listeners) < maxListeners {
				t.listeners[k] = struct{}{}
			}
		}
		p.heard = p.heard[:0]
	}
}

func (t *Table) christen() {
	for _, p := range t.parts {
		p.christen()
	}
}

// christen enters the IDs that were found out. Each goroutine does it for its own parts: these are some megabytes of records.
func (p *part) christen() {
	for i, b := range p.births {
		// It may have been forgotten since, and its place taken by one that began later.
		if r := p.at(b.index); r.meta&metaNew != 0 && int(r.id) == i {
			r.meta &^= metaNew
			r.setNumber(b.number)
		}
	}
	p.births = p.births[:0]
}
