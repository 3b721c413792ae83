package tracker

import (
	"cmp"
	"slices"

	"tcpleak/tcp"
)

// Phase is a state that an endpoint was in, from a moment on.
type Phase struct {
	State tcp.State
	From  int64 // ns since 1970
}

// Phases appends to buf the states that an end of c went through, the last being the one that it is in. All but that follow
// from when facts came to be true, as captured: they leave out what lasted only until an acknowledgment turned out to be
// lost. An end that the capture shows nothing of has none.
func (c *Connection) Phases(role Role, buf []Phase) []Phase {
	e := &c.Ends[role]
	if e.State == tcp.Unknown || e.State == tcp.Listen {
		return buf
	}
	x, y := &e.Facts, &c.Ends[role.Peer()].Facts
	if e.Packets > 0 && !x.Last.Seen() {
		return append(buf, Phase{e.State, cmp.Or(e.Since, c.Start)}) // nothing but RSTs: it was never part of it
	}
	type event struct {
		fact facts
		at   int64 // 0 is never
	}
	// As of an end that was open when it was first seen.
	sent, acked, ackedBy := c.Start, c.Start, c.Start
	if x.SYN.Seen() || y.SYN.Seen() {
		acked, ackedBy = x.FirstACK.Time, y.FirstACK.Time
		switch {
		case x.SYN.Seen():
			sent = x.SYN.Time
		case !y.SYN.Flags.Any(tcp.ACK):
			// Its SYN-ACK was not captured: it was sent before X, or Y, went on.
			acked = cmp.Or(acked, ackedBy)
			sent = acked
		}
		if x.SYN.Flags.Any(tcp.ACK) {
			acked = sent
		} else {
			ackedBy = acked // whoever opened shows by it that it has had the SYN-ACK
		}
	}
	events := [...]event{
		{synSent, sent}, {ackedSYN, acked}, {synAcked, ackedBy}, {fact: finSent, at: x.FIN.Time}, {fact: finAcked}, {fact: ackedFIN}, {fact: ackedFINFirst},
	}
	if y.AcksFIN {
		events[4].at = max(y.AckReached.Time, x.FIN.Time)
	}
	if x.AcksFIN {
		events[5].at = max(x.AckReached.Time, y.FIN.Time)
		if events[5].at <= x.FIN.Time {
			events[6].at = x.FIN.Time
		}
	}
	slices.SortFunc(events[:], func(a, b event) int { return cmp.Compare(a.at, b.at) })

	first := len(buf)
	add := func(state tcp.State, at int64) {
		if state != tcp.Unknown && (len(buf) == first || buf[len(buf)-1].State != state) {
			buf = append(buf, Phase{state, at})
		}
	}
	var f facts
	for i, event := range events {
		if event.at == 0 || event.at >= e.Since && e.Since != 0 {
			continue
		}
		f |= event.fact
		if i+1 == len(events) || events[i+1].at != event.at {
			add(stateOf(f), event.at)
		}
	}
	add(e.State, cmp.Or(e.Since, c.Start))
	return buf
}
