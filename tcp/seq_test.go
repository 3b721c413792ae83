package tcp_test

import (
	"testing"
	"testing/quick"

	"tcpleak/tcp"
)

func TestSequenceNumbersAreOrderedAcrossTheWrap(t *testing.T) {
	for _, c := range []struct {
		s, t   tcp.Seq
		before bool
		sub    int32
	}{
		{0, 1, true, -1},
		{1, 0, false, 1},
		{0xffffffff, 0, true, -1},
		{0xfffffff0, 0x10, true, -32},
		{0x10, 0xfffffff0, false, 32},
		{0x7fffffff, 0, false, 0x7fffffff},
		{5, 5, false, 0},
	} {
		if got := c.s.Before(c.t); got != c.before {
			t.Errorf("%#x.Before(%#x) = %v, want %v", c.s, c.t, got, c.before)
		}
		if got := c.s.Sub(c.t); got != c.sub {
			t.Errorf("%#x.Sub(%#x) = %d, want %d", c.s, c.t, got, c.sub)
		}
	}
}

func TestAddAndSubAreInverse(t *testing.T) {
	inverse := func(s tcp.Seq, n uint32) bool {
		n &= 0x7fffffff
		sum := s.Add(n)
		return sum.Sub(s) == int32(n) && sum.AtOrAfter(s) && (n == 0 || sum.After(s)) && sum.Max(s) == sum && s.Max(sum) == sum
	}
	if err := quick.Check(inverse, nil); err != nil {
		t.Error(err)
	}
}
