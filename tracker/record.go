package tracker

import (
	"tcpleak/compat"
	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// record is a connection as the table keeps it. Where all that happened to it is ordinary, it is all here; else the rest is
// in a conn. It holds no pointer, so that the garbage collector passes over millions of them.
//
// It is five lines of 64 octets, and begins with one: a segment in the middle of a connection needs the first four.
type record struct {
	time     [2]uint32 // of the first segment, ns since 1970, the low half first: a uint64 would be no better aligned
	packet   uint32    // of the first segment, with packetHi
	port     [2]uint16 // by direction; direction 0 is that of the first segment
	addr     [2]uint32 // IPv4; of IPv6, the first is an index of part.six
	meta     meta
	zeek     compat.BriefZeek
	packetHi uint16
	idHi     uint16
	id       uint32 // with metaNew, the place in part.births
	link     uint32 // to the incarnation before this one, or none; with metaSpelt the index of a conn, which has that
	dirs     [2]reassembly.Brief
	syn      reassembly.SYN // of direction 1
	rare     [2]reassembly.Rare
}

// meta holds a few small things: the encapsulation in the lowest bits, Wireshark's completeness in the highest.
type meta uint32

const (
	metaEncap  meta = 1<<18 - 1 // 0 to tcp.MaxEncapsulations
	metaSpelt  meta = 1 << 18   // dirs, syn, rare and zeek have no meaning
	metaSix    meta = 1 << 19   // IPv6
	metaActive meta = 1 << 20   // seen since eviction last passed it by
	metaBehind meta = 1 << 21   // there is a newer incarnation: no slot points to this one
	metaNew    meta = 1 << 22   // it has no ID yet
	metaClass  meta = 7 << classShift
	metaComp   meta = 63 << compShift

	classShift = 23
	compShift  = 26
)

func (r *record) used() bool { return r.id|uint32(r.idHi) != 0 || r.meta&metaNew != 0 }

func (r *record) number() uint64 { return uint64(r.idHi)<<32 | uint64(r.id) }

func (r *record) setNumber(id uint64) { r.id, r.idHi = uint32(id), uint16(id>>32) }

func (r *record) origin() reassembly.Origin {
	return reassembly.Origin{Time: int64(r.time[1])<<32 | int64(r.time[0]), Packet: uint64(r.packetHi)<<32 | uint64(r.packet)}
}

func (r *record) class() class { return class(r.meta & metaClass >> classShift) }

func (r *record) setClass(c class) { r.meta = r.meta&^metaClass | meta(c)<<classShift }

func (r *record) completeness() compat.Completeness { return compat.Resume(uint8(r.meta >> compShift)) }

func (r *record) setCompleteness(c compat.Completeness) {
	r.meta = r.meta&^metaComp | meta(c.Value())<<compShift
}

// numbers returns what zeek leaves out.
func (r *record) numbers() (n compat.Numbers) {
	for dir := range r.dirs {
		d := &r.dirs[dir]
		n.SYN[dir], n.HasSYN[dir] = d.ISS()
		n.FIN[dir], n.HasFIN[dir] = d.FIN()
	}
	return n
}

// endpoint is an address and port.
type endpoint struct {
	addr tcp.Addr
	port uint16
}

// leaving is the evidence that an endpoint has left a connection for a new one with the same addresses and ports.
type leaving struct {
	at       reassembly.Mark
	proven   bool  // it opened the new one; otherwise only its peer's word says so
	repeated bool  // and did so more than once
	asked    int64 // when it first sent such a segment since the other end was last heard, ns since 1970
}

// conn is a record spelt out. It is one connection, of possibly several with the same key in the course of time: an
// incarnation (RFC 9293 3.4.1).
type conn struct {
	start reassembly.Origin
	ends  [2]endpoint // by direction; direction 0 is that of the first segment
	dirs  [2]reassembly.Direction
	left  [2]leaving
	// disputed is when an end received a SYN or a RST that it does not accept but challenges, ns since 1970; 0 if never.
	disputed [2]int64
	zeek     compat.Zeek
	encap    uint32
	older    uint32 // index of the incarnation before this one, or none
	index    uint32 // of its record
	comp     compat.Completeness
}

// load returns the connection at index spelt out: in buf, unless the table keeps it so. It is valid until the next change of
// the table; save makes changes last.
func (p *part) load(index uint32, buf *conn) *conn {
	r := p.at(index)
	if r.meta&metaSpelt != 0 {
		return p.spelt.at(r.link)
	}
	at := r.origin()
	buf.start, buf.ends = at, p.ends(r)
	r.dirs[0].Unpack(&buf.dirs[0], &r.rare[0], at, nil)
	r.dirs[1].Unpack(&buf.dirs[1], &r.rare[1], at, &r.syn)
	buf.left, buf.disputed = [2]leaving{}, [2]int64{}
	n := r.numbers()
	r.zeek.Unpack(&buf.zeek, &n)
	buf.encap, buf.older, buf.index, buf.comp = uint32(r.meta&metaEncap), r.link, index, r.completeness()
	if r.dirs[0].Has()|r.dirs[1].Has() == 0 {
		buf.comp = 0 // it has not begun: the segment that it was allocated for is still to come
	}
	return buf
}

// save takes over what was changed in c, which load returned: in brief where that says all.
func (p *part) save(c *conn) {
	r := p.at(c.index)
	if r.meta&metaSpelt != 0 {
		return
	}
	if c.left == ([2]leaving{}) && c.disputed == ([2]int64{}) {
		var syn reassembly.SYN
		a, rareA, okA := reassembly.Pack(&c.dirs[0], c.start, nil)
		b, rareB, okB := reassembly.Pack(&c.dirs[1], c.start, &syn)
		zeek, okZeek := c.zeek.Pack()
		if okA && okB && okZeek {
			dirs := r.dirs
			r.dirs = [2]reassembly.Brief{a, b}
			if n := r.numbers(); c.zeek.Has(&n) {
				r.rare, r.syn, r.zeek = [2]reassembly.Rare{rareA, rareB}, syn, zeek
				r.setCompleteness(c.comp)
				return
			}
			r.dirs = dirs
		}
	}
	p.spell(c)
}

// ends returns the endpoints of r.
func (p *part) ends(r *record) (ends [2]endpoint) {
	for dir := range ends {
		ends[dir] = endpoint{p.address(r, dir), r.port[dir]}
	}
	return ends
}

func (p *part) address(r *record, dir int) tcp.Addr {
	if r.meta&metaSix != 0 {
		return p.six.at(r.addr[0])[dir]
	}
	return tcp.Addr{Lo: mapped | uint64(r.addr[dir])}
}

// mapped is the lower half of an IPv4 address in a tcp.Addr, see tcp.AddrFrom4.
const mapped = 0xffff << 32

// match reports whether s belongs to the same addresses and ports as r, and in which direction. On a connection of a socket
// with itself all is direction 0. A connection's next segment comes from either end: there is no branch on which, as the
// processor would guess it wrong every other time.
func (p *part) match(r *record, s *tcp.Segment) (dir int, ok bool) {
	ports := uint32(r.port[0])<<16 | uint32(r.port[1])
	forth := uint64(ports ^ (uint32(s.SrcPort)<<16 | uint32(s.DstPort)))
	back := uint64(ports ^ (uint32(s.DstPort)<<16 | uint32(s.SrcPort)))
	if r.meta&metaSix != 0 {
		a := p.six.at(r.addr[0])
		forth |= a[0].Hi ^ s.Src.Hi | a[0].Lo ^ s.Src.Lo | a[1].Hi ^ s.Dst.Hi | a[1].Lo ^ s.Dst.Lo
		back |= a[1].Hi ^ s.Src.Hi | a[1].Lo ^ s.Src.Lo | a[0].Hi ^ s.Dst.Hi | a[0].Lo ^ s.Dst.Lo
	} else {
		a, b := mapped|uint64(r.addr[0]), mapped|uint64(r.addr[1])
		forth |= a ^ s.Src.Lo | b ^ s.Dst.Lo | s.Src.Hi | s.Dst.Hi
		back |= b ^ s.Src.Lo | a ^ s.Dst.Lo | s.Src.Hi | s.Dst.Hi
	}
	if different := ((forth | -forth) & (back | -back)) >> 63; different == 0 && uint32(r.meta&metaEncap) == s.Encap {
		return int((forth | -forth) >> 63), true
	}
	return 0, false
}
