package diagnosis

import (
	"hash/maphash"
	"math"
	"math/bits"
)

// hashSeed keeps strangers from choosing addresses that share a hash.
var hashSeed = maphash.MakeSeed()

// sketch counts how often each of many keys occurs, at most: keys that share a bucket are counted together. So that it
// tells which keys may have reached a limit, in two octets for each connection at most by default, where a map takes its keys and more.
type sketch struct {
	buckets []uint16
	limit   uint16
	reached bool // by some bucket
}

// newSketch returns a sketch of n keys at most, with the limit that matters.
func newSketch(n, limit int) sketch {
	limit = max(1, min(limit, math.MaxUint16))
	buckets := max(64, min(n, n/limit*4)) // a bucket has a quarter of the limit on average
	return sketch{buckets: make([]uint16, 1<<bits.Len(uint(buckets-1))), limit: uint16(limit)}
}

func (s *sketch) add(hash uint64) {
	b := &s.buckets[hash&uint64(len(s.buckets)-1)]
	if *b < math.MaxUint16 {
		*b++
	}
	s.reached = s.reached || *b >= s.limit
}

// merge adds what o has counted, of the same size and limit.
func (s *sketch) merge(o *sketch) {
	for i, n := range o.buckets {
		sum := min(uint(s.buckets[i])+uint(n), math.MaxUint16)
		s.buckets[i] = uint16(sum)
		s.reached = s.reached || sum >= uint(s.limit)
	}
}

// may reports whether the key of that hash may have reached the limit.
func (s *sketch) may(hash uint64) bool { return s.buckets[hash&uint64(len(s.buckets)-1)] >= s.limit }
