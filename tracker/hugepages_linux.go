package tracker

import "syscall"

// inHugePages asks the kernel to keep b, which begins and ends with one, in huge pages. Where it has none, nothing changes.
func inHugePages(b []byte) { syscall.Madvise(b, syscall.MADV_HUGEPAGE) }
