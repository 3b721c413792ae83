package tracker_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// A trace is a conversation, one segment a line:
//
//	0.150  client  SYN,ACK  seq=100 ack=301 len=10 win=0 ts=7/3 sack=401-501 port=5000
//
// with the time in seconds, the sender and the flags in Wireshark's words. Ports and windows need not be given. Between
// them, what is expected at that moment (or at the time given first, in seconds after the start):
//
//	= ESTABLISHED! CLOSE_WAIT?
//
// the states of client and server of the newest connection (of connection N with "=N"): ! is confirmed, ? presumed, ??
// assumed.
type trace struct {
	t      *testing.T
	table  *tracker.Table
	now    int64
	packet uint64
}

const epoch = int64(1_700_000_000_000_000_000)

var addresses = map[string]tcp.Addr{
	"client": tcp.AddrFrom4([4]byte{10, 0, 0, 1}),
	"server": tcp.AddrFrom4([4]byte{10, 0, 0, 2}),
}

func play(t *testing.T, script string) *trace {
	t.Helper()
	return playWith(t, tracker.Config{}, script)
}

func playWith(t *testing.T, cfg tracker.Config, script string) *trace {
	t.Helper()
	tr := &trace{t: t, table: tracker.New(cfg)}
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 0 {
			tr.line(n+1, fields)
		}
	}
	return tr
}

func (tr *trace) line(n int, fields []string) {
	tr.t.Helper()
	if id, ok := strings.CutPrefix(fields[0], "="); ok {
		connection, _ := strconv.ParseUint(id, 10, 64)
		tr.expect(n, connection, fields[1], fields[2])
		return
	}
	at, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		tr.t.Fatalf("line %d: %v", n, err)
	}
	time := epoch + int64(at*1e9)
	if fields[1] == "=" {
		tr.now = time
		tr.expect(n, 0, fields[2], fields[3])
		return
	}
	tr.packet++
	tr.now = max(tr.now, time)
	s := tcp.Segment{Time: time, Packet: tr.packet, Window: 1000, SrcPort: 40000, DstPort: 80, IPID: uint16(tr.packet)}
	s.Src, s.Dst = addresses["client"], addresses["server"]
	if fields[1] == "server" {
		s.Src, s.Dst, s.SrcPort, s.DstPort = s.Dst, s.Src, s.DstPort, s.SrcPort
	}
	for _, name := range strings.Split(fields[2], ",") {
		for bit := tcp.FIN; bit <= tcp.AE; bit <<= 1 {
			if bit.String() == name {
				s.Flags |= bit
			}
		}
	}
	for _, field := range fields[3:] {
		name, value, _ := strings.Cut(field, "=")
		a, b := numbers(value)
		switch name {
		case "seq":
			s.Seq = tcp.Seq(a)
		case "ack":
			s.Ack = tcp.Seq(a)
		case "len":
			s.Len = a
		case "win":
			s.Window = uint16(a)
		case "id":
			s.IPID = uint16(a)
		case "ts":
			s.Options.TSVal, s.Options.TSEcr = a, b
			s.Options.Has |= tcp.HasTimestamps
		case "sack":
			s.Options.SACK[0], s.Options.SACKs = tcp.SeqRange{Left: tcp.Seq(a), Right: tcp.Seq(b)}, 1
		case "port":
			if fields[1] == "client" {
				s.SrcPort = uint16(a)
			} else {
				s.DstPort = uint16(a)
			}
		default:
			tr.t.Fatalf("line %d: what is %q?", n, field)
		}
	}
	tr.table.Add([]tcp.Segment{s})
}

func numbers(value string) (a, b uint32) {
	first, second, _ := strings.Cut(strings.ReplaceAll(value, "-", "/"), "/")
	x, _ := strconv.ParseUint(first, 10, 32)
	y, _ := strconv.ParseUint(second, 10, 32)
	return uint32(x), uint32(y)
}

func (tr *trace) expect(n int, id uint64, client, server string) {
	tr.t.Helper()
	var got string
	for c := range tr.table.Connections(tr.now) {
		if id == 0 || c.ID == id {
			got = stateText(&c.Ends[tracker.Client]) + " " + stateText(&c.Ends[tracker.Server])
		}
	}
	if diff := cmp.Diff(client+" "+server, got); diff != "" {
		tr.t.Errorf("line %d (-want +got):\n%s", n, diff)
		for c := range tr.table.Connections(tr.now) {
			tr.t.Logf("connection %d: client %s; server %s", c.ID, c.Ends[0].Why, c.Ends[1].Why)
		}
	}
}

func stateText(e *tracker.Endpoint) string {
	return fmt.Sprint(e.State, [...]string{"??", "?", "!"}[e.Certainty])
}
