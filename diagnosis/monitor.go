package diagnosis

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Change is what happened to a finding.
type Change uint8

// The changes.
const (
	Raised  Change = iota
	Updated        // it is worse, or about twice as many connections as when it was last told
	Cleared
)

// String returns "raised", "updated" or "cleared".
func (c Change) String() string { return [...]string{"raised", "updated", "cleared"}[c] }

// Event is a finding that begins, grows or ends.
type Event struct {
	Time    int64 // ns since 1970, on the capture's clock
	Change  Change
	Finding Finding
}

// Monitor follows the findings of successive analyses and says when one is raised, grows and clears. It is not safe for
// concurrent use.
type Monitor struct {
	standing map[key]*standing
	nextID   int
}

type standing struct {
	finding Finding
	told    Finding // as it was last told
	lasting bool    // it had not ended when it was last seen
}

// forgetAfter is how long what happens in a moment, or has ended by itself, stands after the last time.
const forgetAfter = int64(60 * time.Second)

// NewMonitor returns a Monitor that has seen nothing.
func NewMonitor() *Monitor { return &Monitor{standing: make(map[key]*standing)} }

// Update compares a, and what else stands now, with what stood before, and returns what has changed: what is raised first, in
// the order of the findings. Their IDs are the monitor's own: they stay as long as a finding stands.
func (m *Monitor) Update(a *Analysis, more ...Finding) []Event {
	var events []Event
	now := a.now
	found := make(map[key]bool, len(a.Findings))
	for i := range len(a.Findings) + len(more) {
		newest := now
		var f Finding
		if i < len(a.Findings) {
			f = a.Findings[i]
			newest = a.newest(f.key)
		} else {
			f = more[i-len(a.Findings)]
		}
		if now-newest > forgetAfter {
			continue // what is in the table may have happened long ago
		}
		s := m.standing[f.key]
		found[f.key] = true
		if s == nil {
			m.nextID++
			f.ID = m.nextID
			m.standing[f.key] = &standing{f, f, newest == now}
			events = append(events, Event{now, Raised, f})
			continue
		}
		f.ID = s.finding.ID
		s.finding, s.lasting = f, newest == now
		if f.Severity > s.told.Severity || f.Count >= 2*max(s.told.Count, 1) {
			s.told = f
			events = append(events, Event{now, Updated, f})
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.standing), func(a, b key) int {
		return cmp.Compare(m.standing[a].finding.ID, m.standing[b].finding.ID)
	}) {
		if s := m.standing[k]; !found[k] {
			delete(m.standing, k)
			if s.lasting {
				s.finding.For = time.Duration(now - s.finding.Since)
			}
			events = append(events, Event{now, Cleared, s.finding})
		}
	}
	return events
}

// Standing returns the findings that have been raised and not cleared, in the order in which they were raised.
func (m *Monitor) Standing() []Finding {
	var all []Finding
	for _, s := range m.standing {
		all = append(all, s.finding)
	}
	slices.SortFunc(all, func(a, b Finding) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// ID returns the ID under which f, a finding of the last update, stands; 0 if it does not.
func (m *Monitor) ID(f *Finding) int {
	if s := m.standing[f.key]; s != nil {
		return s.finding.ID
	}
	return 0
}

// Beyond returns the summaries of what stands in m and not in o, but for what rests on the kernel.
func (m *Monitor) Beyond(o *Monitor) []string {
	var all []string
	for _, f := range m.Standing() {
		if about, _ := Explain(f.Kind); o.standing[f.key] == nil && !about.Kernel {
			all = append(all, f.Summary)
		}
	}
	return all
}
