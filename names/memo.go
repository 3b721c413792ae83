package names

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"

	"tcpleak/tcp"
)

// memory is what all memos have in common.
type memory struct {
	seed    maphash.Seed // nobody knows it
	changes changes
	turns   atomic.Uint32 // how often servers or clients have been forgotten
}

// changes counts how often another name took the place of one for a server, or for others that share the counter.
type changes [1 << 10]atomic.Uint32

func (c *changes) of(server tcp.Addr, port uint16) *atomic.Uint32 {
	return &c[(server.Lo^server.Hi^uint64(port)<<7)%uint64(len(c))]
}

// memo remembers what the connections of a part said last: that is the server's name there. As most say the same again and again,
// and to enter it each time took longer than all else that is done about a packet, what is repeated within memoTime is passed
// over, as long as nothing else was said of the server.
type memo struct {
	size    int          // buckets, a power of two
	buckets [][ways]what // by connection, the last one heard first; nil until there is a name
}

// what a connection has said.
type what struct {
	connection hash
	head       uint64 // hash of what the payload begins with
	name       string // "" if it has told a proxy whom it means
	moment
}

// moment is when something was said: changes of its server, and turns of what all say.
type moment struct {
	time           int64 // ns since 1970
	changes, turns uint32
}

const (
	memoTime = int64(10e9) // ns: so old the time and the turn of a name may be
	memoHead = 128         // octets
	ways     = 4           // of a bucket: of as many connections as it has room for, and as many are open, it forgets few
)

// newMemo returns an empty memo of at least limit connections, each 48 octets.
func newMemo(limit int) memo { return memo{size: 1 << bits.Len(uint(max(limit/ways, 1)-1))} }

// bucketOf returns the number of a connection's bucket. It is the same in every run: so is then what is forgotten.
func (m *memo) bucketOf(k *key) int {
	x := k.client.Lo ^ k.client.Hi ^ bits.RotateLeft64(k.server.Lo^k.server.Hi, 24) ^ uint64(k.clientPort)<<40 ^ uint64(k.port)<<16
	return int(x * 0x9e3779b97f4a7c15 >> 32 % uint64(m.size))
}

// find returns what a connection said last, nil if that is not known. It is valid until the next call.
func (m *memo) find(k *key, connection hash) *what {
	if m.buckets == nil {
		return nil
	}
	b := &m.buckets[m.bucketOf(k)]
	for i := range b {
		if b[i].connection == connection {
			if w := b[i]; i > 0 {
				copy(b[1:], b[:i])
				b[0] = w
			}
			return &b[0]
		}
	}
	return nil
}

// note enters w, in the place of what the connection said last, if find has just found that and it is not newer.
func (m *memo) note(k *key, last *what, w what) {
	switch {
	case last == nil:
		if m.buckets == nil {
			m.buckets = make([][ways]what, m.size)
		}
		b := &m.buckets[m.bucketOf(k)]
		copy(b[1:], b[:])
		b[0] = w
	case w.name != "" && (last.time > w.time || last.time == w.time && last.name > w.name):
	default:
		*last = w
	}
}

func (m *memory) headOf(payload []byte) uint64 {
	return maphash.Bytes(m.seed, payload[:min(len(payload), memoHead)])
}

// holds reports whether w is all that there is to say of its connection at a moment.
func (w *what) holds(now moment) bool {
	return now.time >= w.time && now.time-w.time < memoTime && w.turns == now.turns && w.changes == now.changes
}

// tunnels reports whether what passes in the connection may be meant for others than the server.
func (w *what) tunnels() bool { return w != nil && w.name == "" }
