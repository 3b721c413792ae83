package tracker

import (
	"math/bits"
	"unsafe"

	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// class orders connections by how much would be lost if one were forgotten.
type class uint8

// The classes, in the order in which they are evicted.
const (
	classReset class = iota
	classFinished
	classAttempt
	classEstablished
	classHalfClosed
	numClasses
	classNone = numClasses // of a connection that has just been entered
)

// classify is cheap: it is asked after each segment.
func (c *conn) classify() class {
	a, b := &c.dirs[0], &c.dirs[1]
	fins := a.Has | b.Has
	switch {
	case a.ResetLast.Seen() || b.ResetLast.Seen() || c.left[0].at.Seen() || c.left[1].at.Seen():
		return classReset
	case fins&reassembly.FIN != 0:
		if a.Has&b.Has&reassembly.FIN != 0 && a.Acks(b.Fin+1) && b.Acks(a.Fin+1) {
			return classFinished
		}
		return classHalfClosed
	case c.openingSeen() && !c.completed():
		return classAttempt
	}
	return classEstablished
}

// completed reports whether the end that opened has gone on after the answer: what a forged source never does.
func (c *conn) completed() bool {
	client, known := c.client()
	return !known || c.dirs[client].Has&reassembly.Plain != 0
}

// classify returns the class of the connection at index, without spelling it out where that is not needed.
func (p *part) classify(index uint32) class {
	r := p.at(index)
	if r.meta&metaSpelt != 0 {
		return p.spelt.at(r.link).classify()
	}
	a, b := &r.dirs[0], &r.dirs[1]
	has := a.Has() | b.Has()
	switch {
	case has&reassembly.FIN != 0:
		if a.Has()&b.Has()&reassembly.FIN != 0 && a.Acks(b.Next) && b.Acks(a.Next) {
			return classFinished
		}
		return classHalfClosed
	case has&(reassembly.BareSYN|reassembly.SYNACK) == 0:
		return classEstablished
	case a.Has()&b.Has()&reassembly.BareSYN != 0:
		var c conn
		return p.load(index, &c).classify()
	}
	client := a
	if a.Has()&reassembly.BareSYN == 0 && b.Has()&reassembly.SYNACK == 0 {
		client = b
	}
	if client.Has()&reassembly.Plain == 0 {
		return classAttempt
	}
	return classEstablished
}

// limits bound a part.
type limits struct {
	connections int
	ended       int // of the connections; 0 is no limit
	bytes       int // 0 is no limit; see part.bytes
	odd         int // connections whose oddities are told: a scan with odd flags makes one of each packet
}

// What an element of a slab costs, with its share of what grows with it: a quarter of the slots is in use at worst, and
// each record has a ticket, perhaps a stale one, too.
const (
	recordBytes = int(unsafe.Sizeof(record{})) + 4*4 + 2*int(unsafe.Sizeof(ticket{}))
	speltBytes  = int(unsafe.Sizeof(conn{}))
	sixBytes    = int(unsafe.Sizeof([2]tcp.Addr{}))
)

// bytes returns what the part takes of the memory.
func (p *part) bytes() int {
	return slabSize * (len(p.records.chunks)*recordBytes + len(p.spelt.chunks)*speltBytes + len(p.six.chunks)*sixBytes)
}

func (p *part) hasRoomFor(bytes int) bool {
	return p.limits.bytes == 0 || p.bytes()+slabSize*bytes <= p.limits.bytes
}

// makeRoom forgets connections until there is room for one more.
func (p *part) makeRoom() {
	for p.limits.ended > 0 && p.counts[classReset]+p.counts[classFinished] >= p.limits.ended {
		p.evictEnded()
	}
	for p.held() >= p.limits.connections || !p.records.room() && p.held() > 0 && !p.hasRoomFor(recordBytes+sixBytes) {
		p.evict()
	}
}

// spell keeps the connection c spelt out from now on.
func (p *part) spell(c *conn) {
	r := p.at(c.index)
	if r.meta&metaSpelt == 0 {
		for !p.spelt.room() && !p.hasRoomFor(speltBytes) && p.evictSpelt(c) {
		}
		r.link = p.spelt.take()
		r.meta |= metaSpelt
	}
	*p.spelt.at(r.link) = *c
}

// evictSpelt forgets one of the connections that are spelt out: of a few, that which matters least. It takes none with the
// addresses and ports of c, which are being looked at, and reports false if there is no other.
func (p *part) evictSpelt(c *conn) bool {
	const few = 32
	worst, worstClass := none, classNone
	for tried := uint32(0); tried < p.spelt.used && (worst == none || tried < few); tried++ {
		p.hand = (p.hand + 1) % p.spelt.used
		if old := p.spelt.at(p.hand); old.index != none && old.ends != c.ends && (old.ends != [2]endpoint{c.ends[1], c.ends[0]}) {
			if class := old.classify(); class < worstClass {
				worst, worstClass = old.index, class
			}
		}
	}
	if worst == none {
		return false
	}
	p.forget(worst, worstClass)
	return true
}

// ticket is a place in the queue of a class. It is void if the connection is no longer there, or of another class.
type ticket struct {
	index uint32
	print uint32 // of the connection, as an index is used again
}

func (r *record) print() uint32 { return r.packet ^ r.time[0]*0x9e3779b1 }

// queue is a ring of tickets.
type queue struct {
	ring  []ticket // as many as a power of two
	first int
	n     int
}

func (q *queue) push(t ticket) {
	if q.n == len(q.ring) {
		bigger := make([]ticket, max(2*len(q.ring), 16))
		for i := range q.n {
			bigger[i] = q.ring[(q.first+i)&(len(q.ring)-1)]
		}
		q.ring, q.first = bigger, 0
	}
	q.ring[(q.first+q.n)&(len(q.ring)-1)] = t
	q.n++
}

func (q *queue) pop() (t ticket, ok bool) {
	if q.n == 0 {
		return t, false
	}
	t = q.ring[q.first]
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.n--
	return t, true
}

// press begins to keep the queues: before the first eviction they would cost each connection several visits to its
// neighbours' memory and be of no use. Nothing has been evicted yet, so the order of the records is about that of their age.
func (p *part) press() {
	p.pressed = true
	var counts [numClasses]int
	for i := range p.records.used {
		if p.at(i).used() {
			counts[p.classify(i)]++
		}
	}
	for class, n := range counts {
		p.queues[class].ring = make([]ticket, 1<<bits.Len(uint(n)))
	}
	for i := range p.records.used {
		if p.at(i).used() {
			p.reclass(i)
		}
	}
}

// reclass queues a connection in the class that it now belongs to.
func (p *part) reclass(index uint32) {
	if !p.pressed {
		return
	}
	r := p.at(index)
	class := p.classify(index)
	if class == r.class() {
		return
	}
	p.counts[r.class()]--
	p.counts[class]++
	r.setClass(class)
	if p.tickets++; p.tickets > 2*len(p.records.chunks)*slabSize {
		p.sortOut()
	}
	p.queues[class].push(ticket{index, r.print()})
}

// sortOut drops void tickets.
func (p *part) sortOut() {
	p.tickets = 0
	for class := range numClasses {
		q := &p.queues[class]
		for range q.n {
			if t, _ := q.pop(); p.valid(t, class) {
				q.push(t)
			}
		}
		p.tickets += q.n
	}
}

func (p *part) valid(t ticket, c class) bool {
	r := p.at(t.index)
	return r.used() && r.class() == c && r.print() == t.print
}

// evict forgets the connection that matters least: by class, within a class the one longest in it; of the established ones
// the first that has been silent since the last time round.
func (p *part) evict() {
	if !p.pressed {
		p.press()
	}
	for c := range numClasses {
		if p.evictOf(c) {
			return
		}
	}
	panic("tracker: no connection has a ticket")
}

// evictEnded forgets a connection that is over, of the class that has more: many that closed leave room for some that were reset, of
// which more is said, and the other way round.
func (p *part) evictEnded() {
	c := classReset
	if p.counts[classFinished] > p.counts[classReset] {
		c = classFinished
	}
	if !p.evictOf(c) {
		panic("tracker: no connection that is over has a ticket")
	}
}

// evictOf forgets a connection of a class, and reports false if there is none.
func (p *part) evictOf(c class) bool {
	q := &p.queues[c]
	for {
		t, ok := q.pop()
		if !ok {
			return false
		}
		p.tickets--
		if !p.valid(t, c) {
			continue
		}
		if r := p.at(t.index); c >= classEstablished && r.meta&metaActive != 0 {
			r.meta &^= metaActive
			q.push(t)
			p.tickets++
			continue
		}
		p.forget(t.index, c)
		return true
	}
}

func (p *part) forget(index uint32, c class) {
	p.remove(index)
	p.stats.Evicted[c]++
}
