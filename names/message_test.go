package names

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// rr is a resource record; an alias has a target in place of data.
type rr struct {
	owner  string
	kind   uint16
	class  uint16
	data   []byte
	target string
}

func a(owner, address string) rr {
	at := netip.MustParseAddr(address)
	if at.Is4() {
		return rr{owner, typeA, classIN, at.AsSlice(), ""}
	}
	return rr{owner, typeAAAA, classIN, at.AsSlice(), ""}
}

func cname(owner, target string) rr { return rr{owner, typeCNAME, classIN, nil, target} }

// message is one of DNS.
type message struct {
	question  string
	query     bool
	multicast bool // without a question
	rcode     byte
	records   []rr
}

// wire lays m out with every name compressed that can be.
func (m message) wire() []byte {
	b := []byte{0, 1, 0x81, 0x80 | m.rcode, 0, 1, 0, byte(len(m.records)), 0, 0, 0, 0}
	if m.query {
		b[2] = 1
	}
	places := make(map[string]int)
	if m.multicast {
		b[5] = 0
	} else {
		b = append(appendName(b, m.question, places), 0, 1, 0, 1)
	}
	be := binary.BigEndian
	for _, r := range m.records {
		b = appendName(b, r.owner, places)
		b = be.AppendUint16(be.AppendUint16(b, r.kind), r.class)
		b = append(b, 0, 0, 0, 60, 0, 0)
		start := len(b)
		if r.target != "" {
			b = appendName(b, r.target, places)
		} else {
			b = append(b, r.data...)
		}
		be.PutUint16(b[start-2:], uint16(len(b)-start))
	}
	return b
}

func appendName(b []byte, name string, places map[string]int) []byte {
	for name != "" {
		if at, ok := places[name]; ok {
			return binary.BigEndian.AppendUint16(b, 0xc000|uint16(at))
		}
		places[name] = len(b)
		label, rest, _ := strings.Cut(name, ".")
		b = append(append(b, byte(len(label))), label...)
		name = rest
	}
	return append(b, 0)
}
