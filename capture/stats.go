package capture

import (
	"sync"
	"sync/atomic"
)

// Reason says why a packet gave no segment.
type Reason uint8

// The reasons.
const (
	NotTCP                Reason = iota // another protocol
	TruncatedHeader                     // the snap length cut the headers, up to the TCP flags
	Malformed                           // a header contradicts itself or the packet's length
	Fragment                            // not the first fragment of a datagram, so without a TCP header
	UnsupportedLinkType                 // captured on a kind of link that is not understood
	Filtered                            // rejected by the filter expression
	TooManyEncapsulations               // nested too deep, or more different VLANs and tunnels than tcp.EncapTable holds
	NumReasons            int    = iota
)

// decoded is the outcome of a packet that gave a segment.
const decoded = Reason(255)

var reasonNames = [NumReasons]string{
	"not_tcp", "truncated_header", "malformed", "fragment", "unsupported_link_type", "filtered", "too_many_encapsulations",
}

// String returns the name that the JSON output uses: "not_tcp".
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return ""
}

// Skipped counts the packets that gave no segment, by reason.
type Skipped [NumReasons]uint64

// Total returns the number of packets skipped for any reason.
func (s *Skipped) Total() uint64 {
	var sum uint64
	for _, n := range s {
		sum += n
	}
	return sum
}

// SourceStats describes one file or interface.
type SourceStats struct {
	Name        string   // as given, or as the pattern found it; "-" is standard input
	Format      string   // "pcap", "pcapng" or "live"; "" while not known
	Compression string   // "gzip", "zstd" or ""
	LinkTypes   []string // libpcap's names without LINKTYPE_: "ETHERNET", in order of appearance
	Packets     uint64
	Truncated   bool
	Truncation  string // where and in what the file ends, or what is wrong there, in words; "" if it is whole
}

// Stats says what a Source has read. Packets is always Segments plus Skipped.Total.
type Stats struct {
	Sources []SourceStats // in the order of their first packets
	Filter  string

	First, Last       int64 // time of the oldest and newest packet of any protocol, nanoseconds since 1970; 0 without packets
	Packets, Segments uint64
	Skipped           Skipped

	DroppedKernel    uint64 // live: packets that found the kernel's buffer full
	DroppedInterface uint64 // live: packets that the interface or its driver dropped
	Moved            int64  // live: ns that are added to the times of packets, since this host's clock was set
	Saved            uint64 // live: packets written to the files of Config.Save
	SavedFiles       int    // live: of these, those begun
	SaveError        string // live: why no more packets are saved, in one line; "" without an error
	BytesRead        int64  // of the files as they are stored, so compressed
	BytesTotal       int64  // 0 if one of the sources is a pipe or an interface
}

// totals are the counters of Stats that every packet moves.
type totals struct {
	first, last       int64
	packets, segments uint64
	skipped           Skipped
}

// seen counts a packet stamped t.
func (c *totals) seen(t int64) {
	if c.packets == 0 {
		c.first, c.last = t, t
	}
	c.packets++
	c.first, c.last = min(c.first, t), max(c.last, t)
}

// seenAll counts packets, and numbers them.
func (c *totals) seenAll(records []record) {
	first, last := c.first, c.last
	if c.packets == 0 && len(records) > 0 {
		first, last = records[0].time, records[0].time
	}
	for i := range records {
		first, last = min(first, records[i].time), max(last, records[i].time)
		c.packets++
		records[i].number = c.packets
	}
	c.first, c.last = first, last
}

// count enters what became of a packet.
func (c *totals) count(r Reason) {
	if r == decoded {
		c.segments++
	} else {
		c.skipped[r]++
	}
}

// add enters the packets of o, which came later than those of c.
func (c *totals) add(o *totals) {
	if o.packets == 0 {
		return
	}
	if c.packets == 0 {
		c.first, c.last = o.first, o.last
	}
	c.first, c.last = min(c.first, o.first), max(c.last, o.last)
	c.packets += o.packets
	c.segments += o.segments
	for i, n := range o.skipped {
		c.skipped[i] += n
	}
}

// ledger is a source's Stats as others see them, brought up to date once a batch.
type ledger struct {
	mu    sync.Mutex
	stats Stats
	last  atomic.Int64
}

// Last implements Source.
func (l *ledger) Last() int64 { return l.last.Load() }

// snapshot returns a copy that stays as it is.
func (l *ledger) snapshot() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Sources = make([]SourceStats, len(l.stats.Sources))
	copy(s.Sources, l.stats.Sources)
	for i := range s.Sources {
		s.Sources[i].LinkTypes = append([]string(nil), s.Sources[i].LinkTypes...)
	}
	return s
}

// post publishes the totals.
func (l *ledger) post(t *totals) {
	l.mu.Lock()
	s := &l.stats
	s.First, s.Last, s.Packets, s.Segments, s.Skipped = t.first, t.last, t.packets, t.segments, t.skipped
	l.mu.Unlock()
	l.last.Store(t.last)
}
