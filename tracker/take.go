package tracker

import (
	"tcpleak/reassembly"
	"tcpleak/tcp"
)

// Taken says what became of one segment.
type Taken struct {
	Ref      Ref                // the connection that it belongs to; the zero Ref for a copy that belongs to none
	Answer   bool               // its sender is not the one that sent the connection's first segment: see Connection.FirstFrom
	Seq, Ack uint32             // octets from the ISS, or from the lowest number seen where that is not known
	Verdict  reassembly.Verdict // the zero Verdict for a copy or a foreign segment
	// Copy: the capture has just shown the very same packet. It counts once.
	Copy bool
	// Foreign: it cannot be its sender's own.
	Foreign bool
	// Beyond: it reaches beyond the window that its receiver last offered.
	Beyond bool
}

// Take takes in one segment as Add does, and tells what became of it. It is for following a few connections: it spells out
// each that it is asked about and takes several times as long.
func (t *Table) Take(s *tcp.Segment) (taken Taken) {
	p := t.parts[t.fold(s.Part())]
	hash := t.hash(s.Src, s.Dst, s.SrcPort, s.DstPort, s.Encap)
	index := none
	if taken.Copy = p.seenAgain(printOf(s, hash), s.Time); taken.Copy {
		p.stats.Duplicates++
		if s.IPID == 0 && s.Seq != s.End() {
			p.addCopy(s, hash)
		}
		index = p.newest(s, hash)
	} else {
		p.stats.Segments++
		slot, dir := p.lookup(s, hash)
		head := none
		if sl := p.slots[slot]; sl != none {
			head = sl & indexMask
		}
		if head != none && continues(*p.at(head), s, dir) {
			index = head
		} else {
			index = p.find(s, hash, head)
		}
	}
	if index == none {
		return taken
	}
	var before conn
	c := p.load(index, &before)
	dir := c.direction(s)
	x, y := &c.dirs[dir], &c.dirs[1-dir]
	taken.Answer = dir == 1
	taken.Beyond = y.Has&reassembly.ACK != 0 && !s.Flags.Any(tcp.SYN|tcp.RST) && s.End().After(y.WindowEnd(x))
	if !taken.Copy {
		var own bool
		taken.Verdict, own = p.take(index, s, hash)
		taken.Foreign = !own
		c = p.load(index, &before)
		x, y = &c.dirs[dir], &c.dirs[1-dir]
	}
	t.settle()
	taken.Ref = Ref{p.at(index).number(), p.placeOf(index)}
	taken.Seq, taken.Ack = uint32(s.Seq-base(x)), uint32(s.Ack-base(y))
	return taken
}

// continues reports whether Add would take s to be what comes next in r, without a look at older connections.
func continues(r record, s *tcp.Segment, dir int) bool {
	x, y := &r.dirs[dir], &r.dirs[1-dir]
	return r.meta&metaSpelt == 0 && s.Flags&(tcp.SYN|tcp.RST) == 0 && x.Continue(s, y, &r.rare[dir], r.origin())
}

// base is where the sequence numbers of x are counted from.
func base(x *reassembly.Direction) tcp.Seq {
	if x.HasSYN() {
		return x.ISS
	}
	return x.Low
}
