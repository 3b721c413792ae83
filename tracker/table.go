// Package tracker turns the segments of many connections into the RFC 9293 state of both endpoints of each.
//
// A state is not stored and stepped: it is a function of facts, which package reassembly collects for each direction. This
// package finds the connection that a segment belongs to, bounds the memory, and draws the conclusions.
package tracker

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"tcpleak/tcp"
)

// Defaults and bounds of a Config.
const (
	DefaultMaxConnections = 1_000_000
	DefaultTimeWait       = 60 * time.Second
	maxListeners          = 1 << 16
	maxOdd                = 1 << 16
)

// Config bounds a Table. Zero values take the defaults.
type Config struct {
	MaxConnections int           // at most MaxMaxConnections
	MaxBytes       int           // of memory for the connections; 0 is no limit but MaxConnections
	TimeWait       time.Duration // how long an endpoint stays in TIME_WAIT after the last FIN seen
	Seed           uint64        // of the hash; unpredictable where packets come from strangers. It does not affect results
	Workers        int           // goroutines that take in a batch; 0 is one for each processor. It does not affect results
}

// MaxMaxConnections is the most that Config.MaxConnections can be.
const MaxMaxConnections = 60_000_000

// Stats counts what a Table has done.
type Stats struct {
	Segments   uint64 // taken in, duplicates not counted
	Duplicates uint64 // segments that the capture saw more than once
	Evicted    Evictions
}

// Evictions counts connections forgotten to keep within the limits, by what they were.
type Evictions struct {
	Reset       uint64 // ended by a RST, or left for a new one with the same addresses and ports
	Finished    uint64 // closed by both ends
	Attempts    uint64 // the end that opened has not gone on
	Established uint64
	HalfClosed  uint64
}

// Total returns how many there were.
func (e Evictions) Total() uint64 {
	return e.Reset + e.Finished + e.Attempts + e.Established + e.HalfClosed
}

type partStats struct {
	Segments uint64
	Evicted  [numClasses]uint64
}

type listenKey struct {
	endpoint
	encap uint32
}

// shared is what all parts of a Table have in common. While a batch is taken in, nobody changes it.
type shared struct {
	cfg       Config
	listeners map[listenKey]struct{}
	dropped   bool
}

// Table holds the connections of a stream of segments. Add is not safe for concurrent use, neither with itself nor with
// others; what only reads is, with itself.
type Table struct {
	shared
	parts      []*part
	recent     []sighting
	duplicates uint64
	lastID     uint64
	tracks     []track
	began      []uint32 // by position in the batch: the index of the connection that began there, or none
}

const (
	// A table that may hold many has numParts parts. The number does not depend on that of the processors: what is evicted
	// would, too.
	numParts = 1 << partBits
	partBits = 4
	// partedFrom is from how many connections on a table has several parts: each has its own bound, and a small one would be
	// full sooner than the whole.
	partedFrom = 1 << 16

	batchSize = 1 << 12 // segments that are taken in at once, at most
	ahead     = 32      // segments whose connections are fetched together; see part.fetch
)

// New returns an empty Table.
func New(cfg Config) *Table {
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = DefaultMaxConnections
	}
	cfg.MaxConnections = min(cfg.MaxConnections, MaxMaxConnections)
	if cfg.TimeWait <= 0 {
		cfg.TimeWait = DefaultTimeWait
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	n := 1
	if cfg.MaxConnections >= partedFrom {
		n = numParts
	}
	t := &Table{
		shared: shared{cfg: cfg, listeners: make(map[listenKey]struct{})},
		recent: make([]sighting, recentSize), tracks: make([]track, batchSize), began: make([]uint32, batchSize),
	}
	l := limits{connections: (cfg.MaxConnections + n - 1) / n, bytes: cfg.MaxBytes / n, odd: maxOdd / n}
	for i := range n {
		t.parts = append(t.parts, newPart(uint32(i), &t.shared, l))
	}
	return t
}

// CaptureDropped notes that packets were lost on their way into the capture: no state is certain any more.
func (t *Table) CaptureDropped() { t.dropped = true }

// Stats returns the counters.
func (t *Table) Stats() (s Stats) {
	s.Duplicates = t.duplicates
	for _, p := range t.parts {
		s.Segments += p.stats.Segments
		e := &p.stats.Evicted
		s.Evicted.Reset += e[classReset]
		s.Evicted.Finished += e[classFinished]
		s.Evicted.Attempts += e[classAttempt]
		s.Evicted.Established += e[classEstablished]
		s.Evicted.HalfClosed += e[classHalfClosed]
	}
	return s
}

// Len returns the number of connections held.
func (t *Table) Len() (n int) {
	for _, p := range t.parts {
		n += p.held()
	}
	return n
}

// Bytes returns how much memory the connections take, that which is set aside for more of them included.
func (t *Table) Bytes() (n int) {
	for _, p := range t.parts {
		n += p.bytes()
	}
	return n
}

// Add takes in segments in the order of the capture. It keeps no reference to the batch. A batch of many is shared among
// Config.Workers goroutines.
func (t *Table) Add(batch []tcp.Segment) {
	for len(batch) > 0 {
		n := min(len(batch), batchSize)
		t.addBatch(batch[:n])
		batch = batch[n:]
	}
}

func (t *Table) addBatch(batch []tcp.Segment) {
	tracks, began := t.tracks[:len(batch)], t.began[:len(batch)]
	t.track(batch, tracks)
	// Fewer are taken in before other goroutines have woken up: that takes some 5 µs.
	const few = 512
	if workers := min(t.cfg.Workers, len(t.parts)); workers == 1 || len(batch) < few {
		t.run(batch, tracks, began, 0, 1)
	} else {
		var done sync.WaitGroup
		for w := range uint32(workers) {
			done.Go(func() { t.run(batch, tracks, began, w, uint32(workers)) })
		}
		done.Wait()
	}
	t.giveIDs(tracks, began)
	for _, p := range t.parts {
		for _, k := range p.heard {
			if len(t.listeners) < maxListeners {
				t.listeners[k] = struct{}{}
			}
		}
		p.heard = p.heard[:0]
	}
}

// track is what becomes of a segment.
type track struct {
	hash uint64 // the same for both directions of a connection; unpredictable
	part uint32 // or again
	copy bool   // the capture may have shown it before
}

// again marks what the capture has just shown.
const again = none

func (t *Table) track(batch []tcp.Segment, tracks []track) {
	for i := range batch {
		s, copy := &batch[i], false
		if t.seenAgain(s) {
			t.duplicates++
			if s.IPID != 0 || s.Seq == s.End() {
				tracks[i].part = again
				continue
			}
			copy = true // or a retransmission, which has an IP id of its own where there is one
		}
		tracks[i] = track{t.hash(s.Src, s.Dst, s.SrcPort, s.DstPort, s.Encap), t.partOf(s), copy}
	}
}

// partOf is the same for both directions of a connection and in every run: so is then what is forgotten when a part is full.
func (t *Table) partOf(s *tcp.Segment) uint32 {
	x := s.Src.Lo ^ s.Dst.Lo ^ s.Src.Hi ^ s.Dst.Hi ^ uint64(s.SrcPort^s.DstPort)<<32
	return uint32(x*0x9e3779b97f4a7c15>>(64-partBits)) & uint32(len(t.parts)-1)
}

// sighting is one segment that passed a moment ago, in 32 bits each of what tells it from others and of its time: 4.3 s.
type sighting struct{ print, time uint32 }

const (
	recentSize = 1 << 13 // at 1 Mpps, 8 ms
	// duplicateWindow: mirror ports and the interface list of -i any repeat a packet within microseconds. What a host sends
	// twice differs in its IP id or timestamp; RSTs and IPv6 without timestamps do not, and may be as close as 3.2 ms, the
	// least that gVisor showed.
	duplicateWindow = int64(3 * time.Millisecond)
)

// seenAgain reports whether the capture has just shown the very same packet.
func (t *Table) seenAgain(s *tcp.Segment) bool {
	print := mix(s.Src.Lo^s.Src.Hi^uint64(s.SrcPort)<<48, s.Dst.Lo^s.Dst.Hi^uint64(s.DstPort)<<48^uint64(s.Encap)<<32)
	print = mix(print^uint64(s.Seq)<<32^uint64(s.Ack), uint64(s.Len)<<32^uint64(s.Window)<<16^uint64(s.IPID))
	print = mix(print^uint64(s.Flags), uint64(s.Options.TSVal)<<32^uint64(s.Options.TSEcr))
	for _, r := range s.Options.SACK[:min(int(s.Options.SACKs), len(s.Options.SACK))] {
		print = mix(print, uint64(r.Left)<<32|uint64(r.Right))
	}
	r := &t.recent[print%recentSize]
	now := sighting{uint32(print >> 32), uint32(s.Time)}
	age := int64(int32(now.time - r.time))
	if r.print == now.print && max(age, -age) <= duplicateWindow {
		return true
	}
	*r = now
	return false
}

// run takes in the segments of the parts that are worker's.
func (t *Table) run(batch []tcp.Segment, tracks []track, began []uint32, worker, workers uint32) {
	var mine [ahead]int32
	for next := 0; next < len(batch); {
		n := 0
		for ; next < len(batch) && n < ahead; next++ {
			mine[n] = int32(next)
			if part := tracks[next].part; part != again && part%workers == worker {
				n++
			}
		}
		t.fetch(batch, tracks, mine[:n])
		for _, i := range mine[:n] {
			k := &tracks[i]
			if k.copy {
				began[i] = none
				t.parts[k.part].addCopy(&batch[i], k.hash)
				continue
			}
			began[i] = t.parts[k.part].add(&batch[i], k.hash, uint32(i))
		}
	}
}

// fetch touches the segments at mine, their slots and their connections, so that the processor waits for all of that memory
// at once and not for one after another. A branch on what is not there yet would make it wait.
func (t *Table) fetch(batch []tcp.Segment, tracks []track, mine []int32) {
	var slots [ahead]uint32
	var sum uint32
	for k, i := range mine {
		p := t.parts[tracks[i].part]
		slots[k] = p.slots[p.home(tracks[i].hash)]
		sum += uint32(batch[i].Seq) + batch[i].Options.TSVal
	}
	for k, i := range mine {
		p := t.parts[tracks[i].part]
		index := slots[k] & indexMask
		if index >= p.records.used {
			index = 0
		}
		sum += p.at(index).touch()
	}
	if sum == 1<<32-1 {
		fetched.Store(sum) // without it, the compiler could leave out the loops
	}
}

var fetched atomic.Uint32

// touch reads from each line that a segment in the middle of a connection needs.
func (r *record) touch() uint32 {
	words := (*[64]uint32)(unsafe.Pointer(r))
	return words[0] + words[16] + words[32] + words[48]
}

// giveIDs gives the connections that began in a batch their IDs, in the order of the capture, whichever part they are in.
func (t *Table) giveIDs(tracks []track, began []uint32) {
	for i, index := range began {
		if tracks[i].part == again || index == none {
			continue
		}
		t.lastID++
		// It may have been forgotten since, and its place taken by one that began later.
		if r := t.parts[tracks[i].part].at(index); r.meta&metaNew != 0 && int(r.id) == i {
			r.meta &^= metaNew
			r.setNumber(t.lastID)
		}
	}
}

// isListener reports whether e has answered a SYN with a SYN-ACK in this capture.
func (sh *shared) isListener(e endpoint, encap uint32) bool {
	_, ok := sh.listeners[listenKey{e, encap}]
	return ok
}

// hash is the same for both directions of a connection.
func (sh *shared) hash(src, dst tcp.Addr, srcPort, dstPort uint16, encap uint32) uint64 {
	a := mix(src.Hi^sh.cfg.Seed, src.Lo^uint64(srcPort)<<48)
	b := mix(dst.Hi^sh.cfg.Seed, dst.Lo^uint64(dstPort)<<48)
	return mix((a+b)^sh.cfg.Seed, (a^b)+uint64(encap)*0x9e3779b97f4a7c15)
}

// mix folds a 128-bit product, as in wyhash.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

// Get fills in c with the connection that ref names, as it stands at now, and reports whether the table still holds it.
func (t *Table) Get(ref Ref, now int64, c *Connection) bool {
	p := t.parts[ref.place.part()]
	if index := ref.place.index(); index >= p.records.used || p.at(index).number() != ref.id {
		return false
	}
	p.view(ref.place.index(), now, c)
	return true
}

// place is where a connection is: its part, and its index there.
type place uint32

func (p *part) placeOf(index uint32) place { return place(p.n<<indexBits | index) }

func (at place) part() int { return int(at >> indexBits) }

func (at place) index() uint32 { return uint32(at & indexMask) }

// MissedBytes returns how many octets were acknowledged that the capture does not hold.
func (t *Table) MissedBytes() (n uint64) {
	var buf conn
	for _, at := range t.List().order {
		c := t.parts[at.part()].load(at.index(), &buf)
		n += c.dirs[0].Missed(&c.dirs[1]) + c.dirs[1].Missed(&c.dirs[0])
	}
	return n
}
