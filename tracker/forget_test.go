package tracker_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// TestWhatIsForgottenFirst fills a table of two with two connections, from ports 1 and 2, and opens a third. Of the two, the
// first is older; where it is the second that goes, that is by its state.
func TestWhatIsForgottenFirst(t *testing.T) {
	const (
		attempt = `
	%.000  client  SYN      seq=100 port=%
	%.010  server  SYN,ACK  seq=300 ack=101 port=%`
		open = attempt + `
	%.011  client  ACK      seq=101 ack=301 port=%`
		halfClosed = open + `
	%.100  client  FIN,ACK  seq=101 ack=301 port=%
	%.110  server  ACK      seq=301 ack=102 port=%`
		bothSent = halfClosed + `
	%.200  server  FIN,ACK  seq=301 ack=102 port=%`
		finished = bothSent + `
	%.210  client  ACK      seq=102 ack=302 port=%`
		crossed = open + `
	%.100  client  FIN,ACK  seq=101 ack=301 port=%
	%.101  server  FIN,ACK  seq=301 ack=101 port=%
	%.102  server  ACK      seq=302 ack=102 port=%`
		crossedOther = open + `
	%.100  client  FIN,ACK  seq=101 ack=301 port=%
	%.101  server  FIN,ACK  seq=301 ack=101 port=%
	%.102  client  ACK      seq=102 ack=302 port=%`
		resetByClient = open + `
	%.100  client  RST,ACK  seq=101 ack=301 port=%`
		resetByServer = open + `
	%.100  server  RST,ACK  seq=301 ack=101 port=%`
		midstream = `
	%.000  client  ACK      seq=101 ack=301 len=5 port=%`
	)
	for _, c := range []struct {
		name          string
		first, second string
		forgotten     uint64
	}{
		{"the older of two alike", open, open, 1},
		{"reset before finished", finished, resetByClient, 2},
		{"reset by the server before finished", finished, resetByServer, 2},
		{"finished before attempts", attempt, finished, 2},
		{"attempts before established", open, attempt, 2},
		{"attempts before what was open before the capture", midstream, attempt, 2},
		{"established before half-closed", halfClosed, open, 2},
		{"a FIN that the client has not acknowledged is half-closed", bothSent, open, 2},
		{"a FIN that crossed and is not acknowledged is half-closed", crossed, open, 2},
		{"so is the client's", crossedOther, open, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := playWith(t, tracker.Config{MaxConnections: 2}, number(c.first, "1")+number(c.second, "2")+number(attempt, "3"))
			var got []uint64
			for c := range tr.table.Connections(tr.now) {
				got = append(got, c.ID)
			}
			if diff := cmp.Diff([]uint64{3 - c.forgotten, 3}, got); diff != "" {
				t.Errorf("connections held (-want +got):\n%s", diff)
			}
		})
	}
}

// number puts n for % in script: the port, and the second at which it starts.
func number(script, n string) string {
	var b []byte
	for i := range len(script) {
		if script[i] == '%' {
			b = append(b, n...)
		} else {
			b = append(b, script[i])
		}
	}
	return string(b)
}

func TestAnOpenConnectionThatWasActiveIsSpared(t *testing.T) {
	table := tracker.New(tracker.Config{MaxConnections: 3})
	for n := 1; n <= 4; n++ {
		open(table, n, int64(n)*1e9) // the fourth evicts the first, and looks for activity from now on
	}
	data := at(2, 5e9, tcp.ACK, 101, 301)
	data.Len = 5
	table.Add([]tcp.Segment{data})
	open(table, 5, 6e9)
	var got []uint64
	for c := range table.Connections(epoch + 7e9) {
		got = append(got, c.ID)
	}
	if diff := cmp.Diff([]uint64{2, 4, 5}, got); diff != "" {
		t.Errorf("connections held (-want +got):\n%s", diff)
	}
}

// TestRolesAreGuessed where the opening was not captured. The connection is between 10.0.0.1 and 10.0.0.2.
func TestRolesAreGuessed(t *testing.T) {
	const other = 3
	for _, c := range []struct {
		name         string
		a, b         uint16 // ports; a sends first
		listens      uint16 // a port of either end that has accepted another connection
		clientIsPort uint16
	}{
		{"the end with a well-known port is the server", 1023, 1024, 0, 1024},
		{"whichever is seen first", 1024, 1023, 0, 1024},
		{"the lower of two high ports is the server's", 5432, 40000, 0, 40000},
		{"whichever of them is seen first", 40000, 5432, 0, 40000},
		{"the lower of two well-known ports is the server's", 20, 21, 0, 21},
		{"who has accepted another connection is the server", 40000, 80, 40000, 80},
		{"whoever of them is seen first", 80, 40000, 40000, 80},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := tracker.New(tracker.Config{})
			s := at(1, 1e9, tcp.ACK, 101, 301)
			s.SrcPort, s.DstPort, s.Len = c.a, c.b, 5
			if c.listens != 0 {
				syn := at(other, 0, tcp.SYN, 1, 0)
				syn.Dst, syn.DstPort = s.Src, c.listens
				if c.listens == c.b {
					syn.Dst = s.Dst
				}
				answer := back(syn)
				answer.Flags, answer.Seq, answer.Ack = tcp.SYN|tcp.ACK, 1, 2
				table.Add([]tcp.Segment{syn, answer})
			}
			table.Add([]tcp.Segment{s})
			var last tracker.Connection
			for c := range table.Connections(epoch + 1e9) {
				last = *c
			}
			if got := last.Ends[tracker.Client].Port; got != c.clientIsPort || !last.RolesGuessed {
				t.Errorf("client is port %d, guessed %v; want %d, guessed", got, last.RolesGuessed, c.clientIsPort)
			}
		})
	}
}

func TestOnlyWhoAnswersASYNIsAListener(t *testing.T) {
	table := tracker.New(tracker.Config{})
	open(table, 1, 0)
	syn := at(2, 1e9, tcp.SYN, 1, 0)
	syn.Dst, syn.DstPort = at(1, 0, 0, 0, 0).Src, 40000 // to what was the client's port
	table.Add([]tcp.Segment{syn})
	var last tracker.Connection
	for c := range table.Connections(epoch + 1e9) {
		last = *c
	}
	if got := last.Ends[tracker.Server].State; got != tcp.Unknown {
		t.Errorf("the end that sent nothing is %v, want UNKNOWN", got)
	}
}

func TestWhatCountsAsADuplicate(t *testing.T) {
	first := at(1, 1e9, tcp.ACK, 101, 301)
	first.IPID = 7
	first.Options.SACKs, first.Options.SACK[0] = 1, tcp.SeqRange{Left: 400, Right: 500}
	for _, c := range []struct {
		name   string
		change func(*tcp.Segment)
		want   uint64
	}{
		{"the same", func(s *tcp.Segment) {}, 1},
		{"3 ms later", func(s *tcp.Segment) { s.Time += 3e6 }, 1},
		{"more than 3 ms later", func(s *tcp.Segment) { s.Time += 3e6 + 1 }, 0},
		{"3 ms earlier", func(s *tcp.Segment) { s.Time -= 3e6 }, 1},
		{"more than 3 ms earlier", func(s *tcp.Segment) { s.Time -= 3e6 + 1 }, 0},
		{"4.3 s later, 32 bits of nanoseconds", func(s *tcp.Segment) { s.Time += 1 << 32 }, 0},
		{"as much earlier", func(s *tcp.Segment) { s.Time -= 1 << 32 }, 0},
		{"another IP id", func(s *tcp.Segment) { s.IPID++ }, 0},
		{"another window", func(s *tcp.Segment) { s.Window++ }, 0},
		{"another sequence number", func(s *tcp.Segment) { s.Seq++ }, 0},
		{"another acknowledgment", func(s *tcp.Segment) { s.Ack++ }, 0},
		{"another length", func(s *tcp.Segment) { s.Len++ }, 0},
		{"other flags", func(s *tcp.Segment) { s.Flags |= tcp.PSH }, 0},
		{"another timestamp", func(s *tcp.Segment) { s.Options.TSVal++ }, 0},
		{"another echo", func(s *tcp.Segment) { s.Options.TSEcr++ }, 0},
		{"another SACK", func(s *tcp.Segment) { s.Options.SACK[0].Right++ }, 0},
		{"from the other end", func(s *tcp.Segment) { *s = back(*s) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := tracker.New(tracker.Config{})
			second := first
			c.change(&second)
			table.Add([]tcp.Segment{first, second})
			if got := table.Stats().Duplicates; got != c.want {
				t.Errorf("%d duplicates, want %d", got, c.want)
			}
		})
	}
}

// TestACopyMayBeARetransmission: without an IP id, what is sent twice within milliseconds looks like what is captured twice.
func TestACopyMayBeARetransmission(t *testing.T) {
	const open = `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	0.011  client  ACK      seq=101 ack=301
	0.020  client  ACK      seq=101 ack=301 len=5
	0.030  server  ACK      seq=301 ack=106`
	tell(t, []story{
		{"where the acknowledgment had passed, silence after it is doubted", open + `
	0.0310 server  ACK      seq=301 ack=106 len=5 id=0
	0.0312 client  ACK      seq=106 ack=306
	0.0315 server  ACK      seq=301 ack=106 len=5 id=0
	9.000  =       ESTABLISHED? ESTABLISHED!
		`},
		{"a mirror port's copy comes before the acknowledgment", open + `
	0.0310 server  ACK      seq=301 ack=106 len=5 id=0
	0.0311 server  ACK      seq=301 ack=106 len=5 id=0
	0.0312 client  ACK      seq=106 ack=306
	9.000  =       ESTABLISHED! ESTABLISHED!
		`},
		{"with an id, it is a copy", open + `
	0.0310 server  ACK      seq=301 ack=106 len=5 id=9
	0.0312 client  ACK      seq=106 ack=306
	0.0315 server  ACK      seq=301 ack=106 len=5 id=9
	9.000  =       ESTABLISHED! ESTABLISHED!
		`},
	})
}

func TestForgetTakesNothingElse(t *testing.T) {
	const open = `
	%.000  client  SYN      seq=100 port=%
	%.010  server  SYN,ACK  seq=300 ack=101 port=%
	%.011  client  ACK      seq=101 ack=301 port=%`
	// Of port 2 there are two, one after the other: the older is found by way of the newer.
	const again = `
	2.100  client  RST,ACK  seq=101 ack=301 port=2
	2.200  client  SYN      seq=9000 port=2`
	for _, tt := range []struct {
		unwanted []uint64
		want     []uint64
	}{
		{nil, []uint64{1, 2, 3, 4}},
		{[]uint64{1}, []uint64{2, 3, 4}},
		{[]uint64{3}, []uint64{1, 2, 4}},
		{[]uint64{2}, []uint64{1, 3, 4}},
		{[]uint64{1, 2, 3, 4}, nil},
	} {
		tr := play(t, number(open, "1")+number(open, "2")+again+number(open, "3"))
		n := tr.table.Forget(tr.now, func(c *tracker.Connection) bool { return slices.Contains(tt.unwanted, c.ID) })
		var got []uint64
		for c := range tr.table.Connections(tr.now) {
			got = append(got, c.ID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || n != len(tt.unwanted) || tr.table.Stats().Evicted.Total() != 0 {
			t.Errorf("without %v: %d forgotten, evicted %+v, held (-want +got):\n%s", tt.unwanted, n, tr.table.Stats().Evicted, diff)
		}
	}
}

// TestThoseThatHaveEndedAreForgottenFirst opens and closes ten connections in a table that may hold three that have ended, with
// two that stay open before them.
func TestThoseThatHaveEndedAreForgottenFirst(t *testing.T) {
	const open = `
	%.000  client  SYN      seq=100 port=%
	%.010  server  SYN,ACK  seq=300 ack=101 port=%
	%.011  client  ACK      seq=101 ack=301 port=%`
	const closed = open + `
	%.100  client  FIN,ACK  seq=101 ack=301 port=%
	%.110  server  FIN,ACK  seq=301 ack=102 port=%
	%.120  client  ACK      seq=102 ack=302 port=%`
	const reset = open + `
	%.100  client  RST,ACK  seq=101 ack=301 port=%`
	script := number(open, "1") + number(open, "2")
	for n := 3; n <= 12; n++ {
		script += number([]string{closed, reset}[n%2], strconv.Itoa(n))
	}
	script += number(open, "13")
	tr := playWith(t, tracker.Config{MaxConnections: 100, MaxEnded: 3}, script)
	var got []uint64
	for c := range tr.table.Connections(tr.now) {
		got = append(got, c.ID)
	}
	// The older go before the younger; there is room for one more that ends.
	if diff := cmp.Diff([]uint64{1, 2, 11, 12, 13}, got); diff != "" {
		t.Errorf("connections held (-want +got):\n%s", diff)
	}
	if e := tr.table.Stats().Evicted; e.Total() != 8 || e.Reset+e.Finished != 8 {
		t.Errorf("evicted %+v", e)
	}
}

// Many that closed do not push out the few that were reset, of which more is said.
func TestAFewThatWereResetStayBesideManyThatClosed(t *testing.T) {
	const open = `
	%.000  client  SYN      seq=100 port=%
	%.010  server  SYN,ACK  seq=300 ack=101 port=%
	%.011  client  ACK      seq=101 ack=301 port=%`
	const closed = open + `
	%.100  client  FIN,ACK  seq=101 ack=301 port=%
	%.110  server  FIN,ACK  seq=301 ack=102 port=%
	%.120  client  ACK      seq=102 ack=302 port=%`
	const refused = `
	%.000  client  SYN      seq=100 port=%
	%.010  server  RST,ACK  seq=0 ack=101 port=%`
	script := ""
	for n := 1; n <= 12; n++ {
		what := closed
		if n == 6 {
			what = refused
		}
		script += number(what, strconv.Itoa(n))
	}
	tr := playWith(t, tracker.Config{MaxConnections: 100, MaxEnded: 4}, script)
	var got []uint64
	for c := range tr.table.Connections(tr.now) {
		got = append(got, c.ID)
	}
	if diff := cmp.Diff([]uint64{6, 10, 11, 12}, got); diff != "" {
		t.Errorf("connections held (-want +got):\n%s", diff)
	}
}
