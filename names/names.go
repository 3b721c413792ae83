// Package names learns the names of servers from what passes: TLS, HTTP and DNS.
//
// A name is what clients call a server: the server name in a TLS ClientHello, the Host of an HTTP/1 request, or the name
// that a DNS answer gives an address for. Nobody vouches for it: whoever can send packets can send names. Only what lies in
// one segment or datagram, as far as it was captured, is read. With Encrypted Client Hello, it is the public name of
// whoever relays it.
package names

import (
	"hash/maphash"
	"math"
	"slices"
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
	ears    [tcp.NumParts]ear
	held    atomic.Bool // what is heard waits for Settle
	learned atomic.Bool
	memory

	mu      sync.RWMutex
	servers cache // as anyone calls them
	clients cache // as one client calls them
}

// ear is where one part of the connections is heard, so that several goroutines can listen at a time.
type ear struct {
	mu    sync.Mutex
	memo  memo
	heard []saying // not settled yet, in the order of packets
}

// saying is what a client calls a server, or that it uses it as a proxy.
type saying struct {
	packet      uint64
	client, any hash // of the server, as the client uses it and as any does
	changes     *atomic.Uint32
	entry
}

// New returns an empty Book for limit names of servers, at least 2, and as many for clients and for connections. Those learned
// longest ago give way.
func New(limit int) *Book {
	b := &Book{memory: memory{seed: maphash.MakeSeed()}, servers: newCache(limit), clients: newCache(limit)}
	for i := range b.ears {
		b.ears[i].memo = newMemo(limit / len(b.ears))
	}
	return b
}

// Hold lets what is told from now on wait for Settle, so that it does not matter which of several goroutines, of which each
// tells of parts of its own (see tcp.Part), is the first to come to a packet. A name takes 100 octets as long as it waits. That a
// server is called otherwise is not known to other parts meanwhile: what their connections repeat may be passed over. Release
// lets all take effect, and what is told later at once.
func (b *Book) Hold() { b.held.Store(true) }

// Release ends what Hold began.
func (b *Book) Release() {
	b.held.Store(false)
	b.Settle(math.MaxUint64)
}

// Settle lets what was told of packets before one, by number, take effect.
func (b *Book) Settle(before uint64) {
	var settled [tcp.NumParts]int // of what each ear has heard
	for i := range b.ears {
		b.ears[i].mu.Lock()
		defer b.ears[i].mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		next, packet := -1, before
		for i := range b.ears {
			if heard := b.ears[i].heard[settled[i]:]; len(heard) > 0 && heard[0].packet < packet {
				next, packet = i, heard[0].packet
			}
		}
		if next < 0 {
			break
		}
		b.settle(&b.ears[next].heard[settled[next]])
		settled[next]++
	}
	for i := range b.ears {
		b.ears[i].heard = slices.Delete(b.ears[i].heard, 0, settled[i])
	}
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
	here := "" // asked for first: whoever listens locks an ear before the book
	if client != (tcp.Addr{}) && port != 0 {
		here = b.inConnection(key{client, server, clientPort, port})
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	proxy := false
	if client != (tcp.Addr{}) {
		said := b.clients.get(b.hashOf(key{client: client, server: server, port: port}))
		if proxy = said.proxy; port != 0 && !proxy {
			if here != "" {
				return here
			}
			if said.name != "" {
				return said.name
			}
		}
		if e := b.clients.get(b.hashOf(key{client: client, server: server})); e.name != "" {
			return e.name
		}
	}
	if port != 0 && !proxy {
		if e := b.servers.get(b.hashOf(key{server: server, port: port})); e.name != "" {
			return e.name
		}
	}
	return b.servers.get(b.hashOf(key{server: server})).name
}

// inConnection returns what the server is called in a connection.
func (b *Book) inConnection(k key) string {
	e := &b.ears[tcp.PartOf(k.client.Lo^k.server.Lo^k.client.Hi^k.server.Hi, k.clientPort^k.port)]
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.memo.find(&k, b.hashOf(k)); w != nil {
		return w.name
	}
	return ""
}

// Segment learns from a TCP segment: payload is what was captured of what it carries. It does not allocate unless there is
// a name in it.
func (b *Book) Segment(seg *tcp.Segment, payload []byte) {
	if len(payload) == 0 || seg.DstPort == 0 {
		return
	}
	ear := &b.ears[seg.Part()]
	ear.mu.Lock()
	defer ear.mu.Unlock()
	changes := b.changes.of(seg.Dst, seg.DstPort)
	connection := key{seg.Src, seg.Dst, seg.SrcPort, seg.DstPort}
	w := what{connection: b.hashOf(connection), head: b.headOf(payload), moment: moment{seg.Time, changes.Load(), b.turns.Load()}}
	last := ear.memo.find(&connection, w.connection)
	holds := last != nil && last.holds(w.moment)
	if holds && last.head == w.head {
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
	if name = normal(buf[:0], name); len(name) == 0 && !proxy || last.tunnels() && !proxy {
		return
	}
	if proxy {
		name = nil
	}
	if holds && last.name == string(name) {
		last.head = w.head
		return
	}
	s := saying{
		packet: seg.Packet,
		client: b.hashOf(key{client: seg.Src, server: seg.Dst, port: seg.DstPort}), any: b.hashOf(key{server: seg.Dst, port: seg.DstPort}),
		changes: changes, entry: entry{time: seg.Time, proxy: proxy},
	}
	if !proxy {
		s.name = b.textOf(name, s.any)
	}
	ear.tell(b, s)
	w.name = s.name
	w.changes, w.turns = changes.Load(), b.turns.Load()
	ear.memo.note(&connection, last, w)
}

// Datagram learns from a UDP datagram from port 53 or 5353: payload is what was captured of what it carries.
func (b *Book) Datagram(seg *tcp.Segment, payload []byte) {
	var a answer
	if !a.parse(payload, seg.SrcPort == portMDNS) {
		return
	}
	ear := &b.ears[seg.Part()]
	ear.mu.Lock()
	defer ear.mu.Unlock()
	for _, found := range a.found[:a.n] {
		any := b.hashOf(key{server: found.addr})
		ear.tell(b, saying{
			packet: seg.Packet, client: b.hashOf(key{client: seg.Dst, server: found.addr}), any: any, changes: b.changes.of(found.addr, 0),
			entry: entry{name: b.textOf(found.name(), any), time: seg.Time},
		})
	}
}

// textOf returns the text of a name, which those who call a server by the same share.
func (b *Book) textOf(name []byte, server hash) string {
	b.mu.RLock()
	known := b.servers.get(server).name
	b.mu.RUnlock()
	if known != string(name) {
		return string(name)
	}
	return known
}

// tell settles what is said, or keeps it until it shall be.
func (e *ear) tell(b *Book, s saying) {
	if b.held.Load() {
		e.heard = append(e.heard, s)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle(&s)
}

// settle enters a name for a server and for one of its clients. b.mu is held.
func (b *Book) settle(s *saying) {
	// What this client says on connections to a proxy names the servers behind it.
	if kept := b.note(&b.clients, s.client, s); !kept.proxy {
		b.note(&b.servers, s.any, s)
	}
	b.learned.Store(true)
}

func (b *Book) note(c *cache, h hash, s *saying) entry {
	kept, changed, turned := c.put(h, s.entry)
	if changed {
		s.changes.Add(1)
	}
	if turned {
		b.turns.Add(1)
	}
	return kept
}
