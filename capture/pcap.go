package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"tcpleak/tcp"
)

// packet is one packet of a capture, before it is decoded.
type packet struct {
	time int64  // nanoseconds since 1970
	data []byte // what the capture kept, in the reader's buffer: valid until the next packet is read
	wire int    // length on the wire, without a frame check sequence unless the reader is told to count it
	on   *tap
}

// tap is where packets were captured: the one interface of a pcap file, or one of a pcapng file's.
type tap struct {
	link    linkType
	network uint32  // the link type as a pcap file's header tells it, with what it says of a frame check sequence
	nanos   bool    // stamped finer than to the microsecond
	filter  *filter // nil lets everything pass
}

// A pcap file tells in the upper bits beside its link type how long the frame check sequences at the end of its packets
// are: in words of 16 bits, if another bit is set.
const (
	fcsPresent    = 1 << 26
	fcsWordsShift = 28
)

// fcsLength returns the octets of frame check sequence that a pcap file's network field tells of.
func fcsLength(network uint32) uint32 {
	if network&fcsPresent == 0 {
		return 0
	}
	return network >> fcsWordsShift * 2
}

// packetReader walks the packets of one capture file. next fills in p, or returns io.EOF at the end, *truncation if the
// file ends within something, or another error.
type packetReader interface {
	next(p *packet) error

	// ahead passes over packets of one tap that lie whole in the reader's buffer and are stamped before the given time. It
	// says where in the buffer, until anything more is read. After 0 for whatever reason, next goes on.
	ahead(records []record, before int64) (n int, on *tap, buf []byte)
}

// record is one packet in a reader's buffer.
type record struct {
	time     int64
	at, kept uint32 // where it begins, and how many octets of it there are
	wire     int    // as in packet
	number   uint64 // in the stream, from 1
}

// tapMaker prepares for packets of a tap's kind; its arguments are fields of tap.
type tapMaker func(network uint32, nanos bool) (*tap, error)

// truncation is the error of a capture that breaks off.
type truncation struct {
	what string // in which part of the file, as "packet 7"
	at   int64
}

func (t *truncation) Error() string {
	return fmt.Sprintf("ends in the middle of %s at offset %d", t.what, t.at)
}

// brokenOff says why fewer octets than needed could be read of what begins at the window's position; got of them.
func brokenOff(w *window, got int, err error, format string, args ...any) error {
	switch {
	case got == 0 && err == io.EOF:
		return io.EOF
	case ended(err):
		return &truncation{fmt.Sprintf(format, args...), w.at()}
	}
	return fmt.Errorf("offset %d: %w", w.at(), err)
}

// pcapReader reads the classic format, https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/draft-ietf-opsawg-pcap.html.
type pcapReader struct {
	*window
	swapped bool // fields are big-endian
	nanos   int64
	limit   uint32 // longest packet that is believed
	fcs     uint32 // octets of frame check sequence at the end of each packet
	on      *tap
	packets uint64
}

const (
	pcapFileHeaderLen   = 24
	pcapPacketHeaderLen = 16
)

// Magic numbers, as a little-endian machine reads a file written by another.
const (
	magicMicros     = 0xa1b2c3d4
	magicNanos      = 0xa1b23c4d
	magicKuznetzov  = 0xa1b2cd34
	magicIXIAMicros = 0x1c0001ac
	magicIXIANanos  = 0x1c0001ab
	magicPcapng     = 0x0a0d0d0a // a palindrome: says nothing about the byte order
)

var errModified = errors.New("a modified pcap format with other packet headers: convert it with editcap -F pcap IN OUT")

// newPcapReader reads the file header, which must be at hand: its magic number has been seen. withFCS leaves lengths on the
// wire as they are.
func newPcapReader(w *window, newTap tapMaker, withFCS bool) (*pcapReader, error) {
	h, err := w.peek(pcapFileHeaderLen)
	if err != nil {
		return nil, brokenOff(w, len(h), err, "the file header")
	}
	r := &pcapReader{window: w}
	var order binary.ByteOrder = binary.LittleEndian
	magic := order.Uint32(h)
	if magic&0xff == 0xa1 || magic == 0xab01001c || magic == 0xac01001c {
		order, r.swapped = binary.BigEndian, true
		magic = order.Uint32(h)
	}
	switch magic {
	case magicMicros:
		r.nanos = 1000
	case magicNanos:
		r.nanos = 1
	default:
		return nil, errModified
	}
	if major, minor := order.Uint16(h[4:]), order.Uint16(h[6:]); major != 2 {
		return nil, fmt.Errorf("pcap version %d.%d, only 2.x is known: convert it with editcap -F pcap IN OUT", major, minor)
	}
	r.limit = max(order.Uint32(h[16:]), maxPacket)
	network := order.Uint32(h[20:])
	if !withFCS {
		r.fcs = fcsLength(network)
	}
	if link := linkType(network & 0xffff); !link.supported() {
		return nil, fmt.Errorf("link type %v is not supported: capture on an Ethernet, Wi-Fi, PPP, loopback or IP interface", link)
	}
	r.on, err = newTap(network, r.nanos == 1)
	w.pos += pcapFileHeaderLen
	return r, err
}

func (r *pcapReader) next(p *packet) error {
	b := r.buf[r.pos:r.end]
	if len(b) < pcapPacketHeaderLen {
		var err error
		if b, err = r.fill(pcapPacketHeaderLen); err != nil {
			return brokenOff(r.window, len(b), err, "packet %d", r.packets+1)
		}
	}
	var sec, frac, kept, wire uint32
	if r.swapped {
		sec, frac = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		kept, wire = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	} else {
		sec, frac = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		kept, wire = binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	}
	if kept > r.limit {
		return fmt.Errorf("packet %d at offset %d claims %d captured octets, above the snap length and 256 KiB: %s",
			r.packets+1, r.at(), kept, damaged(r.packets))
	}
	whole := pcapPacketHeaderLen + min(int(kept), maxPacket)
	if len(b) < whole {
		var err error
		if b, err = r.fill(whole); err != nil {
			return brokenOff(r.window, len(b), err, "packet %d", r.packets+1)
		}
	}
	p.time = int64(sec)*1e9 + int64(frac)*r.nanos
	p.data = b[pcapPacketHeaderLen:whole]
	p.wire = wireLength(wire, r.fcs)
	p.on = r.on
	r.packets++
	r.pos += whole
	if rest := int64(kept) - int64(whole-pcapPacketHeaderLen); rest > 0 {
		return r.oversize(p, rest)
	}
	return nil
}

func (r *pcapReader) ahead(records []record, before int64) (n int, on *tap, buf []byte) {
	buf = r.buf[:r.end]
	at := r.pos
	for n < len(records) && len(buf)-at >= pcapPacketHeaderLen {
		h := (*[pcapPacketHeaderLen]byte)(buf[at:])
		sec, frac := binary.LittleEndian.Uint32(h[0:4]), binary.LittleEndian.Uint32(h[4:8])
		kept, wire := binary.LittleEndian.Uint32(h[8:12]), binary.LittleEndian.Uint32(h[12:16])
		if r.swapped {
			sec, frac = bits.ReverseBytes32(sec), bits.ReverseBytes32(frac)
			kept, wire = bits.ReverseBytes32(kept), bits.ReverseBytes32(wire)
		}
		time := int64(sec)*1e9 + int64(frac)*r.nanos
		at += pcapPacketHeaderLen
		if int64(kept) > int64(len(buf)-at) || kept > maxPacket || time >= before {
			break
		}
		records[n] = record{time: time, at: uint32(at), kept: kept, wire: wireLength(wire, r.fcs)}
		n++
		at += int(kept)
		r.pos = at
	}
	r.packets += uint64(n)
	return n, r.on, buf
}

// skim is ahead for a source that wants only some parts of the packets of an Ethernet. It passes over at most limit packets, and
// stops before one that must be decoded to know whose it is; it counts and numbers those that it passes over in seen, and
// returns how many are wanted.
//
// To look at each packet once, and not for its length, its number and its part in turn, saves a thirtieth of the time for a
// capture of packets cut off at 96 octets.
func (r *pcapReader) skim(records []record, before int64, limit int, wants tcp.Parts, seen *totals) (n int) {
	buf := r.buf[:r.end]
	first, last, number := seen.first, seen.last, seen.packets
	if number == 0 {
		first, last = math.MaxInt64, math.MinInt64
	}
	at := r.pos
	for n < len(records) && limit > 0 && len(buf)-at >= pcapPacketHeaderLen {
		h := (*[pcapPacketHeaderLen]byte)(buf[at:])
		sec, frac := binary.LittleEndian.Uint32(h[0:4]), binary.LittleEndian.Uint32(h[4:8])
		kept, wire := binary.LittleEndian.Uint32(h[8:12]), binary.LittleEndian.Uint32(h[12:16])
		if r.swapped {
			sec, frac = bits.ReverseBytes32(sec), bits.ReverseBytes32(frac)
			kept, wire = bits.ReverseBytes32(kept), bits.ReverseBytes32(wire)
		}
		time := int64(sec)*1e9 + int64(frac)*r.nanos
		at += pcapPacketHeaderLen
		if int64(kept) > int64(len(buf)-at) || kept > maxPacket || time >= before {
			break
		}
		part := usualPart(buf[at:][:kept])
		if part == unusual {
			break
		}
		limit--
		number++
		first, last = min(first, time), max(last, time)
		records[n] = record{time: time, at: uint32(at), kept: kept, wire: wireLength(wire, r.fcs), number: number}
		n += int(wants >> part & 1) // no branch: the processor would guess it wrong every other time
		at += int(kept)
		r.pos = at
	}
	if passed := number - seen.packets; passed > 0 {
		r.packets += passed
		seen.first, seen.last, seen.packets = first, last, number
	}
	return n
}

// oversize passes over what does not fit the window. Moving on overwrites it, so the head of the packet is kept apart.
func (w *window) oversize(p *packet, rest int64) error {
	p.data = append([]byte(nil), p.data...)
	if err := w.skip(rest); err != nil {
		return brokenOff(w, 1, err, "a packet of more than 256 KiB")
	}
	return nil
}

// wireLength is a packet's length without a frame check sequence; hostile lengths are cut to what int holds everywhere.
func wireLength(wire, fcs uint32) int {
	if wire >= fcs {
		wire -= fcs
	}
	return int(min(wire, math.MaxInt32))
}

// damaged says what to do with a file after whose first packets nothing makes sense.
func damaged(packets uint64) string {
	if packets == 0 {
		return "the file is damaged there; capture again"
	}
	return fmt.Sprintf("the file is damaged there; keep what is before it with editcap -r IN OUT 1-%d", packets)
}
