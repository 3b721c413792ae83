package host

import (
	"net/netip"
	"testing"
)

func TestLinksCarryWhatMayPassThem(t *testing.T) {
	own := map[netip.Addr]bool{}
	for _, a := range []string{"127.0.0.1", "10.0.0.2", "172.17.0.1", "192.168.1.5", "fd00::2"} {
		own[netip.MustParseAddr(a)] = true
	}
	eth0 := links{own: own, captured: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::2/64")}}
	docker := []netip.Prefix{netip.MustParsePrefix("172.17.0.1/16")}
	bridge := links{own: own, captured: docker, bridged: docker}
	lo := links{own: own, captured: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}, loopback: true}
	everything := links{own: own, any: true}
	for _, test := range []struct {
		name          string
		on            links
		local, remote string
		ours, want    bool
	}{
		{"its own address", eth0, "10.0.0.2", "203.0.113.7", true, true},
		{"its own, IPv6", eth0, "fd00::2", "2001:db8::1", true, true},
		{"another interface's address", eth0, "192.168.1.5", "203.0.113.7", true, false},
		{"the same address in another namespace", eth0, "10.0.0.2", "203.0.113.7", false, false},
		{"from itself to itself goes by loopback", eth0, "10.0.0.2", "10.0.0.2", true, false},
		{"from itself to itself, on loopback", lo, "10.0.0.2", "10.0.0.2", true, true},
		{"loopback", lo, "127.0.0.1", "127.0.0.1", true, true},
		{"another of 127/8", lo, "127.0.0.9", "127.0.0.1", true, true},
		{"the loopback of another namespace", lo, "127.0.0.1", "127.0.0.1", false, false},
		{"what is not local does not pass loopback", lo, "10.0.0.2", "203.0.113.7", true, false},
		{"a container behind the bridge", bridge, "172.17.0.9", "203.0.113.7", false, true},
		{"a neighbour that has a namespace of this host", eth0, "10.0.0.9", "203.0.113.7", false, false},
		{"a container elsewhere", bridge, "10.42.0.9", "203.0.113.7", false, false},
		{"any, own", everything, "192.168.1.5", "203.0.113.7", true, true},
		{"any, a container", everything, "172.17.0.9", "203.0.113.7", false, true},
		{"any, the same address in another namespace", everything, "10.0.0.2", "203.0.113.7", false, false},
	} {
		got := test.on.carry(netip.MustParseAddr(test.local), netip.MustParseAddr(test.remote), test.ours)
		if got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
