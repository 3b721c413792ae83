// Package tracker turns the segments of many connections into the RFC 9293 state of both endpoints of each.
//
// A state is not stored and stepped: it is a function of facts, which package reassembly collects for each direction. This
// package finds the connection that a segment belongs to, bounds the memory, and draws the conclusions.
package tracker

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"time"

	"tcpleak/compat"
	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// Defaults and bounds of a Config.
const (
	DefaultMaxConnections = 1_000_000
	DefaultTimeWait       = 60 * time.Second
	maxListeners          = 1 << 16
	maxIncarnations       = 8 // of one key that are still looked at; older ones stay in the report
)

// Config bounds a Table. Zero values take the defaults.
type Config struct {
	MaxConnections int
	TimeWait       time.Duration // how long an endpoint stays in TIME_WAIT after the last FIN seen
	Seed           uint64        // of the hash; unpredictable where packets come from strangers. It does not affect results
}

// Stats counts what a Table has done.
type Stats struct {
	Segments   uint64 // taken in, duplicates not counted
	Duplicates uint64 // segments that the capture saw more than once
	Evicted    uint64 // connections forgotten to keep within MaxConnections
}

const none = ^uint32(0)

type slot struct {
	tag   uint32 // of the hash, to compare before the connection is fetched
	index uint32 // of a connection, or none
}

type listenKey struct {
	endpoint
	encap uint32
}

// Table holds the connections of a stream of segments. It is not safe for concurrent use.
type Table struct {
	cfg       Config
	slots     []slot
	used      int
	slab      []*[slabSize]conn
	allocated uint32
	free      []uint32
	nextID    uint64
	lists     [numClasses]list
	listeners map[listenKey]struct{}
	recent    []sighting
	odd       map[uint32]*[2]Oddities // by index; few connections have any
	dropped   bool
	stats     Stats
}

const slabSize = 256

// New returns an empty Table.
func New(cfg Config) *Table {
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = DefaultMaxConnections
	}
	if cfg.TimeWait <= 0 {
		cfg.TimeWait = DefaultTimeWait
	}
	t := &Table{cfg: cfg, listeners: make(map[listenKey]struct{}), recent: make([]sighting, recentSize)}
	for i := range t.lists {
		t.lists[i] = list{none, none}
	}
	t.slots = emptySlots(1 << 10)
	return t
}

func emptySlots(n int) []slot {
	slots := make([]slot, n)
	for i := range slots {
		slots[i].index = none
	}
	return slots
}

// CaptureDropped notes that packets were lost on their way into the capture: no state is certain any more.
func (t *Table) CaptureDropped() { t.dropped = true }

// Stats returns the counters.
func (t *Table) Stats() Stats { return t.stats }

// Len returns the number of connections held.
func (t *Table) Len() int { return int(t.allocated) - len(t.free) }

// Add takes in segments in the order of the capture. It keeps no reference to the batch.
func (t *Table) Add(batch []tcp.Segment) {
	for i := range batch {
		t.add(&batch[i])
	}
}

func (t *Table) add(s *tcp.Segment) {
	hash := t.hash(s)
	if t.seenAgain(s, hash) {
		t.stats.Duplicates++
		return
	}
	t.stats.Segments++
	index := t.find(s, hash)
	c := t.at(index)
	dir := c.direction(s)
	x, y := &c.dirs[dir], &c.dirs[1-dir]
	first := x.Packets == 0
	isAnswer := s.Flags.Has(tcp.SYN|tcp.ACK) && x.Has&reassembly.SYNACK == 0
	if x.Foreign(s, y) {
		x.Packets++
		return
	}
	v := x.Add(s, y)
	c.zeek.Segment(s, uint8(dir), compat.Seen{Behind: v.Behind, Gap: v.AcksMissed})
	c.comp.Segment(s)
	c.active = true
	if isAnswer {
		t.listening(c.ends[dir], c.encap)
	}
	if c.older != none && (first || s.Flags.Any(tcp.SYN)) {
		t.supersede(c, s)
	}
	if s.Flags.Has(tcp.RST|tcp.ACK) && (s.Seq == 0 || x.Has&reassembly.Started == 0) {
		// Nothing is there, neither a newer connection with the same addresses and ports.
		for i := t.slots[t.lookup(s, hash)].index; i != index && i != none; i = t.at(i).older {
			t.at(i).leaves(s, false)
		}
	}
	if s.Flags.Any(tcp.RST) || hasInvalidFlags(s.Flags) || x.Has&reassembly.BeyondFIN != 0 || c.disputed[dir] != 0 {
		t.noteOdd(index, dir, s, v)
	}
	t.reclass(index)
}

// reclass moves a connection to the eviction list that it now belongs to.
func (t *Table) reclass(index uint32) {
	c := t.at(index)
	if class := c.classify(); class != c.class {
		t.unlink(index)
		c.class = class
		t.link(index)
	}
}

// supersede notes in the incarnation before c that the sender of s has left it for c: beyond doubt if it opens c; else by
// taking part in it. A SYN that nobody has answered, or a RST that answers it, says only so much about its receiver: an end
// with a connection still open would have answered with an ACK.
func (t *Table) supersede(c *conn, s *tcp.Segment) {
	if s.Flags.Any(tcp.RST) && !s.Flags.Any(tcp.ACK) {
		return
	}
	old := t.at(c.older)
	if old.openAttempt() && !s.Flags.Any(tcp.SYN) {
		return
	}
	old.leaves(s, s.Flags.Any(tcp.SYN))
	t.reclass(c.older)
	for old.openAttempt() && old.older != none {
		old = t.at(old.older) // nobody has answered that attempt: the one before is asked once more
		old.asks(s)
	}
}

// leaves notes that the sender of s has left c, proven if it has opened another.
func (c *conn) leaves(s *tcp.Segment, proven bool) {
	c.asks(s)
	c.left[c.direction(s)].note(s, proven)
}

// asks notes that c's other end should answer s, if c is still open.
func (c *conn) asks(s *tcp.Segment) {
	dir := c.direction(s)
	if l := &c.left[dir]; c.dirs[1-dir].Last.Time >= l.asked {
		l.asked = s.Time
	}
}

func (l *leaving) note(s *tcp.Segment, proven bool) {
	if l.at.Seen() {
		l.repeated = true
		return
	}
	l.at, l.proven = reassembly.MarkOf(s), proven
}

func (t *Table) listening(e endpoint, encap uint32) {
	if len(t.listeners) < maxListeners {
		t.listeners[listenKey{e, encap}] = struct{}{}
	}
}

// isListener reports whether e has answered a SYN with a SYN-ACK in this capture.
func (t *Table) isListener(e endpoint, encap uint32) bool {
	_, ok := t.listeners[listenKey{e, encap}]
	return ok
}

func (t *Table) at(index uint32) *conn { return &t.slab[index/slabSize][index%slabSize] }

// hash is the same for both directions of a connection.
func (t *Table) hash(s *tcp.Segment) uint64 {
	a := mix(s.Src.Hi^t.cfg.Seed, s.Src.Lo^uint64(s.SrcPort)<<48)
	b := mix(s.Dst.Hi^t.cfg.Seed, s.Dst.Lo^uint64(s.DstPort)<<48)
	return mix((a+b)^t.cfg.Seed, (a^b)+uint64(s.Encap)*0x9e3779b97f4a7c15)
}

// mix folds a 128-bit product, as in wyhash.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

// find returns the connection that s belongs to, a new one if there is none.
func (t *Table) find(s *tcp.Segment, hash uint64) uint32 {
	tag := uint32(hash >> 32)
	i := t.lookup(s, hash)
	head := t.slots[i].index
	if head == none {
		index := t.allocate(s) // may move the slots
		t.insert(tag, hash, index)
		return index
	}
	if index := t.incarnation(s, head); index != none {
		return index
	}
	index := t.allocate(s)
	// Eviction, in allocate, may have taken head or moved it.
	i = t.lookup(s, hash)
	head = t.slots[i].index
	if head == none {
		t.insert(tag, hash, index)
		return index
	}
	t.slots[i].index = index
	t.at(index).older = head
	t.trimChain(index)
	if s.Flags.Any(tcp.SYN) {
		t.noteReuse(index, s)
	}
	return index
}

// openAttempt reports whether nobody has answered c's SYN: what comes from elsewhere says nothing about it.
func (c *conn) openAttempt() bool {
	return c.dirs[0].Has&reassembly.ACK == 0 && c.dirs[1].Has&reassembly.ACK == 0
}

// lookup returns the slot of s's key, or the empty slot where it would go.
func (t *Table) lookup(s *tcp.Segment, hash uint64) uint64 {
	tag := uint32(hash >> 32)
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		sl := t.slots[i]
		if sl.index == none {
			return i
		}
		if sl.tag == tag && t.at(sl.index).has(s) {
			return i
		}
	}
}

// has reports whether s has the key of c.
func (c *conn) has(s *tcp.Segment) bool {
	if c.encap != s.Encap {
		return false
	}
	src, dst := endpoint{s.Src, s.SrcPort}, endpoint{s.Dst, s.DstPort}
	return c.ends[0] == src && c.ends[1] == dst || c.ends[0] == dst && c.ends[1] == src
}

// incarnation picks, among the connections with the key of s, the one that s belongs to; none if it opens or shows another.
func (t *Table) incarnation(s *tcp.Segment, head uint32) uint32 {
	if s.Flags.Any(tcp.SYN) && !s.Flags.Any(tcp.RST) {
		for i := head; i != none && !s.Flags.Any(tcp.ACK); i = t.at(i).older {
			c := t.at(i)
			dir := c.direction(s)
			// Repeated although it was refused, it may cross a newer SYN of the peer.
			if x := &c.dirs[dir]; x.HasSYN() && x.ISS == s.Seq && !c.dirs[1-dir].OnlyResets() {
				return i
			}
		}
		for i := head; i != none; i = t.at(i).older {
			c := t.at(i)
			dir := c.direction(s)
			belongs, replaces := c.opens(s, dir)
			if replaces {
				packets := c.dirs[dir].Packets
				c.dirs[dir] = reassembly.Direction{Packets: packets}
			}
			if belongs {
				return i
			}
		}
		return none
	}
	best, distance := none, uint64(0)
	for i := head; i != none; {
		c := t.at(i)
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

// trimChain cuts off all but the newest incarnations of a key: each costs every segment a comparison.
func (t *Table) trimChain(index uint32) {
	for n := 1; index != none; n++ {
		c := t.at(index)
		if n == maxIncarnations {
			c.older = none
		}
		index = c.older
	}
}

// allocate returns a fresh connection for s, evicting another if the table is full.
func (t *Table) allocate(s *tcp.Segment) uint32 {
	if t.Len() >= t.cfg.MaxConnections {
		t.evict()
	}
	var index uint32
	if n := len(t.free); n > 0 {
		index, t.free = t.free[n-1], t.free[:n-1]
	} else {
		index = t.allocated
		if int(index/slabSize) == len(t.slab) {
			t.slab = append(t.slab, new([slabSize]conn))
		}
		t.allocated++
	}
	t.nextID++
	c := t.at(index)
	*c = conn{
		id: t.nextID, start: reassembly.MarkOf(s), encap: s.Encap, older: none, class: classAttempt,
		ends: [2]endpoint{{s.Src, s.SrcPort}, {s.Dst, s.DstPort}},
	}
	t.link(index)
	return index
}

// insert puts a key that is not in the table there, growing it above three quarters full.
func (t *Table) insert(tag uint32, hash uint64, index uint32) {
	if t.used*4 >= len(t.slots)*3 {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i].index != none {
		i = (i + 1) & mask
	}
	t.slots[i] = slot{tag, index}
	t.used++
}

func (t *Table) grow() {
	old := t.slots
	t.slots = emptySlots(2 * len(old))
	mask := uint64(len(t.slots) - 1)
	for _, sl := range old {
		if sl.index == none {
			continue
		}
		i := t.hashOf(sl.index) & mask
		for t.slots[i].index != none {
			i = (i + 1) & mask
		}
		t.slots[i] = sl
	}
}

func (c *conn) key() tcp.Segment {
	return tcp.Segment{
		Src: c.ends[0].addr, SrcPort: c.ends[0].port, Dst: c.ends[1].addr, DstPort: c.ends[1].port, Encap: c.encap,
	}
}

func (t *Table) hashOf(index uint32) uint64 {
	key := t.at(index).key()
	return t.hash(&key)
}

// evict forgets the connection that matters least: by class, within a class the one longest in it; of the established ones
// the first that has been silent since the last time round.
func (t *Table) evict() {
	for class := range t.lists {
		l := &t.lists[class]
		if l.head == none {
			continue
		}
		index := l.head
		for c := t.at(index); c.active && class >= int(classEstablished); c = t.at(index) {
			c.active = false
			t.unlink(index)
			t.link(index)
			index = l.head
		}
		t.remove(index)
		t.stats.Evicted++
		return
	}
}

// remove forgets a connection.
func (t *Table) remove(index uint32) {
	c := t.at(index)
	key := c.key()
	i := t.lookup(&key, t.hash(&key))
	switch head := t.slots[i].index; {
	case head == index && c.older != none:
		t.slots[i].index = c.older
	case head == index:
		t.clearSlot(i)
	case head != none:
		for j := head; j != none; j = t.at(j).older {
			if t.at(j).older == index {
				t.at(j).older = c.older
				break
			}
		}
	}
	t.unlink(index)
	if c.odd {
		delete(t.odd, index)
	}
	*c = conn{}
	t.free = append(t.free, index)
}

// clearSlot empties slot i and moves up what had been pushed behind it.
func (t *Table) clearSlot(i uint64) {
	mask := uint64(len(t.slots) - 1)
	t.used--
	for j := i; ; {
		j = (j + 1) & mask
		if t.slots[j].index == none {
			break
		}
		home := t.hashOf(t.slots[j].index) & mask
		if (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{index: none}
}

// list is a queue of connections of one class, linked through them.
type list struct{ head, tail uint32 }

func (t *Table) link(index uint32) {
	c := t.at(index)
	l := &t.lists[c.class]
	c.prev, c.next = l.tail, none
	if l.tail == none {
		l.head = index
	} else {
		t.at(l.tail).next = index
	}
	l.tail = index
}

func (t *Table) unlink(index uint32) {
	c := t.at(index)
	l := &t.lists[c.class]
	if c.prev == none {
		l.head = c.next
	} else {
		t.at(c.prev).next = c.next
	}
	if c.next == none {
		l.tail = c.prev
	} else {
		t.at(c.next).prev = c.prev
	}
}

// sighting is one segment that passed a moment ago.
type sighting struct {
	print uint64
	time  int64
}

const (
	recentSize = 1 << 13 // at 1 Mpps, 8 ms
	// duplicateWindow: mirror ports and the interface list of -i any repeat a packet within microseconds. What a host sends
	// twice differs in its IP id or timestamp; RSTs and IPv6 without timestamps do not, and may be as close as 3.2 ms, the
	// least that gVisor showed.
	duplicateWindow = int64(3 * time.Millisecond)
)

// seenAgain reports whether the capture has just shown the very same packet.
func (t *Table) seenAgain(s *tcp.Segment, hash uint64) bool {
	print := mix(hash^uint64(s.Seq)<<32^uint64(s.Ack), uint64(s.Len)<<32^uint64(s.Window)<<16^uint64(s.IPID))
	print = mix(print^uint64(s.SrcPort)<<48^uint64(s.Flags), uint64(s.Options.TSVal)<<32^uint64(s.Options.TSEcr))
	for _, r := range s.Options.SACK[:min(int(s.Options.SACKs), len(s.Options.SACK))] {
		print = mix(print, uint64(r.Left)<<32|uint64(r.Right))
	}
	r := &t.recent[print%recentSize]
	age := s.Time - r.time
	if age < 0 {
		age = -age
	}
	if r.print == print && age <= duplicateWindow {
		return true
	}
	*r = sighting{print, s.Time}
	return false
}

// Connections yields every connection as it stands at now (ns since 1970), in the order of ID: judged by the segments taken
// in so far and the silence since. The Connection is reused: it is valid until the next one.
func (t *Table) Connections(now int64) iter.Seq[*Connection] {
	return func(yield func(*Connection) bool) {
		var view Connection
		for _, index := range t.byID() {
			t.view(index, now, &view)
			if !yield(&view) {
				return
			}
		}
	}
}

// Get fills in c with the connection that ref names, as it stands at now, and reports whether the table still holds it.
func (t *Table) Get(ref Ref, now int64, c *Connection) bool {
	if ref.index >= t.allocated || t.at(ref.index).id != ref.id {
		return false
	}
	t.view(ref.index, now, c)
	return true
}

func (t *Table) byID() []uint32 {
	order := make([]uint32, 0, t.Len())
	for i := range t.allocated {
		if t.at(i).id != 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Compare(t.at(a).id, t.at(b).id) })
	return order
}

// MissedBytes returns how many octets were acknowledged that the capture does not hold.
func (t *Table) MissedBytes() uint64 {
	var n uint64
	for i := range t.allocated {
		c := t.at(i)
		n += c.dirs[0].Missed(&c.dirs[1]) + c.dirs[1].Missed(&c.dirs[0])
	}
	return n
}
