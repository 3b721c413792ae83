package deliver

import (
	"errors"
	"time"
)

// complainEvery bounds how often an output that goes back and forth is complained about.
const complainEvery = 10 * time.Second

// mood is what was last told of an output. The zero value is that nothing was, and nothing is wrong.
type mood struct {
	told string    // "", or what is wrong
	last string    // what was wrong when it was last told of
	at   time.Time // when that was
}

// after returns what is to be told after a batch of n events that ended with err, or "".
func (m *mood) after(err error, n int) string {
	const refuses, fails = "refuses events, which are lost", "is tried again, and events wait"
	var permanent *Permanent
	now := ""
	switch {
	case errors.As(err, &permanent) && permanent.Divide && n > 1:
		return "" // it may be their number, or one of them: smaller batches will tell
	case permanent != nil:
		now = refuses
	case err != nil:
		now = fails
	}
	switch {
	case now == m.told:
		return ""
	case now == "":
		m.told = ""
		return "takes events again"
	case now == m.last && time.Since(m.at) < complainEvery:
		return ""
	}
	m.told, m.last, m.at = now, now, time.Now()
	return now + ": " + oneLine(err.Error())
}
