package tcp_test

import (
	"net/netip"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
)

func TestFlagsPrintInTheOrderPeopleSayThem(t *testing.T) {
	for flags, want := range map[tcp.Flags]string{
		0:                                 "none",
		tcp.SYN | tcp.ACK:                 "SYN,ACK",
		tcp.FIN | tcp.ACK | tcp.PSH:       "FIN,PSH,ACK",
		tcp.RST:                           "RST",
		tcp.SYN | tcp.ECE | tcp.CWR:       "SYN,ECE,CWR",
		tcp.FIN | tcp.SYN | tcp.RST | 256: "SYN,FIN,RST,AE",
	} {
		if diff := cmp.Diff(want, flags.String()); diff != "" {
			t.Errorf("flags %#x (-want +got):\n%s", uint16(flags), diff)
		}
	}
}

func TestSegmentEndCountsSYNAndFIN(t *testing.T) {
	s := tcp.Segment{Seq: 0xffffffff, Len: 10, Flags: tcp.SYN | tcp.FIN}
	if got := s.End(); got != 11 {
		t.Errorf("End() = %d, want 11", got)
	}
}

func TestAddressesKeepTheirFamilyAndText(t *testing.T) {
	for _, text := range []string{"10.77.0.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "fe80::1"} {
		a := tcp.AddrFromNetip(netip.MustParseAddr(text))
		if got := a.String(); got != text {
			t.Errorf("%s prints as %s", text, got)
		}
		if got, want := a.Is4(), netip.MustParseAddr(text).Is4(); got != want {
			t.Errorf("%s: Is4() = %v", text, got)
		}
	}
	if got, want := tcp.AddrFrom4([4]byte{10, 77, 0, 1}), tcp.AddrFromNetip(netip.MustParseAddr("10.77.0.1")); got != want {
		t.Errorf("AddrFrom4 = %v, want %v", got, want)
	}
}

func TestEqualEncapsulationsShareAnID(t *testing.T) {
	var table tcp.EncapTable
	vlan := func(ids ...uint16) *tcp.Encapsulation {
		var e tcp.Encapsulation
		for _, id := range ids {
			e.AddVLAN(id)
		}
		return &e
	}
	id := func(e *tcp.Encapsulation) uint32 {
		got, ok := table.ID(e)
		if !ok {
			t.Fatal("table is full")
		}
		return got
	}
	ten, tenTwenty, ten2 := id(vlan(10)), id(vlan(10, 20)), id(vlan(10))
	if ten != ten2 || ten == tenTwenty || ten == 0 {
		t.Errorf("ids %d %d %d: want the first and last equal, not 0, and the second another", ten, tenTwenty, ten2)
	}
	if got := id(vlan()); got != 0 {
		t.Errorf("the empty encapsulation has id %d, want 0", got)
	}
	if diff := cmp.Diff(*vlan(10, 20), table.Get(tenTwenty)); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
}

func TestEncapsulationDepthIsBounded(t *testing.T) {
	var e tcp.Encapsulation
	for i := range tcp.MaxEncapDepth {
		if !e.AddVLAN(uint16(i)) || !e.AddTunnel(tcp.VXLAN, uint32(i)) {
			t.Fatalf("no room at depth %d", i)
		}
	}
	if e.AddVLAN(1) || e.AddTunnel(tcp.GRE, 1) {
		t.Error("room beyond MaxEncapDepth")
	}
}

func TestStatesHaveRFCNames(t *testing.T) {
	if got := tcp.FinWait1.String(); got != "FIN_WAIT_1" {
		t.Errorf("got %q", got)
	}
	if got := tcp.State(200).String(); got != "UNKNOWN" {
		t.Errorf("got %q", got)
	}
}

// Batches of segments go from one processor's cache to another's, a line at a time.
func TestASegmentTakesTwoCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(tcp.Segment{}); size != 2*64 {
		t.Errorf("it has %d octets", size)
	}
}
