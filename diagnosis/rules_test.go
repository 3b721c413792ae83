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

const nothing = -1 // what a threshold's text does not give

func TestParseThreshold(t *testing.T) {
	for text, want := range map[string]diagnosis.Threshold{
		"stuck_close_wait=30s":     {Kind: diagnosis.StuckCloseWait, Age: 30 * time.Second, Count: nothing},
		"stuck_close_wait=0":       {Kind: diagnosis.StuckCloseWait, Age: 0, Count: nothing},
		"idle=1h30m":               {Kind: diagnosis.Idle, Age: 90 * time.Minute, Count: nothing},
		"refused=1":                {Kind: diagnosis.Refused, Age: nothing, Count: 1},
		"syn_flood=1000":           {Kind: diagnosis.SYNFlood, Age: nothing, Count: 1000},
		"leak=2m":                  {Kind: diagnosis.Leak, Age: 2 * time.Minute, Count: nothing},
		"leak=25":                  {Kind: diagnosis.Leak, Age: nothing, Count: 25},
		"time_wait_pressure=25409": {Kind: diagnosis.TimeWaitPressure, Age: nothing, Count: 25409},
	} {
		got, err := diagnosis.ParseThreshold(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseThresholdSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `write KIND=DURATION or KIND=COUNT, as in stuck_close_wait=30s`,
		"stuck_close_wait":       `write KIND=DURATION or KIND=COUNT, as in stuck_close_wait=30s`,
		"stuck=30s":              `there is no finding of kind "stuck"; there are stuck_close_wait, stuck_fin_wait_1, `,
		"=30s":                   `there is no finding of kind ""; there are stuck_close_wait, `,
		"aborted=3":              `aborted has no threshold`,
		"stuck_close_wait=":      `"" is no duration; write one like 30s or 5m`,
		"stuck_close_wait=30":    `"30" is no duration; write one like 30s or 5m`,
		"stuck_close_wait=-1s":   `"-1s" is no duration; write one like 30s or 5m`,
		"stuck_close_wait=soon":  `"soon" is no duration; write one like 30s or 5m`,
		"refused=0":              `"0" is no number above 0`,
		"refused=-5":             `"-5" is no number above 0`,
		"refused=5s":             `"5s" is no number above 0`,
		"refused=1e3":            `"1e3" is no number above 0`,
		"leak=some":              `"some" is neither a duration nor a number above 0`,
		"leak=":                  `"" is neither a duration nor a number above 0`,
		"leak=-10":               `"-10" is neither a duration nor a number above 0`,
		"stuck_close_wait=30s=1": `"30s=1" is no duration; write one like 30s or 5m`,
	} {
		got, err := diagnosis.ParseThreshold(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %+v, error %v; want %s", text, got, err, want)
		}
	}
}

func TestParseKind(t *testing.T) {
	for _, about := range diagnosis.Kinds() {
		if got, err := diagnosis.ParseKind(string(about.Kind)); err != nil || got != about.Kind {
			t.Errorf("%s: %q, %v", about.Kind, got, err)
		}
	}
	for _, name := range []string{"", "STUCK_CLOSE_WAIT", "close_wait", "leak "} {
		_, err := diagnosis.ParseKind(name)
		if err == nil || !strings.Contains(err.Error(), "there is no finding of kind") || !strings.HasSuffix(err.Error(), "old_close_wait, kernel_disagrees") {
			t.Errorf("%q: %v, want all kinds that there are", name, err)
		}
	}
}

func TestSetReplacesWhatIsGiven(t *testing.T) {
	r := diagnosis.NewRules()
	for _, about := range diagnosis.Kinds() {
		if got, want := r.Threshold(about.Kind), (diagnosis.Threshold{Kind: about.Kind, Age: about.Age, Count: about.Count}); got != want {
			t.Errorf("by default %+v, want %+v", got, want)
		}
	}
	r.Set(diagnosis.Threshold{Kind: diagnosis.Leak, Age: 5 * time.Minute, Count: nothing})
	r.Set(diagnosis.Threshold{Kind: diagnosis.Leak, Age: nothing, Count: 100})
	if got, want := r.Threshold(diagnosis.Leak), (diagnosis.Threshold{Kind: diagnosis.Leak, Age: 5 * time.Minute, Count: 100}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := diagnosis.NewRules().Threshold(diagnosis.Leak), (diagnosis.Threshold{Kind: diagnosis.Leak, Age: time.Minute, Count: 10}); got != want {
		t.Errorf("other rules have %+v, want %+v", got, want)
	}
}

func TestAnAbsurdThresholdDoesNotWrap(t *testing.T) {
	tr := play(t, opened+`
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
	`)
	tr.rules.Set(diagnosis.Threshold{Kind: diagnosis.StuckCloseWait, Age: math.MaxInt64})
	if got := lines(tr.analyze(1e6)); len(got) != 0 {
		t.Errorf("%q, want nothing", got)
	}
}

// One finding in full.
func TestAFinding(t *testing.T) {
	tr := play(t, answered+`
		1.000  client  FIN,ACK  seq=111 ack=321
		1.010  server  ACK      seq=321 ack=112
	`)
	got := tr.analyze(301.01).Findings
	want := []diagnosis.Finding{{
		ID: 1, Kind: diagnosis.StuckCloseWait, Severity: diagnosis.Warning, Certainty: tracker.Confirmed,
		Connections: []uint64{1}, Begins: []int64{seconds(1.01)}, Count: 1, Example: 1,
		Culprit:  diagnosis.Culprit{Role: tracker.Server, Addr: address("server"), Port: 80},
		Culprits: 1,
		Service:  netip.MustParseAddrPort("10.0.0.2:80"),
		Since:    seconds(1.01), For: 300 * time.Second,
		Summary: "The server 10.0.0.2:80 has not closed its end, 5m00s after the client 10.0.0.1:40000 closed.",
		Next:    "On 10.0.0.2, name the process",
		Command: "ss -tnp state close-wait '( sport = :80 )'",
		Evidence: []diagnosis.Evidence{
			{Mark: tracker.Mark{Time: seconds(1), Packet: 7, Flags: tcp.FIN | tcp.ACK}, From: tracker.Client, Meaning: "closes its end"},
			{Mark: tracker.Mark{Time: seconds(1.01), Packet: 8, Flags: tcp.ACK}, From: tracker.Server, Meaning: "acknowledges the FIN; its own never follows"},
		},
	}}
	if len(got) == 1 {
		want[0].Cause = got[0].Cause
		if next := got[0].NextStep(); next != "On 10.0.0.2, name the process: ss -tnp state close-wait '( sport = :80 )'" {
			t.Errorf("NextStep %q", next)
		}
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of one server and kind, a finding counts all connections, and tells of the oldest, whichever came first.
func TestAGroupTellsOfTheOldest(t *testing.T) {
	tell(t, []story{
		{"two ports of a client", opened + `
		0.100  client  SYN      seq=100 port=4001
		0.110  server  SYN,ACK  seq=300 ack=101 port=4001
		0.120  client  ACK      seq=101 ack=301 port=4001
		1.000  client  FIN,ACK  seq=101 ack=301 port=4001
		1.010  server  ACK      seq=301 ack=102 port=4001
		2.000  client  FIN,ACK  seq=101 ack=301
		2.010  server  ACK      seq=301 ack=102
		100.0  =  warning stuck_close_wait server 10.0.0.2:80 ×2 since 1.010 for 99.0
		summary:  after the client 10.0.0.1:4001 closed
		`},
		{"at two ports of the client at fault, which is told without one", opened + `
		0.100  client  SYN      seq=100 port=4001
		0.110  server  SYN,ACK  seq=300 ack=101 port=4001
		0.120  client  ACK      seq=101 ack=301 port=4001
		1.000  server  FIN,ACK  seq=301 ack=101 port=4001
		1.010  client  ACK      seq=101 ack=302 port=4001
		2.000  server  FIN,ACK  seq=301 ack=101
		2.010  client  ACK      seq=101 ack=302
		100.0  =  warning stuck_close_wait client 10.0.0.1 ×2 since 1.010 for 99.0
		`},
		{"two clients at fault are two findings", opened + `
		0.100  client2  SYN      seq=100
		0.110  server   SYN,ACK  seq=300 ack=101 to=client2
		0.120  client2  ACK      seq=101 ack=301
		1.000  server   FIN,ACK  seq=301 ack=101
		1.010  client   ACK      seq=101 ack=302
		2.000  server   FIN,ACK  seq=301 ack=101 to=client2
		2.010  client2  ACK      seq=101 ack=302
		100.0  =  warning stuck_close_wait client 10.0.0.1:40000 ×1 since 1.010 for 99.0
		       =  warning stuck_close_wait client 10.0.2.1:40000 ×1 since 2.010 for 98.0
		`},
		{"two services are two findings", opened + `
		0.100  client  SYN      seq=100 service=443
		0.110  server  SYN,ACK  seq=300 ack=101 service=443
		0.120  client  ACK      seq=101 ack=301 service=443
		1.000  client  FIN,ACK  seq=101 ack=301 service=443
		1.010  server  ACK      seq=301 ack=102 service=443
		2.000  client  FIN,ACK  seq=101 ack=301
		2.010  server  ACK      seq=301 ack=102
		100.0  =  warning stuck_close_wait server 10.0.0.2:443 ×1 since 1.010 for 99.0
		       =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 2.010 for 98.0
		`},
	})
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
		time.Duration(math.MaxInt64):        "106751d23h",
		10*time.Second + 3*time.Microsecond: "10s",
	} {
		if got := diagnosis.Age(d); got != want {
			t.Errorf("Age(%v) = %s, want %s", d, got, want)
		}
	}
}
