package compat_test

import (
	"strconv"
	"strings"
	"testing"

	"tcpleak/compat"
	"tcpleak/tcp"
)

// step is one segment of a trace and what the reassembly would say about it.
type step struct {
	segment tcp.Segment
	dir     uint8
	seen    compat.Seen
}

// parseTrace reads segments such as ">S <SA >A >PA:100 <FA": direction, flags in tcpdump's letters, octets of payload.
// ">" is the direction of the first segment. Sequence and acknowledgement numbers follow from what went before. At the end
// of a segment, * sends the sender's last segment's sequence number again, ~ sends one that fits nothing, w closes the
// window, ! acknowledges octets that the capture has missed.
func parseTrace(t testing.TB, ports [2]uint16, text string) []step {
	t.Helper()
	next := [2]tcp.Seq{1000, 0xfffffff0}
	high := next
	start := next
	var steps []step
	for _, word := range strings.Fields(text) {
		body := strings.TrimRight(word, "*~w!")
		marks := word[len(body):]
		flags, octets, _ := strings.Cut(body[1:], ":")
		dir := uint8(strings.IndexByte("><", body[0]))
		s := tcp.Segment{
			Time: int64(len(steps)+1) * 1e6, Packet: uint64(len(steps) + 1), Window: 512,
			Src: tcp.AddrFrom4([4]byte{10, 0, 0, 1 + dir}), Dst: tcp.AddrFrom4([4]byte{10, 0, 0, 2 - dir}),
			SrcPort: ports[dir], DstPort: ports[1-dir],
		}
		for _, letter := range flags {
			s.Flags |= 1 << strings.IndexRune("FSRPA", letter)
		}
		if octets != "" {
			n, err := strconv.Atoi(octets)
			if err != nil {
				t.Fatalf("segment %q: %v", word, err)
			}
			s.Len = uint32(n)
		}
		s.Seq = next[dir]
		if strings.Contains(marks, "*") {
			s.Seq = start[dir]
		}
		if strings.Contains(marks, "~") {
			s.Seq = next[dir].Add(77777)
		}
		if s.Flags.Any(tcp.ACK) {
			s.Ack = next[1-dir]
		}
		if strings.Contains(marks, "w") {
			s.Window = 0
		}
		end := s.End()
		if s.Flags.Any(tcp.RST) {
			end = s.Seq
		}
		seen := compat.Seen{Behind: !end.After(high[dir]), Gap: strings.Contains(marks, "!")}
		if !strings.ContainsAny(marks, "*~") {
			start[dir], next[dir] = s.Seq, end
			high[dir] = high[dir].Max(end)
		}
		steps = append(steps, step{s, dir, seen})
	}
	return steps
}

// unregistered are ports that say nothing about which end is the server.
var unregistered = [2]uint16{50000, 60000}
