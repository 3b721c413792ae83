//go:build !amd64 && !arm64

package tracker

import "unsafe"

func prefetch(*unsafe.Pointer, int) {}

func prefetchRecords(*unsafe.Pointer, int) {}
