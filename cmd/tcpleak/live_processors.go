package main

import (
	"os"
	"runtime"
	"time"
)

// processors leaves this process one processor while hardly anything passes. Goroutines that wait in libpcap keep theirs for 10 ms;
// and as long as another is idle, the runtime looks 60 times meanwhile whether they should be taken from them (runtime.retake),
// which makes 300 wakeups a second, more than one per cent of a core. Where there is no other, it takes them at once.
type processors struct {
	all     int // that there were
	one     bool
	quiet   int // looks in a row at which hardly anything had passed
	at      time.Time
	packets uint64
}

// quietLooks is for how many looks, lookEvery apart at least, hardly anything must have passed.
const quietLooks = 4

// look takes in how many packets there have been until a time. A nil p does nothing.
func (p *processors) look(at time.Time, packets uint64) {
	if p == nil {
		return
	}
	few := float64(packets-p.packets) < restRate*at.Sub(p.at).Seconds()
	p.at, p.packets = at, packets
	if p.quiet++; !few {
		p.quiet = 0
	}
	switch one := p.quiet >= quietLooks; {
	case one && !p.one:
		p.all, p.one = runtime.GOMAXPROCS(1), true
	case !one && p.one:
		p.giveBack()
	}
}

// giveBack has the process use all processors again.
func (p *processors) giveBack() {
	if !p.one {
		return
	}
	p.one, p.quiet = false, 0
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.SetDefaultGOMAXPROCS() // which goes on to follow limits that change
	} else {
		runtime.GOMAXPROCS(p.all)
	}
}
