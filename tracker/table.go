// Package tracker turns the segments of many connections into the RFC 9293 state of both endpoints of each.
//
// A state is not stored and stepped: it is a function of facts, which package reassembly collects for each direction. This
// package finds the connection that a segment belongs to, bounds the memory, and draws the conclusions.
package tracker

import (
	"math/bits"
	"time"

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
	MaxEnded       int           // of these, those that were closed by both ends or reset; 0 is no limit but MaxConnections
	MaxBytes       int           // of memory for the connections; 0 is no limit but MaxConnections
	TimeWait       time.Duration // how long an endpoint stays in TIME_WAIT after the last FIN seen
	Seed           uint64        // of the hash; unpredictable where packets come from strangers. It does not affect results
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
	Segments, Duplicates uint64
	Evicted              [numClasses]uint64
}

type listenKey struct {
	endpoint
	encap uint32
}

// shared is what all parts of a Table have in common. While a batch is taken in, nobody changes it, but for the quarry.
type shared struct {
	cfg       Config
	listeners map[listenKey]struct{}
	dropped   bool
	quarry    quarry
}

// Table holds the connections of a stream of segments. Add is not safe for concurrent use, neither with itself nor with
// others; what only reads is, with itself. To take in segments with several goroutines, see Shares.
type Table struct {
	shared
	parts  []*part
	lastID uint64
	all    *Share
}

const (
	// partedFrom is from how many connections on a table has tcp.NumParts parts, and not one: each has its own bound, and a small
	// one would be full sooner than the whole. The number does not depend on that of the processors: what is evicted would,
	// too.
	partedFrom = 1 << 16
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
	n := 1
	if cfg.MaxConnections >= partedFrom {
		n = tcp.NumParts
	}
	t := &Table{shared: shared{cfg: cfg, listeners: make(map[listenKey]struct{})}}
	l := limits{connections: (cfg.MaxConnections + n - 1) / n, ended: (cfg.MaxEnded + n - 1) / n, bytes: cfg.MaxBytes / n, odd: maxOdd / n}
	for i := range n {
		t.parts = append(t.parts, newPart(uint32(i), &t.shared, recentSize/n, l))
	}
	t.all = newShare(t, 0, 1, nil)
	return t
}

// CaptureDropped notes that packets were lost on their way into the capture: no state is certain any more.
func (t *Table) CaptureDropped() { t.dropped = true }

// Stats returns the counters.
func (t *Table) Stats() (s Stats) {
	for _, p := range t.parts {
		s.Duplicates += p.stats.Duplicates
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

// Add takes in segments in the order of the capture. It keeps no reference to the batch.
func (t *Table) Add(batch []tcp.Segment) {
	t.all.add(batch)
	t.settle()
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

// Find returns the newest connection between two endpoints, in either direction.
func (t *Table) Find(a tcp.Addr, aPort uint16, b tcp.Addr, bPort uint16, encap uint32) (Ref, bool) {
	s := tcp.Segment{Src: a, SrcPort: aPort, Dst: b, DstPort: bPort, Encap: encap}
	p := t.parts[t.fold(s.Part())]
	index := p.newest(&s, t.hash(a, b, aPort, bPort, encap))
	if index == none {
		return Ref{}, false
	}
	return Ref{p.at(index).number(), p.placeOf(index)}, true
}

// place is where a connection is: its part, and its index there.
type place uint32

func (p *part) placeOf(index uint32) place { return place(p.n<<indexBits | index) }

func (at place) part() int { return int(at >> indexBits) }

func (at place) index() uint32 { return uint32(at & indexMask) }
