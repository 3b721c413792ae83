//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// onSnapshotSignal passes on the signals that ask for a report in between: SIGUSR1, and where there is one SIGINFO, which is
// Ctrl-T.
func onSnapshotSignal(asked chan<- os.Signal) (stop func()) {
	signal.Notify(asked, append([]os.Signal{syscall.SIGUSR1}, moreSnapshotSignals...)...)
	return func() { signal.Stop(asked) }
}

// outliveReader lets a write to standard output fail when nobody reads it any more, where it would end the process: there may be
// files to finish.
func outliveReader() { signal.Ignore(syscall.SIGPIPE) }

// readerLeft reports whether f is a pipe or socket that nobody reads any more.
func readerLeft(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
