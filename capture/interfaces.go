package capture

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/google/gopacket/pcap"
)

// Interface is one that OpenLive can capture on.
type Interface struct {
	Name        string
	Description string // "" unless somebody wrote one
	Addresses   []netip.Prefix
	Up          bool // switched on
	Running     bool // with a carrier, or in no need of one
	Loopback    bool

	// LinkType is libpcap's name without LINKTYPE_, as in SourceStats; "" where only capturing would tell.
	LinkType string
}

// Interfaces lists what can be captured on, in the order of tcpdump -D: what is up and running first, and of that
// what is no loopback. It needs no rights. Control characters are left out of all names.
func Interfaces() ([]Interface, error) {
	devices, err := pcap.FindAllDevs()
	if err != nil {
		return nil, fmt.Errorf("the interfaces cannot be listed: %w", err)
	}
	existing, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("the interfaces cannot be listed: %w", err)
	}
	links := linkTypesOf()
	var all []Interface
	for _, d := range devices {
		// libpcap also lists what carries no network traffic, or no more: Bluetooth, D-Bus, netfilter's queues.
		if d.Name != anyInterface && !slices.ContainsFunc(existing, func(i net.Interface) bool { return i.Name == d.Name }) {
			continue
		}
		all = append(all, described(d, links[d.Name]))
	}
	return all, nil
}

// Flags that libpcap gives an interface.
const (
	flagLoopback = 1 << iota
	flagUp
	flagRunning
)

func described(d pcap.Interface, linkType string) Interface {
	i := Interface{
		Name: printable(d.Name), Description: printable(d.Description), LinkType: linkType,
		Up: d.Flags&flagUp != 0, Running: d.Flags&flagRunning != 0, Loopback: d.Flags&flagLoopback != 0,
	}
	if d.Name == anyInterface {
		i.LinkType, i.Loopback = linkSLL.String(), false // all flags are set
	}
	for _, a := range d.Addresses {
		addr, ok := netip.AddrFromSlice(a.IP)
		ones, bits := a.Netmask.Size()
		if !ok {
			continue
		}
		if bits != addr.BitLen() {
			ones = addr.BitLen()
		}
		i.Addresses = append(i.Addresses, netip.PrefixFrom(addr, ones))
	}
	return i
}

// printable leaves out what a terminal might obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
