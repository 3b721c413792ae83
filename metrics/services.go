package metrics

import (
	"net/netip"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

const (
	otherService = "other" // all that have no place
	noService    = "none"  // a finding that is not about one service

	// keepIdle is how long a place is kept for a key that is not used.
	keepIdle = int64(time.Hour)
	// countShare bounds what a pass over the connections may cost: a fiftieth of the time.
	countShare = 50
	// countAlone is how many connections one goroutine looks at: a pass over more is shared, as the capture waits for it.
	countAlone = 20_000
	// maxLabel is the length of a label value, in octets, that comes from outside.
	maxLabel = 100
)

// service is the address and port of a server.
type service struct {
	addr tcp.Addr
	port uint16
}

func serviceOf(a netip.AddrPort) service { return service{tcp.AddrFromNetip(a.Addr()), a.Port()} }

func (s service) String() string { return netip.AddrPortFrom(s.addr.Netip(), s.port).String() }

// serviceClient is one of the hosts that use a service.
type serviceClient struct {
	service service
	client  tcp.Addr
}

// figures are what is counted for a service, by role where there are two. The totals last; the rest is of one pass.
type figures struct {
	states     [tcp.NumStates][2]uint32
	closeWait  [2]int64 // since when the oldest is in CLOSE_WAIT, ns since 1970; 0 if none is
	handshakes []time.Duration

	resent, resets [2]uint64
}

// add adds what one part of a pass has counted.
func (f *figures) add(part *figures) {
	for state := range f.states {
		for role := range f.states[state] {
			f.states[state][role] += part.states[state][role]
		}
	}
	for role := range f.closeWait {
		f.closeWait[role] = older(f.closeWait[role], part.closeWait[role])
		f.resent[role] += part.resent[role]
		f.resets[role] += part.resets[role]
	}
}

// older returns the earlier of two times of which 0 is none.
func older(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// resent is how many segments the ends of a connection have sent again, as far as they are counted. Those that have sent none
// again, nearly all, are not listed.
type resent struct {
	id   uint64
	ends [2]uint32
}

// counted is what a pass found, for scrapes: it does not change.
type counted struct {
	at       time.Time
	took     time.Duration
	services []countedService
	clients  []countedClient
}

type countedService struct {
	name string
	figures
	oldest [2]time.Duration // in CLOSE_WAIT
}

type countedClient struct {
	service, client string
	connections     int
}

// proves reports whether c shows that its server is a service, and not only an address and port that somebody tried. A SYN-ACK
// alone proves nothing: it may answer a SYN that a third party sent with a forged source.
func proves(c *tracker.Connection) bool {
	client, server := &c.Ends[tracker.Client].Facts, &c.Ends[tracker.Server].Facts
	goesOn := func(f *tracker.Facts) bool { return f.FirstACK.Seen() && !f.FirstACK.Flags.Any(tcp.RST) }
	switch {
	case client.SYN.Seen() && server.SYN.Seen():
		return true
	case client.SYN.Seen():
		return c.Visibility == tracker.ClientOnly && goesOn(client) && c.Ends[tracker.Client].PayloadBytes > 0
	case server.SYN.Seen():
		return c.Visibility == tracker.ServerOnly && goesOn(server) && c.Ends[tracker.Server].PayloadBytes > 0
	}
	// Last leaves out RSTs, which answer an ACK out of nowhere.
	return client.Last.Seen() && server.Last.Seen()
}

// usedAt is when c last used its service: now, as long as it is open.
func usedAt(c *tracker.Connection, now int64) int64 {
	if c.EndedBy == tracker.NotEnded && (c.Ends[tracker.Client].State.Open() || c.Ends[tracker.Server].State.Open()) {
		return now
	}
	return min(c.Last, now)
}

// A tally is what one goroutine counts in a pass.
type tally struct {
	m   *Metrics
	now int64

	known   []figures // by place; the last is of all that have none
	used    []int64
	found   []newcomer // in the order of the connections' IDs
	at      map[service]int
	clients map[serviceClient]int
	resent  []resent
	packet  uint64
}

// newcomer is a service that has no place yet.
type newcomer struct {
	service service
	used    int64
	figures figures
}

// count makes a pass over all connections.
func (m *Metrics) count(a *diagnosis.Analysis, now int64) {
	n := a.Counts.Connections
	workers := min(runtime.GOMAXPROCS(0), n/countAlone+1)
	tallies := make([]*tally, workers)
	var wait sync.WaitGroup
	for i := range tallies {
		t := &tally{
			m: m, now: now, packet: m.packet, at: make(map[service]int), clients: make(map[serviceClient]int),
			known: make([]figures, m.services.max+1), used: make([]int64, m.services.max+1),
		}
		tallies[i] = t
		wait.Go(func() { t.pass(a, n*i/workers, n*(i+1)/workers) })
	}
	wait.Wait()
	m.merge(tallies, now)
}

// pass counts the connections from one number up to another.
func (t *tally) pass(a *diagnosis.Analysis, from, to int) {
	before := t.m.resent
	first := true
	for c := range a.Connections(from, to) {
		if first {
			i := sort.Search(len(before), func(i int) bool { return before[i].id >= c.ID })
			before, first = before[i:], false
		}
		for len(before) > 0 && before[0].id < c.ID {
			before = before[1:]
		}
		f := t.figures(c)
		t.connection(f, c)
		now := [2]uint32{saturate(c.Ends[0].Retransmitted), saturate(c.Ends[1].Retransmitted)}
		if now == ([2]uint32{}) {
			continue
		}
		var then [2]uint32
		if len(before) > 0 && before[0].id == c.ID {
			then = before[0].ends
		}
		for role := range now {
			// Fewer than before: late evidence has shown that roles are the other way round, or that they were not sent again.
			now[role] = max(now[role], then[role])
			f.resent[role] += uint64(now[role] - then[role])
		}
		t.resent = append(t.resent, resent{c.ID, now})
	}
}

func saturate(n uint64) uint32 { return uint32(min(n, 1<<32-1)) }

// figures returns where c is to be counted.
func (t *tally) figures(c *tracker.Connection) *figures {
	s := service{c.Ends[tracker.Server].Addr, c.Ends[tracker.Server].Port}
	used := usedAt(c, t.now)
	if at := t.m.services.find(s); at < t.m.services.max {
		t.used[at] = max(t.used[at], used)
		return &t.known[at]
	}
	at, ok := t.at[s]
	switch {
	case ok:
	case len(t.found) < t.m.services.room() && used >= t.now-keepIdle && proves(c):
		at = len(t.found)
		t.found = append(t.found, newcomer{service: s})
		t.at[s] = at
	default:
		return &t.known[t.m.services.max]
	}
	t.found[at].used = max(t.found[at].used, used)
	return &t.found[at].figures
}

// connection counts c in f.
func (t *tally) connection(f *figures, c *tracker.Connection) {
	for role := range c.Ends {
		e := &c.Ends[role]
		f.states[e.State][role]++
		if e.State == tcp.CloseWait && e.Since > 0 {
			f.closeWait[role] = older(f.closeWait[role], e.Since)
		}
		// Packets are numbered as they are read: what has a later number than any before has happened since.
		if rst := e.Facts.RSTFirst; rst.Packet > t.m.packet {
			f.resets[role]++
			t.packet = max(t.packet, rst.Packet)
		}
	}
	ack := c.Ends[tracker.Client].Facts.FirstACK
	if c.HandshakeRTT > 0 && ack.Packet > t.m.packet && !ack.Flags.Any(tcp.RST) {
		f.handshakes = append(f.handshakes, time.Duration(c.HandshakeRTT))
		t.packet = max(t.packet, ack.Packet)
	}
	if t.m.cfg.ByRemote && usedAt(c, t.now) == t.now && proves(c) {
		k := serviceClient{service{c.Ends[tracker.Server].Addr, c.Ends[tracker.Server].Port}, c.Ends[tracker.Client].Addr}
		if _, ok := t.clients[k]; !ok && t.m.clients.find(k) == t.m.clients.max && len(t.clients) >= 2*t.m.clients.max {
			k = serviceClient{} // others
		}
		t.clients[k]++
	}
}

// merge puts together what was counted.
func (m *Metrics) merge(tallies []*tally, now int64) {
	for at := range m.figures {
		f := &m.figures[at]
		f.states, f.closeWait = [tcp.NumStates][2]uint32{}, [2]int64{}
	}
	m.resent = m.resent[:0]
	add := func(at int, part *figures) {
		m.figures[at].add(part)
		if len(part.handshakes) == 0 {
			return
		}
		histogram := m.handshakes.WithLabelValues(m.serviceAt(at))
		for _, took := range part.handshakes {
			histogram.Observe(took.Seconds())
		}
	}
	for _, t := range tallies {
		for at := range t.known {
			if at < m.services.max && t.used[at] > 0 {
				m.services.take(m.services.held[at].key, t.used[at])
			}
			add(at, &t.known[at])
		}
		for i := range t.found {
			n := &t.found[i]
			add(m.admit(n.service, n.used), &n.figures)
		}
		m.resent = append(m.resent, t.resent...)
		m.packet = max(m.packet, t.packet)
	}
	m.services.clear(now-keepIdle, m.forget)
	m.counted = &counted{services: m.countedServices(now), clients: m.countedClients(tallies, now)}
}

// admit gives s a place, if there is one.
func (m *Metrics) admit(s service, used int64) int {
	at := m.services.take(s, used)
	if at < m.services.max {
		m.handshakes.WithLabelValues(s.String())
	}
	return at
}

// forget ends the series of a service that has lost its place.
func (m *Metrics) forget(at int, s service) {
	m.figures[at] = figures{}
	name := s.String()
	m.handshakes.DeleteLabelValues(name)
	for labels := range m.raised {
		if labels.service == name {
			delete(m.raised, labels)
		}
	}
}

// serviceAt names the service at a place.
func (m *Metrics) serviceAt(at int) string {
	if at >= m.services.max {
		return otherService
	}
	return m.services.held[at].key.String()
}

func (m *Metrics) countedServices(now int64) []countedService {
	all := make([]countedService, 0, len(m.services.of)+1)
	add := func(at int) {
		s := countedService{name: m.serviceAt(at), figures: m.figures[at]}
		for role, since := range s.closeWait {
			if since != 0 {
				s.oldest[role] = time.Duration(max(now-since, 0))
			}
		}
		all = append(all, s)
	}
	for at := range m.services.held {
		if m.services.held[at].held {
			add(at)
		}
	}
	add(m.services.max)
	return all
}

func (m *Metrics) countedClients(tallies []*tally, now int64) []countedClient {
	if !m.cfg.ByRemote {
		return nil
	}
	connections := make(map[serviceClient]int)
	for _, t := range tallies {
		for k, n := range t.clients {
			connections[k] += n
		}
	}
	// In an order of their own: which come first, and get the last places, must not be by chance.
	keys := make([]serviceClient, 0, len(connections))
	for k := range connections {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareClients)
	others := 0
	for _, k := range keys {
		if k == (serviceClient{}) || m.services.find(k.service) == m.services.max || m.clients.take(k, now) == m.clients.max {
			others += connections[k]
		}
	}
	m.clients.clear(now-keepIdle, func(int, serviceClient) {})
	all := make([]countedClient, 0, len(m.clients.of)+1)
	for _, h := range m.clients.held {
		if h.held && m.services.find(h.key.service) < m.services.max {
			all = append(all, countedClient{h.key.service.String(), h.key.client.String(), connections[h.key]})
		}
	}
	return append(all, countedClient{otherService, otherService, others})
}

func compareClients(a, b serviceClient) int {
	switch {
	case a == b:
		return 0
	case a.service.addr != b.service.addr && a.service.addr.Less(b.service.addr),
		a.service.addr == b.service.addr && a.service.port < b.service.port,
		a.service == b.service && a.client.Less(b.client):
		return -1
	}
	return 1
}

// label makes a label value of a text from outside: UTF-8, as Prometheus insists on, and not long.
func label(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxLabel)], "�")
}
