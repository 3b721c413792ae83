package capture

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/google/gopacket/pcap"
	"golang.org/x/sys/unix"
)

// packetSocket is the socket of a handle; 0 where it is not known, and libpcap has to be asked instead.
type packetSocket int

func (s packetSocket) known() bool { return s > 0 }

// opening is held while a handle is opened: the socket is told from others by its being new.
var opening sync.Mutex

// withSocket runs open, which opens one handle, and returns the socket of that. gopacket does not tell it.
func withSocket(open func() error) (packetSocket, error) {
	opening.Lock()
	defer opening.Unlock()
	before := packetSockets()
	if err := open(); err != nil {
		return 0, err
	}
	added := slices.DeleteFunc(packetSockets(), func(fd int) bool { return slices.Contains(before, fd) })
	if len(added) != 1 {
		return 0, nil
	}
	return packetSocket(added[0]), nil
}

// packetSockets lists those of this process.
func packetSockets() (all []int) {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_PACKET {
			all = append(all, fd)
		}
	}
	return all
}

// attach sets the filter. The kernel replaces one with the other: there is no moment between them.
func (s packetSocket) attach(program []pcap.BPFInstruction, link linkType) error {
	filters := make([]unix.SockFilter, len(program))
	for i, instruction := range program {
		filters[i] = unix.SockFilter{Code: instruction.Code, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K}
		if !asKernelHasIt(&filters[i], link) {
			return fmt.Errorf("it asks for what the kernel does not tell on link type %v", link)
		}
	}
	if len(filters) == 0 || len(filters) > unix.BPF_MAXINSNS {
		return fmt.Errorf("%d instructions, and the kernel takes %d", len(filters), unix.BPF_MAXINSNS)
	}
	return unix.SetsockoptSockFprog(int(s), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]})
}

// What the kernel tells beside the packet, at offsets from auxiliary on; see linux/filter.h.
const (
	auxiliary          = 1<<32 - 0x1000 // SKF_AD_OFF
	auxiliaryProtocol  = 0
	auxiliaryPacket    = 4 // its type: for this host, a broadcast and so on
	auxiliaryInterface = 8
)

// asKernelHasIt changes an instruction that looks at a packet as libpcap shows it into one that looks at it as the kernel has
// it. They differ on what libpcap calls a cooked link, whose header it makes itself. It returns false for a part of that which
// the kernel has nothing for. This is what libpcap's fix_offset does.
func asKernelHasIt(f *unix.SockFilter, link linkType) bool {
	class, mode := f.Code&7, f.Code&0xe0
	if link != linkSLL && link != linkSLL2 || class != unix.BPF_LD && class != unix.BPF_LDX ||
		mode != unix.BPF_ABS && mode != unix.BPF_IND && mode != unix.BPF_MSH || f.K >= auxiliary {
		return true
	}
	header, fields := uint32(sllHeaderLen), map[uint32]uint32{0: auxiliaryPacket, 14: auxiliaryProtocol}
	if link == linkSLL2 {
		header, fields = sll2HeaderLen, map[uint32]uint32{0: auxiliaryProtocol, 4: auxiliaryInterface, 10: auxiliaryPacket}
	}
	if f.K >= header {
		f.K -= header
		return true
	}
	field, ok := fields[f.K]
	f.K = auxiliary + field
	return ok
}
