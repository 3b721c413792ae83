package diagnosis_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// A trace is a conversation, one segment a line:
//
//	0.150  client  SYN,ACK  seq=100 ack=301 len=10 win=0 ts=7/3 port=5000 service=443
//
// with the time in seconds, the sender and the flags in Wireshark's words. "client2" is another client, "server2" the server
// of another host that it may speak to with "to=server2"; the client's port, the server's port and the window need not be
// given. Between the segments stands what is expected at a time:
//
//	61.009  =  nothing
//	61.010  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 60.0
//	        =  info slow_handshake client nobody ×1 since 0.000
//	summary:  The server 10.0.0.2:80 has not closed
//	cause:    a code path forgets it
//	next:     On 10.0.0.2, name the process: ss -tnp state close-wait '( sport = :80 )'
//	evidence: 4 client closes its end | 5 server acknowledges the FIN
//
// All findings, the worst first; and what the words of the worst contain. "set KIND=VALUE", "mute KIND" and "forgive TIME" change the
// rules for what follows; "dropped N" says that the kernel dropped packets.
type trace struct {
	t       *testing.T
	table   *tracker.Table
	rules   *diagnosis.Rules
	capture diagnosis.Capture
	packet  uint64
	worst   *diagnosis.Finding // of those that were listed
}

const epoch = int64(1_700_000_000_000_000_000)

// seconds is a time of a trace in ns since 1970.
func seconds(at float64) int64 { return epoch + int64(math.Round(at*1e9)) }

// address is that of "client", "client2", "server7", "stranger": 10.0.N.1 to 3, and so 10.0.0.1 and 10.0.0.2 for the first two.
func address(name string) tcp.Addr {
	host, digits := byte(3), strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz")
	switch strings.TrimSuffix(name, digits) {
	case "client":
		host = 1
	case "server":
		host = 2
	}
	n, _ := strconv.ParseUint(digits, 10, 8)
	return tcp.AddrFrom4([4]byte{10, 0, byte(n), host})
}

// play plays a script.
func play(t *testing.T, script string) *trace {
	t.Helper()
	tr := &trace{t: t, table: tracker.New(tracker.Config{}), rules: diagnosis.NewRules()}
	tr.script(script)
	return tr
}

// script plays what comes next.
func (tr *trace) script(script string) {
	tr.t.Helper()
	lines := strings.Split(script, "\n")
	for n := 0; n < len(lines); n++ {
		fields := strings.Fields(lines[n])
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if len(fields) > 1 && fields[1] == "=" {
			want := []string{strings.Join(fields[2:], " ")}
			for ; n+1 < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[n+1]), "= "); n++ {
				want = append(want, strings.Join(strings.Fields(lines[n+1])[1:], " "))
			}
			tr.expect(n+1, fields[0], want)
			continue
		}
		tr.line(n+1, fields)
	}
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
	rest := strings.Join(fields[1:], " ")
	switch fields[0] {
	case "set":
		threshold, err := diagnosis.ParseThreshold(rest)
		if err != nil {
			tr.t.Fatalf("line %d: %v", n, err)
		}
		tr.rules.Set(threshold)
	case "mute":
		tr.rules.Mute(diagnosis.Kind(rest))
	case "forgive":
		before, err := time.ParseDuration(rest)
		if err != nil {
			tr.t.Fatalf("line %d: %v", n, err)
		}
		tr.rules.ForgiveGaps(epoch + int64(before))
	case "dropped":
		tr.capture.Dropped, _ = strconv.ParseUint(rest, 10, 64)
	case "summary:", "cause:", "next:", "certainty:":
		if tr.worst == nil {
			tr.t.Fatalf("line %d: of which finding?", n)
		}
		got := map[string]string{
			"summary:": tr.worst.Summary, "cause:": tr.worst.Cause, "next:": tr.worst.NextStep(), "certainty:": tr.worst.Certainty.String(),
		}[fields[0]]
		if !strings.Contains(got, rest) {
			tr.t.Errorf("line %d: %s %q does not contain %q", n, fields[0], got, rest)
		}
	case "evidence:":
		var got []string
		for _, e := range tr.worst.Evidence {
			got = append(got, fmt.Sprintf("%d %v %s", e.Packet, e.From, e.Meaning))
		}
		if diff := cmp.Diff(strings.Split(rest, " | "), got); diff != "" {
			tr.t.Errorf("line %d (-want +got):\n%s", n, diff)
		}
	default:
		tr.table.Add([]tcp.Segment{tr.segment(n, fields)})
	}
}

func (tr *trace) segment(n int, fields []string) tcp.Segment {
	tr.t.Helper()
	at, err := strconv.ParseFloat(fields[0], 64)
	if err != nil || len(fields) < 3 {
		tr.t.Fatalf("line %d: no segment: %v", n, fields)
	}
	tr.packet++
	client, server := "client", "server"
	fromServer := strings.HasPrefix(fields[1], "server")
	if fromServer {
		server = fields[1]
	} else {
		client = fields[1]
	}
	clientPort, serverPort := uint16(40000), uint16(80)
	s := tcp.Segment{Time: seconds(at), Packet: tr.packet, Window: 1000, IPID: uint16(tr.packet)}
	for _, name := range strings.Split(fields[2], ",") {
		for bit := tcp.FIN; bit <= tcp.AE; bit <<= 1 {
			if bit.String() == name {
				s.Flags |= bit
			}
		}
	}
	for _, field := range fields[3:] {
		name, value, _ := strings.Cut(field, "=")
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
		case "ts":
			s.Options.TSVal, s.Options.TSEcr = uint32(a), uint32(b)
			s.Options.Has |= tcp.HasTimestamps
		case "port":
			clientPort = uint16(a)
		case "service":
			serverPort = uint16(a)
		case "to":
			if fromServer {
				client = value
			} else {
				server = value
			}
		default:
			tr.t.Fatalf("line %d: what is %q?", n, field)
		}
	}
	s.Src, s.SrcPort, s.Dst, s.DstPort = address(client), clientPort, address(server), serverPort
	if fromServer {
		s.Src, s.SrcPort, s.Dst, s.DstPort = s.Dst, s.DstPort, s.Src, s.SrcPort
	}
	return s
}

// analyze returns what the rules say at a time.
func (tr *trace) analyze(at float64) *diagnosis.Analysis {
	return tr.rules.Analyze(tr.table, seconds(at), tr.capture)
}

func (tr *trace) expect(n int, at string, want []string) {
	tr.t.Helper()
	time, err := strconv.ParseFloat(at, 64)
	if err != nil {
		tr.t.Fatalf("line %d: %v", n, err)
	}
	a := tr.analyze(time)
	got := lines(a)
	if len(got) == 0 {
		got = []string{"nothing"}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tr.t.Errorf("line %d, at %s (-want +got):\n%s", n, at, diff)
		for c := range tr.table.Connections(seconds(time)) {
			tr.t.Logf("connection %d: client %v, %s; server %v, %s", c.ID, c.Ends[0].State, c.Ends[0].Why(), c.Ends[1].State, c.Ends[1].Why())
		}
	}
	tr.worst = nil
	if len(a.Findings) > 0 {
		tr.worst = &a.Findings[0]
	}
}

// lines tells the findings of a in short, one a line.
func lines(a *diagnosis.Analysis) []string {
	var all []string
	for i := range a.Findings {
		all = append(all, line(&a.Findings[i]))
	}
	return all
}

// line is like "warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 60.0".
func line(f *diagnosis.Finding) string {
	culprit := "nobody"
	switch {
	case f.Culprits > 1:
		culprit = fmt.Sprintf("%d addresses", f.Culprits)
	case f.Culprits == 1:
		culprit = f.Culprit.Addr.String()
		if f.Culprit.Port != 0 {
			culprit += fmt.Sprintf(":%d", f.Culprit.Port)
		}
	}
	text := fmt.Sprintf("%v %s %v %s ×%d since %.3f", f.Severity, f.Kind, f.Culprit.Role, culprit, f.Count, time.Duration(f.Since-epoch).Seconds())
	if f.For != 0 {
		text += " for "
		if f.ForAtLeast {
			text += "at least "
		}
		text += fmt.Sprintf("%.1f", f.For.Seconds())
	}
	return text
}

// Openings that most traces begin with.
const (
	// opened leaves both ends ESTABLISHED.
	opened = `
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		0.020  client  ACK      seq=101 ack=301
`
	// answered has a request and its answer as well.
	answered = opened + `
		0.030  client  ACK,PSH  seq=101 ack=301 len=10
		0.040  server  ACK,PSH  seq=301 ack=111 len=20
		0.050  client  ACK      seq=111 ack=321
`
)
