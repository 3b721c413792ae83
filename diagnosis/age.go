package diagnosis

import (
	"fmt"
	"time"
)

// Age writes a duration for people, two units at most, "5m01s", "3d04h", "1.5s", "51µs".
func Age(d time.Duration) string {
	switch d = max(d, 0); {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d/time.Hour%24)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d/time.Minute%60)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d/time.Second%60)
	case d >= 10*time.Second:
		return d.Truncate(time.Second).String()
	case d >= time.Second:
		return d.Truncate(100 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Truncate(time.Millisecond).String()
	}
	return d.Truncate(time.Microsecond).String()
}
