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

// fileLayout lays out a file: as pcap, or as pcapng where its packets are of different link types. Its methods may be called
// at the same time. pcapgo's writers know eight bits of the link type.
type fileLayout struct {
	taps   []tapWritten
	pcapng bool
	nanos  bool // time stamps get nanoseconds, or else microseconds
}

const (
	// writeAhead is how many octets are written at a time; what is on its way to them may be one packet more.
	writeAhead = 128 << 10

	// writtenSnapLen is the snap length that a header tells: no packet that is written is longer.
	writtenSnapLen = maxPacket

	packetBlockLen = 28 // of an enhanced packet block, up to the packet
)

func newFileLayout(taps []tapWritten, nanos bool) *fileLayout {
	l := &fileLayout{taps: taps, nanos: nanos}
	for _, t := range taps {
		l.pcapng = l.pcapng || t.network != taps[0].network
	}
	return l
}

// appendHeader appends what precedes the packets.
func (l *fileLayout) appendHeader(b []byte) []byte {
	le := binary.LittleEndian
	if !l.pcapng {
		magic := uint32(magicMicros)
		if l.nanos {
			magic = magicNanos
		}
		b = le.AppendUint32(b, magic)
		b = le.AppendUint16(b, 2)
		b = le.AppendUint16(b, 4)
		b = le.AppendUint64(b, 0)
		b = le.AppendUint32(b, writtenSnapLen)
		return le.AppendUint32(b, l.taps[0].network)
	}
	const sectionLen = 28
	b = le.AppendUint32(b, blockSection)
	b = le.AppendUint32(b, sectionLen)
	b = le.AppendUint32(b, 0x1a2b3c4d)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, math.MaxUint64) // a section of any length
	b = le.AppendUint32(b, sectionLen)
	for _, t := range l.taps {
		begin := len(b)
		b = le.AppendUint32(b, blockInterface)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint16(b, uint16(t.network))
		b = le.AppendUint16(b, 0)
		b = le.AppendUint32(b, writtenSnapLen)
		if t.name != "" {
			b = appendOption(b, optionName, t.name)
		}
		if l.nanos {
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

// appendPacket appends a packet's header and its octets. A pcap file has room for the times from 1970 to 2106, pcapng for
// those after 1970; what lies outside is put at the edge.
func (l *fileLayout) appendPacket(b []byte, tap int, time int64, data []byte, wire int) []byte {
	le := binary.LittleEndian
	time = max(0, time)
	if !l.pcapng {
		sec, frac := time/1e9, time%1e9
		if sec > math.MaxUint32 {
			sec, frac = math.MaxUint32, 999_999_999
		}
		if !l.nanos {
			frac /= 1000
		}
		b = le.AppendUint32(b, uint32(sec))
		b = le.AppendUint32(b, uint32(frac))
		b = le.AppendUint32(b, uint32(len(data)))
		b = le.AppendUint32(b, uint32(wire))
		return append(b, data...)
	}
	if !l.nanos {
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

// packetLen returns how many octets the packet that b begins with takes in the file.
func (l *fileLayout) packetLen(b []byte) int {
	if l.pcapng {
		return int(binary.LittleEndian.Uint32(b[4:]))
	}
	return pcapPacketHeaderLen + int(binary.LittleEndian.Uint32(b[8:]))
}

// packetWriter writes a file, many packets at a time.
type packetWriter struct {
	*fileLayout
	out io.Writer
	buf []byte // not yet written
}

func newPacketWriter(out io.Writer, layout *fileLayout) *packetWriter {
	w := &packetWriter{layout, out, make([]byte, 0, writeAhead+maxPacket+packetBlockLen+8)}
	w.buf = w.appendHeader(w.buf)
	return w
}

// write enters a packet of one of the taps.
func (w *packetWriter) write(tap int, time int64, data []byte, wire int) error {
	w.buf = w.appendPacket(w.buf, tap, time, data, wire)
	if len(w.buf) < writeAhead {
		return nil
	}
	return w.flush()
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
