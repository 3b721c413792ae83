package ladder_test

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/ladder"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// A trace is a conversation, one segment a line:
//
//	0.150  client  SYN,ACK  seq=100 ack=301 len=10 win=0 ts=7/3 port=5000
//
// with the time in seconds, the sender and the flags in Wireshark's words. Ports, windows, numbers and IP ids need not be
// given. "0.2 other" is a segment that has nothing to do with it, and "9.0 end" the time at which it is told.
func parse(t *testing.T, script string) (segments []tcp.Segment, now int64) {
	t.Helper()
	return parseBetween(t, "10.0.0.1", "10.0.0.2", script)
}

func parseBetween(t *testing.T, client, server, script string) (segments []tcp.Segment, now int64) {
	t.Helper()
	for line := range strings.SplitSeq(script, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		seconds, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		at := epoch + int64(math.Round(seconds*1e9))
		now = max(now, at)
		if fields[1] == "end" {
			return segments, at
		}
		packet := uint64(len(segments) + 1)
		s := tcp.Segment{Time: at, Packet: packet, Window: 1000, SrcPort: 40000, DstPort: 80, IPID: uint16(packet),
			Src: addr(client), Dst: addr(server)}
		switch fields[1] {
		case "server":
			s.Src, s.Dst, s.SrcPort, s.DstPort = s.Dst, s.Src, s.DstPort, s.SrcPort
		case "other":
			s.SrcPort, s.Flags = 999, tcp.ACK
		}
		for _, field := range fields[2:] {
			name, value, found := strings.Cut(field, "=")
			if !found {
				for _, name := range strings.Split(field, ",") {
					for bit := tcp.FIN; bit <= tcp.AE; bit <<= 1 {
						if bit.String() == name {
							s.Flags |= bit
						}
					}
				}
				continue
			}
			first, second, _ := strings.Cut(value, "/")
			a, _ := strconv.ParseUint(first, 10, 32)
			b, _ := strconv.ParseUint(second, 10, 32)
			switch name {
			case "seq":
				s.Seq = tcp.Seq(a)
			case "ack":
				s.Ack = tcp.Seq(a)
			case "len":
				s.Len = uint32(a)
			case "win":
				s.Window = uint16(a)
			case "id":
				s.IPID = uint16(a)
			case "ts":
				s.Options.TSVal, s.Options.TSEcr = uint32(a), uint32(b)
				s.Options.Has |= tcp.HasTimestamps
			case "scale":
				s.Options.WindowScale = uint8(a)
				s.Options.Has |= tcp.HasWindowScale
			case "port":
				s.SrcPort = uint16(a)
			default:
				t.Fatalf("%q: what is %q?", line, field)
			}
		}
		segments = append(segments, s)
	}
	return segments, now
}

const epoch = int64(1_700_000_000_000_000_000)

func addr(text string) tcp.Addr { return tcp.AddrFromNetip(netip.MustParseAddr(text)) }

// told returns the ladders of all connections of segments.
func told(segments []tcp.Segment, now int64) []ladder.Ladder {
	table := tracker.New(tracker.Config{})
	table.Add(segments)
	var connections []tracker.Connection
	for c := range table.Connections(now) {
		connections = append(connections, *c)
	}
	teller := ladder.NewTeller(tracker.New(tracker.Config{}), connections)
	for len(segments) > 0 { // in batches of all sizes
		n := min(len(segments), int(segments[0].Packet%5+1))
		teller.Add(segments[:n])
		segments = segments[n:]
	}
	return teller.Ladders(now)
}

// lines are the steps of a ladder, one each: packet, sender, flags and how often, octets; what it means; the states if one is
// new.
func lines(l *ladder.Ladder) (lines []string) {
	for i := range l.Steps {
		s := &l.Steps[i]
		line := fmt.Sprintf("%d %v", s.Packet, s.Kind)
		switch {
		case s.Kind == ladder.Pause:
			line = fmt.Sprintf("pause at %.3f", float64(s.Time-epoch)/1e9)
		case s.Kind == ladder.Segment || s.Count() == 1:
			line = fmt.Sprintf("%d %v %v", s.Packet, s.From, s.Flags)
			if s.Count() > 1 {
				line += fmt.Sprintf(" ×%d", s.Count())
			}
			if n := s.Payload[s.From]; n > 0 {
				line += fmt.Sprintf(" len=%d", n)
			}
		default:
			line += fmt.Sprintf(" %d+%d packets %d+%d octets", s.Segments[0], s.Segments[1], s.Payload[0], s.Payload[1])
		}
		if s.Phase != "" || s.Note != "" {
			line += " | " + strings.TrimPrefix(s.Phase+": "+s.Note, ": ")
		}
		if s.Changed != [2]bool{} {
			line += fmt.Sprintf(" | %v %v", s.States[0], s.States[1])
		}
		lines = append(lines, line)
	}
	return lines
}

// tell tells the connections of script and compares the steps of connection id, and what is missing in the end.
func tell(t *testing.T, script string, id uint64, want string) ladder.Ladder {
	t.Helper()
	segments, now := parse(t, script)
	return compare(t, told(segments, now), id, want)
}

func compare(t *testing.T, all []ladder.Ladder, id uint64, want string) ladder.Ladder {
	t.Helper()
	for i := range all {
		l := &all[i]
		if l.Connection.ID != id {
			continue
		}
		var expected []string
		for line := range strings.SplitSeq(want, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				expected = append(expected, line)
			}
		}
		if diff := cmp.Diff(expected, append(lines(l), "= "+l.Missing.Text)); diff != "" {
			t.Errorf("connection %d (-want +got):\n%s", id, diff)
		}
		return *l
	}
	t.Fatalf("no connection %d among %d", id, len(all))
	return ladder.Ladder{}
}

// opening is a handshake with which most of the traces begin.
const opening = `
	0.000 client SYN     seq=100
	0.001 server SYN,ACK seq=300 ack=101
	0.002 client ACK     seq=101 ack=301
`

const opened = `
	1 client SYN | handshake 1/3: asks to open a connection | SYN_SENT LISTEN
	2 server SYN,ACK | handshake 2/3: agrees, and asks to open its own direction | SYN_SENT SYN_RCVD
	3 client ACK | handshake 3/3: agrees: the connection is open | ESTABLISHED ESTABLISHED
`
