package capture

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/pcap"
)

func TestInterfacesAreListed(t *testing.T) {
	all, err := Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	known, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range known {
		at := slices.IndexFunc(all, func(i Interface) bool { return i.Name == k.Name })
		if at < 0 {
			t.Errorf("%s is not listed: %v", k.Name, all)
			continue
		}
		diff(t, k.Name+" is up", k.Flags&net.FlagUp != 0, all[at].Up)
		diff(t, k.Name+" is a loopback", k.Flags&net.FlagLoopback != 0, all[at].Loopback)
		addresses, err := k.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		var want []netip.Prefix
		for _, a := range addresses {
			want = append(want, netip.MustParsePrefix(a.String()))
		}
		byText := func(a, b netip.Prefix) int { return a.Compare(b) }
		got := slices.Clone(all[at].Addresses)
		slices.SortFunc(want, byText)
		slices.SortFunc(got, byText)
		if !slices.Equal(want, got) {
			t.Errorf("%s has the addresses %v, not %v", k.Name, want, got)
		}
	}
}

func TestListedInterfacesCanBeCapturedOn(t *testing.T) {
	all, err := Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if !i.Up {
			continue
		}
		s := live(t, "ip proto 253", i.Name)
		if i.LinkType != "" {
			diff(t, i.Name, s.Stats().Sources[0].LinkTypes, []string{i.LinkType})
		}
		s.Close()
	}
}

func TestNamesOfInterfacesAreStripped(t *testing.T) {
	mask := net.IPMask{255, 255, 0, 0}
	got := described(pcap.Interface{Name: "x\x1b[31m0", Description: "a\nb\u202ec\xff", Flags: 2,
		Addresses: []pcap.InterfaceAddress{{IP: net.IP{10, 1, 2, 3}, Netmask: mask}, {IP: net.ParseIP("fe80::1"), Netmask: mask}, {IP: net.IP{1}}}}, "PPP")
	want := Interface{Name: "x[31m0", Description: "abc\ufffd", Up: true, LinkType: "PPP",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("fe80::1/128")}}
	if got.Name != want.Name || got.Description != want.Description || got.Up != want.Up || got.Running || got.Loopback ||
		got.LinkType != want.LinkType || !slices.Equal(got.Addresses, want.Addresses) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
