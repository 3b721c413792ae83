package tracker_test

import (
	"fmt"
	"math"
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
// with the time in seconds, the sender and the flags in Wireshark's words. Ports and windows need not be given; scale=7 is
// the window scale of a SYN, and cut=1 says that the capture has only a part of the options. Between them, what is expected
// at that moment (or at the time given first, in seconds after the start):
//
//	= ESTABLISHED! CLOSE_WAIT?
//	: server it acknowledged the peer's FIN in packet 4 and has not sent its own
//	@ server 1.010 at least
//	| handshake client - both
//
// the states of client and server of the newest connection (of connection N with "=N"): ! is confirmed, ? presumed, ??
// assumed; the reason for one of them (":N" likewise); since when it is so; and how it opened, who closed first, what ended it, whose segments
// were seen, and "guessed" if the roles are.
type trace struct {
	t      *testing.T
	table  *tracker.Table
	now    int64
	packet uint64
	start  origin
}

// An origin moves the numbers of a trace: nothing may depend on where in their spaces sequence numbers and clocks began, nor on
// the date, of which some programs that write captures know nothing.
type origin struct {
	client, server, clientClock, serverClock uint32
	date                                     int64 // ns since epoch
}

// The client's ISS is 100 and the server's 300 in most traces, their clocks 1000 and 5000.
var origins = []origin{
	{},
	{1<<32 - 101, 1<<31 - 305, 1<<32 - 1012, 1<<31 - 5031, -epoch},
	{1<<31 - 112, 1<<32 - 302, 1<<31 - 1021, 1<<32 - 6001, 0},
	{1<<32 - 112, 1<<32 - 402, 1<<32 - 2001, 1<<32 - 5001, 400e15},
}

const epoch = int64(1_700_000_000_000_000_000)

var addresses = map[string]tcp.Addr{
	"client": tcp.AddrFrom4([4]byte{10, 0, 0, 1}),
	"server": tcp.AddrFrom4([4]byte{10, 0, 0, 2}),
}

// play plays script from each origin, and returns what became of it from the first.
func play(t *testing.T, script string) *trace {
	t.Helper()
	return playWith(t, tracker.Config{}, script)
}

func playWith(t *testing.T, cfg tracker.Config, script string) (first *trace) {
	t.Helper()
	for i := len(origins) - 1; i >= 0; i-- {
		first = &trace{t: t, table: tracker.New(cfg), start: origins[i]}
		for n, line := range strings.Split(script, "\n") {
			line, _, _ = strings.Cut(line, "#")
			if fields := strings.Fields(line); len(fields) > 0 {
				first.line(n+1, fields)
			}
		}
	}
	return first
}

// A story is a trace that shows one behaviour.
type story struct{ name, script string }

func tell(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) { play(t, s.script) })
	}
}

func (tr *trace) line(n int, fields []string) {
	tr.t.Helper()
	if id, ok := strings.CutPrefix(fields[0], "="); ok {
		connection, _ := strconv.ParseUint(id, 10, 64)
		tr.expect(n, connection, fields[1], fields[2])
		return
	}
	if id, ok := strings.CutPrefix(fields[0], ":"); ok {
		connection, _ := strconv.ParseUint(id, 10, 64)
		tr.expectWhy(n, connection, fields[1], strings.Join(fields[2:], " "))
		return
	}
	if fields[0] == "@" {
		tr.expectSince(n, fields[1], tr.time(n, fields[2]), len(fields) > 3)
		return
	}
	if fields[0] == "|" {
		tr.expectSummary(n, strings.Join(fields[1:], " "))
		return
	}
	if fields[1] == "=" {
		tr.now = tr.time(n, fields[0])
		tr.expect(n, 0, fields[2], fields[3])
		return
	}
	tr.table.Add([]tcp.Segment{tr.segment(n, fields)})
}

// time reads seconds after the start.
func (tr *trace) time(n int, seconds string) int64 {
	tr.t.Helper()
	at, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		tr.t.Fatalf("line %d: %v", n, err)
	}
	return epoch + tr.start.date + int64(math.Round(at*1e9))
}

func (tr *trace) segment(n int, fields []string) tcp.Segment {
	tr.t.Helper()
	time := tr.time(n, fields[0])
	tr.packet++
	tr.now = max(tr.now, time)
	s := tcp.Segment{Time: time, Packet: tr.packet, Window: 1000, SrcPort: 40000, DstPort: 80, IPID: uint16(tr.packet)}
	s.Src, s.Dst = addresses["client"], addresses["server"]
	own, peer := tr.start.client, tr.start.server
	clock, peerClock := tr.start.clientClock, tr.start.serverClock
	if fields[1] == "server" {
		own, peer, clock, peerClock = peer, own, peerClock, clock
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
			s.Seq = tcp.Seq(a + own)
			if a == 0 && s.Flags.Any(tcp.RST) {
				s.Seq = 0 // the answer to a segment without ACK (RFC 9293 3.10.7.1)
			}
		case "ack":
			s.Ack = tcp.Seq(a + peer)
		case "len":
			s.Len = a
		case "win":
			s.Window = uint16(a)
		case "id":
			s.IPID = uint16(a)
		case "ts":
			s.Options.TSVal = a + clock
			if b != 0 {
				s.Options.TSEcr = b + peerClock
			}
			s.Options.Has |= tcp.HasTimestamps
		case "sack":
			s.Options.SACK[0], s.Options.SACKs = tcp.SeqRange{Left: tcp.Seq(a + peer), Right: tcp.Seq(b + peer)}, 1
		case "scale":
			s.Options.WindowScale = uint8(a)
			s.Options.Has |= tcp.HasWindowScale
		case "cut":
			s.Options.Has |= tcp.HasMalformedOption
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
	return s
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
		tr.t.Errorf("line %d, from %+v (-want +got):\n%s", n, tr.start, diff)
		for c := range tr.table.Connections(tr.now) {
			tr.t.Logf("connection %d: client %s; server %s", c.ID, c.Ends[0].Why(), c.Ends[1].Why())
		}
	}
}

// connection returns the connection with an ID, the newest for 0.
func (tr *trace) connection(id uint64) (got tracker.Connection) {
	for c := range tr.table.Connections(tr.now) {
		if id == 0 || c.ID == id {
			got = *c
		}
	}
	return got
}

func (tr *trace) expectWhy(n int, id uint64, role, want string) {
	tr.t.Helper()
	c := tr.connection(id)
	got := c.Ends[tracker.Client].Why()
	if role == "server" {
		got = c.Ends[tracker.Server].Why()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tr.t.Errorf("line %d, from %+v (-want +got):\n%s", n, tr.start, diff)
	}
}

func (tr *trace) expectSince(n int, role string, want int64, atLeast bool) {
	tr.t.Helper()
	c := tr.connection(0)
	e := &c.Ends[tracker.Client]
	if role == "server" {
		e = &c.Ends[tracker.Server]
	}
	if e.Since != want || e.SinceAtLeast != atLeast {
		tr.t.Errorf("line %d: the %s is so since %.3f s, at least %v; want %.3f s, %v",
			n, role, float64(e.Since-tr.time(n, "0"))/1e9, e.SinceAtLeast, float64(want-tr.time(n, "0"))/1e9, atLeast)
	}
}

func (tr *trace) expectSummary(n int, want string) {
	tr.t.Helper()
	c := tr.connection(0)
	got := fmt.Sprint(c.Opened, " ", orDash(c.ClosedFirst), " ", orDash(c.EndedBy), " ", c.Visibility)
	if c.RolesGuessed {
		got += " guessed"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tr.t.Errorf("line %d, from %+v (-want +got):\n%s", n, tr.start, diff)
	}
}

// orDash keeps an empty name visible.
func orDash(name fmt.Stringer) string {
	if name.String() == "" {
		return "-"
	}
	return name.String()
}

func stateText(e *tracker.Endpoint) string {
	return fmt.Sprint(e.State, [...]string{"??", "?", "!"}[e.Certainty])
}
