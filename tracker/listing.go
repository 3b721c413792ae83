package tracker

import (
	"cmp"
	"iter"
	"math"
	"slices"
)

// Listing is the connections of a Table in the order of their IDs, numbered from 0. It is valid until the table takes in
// more; until then it may be used concurrently.
type Listing struct {
	t     *Table
	order []place
}

// List returns the connections that t holds.
func (t *Table) List() Listing { return Listing{t, t.byID()} }

// Len returns the number of connections.
func (l Listing) Len() int { return len(l.order) }

// View fills in c with connection i as it stands at now, in ns since 1970.
func (l Listing) View(i int, now int64, c *Connection) {
	at := l.order[i]
	l.t.parts[at.part()].view(at.index(), now, c)
}

// Connections yields every connection as it stands at now (ns since 1970), in the order of ID: judged by the segments taken
// in so far and the silence since. The Connection is reused: it is valid until the next one.
func (t *Table) Connections(now int64) iter.Seq[*Connection] {
	return func(yield func(*Connection) bool) {
		var view Connection
		l := t.List()
		for i := range l.order {
			l.View(i, now, &view)
			if !yield(&view) {
				return
			}
		}
	}
}

// byID returns the places of the connections by their IDs. As long as few were forgotten, an ID says where; then they are
// sorted by their digits: 48 ns for each of 100,000 connections, against 318 ns by comparison (BenchmarkList).
func (t *Table) byID() []place {
	n := t.Len()
	if t.lastID <= 2*uint64(n) {
		const none = ^place(0)
		order := slices.Repeat([]place{none}, int(t.lastID))
		t.each(func(id uint64, at place) { order[id-1] = at })
		return slices.DeleteFunc(order, func(at place) bool { return at == none })
	}
	order := make([]place, 0, n)
	first, last := ^uint64(0), uint64(0)
	t.each(func(id uint64, at place) {
		first, last = min(first, id), max(last, id)
		order = append(order, at)
	})
	if len(order) == 0 || last-first > math.MaxUint32 {
		slices.SortFunc(order, func(a, b place) int { return cmp.Compare(t.number(a), t.number(b)) })
		return order
	}
	keys, sorted := make([]uint64, len(order)), make([]uint64, len(order)) // the ID since first, and the place
	for i, at := range order {
		keys[i] = (t.number(at)-first)<<32 | uint64(at)
	}
	const digit = 11
	for shift := 32; (last-first)<<32>>shift != 0; shift += digit {
		var starts [1 << digit]uint32
		for _, key := range keys {
			starts[key>>shift%(1<<digit)]++
		}
		sum := uint32(0)
		for d, n := range starts {
			starts[d], sum = sum, sum+n
		}
		for _, key := range keys {
			d := key >> shift % (1 << digit)
			sorted[starts[d]] = key
			starts[d]++
		}
		keys, sorted = sorted, keys
	}
	for i, key := range keys {
		order[i] = place(key)
	}
	return order
}

// each calls visit for every connection.
func (t *Table) each(visit func(id uint64, at place)) {
	for _, p := range t.parts {
		for i := range p.records.used {
			if r := p.at(i); r.used() {
				visit(r.number(), p.placeOf(i))
			}
		}
	}
}

func (t *Table) number(at place) uint64 { return t.parts[at.part()].at(at.index()).number() }

// Find returns the number of the connection with the given ID, and whether it is held.
func (l Listing) Find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(l.order, id, func(at place, id uint64) int { return cmp.Compare(l.t.number(at), id) })
}
