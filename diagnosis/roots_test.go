package diagnosis_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// each repeats what write says for the numbers from 0 to n.
func each(n int, write func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(write(i) + "\n")
	}
	return b.String()
}

// A connection that is broken has one cause, and one finding about that.
func TestTheRootIsToldAndNotItsSymptoms(t *testing.T) {
	tell(t, []story{
		{"CLOSE_WAIT explains the FIN_WAIT_2 of its peer", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		500.0  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 499.0
		`},
		{"and the FIN that its peer repeats", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		1.200  client  FIN,ACK  seq=101 ack=301
		1.210  server  ACK      seq=301 ack=102
		70.00  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 69.0
		`},
		{"a closed window explains CLOSE_WAIT: who does not read does not see the end", answered + `
		1.000  client  ACK,PSH  seq=111 ack=321 len=1000
		1.010  server  ACK      seq=321 ack=1111 win=0
		2.000  client  FIN,ACK  seq=1111 ack=321
		2.010  server  ACK      seq=321 ack=1112 win=0
		100.0  =  warning zero_window server 10.0.0.2:80 ×1 since 1.010 for 99.0
		`},
		{"a peer that has gone explains CLOSE_WAIT with data that it does not take", answered + `
		1.000  client  FIN,ACK  seq=111 ack=321
		1.010  server  ACK      seq=321 ack=112
		1.100  server  ACK,PSH  seq=321 ack=112 len=10
		1.300  server  ACK,PSH  seq=321 ack=112 len=10
		1.700  server  ACK,PSH  seq=321 ack=112 len=10
		2.500  server  ACK,PSH  seq=321 ack=112 len=10
		100.0  =  warning half_open client 10.0.0.1:40000 ×1 since 1.100 for 98.9
		`},
		{"an accept queue that is full explains the SYNs of others that are not answered", opened + `
		1.010  server   SYN,ACK  seq=300 ack=101
		1.500  client2  SYN      seq=100
		2.500  client2  SYN      seq=100
		3.010  server   SYN,ACK  seq=300 ack=101
		5.000  =  critical accept_queue_full server 10.0.0.2:80 ×2 since 0.020 for 5.0
		`},
		{"but not those of another port", opened + `
		1.010  server   SYN,ACK  seq=300 ack=101
		1.500  client2  SYN      seq=100 service=443
		2.500  client2  SYN      seq=100 service=443
		3.010  server   SYN,ACK  seq=300 ack=101
		5.000  =  critical accept_queue_full server 10.0.0.2:80 ×1 since 0.020 for 5.0
		       =  warning unanswered_syn server 10.0.0.2:443 ×1 since 1.500 for 3.5
		`},
		{"a flood explains the handshakes that it is made of", "set syn_flood=3\n" + each(3, func(i int) string {
			return fmt.Sprintf("%d.0 client%d SYN seq=100\n%[1]d.1 server SYN,ACK seq=300 ack=101 to=client%[2]d", i, i+1)
		}) + `
		2.500  server  SYN,ACK  seq=300 ack=101 to=client1
		3.500  =  critical syn_flood client 3 addresses ×3 since 0.100 for 3.4
		`},
		{"a scan explains what is refused and what is not answered", "set port_scan=4\n" + each(4, func(i int) string {
			if i%2 == 0 {
				return fmt.Sprintf("%d.0 client SYN seq=100 service=%d\n%[1]d.1 client SYN seq=100 service=%[2]d", i, 1000+i)
			}
			return fmt.Sprintf("%d.0 client SYN seq=100 service=%d\n%[1]d.1 server RST,ACK seq=0 ack=101 service=%[2]d", i, 1000+i)
		}) + `
		10.00  =  warning port_scan client 10.0.0.1 ×4 since 0.000 for 3.0
		`},
		{"what is odd stands beside it", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		2.000  client  ACK,PSH  seq=102 ack=301 len=10
		2.010  server  ACK      seq=301 ack=102
		70.00  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 69.0
		       =  info data_after_fin client 10.0.0.1:40000 ×1 since 2.000
		`},
	})
}

func TestAFullAcceptQueueDoesNotExplainTheSYNsOfAnotherTime(t *testing.T) {
	tr := play(t, opened+`
		1.010  server   SYN,ACK  seq=300 ack=101
		3.010  server   SYN,ACK  seq=300 ack=101
		3.020  client   RST      seq=101
		900.0  client2  SYN      seq=100
		901.0  client2  SYN      seq=100
	`)
	const want = "warning unanswered_syn server 10.0.0.2:80 ×1 since 900.000 for 4.0"
	if got := lines(tr.analyze(904)); !slices.Contains(got, want) {
		t.Errorf("%q, want %q among them", got, want)
	}
}

// What would be explained by a finding that nobody wants to see is not told as something else.
func TestWhatIsMutedDoesNotTurnIntoAnotherFinding(t *testing.T) {
	tell(t, []story{
		{"CLOSE_WAIT, into the FIN_WAIT_2 of its peer", "mute stuck_close_wait" + opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		500.0  =  nothing
		`},
		{"a full accept queue, into a half-open handshake", "mute accept_queue_full" + opened + `
		1.010  server   SYN,ACK  seq=300 ack=101
		1.500  client2  SYN      seq=100
		2.500  client2  SYN      seq=100
		3.010  server   SYN,ACK  seq=300 ack=101
		5.000  =  nothing
		`},
		{"a request into a FIN, into an abort", "mute closed_while_sending" + answered + `
		60.000  server  FIN,ACK  seq=321 ack=111
		60.005  client  ACK,PSH  seq=111 ack=321 len=10
		60.015  server  RST      seq=322
		60.015  =  nothing
		`},
		{"a flood, into half-open handshakes", "mute syn_flood\nset syn_flood=3\n" + each(3, func(i int) string {
			return fmt.Sprintf("%d.0 client%d SYN seq=100\n%[1]d.1 server SYN,ACK seq=300 ack=101 to=client%[2]d", i, i+1)
		}) + `
		2.500  server  SYN,ACK  seq=300 ack=101 to=client1
		5.500  =  nothing
		`},
		{"a scan, into what is refused", "mute port_scan\nset port_scan=5\n" + each(5, func(i int) string {
			return fmt.Sprintf("%d.0 client SYN seq=100 service=%d\n%[1]d.1 server RST,ACK seq=0 ack=101 service=%[2]d", i, 1000+i)
		}) + `
		5.000  =  nothing
		`},
		{"a gap, where the kernel dropped packets", "mute capture_gap\ndropped 5" + opened + `
		1.000  server  ACK  seq=301 ack=201
		5.000  =  nothing
		`},
	})
}

// chatter feeds a table with segments of a few connections that often, but not always, follow from what was said before.
func chatter(random *rand.Rand, segments int) (table *tracker.Table, now int64) {
	type side struct{ next, got tcp.Seq }
	table = tracker.New(tracker.Config{})
	talks := make([][2]side, 1+random.IntN(12))
	for i := range talks {
		talks[i] = [2]side{{next: tcp.Seq(random.Uint32())}, {next: tcp.Seq(random.Uint32())}}
		talks[i][0].got, talks[i][1].got = talks[i][1].next, talks[i][0].next
	}
	common := [...]tcp.Flags{
		tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK, tcp.ACK, tcp.ACK | tcp.PSH, tcp.ACK | tcp.PSH, tcp.FIN | tcp.ACK, tcp.RST, tcp.RST | tcp.ACK,
	}
	hosts, services := 1+random.IntN(3), 1+random.IntN(3)
	now = epoch
	for n := range segments {
		i, dir := random.IntN(len(talks)), random.IntN(2)
		x, y := &talks[i][dir], &talks[i][1-dir]
		s := tcp.Segment{
			Time: now, Packet: uint64(n) + 1, IPID: uint16(n), Window: 1000, Flags: common[random.IntN(len(common))], Seq: x.next, Ack: x.got,
			Src: address("client"), Dst: address(fmt.Sprintf("server%d", i%hosts)), SrcPort: 40000 + uint16(i), DstPort: 80 + uint16(i%services),
		}
		switch random.IntN(8) {
		case 0:
			s.Flags = tcp.Flags(random.IntN(64))
		case 1:
			s.Seq += tcp.Seq(random.IntN(2000)) - 1000
		case 2:
			s.Ack += tcp.Seq(random.IntN(2000)) - 1000
		case 3:
			s.Window = 0
		case 4:
			x.got = y.next
			s.Ack = x.got
		}
		if s.Flags.Any(tcp.PSH) {
			s.Len = 1 + uint32(random.IntN(100))
		}
		if random.IntN(4) > 0 { // otherwise it is sent again
			x.next = s.End()
		}
		if random.IntN(4) > 0 { // otherwise it is lost
			y.got = s.End()
		}
		if dir == 1 {
			s.Src, s.SrcPort, s.Dst, s.DstPort = s.Dst, s.DstPort, s.Src, s.SrcPort
		}
		table.Add([]tcp.Segment{s})
		now += []int64{1e5, 1e7, 2e8, 1e9, 4e9, 7e10}[random.IntN(6)]
	}
	return table, now + []int64{0, 1e9, 1e10, 2e12}[random.IntN(4)]
}

// equal compares findings to the last word.
var equal = cmp.Options{cmpopts.IgnoreUnexported(diagnosis.Finding{}), cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()}

// consistent checks what holds of every analysis.
func consistent(t *testing.T, rules *diagnosis.Rules, table *tracker.Table, now int64, capture diagnosis.Capture) *diagnosis.Analysis {
	t.Helper()
	a := rules.Analyze(table, now, capture)
	sameAnyway(t, rules, table, now, capture)
	attached := make([][]uint64, len(a.Findings))
	for c := range table.Connections(now) {
		var above []diagnosis.Kind
		for _, id := range a.Of(c) {
			if id < 1 || id > len(a.Findings) {
				t.Fatalf("connection %d has finding %d of %d", c.ID, id, len(a.Findings))
			}
			attached[id-1] = append(attached[id-1], c.ID)
			if f := &a.Findings[id-1]; f.Severity > diagnosis.Info {
				above = append(above, f.Kind)
			}
		}
		if len(above) > 1 {
			t.Errorf("connection %d has more than one finding above info: %v", c.ID, above)
		}
	}
	for i := range a.Findings {
		f := &a.Findings[i]
		about, known := diagnosis.Explain(f.Kind)
		switch {
		case f.ID != i+1, !known:
			t.Errorf("finding %d of kind %q is at place %d", f.ID, f.Kind, i+1)
		case i > 0 && f.Severity > a.Findings[i-1].Severity:
			t.Errorf("%v %s comes after %v", f.Severity, f.Kind, a.Findings[i-1].Severity)
		case f.Severity < about.Severity || f.Severity > about.Worst:
			t.Errorf("%s is %v, not between %v and %v", f.Kind, f.Severity, about.Severity, about.Worst)
		case f.Since <= 0 || f.Since > now || f.For < 0:
			t.Errorf("%s since %d for %v, at %d", f.Kind, f.Since, f.For, now)
		case len(f.Connections) != min(f.Count, diagnosis.MaxListed) || !slices.IsSorted(f.Connections):
			t.Errorf("%s counts %d connections and lists %v", f.Kind, f.Count, f.Connections)
		case f.Summary == "" || f.Cause == "" || strings.Contains(f.Summary+f.Cause+f.NextStep(), "%!"):
			t.Errorf("%s in words: %q, %q, %q", f.Kind, f.Summary, f.Cause, f.NextStep())
		case f.Culprits == 1 && f.Culprit.Addr == (tcp.Addr{}):
			t.Errorf("%s has one culprit, without an address", f.Kind)
		}
		for _, id := range attached[i] {
			if _, listed := slices.BinarySearch(f.Connections, id); !listed && f.Count <= diagnosis.MaxListed {
				t.Errorf("connection %d has finding %s, which does not list it: %v", id, f.Kind, f.Connections)
			}
		}
	}
	return a
}

// TestWhateverIsSaidFindingsAreConsistent throws segments at a table that no two hosts would exchange.
func TestWhateverIsSaidFindingsAreConsistent(t *testing.T) {
	const seeds = 400
	found := make(map[diagnosis.Kind]int)
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 1))
		table, now := chatter(random, 10+random.IntN(150))
		rules := diagnosis.NewRules()
		if seed%2 == 0 { // so that a dozen connections make a crowd
			for _, text := range []string{"syn_flood=2", "port_scan=2", "host_scan=2", "refused=2", "time_wait_pressure=2", "leak=2", "leak=5s", "path_loss=2"} {
				threshold, err := diagnosis.ParseThreshold(text)
				if err != nil {
					t.Fatal(err)
				}
				rules.Set(threshold)
			}
		}
		a := consistent(t, rules, table, now, diagnosis.Capture{Dropped: seed % 3})
		for i := range a.Findings {
			found[a.Findings[i].Kind]++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	orderly := []diagnosis.Kind{diagnosis.SYNFlood, diagnosis.TimeWaitPressure, diagnosis.Churn, diagnosis.Leak}
	for _, about := range diagnosis.Kinds() {
		if found[about.Kind] == 0 && !about.Kernel && !slices.Contains(orderly, about.Kind) {
			t.Errorf("%s was never found: the segments are too much alike", about.Kind)
		}
	}
}
