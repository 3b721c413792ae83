package capture

import "time"

// steady makes one clock of the times of an interface's packets when somebody sets this host's: after that, as before, a second is
// a second. The zero steady must not be used.
type steady struct {
	clocks func() (set, unset int64) // this host's clock and one that nobody sets, both in ns
	base   int64                     // how far the first was ahead of the second when the capture began
	move   int64                     // what is added to the times of packets
	newest int64                     // of the times given
}

// unsteady is how far the time of a packet must be from the last for the clocks to be looked at, and they from each other for it to
// count: much more than a packet is late, and less than any threshold.
const unsteady = int64(500 * time.Millisecond)

func newSteady(clocks func() (set, unset int64)) steady {
	set, unset := clocks()
	return steady{clocks: clocks, base: set - unset}
}

// at returns the time, in ns since 1970 on the capture's clock, of a packet that this host's clock gives the time t.
func (s *steady) at(t int64) int64 {
	if far(t+s.move, s.newest) {
		set, unset := s.clocks()
		now := unset + s.base
		// What was waiting when the clock was set still has the time of before.
		if move := now - set; far(move, s.move) && apart(t+move, now) < apart(t+s.move, now) {
			s.move = move
		}
	}
	t += s.move
	s.newest = max(s.newest, t)
	return t
}

func far(a, b int64) bool { return apart(a, b) > unsteady }

func apart(a, b int64) int64 { return max(a-b, b-a) }

// began is when this process was started.
var began = time.Now()
