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

// outliveReader lets a write to standard output fail when nobody reads it any more, where it would end the process: packets
// that go there are not all that a capture is for.
func outliveReader() { signal.Ignore(syscall.SIGPIPE) }
