//go:build unix && !(darwin || dragonfly || freebsd || netbsd || openbsd)

package main

import "os"

var moreSnapshotSignals []os.Signal
