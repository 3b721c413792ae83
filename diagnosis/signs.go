package diagnosis

import (
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// signs is what can be seen of a connection at a glance, and most do not show: an end in a state, by the state's bit, and
// what follows. Each is set if either end shows it.
type signs uint32

const (
	gaveUpSign signs = 1 << (tcp.NumStates + iota)
	synAgain         // a SYN or SYN-ACK was repeated
	refused
	reset      // a RST was sent
	pastFIN    // something was sent that met the peer's FIN
	asksAgain  // something was asked again that has no answer
	zeroWindow // a window is closed
	sentAgain  // something was sent again
	oddity
	gap // the capture misses octets
)

// inState is the sign of an end in state.
func inState(state tcp.State) signs { return 1 << state }

// allSigns is what some rule looks for.
var allSigns = func() (all signs) {
	for i := range rules {
		all |= rules[i].looksFor
	}
	return all
}()

func signsOf(c *tracker.Connection) signs {
	var shown signs
	if c.Opened == tracker.Refused {
		shown |= refused
	}
	for role := range c.Ends {
		e := &c.Ends[role]
		f := &e.Facts
		shown |= inState(e.State)
		if e.GaveUp {
			shown |= gaveUpSign
		}
		if f.SYNs > 1 {
			shown |= synAgain
		}
		if f.RSTFirst.Seen() || f.RST.Seen() {
			shown |= reset
		}
		if f.PastFIN > 0 {
			shown |= pastFIN
		}
		if f.Repeats > 0 {
			shown |= asksAgain
		}
		if f.ZeroWindow.Seen() {
			shown |= zeroWindow
		}
		if e.Retransmitted > 0 {
			shown |= sentAgain
		}
		if e.MissedBytes > 0 {
			shown |= gap
		}
		for i := range e.Odd {
			if e.Odd[i].Count > 0 {
				shown |= oddity
			}
		}
	}
	return shown
}
