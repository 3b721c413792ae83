package tracker

import (
	"sync"
	"unsafe"

	"tcpleak/tcp"
)

// slab is a growing array of T whose elements never move. A freed element is given out again.
type slab[T any] struct {
	chunks []*[slabSize]T
	more   func() *[slabSize]T // gives another chunk; nil takes it from the heap
	used   uint32              // given out at least once
	free   []uint32
}

const slabSize = 512 // elements; 512 records are 20 pages of the Go heap, of 8 KiB, with nothing left over

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i/slabSize][i%slabSize] }

// room reports whether take needs no memory.
func (s *slab[T]) room() bool { return len(s.free) > 0 || int(s.used) < len(s.chunks)*slabSize }

// take returns the index of an element, whose content is that which it was freed with.
func (s *slab[T]) take() uint32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	if int(s.used) == len(s.chunks)*slabSize {
		s.chunks = append(s.chunks, s.chunk())
	}
	s.used++
	return s.used - 1
}

func (s *slab[T]) chunk() *[slabSize]T {
	if s.more != nil {
		return s.more()
	}
	return new([slabSize]T)
}

func (s *slab[T]) give(i uint32) { s.free = append(s.free, i) }

// held returns how many elements are given out.
func (s *slab[T]) held() int { return int(s.used) - len(s.free) }

// quarry gives out the chunks of records that all parts of a Table take. Where there are many, it cuts them from blocks in huge
// pages: each segment is of another connection, somewhere among tens of megabytes, and with pages of 4 KiB the processor has to
// look up its page first; and to enter one of 4 KiB for the first time takes the kernel 2.4 µs in the virtual machine that this
// was measured on, and one of 2 MiB 230. Of the processor time for a capture of 195,000 connections, that saves 0 to 10 %: the more,
// the busier the machine is.
type quarry struct {
	mu    sync.Mutex
	given int
	block [][slabSize]record
}

const (
	singleChunks = 2 * tcp.NumParts // that are given out before there are blocks
	hugePage     = 2 << 20          // on amd64, and on arm64 with other pages of 4 KiB
	blockChunks  = 64               // 10 MiB: five huge pages, of which those that are not given out yet take no memory
)

func (q *quarry) chunk() *[slabSize]record {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.given++; q.given <= singleChunks {
		return new([slabSize]record)
	}
	if len(q.block) == 0 {
		// The heap does not align to huge pages. What is asked for in addition is never touched.
		const size = blockChunks * unsafe.Sizeof([slabSize]record{})
		b := make([]byte, size+hugePage)
		begin := uintptr(unsafe.Pointer(&b[0]))
		b = b[-begin&(hugePage-1):][:size]
		inHugePages(b)
		q.block = unsafe.Slice((*[slabSize]record)(unsafe.Pointer(&b[0])), blockChunks)
	}
	c := &q.block[0]
	q.block = q.block[1:]
	return c
}
