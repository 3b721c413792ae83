package metrics

import "maps"

// A total goes on where what it counts begins again, as a capture does that is opened anew.
type total struct{ sum, last uint64 }

func (t *total) take(now uint64) {
	if now < t.last {
		t.last = 0
	}
	t.sum += now - t.last
	t.last = now
}

// evictionKinds are the names of what tracker.Evictions counts, in its order.
var evictionKinds = [...]string{"reset", "finished", "attempt", "established", "half_closed"}

// maxReasons bounds the reasons for which packets are skipped; captures know seven.
const maxReasons = 32

// totals are counters that belong to the capture as a whole.
type totals struct {
	packets, segments, duplicates, droppedKernel, droppedInterface, leanChanges total
	evicted                                                                     [len(evictionKinds)]total
	skipped                                                                     map[string]total
}

func (t *totals) take(c *Capture) {
	t.packets.take(c.Packets)
	t.segments.take(c.Table.Segments)
	t.duplicates.take(c.Table.Duplicates)
	t.droppedKernel.take(c.DroppedKernel)
	t.droppedInterface.take(c.DroppedInterface)
	t.leanChanges.take(c.LeanChanges)
	e := &c.Table.Evicted
	for i, n := range [...]uint64{e.Reset, e.Finished, e.Attempts, e.Established, e.HalfClosed} {
		t.evicted[i].take(n)
	}
	if t.skipped == nil {
		t.skipped = make(map[string]total)
	}
	for reason, n := range c.Skipped {
		reason = label(reason)
		one, ok := t.skipped[reason]
		if !ok && len(t.skipped) >= maxReasons {
			continue
		}
		one.take(n)
		t.skipped[reason] = one
	}
}

// snapshot returns a copy that shares nothing with t.
func (t *totals) snapshot() totals {
	s := *t
	s.skipped = maps.Clone(t.skipped)
	return s
}
