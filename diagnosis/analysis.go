package diagnosis

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Capture is what diagnosis needs to know of how the packets were captured.
type Capture struct {
	Dropped   uint64 // packets that the kernel or the interface dropped
	Truncated bool   // a file ends in the middle of a packet
	Evicted   uint64 // connections that were forgotten
}

// Analysis is what is wrong with the connections of a table at one moment. What it says of connections is valid until the
// table takes in more.
type Analysis struct {
	Findings []Finding // the worst first
	Quality  Quality
	Counts   Counts

	rules *Rules
	list  tracker.Listing
	made  int64 // see Made
	now   int64 // ns since 1970
	due
	crowd     *crowd
	forgotten uint64 // connections that never completed, to stay within the limits
	leaks     map[key][]*leak
	groups    map[key]*group

	// About each connection with findings, in the order of IDs: its ID and one finding's, or the group's before there are any.
	ids     []uint64
	found   []int
	notable [Clean][]uint32 // numbers of the first connections of each standing, see MaxNotable
}

// maxGroups bounds the findings of one analysis. What is beyond is counted, by kind, in one finding of that kind.
const maxGroups = 10_000

// MaxNotable is how many connections Notable yields.
const MaxNotable = 200

// group is what becomes a finding.
type group struct {
	id       int // from 1, in the order in which groups begin; later the finding's
	finding  Finding
	shown    bool         // there is an example
	example  uint32       // number of the oldest connection
	rule     *rule        // that holds for it; nil where many connections together are the finding
	role     tracker.Role // of its end, for which the rule holds
	held     held
	culprits map[tcp.Addr]struct{}
	port     uint16
	ports    bool  // a culprit has used several
	overflow bool  // it stands for groups beyond maxGroups
	newest   int64 // when it last held, or happened, ns since 1970; never if it still holds
}

// Analyze judges what t holds at now, in ns since 1970. It is a function of its arguments, whatever the number of
// processors, all of which it uses. It looks at each connection once; at those that may be part of a finding once more, or
// twice if there may be a scan or a flood; and at all of them again where many have piled up or been left behind. For the time
// of the call it takes 11 octets for each of a million open connections; 44 where one in 40 has a finding; 124 where all there
// is may leak (BenchmarkAnalyze).
func (r *Rules) Analyze(t *tracker.Table, now int64, capture Capture) *Analysis {
	a := r.analysis(t, now, capture)
	a.conclude(a.survey())
	return a
}

func (r *Rules) analysis(t *tracker.Table, now int64, capture Capture) *Analysis {
	return &Analysis{
		Quality: Quality{Capture: capture}, rules: r, list: t.List(), made: now, now: now, due: noneDue,
		leaks: make(map[key][]*leak), groups: make(map[key]*group), forgotten: t.Stats().Evicted.Attempts,
	}
}

// conclude finds what is wrong, after a survey.
func (a *Analysis) conclude(parts []part) {
	a.gather(parts)
	a.judge(parts)
	a.addPiles()
	if k := (key{kind: CaptureGap}); a.Quality.Dropped > 0 && a.groups[k] == nil && !a.rules.muted[CaptureGap] {
		a.groups[k] = &group{finding: Finding{key: k, Since: a.crowd.first, Certainty: tracker.Confirmed}, newest: never}
	}
	a.finish()
}

// Of returns the IDs of the findings about c, which must be one of the connections that were analysed. They must not be
// changed.
func (a *Analysis) Of(c *tracker.Connection) []int {
	from, _ := slices.BinarySearch(a.ids, c.ID)
	to := from
	for to < len(a.ids) && a.ids[to] == c.ID {
		to++
	}
	return a.found[from:to:to]
}

// Connections yields the connections, numbered from 0 in the order of their IDs, from one number up to another, with the IDs of
// the findings about each. The Connection is valid until the next one. It may be called concurrently.
func (a *Analysis) Connections(from, to int) iter.Seq2[*tracker.Connection, []int] {
	return func(yield func(*tracker.Connection, []int) bool) {
		var c tracker.Connection
		for i := from; i < to; i++ {
			a.list.View(i, a.now, &c)
			if !yield(&c, a.Of(&c)) {
				return
			}
		}
	}
}

// Connection fills in c with the connection with the given ID, and reports whether it is held.
func (a *Analysis) Connection(id uint64, c *tracker.Connection) bool {
	i, ok := a.list.Find(id)
	if ok {
		a.list.View(i, a.now, c)
	}
	return ok
}

// Notable yields the first connections that did not end cleanly, at most MaxNotable, in the order of their standings, as
// Connections does.
func (a *Analysis) Notable() iter.Seq2[*tracker.Connection, []int] {
	return func(yield func(*tracker.Connection, []int) bool) {
		var c tracker.Connection
		left := MaxNotable
		for _, numbers := range a.notable {
			for _, i := range numbers[:min(left, len(numbers))] {
				a.list.View(int(i), a.now, &c)
				if left--; !yield(&c, a.Of(&c)) {
					return
				}
			}
		}
	}
}

// match is a group that a connection belongs to: by a rule, or as one of many that together are the finding.
type match struct {
	key      key
	attached bool // it is told of the connection; not of one that has a finding of its own, which explains it
	held     held // for rules; for leaks, since when it is one of those left behind

	// The rest is for rules.
	rule      *rule
	role      tracker.Role
	last      int64
	certainty tracker.Certainty
	culprit   endpoint
	nobody    bool
}

// match yields the groups that the connection of s belongs to. A connection with a finding of its own is explained by that:
// it is counted in the leak that it is part of, not attached.
func (a *Analysis) match(s *suspect, yield func(match)) {
	c := s.c
	explained := false
	if k, ok := a.crowd.scanOf(c); ok {
		explained = true
		yield(match{key: k, attached: true})
	} else if k, ok := a.crowd.floodOf(c); ok {
		explained = true
		yield(match{key: k, attached: true})
	}
	alone := false
	a.rules.judge(s, explained, func(r *rule, h held) bool {
		alone = alone || !r.beside
		m := match{key: r.key(s), attached: true, rule: r, role: s.role, held: h, last: r.last(s, h), certainty: r.certainty(s)}
		if !r.whole {
			b := r.culprit(s)
			m.culprit, m.nobody = endpointOf(&c.Ends[b.role]), b.nobody
		}
		yield(m)
		return true
	})
	if len(a.leaks) == 0 {
		return
	}
	for role := tracker.Client; role <= tracker.Server; role++ {
		k := key{kind: Leak, role: role, addr: c.Ends[role].Addr, service: endpointOf(&c.Ends[tracker.Server])}
		for _, l := range a.leaks[k] {
			if l.holds(c, a.now) {
				yield(match{key: k, attached: !alone && !explained, held: heldSince(l.began(c))})
				break
			}
		}
	}
}

// seen is a connection that was judged.
type seen struct {
	number   uint32
	standing Standing // without findings
	id       uint64
	start    int64
	matches  int // how many there are up to its last
}

// add counts a connection in the group of m, which it returns; nil if the kind is muted.
func (a *Analysis) add(m *match, c *seen) *group {
	k := m.key
	if a.rules.muted[k.kind] {
		return nil
	}
	g := a.groups[k]
	if g == nil {
		over := len(a.groups) >= maxGroups
		if over {
			k = key{kind: k.kind, role: k.role}
			g = a.groups[k]
		}
		if g == nil {
			g = &group{id: len(a.groups) + 1, culprits: make(map[tcp.Addr]struct{}), overflow: over}
			g.finding.key = k
			a.groups[k] = g
		}
	}
	f := &g.finding
	if f.Count++; len(f.Connections) < MaxListed {
		f.Connections, f.Begins = append(f.Connections, c.id), append(f.Begins, cmp.Or(m.held.since, c.start))
	}
	if m.rule == nil || m.rule.whole {
		if f.Count == 1 {
			g.shown, g.example, f.Since, f.Certainty = true, c.number, c.start, tracker.Confirmed
		}
		g.newest = max(g.newest, c.start)
		if m.rule != nil {
			g.newest = max(g.newest, m.last)
		}
		return g
	}
	g.newest = max(g.newest, m.last)
	if !m.nobody {
		if len(g.culprits) < MaxListed {
			g.culprits[m.culprit.addr] = struct{}{}
		}
		g.ports = g.ports || f.Count > 1 && m.culprit.port != g.port
		g.port = m.culprit.port
	}
	if f.Count == 1 || m.held.since < f.Since {
		f.Since, f.Certainty = m.held.since, m.certainty
		g.shown, g.example, g.rule, g.role, g.held = true, c.number, m.rule, m.role, m.held
	}
	return g
}

// addPiles adds what is wrong with the number of connections, each of which is well.
func (a *Analysis) addPiles() {
	for k, p := range a.crowd.piles {
		if limit := a.rules.thresholds[TimeWaitPressure].Count; len(p.waits) >= limit {
			if n, from, last := peak(p.waits, timeWait, limit); n >= limit {
				a.addPile(TimeWaitPressure, k, p, n, from, last+timeWait)
			}
		}
		if limit := a.rules.churnLimit(); len(p.shorts) >= limit {
			if n, from, last := peak(p.shorts, churnWindow, limit); n >= limit {
				a.addPile(Churn, k, p, n, from, last)
			}
		}
	}
}

func (a *Analysis) addPile(kind Kind, pair pairKey, p *pile, n int, from, newest int64) {
	if a.rules.muted[kind] {
		return
	}
	k := key{kind: kind, role: tracker.Client, addr: pair.client, service: pair.server}
	g := &group{finding: Finding{key: k, Count: n, Since: from, Certainty: tracker.Confirmed}, newest: newest}
	for i, start := range p.starts {
		if len(g.finding.Connections) < min(n, MaxListed) && start >= from-shortLife {
			g.finding.Connections, g.finding.Begins = append(g.finding.Connections, p.ids[i]), append(g.finding.Begins, start)
		}
	}
	a.groups[k] = g
}

// newest returns when what a finding says was last so.
func (a *Analysis) newest(k key) int64 { return min(a.groups[k].newest, a.now) }

// finish turns the groups into findings, numbered from the worst.
func (a *Analysis) finish() {
	all := slices.Collect(maps.Values(a.groups))
	share(workersFor(len(all)*describing), len(all), func(_, from, to int) {
		var example tracker.Connection
		for _, g := range all[from:to] {
			a.describe(g, &example)
		}
	})
	slices.SortFunc(all, func(x, y *group) int {
		f, g := &x.finding, &y.finding
		return cmp.Or(cmp.Compare(g.Severity, f.Severity), cmp.Compare(g.Count, f.Count), cmp.Compare(f.Since, g.Since),
			f.key.compare(g.key))
	})
	places := make([]int, len(all)+1)
	a.Findings = make([]Finding, len(all))
	for i, g := range all {
		places[g.id] = i + 1
		g.id, g.finding.ID = i+1, i+1
		a.Findings[i] = g.finding
	}
	for i, id := range a.found {
		a.found[i] = places[id]
	}
}

// describing is how many connections are judged while one finding is put into words.
const describing = 16

// describe puts g into words. The example is for its use.
func (a *Analysis) describe(g *group, example *tracker.Connection) {
	f := &g.finding
	f.Kind = f.key.kind
	about, _ := Explain(f.Kind)
	f.Severity = about.Severity
	f.Service = f.key.service.addrPort()
	f.Culprit.Role = f.key.role
	if a.Quality.Dropped > 0 {
		f.Certainty = min(f.Certainty, tracker.Presumed)
	}
	if g.shown {
		a.list.View(int(g.example), a.now, example)
		f.Example = example.ID
	}
	if g.rule == nil {
		f.Culprit.Addr, f.Culprits = f.key.addr, 1
		a.describeCrowd(g, example)
		return
	}
	s := &suspect{
		c: example, role: g.role, x: &example.Ends[g.role], peer: &example.Ends[g.role.Peer()], now: a.now,
		limit: a.rules.thresholds[f.Kind], crowd: a.crowd,
	}
	if len(g.culprits) == 1 && !g.overflow {
		f.Culprit.Addr = example.Ends[f.key.role].Addr
		if !g.ports {
			f.Culprit.Port = g.port
		}
	}
	f.Culprits = len(g.culprits)
	if !g.rule.moment {
		f.lasts = g.held.ended == 0
		f.For = time.Duration(cmp.Or(g.held.ended, a.now) - f.Since)
		f.ForAtLeast = s.x.SinceAtLeast && !g.rule.seen
	}
	if f.Kind == Refused && f.Count >= a.rules.thresholds[Refused].Count {
		f.Severity = about.Worst
	}
	f.summary, f.Cause, f.Evidence = g.rule.summary(s, agePlace), g.rule.cause(s), g.rule.evidence(s)
	f.Next, f.Command = g.rule.next(s)
	if g.overflow {
		f.summary = "Too many to be told apart; one of them: " + f.summary
	}
	f.tellAge()
}

func (a *Analysis) describeCrowd(g *group, example *tracker.Connection) {
	f := &g.finding
	from, service := f.key.addr, f.key.service
	switch f.Kind {
	case SYNFlood:
		flood := a.crowd.floods[service]
		f.Since, f.For, f.lasts, g.newest = flood.start, time.Duration(a.now-flood.start), true, flood.end
		f.Culprit.Addr, f.Culprits = flood.only, flood.sources
		f.Summary = fmt.Sprintf("%d handshakes with %s were half-open at once, from %d addresses; %d completed meanwhile.",
			flood.peak, service, flood.sources, flood.completed.Load())
		f.Cause = "Somebody sends SYNs, mostly with forged source addresses, so that the server's SYN queue fills and others are turned away; or the way back to a " +
			"whole network is broken."
		if flood.asked {
			a.describeAsked(f, flood)
		}
		f.Next = fmt.Sprintf("On %s, see that SYN cookies are on, and whether they are sent", service.addr)
		f.Command = "sysctl net.ipv4.tcp_syncookies; nstat -az TcpExtSyncookiesSent TcpExtListenDrops"
		f.Evidence = marks(proof(example.Ends[tracker.Client].Facts.SYN, tracker.Client, "the first of them"))
	case PortScan, HostScan:
		s := a.crowd.scans[from]
		f.Since, f.For, g.newest = s.start, time.Duration(s.end-s.start), s.end
		if f.Kind == PortScan {
			f.Service = endpoint{addr: service.addr}.addrPort()
			f.Summary = fmt.Sprintf("%s asked for %d ports of %s within a minute that refused or did not answer.", from, s.hosts[service.addr], service.addr)
		} else {
			f.Summary = fmt.Sprintf("%s asked %d hosts within a minute that refused or did not answer.", from, s.asked)
		}
		f.Cause = "A scanner looks for services. Monitoring and service discovery do that, too, and so does a client whose network is cut off."
		f.Next = fmt.Sprintf("On %s, see which process it is", from)
		f.Command = "ss -tnp state syn-sent"
		f.Evidence = marks(proof(example.Ends[tracker.Client].Facts.SYN, tracker.Client, "the first of them"))
	case TimeWaitPressure:
		const ports = 28232
		if f.Count*50 >= a.rules.thresholds[TimeWaitPressure].Count*90 {
			f.Severity = Critical
		}
		f.Summary = fmt.Sprintf("%s had %d connections to %s in TIME_WAIT at once: %d %% of its %d ephemeral ports.", from, f.Count, service, f.Count*100/ports, ports)
		f.Cause = "The client opens a connection for each request and closes it first. Each then occupies a port for a minute; when none is left, connect() fails with " +
			"\"cannot assign requested address\"."
		f.Next = fmt.Sprintf("Use connections again (keep-alive, a pool); on %s, count them", from)
		f.Command = fmt.Sprintf("ss -Htn state time-wait 'dst %s' | wc -l", service)
	case Churn:
		f.Summary = fmt.Sprintf("%s opened %d short connections to %s within 10 s, %d a second.", from, f.Count, service, f.Count/10)
		f.Cause = "The client opens a connection for each request: each costs a round trip or more, and ports and memory at both ends."
		f.Next = "Use connections again: HTTP keep-alive, a connection pool"
	case CaptureGap:
		f.Culprits, f.Certainty = 0, tracker.Confirmed
		f.Summary = "The capture missed packets:"
		if n := a.Quality.Dropped; n > 0 {
			f.Summary += fmt.Sprintf(" the kernel or the interface dropped %d.", n)
		}
		if n := a.Quality.MissedBytes; n > 0 && a.rules.forgiven == 0 {
			f.Summary += fmt.Sprintf(" it does not hold %d of the bytes that were acknowledged.", n)
		}
		f.Cause = "The capturing host was too slow, its buffer too small, or the mirror port overloaded. What rests on silence is less sure."
		f.Next, f.Command = "Capture again with a filter, a short snap length and a larger buffer", "tcpdump -i INTERFACE -s 96 -B 65536 -w FILE FILTER"
	case Leak:
		l := a.leaks[f.key][0]
		f.Since, f.For, f.lasts, g.newest = l.since, time.Duration(a.now-l.since), true, never
		f.Growth = &l.growth
		f.Certainty = example.Ends[l.role].Certainty
		if l.idle {
			f.Certainty = min(f.Certainty, tracker.Presumed) // it may be that more and more of them are needed
		}
		if l.role == tracker.Server {
			f.Culprit.Port = service.port
		}
		l.words(f, example)
	}
}
