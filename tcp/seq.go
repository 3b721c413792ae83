package tcp

// Seq is a TCP sequence number: 32 bits that wrap (RFC 9293 3.4). Two of them can be ordered only while they lie less
// than 2³¹ apart, which RFC 9293 guarantees within one connection's window.
type Seq uint32

// Before reports whether s comes earlier in the sequence space than t.
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// After reports whether s comes later in the sequence space than t.
func (s Seq) After(t Seq) bool { return int32(s-t) > 0 }

// AtOrAfter reports whether s is t or comes later.
func (s Seq) AtOrAfter(t Seq) bool { return int32(s-t) >= 0 }

// Add returns the sequence number n octets further on.
func (s Seq) Add(n uint32) Seq { return s + Seq(n) }

// Sub returns the signed distance from t to s in octets: positive when s comes later.
func (s Seq) Sub(t Seq) int32 { return int32(s - t) }

// Max returns the later of s and t.
func (s Seq) Max(t Seq) Seq {
	if s.Before(t) {
		return t
	}
	return s
}
