package capture

import (
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

// spared reports whether Lean leaves s out.
func spared(s *tcp.Segment) bool { return s.Len > 0 && !s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST) }

func TestLeanLeavesOutNothingButPayload(t *testing.T) {
	var files, left, out int
	err := filepath.WalkDir("../testdata", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".pcap") && !strings.HasSuffix(path, ".pcapng") {
			return err
		}
		files++
		read := func(filter string) (all []tcp.Segment, stats Stats) {
			s, err := OpenFiles([]string{path}, Config{Filter: filter, Encaps: new(tcp.EncapTable)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			batch := make([]tcp.Segment, 256)
			for {
				n, err := s.Read(batch)
				all = append(all, batch[:n]...)
				if err == io.EOF {
					return all, s.Stats()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		full, _ := read("")
		lean, stats := read(Lean(""))
		var want []tcp.Segment
		for i := range full {
			if !spared(&full[i]) {
				want = append(want, full[i])
			}
		}
		diff(t, path, want, lean)
		diff(t, path+": filtered", uint64(len(full)-len(want)), stats.Skipped[Filtered])
		left, out = left+len(want), out+len(full)-len(want)
		return nil
	})
	if err != nil || files < 100 || out == 0 {
		t.Errorf("%d files, %d segments left and %d left out: %v", files, left, out, err)
	}
}

func TestLeanLetsPassWhatItCannotJudge(t *testing.T) {
	type packet struct {
		name string
		link linkType
		b    []byte
		pass bool
	}
	ack := func() *layers.TCP { h := tcpData(); h.PSH = false; return h }
	with := func(set func(*layers.TCP)) []byte {
		h := tcpData()
		set(h)
		return build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), h, data(100))
	}
	optional4 := ip4(layers.IPProtocolTCP)
	optional4.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 0}}
	stamped := tcpData()
	stamped.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}}
	offloaded := frame4(t)
	offloaded[16], offloaded[17] = 0, 0
	later := frame4(t)
	later[20], later[21] = 0, 9
	cooked := func(b []byte) []byte { return join(make([]byte, 14), uint16(etherIPv4), b) }
	packets := []packet{
		{"payload", linkEthernet, frame4(t), false},
		{"payload, IPv6", linkEthernet, build(t, ether(layers.EthernetTypeIPv6), gopacket.Payload(packet6(t))), false},
		{"one octet", linkEthernet, build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), stamped, data(1)), false},
		{"payload behind options of IP", linkEthernet, build(t, ether(layers.EthernetTypeIPv4), optional4, stamped, data(1)), false},
		{"payload on SLL", linkSLL, cooked(packet4(t)), false},
		{"payload on raw IP", linkRaw, packet4(t), false},
		{"an ACK", linkEthernet, build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), ack()), true},
		{"an ACK, padded", linkEthernet, join(build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), ack()), "trailer"), true},
		{"an ACK with options of IP", linkEthernet, build(t, ether(layers.EthernetTypeIPv4), optional4, stamped), true},
		{"an ACK, IPv6", linkEthernet, build(t, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolTCP), stamped), true},
		{"SYN with payload", linkEthernet, with(func(h *layers.TCP) { h.SYN, h.ACK = true, false }), true},
		{"FIN with payload", linkEthernet, with(func(h *layers.TCP) { h.FIN = true }), true},
		{"RST with payload", linkEthernet, with(func(h *layers.TCP) { h.RST = true }), true},
		{"too long to tell", linkEthernet, offloaded, true},
		{"a later fragment", linkEthernet, later, true},
		{"VLAN", linkEthernet, build(t, ether(layers.EthernetTypeDot1Q), vlan(10, layers.EthernetTypeIPv4), gopacket.Payload(packet4(t))), true},
		{"a header of IPv6 between", linkEthernet, build(t, ether(layers.EthernetTypeIPv6), ip6(protoDestination), gopacket.Payload(join("\x06\x00\x01\x04\x00\x00\x00\x00", packet4(t)[20:]))), true},
		{"UDP", linkEthernet, build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(53), data(100)), true},
		{"ARP", linkEthernet, build(t, ether(layers.EthernetTypeARP), data(28)), true},
	}
	for _, c := range tunnelCases(t) {
		packets = append(packets, packet{"tunnel " + c.name, linkEthernet, c.b, true})
	}
	for _, p := range packets {
		for _, expression := range []string{"", "len > 0", "vlan 10 or len > 0"} {
			f, err := newFilter(p.link, Lean(expression))
			if err != nil {
				if p.link != linkEthernet && strings.Contains(expression, "vlan") {
					continue // there are none
				}
				t.Fatal(err)
			}
			if got := f.match(p.b, len(p.b)); got != p.pass {
				t.Errorf("%s, filter %q: passes %v, want %v", p.name, expression, got, p.pass)
			}
		}
	}
}
