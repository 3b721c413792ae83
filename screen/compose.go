package screen

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/tracker"
)

// Composer answers what a Screen asks. It belongs to the goroutine that the table belongs to.
//
// What a Composer does costs little but for one thing: to look at each connection, which sorting and filtering take. Between
// analyses it answers from the order that it has; it makes a new one where the query asks for another, and otherwise every
// second at most, and every ten where no segment has come; none where nothing can have changed places. It spends a twentieth of the time on what is asked for, a sixtieth where
// nothing is, and a 200th where no segment has come.
type Composer struct {
	// Process names the process that a connection belongs to, if that is known; nil where none is.
	Process func(*tracker.Connection) string
	// Name returns what a connection's client calls its server, "" if nobody knows; nil where no names are wanted.
	Name func(*tracker.Connection) string

	table    *tracker.Table
	analysis *diagnosis.Analysis
	made     int64               // when the table was judged, ns since 1970
	standing []diagnosis.Finding // of the analysis and beside it, the worst first
	history  history
	notices  []Notice

	order  order
	filter Filter
	built  time.Time     // when the order was made
	cost   time.Duration // what that took
	saved  time.Duration // of the share for making orders, at built
	began  bool
	// What there was when the order was made.
	segments uint64
	judged   int64 // made, then
	changed  bool  // findings have been raised or have cleared since

	opened tracker.Ref
}

const (
	orderEvery = time.Second
	restEvery  = 10 * time.Second
	// againShare of the time is the most that it takes to bring an order up to date that nobody has asked for.
	againShare = 60
	restShare  = 200 // where no segment has come
	// orderShare of the time is the most that orders take in the long run; somebody who presses keys may draw on what was
	// saved, saveUpTo at most.
	orderShare = 20
	saveUpTo   = 400 * time.Millisecond

	maxNotices = 50 // in a Frame
	maxRows    = 2000
)

// NewComposer returns a Composer that tells of table.
func NewComposer(table *tracker.Table) *Composer { return &Composer{table: table} }

// Judge takes note of an analysis of the table, of what has changed with it, and of findings that stand beside it. It must be
// called before the table takes in more.
func (p *Composer) Judge(a *diagnosis.Analysis, events []diagnosis.Event, more ...diagnosis.Finding) {
	p.analysis, p.made = a, a.Made()
	p.changed = p.changed || len(events) > 0
	p.standing = slices.Concat(a.Findings, more)
	slices.SortStableFunc(p.standing, func(a, b diagnosis.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	for i := range events {
		p.notice(Notice{Event: events[i]})
	}
}

// Note takes note of what has happened with the capture at a time, in ns since 1970 on its clock: one line.
func (p *Composer) Note(at int64, text string) {
	p.notice(Notice{Event: diagnosis.Event{Time: at}, Text: text})
}

func (p *Composer) notice(n Notice) {
	if len(p.notices) == maxNotices {
		p.notices = slices.Delete(p.notices, 0, 1)
	}
	p.notices = append(p.notices, n)
}

// Compose answers q. The table must not take in segments meanwhile. Before the first analysis there is little to tell.
func (p *Composer) Compose(capture Capture, q Query) Frame {
	capture.Sources = slices.Clone(capture.Sources)
	f := Frame{Query: q, Capture: capture, Bytes: p.table.Bytes(), Evicted: p.table.Stats().Evicted.Total(), Notices: slices.Clone(p.notices)}
	p.history.advance(capture.Now, capture.Packets)
	f.PerSecond, f.Traffic, f.Known = p.history.perSecond, p.history.traffic, p.history.known
	a := p.analysis
	if a == nil {
		return f
	}
	f.Counts, f.Findings = a.Counts, p.standing
	p.history.count(&a.Counts)
	f.States = p.history.states

	if start := time.Now(); p.mayOrder(start, q.ordered()) {
		p.arrange(q.ordered(), capture.Now)
		p.charge(start, time.Since(start))
	}
	f.Query.Sort, f.Query.Reverse, f.Query.Filter = p.order.of.sort, p.order.of.reverse, p.order.of.filter
	f.Matches = len(p.order.entries)
	f.Rows = p.rows(&q, capture.Now)
	if q.Open != 0 {
		f.Detail = p.detail(q.Open, capture.Now)
	}
	return f
}

// mayOrder reports whether it is time to look at each connection, for the order of.
func (p *Composer) mayOrder(now time.Time, of ordered) bool {
	if !p.began {
		return true
	}
	since := now.Sub(p.built)
	if of != p.order.of {
		return p.saved+since/orderShare >= 0
	}
	if p.table.Stats().Segments == p.segments {
		// Only time passes. It changes places where it changes states, which is judged then; and what a filter asks for may be an age, or a
		// process that comes and goes.
		switch {
		case p.changed:
			return since >= max(orderEvery, restShare*p.cost)
		case p.made == p.judged && of.filter == "" && of.sort != Process:
			return false
		}
		return since >= max(restEvery, restShare*p.cost)
	}
	return since >= max(orderEvery, againShare*p.cost)
}

func (p *Composer) charge(start time.Time, cost time.Duration) {
	if p.began {
		p.saved += start.Sub(p.built) / orderShare
	}
	p.saved = min(p.saved, saveUpTo) - cost
	p.began, p.built, p.cost = true, start, cost
	p.changed, p.segments, p.judged = false, p.table.Stats().Segments, p.made
}

// arrange makes the order of.
func (p *Composer) arrange(of ordered, now int64) {
	if of.filter != p.order.of.filter {
		p.filter, _ = ParseFilter(of.filter) // what cannot be read picks all; the screen says so
	}
	o := &p.order
	o.of, o.entries, o.sorted = of, o.entries[:0], 0
	var c tracker.Connection
	s := subject{c: &c, now: now, kinds: p.analysis.Findings}
	list := p.table.List()
	for i := range list.Len() {
		list.View(i, now, &c)
		if s.findings = p.analysis.Of(&c); of.sort == Process || of.filter != "" {
			s.process = p.process(&c)
		}
		if p.filter.named {
			s.name = p.name(&c)
		}
		if !p.filter.passes(&s) {
			continue
		}
		key := keyOf(of.sort, &c, now, s.findings, s.process)
		if of.reverse {
			key = [2]uint64{^key[0], ^key[1]}
		}
		o.entries = append(o.entries, entry{key, c.Ref})
	}
}

func (p *Composer) process(c *tracker.Connection) string {
	if p.Process == nil {
		return ""
	}
	return p.Process(c)
}

func (p *Composer) name(c *tracker.Connection) string {
	if p.Name == nil {
		return ""
	}
	return p.Name(c)
}

func (p *Composer) rows(q *Query, now int64) []Row {
	from := max(q.Offset, 0)
	until := from + min(max(q.Rows, 0), maxRows)
	entries := p.order.upTo(until)
	entries = entries[min(from, len(entries)):min(until, len(entries))]
	rows := make([]Row, len(entries))
	var c tracker.Connection
	for i, e := range entries {
		if !p.table.Get(e.ref, now, &c) {
			rows[i] = Row{ID: e.ref.ID(), Gone: true}
			continue
		}
		rows[i] = p.row(&c, now)
	}
	return rows
}

func (p *Composer) row(c *tracker.Connection, now int64) Row {
	r := Row{ID: c.ID, Process: p.process(c), Name: p.name(c), RTT: time.Duration(c.HandshakeRTT)}
	for role := range c.Ends {
		e := &c.Ends[role]
		r.Ends[role] = End{e.Addr, e.Port, e.State, e.Certainty}
		r.Packets += e.Packets
		r.Bytes += e.PayloadBytes
		r.Resent += e.Retransmitted
	}
	var since int64
	if since, r.AtLeast = lasting(c); since != 0 && now >= since {
		r.For, r.Known = time.Duration(now-since), true
	}
	for _, id := range p.analysis.Of(c) {
		f := &p.analysis.Findings[id-1]
		r.Worst = max(r.Worst, f.Severity)
		if !slices.Contains(r.Findings, f.Kind) {
			r.Findings = append(r.Findings, f.Kind)
		}
	}
	return r
}

// findings returns those about c, the worst first.
func (p *Composer) findings(c *tracker.Connection) []diagnosis.Finding {
	ids := p.analysis.Of(c)
	if len(ids) == 0 {
		return nil
	}
	all := make([]diagnosis.Finding, len(ids))
	for i, id := range ids {
		all[i] = p.analysis.Findings[id-1]
	}
	slices.SortStableFunc(all, func(a, b diagnosis.Finding) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// detail tells the connection id.
func (p *Composer) detail(id uint64, now int64) *Detail {
	var c tracker.Connection
	if p.opened.ID() != id {
		list := p.table.List()
		i := sort.Search(list.Len(), func(i int) bool {
			list.View(i, now, &c)
			return c.ID >= id
		})
		if i == list.Len() {
			return &Detail{ID: id, Gone: true}
		}
		if list.View(i, now, &c); c.ID != id {
			return &Detail{ID: id, Gone: true}
		}
		p.opened = c.Ref
	}
	if !p.table.Get(p.opened, now, &c) {
		return &Detail{ID: id, Gone: true}
	}
	return &Detail{ID: id, Process: p.process(&c), Name: p.name(&c), Ladder: ladder.Outline(&c, now), Findings: p.findings(&c)}
}
