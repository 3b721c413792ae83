package page

import (
	"net/netip"
	"slices"
	"strconv"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

type tableView struct {
	Heading string
	Rows    []rowView
	More    string
	States  []string // those that occur, to filter by
	Kinds   []string
	Marks   []markView
}

type rowView struct {
	ID      uint64
	Ladder  bool // there is one
	Client  string
	Server  string
	States  [2]stateView
	For     string
	Seconds int64 // for sorting; in ns
	Packets string
	PacketN uint64
	Bytes   string
	ByteN   uint64
	Kinds   []link
}

type stateView struct{ Name, Class, Mark string }

type markView struct{ Mark, Name, Text string }

func endName(a tcp.Addr, port uint16) string { return netip.AddrPortFrom(a.Netip(), port).String() }

// classOf is the class of a state's colour.
func classOf(s tcp.State) string { return "s" + strconv.Itoa(int(s)) }

func (b *builder) table() tableView {
	entries, standings := b.survey.entries, &b.r.Counts.Standings
	all := b.r.Counts.Connections
	unclean := all - standings[diagnosis.Clean]
	t := tableView{Heading: number(unclean) + " of " + count(all, "connection") + " did not end cleanly"}
	switch {
	case all == 1 && unclean == 0:
		t.Heading = "The only connection ended cleanly"
	case unclean == 0:
		t.Heading = "All " + count(all, "connection") + " ended cleanly"
	}
	var states [tcp.NumStates]bool
	var marks [tracker.Confirmed + 1]bool
	kinds := make(map[string]bool)
	for i := range entries {
		e := &entries[i]
		row := rowView{ID: e.id, Ladder: b.drawn[e.id], Client: endName(e.ends[0].addr, e.ends[0].port), Server: endName(e.ends[1].addr, e.ends[1].port)}
		for role := range e.ends {
			x := &e.ends[role]
			view := stateView{Name: x.state.String(), Class: classOf(x.state)}
			if x.state != tcp.Unknown {
				view.Mark = mark(x.certainty)
				marks[min(x.certainty, tracker.Confirmed)] = true
			}
			row.States[role] = view
			states[x.state] = true
			row.PacketN += x.packets
			row.ByteN += x.bytes
		}
		row.Packets = number(e.ends[0].packets) + " / " + number(e.ends[1].packets)
		row.Bytes = number(e.ends[0].bytes) + " / " + number(e.ends[1].bytes)
		if now := b.r.Capture.Last; e.since != 0 && now >= e.since {
			row.Seconds, row.For = now-e.since, age(now-e.since)
			if e.atLeast {
				row.For = "≥" + row.For
			}
		}
		for _, id := range e.findings {
			l := link{Text: string(b.kinds[id])}
			if b.shown[id] {
				l.To = anchor(id)
			}
			if l.Text != "" && !slices.ContainsFunc(row.Kinds, func(o link) bool { return o.Text == l.Text }) {
				kinds[l.Text] = true
				row.Kinds = append(row.Kinds, l)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	if more := unclean - len(entries); more > 0 {
		t.More = "Left out: " + count(more, "more connection") + "; the page lists " + number(len(entries)) + ", the most telling first."
	}
	for state, occurs := range states {
		if occurs {
			t.States = append(t.States, tcp.State(state).String())
		}
	}
	for _, about := range diagnosis.Kinds() {
		if kinds[string(about.Kind)] {
			t.Kinds = append(t.Kinds, string(about.Kind))
		}
	}
	for _, c := range []tracker.Certainty{tracker.Presumed, tracker.Assumed} {
		if marks[c] {
			t.Marks = append(t.Marks, markView{mark(c), c.String(), report.Basis(c)})
		}
	}
	return t
}
