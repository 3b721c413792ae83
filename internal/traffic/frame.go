package traffic

import (
	"encoding/binary"
	"io"
	"math/bits"

	"tcpleak/tcp"
)

// Who takes part. Addresses are 10.0.0.0/20, some of 192.168.0.0/16, and for floods what lies between 11.0.0.0 and
// 126.255.255.255; over IPv6 the same behind 2001:db8::/96.
const (
	clients        = 1 << 12
	firstClient    = 10 << 24
	servers        = 300
	firstServer    = 192<<24 | 168<<16 | 1
	firstForged    = 11 << 24
	forgedHosts    = 116 << 24
	firstEphemeral = 32768
	ephemeralPorts = 28232 // to 60999, as in Linux
)

// services are the ports of the servers, each of which has one.
var services = [...]uint16{443, 80, 443, 8080, 443, 5432, 443, 6379, 80, 3306, 443, 8443, 9092, 27017, 443, 22, 25}

// What hosts say of themselves, as Linux does.
const (
	windowScale = 7
	firstWindow = 64240
	openWindow  = 501 // 64128 octets, scaled
	hopLimit    = 64
)

// packet is what differs from one segment to the next of a connection.
type packet struct {
	dir         uint8
	bare        bool // without options
	flags       tcp.Flags
	size        uint16
	window      uint16
	seq, ack    uint32
	sackLeft    uint32 // with SACK if it is not sackRight
	sackRight   uint32
	value, echo uint32 // of the timestamp, if the connection has them
}

const (
	fileHeader   = 24
	recordHeader = 16
	etherHeader  = 14
	ip4Header    = 20
	ip6Header    = 40
	tcpHeader    = 20
	wholeSnap    = 262144 // what tcpdump writes for no limit
	bufferSize   = 1 << 20
	maxRecord    = recordHeader + etherHeader + ip6Header + 60 + MaxPayload
)

// frameWriter writes a pcap file of Ethernet frames.
type frameWriter struct {
	w       io.Writer
	snapLen int
	buf     []byte
	n       int
	packets uint64
	err     error // of w

	text [2][MaxPayload]byte       // what every payload begins with, by direction
	sums [2][MaxPayload + 1]uint32 // of its first n octets, as a checksum adds them up
}

func newFrameWriter(w io.Writer, snapLen int) *frameWriter {
	if snapLen == 0 {
		snapLen = wholeSnap
	}
	f := &frameWriter{w: w, snapLen: snapLen, buf: make([]byte, bufferSize), n: fileHeader}
	for dir, words := range []string{
		"GET /connections HTTP/1.1\r\nHost: traffic.test\r\nAccept: */*\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nconnections\r\n",
	} {
		text, sums := &f.text[dir], &f.sums[dir]
		for i := range text {
			text[i] = words[i%len(words)]
			sums[i+1] = sums[i] + uint32(text[i])<<(8*(1-i%2))
		}
	}
	le := binary.LittleEndian
	le.PutUint32(f.buf[0:], 0xa1b2c3d4) // microseconds
	le.PutUint16(f.buf[4:], 2)
	le.PutUint16(f.buf[6:], 4)
	le.PutUint32(f.buf[16:], uint32(snapLen))
	le.PutUint32(f.buf[20:], 1) // Ethernet
	return f
}

func (f *frameWriter) flush() error {
	if f.err == nil {
		_, f.err = f.w.Write(f.buf[:f.n])
	}
	f.n = 0
	return f.err
}

// write appends p, sent at now (µs since the start).
func (f *frameWriter) write(now int64, c *connection, p *packet) {
	if f.n > len(f.buf)-maxRecord {
		f.flush()
	}
	record := f.buf[f.n : f.n+maxRecord]
	frame := record[recordHeader:]
	x, y := &c.ends[p.dir], &c.ends[1-p.dir]

	// The TCP header first: what stands in front of it depends on its length.
	ip := ip4Header
	if c.v6 {
		ip = ip6Header
	}
	segment := frame[etherHeader+ip:]
	header := tcpHeader + f.options(segment[tcpHeader:], c, p)
	be := binary.BigEndian
	be.PutUint16(segment[0:], x.port)
	be.PutUint16(segment[2:], y.port)
	be.PutUint32(segment[4:], p.seq)
	be.PutUint32(segment[8:], p.ack)
	be.PutUint32(segment[12:], uint32(header/4)<<28|uint32(p.flags)<<16|uint32(p.window))
	be.PutUint32(segment[16:], 0) // checksum, urgent pointer
	length := header + int(p.size)

	ether(frame, p.dir, c.v6)
	var sum uint64 // of the pseudo-header
	if c.v6 {
		sum = putIP6(frame[etherHeader:], x.host, y.host, length)
	} else {
		sum = putIP4(frame[etherHeader:], x.host, y.host, length, x.id)
		x.id++
	}
	sum += 6 + uint64(length) + sum32(segment[:header]) + uint64(f.sums[p.dir][p.size])
	be.PutUint16(segment[16:], fold(sum))

	whole := etherHeader + ip + length
	kept := min(whole, f.snapLen)
	if at := etherHeader + ip + header; kept > at {
		copy(frame[at:kept], f.text[p.dir][:])
	}
	le := binary.LittleEndian
	le.PutUint32(record[0:], uint32(start+now/1_000_000))
	le.PutUint32(record[4:], uint32(now%1_000_000))
	le.PutUint32(record[8:], uint32(kept))
	le.PutUint32(record[12:], uint32(whole))
	f.n += recordHeader + kept
	f.packets++
}

// options writes the options of p in the manner of Linux, and returns their length.
func (f *frameWriter) options(b []byte, c *connection, p *packet) int {
	be := binary.BigEndian
	n := 0
	put := func(word uint32) {
		be.PutUint32(b[n:], word)
		n += 4
	}
	switch {
	case p.bare:
		return 0
	case p.flags.Any(tcp.SYN):
		put(2<<24 | 4<<16 | uint32(c.maxSegment()+12)) // MSS
		if c.timestamps {
			put(4<<24 | 2<<16 | 8<<8 | 10) // SACK permitted, and a timestamp follows
			put(p.value)
			put(p.echo)
		} else {
			put(1<<24 | 1<<16 | 4<<8 | 2)
		}
		put(1<<24 | 3<<16 | 3<<8 | windowScale)
		return n
	case c.timestamps:
		put(1<<24 | 1<<16 | 8<<8 | 10)
		put(p.value)
		put(p.echo)
	}
	if p.sackLeft != p.sackRight {
		put(1<<24 | 1<<16 | 5<<8 | 10)
		put(p.sackLeft)
		put(p.sackRight)
	}
	return n
}

// ether writes the Ethernet header, between a router and a switch.
func ether(b []byte, dir uint8, v6 bool) {
	be := binary.BigEndian
	be.PutUint32(b[0:], 0x02000000)
	be.PutUint32(b[4:], uint32(2-dir)<<16|0x0200)
	be.PutUint32(b[8:], uint32(1+dir))
	if v6 {
		be.PutUint16(b[12:], 0x86dd)
	} else {
		be.PutUint16(b[12:], 0x0800)
	}
}

// putIP4 writes an IPv4 header and returns the sum of its addresses.
func putIP4(b []byte, src, dst uint32, length int, id uint16) (addresses uint64) {
	be := binary.BigEndian
	be.PutUint32(b[0:], 0x45<<24|uint32(ip4Header+length))
	be.PutUint32(b[4:], uint32(id)<<16|0x4000) // do not fragment
	be.PutUint32(b[8:], hopLimit<<24|6<<16)
	be.PutUint32(b[12:], src)
	be.PutUint32(b[16:], dst)
	be.PutUint16(b[10:], fold(sum32(b[:ip4Header])))
	return uint64(src) + uint64(dst)
}

// putIP6 writes an IPv6 header and returns the sum of its addresses.
func putIP6(b []byte, src, dst uint32, length int) (addresses uint64) {
	be := binary.BigEndian
	be.PutUint32(b[0:], 6<<28)
	be.PutUint32(b[4:], uint32(length)<<16|6<<8|hopLimit)
	for i, host := range [...]uint32{src, dst} {
		address := b[8+16*i:]
		be.PutUint32(address[0:], 0x20010db8)
		be.PutUint64(address[4:], 0)
		be.PutUint32(address[12:], host)
	}
	return sum32(b[8:ip6Header])
}

// sum32 adds up b, a multiple of four octets. To one's complement the width of the words is all the same (RFC 1071 2).
func sum32(b []byte) (sum uint64) {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	return sum
}

// fold makes a checksum of a sum.
func fold(sum uint64) uint16 {
	low, carry := bits.Add32(uint32(sum), uint32(sum>>32), 0)
	sum = uint64(low) + uint64(carry)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
