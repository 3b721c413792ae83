//go:build !linux

package capture

import "time"

// clocks returns the time since 1970 and the time since this process was started, in ns.
func clocks() (set, unset int64) { return time.Now().UnixNano(), int64(time.Since(began)) }
