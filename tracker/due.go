package tracker

import "math"

// Never is a time that does not come, in ns since 1970.
const Never = int64(math.MaxInt64)

// clock is the moment at which something is concluded. All that a conclusion knows of time it asks here, by past; so the clock
// knows until when each answer would be the same, and the conclusion with it.
type clock struct {
	now   int64 // ns since 1970
	until int64 // the earliest moment at which an answer differs
}

func clockAt(now int64) clock { return clock{now, Never} }

// past reports whether more than d ns have passed since t.
func (c *clock) past(t, d int64) bool {
	at := t + d
	switch {
	case d > 0 && at < t: // a capture's clock may be absurd
		return false
	case c.now > at:
		return true
	}
	c.until = min(c.until, max(at, at+1))
	return false
}
