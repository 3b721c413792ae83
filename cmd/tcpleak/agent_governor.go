package main

import (
	"fmt"
	"math"
	"time"

	"tcpleak/capture"
	"tcpleak/config"
)

// governor decides when the capture goes lean, and when it goes back: a function of what it is told, and of nothing else.
type governor struct {
	limit float64 // share of a processor; 0 is none

	lean    bool
	since   time.Time // of lean, or of its contrary
	earlier []usage   // within the window, the oldest first
	last    float64   // share of the processor before the last change
	saves   float64   // how many times as much the full capture took as the lean one; 0 while that is not known
	stay    time.Duration
	tried   time.Time // when the capture last went back to full
	told    bool      // that lean is too much, too
	vain    usage     // of a second of the full capture, when lean was found to save nothing
}

// usage is what the agent has taken up to a time.
type usage struct {
	at  time.Time
	cpu time.Duration
}

const (
	// governWindow is how long a share is taken over: a page that is looked at, or a short burst, is no reason to go lean.
	governWindow = 10 * time.Second
	// backBelow is which part of the limit the full capture may take, as far as can be told, for the capture to go back.
	backBelow = 0.7
	// A capture that has gone lean stays so for stayLean. Each time that it has to go lean within settledFull of its having
	// gone back, it stays twice as long, up to mostLean.
	stayLean    = time.Minute
	settledFull = 10 * time.Minute
	mostLean    = time.Hour
	// Where lean takes less than leastSaved times as much as full did, it saves nothing, and what is certain in full should not be
	// given away for it. It is not tried again for mostLean, unless full takes moreThanVain times as much as it did then.
	leastSaved   = 0.9
	moreThanVain = 1.5
	// mostSaved bounds how much more the full capture is taken for: less traffic after the change looks like savings.
	mostSaved = 4
)

// decision is what a governor makes of a sample.
type decision struct {
	changed bool
	lean    bool    // from now on
	share   float64 // of a processor, that the agent took
	futile  bool    // lean takes more than the limit as well; told once. With changed, lean saves nothing
}

// take takes in what the agent has taken up to now. Samples come in the order of their times.
func (g *governor) take(now usage) decision {
	if g.since.IsZero() {
		g.since = now.at
	}
	g.earlier = append(g.earlier, now)
	for len(g.earlier) > 2 && now.at.Sub(g.earlier[1].at) >= governWindow {
		g.earlier = g.earlier[1:]
	}
	oldest := g.earlier[0]
	past := now.at.Sub(oldest.at)
	if g.limit == 0 {
		if g.lean {
			return g.change(now, false, 0)
		}
		return decision{}
	}
	if past < governWindow {
		return decision{lean: g.lean}
	}
	share := (now.cpu - oldest.cpu).Seconds() / past.Seconds()
	if !g.lean {
		vain := now.at.Sub(g.vain.at) < mostLean && share < moreThanVain*g.vain.cpu.Seconds()
		if share <= g.limit || vain {
			return decision{share: share}
		}
		switch since := now.at.Sub(g.tried); {
		case g.tried.IsZero() || since > settledFull:
			g.stay = stayLean
		default:
			g.stay = min(2*g.stay, mostLean)
		}
		return g.change(now, true, share)
	}
	if g.saves == 0 {
		g.saves = mostSaved
		if share > 0 {
			g.saves = min(max(g.last/share, 1), mostSaved)
		}
		if share > g.limit && share > leastSaved*g.last {
			g.vain = usage{now.at, time.Duration(g.last * float64(time.Second))}
			d := g.change(now, false, share)
			d.futile = true
			return d
		}
	}
	if now.at.Sub(g.since) >= g.stay && share*g.saves < backBelow*g.limit {
		g.tried = now.at
		return g.change(now, false, share)
	}
	d := decision{lean: true, share: share, futile: share > g.limit && !g.told}
	g.told = g.told || d.futile
	return d
}

// change begins anew: what was taken before says nothing of what will be.
func (g *governor) change(now usage, lean bool, share float64) decision {
	g.lean, g.since, g.last, g.saves, g.earlier, g.told = lean, now.at, share, 0, append(g.earlier[:0], now), false
	return decision{changed: true, lean: lean, share: share}
}

// percent writes a share of a processor.
func percent(share float64) string { return fmt.Sprintf("%.1f %% of a processor", 100*share) }

// govern goes lean or back if the agent takes too much, or no longer does.
func (a *agent) govern() {
	if a.current.Lean {
		return
	}
	cpu, ok := ownCPU()
	if !ok {
		return
	}
	d := a.governor.take(usage{time.Now(), cpu})
	if d.futile && !d.changed {
		a.tell("lean, too, takes %s, more than max_cpu %s: a filter that leaves out more would help", percent(d.share), a.current.MaxCPU)
	}
	if !d.changed {
		return
	}
	if err := a.pass(&a.current, d.lean); err != nil {
		a.governor.lean = !d.lean // as it was; the next attempt is a window away at least
		if n, tell := a.refused.again(time.Now()); tell && n == 1 {
			a.tell("the filter cannot be changed, which is tried again: %v", err)
		} else if tell {
			a.tell("the filter still cannot be changed, after %d attempts: %v", n, err)
		}
		return
	}
	if n := a.refused.over(); n > 0 {
		a.tell("the filter can be changed again, after %d attempts", n)
	}
	a.leanChanges++
	switch {
	case d.lean:
		a.tell("lean from now on, as the agent took %s, more than max_cpu %s: payload stays in the kernel, and less is certain", percent(d.share), a.current.MaxCPU)
	case d.futile:
		a.tell("no longer lean: it took %s as well, more than max_cpu %s; a filter that leaves out more would help", percent(d.share), a.current.MaxCPU)
	case a.governor.limit == 0:
		a.tell("no longer lean, as max_cpu is off")
	default:
		a.tell("no longer lean: the agent took %s", percent(d.share))
	}
}

// tell says what the agent does, on standard error.
func (a *agent) tell(format string, args ...any) {
	fmt.Fprintln(a.stderr, "tcpleak: "+oneLine(fmt.Sprintf(format, args...)))
}

// pass has the kernel pass what the settings say, lean or not, and adapts the rules to that.
func (a *agent) pass(s *config.Agent, governed bool) error {
	lean := s.Lean || governed
	if expression := filterOf(s, lean); expression != a.source.Stats().Filter {
		source, ok := a.source.(capture.Refilterer)
		if !ok {
			return fmt.Errorf("this capture keeps its filter")
		}
		if err := source.Refilter(expression); err != nil {
			return err
		}
	}
	if a.lean && !lean {
		a.forgiven = a.now + int64(time.Second) // what the kernel held still was lean
	}
	a.lean = lean
	a.forgive()
	return nil
}

// forgive has the rules not miss what was left out on purpose.
func (a *agent) forgive() {
	a.changes++
	if a.lean {
		a.rules.ForgiveGaps(math.MaxInt64)
	} else {
		a.rules.ForgiveGaps(a.forgiven)
	}
}

// trouble is what goes wrong again and again: it is told of when it begins, ever more seldom while it lasts, and when it is over.
type trouble struct {
	times int       // so far; 0 is none
	next  time.Time // when to tell of it
	pause time.Duration
}

// The first time that trouble is told of again, and how seldom at most.
const (
	firstReminder = 5 * time.Minute
	mostReminder  = 6 * time.Hour
)

// again takes note of one more time, and returns how many there were and whether to tell of it.
func (t *trouble) again(now time.Time) (times int, tell bool) {
	t.times++
	if t.times > 1 && now.Before(t.next) {
		return t.times, false
	}
	t.pause = min(max(firstReminder, 2*t.pause), mostReminder)
	t.next = now.Add(t.pause)
	return t.times, true
}

// over ends the trouble, and returns how many times there were.
func (t *trouble) over() (times int) {
	times = t.times
	*t = trouble{}
	return times
}
