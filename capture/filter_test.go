package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"tcpleak/tcp"
)

func TestFiltersWorkOnEveryLinkType(t *testing.T) {
	// What stands between the link's header and IP needs words of its own in an expression, and what libpcap's filters
	// do not know, tcpdump's do not either.
	unknown := regexp.MustCompile("VLAN|QinQ|MPLS|PPPoE|LLC|Cisco|compressed|access points|throughput|padding|^PPP$")
	for _, c := range linkTypeHeaders(t) {
		if unknown.MatchString(c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			checkFilter(t, c, "tcp port 80", true)
			checkFilter(t, c, "port 81", false)
		})
	}
}

// checkFilter checks that an expression lets a packet pass or not, and leaves it as it is.
func checkFilter(t *testing.T, c linkCase, expression string, want bool) {
	t.Helper()
	f, err := newFilter(c.link, expression)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := c.packet(t)
	before := bytes.Clone(b)
	diff(t, expression, want, f.match(b, len(b)))
	diff(t, "packet", before, b)
}

func TestLoopbackFiltersKnowIPv6OfEverySystem(t *testing.T) {
	for _, family := range []uint32{10, 24, 28, 30} {
		for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
			c := linkCase{link: linkNull, header: order.AppendUint32(nil, family), ip: 6}
			checkFilter(t, c, "ip6 and tcp port 80", true)
			checkFilter(t, c, "ip", false)
		}
		checkFilter(t, linkCase{link: linkLoop, header: join(family), ip: 6}, "ip6 and tcp port 80", true)
	}
}

func TestSLL2FiltersSeeTheWholeHeader(t *testing.T) {
	c := linkCase{link: linkSLL2, header: join(uint16(etherIPv4), uint16(0), uint32(3), uint16(1), "\x04\x06", make([]byte, 8)), ip: 4}
	checkFilter(t, c, "outbound and src host 10.0.0.1 and greater 160 and less 160", true)
	checkFilter(t, c, "inbound", false)
}

func TestFiltersSeeTheOriginalLength(t *testing.T) {
	f, err := newFilter(linkEthernet, "greater 1000")
	if err != nil {
		t.Fatal(err)
	}
	b := frame4(t)[:60]
	diff(t, "long", true, f.match(b, 1000))
	diff(t, "short", false, f.match(b, 999))
	diff(t, "empty", false, f.match(nil, 999))
}

func TestFilteredPacketsAreCounted(t *testing.T) {
	other := build(t, ether(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(53), data(9))
	path := write(t, "x", ethernetFile(rec{time: 1e9, data: other}, rec{time: 2e9, data: frame4(t)}, rec{time: 3e9, data: other}))
	for expression, want := range map[string]Skipped{
		"":            {NotTCP: 2},
		" ":           {NotTCP: 2},
		"tcp":         {Filtered: 2},
		"port 53":     {Filtered: 1, NotTCP: 2},
		"len < 10":    {Filtered: 3},
		"tcp or arp ": {Filtered: 2},
	} {
		s, err := OpenFiles([]string{path}, Config{Filter: expression, Encaps: new(tcp.EncapTable)})
		if err != nil {
			t.Fatal(err)
		}
		_, stats := readAll(t, s)
		diff(t, expression, want, stats.Skipped)
		diff(t, expression, uint64(3), stats.Packets)
		diff(t, "last, filtered or not", int64(3e9), stats.Last)
		diff(t, "filter", expression, stats.Filter)
	}
}

func TestFiltersAreCompiledForEachInterface(t *testing.T) {
	le := binary.LittleEndian
	b := join(ngSection(le), ngInterface(le, linkEthernet, 0), ngInterface(le, linkSLL2, 0), ngInterface(le, linkRaw, 0), ngInterface(le, 220, 0))
	for i, header := range [][]byte{join(make([]byte, 12), uint16(etherIPv4)), join(uint16(etherIPv4), make([]byte, 18)), nil} {
		for _, port := range []byte{80, 81} {
			p := packet4(t)
			p[23] = port
			b = join(b, ngPacket(le, rec{on: i, data: join(header, p)}))
		}
	}
	b = join(b, ngPacket(le, rec{on: 3, data: make([]byte, 60)}))
	s, err := OpenFiles([]string{write(t, "x", b)}, Config{Filter: "dst port 81", Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	segments, stats := readAll(t, s)
	var numbers []uint64
	for _, segment := range segments {
		numbers = append(numbers, segment.Packet)
	}
	diff(t, "packets", []uint64{2, 4, 6}, numbers)
	diff(t, "skipped", Skipped{Filtered: 3, UnsupportedLinkType: 1}, stats.Skipped)
}

func TestInvalidFiltersAreRefusedBeforeReading(t *testing.T) {
	for expression, want := range map[string]string{
		"tcp prot 80":     `filter "tcp prot 80": can't parse filter expression: syntax error on link type ETHERNET: man pcap-filter describes the language`,
		"tcp port 999999": `filter "tcp port 999999": illegal port number 999999 > 65535 on link type ETHERNET: man pcap-filter describes the language`,
	} {
		diff(t, "CheckFilter", want, fmt.Sprint(CheckFilter(expression)))
		_, err := OpenFiles([]string{"-"}, Config{Filter: expression, Encaps: new(tcp.EncapTable)})
		diff(t, "OpenFiles", want, fmt.Sprint(err))
	}
	// It would be valid on Wi-Fi, but not here.
	diff(t, "CheckFilter", "<nil>", fmt.Sprint(CheckFilter("type mgt")))
	_, err := OpenFiles([]string{write(t, "x", at(t, 1))}, Config{Filter: "type mgt", Encaps: new(tcp.EncapTable)})
	if err == nil || !strings.Contains(err.Error(), `filter "type mgt": `) {
		t.Error(err)
	}
}

func TestFilteringDoesNotAllocate(t *testing.T) {
	f, err := newFilter(linkSLL2, "tcp port 80")
	if err != nil {
		t.Fatal(err)
	}
	b := build(t, gopacket.Payload(join(uint16(etherIPv4), make([]byte, 18), packet4(t))))
	if n := testing.AllocsPerRun(100, func() { f.match(b, len(b)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
