package names

const (
	tlsHandshake = 0x16 // type of a record, RFC 8446 5.1
	clientHello  = 1    // type of a handshake message
)

// reader takes a message apart. What is beyond its end is empty.
type reader []byte

func (r *reader) take(n int) reader {
	if n > len(*r) {
		*r = nil
		return nil
	}
	taken := (*r)[:n:n]
	*r = (*r)[n:]
	return taken
}

// number takes a number of n octets; -1 if they are not there.
func (r *reader) number(n int) int {
	taken := r.take(n)
	if len(taken) < n {
		return -1
	}
	value := 0
	for _, c := range taken {
		value = value<<8 | int(c)
	}
	return value
}

// skip passes over a vector whose length has n octets.
func (r *reader) skip(n int) {
	r.take(max(r.number(n), 0))
}

// serverName returns the server name in the ClientHello (RFC 8446 4.1.2, RFC 6066 3) that b, which may be cut off, begins
// with; nil if there is none, or not all of it.
func serverName(b []byte) []byte {
	r := reader(b)
	header := r.take(3)
	if len(header) < 3 || header[0] != tlsHandshake || header[1] != 3 {
		return nil
	}
	// In several records, what follows the first is left out, as is what follows the segment.
	if size := r.number(2); size >= 0 {
		r = r[:min(size, len(r))]
	}
	if r.number(1) != clientHello {
		return nil
	}
	if size := r.number(3); size >= 0 {
		r = r[:min(size, len(r))]
	}
	r.take(2 + 32) // version and random
	r.skip(1)      // session
	r.skip(2)      // cipher suites
	r.skip(1)      // compression
	if size := r.number(2); size >= 0 {
		r = r[:min(size, len(r))]
	}
	for len(r) > 0 {
		kind, size := r.number(2), r.number(2)
		if kind != 0 { // server_name
			r.take(max(size, 0))
			continue
		}
		if size < 0 {
			return nil
		}
		r = r[:min(size, len(r))]
		r.take(2) // of the list, which has one name
		if r.number(1) != 0 {
			return nil
		}
		return r.take(max(r.number(2), 0))
	}
	return nil
}
