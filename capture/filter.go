package capture

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"
)

// CheckFilter reports whether a tcpdump expression is valid for any kind of link; in libpcap's words if not. Opening a
// source checks it against the links that are really there.
func CheckFilter(expression string) error {
	_, err := newFilter(linkEthernet, expression)
	if err == nil {
		return nil
	}
	for _, link := range []linkType{linkSLL, linkRaw, link80211Radiotap, linkPPP} {
		if _, other := newFilter(link, expression); other == nil {
			return nil
		}
	}
	return err
}

// filter is a compiled expression for one link type. It is not safe for concurrent use.
type filter struct {
	link linkType
	bpf  *pcap.BPF
}

// newFilter compiles an expression; nil for "".
func newFilter(link linkType, expression string) (*filter, error) {
	if strings.TrimSpace(expression) == "" {
		return nil, nil
	}
	compileFor := link
	switch link {
	case linkRaw, linkRaw14:
		compileFor = linkRaw12 // what libpcap calls it outside of files
	case linkSLL2:
		// gopacket's link types have eight bits. The one thing that an expression can ask of SLL2 and not of SLL, which
		// interface it was, is refused.
		compileFor = linkSLL
	}
	bpf, err := pcap.NewBPF(layers.LinkType(compileFor), maxPacket, expression)
	if err != nil {
		return nil, fmt.Errorf("filter %q: %v on link type %v: man pcap-filter describes the language", expression, err, link)
	}
	return &filter{link, bpf}, nil
}

// match reports whether the packet passes. It changes b while it looks.
func (f *filter) match(b []byte, wire int) bool {
	switch {
	case f == nil:
		return true
	case len(b) == 0:
		return false
	case f.link == linkSLL2 && len(b) >= sll2HeaderLen:
		original := [sll2HeaderLen]byte(b)
		asSLL((*[sll2HeaderLen]byte)(b))
		pass := f.run(b[sll2HeaderLen-sllHeaderLen:], wire) // the length on the wire is that of the packet as it came
		copy(b, original[:])
		return pass
	case (f.link == linkNull || f.link == linkLoop) && len(b) >= loopHeaderLen:
		original := [loopHeaderLen]byte(b)
		f.asHost(b)
		pass := f.run(b, wire)
		copy(b, original[:])
		return pass
	}
	return f.run(b, wire)
}

func (f *filter) run(b []byte, wire int) bool {
	return f.bpf.Matches(gopacket.CaptureInfo{CaptureLength: len(b), Length: wire}, b)
}

// asSLL turns an SLL2 header into the shorter SLL header, at its end.
func asSLL(h *[sll2HeaderLen]byte) {
	old := *h
	copy(h[4:6], []byte{0, old[10]}) // packet type
	copy(h[6:8], old[8:10])          // hardware type
	copy(h[8:10], []byte{0, old[11]})
	copy(h[10:18], old[12:20]) // link-layer address
	copy(h[18:20], old[0:2])   // protocol
}

// asHost gives a loopback header the number and byte order that libpcap compiles for when it does not know the host
// that captured.
func (f *filter) asHost(b []byte) {
	var family uint32
	switch addressFamily(b) {
	case etherIPv4:
		family = 2
	case etherIPv6:
		family = 10
	default:
		return
	}
	if f.link == linkLoop {
		binary.BigEndian.PutUint32(b, family)
	} else {
		binary.NativeEndian.PutUint32(b, family)
	}
}
