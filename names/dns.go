package names

import (
	"encoding/binary"

	"tcpleak/tcp"
)

const portMDNS = 5353

// Types and the class of resource records, RFC 1035 3.2 and RFC 3596.
const (
	typeA      = 1
	typeCNAME  = 5
	typeAAAA   = 28
	classIN    = 1
	cacheFlush = 0x8000 // of the class, in mDNS, RFC 6762 10.2
)

// What is read of one message: in all, 64 names four times, whatever its sender has laid out.
const (
	maxRecords   = 64
	maxAddresses = 16
	maxWalks     = 4 // to follow aliases that are not in their order
	dnsHeader    = 12
)

// answer is what a DNS message says of addresses: the name that was asked for, not the alias that has them.
type answer struct {
	found [maxAddresses]address
	n     int
}

type address struct {
	addr tcp.Addr
	text [maxName]byte
	size int
}

func (a *address) name() []byte { return a.text[:a.size] }

func (a *answer) add(addr tcp.Addr, name []byte) {
	if a.n < maxAddresses && len(name) > 0 && !addr.Netip().IsUnspecified() {
		f := &a.found[a.n]
		f.addr, f.size = addr, copy(f.text[:], name)
		a.n++
	}
}

// parse reads a message, which may be cut off, and reports whether there are addresses in it. A multicast one (RFC 6762)
// may answer what nobody asked.
func (a *answer) parse(b []byte, multicast bool) bool {
	const response, opcode, rcode = 0x8000, 0x7800, 0x000f
	if len(b) < dnsHeader {
		return false
	}
	flags, questions := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[4:])
	if flags&response == 0 || flags&(opcode|rcode) != 0 {
		return false
	}
	records := min(int(binary.BigEndian.Uint16(b[6:])), maxRecords)
	at := dnsHeader
	switch {
	case questions == 0 && multicast:
		walk(b, at, records, func(r *record) {
			if addr, ok := r.address(); ok {
				a.add(addr, r.owner)
			}
		})
		return a.n > 0
	case questions != 1:
		return false
	}
	var askedText, currentText [maxName]byte
	asked, at, ok := domainName(b, at, askedText[:0])
	if !ok || len(asked) == 0 {
		return false
	}
	at += 4 // type and class
	current := append(currentText[:0], asked...)
	for range maxWalks {
		alias := false
		walk(b, at, records, func(r *record) {
			if r.kind == typeCNAME && string(r.owner) == string(current) {
				var text [maxName]byte
				if target, _, ok := domainName(b, r.at, text[:0]); ok {
					current, alias = append(current[:0], target...), true
				}
			}
		})
		if !alias {
			break
		}
	}
	walk(b, at, records, func(r *record) {
		if addr, ok := r.address(); ok && string(r.owner) == string(current) {
			a.add(addr, asked)
		}
	})
	return a.n > 0
}

// record is a resource record, RFC 1035 4.1.3.
type record struct {
	owner []byte // "" if it is no host name
	kind  uint16
	at    int    // where the data begins in the message
	data  []byte // all of it
}

func (r *record) address() (addr tcp.Addr, ok bool) {
	switch {
	case r.kind == typeA && len(r.data) == 4:
		return tcp.AddrFrom4([4]byte(r.data)), true
	case r.kind == typeAAAA && len(r.data) == 16:
		return tcp.AddrFrom16([16]byte(r.data)), true
	}
	return tcp.Addr{}, false
}

// walk calls see for each record of the Internet's class, up to where b is cut off.
func walk(b []byte, at, records int, see func(*record)) {
	const fixed = 10 // octets between owner and data
	var text [maxName]byte
	for range records {
		owner, next, ok := domainName(b, at, text[:0])
		if !ok || len(b)-next < fixed {
			return
		}
		r := record{owner: owner, kind: binary.BigEndian.Uint16(b[next:]), at: next + fixed}
		class := binary.BigEndian.Uint16(b[next+2:]) &^ cacheFlush
		at = r.at + int(binary.BigEndian.Uint16(b[next+8:]))
		if at > len(b) {
			return
		}
		if r.data = b[r.at:at]; class == classIN {
			see(&r)
		}
	}
}

// domainName appends the name that begins at an offset of the message b to text, which has room for one, as normal does, so
// nothing if it is no host name. next is where it ends; ok is false if it is malformed or cut off.
func domainName(b []byte, at int, text []byte) (name []byte, next int, ok bool) {
	const pointer, most = 0xc0, 255 // RFC 1035 4.1.4 and 2.3.4
	var raw [most]byte
	n := 0
	next = -1        // until the first pointer
	before := len(b) // a pointer leads to what came before, or there would be no end
	for start := at; ; {
		if at < 0 || at >= len(b) {
			return nil, 0, false
		}
		size := int(b[at])
		switch {
		case size == 0:
			if next < 0 {
				next = at + 1
			}
			return normal(text, raw[:n]), next, true
		case size&pointer == pointer:
			if at+2 > len(b) {
				return nil, 0, false
			}
			if next < 0 {
				next = at + 2
			}
			before = min(before, start)
			if at = int(binary.BigEndian.Uint16(b[at:]) &^ (pointer << 8)); at >= before {
				return nil, 0, false
			}
			start = at
		case size&pointer != 0 || at+1+size > len(b) || n+size+1 > most:
			return nil, 0, false
		default:
			for _, c := range b[at+1 : at+1+size] {
				if c == '.' {
					c = ' ' // part of a label, which no host name has
				}
				raw[n] = c
				n++
			}
			raw[n] = '.'
			n++
			at += 1 + size
		}
	}
}
