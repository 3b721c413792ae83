//go:build amd64 || arm64

package tracker

import "unsafe"

// prefetch has the processor fetch the lines of memory that n pointers point into, and does not wait for them.
//
//go:noescape
func prefetch(at *unsafe.Pointer, n int)

// prefetchRecords is prefetch for the lines of n records that a segment in the middle of a connection needs.
//
//go:noescape
func prefetchRecords(at *unsafe.Pointer, n int)
