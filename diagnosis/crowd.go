package diagnosis

import (
	"cmp"
	"slices"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// crowd is what only many connections show together: how a port treats those who ask, who asks everywhere, and what piles
// up. It is filled before any rule is asked.
type crowd struct {
	rules    *Rules
	now      int64
	first    int64 // start of the earliest connection
	ports    map[endpoint]*port
	pairs    map[pairKey]*pair
	attempts []attempt
	scans    map[tcp.Addr]*scan
	floods   map[endpoint]*flood
	lossy    bool // the capture is known to miss packets
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
	halfOpen   []span
	completed  []int64 // when handshakes began
	client     tcp.Addr
	clients    bool // there are others than client
	handshakes map[int64]*handshakes
}

// handshakes counts those whose ACK passed the capture within an overflowTime.
type handshakes struct{ acked, ignored int }

// span is a handshake that hangs, from the SYN-ACK until the server gives it up.
type span struct {
	from, to int64
	client   tcp.Addr
}

// pairKey is a client's address and the service that it uses.
type pairKey struct {
	client tcp.Addr
	server endpoint
}

// pair is the connections between a client and a service, in the order of their starts.
type pair struct{ lives []life }

// life is an open connection from its start; of what has not happened, the time is 0.
type life struct {
	id        uint64
	start     int64
	ends      [2]int64 // by role: when the end closed its socket, as far as the wire tells
	closeWait [2]int64 // by role: when it entered CLOSE_WAIT
	timeWait  int64    // when the client entered TIME_WAIT
	last      int64    // see spokeLast; 0 if silent since before the capture
	asking    bool     // the last payload was the client's: it has had no answer
}

// closed returns when the first of the two closed, 0 if neither has.
func (l *life) closed() int64 {
	if first := min(l.ends[0], l.ends[1]); first != 0 {
		return first
	}
	return max(l.ends[0], l.ends[1])
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

// flood is a port with many half-open handshakes at once.
type flood struct {
	peak      int
	start     int64
	end       int64 // of the last of them
	sources   int
	only      tcp.Addr // the source, if there is one
	completed int
}

func newCrowd(r *Rules, now int64) *crowd {
	return &crowd{
		rules: r, now: now, first: never, ports: make(map[endpoint]*port), pairs: make(map[pairKey]*pair),
		scans: make(map[tcp.Addr]*scan), floods: make(map[endpoint]*flood),
	}
}

// add takes in a connection. They come in the order of their starts.
func (w *crowd) add(c *tracker.Connection) {
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	w.first = min(w.first, c.Start)
	w.lossy = w.lossy || client.MissedBytes+server.MissedBytes > 0
	if source, ok := probes(c); ok {
		target := &c.Ends[source.Peer()]
		w.attempts = append(w.attempts, attempt{c.Ends[source].Addr, target.Addr, target.Port, c.Start})
		return
	}
	p := w.port(endpointOf(server))
	if c.Visibility != tracker.BothSides {
		return // what the unseen end has done is a guess
	}
	half := server.Facts.SYN.Seen() && !client.Facts.FirstACK.Seen() && c.Opened == tracker.Handshake
	switch {
	case half && server.State != tcp.SynRcvd && !server.GaveUp:
		return // the client reset it, or the capture missed the rest
	case half:
		p.halfOpen = append(p.halfOpen, span{server.Facts.SYN.Time, cmp.Or(gaveUp(server), w.now), client.Addr})
		return
	}
	p.completed = append(p.completed, c.Start)
	p.clients = p.clients || len(p.completed) > 1 && p.client != client.Addr
	p.client = client.Addr
	if server.Facts.SYN.Seen() && client.Facts.FirstACK.Seen() {
		p.acked(client.Facts.FirstACK.Time, ignoredTwice(c))
	}
	w.pair(pairKey{client.Addr, endpointOf(server)}).add(c)
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

func (w *crowd) pair(k pairKey) *pair {
	p := w.pairs[k]
	if p == nil {
		p = new(pair)
		w.pairs[k] = p
	}
	return p
}

// answers reports whether the port has answered a SYN, or was in use.
func (w *crowd) answers(e endpoint) bool { return w.ports[e] != nil }

// others reports whether the port has taken connections of others than client.
func (p *port) others(client tcp.Addr) bool { return p.clients || p.client != client }

func (p *port) acked(at int64, ignored bool) {
	if p.handshakes == nil {
		p.handshakes = make(map[int64]*handshakes)
	}
	h := p.handshakes[at/overflowTime]
	if h == nil {
		h = new(handshakes)
		p.handshakes[at/overflowTime] = h
	}
	h.acked++
	if ignored {
		h.ignored++
	}
}

// ignoredTwice reports whether the server of c has repeated its SYN-ACK although two segments had passed that complete the
// handshake: one may have been lost behind the capture.
func ignoredTwice(c *tracker.Connection) bool {
	client, server := &c.Ends[tracker.Client].Facts, &c.Ends[tracker.Server].Facts
	if c.Opened != tracker.Handshake || server.SYNs < 2 || !client.FirstACK.Seen() || server.SYNLast <= client.FirstACK.Time {
		return false
	}
	return server.SYNLast-client.FirstACK.Time > secondRepeat || client.DataSegments > 1 && client.DataLast < server.SYNLast
}

// queueOverflowed reports whether c found the accept queue of its server full. Where the path loses packets, it is a few of
// the handshakes of that time that are ignored twice: 2 % at 15 % loss, against most of them.
func (w *crowd) queueOverflowed(c *tracker.Connection) bool {
	at := c.Ends[tracker.Client].Facts.FirstACK.Time
	return ignoredTwice(c) && w.overflowed(endpointOf(&c.Ends[tracker.Server]), at, at)
}

// overflowed reports whether the accept queue of e was full at some time from from to to.
func (w *crowd) overflowed(e endpoint, from, to int64) bool {
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

func (p *pair) add(c *tracker.Connection) {
	l := life{id: c.ID, start: c.Start, last: spokeLast(c)}
	reset := int64(0)
	for _, e := range c.Ends {
		if at := e.Facts.RSTFirst; at.Seen() && (reset == 0 || at.Time < reset) && e.State == tcp.Closed {
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
		if closer := c.ClosedFirst; closer == [...]tracker.ClosedFirst{tracker.ServerClosed, tracker.ClientClosed}[role] && e.State != tcp.Established && !mayHaveClosed(c, e) {
			l.closeWait[role] = max(c.Ends[1-role].Facts.FIN.Time, 1)
		}
	}
	l.asking = c.Ends[tracker.Client].Facts.DataLast > c.Ends[tracker.Server].Facts.DataLast
	if c.Opened == tracker.Midstream {
		l.start = 0 // before the capture
		l.last = max(c.Ends[tracker.Client].Facts.DataLast, c.Ends[tracker.Server].Facts.DataLast)
	}
	if c.ClosedFirst == tracker.ClientClosed && c.EndedBy == tracker.EndedByFIN {
		l.timeWait = c.Ends[tracker.Server].Facts.FIN.Time
	}
	p.lives = append(p.lives, l)
}

// spokeLast returns when either end of c last sent payload, or when the handshake was complete: keep-alives say nothing.
func spokeLast(c *tracker.Connection) int64 {
	client, server := &c.Ends[tracker.Client].Facts, &c.Ends[tracker.Server].Facts
	return max(c.Start, client.FirstACK.Time, client.DataLast, server.DataLast)
}

// judge finds the scans and the floods, which explain what is wrong with single connections.
func (w *crowd) judge() {
	w.findScans()
	for e, p := range w.ports {
		if f := p.flood(w.rules.thresholds[SYNFlood].Count); f != nil {
			w.floods[e] = f
		}
	}
}

func (w *crowd) findScans() {
	slices.SortStableFunc(w.attempts, func(a, b attempt) int {
		return cmp.Or(compareAddr(a.source, b.source), cmp.Compare(a.start, b.start))
	})
	most := [2]int{w.rules.thresholds[PortScan].Count, w.rules.thresholds[HostScan].Count}
	for i := 0; i < len(w.attempts); {
		end := i + 1
		for end < len(w.attempts) && w.attempts[end].source == w.attempts[i].source {
			end++
		}
		if run := w.attempts[i:end]; len(run) >= min(most[0], most[1]) {
			if s := scanned(run, most[0], most[1]); s != nil {
				w.scans[run[0].source] = s
			}
		}
		i = end
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

// flood returns the flood of half-open handshakes at p: count or more at once, and more than those that completed meanwhile.
func (p *port) flood(count int) *flood {
	if len(p.halfOpen) < count {
		return nil
	}
	var ends []int64
	for _, s := range p.halfOpen {
		ends = append(ends, s.to)
	}
	slices.Sort(ends)
	f := &flood{}
	over, peakAt := 0, int64(0)
	for i, s := range p.halfOpen {
		for over < len(ends) && ends[over] < s.from {
			over++
		}
		if n := i + 1 - over; n > f.peak {
			f.peak, peakAt = n, s.from
		}
	}
	f.start = p.halfOpen[0].from
	sources := make(map[tcp.Addr]struct{})
	for _, s := range p.halfOpen {
		sources[s.client] = struct{}{}
		f.end = max(f.end, s.to)
	}
	for _, at := range p.completed {
		if f.start <= at && at <= peakAt {
			f.completed++
		}
	}
	if f.peak < count || f.peak <= f.completed {
		return nil
	}
	f.sources = len(sources)
	if f.sources == 1 {
		f.only = p.halfOpen[0].client
	}
	return f
}

// scanOf returns the key of the scan that explains c, if there is one.
func (w *crowd) scanOf(c *tracker.Connection) (key, bool) {
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

// floodOf returns the key of the flood that c is part of, if there is one.
func (w *crowd) floodOf(c *tracker.Connection) (key, bool) {
	server := &c.Ends[tracker.Server]
	if w.floods[endpointOf(server)] == nil || !server.Facts.SYN.Seen() || c.Ends[tracker.Client].Facts.FirstACK.Seen() {
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
