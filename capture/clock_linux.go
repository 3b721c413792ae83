package capture

import (
	"time"

	"golang.org/x/sys/unix"
)

// clocks returns the time since 1970 and the time since this host was started, which goes on while it sleeps, in ns.
func clocks() (set, unset int64) {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Now().UnixNano(), int64(time.Since(began))
	}
	return time.Now().UnixNano(), since.Nano()
}
