package diagnosis

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// crowd is what only many connections show together: how a port treats those who ask, who asks everywhere, and what piles
// up. It is filled before any rule is asked: first, from every connection, with what costs next to nothing; then, from those
// that may be too many, with the rest.
type crowd struct {
	rules *Rules
	now   int64
	first int64 // start of the earliest connection
	lossy bool  // the capture is known to miss packets
	// forgotten is how many connections that never completed were evicted.
	forgotten uint64
	ports     map[endpoint]*port

	attempts      sketch // by source, see probes
	asks          sketch // by service: SYNs that were neither answered nor repeated
	waits, shorts sketch // by pair: TIME_WAIT at the client, short connections
	lefts         sketch // by pair: what may be left behind, see leak

	scans  map[tcp.Addr]*scan
	floods map[endpoint]*flood
	piles  map[pairKey]*pile
}

// Times that a crowd is judged by.
const (
	scanWindow   = int64(60 * time.Second)
	churnWindow  = int64(10 * time.Second)
	shortLife    = int64(10 * time.Second) // of a connection that a pool would have saved
	timeWait     = int64(60 * time.Second) // TCP_TIMEWAIT_LEN of Linux
	overflowTime = int64(10 * time.Second) // how long a full accept queue is told from lost ACKs
	secondRepeat = int64(2500 * time.Millisecond)
)

// port is a server's address and port that has answered a SYN, or was seen in an open connection.
type port struct {
	completed  int   // handshakes, or connections that were open
	lastStart  int64 // of the last of them
	client     tcp.Addr
	clients    bool // there are others than client
	slot       int64
	slotted    *handshakes // those of slot
	handshakes map[int64]*handshakes

	halfOpen int   // handshakes that hang
	left     int   // connections that may have been left behind
	leavable int   // those, and the ones that may be once they have been silent for longer
	began    int64 // the last time that a connection opened or entered CLOSE_WAIT, ns since 1970; 0 if all were before the capture
	lived    int   // connections of which the search for leaks must know, by one goroutine
	lives    []life
}

// handshakes counts those whose ACK passed the capture within an overflowTime.
type handshakes struct{ acked, ignored int }

// span is a handshake that hangs, from the SYN-ACK until the server gives it up, or never if it has not.
type span struct {
	from, to int64
	client   tcp.Addr
}

func spanOf(c *tracker.Connection) span {
	server := &c.Ends[tracker.Server]
	return span{server.Facts.SYN.Time, cmp.Or(gaveUp(server), never), c.Ends[tracker.Client].Addr}
}

// pairKey is a client's address and the service that it uses.
type pairKey struct {
	client tcp.Addr
	server endpoint
}

func (k pairKey) hash() uint64 { return maphash.Comparable(hashSeed, k) }

func (e endpoint) hash() uint64 { return maphash.Comparable(hashSeed, e) }

func hashOf(a tcp.Addr) uint64 { return maphash.Comparable(hashSeed, a) }

// pile is the connections between a client and a service, in the order of their IDs.
type pile struct {
	ids    []uint64
	starts []int64 // 0 if before the capture
	waits  []int64 // when the client entered TIME_WAIT
	shorts []int64 // starts of those that were short
}

func (p *pile) add(c *tracker.Connection, l *life) {
	p.ids, p.starts = append(p.ids, c.ID), append(p.starts, l.start)
	if closedFirst(c) {
		p.waits = append(p.waits, c.Ends[tracker.Server].Facts.FIN.Time)
	}
	if l.short() {
		p.shorts = append(p.shorts, l.start)
	}
}

func (p *pile) merge(o *pile) {
	p.ids, p.starts = append(p.ids, o.ids...), append(p.starts, o.starts...)
	p.waits, p.shorts = append(p.waits, o.waits...), append(p.shorts, o.shorts...)
}

// life is an open connection from its start; of what has not happened, the time is 0.
type life struct {
	start  int64    // 0 if before the capture
	last   int64    // see spokeLast; 0 if silent since before the capture
	ends   [2]int64 // by role: when the end closed its socket, as far as the wire tells
	client uint64   // hash of the client's address
	number uint32   // of the connection
	waits  [2]bool  // by role: it entered CLOSE_WAIT
	asking bool     // the last payload was the client's: it has had no answer
	piled  bool     // many of the client's connections may have been left behind
}

// closed returns when the first of the two closed, 0 if neither has.
func (l *life) closed() int64 {
	if first := min(l.ends[0], l.ends[1]); first != 0 {
		return first
	}
	return max(l.ends[0], l.ends[1])
}

// closeWait returns when the end entered CLOSE_WAIT, 0 if it did not.
func (l *life) closeWait(role tracker.Role) int64 {
	if !l.waits[role] {
		return 0
	}
	return max(l.ends[role.Peer()], 1)
}

// short reports whether it is a connection that a pool would have saved.
func (l *life) short() bool {
	end := l.ends[tracker.Client]
	return l.start != 0 && end != 0 && end-l.start < shortLife
}

// attempt is a connection that somebody tried to open, and did not get.
type attempt struct {
	source, host tcp.Addr
	port         uint16
	start        int64
}

// scan is a source that asks for many ports of a host, or for many hosts.
type scan struct {
	hosts      map[tcp.Addr]int // ports of each host that was scanned
	manyHosts  bool
	asked      int // hosts within a minute, at most
	start, end int64
}

// flood is a port with many half-open handshakes at once, or with very many SYNs that it does not answer.
type flood struct {
	spans     []span
	asked     bool // it does not answer; peak is of SYNs within an askedWindow, and repeated, of others that were sent again
	repeated  int
	peak      int
	start     int64
	peakAt    int64
	end       int64 // of the last of them, or never
	sources   int
	only      tcp.Addr     // the source, if there is one
	completed atomic.Int64 // handshakes that began between start and peakAt
}

// newCrowd returns the crowd of n connections at most.
func newCrowd(r *Rules, now int64, n int) *crowd {
	return &crowd{
		rules: r, now: now, first: never, ports: make(map[endpoint]*port),
		attempts: newSketch(n, r.leastAttempts()),
		asks:     newSketch(n, askedTimes*r.thresholds[SYNFlood].Count),
		waits:    newSketch(n, r.thresholds[TimeWaitPressure].Count),
		shorts:   newSketch(n, r.churnLimit()),
		lefts:    newSketch(n, r.thresholds[Leak].Count),
	}
}

// leastAttempts is how many attempts of one source may be a scan.
func (r *Rules) leastAttempts() int {
	return min(r.thresholds[PortScan].Count, r.thresholds[HostScan].Count)
}

// churnLimit is how many short connections within a churnWindow are churn.
func (r *Rules) churnLimit() int {
	return r.thresholds[Churn].Count * int(churnWindow/int64(time.Second))
}

// sorts of connections, as a crowd sees them.
type sort uint8

const (
	attempted sort = iota // see probes
	obscure               // one direction was not captured, or the client has reset the handshake
	hanging               // the handshake is half-open
	completed
)

// sortOf returns the sort of c, and the end that attempted it.
func sortOf(c *tracker.Connection) (sort, tracker.Role) {
	if source, ok := probes(c); ok {
		return attempted, source
	}
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	half := server.Facts.SYN.Seen() && !client.Facts.FirstACK.Seen() && c.Opened == tracker.Handshake
	switch {
	case c.Visibility != tracker.BothSides:
		return obscure, 0 // what the unseen end has done is a guess
	case half && server.State != tcp.SynRcvd && !server.GaveUp:
		return obscure, 0 // the client reset it, or the capture missed the rest
	case half:
		return hanging, 0
	}
	return completed, 0
}

// add takes in a connection, and reports whether it may be part of a scan or a flood. They come in the order of their starts.
func (w *crowd) add(c *tracker.Connection) bool {
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	w.first = min(w.first, c.Start)
	w.lossy = w.lossy || client.MissedBytes+server.MissedBytes > 0
	sort, source := sortOf(c)
	if sort == attempted {
		w.attempts.add(hashOf(c.Ends[source].Addr))
		if _, once := unanswered(c); once {
			w.asks.add(endpointOf(server).hash())
		}
		return true
	}
	p := w.port(endpointOf(server))
	switch sort {
	case hanging:
		p.halfOpen++
	case completed:
		p.complete(c)
		l := lifeOf(c)
		waits, short, left := closedFirst(c), l.short(), l.mayBeLeft(w.now)
		if l.matters(w.now) {
			p.lived++
		}
		if l.leavable() {
			p.leavable++
		}
		p.began = max(p.began, l.start, l.closeWait(tracker.Client), l.closeWait(tracker.Server))
		if !waits && !short && !left {
			break
		}
		hash := pairOf(c).hash()
		if waits {
			w.waits.add(hash)
		}
		if short {
			w.shorts.add(hash)
		}
		if left {
			p.left++
			w.lefts.add(hash)
		}
	}
	return hangs(c)
}

// merge adds what o has seen of the connections after those of w.
func (w *crowd) merge(o *crowd) {
	w.first, w.lossy = min(w.first, o.first), w.lossy || o.lossy
	w.attempts.merge(&o.attempts)
	w.asks.merge(&o.asks)
	w.waits.merge(&o.waits)
	w.shorts.merge(&o.shorts)
	w.lefts.merge(&o.lefts)
	for e, p := range o.ports {
		w.port(e).merge(p)
	}
}

// merge adds what o has seen after p, but for lived.
func (p *port) merge(o *port) {
	if o.completed > 0 {
		p.clients = p.clients || o.clients || p.completed > 0 && p.client != o.client
		p.client, p.lastStart = o.client, o.lastStart
	}
	p.completed += o.completed
	p.halfOpen += o.halfOpen
	p.left += o.left
	p.leavable += o.leavable
	p.began = max(p.began, o.began)
	for at, h := range o.handshakes {
		q := p.at(at)
		q.acked += h.acked
		q.ignored += h.ignored
	}
}

func pairOf(c *tracker.Connection) pairKey {
	return pairKey{c.Ends[tracker.Client].Addr, endpointOf(&c.Ends[tracker.Server])}
}

// closedFirst reports whether the client of c has closed first, so that it is it that waits in TIME_WAIT.
func closedFirst(c *tracker.Connection) bool {
	return c.ClosedFirst == tracker.ClientClosed && c.EndedBy == tracker.EndedByFIN && c.Ends[tracker.Server].Facts.FIN.Time != 0
}

// probes reports whether c is an attempt that was not answered, or refused: a SYN, or a lone segment as scanners send it.
func probes(c *tracker.Connection) (source tracker.Role, is bool) {
	switch c.Opened {
	case tracker.Refused, tracker.Unanswered:
		return tracker.Client, true
	case tracker.Midstream:
		for role := range tracker.Server + 1 {
			x, y := &c.Ends[role], &c.Ends[role.Peer()]
			lone := y.Packets == 0 || y.Packets == 1 && y.Facts.RST.Seen()
			if lone && x.Packets <= 2 && x.PayloadBytes == 0 && (x.Odd[tracker.InvalidFlags].Count > 0 || y.Packets == 1 && !x.Facts.FIN.Seen() && !x.Facts.RST.Seen()) {
				return role, true
			}
		}
	}
	return 0, false
}

func (w *crowd) port(e endpoint) *port {
	p := w.ports[e]
	if p == nil {
		p = new(port)
		w.ports[e] = p
	}
	return p
}

// answers reports whether the port has answered a SYN, or was in use.
func (w *crowd) answers(e endpoint) bool { return w.ports[e] != nil }

// others reports whether the port has taken connections of others than client.
func (p *port) others(client tcp.Addr) bool { return p.clients || p.client != client }

func (p *port) complete(c *tracker.Connection) {
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	p.clients = p.clients || p.completed > 0 && p.client != client.Addr
	p.completed++
	p.client, p.lastStart = client.Addr, c.Start
	if !server.Facts.SYN.Seen() || !client.Facts.FirstACK.Seen() {
		return
	}
	h := p.at(client.Facts.FirstACK.Time / overflowTime)
	h.acked++
	if ignoredTwice(c) {
		h.ignored++
	}
}

// at returns the handshakes of a slot of overflowTime.
func (p *port) at(slot int64) *handshakes {
	if p.slotted != nil && p.slot == slot {
		return p.slotted
	}
	h := p.handshakes[slot]
	if h == nil {
		h = new(handshakes)
		if p.handshakes == nil {
			p.handshakes = make(map[int64]*handshakes)
		}
		p.handshakes[slot] = h
	}
	p.slot, p.slotted = slot, h
	return h
}

// ignoredTwice reports whether the server of c has repeated its SYN-ACK although two segments had passed that complete the
// handshake: one may have been lost behind the capture. A single late repetition is that of a server with TCP_DEFER_ACCEPT,
// which has taken the ACK and waits for data: without the ACK it would have repeated after a second or three.
func ignoredTwice(c *tracker.Connection) bool {
	client, server := &c.Ends[tracker.Client].Facts, &c.Ends[tracker.Server].Facts
	if c.Opened != tracker.Handshake || server.SYNs < 2 || !client.FirstACK.Seen() || server.SYNLast <= client.FirstACK.Time {
		return false
	}
	return server.SYNs > 2 && server.SYNLast-client.FirstACK.Time > secondRepeat || client.DataSegments > 1 && client.DataLast < server.SYNLast
}

// queueOverflowed reports whether c found the accept queue of its server full. Where the path loses packets, it is a few of
// the handshakes of that time that are ignored twice: 2 % at 15 % loss, against most of them.
func (w *crowd) queueOverflowed(c *tracker.Connection) bool {
	at := c.Ends[tracker.Client].Facts.FirstACK.Time
	return ignoredTwice(c) && w.overflowed(endpointOf(&c.Ends[tracker.Server]), at, at)
}

// overflowed reports whether the accept queue of e was full at some time from from to to. A nil crowd knows nothing, and says
// of everything that it may be.
func (w *crowd) overflowed(e endpoint, from, to int64) bool {
	if w == nil {
		return true
	}
	const share = 10
	p := w.ports[e]
	if p == nil {
		return false
	}
	for i := from / overflowTime; i <= min(to/overflowTime, from/overflowTime+10); i++ {
		if h := p.handshakes[i]; h != nil && h.ignored > 0 && h.ignored*share >= h.acked {
			return true
		}
	}
	return false
}

// missesPackets reports whether the capture is known to miss packets.
func (w *crowd) missesPackets() bool { return w != nil && w.lossy }

func lifeOf(c *tracker.Connection) life {
	l := life{start: c.Start, last: spokeLast(c)}
	reset := int64(0)
	for role := range c.Ends {
		e := &c.Ends[role]
		if at := &e.Facts.RSTFirst; at.Seen() && (reset == 0 || at.Time < reset) && e.State == tcp.Closed {
			reset = at.Time
		}
	}
	for role := range c.Ends {
		e := &c.Ends[role]
		l.ends[role] = reset
		switch {
		case e.Facts.FIN.Seen():
			l.ends[role] = e.Facts.FIN.Time
		case reset == 0 && e.State == tcp.Closed:
			l.ends[role] = max(e.Since, 1)
		}
		closer := [...]tracker.ClosedFirst{tracker.ServerClosed, tracker.ClientClosed}[role]
		l.waits[role] = c.ClosedFirst == closer && e.State != tcp.Established && !mayHaveClosed(c, e)
	}
	l.asking = c.Ends[tracker.Client].Facts.DataLast > c.Ends[tracker.Server].Facts.DataLast
	if c.Opened == tracker.Midstream {
		l.start = 0 // before the capture
		l.last = max(c.Ends[tracker.Client].Facts.DataLast, c.Ends[tracker.Server].Facts.DataLast)
	}
	return l
}

// spokeLast returns when either end of c last sent payload, or when the handshake was complete: keep-alives say nothing.
func spokeLast(c *tracker.Connection) int64 {
	client, server := &c.Ends[tracker.Client].Facts, &c.Ends[tracker.Server].Facts
	return max(c.Start, client.FirstACK.Time, client.DataLast, server.DataLast)
}

// findScans looks for scans among attempts, in the order of their IDs, all of those of a source.
func (w *crowd) findScans(attempts []attempt) {
	most := [2]int{w.rules.thresholds[PortScan].Count, w.rules.thresholds[HostScan].Count}
	bySource := make(map[tcp.Addr][]attempt)
	for _, a := range attempts {
		bySource[a.source] = append(bySource[a.source], a)
	}
	w.scans = make(map[tcp.Addr]*scan)
	for source, run := range bySource {
		if len(run) < min(most[0], most[1]) {
			continue
		}
		byStart := func(a, b attempt) int { return cmp.Compare(a.start, b.start) }
		if !slices.IsSortedFunc(run, byStart) {
			slices.SortStableFunc(run, byStart)
		}
		if s := scanned(run, most[0], most[1]); s != nil {
			w.scans[source] = s
		}
	}
}

func compareAddr(a, b tcp.Addr) int { return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo)) }

// scanned looks for scans among the attempts of one source, in the order of time.
func scanned(run []attempt, ports, hosts int) *scan {
	type target struct {
		host tcp.Addr
		port uint16
	}
	targets, perHost := make(map[target]int), make(map[tcp.Addr]int)
	s := &scan{hosts: make(map[tcp.Addr]int), start: run[0].start, end: run[len(run)-1].start}
	first := 0
	for _, a := range run {
		for ; run[first].start < a.start-scanWindow; first++ {
			t := target{run[first].host, run[first].port}
			if targets[t]--; targets[t] == 0 {
				delete(targets, t)
				if perHost[t.host]--; perHost[t.host] == 0 {
					delete(perHost, t.host)
				}
			}
		}
		t := target{a.host, a.port}
		if targets[t]++; targets[t] == 1 {
			perHost[a.host]++
		}
		if n := perHost[a.host]; n >= ports {
			s.hosts[a.host] = max(s.hosts[a.host], n)
		}
		s.asked = max(s.asked, len(perHost))
	}
	s.manyHosts = s.asked >= hosts
	if !s.manyHosts && len(s.hosts) == 0 {
		return nil
	}
	return s
}

// measure fills in f from its spans, and reports whether there are count of them or more at once.
func (f *flood) measure(count int) bool {
	ends := make([]int64, len(f.spans))
	for i, s := range f.spans {
		ends[i] = s.to
	}
	slices.Sort(ends)
	over := 0
	for i, s := range f.spans {
		for over < len(ends) && ends[over] < s.from {
			over++
		}
		if n := i + 1 - over; n > f.peak {
			f.peak, f.peakAt = n, s.from
		}
	}
	if len(f.spans) == 0 || f.peak < count {
		return false
	}
	f.start = f.spans[0].from
	sources := make(map[tcp.Addr]struct{})
	for _, s := range f.spans {
		sources[s.client] = struct{}{}
		f.end = max(f.end, s.to)
	}
	if f.sources = len(sources); f.sources == 1 {
		f.only = f.spans[0].client
	}
	f.spans = nil
	return true
}

// scanOf returns the key of the scan that explains c, if there is one.
func (w *crowd) scanOf(c *tracker.Connection) (key, bool) {
	if len(w.scans) == 0 {
		return key{}, false
	}
	source, ok := probes(c)
	if !ok {
		return key{}, false
	}
	from, host := c.Ends[source].Addr, c.Ends[source.Peer()].Addr
	s := w.scans[from]
	switch {
	case s == nil:
		return key{}, false
	case s.manyHosts:
		return key{kind: HostScan, role: tracker.Client, addr: from}, true
	case s.hosts[host] > 0:
		return key{kind: PortScan, role: tracker.Client, addr: from, service: endpoint{addr: host}}, true
	}
	return key{}, false
}

// hangs reports whether c may be part of a flood.
func hangs(c *tracker.Connection) bool {
	return c.Ends[tracker.Server].Facts.SYN.Seen() && !c.Ends[tracker.Client].Facts.FirstACK.Seen()
}

// floodOf returns the key of the flood that c is part of, if there is one.
func (w *crowd) floodOf(c *tracker.Connection) (key, bool) {
	server := &c.Ends[tracker.Server]
	if len(w.floods) == 0 {
		return key{}, false
	}
	f := w.floods[endpointOf(server)]
	if f == nil || !f.asked && !hangs(c) {
		return key{}, false
	}
	if _, once := unanswered(c); f.asked && !once {
		return key{}, false
	}
	return key{kind: SYNFlood, role: tracker.Client, service: endpointOf(server)}, true
}

// peak returns how many of the times lie within a window at most, where that begins, and the last time that a window with at
// least the limit ends. It sorts them.
func peak(times []int64, window int64, limit int) (most int, from, last int64) {
	slices.Sort(times)
	first := 0
	for i, t := range times {
		for times[first] < t-window {
			first++
		}
		n := i + 1 - first
		if n > most {
			most, from = n, times[first]
		}
		if n >= limit {
			last = t
		}
	}
	return most, from, last
}
