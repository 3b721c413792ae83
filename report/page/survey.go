package page

import (
	"cmp"
	"runtime"
	"slices"
	"sync"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// moments is how many times the connections are counted at, but for the first.
const moments = 240

// A timeline divides a capture into equal parts.
type timeline struct {
	first, step int64 // ns since 1970, ns
	n           int   // parts, at most moments; 0 if no time passes
}

func newTimeline(first, last int64) timeline {
	span := last - first
	if first == 0 || span <= 0 {
		return timeline{}
	}
	n := min(span, int64(moments))
	return timeline{first, (span + n - 1) / n, int(n)}
}

func (t timeline) at(i int) int64 { return t.first + int64(i)*t.step }

// from returns the number of the first moment at or after ns.
func (t timeline) from(ns int64) int {
	if ns <= t.first {
		return 0
	}
	return int(min((ns-t.first+t.step-1)/t.step, int64(t.n)+1))
}

// A course is how many there are at each moment: while it is filled in, how many more than at the moment before.
type course [moments + 2]int32

func (c *course) add(from, to int) {
	c[from]++
	c[to]--
}

// sum ends the filling in.
func (c *course) sum() {
	for i := 1; i < len(c); i++ {
		c[i] += c[i-1]
	}
}

func (c *course) peak() int32 { return slices.Max(c[:moments+1]) }

// entry is what a table shows of a connection.
type entry struct {
	id       uint64
	standing diagnosis.Standing
	ends     [2]end
	since    int64 // of the later change, ns since 1970; 0 is unknown
	atLeast  bool
	findings []int
}

type end struct {
	addr      tcp.Addr
	port      uint16
	state     tcp.State
	certainty tracker.Certainty
	packets   uint64
	bytes     uint64
}

func entryOf(c *tracker.Connection, findings []int, standing diagnosis.Standing) entry {
	e := entry{id: c.ID, standing: standing, findings: slices.Clone(findings)}
	for role := range c.Ends {
		x := &c.Ends[role]
		e.ends[role] = end{x.Addr, x.Port, x.State, x.Certainty, x.Packets, x.PayloadBytes}
		if x.Since > e.since {
			e.since, e.atLeast = x.Since, x.SinceAtLeast
		}
	}
	return e
}

// survey is what one look at each connection tells. It takes the same memory however many there are.
type survey struct {
	timeline timeline
	courses  [2][tcp.NumStates]course
	oneSided int                           // connections that are not in courses
	entries  []entry                       // those to be listed, the most telling first
	wanted   map[uint64]tracker.Connection // those to be told step by step
}

// look looks at the connections of r, of which those with the IDs wanted, which are in order, are to be told.
func look(r *report.Report, wanted []uint64) *survey {
	n := r.Counts.Connections
	severities := make(map[int]diagnosis.Severity, len(r.Findings))
	for i := range r.Findings {
		severities[r.Findings[i].ID] = min(r.Findings[i].Severity, diagnosis.Critical)
	}
	workers := max(1, min(runtime.GOMAXPROCS(0), n/1024))
	parts := make([]part, workers)
	var all sync.WaitGroup
	for w := range parts {
		parts[w].survey = survey{timeline: newTimeline(r.Capture.First, r.Capture.Last), wanted: make(map[uint64]tracker.Connection)}
		all.Go(func() { parts[w].look(r, n*w/workers, n*(w+1)/workers, wanted, severities) })
	}
	all.Wait()

	s := &parts[0].survey
	var told, others []entry
	for i := range parts {
		p := &parts[i]
		told = append(told, p.told...)
		if i > 0 {
			s.oneSided += p.oneSided
		}
		for id, c := range p.wanted {
			s.wanted[id] = c
		}
		for role := range s.courses {
			for state := range s.courses[role] {
				if i > 0 {
					for at := range s.courses[role][state] {
						s.courses[role][state][at] += p.courses[role][state][at]
					}
				}
			}
		}
	}
	for role := range s.courses {
		for state := range s.courses[role] {
			s.courses[role][state].sum()
		}
	}
	for rank := range numRanks {
		for i := range parts {
			others = append(others, parts[i].first[rank]...)
		}
	}
	s.entries = append(told, others[:min(len(others), maxRows-len(told))]...)
	slices.SortFunc(s.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.standing, b.standing), cmp.Compare(a.id, b.id))
	})
	return s
}

// part is what one goroutine learns.
type part struct {
	survey
	told  []entry           // of those wanted
	first [numRanks][]entry // of the others, the first of each rank
}

// numRanks is how many ranks connections have, the most telling first: those with findings by the worst of these, then the
// other standings.
const numRanks = int(diagnosis.Critical) + int(diagnosis.Clean)

func rank(standing diagnosis.Standing, findings []int, severities map[int]diagnosis.Severity) int {
	if standing > diagnosis.Found {
		return int(diagnosis.Critical) + int(standing)
	}
	worst := diagnosis.Info
	for _, id := range findings {
		worst = max(worst, severities[id])
	}
	return int(diagnosis.Critical - worst)
}

func (p *part) look(r *report.Report, from, to int, wanted []uint64, severities map[int]diagnosis.Severity) {
	var phases []tracker.Phase
	next := 0
	for c, findings := range r.Rows(from, to) {
		if c.Visibility != tracker.BothSides {
			p.oneSided++ // when an end did what is a guess that a chart cannot show as one
		} else {
			for role := range p.courses {
				phases = c.Phases(tracker.Role(role), phases[:0])
				p.count(role, phases)
			}
		}
		for next < len(wanted) && wanted[next] < c.ID {
			next++
		}
		standing := diagnosis.StandingOf(c, len(findings) > 0)
		if next < len(wanted) && wanted[next] == c.ID {
			p.wanted[c.ID] = *c
			if standing < diagnosis.Clean {
				p.told = append(p.told, entryOf(c, findings, standing))
			}
		} else if standing < diagnosis.Clean {
			if n := rank(standing, findings, severities); len(p.first[n]) < maxRows {
				p.first[n] = append(p.first[n], entryOf(c, findings, standing))
			}
		}
	}
}

// count counts an end in its states.
func (p *part) count(role int, phases []tracker.Phase) {
	if p.timeline.n == 0 {
		return
	}
	for i := range phases {
		until := p.timeline.n + 1
		if i+1 < len(phases) {
			until = p.timeline.from(phases[i+1].From)
		}
		if from := p.timeline.from(phases[i].From); from < until {
			p.courses[role][phases[i].State].add(from, until)
		}
	}
}
