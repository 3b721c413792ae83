// Package names learns the names of servers from what passes: TLS, HTTP and DNS.
//
// A name is what clients call a server: the server name in a TLS ClientHello, the Host of an HTTP/1 request, or the name
// that a DNS answer gives an address for. Nobody vouches for it: whoever can send packets can send names. Only what lies in
// one segment or datagram, as far as it was captured, is read. With Encrypted Client Hello, it is the public name of
// whoever relays it.
package names

import (
	"sync"
	"sync/atomic"

	"tcpleak/tcp"
)

// DefaultLimit is how many names of servers a Book holds, and as many again for clients and for connections: about 40 MiB if
// full.
const DefaultLimit = 1 << 16

// Book holds what was learned. It is safe for concurrent use, and a function of what it is told, in which order. Of two
// names for the same, it keeps the newer one by the time of its packet.
type Book struct {
	mu          sync.RWMutex
	learned     atomic.Bool
	servers     cache // as anyone calls them
	clients     cache // as one client calls them
	connections cache
	memo        memo
}

// New returns an empty Book for limit names of servers, at least 2, and as many for clients and for connections. Those learned
// longest ago give way.
func New(limit int) *Book {
	return &Book{servers: newCache(limit), clients: newCache(limit), connections: newCache(limit)}
}

// Server returns what a client calls a server, "" if there is no name known. The zero Addr is any client, client port 0 any
// of its connections, and server port 0 any port: then only DNS is asked.
//
// What is said in this connection comes first. Then comes what this client says, in other connections to that address and port,
// or asks of DNS; after that what others say, in the same order. Of several names, it is the newest.
func (b *Book) Server(client tcp.Addr, clientPort uint16, server tcp.Addr, port uint16) string {
	if !b.learned.Load() {
		return ""
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	proxy := false
	if client != (tcp.Addr{}) {
		if port != 0 {
			if e := b.connections.get(key{client, server, clientPort, port}); e.name != "" {
				return e.name
			}
			e := b.clients.get(key{client: client, server: server, port: port})
			if e.name != "" && !e.proxy {
				return e.name
			}
			proxy = e.proxy
		}
		if e := b.clients.get(key{client: client, server: server}); e.name != "" {
			return e.name
		}
	}
	if port != 0 && !proxy {
		if e := b.servers.get(key{server: server, port: port}); e.name != "" {
			return e.name
		}
	}
	return b.servers.get(key{server: server}).name
}

// Segment learns from a TCP segment: payload is what was captured of what it carries. It does not allocate unless there is
// a name in it.
func (b *Book) Segment(seg *tcp.Segment, payload []byte) {
	if len(payload) == 0 || seg.DstPort == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	any := key{server: seg.Dst, port: seg.DstPort}
	last, connection := b.memo.find(seg)
	head := b.memo.headOf(payload)
	holds := b.memo.holds(last, connection, any, seg.Time)
	if holds && last.head == head {
		return
	}
	var name []byte
	proxy := false
	if payload[0] == tlsHandshake {
		name = serverName(payload)
	} else {
		name, proxy = requestHost(payload)
	}
	var buf [maxName]byte
	if name = normal(buf[:0], name); len(name) == 0 && !proxy {
		return
	}
	if holds && !proxy && last.name == string(name) {
		last.head = head
		return
	}
	used := key{client: seg.Src, server: seg.Dst, port: seg.DstPort}
	if proxy {
		// What this client says on such connections names the servers behind.
		b.clients.put(used, entry{time: seg.Time, proxy: true}, &b.memo)
		b.learned.Store(true)
		return
	}
	if b.clients.get(used).proxy {
		return
	}
	text := b.learn(any, used, name, seg.Time)
	b.connections.put(key{seg.Src, seg.Dst, seg.SrcPort, seg.DstPort}, entry{name: text, time: seg.Time}, &b.memo)
	*last = said{connection, head, text, seg.Time, *b.memo.changesOf(any), b.memo.turns}
}

// Datagram learns from a UDP datagram from port 53 or 5353: payload is what was captured of what it carries; t is in ns
// since 1970.
func (b *Book) Datagram(t int64, _, dst tcp.Addr, srcPort, _ uint16, payload []byte) {
	var a answer
	if !a.parse(payload, srcPort == portMDNS) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, found := range a.found[:a.n] {
		b.learn(key{server: found.addr}, key{client: dst, server: found.addr}, found.name(), t)
	}
}

// learn enters a name for a server and for one of its clients, and returns its text, which they share.
func (b *Book) learn(any, used key, name []byte, t int64) string {
	text := b.servers.get(any).name
	if text != string(name) {
		text = string(name)
	}
	b.servers.put(any, entry{name: text, time: t}, &b.memo)
	b.clients.put(used, entry{name: text, time: t}, &b.memo)
	b.learned.Store(true)
	return text
}
