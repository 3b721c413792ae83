package diagnosis

import (
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Standing orders connections by how much there is to say about them.
type Standing uint8

// The standings, the most telling first.
const (
	Found     Standing = iota // not ended cleanly, with a finding
	Unclean                   // not ended cleanly, without one
	StillOpen                 // established at both ends, without a finding
	Clean                     // ended as TCP means it to: by a FIN from each end, each acknowledged
	NumStandings
)

// StandingOf returns the standing of c; found is whether there is a finding about it.
func StandingOf(c *tracker.Connection, found bool) Standing {
	switch {
	case c.EndedBy == tracker.EndedByFIN:
		return Clean
	case found:
		return Found
	case c.EndedBy == tracker.NotEnded && c.Ends[0].State == tcp.Established && c.Ends[1].State == tcp.Established:
		return StillOpen
	}
	return Unclean
}

// Counts counts connections and their ends.
type Counts struct {
	Connections int
	States      [tcp.NumStates][2]int // by role
	Standings   [NumStandings]int
}

// Add counts c; found is whether there is a finding about it.
func (n *Counts) Add(c *tracker.Connection, found bool) {
	n.Connections++
	for role := range c.Ends {
		n.States[min(int(c.Ends[role].State), tcp.NumStates-1)][role]++
	}
	n.Standings[StandingOf(c, found)]++
}

func (n *Counts) merge(o *Counts) {
	n.Connections += o.Connections
	for state := range n.States {
		for role := range n.States[state] {
			n.States[state][role] += o.States[state][role]
		}
	}
	for i := range n.Standings {
		n.Standings[i] += o.Standings[i]
	}
}
