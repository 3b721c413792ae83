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

// Analysis is what is wrong with the connections of a table at one moment.
type Analysis struct {
	Findings []Finding // the worst first
	Quality  Quality

	rules  *Rules
	now    int64
	crowd  *crowd
	leaks  map[key][]*leak
	groups map[key]*group

	suspect suspect // for judge
}

// maxGroups bounds the findings of one analysis. What is beyond is counted, by kind, in one finding of that kind.
const maxGroups = 10_000

// group is what becomes a finding.
type group struct {
	id       int
	finding  Finding
	verdict  verdict            // of the oldest; its suspect is in example
	example  tracker.Connection // the oldest
	culprits map[tcp.Addr]struct{}
	port     uint16
	ports    bool  // a culprit has used several
	overflow bool  // it stands for groups beyond maxGroups
	newest   int64 // when it last held, or happened, ns since 1970
}

// Analyze judges connections at now, in ns since 1970. It goes over them twice; they must be the same both times, in the order
// of their IDs. It is a function of its arguments. For the time of the call it takes
// about 400 bytes per connection (BenchmarkAnalyze: 38 MB for 100,000).
func (r *Rules) Analyze(connections iter.Seq[*tracker.Connection], now int64, capture Capture) *Analysis {
	a := &Analysis{
		Quality: Quality{Capture: capture}, rules: r, now: now, crowd: newCrowd(r, now),
		leaks: make(map[key][]*leak), groups: make(map[key]*group),
	}
	a.crowd.lossy = capture.Dropped > 0
	for c := range connections {
		a.Quality.add(c)
		a.crowd.add(c)
	}
	a.crowd.judge()
	for _, l := range a.crowd.leaks() {
		a.leaks[l.key] = append(a.leaks[l.key], l)
	}
	for c := range connections {
		a.each(c, func(k key, v *verdict, attached bool) { a.add(k, v, c) })
	}
	a.addPiles()
	if k := (key{kind: CaptureGap}); capture.Dropped > 0 && a.groups[k] == nil && !r.muted[CaptureGap] {
		a.groups[k] = &group{finding: Finding{key: k, Since: a.crowd.first, Certainty: tracker.Confirmed}, newest: now}
	}
	a.finish()
	return a
}

// Of returns the IDs of the findings about c, which must be one of the connections that were analysed, at the same moment.
// It is not safe for concurrent use.
func (a *Analysis) Of(c *tracker.Connection) []int {
	var ids []int
	a.each(c, func(k key, v *verdict, attached bool) {
		g := a.groups[k]
		if g == nil {
			g = a.groups[key{kind: k.kind, role: k.role}]
		}
		if g != nil && g.id != 0 && attached {
			ids = append(ids, g.id)
		}
	})
	return ids
}

// each calls yield with the groups that c belongs to; v is nil where many connections together are the finding. A
// connection with a finding of its own is explained by that: it is counted in the leak that it is part of, not attached.
func (a *Analysis) each(c *tracker.Connection, yield func(k key, v *verdict, attached bool)) {
	explained := false
	if k, ok := a.crowd.scanOf(c); ok {
		explained = true
		yield(k, nil, true)
	} else if k, ok := a.crowd.floodOf(c); ok {
		explained = true
		yield(k, nil, true)
	}
	alone := false
	a.suspect = suspect{c: c, now: a.now, crowd: a.crowd}
	a.rules.judge(&a.suspect, explained, func(v verdict) {
		alone = alone || !v.rule.beside
		yield(v.key(), &v, true)
	})
	if len(a.leaks) == 0 {
		return
	}
	for role := tracker.Client; role <= tracker.Server; role++ {
		k := key{kind: Leak, role: role, addr: c.Ends[role].Addr, service: endpointOf(&c.Ends[tracker.Server])}
		for _, l := range a.leaks[k] {
			if l.holds(c, a.now) {
				yield(k, nil, !alone && !explained)
				break
			}
		}
	}
}

// add counts c in the group k.
func (a *Analysis) add(k key, v *verdict, c *tracker.Connection) {
	if a.rules.muted[k.kind] {
		return
	}
	g := a.groups[k]
	if g == nil {
		over := len(a.groups) >= maxGroups
		if over {
			k = key{kind: k.kind, role: k.role}
			g = a.groups[k]
		}
		if g == nil {
			g = &group{culprits: make(map[tcp.Addr]struct{}), overflow: over}
			g.finding.key = k
			a.groups[k] = g
		}
	}
	f := &g.finding
	if f.Count++; len(f.Connections) < MaxListed {
		f.Connections = append(f.Connections, c.ID)
	}
	if v == nil || v.rule.whole {
		if f.Count == 1 {
			g.example, f.Since, f.Certainty = *c, c.Start, tracker.Confirmed
		}
		g.newest = max(g.newest, c.Start)
		if v != nil {
			g.newest = max(g.newest, v.last())
		}
		return
	}
	g.newest = max(g.newest, v.last())
	if b := v.rule.culprit(&v.s); !b.nobody {
		e := &c.Ends[b.role]
		if len(g.culprits) < MaxListed {
			g.culprits[e.Addr] = struct{}{}
		}
		g.ports = g.ports || f.Count > 1 && e.Port != g.port
		g.port = e.Port
	}
	if f.Count == 1 || v.held.since < f.Since {
		f.Since, f.Certainty = v.held.since, v.certainty()
		g.verdict, g.example = *v, *c
		g.verdict.s.c = &g.example
		g.verdict.s.x, g.verdict.s.peer = &g.example.Ends[v.s.role], &g.example.Ends[v.s.role.Peer()]
	}
}

// addPiles adds what is wrong with the number of connections, each of which is well.
func (a *Analysis) addPiles() {
	w := a.crowd
	for k, p := range w.pairs {
		var waits, starts []int64
		for i := range p.lives {
			l := &p.lives[i]
			if l.timeWait != 0 {
				waits = append(waits, l.timeWait)
			}
			if end := l.ends[tracker.Client]; l.start != 0 && end != 0 && end-l.start < shortLife {
				starts = append(starts, l.start)
			}
		}
		if limit := a.rules.thresholds[TimeWaitPressure].Count; len(waits) >= limit {
			if n, from, last := peak(waits, timeWait, limit); n >= limit {
				a.addPile(TimeWaitPressure, k, p, n, from, min(last+timeWait, a.now))
			}
		}
		if limit := a.rules.thresholds[Churn].Count * int(churnWindow/int64(time.Second)); len(starts) >= limit {
			if n, from, last := peak(starts, churnWindow, limit); n >= limit {
				a.addPile(Churn, k, p, n, from, last)
			}
		}
	}
}

func (a *Analysis) addPile(kind Kind, pair pairKey, p *pair, n int, from, newest int64) {
	if a.rules.muted[kind] {
		return
	}
	k := key{kind: kind, role: tracker.Client, addr: pair.client, service: pair.server}
	g := &group{finding: Finding{key: k, Count: n, Since: from, Certainty: tracker.Confirmed}, newest: newest}
	for i := range p.lives {
		if len(g.finding.Connections) < MaxListed && p.lives[i].start >= from-int64(shortLife) {
			g.finding.Connections = append(g.finding.Connections, p.lives[i].id)
		}
	}
	g.finding.Connections = g.finding.Connections[:min(n, len(g.finding.Connections))]
	a.groups[k] = g
}

// newest returns when what a finding says was last so.
func (a *Analysis) newest(k key) int64 { return a.groups[k].newest }

// finish turns the groups into findings, numbered from the worst.
func (a *Analysis) finish() {
	all := slices.Collect(maps.Values(a.groups))
	for _, g := range all {
		a.describe(g)
	}
	slices.SortFunc(all, func(x, y *group) int {
		f, g := &x.finding, &y.finding
		return cmp.Or(cmp.Compare(g.Severity, f.Severity), cmp.Compare(g.Count, f.Count), cmp.Compare(f.Since, g.Since),
			cmp.Compare(f.key.kind, g.key.kind), cmp.Compare(f.key.role, g.key.role), compareAddr(f.key.addr, g.key.addr),
			compareAddr(f.key.service.addr, g.key.service.addr), cmp.Compare(f.key.service.port, g.key.service.port))
	})
	for i, g := range all {
		g.id, g.finding.ID = i+1, i+1
		a.Findings = append(a.Findings, g.finding)
	}
}

func (a *Analysis) describe(g *group) {
	f := &g.finding
	f.Kind = f.key.kind
	about, _ := Explain(f.Kind)
	f.Severity = about.Severity
	f.Service = f.key.service.addrPort()
	f.Culprit.Role = f.key.role
	if a.Quality.Dropped > 0 {
		f.Certainty = min(f.Certainty, tracker.Presumed)
	}
	if g.verdict.rule == nil {
		f.Culprit.Addr, f.Culprits = f.key.addr, 1
		a.describeCrowd(g)
		return
	}
	v := &g.verdict
	if len(g.culprits) == 1 && !g.overflow {
		f.Culprit.Addr = g.example.Ends[f.key.role].Addr
		if !g.ports {
			f.Culprit.Port = g.port
		}
	}
	f.Culprits = len(g.culprits)
	age := ""
	if !v.rule.moment {
		f.For = time.Duration(cmp.Or(v.held.ended, a.now) - f.Since)
		f.ForAtLeast = v.s.x.SinceAtLeast && !v.rule.seen
		age = Age(f.For)
		if f.ForAtLeast {
			age = "at least " + age
		}
	}
	if f.Kind == Refused && f.Count >= a.rules.thresholds[Refused].Count {
		f.Severity = about.Worst
	}
	f.Summary, f.Cause, f.Evidence = v.rule.summary(&v.s, age), v.rule.cause(&v.s), v.rule.evidence(&v.s)
	f.Next, f.Command = v.rule.next(&v.s)
	if g.overflow {
		f.Summary = "Too many to be told apart; one of them: " + f.Summary
	}
}

func (a *Analysis) describeCrowd(g *group) {
	f := &g.finding
	from, service := f.key.addr, f.key.service
	switch f.Kind {
	case SYNFlood:
		flood := a.crowd.floods[service]
		f.Since, f.For, g.newest = flood.start, time.Duration(a.now-flood.start), flood.end
		f.Culprit.Addr, f.Culprits = flood.only, flood.sources
		f.Summary = fmt.Sprintf("%d handshakes with %s were half-open at once, from %d addresses; %d completed meanwhile.",
			flood.peak, service, flood.sources, flood.completed)
		f.Cause = "Somebody sends SYNs, mostly with forged source addresses, so that the server's SYN queue fills and others are turned away; or the way back to a " +
			"whole network is broken."
		f.Next = fmt.Sprintf("On %s, see that SYN cookies are on, and whether they are sent", service.addr)
		f.Command = "sysctl net.ipv4.tcp_syncookies; nstat -az TcpExtSyncookiesSent TcpExtListenDrops"
		f.Evidence = marks(proof(g.example.Ends[tracker.Client].Facts.SYN, tracker.Client, "the first of them"))
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
		f.Evidence = marks(proof(g.example.Ends[tracker.Client].Facts.SYN, tracker.Client, "the first of them"))
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
		if n := a.Quality.MissedBytes; n > 0 {
			f.Summary += fmt.Sprintf(" it does not hold %d of the bytes that were acknowledged.", n)
		}
		f.Cause = "The capturing host was too slow, its buffer too small, or the mirror port overloaded. What rests on silence is less sure."
		f.Next, f.Command = "Capture again with a filter, a short snap length and a larger buffer", "tcpdump -i INTERFACE -s 96 -B 65536 -w FILE FILTER"
	case Leak:
		l := a.leaks[f.key][0]
		f.Since, f.For, g.newest = l.since, time.Duration(a.now-l.since), a.now
		f.Growth = &l.growth
		f.Certainty = g.example.Ends[l.role].Certainty
		if l.idle {
			f.Certainty = min(f.Certainty, tracker.Presumed) // it may be that more and more of them are needed
		}
		if l.role == tracker.Server {
			f.Culprit.Port = service.port
		}
		l.words(f, &g.example)
	}
}
