package capture

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/internal/kernel"
	"tcpleak/tcp"
)

// refilter changes the filter, and has the source read on meanwhile.
func refilter(t *testing.T, s Source, expression string) {
	t.Helper()
	if err := s.(Refilterer).Refilter(expression); err != nil {
		t.Fatal(err)
	}
	diff(t, "filter", expression, s.Stats().Filter)
}

func TestAFilterChangesWhilePacketsPass(t *testing.T) {
	const sending = 12_000
	for _, name := range []string{kernel.Device, "any"} {
		p := newPair(t)
		s := liveOn(t, p.Server, Config{Filter: fillers, BufferBytes: 32 << 20}, name)
		l := s.(*liveSource).listeners[0]
		if !l.socket.known() {
			t.Fatalf("%s: its socket is not known", name)
		}
		sent := make(chan error)
		go func() {
			sent <- kernel.Try(func() {
				for range sending {
					p.Client.Filler(100)
				}
			})
		}()
		var n atomic.Int64
		changed := make(chan bool)
		stop := make(chan bool)
		go func() {
			defer close(changed)
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, more := range []string{" or tcp", ""} {
					if err := s.(Refilterer).Refilter(fillers + more); err != nil {
						t.Error(err)
						return
					}
					n.Add(1)
				}
			}
		}()
		batch := make([]tcp.Segment, 100)
		var sender error
		for pending, deadline := true, time.Now().Add(20*time.Second); pending || s.Stats().Packets < sending; {
			if _, err := s.Read(batch); err != nil {
				t.Fatal(err)
			}
			select {
			case sender = <-sent:
				pending = false
			default:
			}
			if stats := s.Stats(); time.Now().After(deadline) {
				t.Fatalf("%s: %d packets of %d, %d dropped, the filter has changed %d times", name, stats.Packets, sending, stats.DroppedKernel, n.Load())
			}
		}
		close(stop)
		<-changed
		diff(t, "sender", nil, sender)
		stats := s.Stats()
		diff(t, "packets and drops", fmt.Sprint(sending, 0), fmt.Sprint(stats.Packets, stats.DroppedKernel))
		t.Logf("%s: the filter has changed %d times", name, n.Load())
		if n.Load() < 4 {
			t.Error("it has hardly changed")
		}
		s.Close()
	}
}

func TestAFilterThatIsWrongChangesNothing(t *testing.T) {
	p := newPair(t)
	s := liveOn(t, p.Server, Config{Filter: fillers}, kernel.Device, "any")
	for expression, want := range map[string]string{
		"tcp prot 80":                 `filter "tcp prot 80": `,
		"ether host 02:00:00:00:00:1": `any: filter `, // only one of the two has Ethernet addresses
	} {
		if err := s.(Refilterer).Refilter(expression); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", expression, err)
		}
		diff(t, "filter", fillers, s.Stats().Filter)
	}
	send(t, p, 5)
	readPackets(t, s, 10)
	refilter(t, s, "udp port 10")
	send(t, p, 5)
	refilter(t, s, "udp")
	send(t, p, 5)
	readPackets(t, s, 20)
	refilter(t, s, "") // other packets pass as well
	s.Close()
	diff(t, "closed", "file already closed", fmt.Sprint(s.(Refilterer).Refilter("tcp")))
}

func TestTheReaderMayChangeTheFilterOfABusyInterface(t *testing.T) {
	p := newPair(t)
	s := liveOn(t, p.Server, Config{Filter: fillers, BufferBytes: 32 << 20}, kernel.Device)
	send(t, p, 20_000) // more than waits to be read
	for _, expression := range []string{fillers + " or tcp", fillers} {
		refilter(t, s, expression)
	}
	readPackets(t, s, 20_000)
}

func TestOffsetsInCookedHeadersAreTheKernels(t *testing.T) {
	const vlanTag = auxiliary + 44
	half, length := uint16(unix.BPF_LD|unix.BPF_H|unix.BPF_ABS), uint16(unix.BPF_LDX|unix.BPF_B|unix.BPF_MSH)
	for _, tt := range []struct {
		link linkType
		code uint16
		k    uint32
		want string
	}{
		{linkSLL, half, 14, fmt.Sprint(uint32(auxiliary+auxiliaryProtocol), true)},
		{linkSLL, half, 0, fmt.Sprint(uint32(auxiliary+auxiliaryPacket), true)},
		{linkSLL, half, 18, "2 true"},
		{linkSLL, length, 16, "0 true"},
		{linkSLL, unix.BPF_JMP | unix.BPF_JEQ, 14, "14 true"},
		{linkSLL, unix.BPF_RET, 14, "14 true"},
		{linkSLL2, half, 0, fmt.Sprint(uint32(auxiliary+auxiliaryProtocol), true)},
		{linkSLL2, half, 4, fmt.Sprint(uint32(auxiliary+auxiliaryInterface), true)},
		{linkSLL2, half, 22, "2 true"},
		{linkSLL, half, vlanTag, fmt.Sprint(uint32(vlanTag), true)},
		{linkEthernet, half, 12, "12 true"},
	} {
		f := unix.SockFilter{Code: tt.code, K: tt.k}
		ok := asKernelHasIt(&f, tt.link)
		diff(t, fmt.Sprintf("%v: %#x [%d]", tt.link, tt.code, tt.k), tt.want, fmt.Sprint(f.K, ok))
	}
	if asKernelHasIt(&unix.SockFilter{Code: half, K: 6}, linkSLL) {
		t.Error("the kernel does not have the sender's address at hand")
	}
}

func TestAFilterMayChangeBeforeTheFirstPacket(t *testing.T) {
	for _, name := range []string{kernel.Device, "any"} {
		p := newPair(t)
		s := liveOn(t, p.Server, Config{Filter: "tcp port 1"}, name)
		refilter(t, s, fillers)
		send(t, p, 5)
		readPackets(t, s, 5)
		s.Close()
	}
}

func TestAFilterThatTheKernelDoesNotHaveMayChange(t *testing.T) {
	p := newPair(t)
	s := liveOn(t, p.Server, Config{Filter: "udp port 10 and ether[6] = 1"}, "any") // which asks for the sender's address
	refilter(t, s, fillers)
	send(t, p, 5)
	readPackets(t, s, 5)
}
