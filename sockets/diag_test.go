package sockets

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tcpleak/tcp"
)

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

var compareAddrs = cmpopts.EquateComparable(netip.AddrPort{})

// wire joins hexadecimal digits that are laid out to be read.
func wire(t *testing.T, parts ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseSocket(t *testing.T) {
	if !littleEndian {
		t.Skip("the answers here are those of a little-endian host")
	}
	const (
		rest = "e8030000 65000000 02000000 e8030000 67120000" // expires 1 s, queues 101 and 2, uid 1000, inode 4711
		v4   = "0a4d0002 000000000000000000000000" + "0a4d0001 000000000000000000000000"
		id   = "00000000 01000000 02000000"
	)
	at := netip.MustParseAddrPort
	tests := []struct {
		name string
		wire []byte
		want Socket
	}{
		{"CLOSE_WAIT over IPv4", wire(t, "02 08 02 03", "0050 c351", v4, id, rest), Socket{
			Local: at("10.77.0.2:80"), Remote: at("10.77.0.1:50001"), State: tcp.CloseWait, Timer: KeepAlive, Retransmits: 3,
			Cookie: 2<<32 | 1, Expires: time.Second, RecvQueue: 101, SendQueue: 2, UID: 1000, Inode: 4711,
		}},
		{"IPv4 in a socket of IPv6", wire(t, "0a 01 00 00", "0050 c351",
			"00000000000000000000ffff 0a4d0002", "00000000000000000000ffff 0a4d0001", id, rest), Socket{
			Local: at("10.77.0.2:80"), Remote: at("10.77.0.1:50001"), State: tcp.Established,
			Cookie: 2<<32 | 1, Expires: time.Second, RecvQueue: 101, SendQueue: 2, UID: 1000, Inode: 4711,
		}},
		{"listener of IPv6 on an interface", wire(t, "0a 0a 00 00", "0050 0000",
			"00000000000000000000000000000000", "00000000000000000000000000000000", "07000000 01000000 02000000", rest), Socket{
			Local: at("[::]:80"), Remote: at("[::]:0"), State: tcp.Listen, Interface: 7,
			Cookie: 2<<32 | 1, Expires: time.Second, RecvQueue: 101, SendQueue: 2, UID: 1000, Inode: 4711,
		}},
		{"a state of a later kernel", wire(t, "02 0e 00 00", "0050 c351", v4, id, rest), Socket{
			Local: at("10.77.0.2:80"), Remote: at("10.77.0.1:50001"), State: tcp.Unknown,
			Cookie: 2<<32 | 1, Expires: time.Second, RecvQueue: 101, SendQueue: 2, UID: 1000, Inode: 4711,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseSocket(append(tt.wire, 5, 0, 8, 0, 0, 0, 0, 0)) // an attribute follows
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, compareAddrs); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for n := range len(tt.wire) {
				if _, err := parseSocket(tt.wire[:n]); err == nil {
					t.Fatalf("no error for the first %d octets", n)
				}
			}
		})
	}
	if _, err := parseSocket(make([]byte, answerSize)); err == nil {
		t.Error("no error for address family 0")
	}
}

func TestKernelMask(t *testing.T) {
	for _, tt := range []struct {
		states States
		want   uint32
	}{
		{StatesOf(), 0},
		{StatesOf(tcp.Unknown), 0},
		{StatesOf(tcp.Established), 1 << 1},
		{StatesOf(tcp.SynRcvd), 1<<3 | 1<<12},
		{StatesOf(tcp.CloseWait, tcp.Listen), 1<<8 | 1<<10},
		{DefaultOften, 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12},
	} {
		if got := kernelMask(tt.states); got != tt.want {
			t.Errorf("kernelMask(%b) = %b, want %b", tt.states, got, tt.want)
		}
	}
}

func FuzzParseSocket(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, answerSize))
	f.Add(lookupRequest(pair{netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")}, 3))
	f.Add(append([]byte{familyIPv6, 8}, make([]byte, answerSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSocket(b)
		if err != nil {
			return
		}
		if !s.Local.IsValid() || !s.Remote.IsValid() || s.Local.Addr().Is4In6() || s.Local.Addr().Zone() != "" {
			t.Errorf("addresses %v, %v", s.Local, s.Remote)
		}
		if int(s.State) >= tcp.NumStates {
			t.Errorf("state %d", s.State)
		}
		_ = s.Timer.String()
	})
}
