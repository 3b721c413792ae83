package diagnosis

import (
	"runtime"
	"testing"

	"tcpleak/tracker"
)

// Workers has analyses use n goroutines until the test ends, however few connections there are.
func Workers(t testing.TB, n int) {
	least, most := leastShare, runtime.GOMAXPROCS(n)
	leastShare = 1
	t.Cleanup(func() {
		leastShare = least
		runtime.GOMAXPROCS(most)
	})
}

// AnalyzeAtLength is Analyze without short cuts: everyone is a suspect, and everything may be too many.
func (r *Rules) AnalyzeAtLength(t *tracker.Table, now int64, capture Capture) *Analysis {
	a := r.analysis(t, now, capture)
	parts := a.survey()
	parts[0].suspects = nil
	for i := range a.list.Len() {
		parts[0].suspects = append(parts[0].suspects, uint32(i))
	}
	for i := range parts {
		parts[i].notable = [Clean][]uint32{}
		if i > 0 {
			parts[i].suspects = nil
		}
	}
	for _, s := range []*sketch{&a.crowd.attempts, &a.crowd.waits, &a.crowd.shorts, &a.crowd.lefts} {
		s.limit, s.reached = 0, true
	}
	for _, p := range a.crowd.ports {
		p.left, p.halfOpen, p.began = 1<<30, 1<<30, a.now
	}
	a.conclude(parts)
	return a
}

// Overlooked returns the rules that hold for an end of c, as far as can be told without the crowd, although c shows nothing
// that they look for.
func (r *Rules) Overlooked(c *tracker.Connection, now int64) []Kind {
	var kinds []Kind
	for i := range rules {
		rule := &rules[i]
		for role := range tracker.Server + 1 {
			s := &suspect{c: c, role: role, x: &c.Ends[role], peer: &c.Ends[role.Peer()], now: now, limit: r.limits[i]}
			if _, holds := rule.holds(s); holds && rule.looksFor&signsOf(c) == 0 {
				kinds = append(kinds, rule.kind)
			}
		}
	}
	return kinds
}

// Looks reports whether leaks are to be looked for again soon, although nothing more is heard.
func (a *Analysis) Looks() bool { return !a.rules.muted[Leak] && a.crowd.nextLook() != never }
