package capture

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpleak/internal/kernel"
	"tcpleak/tcp"
)

// newPair makes two hosts on a link, or skips the test where that is not allowed.
func newPair(t *testing.T) *kernel.Pair {
	t.Helper()
	if err := kernel.Available(); err != nil {
		t.Skipf("%v, or run sudo make test-root", err)
	}
	p, err := kernel.NewPair(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// liveOn captures on interfaces of a host.
func liveOn(t *testing.T, h *kernel.Host, cfg Config, names ...string) Source {
	t.Helper()
	var s Source
	var err error
	h.Run(func() { s, err = OpenLive(names, quick(cfg)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// act runs what panics when the system refuses it.
func act(t *testing.T, f func()) {
	t.Helper()
	if err := kernel.Try(f); err != nil {
		t.Fatal(err)
	}
}

// send sends datagrams from the client to the server.
func send(t *testing.T, p *kernel.Pair, n int) {
	t.Helper()
	var c net.Conn
	var err error
	p.Client.Run(func() { c, err = net.Dial("udp", p.Server.V4.String()+":9") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range n {
		if _, err := c.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
}

const fillers = "udp port 9" // what send sends

// readPackets reads until so many packets have been captured in all.
func readPackets(t *testing.T, s Source, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); s.Stats().Packets < n; {
		if _, err := s.Read(make([]tcp.Segment, 10)); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d packets, want %d", s.Stats().Packets, n)
		}
	}
	diff(t, "packets", n, s.Stats().Packets)
}

func TestAnInterfaceThatIsTakenDownIsSilentUntilItIsUp(t *testing.T) {
	p := newPair(t)
	s := liveOn(t, p.Server, Config{Filter: fillers}, kernel.Device)
	send(t, p, 7)
	readPackets(t, s, 7)
	ip := func(args ...string) { act(t, func() { p.Server.Command("", "ip", args...) }) }
	ip("link", "set", kernel.Device, "down")
	for range 5 {
		n, err := s.Read(make([]tcp.Segment, 10))
		diff(t, "Read", "0 <nil>", fmt.Sprint(n, err))
	}
	ip("link", "set", kernel.Device, "up")
	send(t, p, 3)
	readPackets(t, s, 10)
	ip("link", "set", kernel.Device, "down")
	ip("link", "set", kernel.Device, "up")
	send(t, p, 3)
	readPackets(t, s, 13)
}

func TestAllIsDeliveredOfAnInterfaceThatIsRemoved(t *testing.T) {
	for _, other := range [][]string{nil, {"lo"}} {
		p := newPair(t)
		s := liveOn(t, p.Server, Config{Filter: fillers}, append(other, kernel.Device)...)
		send(t, p, 200)
		act(t, func() { p.Server.Command("", "ip", "link", "del", kernel.Device) })
		var err error
		for deadline := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(deadline); {
			_, err = s.Read(make([]tcp.Segment, 10))
		}
		if err == nil || !strings.HasPrefix(err.Error(), kernel.Device+": ") || strings.Contains(err.Error(), "\n") {
			t.Error(err)
		}
		diff(t, "packets", uint64(200), s.Stats().Packets)
		_, again := s.Read(make([]tcp.Segment, 10))
		diff(t, "the next error", fmt.Sprint(err), fmt.Sprint(again))
	}
}

func TestABusyInterfaceTicksWhereTheFilterMatchesNothing(t *testing.T) {
	p := newPair(t)
	for _, filter := range []string{"udp port 10", fillers} { // nothing passes; or nothing that gives a segment
		s := liveOn(t, p.Server, Config{Filter: filter}, kernel.Device)
		stop, stopped := make(chan bool), make(chan error)
		go func() {
			stopped <- kernel.Try(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
						p.Client.Filler(100)
					}
				}
			})
		}()
		for range 5 {
			begin := time.Now()
			n, err := s.Read(make([]tcp.Segment, 10))
			diff(t, "Read", "0 <nil>", fmt.Sprint(n, err))
			if took := time.Since(begin); took < 40*time.Millisecond || took > 2*time.Second {
				t.Errorf("a tick after %v", took)
			}
		}
		close(stop)
		diff(t, "sender", nil, <-stopped)
		s.Close()
	}
}

func TestDropsAreCountedWhenTheReaderIsSlow(t *testing.T) {
	const sent = 100_000
	path := filepath.Join(t.TempDir(), "x")
	p := newPair(t)
	s := liveOn(t, p.Server, Config{Filter: fillers, BufferBytes: 64 << 10, Save: Save{Name: path}}, kernel.Device)
	send(t, p, sent)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if _, err := s.Read(make([]tcp.Segment, 10)); err != nil {
			t.Fatal(err)
		}
		if stats := s.Stats(); stats.Packets+stats.DroppedKernel == sent {
			break
		}
	}
	stats := s.Stats()
	if stats.DroppedKernel == 0 || stats.Packets == 0 || stats.Packets+stats.DroppedKernel != sent {
		t.Errorf("%d packets and %d drops of %d", stats.Packets, stats.DroppedKernel, sent)
	}
	// It recovers.
	before := stats.Packets
	for range 5 {
		send(t, p, 10)
		before += 10
		readPackets(t, s, before)
	}
	s.Close()
	diff(t, "packets saved", before, sound(t, path).Packets)
}

func TestLinkTypesOfInterfacesAreTold(t *testing.T) {
	p := newPair(t)
	act(t, func() {
		p.Server.Command("link set lo up\ntuntap add tlcap0 mode tun\ntuntap add tlcap1 mode tap\nlink set tlcap0 up\nlink set tlcap1 up\n", "ip", "-batch", "-")
	})
	var all []Interface
	var err error
	p.Server.Run(func() { all, err = Interfaces() })
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"lo": "ETHERNET", kernel.Device: "ETHERNET", "tlcap0": "RAW", "tlcap1": "ETHERNET", "any": "LINUX_SLL"} {
		at := slices.IndexFunc(all, func(i Interface) bool { return i.Name == name })
		if at < 0 {
			t.Errorf("%s is not among %v", name, all)
			continue
		}
		diff(t, name, want, all[at].LinkType)
		s := liveOn(t, p.Server, Config{}, name)
		diff(t, name+", captured on", []string{want}, s.Stats().Sources[0].LinkTypes)
		s.Close()
	}
}
