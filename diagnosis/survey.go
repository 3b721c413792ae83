package diagnosis

import (
	"slices"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// part is what one goroutine has learnt from the connections of its part.
type part struct {
	quality  Quality
	counts   Counts
	crowd    *crowd
	suspects []uint32        // numbers of the connections that may be part of a finding
	notable  [Clean][]uint32 // the first of the others, by standing
	due

	attempts []attempt
	asks     map[endpoint][]ask
	spans    []floodSpan
	piles    map[pairKey]*pile
}

type floodSpan struct {
	at endpoint
	span
}

// survey looks at each connection once, and tells those that may be part of a finding.
func (a *Analysis) survey() []part {
	n := a.list.Len()
	parts := make([]part, workersFor(n))
	share(len(parts), n, func(i, from, to int) { parts[i] = a.surveyPart(from, to) })
	a.crowd = parts[0].crowd
	a.crowd.lossy = a.crowd.lossy || a.Quality.Dropped > 0
	a.crowd.forgotten = a.forgotten
	for i := range parts {
		if i > 0 {
			a.crowd.merge(parts[i].crowd)
		}
		a.due.merge(parts[i].due)
		a.Quality.merge(&parts[i].quality)
		a.Counts.merge(&parts[i].counts)
	}
	return parts
}

func (a *Analysis) surveyPart(from, to int) part {
	p := part{crowd: newCrowd(a.rules, a.now, a.list.Len())}
	var c tracker.Connection
	s := suspect{c: &c, now: a.now, due: noneDue}
	for i := from; i < to; i++ {
		a.list.View(i, a.now, &c)
		s.due.change = min(s.due.change, c.Until)
		p.quality.add(&c)
		p.counts.Add(&c, false)
		if telling := p.crowd.add(&c); telling || a.rules.suspicious(&s) {
			p.suspects = append(p.suspects, uint32(i))
		} else if standing := StandingOf(&c, false); standing < Clean && len(p.notable[standing]) < MaxNotable {
			p.notable[standing] = append(p.notable[standing], uint32(i))
		}
	}
	p.due = s.due
	return p
}

// suspicious reports whether some rule holds for the connection of s, or may, as far as can be told without the crowd.
func (r *Rules) suspicious(s *suspect) bool {
	suspicious := false
	r.judge(s, false, func(*rule, held) bool {
		suspicious = true
		return false
	})
	return suspicious
}

// gather looks once more at what may be too many, and finds the scans, the floods and the leaks, which explain what is wrong
// with single connections, and what piles up.
func (a *Analysis) gather(parts []part) {
	a.gatherSuspects(parts)
	searches := a.gatherAll(parts)
	for e, f := range a.crowd.floods {
		if !f.outnumbers() {
			delete(a.crowd.floods, e)
		}
	}
	a.findLeaks(searches)
	if !a.rules.muted[Leak] {
		a.change = min(a.change, a.crowd.nextLook())
	}
}

// gatherSuspects looks at suspects for scans and floods. Of the floods it does not yet know how many handshakes completed.
func (a *Analysis) gatherSuspects(parts []part) {
	w := a.crowd
	least := a.rules.thresholds[SYNFlood].Count
	w.floods = make(map[endpoint]*flood)
	for e, p := range w.ports {
		if p.halfOpen >= least {
			w.floods[e] = new(flood)
		}
	}
	if !w.attempts.reached && !w.asks.reached && len(w.floods) == 0 {
		return
	}
	share(len(parts), len(parts), func(_, i, _ int) {
		p := &parts[i]
		var c tracker.Connection
		for _, number := range p.suspects {
			a.list.View(int(number), a.now, &c)
			server := endpointOf(&c.Ends[tracker.Server])
			switch sort, source := sortOf(&c); {
			case sort == attempted:
				from, target := c.Ends[source].Addr, &c.Ends[source.Peer()]
				if w.attempts.may(hashOf(from)) {
					p.attempts = append(p.attempts, attempt{from, target.Addr, target.Port, c.Start})
				}
				if asks, once := unanswered(&c); asks && w.asks.may(server.hash()) {
					if p.asks == nil {
						p.asks = make(map[endpoint][]ask)
					}
					p.asks[server] = append(p.asks[server], newAsk(&c, once))
				}
			case sort == hanging && w.floods[server] != nil:
				p.spans = append(p.spans, floodSpan{server, spanOf(&c)})
			}
		}
	})
	var attempts []attempt
	for i := range parts {
		attempts = append(attempts, parts[i].attempts...)
		for _, s := range parts[i].spans {
			f := w.floods[s.at]
			f.spans = append(f.spans, s.span)
		}
		parts[i].attempts, parts[i].spans = nil, nil
	}
	w.findScans(attempts)
	for e, f := range w.floods {
		if !f.measure(least) {
			delete(w.floods, e)
		}
	}
	w.findAsked(parts)
}

// search is a port whose connections may leak.
type search struct {
	at    endpoint
	lives []life
}

// gatherAll looks at all connections again, if many have piled up, for those that have, and returns where to search for
// leaks.
func (a *Analysis) gatherAll(parts []part) []search {
	w := a.crowd
	var searches []search
	for e, p := range w.ports {
		if !w.searched(p) {
			continue
		}
		// The goroutines know how many there are in their parts, and fill in the lives of these.
		n := 0
		for i := range parts {
			if q := parts[i].crowd.ports[e]; q != nil {
				n += q.lived
			}
		}
		all := search{e, make([]life, n)}
		searches = append(searches, all)
		for i := range parts {
			if q := parts[i].crowd.ports[e]; q != nil {
				q.lives, all.lives = all.lives[:0:q.lived], all.lives[q.lived:]
			}
		}
	}
	if len(searches) == 0 && !w.waits.reached && !w.shorts.reached && len(w.floods) == 0 {
		return nil
	}
	share(len(parts), a.list.Len(), func(i, from, to int) { a.gatherPart(&parts[i], from, to) })
	w.piles = parts[0].piles
	for i := range parts[1:] {
		for k, p := range parts[i+1].piles {
			if q := w.piles[k]; q != nil {
				q.merge(p)
			} else {
				w.piles[k] = p
			}
		}
	}
	return searches
}

func (a *Analysis) gatherPart(p *part, from, to int) {
	w := a.crowd
	p.piles = make(map[pairKey]*pile)
	var c tracker.Connection
	for i := from; i < to; i++ {
		a.list.View(i, a.now, &c)
		if sort, _ := sortOf(&c); sort != completed {
			continue
		}
		pair, l := pairOf(&c), lifeOf(&c)
		if f := w.floods[pair.server]; f != nil && f.start <= c.Start && c.Start <= f.peakAt {
			f.completed.Add(1)
		}
		hash := pair.hash()
		if w.waits.may(hash) || w.shorts.may(hash) {
			q := p.piles[pair]
			if q == nil {
				q = new(pile)
				p.piles[pair] = q
			}
			q.add(&c, &l)
		}
		if q := p.crowd.ports[pair.server]; cap(q.lives) > 0 && l.matters(a.now) {
			l.client, l.piled, l.number = hashOf(pair.client), w.lefts.may(hash), uint32(i)
			q.lives = append(q.lives, l)
		}
	}
}

// findLeaks searches for leaks.
func (a *Analysis) findLeaks(searches []search) {
	found := make([][]*leak, len(searches))
	lives := 0
	for i := range searches {
		lives += len(searches[i].lives)
	}
	share(min(workersFor(lives), max(len(searches), 1)), len(searches), func(_, from, to int) {
		var c tracker.Connection
		client := func(l *life) tcp.Addr {
			a.list.View(int(l.number), a.now, &c)
			return c.Ends[tracker.Client].Addr
		}
		for i := from; i < to; i++ {
			found[i] = a.crowd.leaks(searches[i].at, searches[i].lives, client)
		}
	})
	for _, leaks := range found {
		for _, l := range leaks {
			a.leaks[l.key] = append(a.leaks[l.key], l)
		}
	}
}

// judge puts the suspects into groups; all connections if there are leaks, of which those that look healthy are part. It
// goes on in batches, each judged concurrently and then counted in the order of IDs.
func (a *Analysis) judge(parts []part) {
	suspects := parts[0].suspects
	for i := range parts[1:] {
		suspects = append(suspects, parts[i+1].suspects...)
	}
	number := func(i int) int { return int(suspects[i]) }
	n := len(suspects)
	if len(a.leaks) > 0 {
		number, n = func(i int) int { return i }, a.list.Len()
	}
	const batch = 512 // for each goroutine
	judged := make([]struct {
		seen    []seen
		matches []match
		due     due
	}, workersFor(n))
	for i := range judged {
		judged[i].due = noneDue
	}
	for from := 0; from < n; from += batch * len(judged) {
		share(len(judged), min(batch*len(judged), n-from), func(worker, begin, end int) {
			j := &judged[worker]
			j.seen, j.matches = j.seen[:0], j.matches[:0]
			var c tracker.Connection
			s := suspect{c: &c, now: a.now, due: j.due, crowd: a.crowd}
			for i := from + begin; i < from+end; i++ {
				a.list.View(number(i), a.now, &c)
				a.match(&s, func(m match) { j.matches = append(j.matches, m) })
				j.seen = append(j.seen, seen{uint32(number(i)), StandingOf(&c, false), c.ID, c.Start, len(j.matches)})
			}
			j.due = s.due
		})
		for i := range judged {
			matches := 0
			for k := range judged[i].seen {
				c := &judged[i].seen[k]
				a.count(c, judged[i].matches[matches:c.matches])
				matches = c.matches
			}
		}
	}
	for i := range judged {
		a.due.merge(judged[i].due)
	}
	for standing := range a.notable {
		for i := range parts {
			if len(a.leaks) == 0 {
				a.notable[standing] = append(a.notable[standing], parts[i].notable[standing]...)
			}
		}
		slices.Sort(a.notable[standing])
		a.notable[standing] = a.notable[standing][:min(len(a.notable[standing]), MaxNotable)]
	}
}

// count takes in a connection that was judged.
func (a *Analysis) count(c *seen, matches []match) {
	standing := c.standing
	for i := range matches {
		g := a.add(&matches[i], c)
		if g == nil || !matches[i].attached {
			continue
		}
		a.ids, a.found = append(a.ids, c.id), append(a.found, g.id)
		if standing < Clean {
			standing = Found
		}
	}
	a.Counts.Standings[c.standing]--
	a.Counts.Standings[standing]++
	if standing < Clean && len(a.notable[standing]) < MaxNotable {
		a.notable[standing] = append(a.notable[standing], c.number)
	}
}
