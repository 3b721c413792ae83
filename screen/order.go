package screen

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

// order is the connections that pass a filter, sorted as far as anybody has looked.
type order struct {
	of      ordered
	entries []entry // of these, the first sorted are in their places
	sorted  int
}

// entry is a connection and its place among others: in the order of key, then of the ID.
type entry struct {
	key [2]uint64
	ref tracker.Ref
}

func (e entry) compare(o entry) int {
	switch {
	case e.key[0] != o.key[0]:
		return cmp.Compare(e.key[0], o.key[0])
	case e.key[1] != o.key[1]:
		return cmp.Compare(e.key[1], o.key[1])
	}
	return cmp.Compare(e.ref.ID(), o.ref.ID())
}

// ahead is how much further than necessary is sorted, for those who move on.
const ahead = 256

// upTo puts the first n entries in their places, and returns all of them that are.
func (o *order) upTo(n int) []entry {
	if n = min(n, len(o.entries)); n > o.sorted {
		n = min(n+ahead, len(o.entries))
		rest := o.entries[o.sorted:]
		wanted := n - o.sorted
		selectFirst(rest, wanted)
		slices.SortFunc(rest[:wanted], entry.compare)
		o.sorted = n
	}
	return o.entries[:o.sorted]
}

// selectFirst moves the n least entries to the front, in any order. That takes linear time, unless a peer has contrived its
// addresses or packets so that every pivot is a bad one: what is left after patience of them is sorted.
func selectFirst(entries []entry, n int) {
	for tries := 0; len(entries) > n && n > 0; tries++ {
		const small, patience = 64, 64
		if len(entries) <= small || tries == patience {
			slices.SortFunc(entries, entry.compare)
			return
		}
		a, b, c := entries[0], entries[len(entries)/2], entries[len(entries)-1]
		if a.compare(b) > 0 {
			a, b = b, a
		}
		if b.compare(c) > 0 {
			b = c
			if a.compare(b) > 0 {
				b = a
			}
		}
		// As Hoare has it: [0, j] are at most the pivot b, [i, len) at least.
		i, j := 0, len(entries)-1
		for i <= j {
			for entries[i].compare(b) < 0 {
				i++
			}
			for entries[j].compare(b) > 0 {
				j--
			}
			if i <= j {
				entries[i], entries[j] = entries[j], entries[i]
				i++
				j--
			}
		}
		switch {
		case n <= j+1:
			entries = entries[:j+1]
		case n >= i:
			entries, n = entries[i:], n-i
		default:
			return
		}
	}
}

// keyOf is what c is sorted by.
func keyOf(sort Column, c *tracker.Connection, now int64, findings []int, process string) (key [2]uint64) {
	since, _ := lasting(c)
	age := uint64(0)
	if since != 0 && now > since {
		age = uint64(now - since)
	}
	ends := &c.Ends
	switch sort {
	case ID:
		key[0] = c.ID
	case Client:
		key = addressKey(ends[tracker.Client].Addr, ends[tracker.Client].Port)
	case Server:
		key = addressKey(ends[tracker.Server].Addr, ends[tracker.Server].Port)
	case ClientState:
		key = [2]uint64{uint64(ends[tracker.Client].State), ^age}
	case ServerState:
		key = [2]uint64{uint64(ends[tracker.Server].State), ^age}
	case Age:
		key[0] = age
	case Packets:
		key[0] = ends[0].Packets + ends[1].Packets
	case Bytes:
		key[0] = ends[0].PayloadBytes + ends[1].PayloadBytes
	case Resent:
		key[0] = ends[0].Retransmitted + ends[1].Retransmitted
	case RTT:
		key[0] = uint64(max(c.HandshakeRTT, 0))
	case Process:
		var b [16]byte
		copy(b[:], process)
		key = [2]uint64{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
		if process == "" {
			key = [2]uint64{math.MaxUint64, math.MaxUint64}
		}
	case Findings:
		key = [2]uint64{math.MaxUint32 + uint64(diagnosis.StandingOf(c, len(findings) > 0)), ^age}
		for _, id := range findings {
			key[0] = min(key[0], uint64(id)) // findings are numbered from the worst
		}
	}
	if descending[sort] {
		key = [2]uint64{^key[0], ^key[1]}
	}
	return key
}
