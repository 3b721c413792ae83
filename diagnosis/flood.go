package diagnosis

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"tcpleak/tracker"
)

// A flood that the server does not answer, as its queue is full or somebody drops it on the way, is told from clients of a server that
// is down by what no client does: they repeat their SYNs, and are not so many who ask only once.
const (
	// askedTimes is how many times as many SYNs as half-open handshakes it takes, within askedWindow.
	askedTimes  = 10
	askedWindow = int64(10 * time.Second)
	// repeatTime is after how long a client has surely repeated its SYN: the first time is after 1 s (RFC 6298 2.1), after 3 s by RFC 1122. As long,
	// an end in SYN_SENT has not given up: so an analysis knows when more count.
	repeatTime = int64(3500 * time.Millisecond)
	// askedShare is how many times as many these SYNs are as those that were repeated and handshakes that completed.
	askedShare = 3
)

// ask is a SYN that was not answered: there may be one for each connection that is held.
type ask struct {
	start  int64
	source uint64 // hash of the address, but for the lowest bit: it was not repeated
}

func newAsk(c *tracker.Connection, once bool) ask {
	a := ask{c.Start, hashOf(c.Ends[tracker.Client].Addr) &^ 1}
	if once {
		a.source |= 1
	}
	return a
}

func (a *ask) once() bool { return a.source&1 != 0 }

// unanswered reports whether the SYNs of c were not answered, and once, whether there was one.
func unanswered(c *tracker.Connection) (is, once bool) {
	is = c.Opened == tracker.Unanswered && c.Ends[tracker.Server].Packets == 0
	return is, is && c.Ends[tracker.Client].Facts.SYNs == 1
}

// answered reports whether a server was heard there: what only asks may be all that the capture was to hold.
func (w *crowd) answered(e endpoint) bool {
	p := w.ports[e]
	return p != nil && p.completed+p.halfOpen > 0
}

// findAsked looks for floods among SYNs that were not answered. How many handshakes completed is not known yet.
func (w *crowd) findAsked(parts []part) {
	for i := range parts {
		for at := range parts[i].asks {
			if w.floods[at] != nil || !w.answered(at) {
				continue
			}
			runs := make([][]ask, 0, len(parts))
			for k := range parts {
				runs = append(runs, parts[k].asks[at])
				delete(parts[k].asks, at)
			}
			run := slices.Concat(runs...)
			byStart := func(a, b ask) int { return cmp.Compare(a.start, b.start) }
			if !slices.IsSortedFunc(run, byStart) {
				slices.SortStableFunc(run, byStart)
			}
			if f := w.asked(run); f != nil {
				w.floods[at] = f
			}
		}
		parts[i].asks = nil
	}
}

// asked looks for a flood among the SYNs for one port, in the order of time.
func (w *crowd) asked(run []ask) *flood {
	// Where attempts are forgotten, those that are held may all be too young to have been repeated.
	settled := w.now - repeatTime
	if w.forgotten > 0 && run[0].start >= settled {
		settled = w.now + 1
	}
	var f flood
	first, once, from, to := 0, 0, 0, 0
	counts := func(a *ask) bool { return a.once() && a.start < settled }
	for i := range run {
		for ; run[first].start < run[i].start-askedWindow; first++ {
			if counts(&run[first]) {
				once--
			}
		}
		if counts(&run[i]) {
			once++
			f.end = run[i].start
		}
		if once > f.peak {
			f.peak, from, to = once, first, i
		}
	}
	if f.peak < askedTimes*w.rules.thresholds[SYNFlood].Count {
		return nil
	}
	var sources []uint64
	for i := from; i <= to; i++ {
		if counts(&run[i]) {
			sources = append(sources, run[i].source)
		} else if !run[i].once() {
			f.repeated++
		}
	}
	slices.Sort(sources)
	sources = slices.Compact(sources)
	f.asked, f.start, f.peakAt, f.sources = true, run[from].start, run[to].start, len(sources)
	if 2*f.sources < f.peak {
		return nil // clients that give up sooner than they repeat a SYN, and ask anew
	}
	return &f
}

// outnumbers reports whether f is more than what is usual at its port.
func (f *flood) outnumbers() bool {
	completed := f.completed.Load()
	if f.asked {
		return int64(f.peak) >= askedShare*(completed+int64(f.repeated))
	}
	return int64(f.peak) > completed
}

// describeAsked says of a flood that the server does not answer what differs.
func (a *Analysis) describeAsked(f *Finding, flood *flood) {
	f.Summary = fmt.Sprintf("%d SYNs for %s within 10 s, from %d addresses, were neither answered nor repeated; %d handshakes completed meanwhile.",
		flood.peak, f.key.service, flood.sources, flood.completed.Load())
	if a.forgotten > 0 {
		f.Summary += fmt.Sprintf(" %d attempts more were seen in this capture, and forgotten to stay within the limits.", a.forgotten)
	}
	if a.crowd.lossy {
		f.Certainty = min(f.Certainty, tracker.Presumed) // the answers may have passed
	}
	f.Cause = "Somebody sends SYNs with forged source addresses: a client would repeat its SYN after a second. The server's SYN queue is full, or they are dropped on the way to it."
}
