//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"os"
	"syscall"
)

var moreSnapshotSignals = []os.Signal{syscall.SIGINFO}
