package diagnosis

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"time"

	"tcpleak/tracker"
)

// Event is a finding that begins or ends.
type Event struct {
	Time    int64 // ns since 1970, on the capture's clock
	Raised  bool  // otherwise cleared
	Finding Finding
}

// Monitor follows the connections of a table and says when a finding is raised and when it clears: once each. It is not
// safe for concurrent use.
type Monitor struct {
	rules    *Rules
	standing map[uint64]Finding // by connection
	due      alarms
	pending  map[uint64]int64 // the alarm of a connection that counts: the earliest
	nextID   int
}

// NewMonitor returns a Monitor that has seen nothing.
func NewMonitor(r *Rules) *Monitor {
	return &Monitor{rules: r, standing: make(map[uint64]Finding), pending: make(map[uint64]int64)}
}

// Update looks at the connections of t that changed and at those whose time has come, and returns what that raises and
// clears. The time now, in ns since 1970, must not run backwards. The table must collect changes. Connections that nothing
// happens to cost nothing.
func (m *Monitor) Update(t *tracker.Table, now int64) []Event {
	var events []Event
	for c := range t.Changed(now) {
		events = m.look(c, now, events)
	}
	var c tracker.Connection
	for len(m.due) > 0 && m.due[0].at <= now {
		a := heap.Pop(&m.due).(alarm)
		if m.pending[a.ref.ID()] != a.at {
			continue // another alarm has taken its place
		}
		delete(m.pending, a.ref.ID())
		if t.Get(a.ref, now, &c) {
			events = m.look(&c, now, events)
		} else {
			events = m.clear(a.ref.ID(), now, events) // forgotten to save memory
		}
	}
	return events
}

// Standing returns the findings that have been raised and not cleared, in the order in which they were raised.
func (m *Monitor) Standing() []Finding {
	return slices.SortedFunc(maps.Values(m.standing), func(a, b Finding) int { return cmp.Compare(a.ID, b.ID) })
}

// look brings what is known about c up to date.
func (m *Monitor) look(c *tracker.Connection, now int64, events []Event) []Event {
	f, found := m.rules.Diagnose(c, now)
	old, stood := m.standing[c.ID]
	if stood && (!found || f.Kind != old.Kind) {
		events = m.clear(c.ID, now, events)
		stood = false
	}
	if !found {
		m.wake(c, m.rules.Due(c))
		return events
	}
	if stood {
		f.ID = old.ID
	} else {
		m.nextID++
		f.ID = m.nextID
		events = append(events, Event{Time: now, Raised: true, Finding: f})
	}
	m.standing[c.ID] = f
	// Silence alone can end a finding, as it shows that a repeated SYN-ACK has been acknowledged after all. The longer
	// one has stood, the less that hurries.
	m.wake(c, add(now, min(max(f.For/4, time.Second), time.Minute)))
	return events
}

func (m *Monitor) clear(id uint64, now int64, events []Event) []Event {
	f, ok := m.standing[id]
	if !ok {
		return events
	}
	delete(m.standing, id)
	f.For = time.Duration(now - f.Since)
	return append(events, Event{Time: now, Finding: f})
}

// wake has c looked at again at the given time or before. An earlier alarm stays, so that the heap does not grow with what
// happens to a connection.
func (m *Monitor) wake(c *tracker.Connection, at int64) {
	if set, ok := m.pending[c.ID]; at == never || ok && set <= at {
		return
	}
	m.pending[c.ID] = at
	heap.Push(&m.due, alarm{at, c.Ref})
}

// alarm is a time at which a connection may have become a finding.
type alarm struct {
	at  int64
	ref tracker.Ref
}

// alarms is a heap, the earliest first.
type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at < a[j].at }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}
