package names

import (
	"hash/maphash"

	"tcpleak/tcp"
)

// key is whose name an entry is: of a server's port, or by what DNS says, of its address; as any client calls it, or one
// client, or one in a connection.
type key struct {
	client, server   tcp.Addr
	clientPort, port uint16
}

// hash stands for a key. Nobody who does not know the seed can make two keys that have the same; by chance, in a full Book, two
// have with a probability of 1 in 10¹⁰. With keys of 36 octets in their places, the names of a capture of whole packets took half
// as long again.
type hash uint64

func (m *memory) hashOf(k key) hash { return hash(maphash.Comparable(m.seed, k)) }

type entry struct {
	name  string
	time  int64 // ns since 1970
	proxy bool  // the server is one, for this client
}

// cache is bounded: when the young are half of what there may be, they become the old, and the old are forgotten. What is
// put again is young again.
type cache struct {
	half       int
	young, old map[hash]entry
}

func newCache(limit int) cache {
	return cache{half: max(limit/2, 1), young: make(map[hash]entry), old: make(map[hash]entry)}
}

func (c *cache) get(h hash) entry {
	if e, ok := c.young[h]; ok {
		return e
	}
	return c.old[h]
}

// put enters e unless what is there is newer, or says that the server is a proxy, and returns what is there then; whether that
// says something else than before; and whether something was forgotten. Equal times are decided by the names, so that it does
// not matter which of two interfaces is read first.
func (c *cache) put(h hash, e entry) (kept entry, changed, turned bool) {
	was, young := c.young[h]
	if young && was.name == e.name && was.proxy == e.proxy && e.time >= was.time && e.time-was.time < memoTime {
		return was, false, false
	}
	known := young
	if !known {
		was, known = c.old[h]
	}
	switch {
	case known && was.proxy && !e.proxy:
		e = was
	case known && was.proxy == e.proxy && (was.time > e.time || was.time == e.time && was.name > e.name):
		e = was
	}
	if !young && len(c.young) >= c.half {
		turned = true
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	c.young[h] = e
	return e, known && (was.name != e.name || was.proxy != e.proxy), turned
}
