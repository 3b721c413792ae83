package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/internal/kernel"
)

// TestSoak runs the agent on a host with many short connections, each way for as long as SOAK_AGENT says, beside tcpdump, which
// looks at the same packets and does nothing with them. make soak-agent runs it. SOAK_RATE is how many connections a second
// are asked for, SOAK_PROFILES a directory for profiles of the agent.
func TestSoak(t *testing.T) {
	text := os.Getenv("SOAK_AGENT")
	if text == "" {
		t.Skip("takes minutes: make soak-agent")
	}
	lasts, err := time.ParseDuration(text)
	if err != nil || lasts < time.Second {
		t.Fatalf("SOAK_AGENT is %q: give a time, as 10m", text)
	}
	rate := 5000
	if text := os.Getenv("SOAK_RATE"); text != "" {
		if rate, err = strconv.Atoi(text); err != nil || rate < 1 {
			t.Fatalf("SOAK_RATE is %q: give a number", text)
		}
	}
	for _, mode := range []struct{ name, configuration string }{
		{"full", "max_cpu: off\n"}, {"lean", "max_cpu: off\nlean: true\n"}, {"governed", "max_cpu: 2%\n"},
	} {
		t.Run(mode.name, func(t *testing.T) { soak(t, mode.configuration, rate, lasts) })
	}
}

func soak(t *testing.T, configuration string, rate int, lasts time.Duration) {
	mode := filepath.Base(t.Name())
	h := newHosts(t)
	agent, get := h.agent(t, "pprof: true\n"+configuration)
	peer := h.launch(t, "listening on", "tcpdump", "-n", "-i", kernel.Device, "-s", "256", "-B", "32768", "-w", "/dev/null", "tcp", "port", "80")
	load := newShortConnections(t, h, rate)
	before := [2]time.Duration{cpuOf(t, agent), cpuOf(t, peer)}
	began := time.Now()
	load.start()
	defer load.stop()
	const every = 30 * time.Second
	step := min(every, lasts/4)
	var sizes []int64
	for at := step; at <= lasts; at += step {
		time.Sleep(time.Until(began.Add(at)))
		sizes = append(sizes, residentOf(t, agent))
		t.Logf("%s %5.0fs: %d connections opened; agent %.2f s CPU, %d MiB; tcpdump %.2f s CPU, %d MiB", mode, time.Since(began).Seconds(), load.opened.Load(),
			(cpuOf(t, agent) - before[0]).Seconds(), sizes[len(sizes)-1]>>20, (cpuOf(t, peer) - before[1]).Seconds(), residentOf(t, peer)>>20)
		if path := os.Getenv("SOAK_PROFILES"); path != "" && at == lasts/step/2*step {
			for _, kind := range []string{"profile?seconds=10", "heap"} {
				_, body, _ := strings.Cut(get("/debug/pprof/"+kind), " ")
				name, _, _ := strings.Cut(kind, "?")
				if err := os.WriteFile(path+"/"+mode+"."+name, []byte(strings.TrimSuffix(body, "<nil>")), 0o644); err != nil {
					t.Error(err)
				}
			}
		}
	}
	took := time.Since(began)
	cpu := [2]time.Duration{cpuOf(t, agent) - before[0], cpuOf(t, peer) - before[1]}
	load.stop()
	t.Logf("%s: %.0f connections/s of %d asked for, %d failed", mode, float64(load.opened.Load())/took.Seconds(), rate, load.failed.Load())
	for i, name := range []string{"agent", "tcpdump"} {
		t.Logf("%s: %s took %.2f s of CPU in %.0f s: %.2f %% of a core", mode, name, cpu[i].Seconds(), took.Seconds(), 100*cpu[i].Seconds()/took.Seconds())
	}
	for line := range strings.Lines(get("/metrics")) {
		for _, name := range []string{"tcpleak_capture_packets_total", "tcpleak_capture_dropped", "tcpleak_table_", "tcpleak_agent_lean", "go_memstats_heap_inuse"} {
			if strings.HasPrefix(line, name) {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
	if _, status := peer.interrupt(t); status != 0 {
		t.Errorf("tcpdump: exit status %d", status)
	}
	t.Logf("tcpdump says %q", peer.stderr())
	t.Logf("the agent says %q", agent.stderr())
	if opened := load.opened.Load(); opened < int64(lasts.Seconds())*int64(rate)/2 {
		t.Errorf("only %d connections could be opened", opened)
	}
	if lasts >= 3*time.Minute {
		// What there is room for is used by then.
		if third, last := sizes[len(sizes)/3], sizes[len(sizes)-1]; last > third+third/10 {
			t.Errorf("%d MiB after a third of the time, %d MiB in the end", third>>20, last>>20)
		}
	}
}

// cpuOf is the time that a process has had processors for, in itself and in the kernel.
func cpuOf(t *testing.T, p *process) time.Duration {
	t.Helper()
	fields := procStat(t, p)
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// residentOf is the memory of a process, in octets.
func residentOf(t *testing.T, p *process) int64 {
	t.Helper()
	pages, err := strconv.ParseInt(procStat(t, p)[21], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// procStat returns what follows the name in /proc/PID/stat: state, parent and so on.
func procStat(t *testing.T, p *process) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
}

// shortConnections are opened by the client, from several addresses, carry a request and an answer, and are closed, half of
// them by the client first and half by the server.
type shortConnections struct {
	hosts          *hosts
	rate           int
	sources        []unix.SockaddrInet4
	opened, failed atomic.Int64
	ending         atomic.Bool
	running        sync.WaitGroup
	listener       int
}

const soakWorkers = 8

func newShortConnections(t *testing.T, h *hosts, rate int) *shortConnections {
	t.Helper()
	s := &shortConnections{hosts: h, rate: rate}
	act(t, func() {
		for _, host := range h.Hosts() {
			// What is in TIME_WAIT longer than its port is wanted again would be in the way.
			host.Sysctl("net.ipv4.tcp_max_tw_buckets", "20000")
			host.Sysctl("net.ipv4.ip_local_port_range", "1024 65535")
		}
		for i := range 32 {
			addr := [4]byte{10, 77, 0, byte(100 + i)}
			h.Client.AddAddress(netip.AddrFrom4(addr))
			s.sources = append(s.sources, unix.SockaddrInet4{Addr: addr})
		}
		h.listener.Close()
	})
	h.Server.Run(func() { s.listener = streamSocket(t) })
	if err := unix.SetsockoptInt(s.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(s.listener, &unix.SockaddrInet4{Port: 80, Addr: h.Server.V4.As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(s.listener, 4096); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s.listener) })
	return s
}

// streamSocket makes a socket in the namespace of the thread, which waits for nothing longer than a second.
func streamSocket(t *testing.T) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	second := unix.Timeval{Sec: 1}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &second)
	return fd
}

const (
	clientCloses = 'c' // the first octet of a request: who closes first
	serverCloses = 's'
)

func (s *shortConnections) start() {
	for range soakWorkers {
		s.running.Go(s.serve)
	}
	for worker := range soakWorkers {
		s.running.Go(func() { s.open(worker) })
	}
}

func (s *shortConnections) stop() {
	s.ending.Store(true)
	s.running.Wait()
}

func (s *shortConnections) serve() {
	answer := make([]byte, 1000)
	var request [200]byte
	for !s.ending.Load() {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC)
		if err != nil {
			continue // a second has passed
		}
		n, _ := unix.Read(fd, request[:])
		if n > 0 {
			_, _ = unix.Write(fd, answer)
			if request[0] == clientCloses {
				_, _ = unix.Read(fd, request[:])
			}
		}
		unix.Close(fd)
	}
}

// open opens every so manieth connection. Where the system is too slow, there are fewer of them.
func (s *shortConnections) open(worker int) {
	server := &unix.SockaddrInet4{Port: 80, Addr: s.hosts.Server.V4.As4()}
	interval := time.Second * soakWorkers / time.Duration(s.rate)
	next := time.Now().Add(interval * time.Duration(worker) / soakWorkers)
	request, answer := make([]byte, 200), make([]byte, 1000)
	// Sockets of the client's namespace are made by its thread, many at a time.
	var sockets []int
	for n := worker; !s.ending.Load(); n++ {
		if late := time.Since(next); late < 0 {
			time.Sleep(max(-late, time.Millisecond)) // some at a time
		} else if late > time.Second {
			next = time.Now()
		}
		next = next.Add(interval)
		if len(sockets) == 0 {
			s.hosts.Client.Run(func() {
				for range 64 {
					fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
					if err == nil {
						sockets = append(sockets, fd)
					}
				}
			})
			if len(sockets) == 0 {
				s.failed.Add(1)
				continue
			}
		}
		fd := sockets[len(sockets)-1]
		sockets = sockets[:len(sockets)-1]
		request[0] = clientCloses
		if n%2 == 0 {
			request[0] = serverCloses
		}
		if s.exchange(fd, &s.sources[n%len(s.sources)], server, request, answer) {
			s.opened.Add(1)
		} else {
			s.failed.Add(1)
		}
	}
	for _, fd := range sockets {
		unix.Close(fd)
	}
}

func (s *shortConnections) exchange(fd int, from, server unix.Sockaddr, request, answer []byte) bool {
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	if unix.Bind(fd, from) != nil || unix.Connect(fd, server) != nil {
		return false
	}
	if _, err := unix.Write(fd, request); err != nil {
		return false
	}
	n, _ := unix.Read(fd, answer)
	if request[0] == serverCloses {
		_, _ = unix.Read(fd, answer[:1])
	}
	return n > 0
}

// TestTheAgentsMemoryHasABound opens and closes more connections than the agent keeps, most of them while it looks.
func TestTheAgentsMemoryHasABound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	h := newHosts(t)
	agent, get := h.agent(t, "max_connections: 2000\nbuffer_size: 4MiB\nonly: [leak]\n")
	load := newShortConnections(t, h, 2000)
	// It grows by some 7 MiB; with room for all of the connections, by 23.
	const most = 15 << 20
	before := residentOf(t, agent)
	load.start()
	defer load.stop()
	for began := time.Now(); load.opened.Load() < 20_000; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 4*hang {
			t.Fatalf("%d connections in %v, %d failed", load.opened.Load(), time.Since(began), load.failed.Load())
		}
	}
	load.stop()
	for began := time.Now(); !strings.Contains(get("/metrics"), "tcpleak_table_connections 2000\n"); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > hang {
			t.Fatalf("the table is not full: %s", get("/metrics"))
		}
	}
	if grown := residentOf(t, agent) - before; grown > most {
		t.Errorf("%d KiB more than before", grown>>10)
	} else {
		t.Logf("%d KiB more than before, at %d MiB", grown>>10, before>>20)
	}
}
