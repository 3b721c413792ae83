package diagnosis_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

const start = int64(1_700_000_000_000_000_000)

var (
	clientAddr = tcp.AddrFrom4([4]byte{10, 0, 0, 1})
	serverAddr = tcp.AddrFrom4([4]byte{10, 0, 0, 2})
)

// conversation builds a table from segments, seconds after the start.
type conversation struct {
	table  *tracker.Table
	packet uint64
}

func converse() *conversation {
	return &conversation{table: tracker.New(tracker.Config{Changes: true})}
}

func (c *conversation) client(at float64, flags tcp.Flags, seq, ack tcp.Seq) {
	c.add(at, tcp.Segment{Src: clientAddr, Dst: serverAddr, SrcPort: 40000, DstPort: 80}, flags, seq, ack)
}

func (c *conversation) server(at float64, flags tcp.Flags, seq, ack tcp.Seq) {
	c.add(at, tcp.Segment{Src: serverAddr, Dst: clientAddr, SrcPort: 80, DstPort: 40000}, flags, seq, ack)
}

func (c *conversation) add(at float64, s tcp.Segment, flags tcp.Flags, seq, ack tcp.Seq) {
	c.packet++
	s.Packet, s.Time, s.Flags, s.Seq, s.Ack, s.Window = c.packet, seconds(at), flags, seq, ack, 1000
	c.table.Add([]tcp.Segment{s})
}

func (c *conversation) open() {
	c.client(0, tcp.SYN, 100, 0)
	c.server(0.01, tcp.SYN|tcp.ACK, 300, 101)
	c.client(0.02, tcp.ACK, 101, 301)
}

func seconds(at float64) int64 { return start + int64(at*1e9) }

// findings diagnoses all connections at a time.
func (c *conversation) findings(t *testing.T, at float64, thresholds ...diagnosis.Threshold) []diagnosis.Finding {
	t.Helper()
	rules, err := diagnosis.NewRules(thresholds...)
	if err != nil {
		t.Fatal(err)
	}
	var all []diagnosis.Finding
	for conn := range c.table.Connections(seconds(at)) {
		if f, ok := rules.Diagnose(conn, seconds(at)); ok {
			all = append(all, f)
		}
	}
	return all
}

func leakAtServer() *conversation {
	c := converse()
	c.open()
	c.client(1, tcp.FIN|tcp.ACK, 101, 301)
	c.server(1.01, tcp.ACK, 301, 102)
	return c
}

func TestCloseWaitIsStuckAfterAMinute(t *testing.T) {
	c := leakAtServer()
	if f := c.findings(t, 61); len(f) != 0 {
		t.Errorf("after 59.99 s: %+v", f)
	}
	f := c.findings(t, 61.01)
	if len(f) != 1 {
		t.Fatalf("%d findings after 60 s, want 1", len(f))
	}
	f[0].Ref, f[0].Cause = tracker.Ref{}, ""
	want := diagnosis.Finding{
		Kind: diagnosis.StuckCloseWait, Severity: diagnosis.Warning, Certainty: tracker.Confirmed,
		Connections: []uint64{1}, Service: netip.MustParseAddrPort("10.0.0.2:80"),
		Culprit: diagnosis.Culprit{Role: tracker.Server, Addr: serverAddr, Port: 80},
		Since:   seconds(1.01), For: 60 * time.Second,
		Summary: "The server 10.0.0.2:80 has not closed its end, 1m00s after the client 10.0.0.1:40000 closed.",
		Next:    "On 10.0.0.2, name the process",
		Command: "ss -tnp state close-wait '( sport = :80 )'",
		Evidence: []diagnosis.Evidence{
			{Mark: tracker.Mark{Time: seconds(1), Packet: 4, Flags: tcp.FIN | tcp.ACK}, From: tracker.Client, Meaning: "closes its end"},
			{Mark: tracker.Mark{Time: seconds(1.01), Packet: 5, Flags: tcp.ACK}, From: tracker.Server, Meaning: "acknowledges the FIN; its own never follows"},
		},
	}
	if diff := cmp.Diff(want, f[0], cmp.AllowUnexported(tracker.Ref{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCloseWaitAtTheClientBlamesTheClient(t *testing.T) {
	c := converse()
	c.open()
	c.server(1, tcp.FIN|tcp.ACK, 301, 101)
	c.client(1.01, tcp.ACK, 101, 302)
	f := c.findings(t, 100)
	if len(f) != 1 || f[0].Culprit.Role != tracker.Client || f[0].Command != "ss -tnp state close-wait 'dst 10.0.0.2:80'" {
		t.Errorf("%+v", f)
	}
}

func TestAClosedConnectionHasNoFinding(t *testing.T) {
	c := leakAtServer()
	c.server(100, tcp.FIN|tcp.ACK, 301, 102)
	c.client(100.01, tcp.ACK, 102, 302)
	if f := c.findings(t, 1000); len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestAThresholdCanBeSet(t *testing.T) {
	c := leakAtServer()
	if f := c.findings(t, 6.02, diagnosis.Threshold{Kind: diagnosis.StuckCloseWait, Age: 5 * time.Second}); len(f) != 1 {
		t.Errorf("%d findings, want 1", len(f))
	}
	_, err := diagnosis.NewRules(diagnosis.Threshold{Kind: "no_such_kind"})
	if err == nil || !strings.Contains(err.Error(), "stuck_close_wait, half_open_handshake") {
		t.Errorf("error %v, want the kinds that there are", err)
	}
}

func TestAHandshakeThatTheClientDoesNotCompleteBlamesTheClient(t *testing.T) {
	c := converse()
	c.client(0, tcp.SYN, 100, 0)
	c.server(0.01, tcp.SYN|tcp.ACK, 300, 101)
	c.server(1, tcp.SYN|tcp.ACK, 300, 101)
	f := c.findings(t, 3.5)
	if len(f) != 1 || f[0].Kind != diagnosis.HalfOpenHandshake || f[0].Culprit.Role != tracker.Client {
		t.Errorf("%+v", f)
	}
}

func TestAHandshakeACKWithoutEffectBlamesTheServer(t *testing.T) {
	c := converse()
	c.open()
	for at, gap := 1.0, 2.0; at < 16; at, gap = at+gap, gap*2 {
		c.server(at, tcp.SYN|tcp.ACK, 300, 101)
		c.client(at+0.01, tcp.ACK, 101, 301)
	}
	f := c.findings(t, 16)
	if len(f) != 1 || f[0].Culprit.Role != tracker.Server || !strings.Contains(f[0].Command, "ss -ltn") || len(f[0].Evidence) != 3 {
		t.Errorf("%+v", f)
	}
}

func TestWithOneSideOnlyNothingIsSaid(t *testing.T) {
	c := converse()
	c.client(0, tcp.SYN, 100, 0)
	c.client(0.02, tcp.ACK, 101, 301)
	c.client(1, tcp.FIN|tcp.ACK, 101, 301)
	if f := c.findings(t, 1000); len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestAnAbsurdClockDoesNotWrap(t *testing.T) {
	c := leakAtServer()
	rules, err := diagnosis.NewRules(diagnosis.Threshold{Kind: diagnosis.StuckCloseWait, Age: math.MaxInt64})
	if err != nil {
		t.Fatal(err)
	}
	for conn := range c.table.Connections(seconds(100)) {
		if f, ok := rules.Diagnose(conn, seconds(100)); ok {
			t.Errorf("%+v", f)
		}
	}
}

// watch returns what a Monitor says at the times given, as "61.1 raised stuck_close_wait 1".
func watch(t *testing.T, m *diagnosis.Monitor, c *conversation, times ...float64) []string {
	t.Helper()
	var said []string
	for _, at := range times {
		for _, e := range m.Update(c.table, seconds(at)) {
			word := "cleared"
			if e.Raised {
				word = "raised"
			}
			said = append(said, time.Duration(e.Time-start).String()+" "+word+" "+string(e.Finding.Kind))
		}
	}
	return said
}

func newMonitor(t *testing.T) *diagnosis.Monitor {
	t.Helper()
	rules, err := diagnosis.NewRules()
	if err != nil {
		t.Fatal(err)
	}
	return diagnosis.NewMonitor(rules)
}

func TestAFindingIsRaisedOnceBySilenceAndClearedOnce(t *testing.T) {
	c, m := leakAtServer(), newMonitor(t)
	said := watch(t, m, c, 2, 30, 61, 61.2, 62, 90, 500)
	c.server(600, tcp.FIN|tcp.ACK, 301, 102)
	c.client(600.01, tcp.ACK, 102, 302)
	said = append(said, watch(t, m, c, 600.2, 601, 700)...)
	want := []string{"1m1.2s raised stuck_close_wait", "10m0.2s cleared stuck_close_wait"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if standing := m.Standing(); len(standing) != 0 {
		t.Errorf("still standing: %+v", standing)
	}
}

func TestSilenceAloneCanClearAFinding(t *testing.T) {
	c, m := converse(), newMonitor(t)
	c.open()
	c.server(1, tcp.SYN|tcp.ACK, 300, 101)
	c.server(3, tcp.SYN|tcp.ACK, 300, 101)
	c.client(3.01, tcp.ACK, 101, 301)
	want := []string{"3.1s raised half_open_handshake", "9s cleared half_open_handshake"}
	if diff := cmp.Diff(want, watch(t, m, c, 3.1, 3.5, 4, 5, 6, 7, 8, 9)); diff != "" {
		t.Errorf("no SYN-ACK for twice the interval: the ACK has arrived (-want +got):\n%s", diff)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                        "0s",
		51 * time.Microsecond:               "51µs",
		250*time.Millisecond + 1:            "250ms",
		1550 * time.Millisecond:             "1.5s",
		59*time.Second + 999999999:          "59s",
		301 * time.Second:                   "5m01s",
		time.Hour + 2*time.Minute:           "1h02m",
		76*time.Hour + 59*time.Minute:       "3d04h",
		time.Duration(1<<63 - 1):            "106751d23h",
		10*time.Second + 3*time.Microsecond: "10s",
	} {
		if got := diagnosis.Age(d); got != want {
			t.Errorf("Age(%v) = %s, want %s", d, got, want)
		}
	}
}
