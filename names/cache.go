package names

import "tcpleak/tcp"

// key is whose name an entry is: of a server's port, or by what DNS says, of its address; as any client calls it, or one
// client, or one in a connection.
type key struct {
	client, server   tcp.Addr
	clientPort, port uint16
}

type entry struct {
	name  string
	time  int64 // ns since 1970
	proxy bool  // the server is one, for this client
}

// cache is bounded: when the young are half of what there may be, they become the old, and the old are forgotten. What is
// put again is young again.
type cache struct {
	half       int
	young, old map[key]entry
}

func newCache(limit int) cache {
	return cache{half: max(limit/2, 1), young: make(map[key]entry), old: make(map[key]entry)}
}

func (c *cache) get(k key) entry {
	if e, ok := c.young[k]; ok {
		return e
	}
	return c.old[k]
}

// put enters e unless what is there is newer. Equal times are decided by the names, so that it does not matter which of two
// interfaces is read first.
func (c *cache) put(k key, e entry, m *memo) {
	was, young := c.young[k]
	if young && was.name == e.name && was.proxy == e.proxy && e.time >= was.time && e.time-was.time < memoTime {
		return
	}
	known := young
	if !known {
		was, known = c.old[k]
	}
	if known && !was.proxy && !e.proxy && (was.time > e.time || was.time == e.time && was.name > e.name) {
		e = was
	}
	if known && (was.name != e.name || was.proxy != e.proxy) {
		*m.changesOf(k)++
	}
	if !young && len(c.young) >= c.half {
		m.turns++
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	c.young[k] = e
}
