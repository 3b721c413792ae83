package diagnosis

import "tcpleak/tracker"

// due is when an analysis may no longer be true, if no segment comes, in ns since 1970.
type due struct {
	finding int64 // when a condition that holds reaches its threshold, and is more than information
	change  int64 // when another does, a state differs, or is more or less certain, or leaks are to be looked for again
}

var noneDue = due{never, never}

func (d *due) merge(o due) { d.finding, d.change = min(d.finding, o.finding), min(d.change, o.change) }

// await notes that a threshold is reached at a time; of a minor kind, if what is found is for information.
func (d *due) await(at int64, minor bool) {
	if minor {
		d.change = min(d.change, at)
	} else {
		d.finding = min(d.finding, at)
	}
}

// Made returns when the table was judged, in ns since 1970. Of an analysis that Later returns, that is before.
func (a *Analysis) Made() int64 { return a.made }

// NextFinding returns when a rule may next hold for a connection, because it reaches the threshold, in ns since 1970; or
// tracker.Never. It is about warnings and what is worse, which should not wait, and not about what many connections show together.
func (a *Analysis) NextFinding() int64 { return a.finding }

// NextChange returns when a may next be otherwise, in ns since 1970, or tracker.Never: until then Analyze returns what Later does,
// as long as the table takes in nothing. But leaks are looked for in samples of their growth: between two, one may come or go.
func (a *Analysis) NextChange() int64 { return min(a.finding, a.change) }

// NextFindingOf returns NextFinding for one connection, of which the table may have heard since: now if a rule holds for it, unless
// there was a finding about it before.
func (a *Analysis) NextFindingOf(c *tracker.Connection, now int64) int64 {
	if len(a.Of(c)) > 0 {
		return never
	}
	s := suspect{c: c, now: now, due: noneDue, crowd: a.crowd}
	a.rules.judge(&s, false, func(r *rule, _ held) bool {
		if !a.rules.muted[r.kind] {
			s.due.await(now, s.minor)
		}
		return true
	})
	return s.due.finding
}

// Later returns a as it stands at now, in ns since 1970, which is before NextChange, at the cost of its findings: only time has
// passed. The table must not have taken in anything since. Names and processes are those of a.
func (a *Analysis) Later(now int64) *Analysis {
	b := *a
	b.now, b.Findings = now, make([]Finding, len(a.Findings))
	for i := range a.Findings {
		b.Findings[i] = a.Findings[i].At(now)
	}
	return &b
}
