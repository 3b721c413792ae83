package capture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tcpleak/tcp"
)

// live opens interfaces, or skips the test where that is not allowed.
func live(t *testing.T, filter string, names ...string) Source {
	t.Helper()
	return liveWith(t, Config{Filter: filter}, names...)
}

// quick fills in what suits tests.
func quick(cfg Config) Config {
	cfg.Encaps, cfg.Timeout = new(tcp.EncapTable), 50*time.Millisecond
	if cfg.BufferBytes == 0 {
		cfg.BufferBytes = 2 << 20
	}
	return cfg
}

func liveWith(t *testing.T, cfg Config, names ...string) Source {
	t.Helper()
	s, err := OpenLive(names, quick(cfg))
	if err != nil {
		if strings.Contains(err.Error(), "no right to capture") {
			t.Skip("run as root: sudo make test")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// talk opens a connection over loopback, sends 5 octets and closes both ends.
func talk(t *testing.T, l net.Listener) {
	t.Helper()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(io.Discard, c)
		c.Close()
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
	c.Close()
}

func listenLoopback(t *testing.T) (l net.Listener, filter string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback to listen on: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l, fmt.Sprintf("tcp port %d", l.Addr().(*net.TCPAddr).Port)
}

// until reads a live source until enough says so, for at most some seconds.
func until(t *testing.T, s Source, enough func([]tcp.Segment) bool) []tcp.Segment {
	t.Helper()
	var all []tcp.Segment
	batch := make([]tcp.Segment, 4)
	for deadline := time.Now().Add(5 * time.Second); !enough(all); {
		n, err := s.Read(batch)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, batch[:n]...)
		if time.Now().After(deadline) {
			t.Fatalf("only %d segments: %v", len(all), all)
		}
	}
	return all
}

func fins(n int) func([]tcp.Segment) bool {
	return func(all []tcp.Segment) bool {
		count := 0
		for _, s := range all {
			if s.Flags.Has(tcp.FIN) {
				count++
			}
		}
		return count >= n
	}
}

func TestLiveCaptureShowsAConnection(t *testing.T) {
	l, filter := listenLoopback(t)
	for name, link := range map[string]string{"lo": "ETHERNET", "any": "LINUX_SLL"} {
		t.Run(name, func(t *testing.T) {
			s := live(t, filter, name)
			begin := time.Now().UnixNano()
			talk(t, l)
			segments := until(t, s, fins(2))
			diff(t, "first flags", "SYN", segments[0].Flags.String())
			diff(t, "second flags", "SYN,ACK", segments[1].Flags.String())
			diff(t, "server", uint16(l.Addr().(*net.TCPAddr).Port), segments[0].DstPort)
			var octets uint32
			for i, segment := range segments {
				octets += segment.Len
				diff(t, "packet number", uint64(i+1), segment.Packet)
				if segment.Time < begin-1e9 || segment.Time > begin+10e9 {
					t.Errorf("time %d, begun at %d", segment.Time, begin)
				}
			}
			diff(t, "octets", uint32(5), octets)
			stats := s.Stats()
			diff(t, "packets", stats.Segments, stats.Packets)
			diff(t, "last", s.Last(), stats.Last)
			diff(t, "source", SourceStats{Name: name, Format: "live", LinkTypes: []string{link}, Packets: stats.Packets}, stats.Sources[0])
		})
	}
}

func TestLiveInterfacesAreReadTogether(t *testing.T) {
	l, filter := listenLoopback(t)
	s := live(t, filter, "lo", "any")
	talk(t, l)
	segments := until(t, s, fins(4))
	for i, segment := range segments {
		diff(t, "packet number", uint64(i+1), segment.Packet)
	}
	stats := s.Stats()
	diff(t, "packets of each", stats.Sources[0].Packets, stats.Sources[1].Packets)
}

func TestSilentInterfacesTick(t *testing.T) {
	s := live(t, "ip proto 253", "lo")
	for range 3 {
		begin := time.Now()
		n, err := s.Read(make([]tcp.Segment, 1))
		diff(t, "Read", "0 <nil>", fmt.Sprint(n, err))
		if took := time.Since(begin); took < 40*time.Millisecond || took > time.Second {
			t.Errorf("a tick after %v", took)
		}
	}
}

func TestCloseEndsALiveRead(t *testing.T) {
	s, err := OpenLive([]string{"lo"}, Config{Filter: "ip proto 253", Encaps: new(tcp.EncapTable), Timeout: time.Second})
	if err != nil {
		t.Skip("run as root: sudo make test")
	}
	ended := make(chan error)
	go func() {
		_, err := s.Read(make([]tcp.Segment, 1))
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	go s.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(500 * time.Millisecond):
		t.Error("Read still waits")
	}
	s.Close()
	s.Stats()
}

func TestInterfacesThatCannotBeOpenedSayWhy(t *testing.T) {
	_, err := OpenLive([]string{"none0"}, Config{Encaps: new(tcp.EncapTable)})
	if err == nil || !strings.HasPrefix(err.Error(), "none0: no such interface: there are any, ") {
		t.Error(err)
	}
	for _, names := range [][]string{{"lo", "any", "lo"}, {"lo", ""}} {
		_, err = OpenLive(names, Config{Encaps: new(tcp.EncapTable)})
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("interface %q is given twice or has no name: name each of them once, of any, ", names[len(names)-1])) {
			t.Error(err)
		}
	}
	_, err = OpenLive([]string{"lo"}, Config{Filter: "tcp prot 80", Encaps: new(tcp.EncapTable)})
	if err == nil || !strings.HasPrefix(err.Error(), `filter "tcp prot 80": `) {
		t.Error(err)
	}
}

func TestAnInterfaceThatDisappearsIsAnError(t *testing.T) {
	ip := func(args ...string) error { return exec.Command("ip", args...).Run() }
	if ip("link", "add", "tlcap0", "type", "veth", "peer", "name", "tlcap1") != nil {
		t.Skip("run as root, with iproute2 installed: sudo make test")
	}
	defer ip("link", "del", "tlcap0")
	ip("link", "set", "tlcap0", "up")
	s := live(t, "tcp", "lo", "tlcap0")
	ip("link", "del", "tlcap0")
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if _, err := s.Read(make([]tcp.Segment, 10)); err != nil {
			if !strings.HasPrefix(err.Error(), "tlcap0: ") || strings.Contains(err.Error(), "\n") {
				t.Error(err)
			}
			return
		}
	}
	t.Error("no error")
}
