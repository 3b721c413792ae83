package capture

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

// compareUsual holds usual against decode, and reports whether b is usual.
func compareUsual(t *testing.T, b []byte, wire int) bool {
	t.Helper()
	var names, usualNames overheard
	d := decoder{encaps: new(tcp.EncapTable), learner: &names}
	want := tcp.Segment{Time: 5, Packet: 8}
	r := d.decode(&want, linkEthernet, b, wire)
	// What the batch held before must not show, nor must what lies beside a packet be taken for a part of it.
	old := tcp.Segment{Encap: 1, IPID: 2, Src: tcp.Addr{Hi: 3}, Dst: tcp.Addr{Hi: 4}, Window: 5, Options: tcp.Options{
		TSVal: 6, TSEcr: 7, MSS: 8, WindowScale: 9, Has: 255, SACKs: 4, SACK: [4]tcp.SeqRange{{Left: 1}, {Right: 2}, {Left: 3}, {Right: 4}}}}
	got := []tcp.Segment{old, old}
	twice := record{5, 1, uint32(len(b)), wire, 8}
	buf := bytes.Join([][]byte{{0}, b, frame4(t)}, nil)
	n := usual(got, []record{twice, twice}, buf)
	if n != 0 && (n != 2 || r != decoded || got[1] != want) {
		t.Fatalf("%x\n%d of 2 are usual, decode says %v (-decode +usual):\n%s", b, n, r, cmp.Diff(want, got[1]))
	}
	if n > 0 {
		d.learner = &usualNames
		d.tellUsual(got[1:], []record{twice}, buf)
		diff(t, "told of what is usual", names, usualNames)
	}
	return n > 0
}

// frames returns the packets of a pcap file.
func frames(t testing.TB, file []byte) (all []rec) {
	t.Helper()
	r, err := newPcapReader(newWindow(bytes.NewReader(file)), func(network uint32, _ bool) (*tap, error) { return &tap{link: linkType(network)}, nil }, false)
	if err != nil {
		t.Fatal(err)
	}
	for p := (packet{}); r.next(&p) == nil; {
		all = append(all, rec{p.time, bytes.Clone(p.data), p.wire, 0})
	}
	return all
}

func TestTheUsualIsDecodedAsEverythingElseIs(t *testing.T) {
	packets, found := 0, 0
	for name, file := range captures(t) {
		if !strings.HasPrefix(name, "../testdata/kernel") || !isPcap(file) {
			continue
		}
		for _, f := range frames(t, file) {
			packets++
			if compareUsual(t, f.data, f.wire) {
				found++
			}
		}
	}
	if found < packets*9/10 {
		t.Errorf("only %d of %d packets are usual", found, packets)
	}

	options := [][]layers.TCPOption{
		nil,
		{{OptionType: 1}, {OptionType: 1}, {OptionType: 8, OptionLength: 10, OptionData: []byte("12345678")}},
		{{OptionType: 8, OptionLength: 10, OptionData: []byte("12345678")}, {OptionType: 1}, {OptionType: 1}},
		{{OptionType: 1}, {OptionType: 1}, {OptionType: 5, OptionLength: 18, OptionData: []byte("1234567812345678")}},
		{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}, {OptionType: 4, OptionLength: 2},
			{OptionType: 8, OptionLength: 10, OptionData: []byte("12345678")}, {OptionType: 1}, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}}},
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, o := range options {
		header := tcpData()
		header.Options = o
		for _, f := range [][]byte{
			build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), header, data(9)),
			build(t, ether(layers.EthernetTypeIPv6), ip6(layers.IPProtocolTCP), header, data(9)),
			build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), header, gopacket.Payload("")),
		} {
			if !compareUsual(t, f, len(f)) || !compareUsual(t, append(bytes.Clone(f), 1, 2, 3), len(f)+3) {
				t.Errorf("not usual: %x", f)
			}
			for cut := range f {
				compareUsual(t, f[:cut:cut], len(f))
			}
			for range 5000 {
				damaged := bytes.Clone(f)
				for range 1 + r.IntN(2) {
					at := 12 + r.IntN(len(f)-12)
					damaged[at] = byte(r.Uint32()) >> r.IntN(8)
				}
				compareUsual(t, damaged[:len(f)-r.IntN(2)*r.IntN(20)], len(f)+r.IntN(2)*r.IntN(2000))
			}
		}
	}
}
