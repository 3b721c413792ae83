package diagnosis

import (
	"fmt"
	"strings"

	"tcpleak/tracker"
)

// Quality is how far a capture may be trusted.
type Quality struct {
	Capture
	Connections int
	OneSided    int    // connections of which one direction was captured
	Midstream   int    // connections that were open when they were first seen
	Incomplete  int    // connections of which bytes are missing
	MissedBytes uint64 // acknowledged, but not captured
}

func (q *Quality) add(c *tracker.Connection) {
	q.Connections++
	if c.Visibility != tracker.BothSides {
		q.OneSided++
	}
	if c.Opened == tracker.Midstream {
		q.Midstream++
	}
	if missed := c.Ends[tracker.Client].MissedBytes + c.Ends[tracker.Server].MissedBytes; missed > 0 {
		q.Incomplete++
		q.MissedBytes += missed
	}
}

// merge adds the connections of o.
func (q *Quality) merge(o *Quality) {
	q.Connections += o.Connections
	q.OneSided += o.OneSided
	q.Midstream += o.Midstream
	q.Incomplete += o.Incomplete
	q.MissedBytes += o.MissedBytes
}

// Trusted reports whether silence in the capture is silence on the wire, as far as the capture itself can tell.
func (q *Quality) Trusted() bool {
	return q.Dropped == 0 && !q.Truncated && q.MissedBytes == 0 && q.Evicted == 0 && q.OneSided == 0
}

// Verdict says in one line whether what the capture does not show may be believed not to have happened.
func (q *Quality) Verdict() string {
	var doubts []string
	doubt := func(n uint64, format string) {
		if n > 0 {
			doubts = append(doubts, fmt.Sprintf(format, n))
		}
	}
	doubt(q.Dropped, "%d packets were dropped before they could be captured")
	doubt(q.MissedBytes, "%d acknowledged bytes are missing")
	if q.Truncated {
		doubts = append(doubts, "a file is cut off")
	}
	doubt(uint64(q.OneSided), "one direction of %d connections is missing")
	doubt(q.Evicted, "%d connections were forgotten")
	switch {
	case q.Connections == 0:
		return "There is nothing to judge."
	case len(doubts) > 0:
		return "Silence in this capture proves less than it could: " + strings.Join(doubts, ", ") + "."
	case q.Midstream > 0:
		return fmt.Sprintf("Silence in this capture is silence: nothing is missing. %d of %d connections began before it: what is said of their age is a lower bound.",
			q.Midstream, q.Connections)
	}
	return "Silence in this capture is silence: nothing is missing."
}
