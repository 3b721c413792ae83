//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// onSnapshotSignal passes on the signals that ask for a report in between: SIGUSR1, and where there is one SIGINFO, which is
// Ctrl-T.
func onSnapshotSignal(asked chan<- os.Signal) (stop func()) {
	signal.Notify(asked, append([]os.Signal{syscall.SIGUSR1}, moreSnapshotSignals...)...)
	return func() { signal.Stop(asked) }
}
