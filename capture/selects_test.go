package capture

import (
	"net/netip"
	"testing"
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
