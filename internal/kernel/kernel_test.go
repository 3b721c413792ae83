package kernel

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"net/netip"

	"tcpleak/tcp"
)

func TestParseSS(t *testing.T) {
	got, err := ParseSS(`ESTAB      0      0      10.77.0.2:80    10.77.0.1:40001
LISTEN     0      16       0.0.0.0:80      0.0.0.0:*
SYN-RECV   0      0      10.77.0.2%veth0:80    10.77.0.1:40002
LISTEN     1      4              *:8080          *:*
FIN-WAIT-1 0      101  [fd77::2]:80   [fd77::1]:40003
TIME-WAIT  0      0    [::ffff:10.77.0.2]:8080  [::ffff:10.77.0.1]:40004

`)
	if err != nil {
		t.Fatal(err)
	}
	ap := netip.MustParseAddrPort
	want := []SocketState{
		{tcp.Listen, ap("0.0.0.0:80"), netip.AddrPort{}},
		{tcp.Established, ap("10.77.0.2:80"), ap("10.77.0.1:40001")},
		{tcp.SynRcvd, ap("10.77.0.2:80"), ap("10.77.0.1:40002")},
		{tcp.TimeWait, ap("10.77.0.2:8080"), ap("10.77.0.1:40004")},
		{tcp.Listen, ap("[::]:8080"), netip.AddrPort{}},
		{tcp.FinWait1, ap("[fd77::2]:80"), ap("[fd77::1]:40003")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestParseSSRefuses(t *testing.T) {
	for _, line := range []string{
		"ESTAB 0 0 10.77.0.2:80",
		"DREAMING 0 0 10.77.0.2:80 10.77.0.1:40001",
		"ESTAB 0 0 10.77.0.2 10.77.0.1:40001",
		"ESTAB 0 0 10.77.0.2:80 10.77.0.1:http",
		"ESTAB 0 0 10.77.0.2:80 10.77.0.x:1",
	} {
		if got, err := ParseSS(line); err == nil {
			t.Errorf("%q: got %v, want an error", line, got)
		}
	}
}

// The captures in testdata agree with what is said of them.
func TestTruthFiles(t *testing.T) {
	const testdata = "../../testdata"
	paths, err := filepath.Glob(filepath.Join(testdata, "kernel", "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("no captures: make them with go run ./internal/kernel/record, as root")
	}
	for _, path := range append(paths, filepath.Join(testdata, "demo.pcap")) {
		base := strings.TrimSuffix(path, ".pcap")
		t.Run(filepath.Base(base), func(t *testing.T) {
			truth, err := ReadTruth(base + ".json")
			if err != nil {
				t.Fatal(err)
			}
			packets, err := ReadPackets(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := truth.Check(packets); err != nil {
				t.Error(err)
			}
			if truth.Scenario != filepath.Base(base) || truth.Description == "" || truth.Kernel == "" || truth.CapturedAt == "" {
				t.Errorf("incomplete: %+v", truth)
			}
		})
	}
}

func TestCheckFindsDisagreement(t *testing.T) {
	tuple := Tuple{netip.MustParseAddrPort("10.77.0.1:40001"), netip.MustParseAddrPort("10.77.0.2:80")}
	at := time.Unix(1, 0)
	packets := &Packets{Total: 1, First: at, Last: at, TCP: []Packet{{Tuple: tuple, Time: at, Flags: tcp.SYN}}}
	endpoint := func(t Tuple, state string, sent int) Endpoint {
		return Endpoint{Address: t.Src.Addr(), Port: t.Src.Port(), PeerAddress: t.Dst.Addr(), PeerPort: t.Dst.Port(), State: state, Packets: sent}
	}
	good := []Endpoint{endpoint(tuple, "SYN_SENT", 1), endpoint(tuple.Reverse(), "CLOSED", 0)}
	for _, c := range []struct {
		name   string
		change func(*Truth)
		ok     bool
	}{
		{"nothing", func(*Truth) {}, true},
		{"count", func(t *Truth) { t.Packets++ }, false},
		{"end", func(t *Truth) { t.End = at.Add(-1) }, false},
		{"state", func(t *Truth) { t.Endpoints[0].State = "ESTAB" }, false},
		{"sent", func(t *Truth) { t.Endpoints[1].Packets = 1 }, false},
		{"missing", func(t *Truth) { t.Endpoints = t.Endpoints[:1] }, false},
		{"twice", func(t *Truth) { t.Endpoints = append(t.Endpoints, t.Endpoints[0]) }, false},
	} {
		truth := &Truth{Packets: 1, First: at, Last: at, End: at, Endpoints: append([]Endpoint(nil), good...)}
		c.change(truth)
		if err := truth.Check(packets); (err == nil) != c.ok {
			t.Errorf("%s: Check returned %v", c.name, err)
		}
	}
}

func TestHistory(t *testing.T) {
	packets, err := ReadPackets("../../testdata/kernel/close-wait-server.pcap")
	if err != nil {
		t.Fatal(err)
	}
	clients := packets.Clients()
	if len(clients) != 1 {
		t.Fatalf("%d connections, want 1", len(clients))
	}
	if got, want := packets.History(clients[0]), "S s A D a d A F a"; got != want {
		t.Errorf("history %q, want %q", got, want)
	}
}

func TestRepetitions(t *testing.T) {
	packets, err := ReadPackets("../../testdata/kernel/handshake-ack-lost-once.pcap")
	if err != nil {
		t.Fatal(err)
	}
	got := packets.Repetitions()
	r, ok := got[packets.Clients()[0].Reverse()]
	if len(got) != 1 || !ok || r.Interval.Round(time.Second) != time.Second {
		t.Errorf("got %v, want one SYN-ACK of the server repeated after a second", got)
	}
}

func TestLengthUntil(t *testing.T) {
	b, err := os.ReadFile("../../testdata/kernel/close-wait-server.pcap")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parsePackets(b)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range all.TCP {
		n, err := lengthUntil(b, p.Time)
		if err != nil {
			t.Fatal(err)
		}
		cut, err := parsePackets(b[:n])
		if err != nil {
			t.Fatal(err)
		}
		// Two packets may carry the same time.
		if got := len(cut.TCP); got < i+1 || cut.Last.After(p.Time) {
			t.Errorf("until packet %d: %d packets, the last at %v", i+1, got, cut.Last)
		}
	}
	if _, err := lengthUntil(b[:len(b)-1], all.Last); err == nil {
		t.Error("a truncated packet went unnoticed")
	}
}
