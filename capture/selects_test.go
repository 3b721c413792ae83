package capture

import (
	"net/netip"
	"testing"

	"tcpleak/tcp"
)

func TestSelects(t *testing.T) {
	const a, b, a6, b6 = "10.0.0.1:40000", "10.0.0.2:80", "[fd00::1]:40000", "[fd00::2]:80"
	for _, test := range []struct {
		filter, from, to string
		want             bool
	}{
		{"", a, b, true},
		{"port 80", a, b, true},
		{"port 80", b, a, true},
		{"tcp port 80", a6, b6, true},
		{"port 8080", a, b, false},
		{"dst host 10.0.0.2 and dst port 80", a, b, true}, // one direction is enough
		{"dst host 10.0.0.2 and dst port 80", b, a, true},
		{"src net 10.0.1.0/24", a, b, false},
		{"udp", a, b, false},
		{"ip6 and net fd00::/16", a6, b6, true},
		{"ip6", a, b, false},
		{"vlan 10", a, b, false},
		{"port 80", "[::ffff:10.0.0.1]:40000", "[::ffff:10.0.0.2]:80", true},
	} {
		selects, err := Selects(test.filter)
		if err != nil {
			t.Fatal(err)
		}
		if got := selects(netip.MustParseAddrPort(test.from), netip.MustParseAddrPort(test.to)); got != test.want {
			t.Errorf("%q, %s to %s: %v, want %v", test.filter, test.from, test.to, got, test.want)
		}
	}
	if _, err := Selects("tpc"); err == nil {
		t.Error("a filter that is wrong has no error")
	}
}

func TestPasses(t *testing.T) {
	const a, b, a6, b6 = "10.0.0.1:40000", "10.0.0.2:80", "[fd00::1]:40000", "[fd00::2]:80"
	for _, test := range []struct {
		filter, from, to string
		flags            tcp.Flags
		want             bool
	}{
		{"", a, b, tcp.SYN, true},
		{"dst port 80", a, b, tcp.ACK, true},
		{"dst port 80", b, a, tcp.ACK, false},
		{"dst port 80", b6, a6, tcp.ACK, false},
		{"ip6 src host fd00::1", a6, b6, tcp.RST, true},
		{"tcp[tcpflags] & tcp-syn != 0", a, b, tcp.SYN | tcp.ACK, true},
		{"tcp[tcpflags] & tcp-syn != 0", a, b, tcp.FIN | tcp.ACK, false},
	} {
		passes, err := Passes(test.filter)
		if err != nil {
			t.Fatal(err)
		}
		if got := passes(netip.MustParseAddrPort(test.from), netip.MustParseAddrPort(test.to), test.flags); got != test.want {
			t.Errorf("%q, %s to %s, %v: %v, want %v", test.filter, test.from, test.to, test.flags, got, test.want)
		}
	}
}

func BenchmarkPasses(b *testing.B) {
	passes, err := Passes("tcp port 80")
	if err != nil {
		b.Fatal(err)
	}
	from, to := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:80")
	for b.Loop() {
		passes(from, to, tcp.ACK)
	}
}
