package report_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// explained is a story with a step of each kind, from packet on and lasting a year if asked.
func explained(client, server string, packet uint64, apart time.Duration) report.Explanation {
	c := stuck(1, client, server)
	c.Ends[tracker.Client].Certainty, c.Ends[tracker.Server].MissedBytes = tracker.Presumed, 1448
	step := func(n int, from tracker.Role, flags tcp.Flags, phase, note string) ladder.Step {
		at := after(time.Duration(n) * apart)
		s := ladder.Step{From: from, Time: at, Last: at, Packet: packet + uint64(n), LastPacket: packet + uint64(n), Flags: flags, Phase: phase, Note: note}
		s.Segments[from] = 1
		return s
	}
	l := ladder.Ladder{Connection: c, Now: after(20 * apart), Copies: 3, Begin: [2]tcp.State{tcp.Closed, tcp.Listen},
		Missing: ladder.Missing{From: tracker.Server, Phase: "teardown 3/4", Since: after(7 * apart),
			Text: "Waiting 5m for the server's FIN (teardown 3/4): its application has not closed the connection."},
		Steps: []ladder.Step{
			step(0, tracker.Client, tcp.SYN, "handshake 1/3", "asks to open a connection"),
			step(1, tracker.Server, tcp.SYN|tcp.ACK, "handshake 2/3", "agrees, and asks to open its own direction"),
			step(2, tracker.Client, tcp.ACK, "handshake 3/3", "agrees: the connection is open"),
			step(3, tracker.Client, 0, "", ""),
			step(5, tracker.Server, tcp.FIN|tcp.SYN|tcp.RST|tcp.PSH|tcp.ACK|tcp.URG|tcp.ECE|tcp.CWR|tcp.AE, "", "a\tnote \x1b[2J of "+strings.Repeat("much", 30)),
			step(6, tracker.Server, 0, "", ""),
			step(7, tracker.Client, tcp.FIN|tcp.ACK, "teardown 1/4", "has nothing more to send, and closes its direction"),
			step(9, tracker.Server, 0, "", "the server: it waited for too long"),
		}}
	states := [][2]tcp.State{{tcp.SynSent, tcp.Listen}, {tcp.SynSent, tcp.SynRcvd}, {tcp.Established, tcp.Established}, {}, {}, {}, {tcp.FinWait1, tcp.Established}, {tcp.FinWait2, tcp.CloseWait}}
	before := l.Begin
	for i := range l.Steps {
		s := &l.Steps[i]
		if states[i] != [2]tcp.State{} {
			s.States = states[i]
		} else {
			s.States = before
		}
		s.Changed = [2]bool{s.States[0] != before[0], s.States[1] != before[1]}
		before = s.States
	}
	run, odd, left, pause := &l.Steps[3], &l.Steps[4], &l.Steps[5], &l.Steps[7]
	run.Kind, run.Last, run.LastPacket = ladder.Run, after(4*apart), packet+4
	run.Segments, run.Payload, run.Again = [2]uint64{1 << 40, 1 << 41}, [2]uint64{1 << 50, 1 << 51}, [2]uint64{7, 8}
	odd.Trouble, odd.Segments[1], odd.Payload[1], odd.Last = true, 12345, 1<<44, after(5*apart+apart/2)
	left.Kind, left.Segments = ladder.Left, [2]uint64{100, 100}
	pause.Kind, pause.Packet, pause.LastPacket, pause.Segments = ladder.Pause, 0, 0, [2]uint64{}
	return report.Explanation{Ladder: l, Findings: []diagnosis.Finding{stuckFinding(1, 1)}}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// explain returns the lines of e, without colours.
func explain(t *testing.T, e *report.Explanation, opt report.TableOptions) []string {
	t.Helper()
	var b strings.Builder
	if err := report.ExplainText(&b, e, opt); err != nil {
		t.Fatal(err)
	}
	if coloured := escape.MatchString(b.String()); coloured != opt.Color {
		t.Errorf("Color %v, but the text has colours: %v", opt.Color, coloured)
	}
	return strings.Split(escape.ReplaceAllString(b.String(), ""), "\n")
}

var longAddresses = [2]string{"[2001:db8:1234:5678:9abc:def0:1234:5678]:65535", "[2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa]:65535"}

func TestALadderFitsItsWidth(t *testing.T) {
	for _, c := range []struct {
		name           string
		client, server string
		packet         uint64
		apart          time.Duration
	}{
		{"usual", "10.77.0.1:50034", "10.77.0.2:80", 1, time.Second},
		{"IPv6", longAddresses[0], longAddresses[1], 1, time.Second},
		{"many packets", "10.77.0.1:50034", "10.77.0.2:80", 9_999_998, time.Second},
		{"very many packets", "10.77.0.1:50034", "10.77.0.2:80", 1 << 62, time.Second},
		{"minutes", "10.77.0.1:50034", "10.77.0.2:80", 1, time.Minute},
		{"days", "10.77.0.1:50034", "10.77.0.2:80", 1, 26 * time.Hour},
		{"years", "10.77.0.1:50034", "10.77.0.2:80", 1, 9000 * time.Hour},
		{"backwards", "10.77.0.1:50034", "10.77.0.2:80", 1, -9000 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := explained(c.client, c.server, c.packet, c.apart)
			for role := range e.Ladder.Connection.Ends { // the widest
				e.Ladder.Connection.Ends[role].State, e.Ladder.Connection.Ends[role].Certainty = tcp.Established, tracker.Assumed
			}
			for _, width := range []int{0, 1, 80, 100, 119, 120, 500} {
				columns := min(max(width, 80), 120)
				if width == 0 {
					columns = report.DefaultWidth
				}
				lines := explain(t, &e, report.TableOptions{Width: width})
				rail := -1
				for i, line := range lines {
					if got := twwidth.Width(line); got > columns {
						t.Errorf("width %d, line %d has %d columns: %q", width, i+1, got, line)
					}
					if strings.HasSuffix(line, " ") {
						t.Errorf("width %d, line %d ends in a space: %q", width, i+1, line)
					}
					if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
						t.Errorf("width %d, line %d has a control character: %q", width, i+1, line)
					}
					at := strings.IndexAny(line, "│├")
					if at >= 0 {
						at = twwidth.Width(line[:at])
						if rail < 0 {
							rail = at
						}
						if at != rail {
							t.Errorf("width %d, line %d: the rail is in column %d, not %d: %q", width, i+1, at, rail, line)
						}
					}
				}
				if diff := cmp.Diff(lines, explain(t, &e, report.TableOptions{Width: width, Color: true})); diff != "" {
					t.Errorf("width %d: colours change more than colours (-without +with):\n%s", width, diff)
				}
			}
		})
	}
}

func TestALadder(t *testing.T) {
	e := explained("10.77.0.1:50034", "10.77.0.2:80", 1, 10*time.Millisecond)
	golden(t, "explain", strings.Join(explain(t, &e, report.TableOptions{Width: 80}), "\n"))
	golden(t, "explain-wide", strings.Join(explain(t, &e, report.TableOptions{Width: 120}), "\n"))
}

// TestALadderInJSON has the same steps with the same states.
func TestALadderInJSON(t *testing.T) {
	e := explained(longAddresses[0], longAddresses[1], 1<<62, 26*time.Hour)
	var b strings.Builder
	if err := report.ExplainJSON(&b, &e, new(report.Report)); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	var states []string
	for i, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		var object struct {
			Type, Kind     string
			Step           int
			Packet         uint64
			Client, Server struct {
				State        string
				Packets      uint64
				PayloadBytes uint64 `json:"payload_bytes"`
			}
			Text string
		}
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("line %d: %v: %s", i+1, err, line)
		}
		kinds = append(kinds, object.Type)
		if object.Type == "step" {
			s := &e.Ladder.Steps[object.Step-1]
			states = append(states, object.Client.State+" "+object.Server.State)
			if object.Packet != s.Packet || object.Client.Packets != s.Segments[0] || object.Server.PayloadBytes != s.Payload[1] || object.Kind != s.Kind.String() {
				t.Errorf("step %d: %s", object.Step, line)
			}
		}
		if object.Type == "missing" && object.Text != e.Ladder.Missing.Text {
			t.Errorf("missing: %s", line)
		}
	}
	var want []string
	for i := range e.Ladder.Steps {
		want = append(want, fmt.Sprint(e.Ladder.Steps[i].States[0], " ", e.Ladder.Steps[i].States[1]))
	}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("the states of the steps (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"connection", "step", "step", "step", "step", "step", "step", "step", "step", "missing", "finding"}, kinds); diff != "" {
		t.Errorf("the lines (-want +got):\n%s", diff)
	}
}
