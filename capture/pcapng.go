package capture

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// pcapngReader reads the format of
// https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/draft-ietf-opsawg-pcapng.html.
type pcapngReader struct {
	*window
	newTap  tapMaker
	big     bool
	withFCS bool        // lengths on the wire include the frame check sequence
	taps    []pcapngTap // the current section's interfaces
	time    int64       // of the last packet, for those that have none
	packets uint64
}

// pcapngTap is an interface description.
type pcapngTap struct {
	on      *tap
	snapLen uint32
	clock   clock
	fcs     uint32
}

// Block types.
const (
	blockInterface      = 1
	blockPacket         = 2 // obsolete, as early Wireshark wrote it
	blockSimplePacket   = 3
	blockEnhancedPacket = 6
	blockSection        = magicPcapng

	blockHeaderLen  = 8
	blockTrailerLen = 4
)

// Options of an interface description.
const (
	optionEnd        = 0
	optionName       = 2
	optionResolution = 9
	optionFCSLength  = 13
	optionTimeOffset = 14
)

const (
	// maxInterfaces bounds a section's interface list; a description takes but 20 octets of a file.
	maxInterfaces = 1 << 16

	// maxDescription is how much of a section's or an interface's description is looked at.
	maxDescription = 64 << 10
)

func newPcapngReader(w *window, newTap tapMaker, withFCS bool) *pcapngReader {
	return &pcapngReader{window: w, newTap: newTap, withFCS: withFCS}
}

func (r *pcapngReader) u16(b []byte) uint16 {
	if r.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (r *pcapngReader) u32(b []byte) uint32 {
	if r.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (r *pcapngReader) broken(format string, args ...any) error {
	return fmt.Errorf("the block at offset %d %s: %s", r.at(), fmt.Sprintf(format, args...), damaged(r.packets))
}

func (r *pcapngReader) next(p *packet) error {
	for {
		b := r.buf[r.pos:r.end]
		if len(b) < blockHeaderLen {
			var err error
			if b, err = r.fill(blockHeaderLen); err != nil {
				return brokenOff(r.window, len(b), err, "the block after packet %d", r.packets)
			}
		}
		kind, length := r.u32(b), r.u32(b[4:])
		if kind == blockSection {
			if err := r.section(); err != nil {
				return err
			}
			continue
		}
		if length < blockHeaderLen+blockTrailerLen || length%4 != 0 {
			return r.broken("claims an impossible length of %d", length)
		}
		var err error
		switch kind {
		case blockEnhancedPacket, blockPacket, blockSimplePacket:
			return r.packet(p, b, kind, length)
		case blockInterface:
			err = r.describe(length)
		default:
			err = r.pass(length)
		}
		if err != nil {
			return err
		}
	}
}

// pass moves over the block at the current position.
func (r *pcapngReader) pass(length uint32) error {
	start := r.at()
	if err := r.skip(int64(length)); ended(err) {
		return &truncation{fmt.Sprintf("the block after packet %d", r.packets), start}
	} else if err != nil {
		return fmt.Errorf("offset %d: %w", r.at(), err)
	}
	return nil
}

// section enters a section: another byte order perhaps, and interfaces of its own.
func (r *pcapngReader) section() error {
	b, err := r.peek(28)
	if len(b) < 16 {
		return brokenOff(r.window, len(b), err, "a section header")
	}
	switch binary.LittleEndian.Uint32(b[8:]) {
	case 0x1a2b3c4d:
		r.big = false
	case 0x4d3c2b1a:
		r.big = true
	default:
		return r.broken("has no byte order")
	}
	if major := r.u16(b[12:]); major != 1 {
		return fmt.Errorf("pcapng version %d.%d at offset %d, only 1.x is known: convert it with editcap -F pcapng IN OUT",
			major, r.u16(b[14:]), r.at())
	}
	length := r.u32(b[4:])
	if length < 28 || length%4 != 0 {
		return r.broken("claims an impossible length of %d", length)
	}
	r.taps = r.taps[:0]
	return r.pass(length)
}

// describe enters an interface.
func (r *pcapngReader) describe(length uint32) error {
	if length < 20 {
		return r.broken("is too short for an interface")
	}
	if len(r.taps) == maxInterfaces {
		return r.broken("is interface number %d of its section", maxInterfaces+1)
	}
	b, err := r.peek(int(min(length, maxDescription)))
	if err != nil {
		return brokenOff(r.window, len(b), err, "an interface description")
	}
	t := pcapngTap{snapLen: r.u32(b[12:]), clock: microseconds}
	r.options(&t, b[16:max(16, len(b)-blockTrailerLen)])
	network := uint32(r.u16(b[8:]))
	if words := t.fcs / 2; t.fcs > 0 && words <= 0xf {
		network |= fcsPresent | words<<fcsWordsShift
	}
	if r.withFCS {
		t.fcs = 0
	}
	if t.on, err = r.newTap(network, t.clock.finer()); err != nil {
		return err
	}
	r.taps = append(r.taps, t)
	return r.pass(length)
}

// options reads those of an interface that change what its packets mean.
func (r *pcapngReader) options(t *pcapngTap, b []byte) {
	for len(b) >= 4 {
		code, length := r.u16(b), int(r.u16(b[2:]))
		b = b[4:]
		if code == optionEnd || length > len(b) {
			return
		}
		switch {
		case code == optionResolution && length == 1:
			t.clock.resolution = b[0]
		case code == optionFCSLength && length == 1:
			t.fcs = uint32(b[0])
		case code == optionTimeOffset && length == 8:
			first, second := uint64(r.u32(b)), uint64(r.u32(b[4:]))
			if r.big {
				first, second = second, first
			}
			t.clock.offset = int64(second<<32 | first)
		}
		b = b[min((length+3)&^3, len(b)):]
	}
}

// packet reads a block of any of the three kinds that hold packets; b is what is at hand of it.
func (r *pcapngReader) packet(p *packet, b []byte, kind, length uint32) (err error) {
	fields := 28 // octets before the data
	if kind == blockSimplePacket {
		fields = 12
	}
	room := int64(length) - int64(fields+blockTrailerLen)
	if room < 0 {
		return r.broken("is too short for a packet")
	}
	if len(b) < fields {
		if b, err = r.fill(fields); err != nil {
			return brokenOff(r.window, len(b), err, "packet %d", r.packets+1)
		}
	}
	index, kept, wire := uint32(0), uint32(0), r.u32(b[8:])
	switch kind {
	case blockEnhancedPacket:
		index, kept, wire = wire, r.u32(b[20:]), r.u32(b[24:])
	case blockPacket:
		index, kept, wire = uint32(r.u16(b[8:])), r.u32(b[20:]), r.u32(b[24:])
	}
	if index >= uint32(len(r.taps)) {
		return r.broken("names interface %d of %d", index, len(r.taps))
	}
	on := &r.taps[index]
	if kind == blockSimplePacket {
		kept = uint32(min(int64(wire), room))
		if on.snapLen != 0 {
			kept = min(kept, on.snapLen)
		}
	} else {
		r.time = on.clock.nanoseconds(uint64(r.u32(b[12:]))<<32 | uint64(r.u32(b[16:])))
	}
	if int64(kept) > room {
		return r.broken("claims %d captured octets and has room for %d", kept, room)
	}
	if kept > maxPacket && kept > on.snapLen {
		return r.broken("claims %d captured octets, above the snap length and 256 KiB", kept)
	}
	whole := int(min(length, maxWindow))
	if len(b) < whole {
		if b, err = r.fill(whole); err != nil {
			return brokenOff(r.window, len(b), err, "packet %d", r.packets+1)
		}
	}
	rest := int64(length) - int64(whole)
	if rest == 0 && r.u32(b[whole-blockTrailerLen:]) != length {
		return r.broken("has two different lengths")
	}
	r.packets++
	p.time = r.time
	p.data = b[fields : fields+min(int(kept), maxPacket)]
	p.wire = wireLength(wire, on.fcs)
	p.on = on.on
	r.pos += whole
	if rest > 0 {
		return r.oversize(p, rest)
	}
	return nil
}

// ahead implements packetReader for enhanced packet blocks, which nearly all are.
func (r *pcapngReader) ahead(records []record, before int64) (n int, on *tap, buf []byte) {
	const fields = 28
	buf = r.buf[:r.end]
	at := r.pos
	for n < len(records) && len(buf)-at >= fields+blockTrailerLen {
		h := (*[fields]byte)(buf[at:])
		length := r.u32(h[4:8])
		if r.u32(h[0:4]) != blockEnhancedPacket || length%4 != 0 || length < fields+blockTrailerLen || int64(length) > int64(len(buf)-at) {
			break
		}
		index, kept, wire := r.u32(h[8:12]), r.u32(h[20:24]), r.u32(h[24:28])
		end := at + int(length)
		if index >= uint32(len(r.taps)) || kept > length-fields-blockTrailerLen || kept > maxPacket || r.u32(buf[end-blockTrailerLen:]) != length {
			break
		}
		t := &r.taps[index]
		if n == 0 {
			on = t.on
		}
		time := t.clock.nanoseconds(uint64(r.u32(h[12:16]))<<32 | uint64(r.u32(h[16:20])))
		if t.on != on && *t.on != *on || time >= before {
			break
		}
		records[n] = record{time: time, at: uint32(at + fields), kept: kept, wire: wireLength(wire, t.fcs)}
		n++
		r.time = time
		r.pos = end
		at = end
	}
	r.packets += uint64(n)
	return n, on, buf
}

// clock turns an interface's time stamps into nanoseconds since 1970.
type clock struct {
	resolution byte  // a second has 10ⁿ units, or 2ⁿ if the highest bit is set
	offset     int64 // seconds to add
}

var microseconds = clock{resolution: 6}

// finer reports whether a unit is not a whole number of microseconds. Of the powers of two, 2⁻⁶ s is the smallest that is one.
func (c clock) finer() bool { return c.resolution&0x7f > 6 }

// farthest bounds time stamps to 146 years around 1970, so that the distance between two of them fits an int64.
const farthest = 1<<62 - 1

var powersOf10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	return p
}()

// nanoseconds never overflows: what lies too far off ends at the bound.
func (c clock) nanoseconds(units uint64) int64 {
	if c == microseconds && units < farthest/1000 {
		return int64(units) * 1000
	}
	return c.scale(units) // apart, so that the rest is inlined
}

func (c clock) scale(units uint64) int64 {
	n := uint(c.resolution & 0x7f)
	hi, lo := uint64(0), units
	switch {
	case c.resolution&0x80 != 0:
		hi, lo = bits.Mul64(units, 1e9)
		if n < 64 {
			hi, lo = hi>>n, lo>>n|hi<<(64-n)
		} else {
			hi, lo = 0, hi>>(n-64)
		}
	case n <= 9:
		hi, lo = bits.Mul64(units, powersOf10[9-n])
	case n-9 < uint(len(powersOf10)):
		lo = units / powersOf10[n-9]
	default:
		lo = 0
	}
	if hi != 0 || lo > farthest {
		lo = farthest
	}
	const most = int64(farthest) / 1e9
	return max(-farthest, min(int64(lo)+1e9*max(-most, min(c.offset, most)), farthest))
}
