package names

import (
	"hash/maphash"

	"tcpleak/tcp"
)

// memo remembers what connections said last, as most say the same again and again: to enter it each time took longer than all else
// that is done about a packet. What is repeated within memoTime is passed over, as long as nothing else was said of the server.
type memo struct {
	seed    maphash.Seed
	buckets [][2]said // by connection, the newest first; nil until there is a name
	changes [1 << 10]uint32
	turns   uint32 // how often a cache has forgotten something
}

// said is what a connection has said.
type said struct {
	connection, head uint64 // hashes, with a seed that nobody knows; head of what the payload begins with
	name             string
	time             int64 // ns since 1970
	changes, turns   uint32
}

const (
	memoTime    = int64(10e9) // ns: so old the time and the turn of a name may be
	memoBuckets = 1 << 14     // 1.6 MB; a power of two
	memoHead    = 128         // octets
)

// find returns where a segment's connection is or may be kept, and its hash. The bucket's first place is the one to use.
func (m *memo) find(seg *tcp.Segment) (at *said, connection uint64) {
	if m.buckets == nil {
		m.seed, m.buckets = maphash.MakeSeed(), make([][2]said, memoBuckets)
	}
	connection = maphash.Comparable(m.seed, key{seg.Src, seg.Dst, seg.SrcPort, seg.DstPort})
	b := &m.buckets[connection%memoBuckets]
	if b[0].connection != connection {
		b[0], b[1] = b[1], b[0]
	}
	return &b[0], connection
}

func (m *memo) headOf(payload []byte) uint64 {
	return maphash.Bytes(m.seed, payload[:min(len(payload), memoHead)])
}

// holds reports whether what s says is still all that there is to say of its connection at a time.
func (m *memo) holds(s *said, connection uint64, server key, t int64) bool {
	return s.connection == connection && t >= s.time && t-s.time < memoTime && s.turns == m.turns && s.changes == *m.changesOf(server)
}

// changesOf counts how often another name took the place of one for a server, or for others that share the counter.
func (m *memo) changesOf(server key) *uint32 {
	return &m.changes[(server.server.Lo^server.server.Hi^uint64(server.port)<<7)%uint64(len(m.changes))]
}
