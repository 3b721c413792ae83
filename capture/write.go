package capture

import (
	"encoding/binary"
	"io"
	"math"
)

// tapWritten is an interface as a file that is written describes it.
type tapWritten struct {
	network uint32 // as in tap
	name    string // only pcapng can tell it; "" if it does not matter
}

// packetWriter writes packets as pcap, or as pcapng where they are of different link types. It hands on whole packets only,
// many at a time, so that nothing is left of one when the disk is full.
//
// pcapgo's writers know eight bits of the link type.
type packetWriter struct {
	out    io.Writer
	taps   []tapWritten
	pcapng bool
	nanos  bool
	buf    []byte // whole blocks, not yet written
}

const (
	// writeAhead is how many octets are written at a time; what is on its way to them may be one packet more.
	writeAhead = 128 << 10

	// writtenSnapLen is the snap length that a header tells: no packet that is written is longer.
	writtenSnapLen = maxPacket

	packetBlockLen = 28 // of an enhanced packet block, up to the packet
)

// newPacketWriter begins a file. The time stamps get nanoseconds, or microseconds if they are known to be whole ones.
func newPacketWriter(out io.Writer, taps []tapWritten, nanos bool) *packetWriter {
	w := &packetWriter{out: out, taps: taps, nanos: nanos, buf: make([]byte, 0, writeAhead+maxPacket+packetBlockLen+8)}
	for _, t := range taps {
		w.pcapng = w.pcapng || t.network != taps[0].network
	}
	w.buf = w.appendHeader(w.buf)
	return w
}

// appendHeader appends what precedes the packets.
func (w *packetWriter) appendHeader(b []byte) []byte {
	le := binary.LittleEndian
	if !w.pcapng {
		magic := uint32(magicMicros)
		if w.nanos {
			magic = magicNanos
		}
		b = le.AppendUint32(b, magic)
		b = le.AppendUint16(b, 2)
		b = le.AppendUint16(b, 4)
		b = le.AppendUint64(b, 0)
		b = le.AppendUint32(b, writtenSnapLen)
		return le.AppendUint32(b, w.taps[0].network)
	}
	const sectionLen = 28
	b = le.AppendUint32(b, blockSection)
	b = le.AppendUint32(b, sectionLen)
	b = le.AppendUint32(b, 0x1a2b3c4d)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, math.MaxUint64) // a section of any length
	b = le.AppendUint32(b, sectionLen)
	for _, t := range w.taps {
		begin := len(b)
		b = le.AppendUint32(b, blockInterface)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint16(b, uint16(t.network))
		b = le.AppendUint16(b, 0)
		b = le.AppendUint32(b, writtenSnapLen)
		if t.name != "" {
			b = appendOption(b, optionName, t.name)
		}
		if w.nanos {
			b = appendOption(b, optionResolution, "\x09")
		}
		if fcs := fcsLength(t.network); fcs > 0 {
			b = appendOption(b, optionFCSLength, string(rune(fcs)))
		}
		b = le.AppendUint32(b, optionEnd)
		length := uint32(len(b) - begin + blockTrailerLen)
		b = le.AppendUint32(b, length)
		le.PutUint32(b[begin+4:], length)
	}
	return b
}

func appendOption(b []byte, code uint16, value string) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...), len(value))
}

// pad appends what a field of n octets lacks to a whole word.
func pad(b []byte, n int) []byte { return append(b, make([]byte, -n&3)...) }

// write enters a packet of one of the taps.
func (w *packetWriter) write(tap int, time int64, data []byte, wire int) error {
	w.buf = w.appendPacket(w.buf, tap, time, data, wire)
	if len(w.buf) < writeAhead {
		return nil
	}
	return w.flush()
}

// appendPacket appends a packet's header and its octets. A pcap file has room for the times from 1970 to 2106, pcapng for
// those after 1970; what lies outside is put at the edge.
func (w *packetWriter) appendPacket(b []byte, tap int, time int64, data []byte, wire int) []byte {
	le := binary.LittleEndian
	time = max(0, time)
	if !w.pcapng {
		sec, frac := time/1e9, time%1e9
		if sec > math.MaxUint32 {
			sec, frac = math.MaxUint32, 999_999_999
		}
		if !w.nanos {
			frac /= 1000
		}
		b = le.AppendUint32(b, uint32(sec))
		b = le.AppendUint32(b, uint32(frac))
		b = le.AppendUint32(b, uint32(len(data)))
		b = le.AppendUint32(b, uint32(wire))
		return append(b, data...)
	}
	if !w.nanos {
		time /= 1000
	}
	length := uint32(packetBlockLen + (len(data)+3)&^3 + blockTrailerLen)
	b = le.AppendUint32(b, blockEnhancedPacket)
	b = le.AppendUint32(b, length)
	b = le.AppendUint32(b, uint32(tap))
	b = le.AppendUint32(b, uint32(time>>32))
	b = le.AppendUint32(b, uint32(time))
	b = le.AppendUint32(b, uint32(len(data)))
	b = le.AppendUint32(b, uint32(wire))
	b = append(b, data...)
	return le.AppendUint32(pad(b, len(data)), length)
}

// flush hands on what is buffered.
func (w *packetWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.out.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}
