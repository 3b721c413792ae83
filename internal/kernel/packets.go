package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"tcpleak/tcp"
)

// Packets is what the scenarios need to know of a capture. It reads only what tcpdump writes on a veth: the scenarios must
// not judge themselves with the reader that they are there to test.
type Packets struct {
	Total       int // of any kind
	First, Last time.Time
	TCP         []Packet
}

// Packet is one TCP segment over Ethernet.
type Packet struct {
	Tuple
	Time     time.Time
	Seq, Ack uint32
	Flags    tcp.Flags
	Payload  int // octets
}

const (
	pcapFileHeader   = 24
	pcapPacketHeader = 16
)

// ReadPackets reads a little-endian pcap file of Ethernet frames.
func ReadPackets(path string) (*Packets, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := parsePackets(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func parsePackets(b []byte) (*Packets, error) {
	const microseconds, ethernet = 0xa1b2c3d4, 1
	le := binary.LittleEndian
	if len(b) < pcapFileHeader || le.Uint32(b) != microseconds || le.Uint32(b[20:]) != ethernet {
		return nil, fmt.Errorf("not a little-endian pcap file of Ethernet frames")
	}
	p := new(Packets)
	for at := pcapFileHeader; at < len(b); {
		ts, frame, err := packetAt(b, at)
		if err != nil {
			return nil, err
		}
		if p.Total == 0 {
			p.First = ts
		}
		p.Last = ts
		p.Total++
		if segment, ok := parseFrame(frame); ok {
			segment.Time = ts
			p.TCP = append(p.TCP, segment)
		}
		at += pcapPacketHeader + len(frame)
	}
	return p, nil
}

func packetAt(b []byte, at int) (ts time.Time, frame []byte, err error) {
	h := b[at:]
	if len(h) < pcapPacketHeader {
		return ts, nil, fmt.Errorf("truncated packet header at offset %d", at)
	}
	le := binary.LittleEndian
	n := le.Uint32(h[8:])
	if uint64(n) > uint64(len(h)-pcapPacketHeader) {
		return ts, nil, fmt.Errorf("truncated packet at offset %d", at)
	}
	ts = time.Unix(int64(le.Uint32(h)), int64(le.Uint32(h[4:]))*1000).UTC()
	return ts, h[pcapPacketHeader : pcapPacketHeader+n], nil
}

// lengthUntil returns how much of the file to keep so that no packet is later than the given time.
func lengthUntil(b []byte, last time.Time) (int, error) {
	at := pcapFileHeader
	for at < len(b) {
		ts, frame, err := packetAt(b, at)
		if err != nil {
			return 0, err
		}
		if ts.After(last) {
			break
		}
		at += pcapPacketHeader + len(frame)
	}
	return at, nil
}

func parseFrame(b []byte) (p Packet, ok bool) {
	if len(b) < 14 {
		return p, false
	}
	var src, dst netip.Addr
	var length int // of the TCP header and payload
	ip := b[14:]
	switch binary.BigEndian.Uint16(b[12:]) {
	case 0x0800:
		if len(ip) < 20 || ip[9] != 6 {
			return p, false
		}
		header := int(ip[0]&15) * 4
		length = int(binary.BigEndian.Uint16(ip[2:])) - header
		src, dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		ip = ip[min(header, len(ip)):]
	case 0x86dd:
		if len(ip) < 40 || ip[6] != 6 {
			return p, false
		}
		length = int(binary.BigEndian.Uint16(ip[4:]))
		src, dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		ip = ip[40:]
	default:
		return p, false
	}
	if len(ip) < 20 {
		return p, false
	}
	port := func(at int) uint16 { return binary.BigEndian.Uint16(ip[at:]) }
	p.Tuple = Tuple{netip.AddrPortFrom(src, port(0)), netip.AddrPortFrom(dst, port(2))}
	p.Seq, p.Ack = binary.BigEndian.Uint32(ip[4:]), binary.BigEndian.Uint32(ip[8:])
	p.Flags = tcp.Flags(ip[13])
	p.Payload = length - int(ip[12]>>4)*4
	return p, true
}

// History spells a connection in the manner of Zeek: S for a SYN, D for payload, F for a FIN, R for a RST and A for what
// has none of them, in lower case when the second endpoint of t sent it; segments are separated by spaces. The
// connection is the one that t, or its reverse, belongs to.
func (p *Packets) History(t Tuple) string {
	var words []string
	for i := range p.TCP {
		s := &p.TCP[i]
		if s.Tuple != t && s.Tuple != t.Reverse() {
			continue
		}
		word := ""
		for _, c := range []struct {
			is     bool
			letter string
		}{{s.Flags&tcp.SYN != 0, "S"}, {s.Payload > 0, "D"}, {s.Flags&tcp.FIN != 0, "F"}, {s.Flags&tcp.RST != 0, "R"}} {
			if c.is {
				word += c.letter
			}
		}
		if word == "" {
			word = "A"
		}
		if s.Tuple != t {
			word = strings.ToLower(word)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// Clients returns the first direction of each connection, in the order of their first packets.
func (p *Packets) Clients() []Tuple {
	var all []Tuple
	seen := make(map[Tuple]bool)
	for i := range p.TCP {
		t := p.TCP[i].Tuple
		if !seen[t] && !seen[t.Reverse()] {
			seen[t] = true
			all = append(all, t)
		}
	}
	return all
}

// Repetition is the latest repetition of something that a direction sent.
type Repetition struct {
	Last     time.Time
	Interval time.Duration // since it was sent before
}

// Repetitions returns the latest repetition of a SYN, of data or of a FIN for each direction that had to repeat any.
func (p *Packets) Repetitions() map[Tuple]Repetition {
	type start struct {
		Tuple
		seq uint32
	}
	sent := make(map[start]time.Time)
	all := make(map[Tuple]Repetition)
	for i := range p.TCP {
		s := &p.TCP[i]
		if s.Payload == 0 && !s.Flags.Any(tcp.SYN|tcp.FIN) {
			continue
		}
		key := start{s.Tuple, s.Seq}
		if before, ok := sent[key]; ok {
			all[s.Tuple] = Repetition{s.Time, s.Time.Sub(before)}
		}
		sent[key] = s.Time
	}
	return all
}
