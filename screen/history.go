package screen

import (
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
)

// history remembers a minute, second by second.
type history struct {
	second  int64 // that the last of each series stands for, seconds since 1970
	states  [tcp.NumStates][Seconds]uint32
	traffic [Seconds]uint32
	known   int // how many of them there are, the last

	since     int64 // when the packets of the last second were counted from, ns since 1970; 0 before the first
	packets   uint64
	perSecond float64
}

// advance moves on to now, in ns since 1970.
func (h *history) advance(now int64, packets uint64) {
	second := now / int64(time.Second)
	if h.since == 0 {
		h.second, h.since, h.packets, h.known = second, now, packets, 1
		return
	}
	n := min(second-h.second, Seconds)
	if n <= 0 {
		return
	}
	if elapsed := now - h.since; elapsed > 0 {
		h.perSecond = float64(packets-h.packets) / time.Duration(elapsed).Seconds()
	}
	h.second, h.since, h.packets, h.known = second, now, packets, min(h.known+int(n), Seconds)
	for range n {
		copy(h.traffic[:], h.traffic[1:])
		h.traffic[Seconds-1] = uint32(min(h.perSecond+0.5, 1<<32-1))
		for state := range h.states {
			copy(h.states[state][:], h.states[state][1:])
		}
	}
}

// count is how many endpoints there are in each state now.
func (h *history) count(counts *diagnosis.Counts) {
	for state := range h.states {
		h.states[state][Seconds-1] = uint32(min(counts.States[state][0]+counts.States[state][1], 1<<32-1))
	}
}
