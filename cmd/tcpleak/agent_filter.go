package main

import (
	"net/netip"
	"slices"
	"time"

	"tcpleak/capture"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// leaving are the connections of which a filter lets pass less than the one before: what their ends do is not heard any more, or
// of one end only, and silence would be held against them.
type leaving struct {
	gone  func(*tracker.Connection) bool
	until int64 // ns since 1970: when all that was captured before has surely been taken in
}

// passes is capture.Passes.
type passes func(src, dst netip.AddrPort, flags tcp.Flags) bool

// signals are the segments that states follow from. That payload is missing, the states show by themselves.
var signals = [...]tcp.Flags{tcp.ACK, tcp.SYN, tcp.FIN | tcp.ACK, tcp.RST}

// lessThan reports whether the filter leaves out of a connection what another let pass.
func (p passes) lessThan(other passes, client, server netip.AddrPort) bool {
	for _, flags := range signals {
		answer := flags
		if flags == tcp.SYN {
			answer |= tcp.ACK
		}
		if !p(client, server, flags) && other(client, server, flags) || !p(server, client, answer) && other(server, client, answer) {
			return true
		}
	}
	return false
}

// passesOf is what a filter lets pass. Of one for another kind of link that is not known.
func passesOf(filter string) (p passes, known bool) {
	p, err := capture.Passes(filter)
	return p, err == nil
}

// reselect forgets the connections of which a new filter leaves out what the old one let pass. Those that are still heard begin
// anew, in their middle.
func (a *agent) reselect(filter string) {
	if filter == a.current.Filter {
		return
	}
	var err error
	if a.selects, err = capture.Selects(filter); err != nil {
		a.selects = func(_, _ netip.AddrPort) bool { return false }
	}
	before, known := passesOf(a.current.Filter)
	after, alsoKnown := passesOf(filter)
	changed := max(a.now, time.Now().UnixNano()+a.source.Stats().Moved)
	gone := func(c *tracker.Connection) bool {
		if c.Start > changed {
			return false // it is what the new filter has let pass
		}
		if !known || !alsoKnown {
			return true
		}
		client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
		x, y := netip.AddrPortFrom(client.Addr.Netip(), client.Port), netip.AddrPortFrom(server.Addr.Netip(), server.Port)
		// Of packets in tunnels a filter sees the outermost, and in many a capture no tags.
		return a.encaps.Get(c.Encap).Tunnels == 0 && after.lessThan(before, x, y)
	}
	a.table.Forget(a.now, gone)
	a.changes++
	// Their packets that wait to be read would make connections of them again.
	a.leaving = append(a.leaving, leaving{gone, changed + int64(time.Second)})
	// And of those that are heard better now, what was not is no loss.
	a.forgiven = changed
	a.forgive()
}

// forgetLate forgets once more what filters have left out, when nothing can wait to be read that the ones before let pass.
func (a *agent) forgetLate() {
	a.leaving = slices.DeleteFunc(a.leaving, func(l leaving) bool {
		if a.now < l.until {
			return false
		}
		a.table.Forget(a.now, l.gone)
		a.changes++
		return true
	})
}
