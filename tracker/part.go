package tracker

import (
	"tcpleak/compat"
	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// part is a share of a Table, by addresses and ports: both directions and all incarnations of a connection are
// in the same. Only one goroutine at a time may change it.
type part struct {
	*shared
	n       uint32   // which of the parts
	slots   []uint32 // tag << indexBits | index of the newest incarnation, or none; open addressing
	used    int      // slots
	records slab[record]
	spelt   slab[conn]
	six     slab[[2]tcp.Addr]       // of IPv6 connections, by direction
	odd     map[uint32]*[2]Oddities // by index; few connections have any
	births  []birth                 // of the connections that have no ID yet
	recent  []sightings
	heard   []listenKey // endpoints that answered a SYN, since settle was last called
	told    [256]uint64 // hashes of some of those that heard has had, so that it has few twice
	limits  limits
	pressed bool                // it has been full, or may soon hold too many that have ended: the queues are kept
	counts  [numClasses + 1]int // connections of each class; none has one until the queues are kept
	queues  [numClasses]queue
	tickets int    // in queues
	hand    uint32 // of evictSpelt
	stats   partStats
	work    conn // what load unpacks into, for the segment at hand
}

const (
	none = ^uint32(0)

	// A slot spends the bits that the index leaves on telling connections apart without fetching them. Four octets keep the
	// slots of a million connections, half used, in 8 MiB.
	indexBits = 22 // the connections of a part: MaxMaxConnections of all parts, and some to spare
	indexMask = 1<<indexBits - 1
)

func newPart(n uint32, sh *shared, recent int, l limits) *part {
	p := &part{shared: sh, n: n, recent: make([]sightings, recent), limits: l, pressed: l.ended > 0}
	p.slots = emptySlots(1 << 8)
	p.records = slab[record]{chunks: []*[slabSize]record{&nobody}, more: sh.quarry.chunk, used: 1}
	return p
}

// nobody is the first chunk of a part's records as long as there are none. Its first element is never used: fetch reads that
// where it finds none.
var nobody [slabSize]record

func emptySlots(n int) []uint32 {
	slots := make([]uint32, n)
	for i := range slots {
		slots[i] = none
	}
	return slots
}

// held returns the number of connections.
func (p *part) held() int { return p.records.held() - 1 }

func (p *part) at(index uint32) *record { return p.records.at(index) }

// older returns the index of the incarnation before that at index, or none.
func (p *part) older(index uint32) uint32 {
	r := p.at(index)
	if r.meta&metaSpelt != 0 {
		return p.spelt.at(r.link).older
	}
	return r.link
}

// setOlder links the incarnation at older behind that at index.
func (p *part) setOlder(index, older uint32) {
	r := p.at(index)
	if r.meta&metaSpelt != 0 {
		p.spelt.at(r.link).older = older
	} else {
		r.link = older
	}
}

// add takes in a segment.
func (p *part) add(s *tcp.Segment, hash uint64) {
	p.stats.Segments++
	slot, dir := p.lookup(s, hash)
	head := none
	if sl := p.slots[slot]; sl == none {
		if reassembly.CanOpen(s) && !hasInvalidFlags(s.Flags) {
			p.open(s, hash)
			return
		}
	} else {
		head = sl & indexMask
		if r := p.at(head); r.meta&metaSpelt == 0 && p.ordinary(r, head, s, dir) {
			return
		}
	}
	p.take(p.find(s, hash, head), s, hash)
}

// addCopy takes in s again, which may be the capture's doing or a retransmission within a few milliseconds. Where the peer's
// acknowledgment had passed before, it is the less likely to be the capture's: then it counts as when s was last sent.
func (p *part) addCopy(s *tcp.Segment, hash uint64) {
	index := p.newest(s, hash)
	if index == none {
		return
	}
	c := p.load(index, &p.work)
	dir := c.direction(s)
	if x, y := &c.dirs[dir], &c.dirs[1-dir]; y.Acks(s.End()) && y.AckReached.Time < s.Time && s.Time > x.SentLast {
		x.SentLast = s.Time
		p.save(c)
	}
}

// open begins a connection with the SYN s, of which reassembly.CanOpen is true.
func (p *part) open(s *tcp.Segment, hash uint64) {
	index := p.allocate(s)
	r := p.at(index)
	r.dirs[0].Open(s, &r.rare[0])
	var completeness compat.Completeness
	completeness.Segment(s)
	r.setCompleteness(completeness)
	p.insert(hash, index)
	p.followZeek(r, index, s, 0)
	if p.pressed {
		p.reclass(index)
	}
}

// ordinary takes in s, from direction dir of r at index, if it is what comes next there and nothing has to be spelt out;
// otherwise it reports false, and nothing has changed. What continues the newest incarnation exactly belongs to it.
func (p *part) ordinary(r *record, index uint32, s *tcp.Segment, dir int) bool {
	x, y := &r.dirs[dir], &r.dirs[1-dir]
	switch {
	case s.Flags&(tcp.SYN|tcp.RST) == 0:
		if !x.Continue(s, y, &r.rare[dir], r.origin()) {
			return false
		}
	case r.link == none && dir == 1 && s.Flags&(tcp.SYN|tcp.ACK|tcp.RST|tcp.FIN) == tcp.SYN|tcp.ACK:
		if !x.Answer(s, y, &r.rare[dir], r.origin(), &r.syn) {
			return false
		}
		p.listening(endpoint{s.Src, s.SrcPort}, s.Encap)
	default:
		return false
	}
	completeness := r.completeness()
	completeness.Segment(s)
	r.setCompleteness(completeness)
	r.meta |= metaActive
	p.followZeek(r, index, s, dir)
	if p.pressed {
		p.reclass(index)
	}
	return true
}

// followZeek takes s, of direction dir, into r.zeek; the rest of r is as it shall be.
func (p *part) followZeek(r *record, index uint32, s *tcp.Segment, dir int) {
	if r.zeek.Segment(s, uint8(dir)) {
		return
	}
	// The numbers of the last SYN and FIN say whether s repeats them. What comes in order does not.
	var zeek compat.Zeek
	r.zeek.Unpack(&zeek, nil)
	zeek.Segment(s, uint8(dir), compat.Seen{})
	if b, ok := zeek.Pack(); ok {
		r.zeek = b
		return
	}
	c := p.load(index, &p.work)
	c.zeek = zeek
	n := r.numbers()
	c.zeek.SetNumbers(&n)
	p.spell(c)
}

// take takes in s, which belongs to the connection at index. It returns false if s cannot be its sender's own.
func (p *part) take(index uint32, s *tcp.Segment, hash uint64) (v reassembly.Verdict, own bool) {
	c := p.load(index, &p.work)
	p.at(index).meta |= metaActive
	dir := c.direction(s)
	x, y := &c.dirs[dir], &c.dirs[1-dir]
	first := x.Packets == 0
	isAnswer := s.Flags.Has(tcp.SYN|tcp.ACK) && x.Has&reassembly.SYNACK == 0
	if x.Foreign(s, y) {
		x.Packets++
		p.save(c)
		return v, false
	}
	v = x.Add(s, y)
	c.zeek.Segment(s, uint8(dir), compat.Seen{Behind: v.Behind, Gap: v.AcksMissed})
	c.comp.Segment(s)
	if s.Flags.Any(tcp.RST) || hasInvalidFlags(s.Flags) || x.Has&reassembly.BeyondFIN != 0 || c.disputed[dir] != 0 {
		p.noteOdd(c, dir, s)
	}
	nothing := s.Flags.Has(tcp.RST|tcp.ACK) && (s.Seq == 0 || x.Has&reassembly.Started == 0)
	end, older, encap := c.ends[dir], c.older, c.encap
	p.save(c)
	p.reclass(index)
	// Only now, as what follows may load others.
	if isAnswer {
		p.listening(end, encap)
	}
	if older != none && (first || s.Flags.Any(tcp.SYN)) {
		p.supersede(older, s)
	}
	if nothing {
		// Nothing is there, neither a newer connection with the same addresses and ports.
		for i := p.newest(s, hash); i != index && i != none; i = p.older(i) {
			newer := p.load(i, &p.work)
			newer.leaves(s, false)
			p.save(newer)
		}
	}
	return v, true
}

// supersede notes in the incarnation at index, that before the one of s, that the sender of s has left it: beyond doubt if s
// opens the new one; else by taking part in it. A SYN that nobody has answered, or a RST that answers it, says only so much
// about its receiver: an end with a connection still open would have answered with an ACK.
func (p *part) supersede(index uint32, s *tcp.Segment) {
	if s.Flags.Any(tcp.RST) && !s.Flags.Any(tcp.ACK) {
		return
	}
	old := p.load(index, &p.work)
	if old.openAttempt() && !s.Flags.Any(tcp.SYN) {
		return
	}
	old.leaves(s, s.Flags.Any(tcp.SYN))
	attempt := old.openAttempt()
	index, older := old.index, old.older
	p.save(old)
	p.reclass(index)
	for attempt && older != none {
		old = p.load(older, &p.work) // nobody has answered that attempt: the one before is asked once more
		old.asks(s)
		attempt, older = old.openAttempt(), old.older
		p.save(old)
	}
}

func (p *part) listening(e endpoint, encap uint32) {
	hash := mix(e.addr.Hi^p.cfg.Seed, e.addr.Lo^uint64(e.port)<<48^uint64(encap))
	if told := &p.told[hash%uint64(len(p.told))]; *told != hash {
		*told = hash
		p.heard = append(p.heard, listenKey{e, encap})
	}
}

// find returns the connection that s belongs to, a new one if there is none; head is the newest with its addresses and ports.
func (p *part) find(s *tcp.Segment, hash uint64, head uint32) (index uint32) {
	if head == none {
		index = p.allocate(s)
		p.insert(hash, index)
		return index
	}
	if index := p.incarnation(s, head); index != none {
		return index
	}
	index = p.allocate(s)
	// Eviction, in allocate, may have taken head.
	slot, _ := p.lookup(s, hash)
	if p.slots[slot] == none {
		p.insert(hash, index)
		return index
	}
	head = p.slots[slot] & indexMask
	p.slots[slot] = p.slots[slot]&^indexMask | index
	p.at(head).meta |= metaBehind
	p.setOlder(index, head)
	p.trimChain(index)
	if s.Flags.Any(tcp.SYN) {
		p.noteReuse(index, s)
	}
	return index
}

// home is where the search for a key begins, and tag what its slot holds in the upper bits.
func (p *part) home(hash uint64) uint64 { return hash & uint64(len(p.slots)-1) }

func tagOf(hash uint64) uint32 { return uint32(hash>>24) &^ indexMask }

// lookup returns the slot of s's key, and its direction in the newest incarnation; or the empty slot where it would go.
func (p *part) lookup(s *tcp.Segment, hash uint64) (slot uint64, dir int) {
	tag, mask := tagOf(hash), uint64(len(p.slots)-1)
	for i := p.home(hash); ; i = (i + 1) & mask {
		sl := p.slots[i]
		if sl == none {
			return i, 0
		}
		if sl&^indexMask == tag {
			if dir, ok := p.match(p.at(sl&indexMask), s); ok {
				return i, dir
			}
		}
	}
}

// newest returns the newest incarnation with the key of s, or none.
func (p *part) newest(s *tcp.Segment, hash uint64) uint32 {
	slot, _ := p.lookup(s, hash)
	if sl := p.slots[slot]; sl != none {
		return sl & indexMask
	}
	return none
}

// incarnation picks, among the connections with the key of s, the one that s belongs to; none if it opens or shows another.
func (p *part) incarnation(s *tcp.Segment, head uint32) uint32 {
	if s.Flags.Any(tcp.SYN) && !s.Flags.Any(tcp.RST) {
		for i := head; i != none && !s.Flags.Any(tcp.ACK); i = p.older(i) {
			c := p.load(i, &p.work)
			dir := c.direction(s)
			// Repeated although it was refused, it may cross a newer SYN of the peer.
			if x := &c.dirs[dir]; x.HasSYN() && x.ISS == s.Seq && !c.dirs[1-dir].OnlyResets() {
				return i
			}
		}
		for i := head; i != none; i = p.older(i) {
			c := p.load(i, &p.work)
			dir := c.direction(s)
			belongs, replaces := c.opens(s, dir)
			if replaces {
				x := &c.dirs[dir]
				*x = reassembly.Direction{Packets: x.Packets, FirstAck: x.FirstAck} // its first answer tells the round trip
				p.save(c)
			}
			if belongs {
				return i
			}
		}
		return none
	}
	best, distance := none, uint64(0)
	for i := head; i != none; {
		c := p.load(i, &p.work)
		if d, ok := c.fit(s, c.direction(s)); ok && (best == none || d < distance) {
			best, distance = i, d
		}
		i = c.older
	}
	if best == none && s.Flags.Any(tcp.RST) {
		return head // a RST opens nothing: it is an odd one of the newest connection
	}
	return best
}

// maxIncarnations is how many of one key are still looked at; older ones stay in the report.
const maxIncarnations = 8

// trimChain cuts off all but the newest incarnations of a key: each costs every segment a comparison.
func (p *part) trimChain(index uint32) {
	for n := 1; index != none; n++ {
		older := p.older(index)
		if n == maxIncarnations {
			p.setOlder(index, none)
		}
		index = older
	}
}

// allocate returns a fresh connection for s, evicting another if there is no room.
func (p *part) allocate(s *tcp.Segment) uint32 {
	p.makeRoom()
	if p.records.chunks[0] == &nobody {
		p.records.chunks[0] = p.records.more()
	}
	index := p.records.take()
	p.counts[classNone]++
	p.births = append(p.births, birth{s.Packet, index})
	r := p.at(index)
	*r = record{
		id: uint32(len(p.births) - 1), time: [2]uint32{uint32(s.Time), uint32(s.Time >> 32)}, packet: uint32(s.Packet), packetHi: uint16(s.Packet >> 32),
		port: [2]uint16{s.SrcPort, s.DstPort}, link: none,
		meta: meta(s.Encap)&metaEncap | metaActive | metaNew | meta(classNone)<<classShift,
	}
	if s.Src.Is4() && s.Dst.Is4() {
		r.addr = [2]uint32{uint32(s.Src.Lo), uint32(s.Dst.Lo)}
	} else {
		r.meta |= metaSix
		r.addr[0] = p.six.take()
		*p.six.at(r.addr[0]) = [2]tcp.Addr{s.Src, s.Dst}
	}
	return index
}

// insert puts a key that is not in the table there, growing it above half full: what is looked for or removed then has few neighbours to look at.
func (p *part) insert(hash uint64, index uint32) {
	if p.used*2 >= len(p.slots) {
		p.grow(2 * len(p.slots)) // with index, which is among the records
		return
	}
	p.place(hash, index)
}

func (p *part) place(hash uint64, index uint32) {
	mask := uint64(len(p.slots) - 1)
	i := p.home(hash)
	for p.slots[i] != none {
		i = (i + 1) & mask
	}
	p.slots[i] = tagOf(hash) | index
	p.used++
}

// grow goes over the records, not the slots: they lie in memory in this order.
func (p *part) grow(n int) {
	p.slots, p.used = emptySlots(n), 0
	for i := range p.records.used {
		if r := p.at(i); r.used() && r.meta&metaBehind == 0 {
			p.place(p.hashOfRecord(r), i)
		}
	}
}

func (p *part) hashOfRecord(r *record) uint64 {
	ends := p.ends(r)
	return p.hash(ends[0].addr, ends[1].addr, r.port[0], r.port[1], uint32(r.meta&metaEncap))
}

// remove forgets the connection at index.
func (p *part) remove(index uint32) {
	r, older := p.at(index), p.older(index)
	ends := p.ends(r)
	s := tcp.Segment{
		Src: ends[0].addr, SrcPort: ends[0].port, Dst: ends[1].addr, DstPort: ends[1].port, Encap: uint32(r.meta & metaEncap),
	}
	slot, _ := p.lookup(&s, p.hashOfRecord(r))
	if sl := p.slots[slot]; sl != none {
		switch head := sl & indexMask; {
		case head == index && older != none:
			p.slots[slot] = sl&^indexMask | older
			p.at(older).meta &^= metaBehind
		case head == index:
			p.clearSlot(slot)
		default:
			for j := head; j != none; j = p.older(j) {
				if p.older(j) == index {
					p.setOlder(j, older)
					break
				}
			}
		}
	}
	if len(p.odd) > 0 {
		delete(p.odd, index)
	}
	if r.meta&metaSpelt != 0 {
		p.spelt.at(r.link).index = none
		p.spelt.give(r.link)
	}
	if r.meta&metaSix != 0 {
		p.six.give(r.addr[0])
	}
	p.counts[r.class()]--
	*r = record{}
	p.records.give(index)
}

// clearSlot empties slot i and moves up what had been pushed behind it.
func (p *part) clearSlot(i uint64) {
	mask := uint64(len(p.slots) - 1)
	p.used--
	for j := i; ; {
		j = (j + 1) & mask
		if p.slots[j] == none {
			break
		}
		home := p.home(p.hashOfRecord(p.at(p.slots[j] & indexMask)))
		if (j-home)&mask >= (j-i)&mask {
			p.slots[i] = p.slots[j]
			i = j
		}
	}
	p.slots[i] = none
}
