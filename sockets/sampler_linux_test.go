package sockets

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"tcpleak/internal/kernel"
	"tcpleak/tcp"
)

// hosts are two hosts on a link, and a Sampler in the server's namespace.
type hosts struct {
	*kernel.Pair
	*Sampler
	t   *testing.T
	now time.Time // the Sampler's, which the tests make pass
}

func newHosts(t *testing.T, cfg Config) *hosts {
	t.Helper()
	if err := kernel.Available(); err != nil {
		t.Skipf("%v, or run sudo make test-root", err)
	}
	pair, err := kernel.NewPair(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Close)
	h := &hosts{Pair: pair, t: t, now: time.Now()}
	h.Sampler = h.sampler(pair.Server, cfg)
	return h
}

// sampler opens one in the namespace of a host.
func (h *hosts) sampler(at *kernel.Host, cfg Config) *Sampler {
	h.t.Helper()
	var s *Sampler
	var err error
	at.Run(func() { s, err = New(cfg) })
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

func (h *hosts) act(f func()) {
	h.t.Helper()
	if err := kernel.Try(f); err != nil {
		h.t.Fatal(err)
	}
}

// sample lets time pass, so that everything is due.
func (h *hosts) sample(s *Sampler) *Snapshot {
	h.t.Helper()
	h.now = h.now.Add(20 * time.Second)
	snap, err := s.Sample(h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	return snap
}

// until samples until there is what was waited for.
func (h *hosts) until(s *Sampler, what string, there func(*Snapshot) bool) *Snapshot {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		snap := h.sample(s)
		if there(snap) {
			return snap
		}
		if time.Now().After(deadline) {
			var all []string
			for sock := range snap.All() {
				all = append(all, fmt.Sprintf("%+v", *sock))
			}
			h.t.Fatalf("no %s in 10 s; there are\n%s", what, strings.Join(all, "\n"))
		}
	}
}

// find samples until the kernel has the connection in a state.
func (h *hosts) find(s *Sampler, state tcp.State, local, remote netip.AddrPort) Socket {
	h.t.Helper()
	var found Socket
	h.until(s, fmt.Sprintf("%v from %v to %v", state, local, remote), func(snap *Snapshot) bool {
		// Other tests on this machine may have hosts with these addresses, too, in namespaces of theirs.
		for _, sock := range snap.Lookup(local, remote) {
			if sock.Namespace == h.namespace(local.Addr()) {
				found = sock
				return sock.State == state
			}
		}
		return false
	})
	return found
}

// namespace returns that of the host with an address.
func (h *hosts) namespace(addr netip.Addr) uint64 {
	h.t.Helper()
	host := h.Server
	if addr == h.Client.V4 || addr == h.Client.V6 {
		host = h.Client
	}
	inode, err := namespaceLink(host.Namespace())
	if err != nil {
		h.t.Fatal(err)
	}
	return inode
}

// holders samples until it is known who holds a socket.
func (h *hosts) holders(s *Sampler, inode uint32) []Process {
	h.t.Helper()
	var all []Process
	h.until(s, fmt.Sprint("holder of inode ", inode), func(*Snapshot) (known bool) {
		all, known = s.Processes(inode)
		return known
	})
	return all
}

func descriptor(t *testing.T, s *kernel.Socket) (fd int) {
	t.Helper()
	s.Set(func(n int) error { fd = n; return nil })
	return fd
}

func (h *hosts) service() netip.AddrPort { return netip.AddrPortFrom(h.Server.V4, 80) }

func TestCloseWaitNamesItsProcess(t *testing.T) {
	h := newHosts(t, Config{})
	var c, d *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16)
		c = h.Client.Dial(h.service())
		d = l.Accept()
		c.Send(100)
		c.Close()
	})
	got := h.find(h.Sampler, tcp.CloseWait, d.Local, d.Peer)
	if got.Inode == 0 || got.Namespace == 0 || got.Cookie == 0 {
		t.Errorf("inode %d, namespace %d, cookie %d; want none of them 0", got.Inode, got.Namespace, got.Cookie)
	}
	want := Socket{Local: d.Local, Remote: d.Peer, State: tcp.CloseWait, RecvQueue: 101} // 100 octets and the FIN
	ignore := cmpopts.IgnoreFields(Socket{}, "At", "Namespace", "Cookie", "Inode")
	if diff := cmp.Diff(want, got, compareAddrs, ignore); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	holders := h.holders(h.Sampler, got.Inode)
	if len(holders) != 1 {
		t.Fatalf("%d processes hold it, want this one: %+v", len(holders), holders)
	}
	p := holders[0]
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if p.PID != os.Getpid() || p.FD != descriptor(t, d) || p.Name != strings.TrimSpace(string(comm)) || !strings.HasPrefix(p.Command, os.Args[0]) {
		t.Errorf("held by %+v, want %d, fd %d", p, os.Getpid(), descriptor(t, d))
	}
	if age := time.Since(p.Started); age < 0 || age > time.Hour {
		t.Errorf("started %v ago", age)
	}

	// The application reads up to the FIN, and still does not close.
	h.act(func() { d.RecvEOF() })
	h.until(h.Sampler, "empty queue", func(snap *Snapshot) bool {
		socks := snap.Lookup(d.Local, d.Peer)
		return len(socks) == 1 && socks[0].RecvQueue == 0
	})

	// And at last closes: no socket, no process.
	h.act(func() { d.Close() })
	h.until(h.Sampler, "end of the connection", func(snap *Snapshot) bool { return snap.Lookup(d.Local, d.Peer) == nil })
	if socks, err := h.Ask(d.Local, d.Peer); err != nil || len(socks) != 0 {
		t.Errorf("the kernel has %v, %v, want nothing", socks, err)
	}
}

func TestOrphansHaveNoInode(t *testing.T) {
	h := newHosts(t, Config{})
	client := h.sampler(h.Client, Config{})
	var waits, lost *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16)
		waits, lost = h.Client.Dial(h.service()), h.Client.Dial(h.service())
		l.Accept()
		l.Accept()
		waits.Close()
	})
	fw2 := h.find(client, tcp.FinWait2, waits.Local, waits.Peer)
	if !fw2.Orphaned() || fw2.Timer != TimeWaitTimer || fw2.Expires <= 0 || fw2.Expires > time.Minute {
		t.Errorf("FIN_WAIT_2 after close: %+v, want an orphan that the kernel gives up in a minute", fw2)
	}
	h.act(func() {
		h.Server.Drop("tcp flags & fin == fin")
		lost.Close()
	})
	fw1 := h.find(client, tcp.FinWait1, lost.Local, lost.Peer)
	if !fw1.Orphaned() || fw1.Timer != Retransmission || fw1.SendQueue != 1 {
		t.Errorf("FIN_WAIT_1 after close: %+v, want an orphan that repeats its FIN", fw1)
	}
	if holders, known := client.Processes(fw1.Inode); len(holders) > 0 || !known {
		t.Errorf("an orphan is held by %v, known %v", holders, known)
	}
}

func TestFinWait2AfterShutdownIsHeld(t *testing.T) {
	h := newHosts(t, Config{})
	client := h.sampler(h.Client, Config{})
	var c *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16)
		c = h.Client.Dial(h.service())
		l.Accept()
		c.CloseWrite()
	})
	if got := h.find(client, tcp.FinWait2, c.Local, c.Peer); got.Orphaned() || got.Inode == 0 {
		t.Errorf("%+v, want a socket with an inode", got)
	}
}

func TestHandshakeInProgress(t *testing.T) {
	h := newHosts(t, Config{})
	client := h.sampler(h.Client, Config{})
	var c *kernel.Socket
	h.act(func() {
		h.Server.Listen(h.service(), 16)
		h.Client.Drop("tcp flags & syn == syn")
		c = h.Client.Connect(h.service())
	})
	if got := h.find(h.Sampler, tcp.SynRcvd, c.Peer, c.Local); got.Inode != 0 || got.Unaccepted() {
		t.Errorf("the server's end: %+v, want no inode", got)
	}
	got := h.find(client, tcp.SynSent, c.Local, c.Peer)
	if got.Inode == 0 || got.Timer != Retransmission {
		t.Errorf("the client's end: %+v, want a socket that repeats its SYN", got)
	}
	for _, tt := range []struct {
		s             *Sampler
		local, remote netip.AddrPort
		want          tcp.State
	}{{h.Sampler, c.Peer, c.Local, tcp.SynRcvd}, {client, c.Local, c.Peer, tcp.SynSent}} {
		if socks, err := tt.s.Ask(tt.local, tt.remote); err != nil || len(socks) != 1 || socks[0].State != tt.want {
			t.Errorf("asked: %+v, %v, want %v", socks, err, tt.want)
		}
	}
}

func TestNobodyHasAcceptedIt(t *testing.T) {
	h := newHosts(t, Config{})
	var open, closed *kernel.Socket
	var l *kernel.Socket
	h.act(func() {
		l = h.Server.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 80), 7)
		open, closed = h.Client.Dial(h.service()), h.Client.Dial(h.service())
		closed.Close()
	})
	for _, want := range []struct {
		state tcp.State
		c     *kernel.Socket
	}{{tcp.Established, open}, {tcp.CloseWait, closed}} {
		if got := h.find(h.Sampler, want.state, want.c.Peer, want.c.Local); !got.Unaccepted() {
			t.Errorf("%v: %+v, want it unaccepted", want.state, got)
		}
	}
	snap := h.sample(h.Sampler)
	listeners := snap.Listeners(snap.Namespaces[0].Inode, h.service())
	if len(listeners) != 1 || listeners[0].RecvQueue != 2 || listeners[0].SendQueue != 7 {
		t.Fatalf("listeners %+v, want one with 2 connections of 7 in its queue", listeners)
	}
	holders := h.holders(h.Sampler, listeners[0].Inode)
	if len(holders) != 1 || holders[0].PID != os.Getpid() || holders[0].FD != descriptor(t, l) {
		t.Errorf("the listener is held by %+v, want this process, fd %d", holders, descriptor(t, l))
	}

	h.act(func() { l.Accept() })
	if got := h.sample(h.Sampler).Lookup(open.Peer, open.Local); len(got) != 1 || got[0].Unaccepted() {
		t.Errorf("accepted: %+v", got)
	}
}

func TestBothFamilies(t *testing.T) {
	h := newHosts(t, Config{})
	six := netip.AddrPortFrom(h.Server.V6, 80)
	var over4, over6 *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), 80), 16)
		over6 = h.Client.Dial(six)
		l.Accept()
		over4 = h.Client.Dial(h.service())
		l.Accept() // an IPv6 socket with IPv4-mapped addresses
		over4.Close()
		over6.Close()
	})
	for _, c := range []*kernel.Socket{over4, over6} {
		got := h.find(h.Sampler, tcp.CloseWait, c.Peer, c.Local)
		asked, err := h.Ask(c.Peer, c.Local)
		if err != nil || len(asked) != 1 {
			t.Fatalf("asked: %v, %v", asked, err)
		}
		if diff := cmp.Diff(got, asked[0], compareAddrs, cmpopts.IgnoreFields(Socket{}, "At")); diff != "" {
			t.Errorf("dumped, and asked for (-dump +asked)\n%s", diff)
		}
		if got.Inode == 0 || len(h.holders(h.Sampler, got.Inode)) != 1 {
			t.Errorf("%+v is not held", got)
		}
	}
	snap := h.sample(h.Sampler)
	ns := snap.Namespaces[0].Inode
	if got := snap.Listeners(ns, h.service()); len(got) != 1 || got[0].Local.Addr() != netip.IPv6Unspecified() {
		t.Errorf("listeners for IPv4: %+v", got)
	}
}

// Kernels that no longer answer for both families at once are asked for one after the other.
func TestFamiliesOneByOne(t *testing.T) {
	h := newHosts(t, Config{})
	h.act(func() {
		for _, to := range []netip.AddrPort{h.service(), netip.AddrPortFrom(h.Server.V6, 81)} {
			l := h.Server.Listen(to, 16)
			h.Client.Dial(to)
			l.Accept()
		}
	})
	slow := h.sampler(h.Server, Config{NoProcess: true})
	slow.s.spaces.all[0].families = true
	addrs := func(snap *Snapshot) (all []string) {
		for sock := range snap.All() {
			all = append(all, fmt.Sprintln(sock.State, sock.Local, sock.Remote, sock.Inode, sock.Cookie))
		}
		slices.Sort(all)
		return all
	}
	want, got := addrs(h.sample(h.Sampler)), addrs(h.sample(slow))
	if len(want) != 4 {
		t.Errorf("%d sockets, want two listeners and two connections", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-at once +one by one)\n%s", diff)
	}
}

func TestAskFindsWhatIsNotDumped(t *testing.T) {
	h := newHosts(t, Config{NoProcess: true})
	client := h.sampler(h.Client, Config{})
	var c, d *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16)
		c = h.Client.Dial(h.service())
		d = l.Accept()
	})
	if got, err := h.Ask(d.Local, d.Peer); err != nil || len(got) != 1 || got[0].State != tcp.Established {
		t.Errorf("%+v, %v, want ESTABLISHED", got, err)
	}
	h.act(func() {
		c.Close()
		d.Close()
	})
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		got, err := client.Ask(c.Local, c.Peer)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 && got[0].State == tcp.TimeWait {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want TIME_WAIT", got)
		}
	}
	// For a connection that it does not have, the kernel names the listener.
	if got, err := h.Ask(h.service(), netip.MustParseAddrPort("10.77.0.1:9")); err != nil || got != nil {
		t.Errorf("%+v, %v for no connection, want nothing", got, err)
	}
	if _, err := h.Ask(h.service(), netip.AddrPort{}); err == nil {
		t.Error("no error without a remote address")
	}
}

func TestAskFindsSocketsBoundToAnInterfaceThatWasSeen(t *testing.T) {
	h := newHosts(t, Config{})
	bound := func(fd int) error { return unix.BindToDevice(fd, kernel.Device) }
	var d *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16, bound)
		h.Client.Dial(h.service())
		d = l.Accept()
	})
	h.sample(h.Sampler)
	got, err := h.Ask(d.Local, d.Peer)
	if err != nil || len(got) != 1 || got[0].Interface == 0 {
		t.Errorf("%+v, %v, want the socket with its interface", got, err)
	}
}

func TestSocketsSharedAfterFork(t *testing.T) {
	h := newHosts(t, Config{})
	var d *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16)
		c := h.Client.Dial(h.service())
		d = l.Accept()
		c.Close()
	})
	sock := h.find(h.Sampler, tcp.CloseWait, d.Local, d.Peer)
	shared := duplicate(t, d)
	child, stop := startHolder(t, "child", (*exec.Cmd).Start, shared)
	shared.Close()
	var holders []Process
	h.until(h.Sampler, "second holder", func(*Snapshot) bool {
		holders, _ = h.Processes(sock.Inode)
		return len(holders) == 2
	})
	if holders[0].PID != os.Getpid() || holders[1].PID != child || holders[1].FD != 3 || holders[1].Name != "child" {
		t.Errorf("held by %+v, want this process and the child %d with fd 3", holders, child)
	}

	// The parent closes what it gave away, and then the child ends.
	h.act(func() { d.Close() })
	h.until(h.Sampler, "child as the only holder", func(*Snapshot) bool {
		holders, known := h.Processes(sock.Inode)
		return known && len(holders) == 1 && holders[0].PID == child
	})
	stop()
	h.until(h.Sampler, "end of the connection", func(snap *Snapshot) bool { return snap.Lookup(sock.Local, sock.Remote) == nil })
	h.until(h.Sampler, "knowledge that nobody holds it", func(*Snapshot) bool {
		holders, known := h.Processes(sock.Inode)
		if len(holders) > 0 {
			t.Fatalf("a process that has ended holds it: %+v", holders)
		}
		return known
	})
}

// duplicate returns a descriptor of the same socket.
func duplicate(t *testing.T, s *kernel.Socket) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(descriptor(t, s)), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAllNamespaces(t *testing.T) {
	h := newHosts(t, Config{AllNamespaces: true})
	if holders, known := h.Processes(4711); known {
		t.Errorf("before anything was searched: %v, known", holders)
	}
	var c, d *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16)
		c = h.Client.Dial(h.service())
		d = l.Accept()
		c.CloseWrite()
	})
	// A namespace is found by a process that is in it.
	start := func(cmd *exec.Cmd) error { return kernel.Try(func() { h.Client.Start(cmd) }) }
	shared := duplicate(t, c)
	pid, stop := startHolder(t, "\x1b[31mred", start, shared)
	shared.Close()
	server := h.find(h.Sampler, tcp.CloseWait, d.Local, d.Peer)
	client := h.find(h.Sampler, tcp.FinWait2, c.Local, c.Peer)
	snap := h.sample(h.Sampler)
	if snap.Namespaces[0].Inode != server.Namespace {
		t.Errorf("the first namespace is %+v, want that of the Sampler, %d", snap.Namespaces[0], server.Namespace)
	}
	other := func(n Namespace) bool { return n.Inode == client.Namespace }
	if i := slices.IndexFunc(snap.Namespaces, other); i < 0 || snap.Namespaces[i].PID != pid {
		t.Errorf("namespaces %+v, want %d with process %d", snap.Namespaces, client.Namespace, pid)
	}
	got, err := h.Ask(c.Local, c.Peer)
	if !slices.ContainsFunc(got, func(s Socket) bool { return s.Namespace == client.Namespace && s.State == tcp.FinWait2 }) {
		t.Errorf("asked for the client's end: %+v, %v", got, err)
	}
	holders := h.holders(h.Sampler, client.Inode)
	if len(holders) != 2 {
		t.Fatalf("the client's end is held by %+v, want two", holders)
	}
	if p := holders[1]; p.Name != "�[31mred" || p.Command != "/proc/self/exe …" || p.Namespace != client.Namespace {
		t.Errorf("held by %+v, want the name cleaned, the argument left out, namespace %d", p, client.Namespace)
	}

	// Its last process ends, and the Sampler does not keep it: a container's devices come back.
	stop()
	h.until(h.Sampler, "end of the namespace", func(snap *Snapshot) bool { return !slices.ContainsFunc(snap.Namespaces, other) })
	for _, sock := range h.sample(h.Sampler).Lookup(c.Local, c.Peer) {
		if sock.Namespace == client.Namespace {
			t.Errorf("%+v of a namespace that is no longer asked", sock)
		}
	}
}

func TestNamespaceWithAName(t *testing.T) {
	h := newHosts(t, Config{AllNamespaces: true})
	name := fmt.Sprintf("tcpleak-%d", os.Getpid())
	h.act(func() { h.Server.Command("", "ip", "netns", "add", name) })
	removed := false
	remove := func() {
		if !removed {
			removed = true
			h.act(func() { h.Server.Command("", "ip", "netns", "del", name) })
		}
	}
	t.Cleanup(remove)
	named := func(snap *Snapshot) bool {
		return slices.ContainsFunc(snap.Namespaces, func(n Namespace) bool { return n.Name == name && n.Inode != 0 && n.PID == 0 })
	}
	h.until(h.Sampler, "namespace with a name", named)
	remove()
	h.until(h.Sampler, "end of the namespace", func(snap *Snapshot) bool { return !named(snap) })
}

var (
	ssHolder = regexp.MustCompile(`pid=(\d+),fd=(\d+)`)
	ssInode  = regexp.MustCompile(` ino:(\d+)`)
	ssCookie = regexp.MustCompile(` sk:([0-9a-f]+)`)
)

// ssLines describes sockets by what ss -tanpeH says of them.
func ssLines(t *testing.T, output string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(output) {
		parsed, err := kernel.ParseSS(line)
		if err != nil {
			t.Fatal(err)
		}
		first := func(re *regexp.Regexp) string {
			if m := re.FindStringSubmatch(line); m != nil {
				return m[1]
			}
			return "0"
		}
		cookie, err := strconv.ParseUint(first(ssCookie), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		var holders []string
		for _, m := range ssHolder.FindAllStringSubmatch(line, -1) {
			holders = append(holders, m[1]+"/"+m[2])
		}
		slices.Sort(holders)
		fields := strings.Fields(line)
		all = append(all, fmt.Sprintf("%v %v queues %s %s inode %s cookie %d held by %v",
			parsed[0].State, parsed[0].Local, fields[1], fields[2], first(ssInode), cookie, holders))
	}
	slices.Sort(all)
	return all
}

// ss reads the same kernel: both must tell the same of everything.
func TestAgreesWithSS(t *testing.T) {
	h := newHosts(t, Config{Rarely: StatesOf(tcp.Established, tcp.TimeWait)})
	h.act(func() {
		four := h.Server.Listen(h.service(), 16)
		six := h.Server.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), 81), 16)
		both := h.Server.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), 82), 16)
		to4, to6, mapped := h.service(), netip.AddrPortFrom(h.Server.V6, 81), netip.AddrPortFrom(h.Server.V4, 82)
		for _, x := range []struct {
			l  *kernel.Socket
			to netip.AddrPort
		}{{four, to4}, {six, to6}, {both, mapped}} {
			// One each that is open, half-closed by either end, closed by both, closed by this end first.
			c := h.Client.Dial(x.to)
			x.l.Accept()
			c.Send(10)
			c, d := h.Client.Dial(x.to), x.l.Accept()
			c.Send(20)
			c.CloseWrite()
			d.Recv(10)
			_, d = h.Client.Dial(x.to), x.l.Accept()
			d.CloseWrite()
			c, d = h.Client.Dial(x.to), x.l.Accept()
			d.Close()
			c.RecvEOF()
			c.Close()
			_, d = h.Client.Dial(x.to), x.l.Accept()
			d.Close() // FIN_WAIT_2, orphaned
			h.Client.Dial(x.to).Send(30)
		}
		h.Server.Listen(netip.AddrPortFrom(h.Server.V4, 83), 16)
		h.Client.Drop("tcp flags & syn == syn")
		h.Client.Connect(netip.AddrPortFrom(h.Server.V4, 83))
	})
	var l *kernel.Socket
	h.act(func() { l = h.Server.Listen(netip.AddrPortFrom(h.Server.V4, 90), 16) })
	shared := duplicate(t, l)
	startHolder(t, "child", (*exec.Cmd).Start, shared)
	shared.Close()
	var diff string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		snap := h.sample(h.Sampler)
		var want []string
		h.act(func() { want = ssLines(t, h.Server.Command("", "ss", "-tanpeH")) })
		var got []string
		for sock := range snap.All() {
			var holders []string
			all, _ := h.Processes(sock.Inode)
			for _, p := range all {
				holders = append(holders, fmt.Sprintf("%d/%d", p.PID, p.FD))
			}
			slices.Sort(holders)
			got = append(got, fmt.Sprintf("%v %v queues %d %d inode %d cookie %d held by %v",
				sock.State, sock.Local, sock.RecvQueue, sock.SendQueue, sock.Inode, sock.Cookie, holders))
		}
		slices.Sort(got)
		if len(want) < 3*6+4 {
			t.Fatalf("ss shows only\n%s", strings.Join(want, "\n"))
		}
		if diff = cmp.Diff(want, got); diff == "" {
			return
		}
	}
	t.Errorf("(-ss +this)\n%s", diff)
}

func TestClosedSampler(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Skipf("no socket diagnosis here: %v", err)
	}
	before, err := s.Sample(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if snap, err := s.Sample(time.Now()); err != os.ErrClosed || snap != before {
		t.Errorf("Sample after Close: %v, %v", snap, err)
	}
	if _, err := s.Ask(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")); err != os.ErrClosed {
		t.Errorf("Ask after Close: %v", err)
	}
	if err := s.Close(); err != os.ErrClosed {
		t.Errorf("second Close: %v", err)
	}
}

// What needs no rights: the sockets of this process, in its own namespace.
func TestOwnSockets(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback to listen on: %v", err)
	}
	defer l.Close()
	s, err := New(Config{Command: NoCommand})
	if err != nil {
		t.Skipf("no socket diagnosis here: %v", err)
	}
	defer s.Close()
	local := l.Addr().(*net.TCPAddr).AddrPort()
	now := time.Now()
	for range 100 {
		now = now.Add(20 * time.Second)
		snap, err := s.Sample(now)
		if err != nil {
			t.Fatal(err)
		}
		socks := snap.Lookup(local, netip.MustParseAddrPort("0.0.0.0:0"))
		if len(socks) != 1 || socks[0].State != tcp.Listen {
			t.Fatalf("%+v, want the listener", socks)
		}
		if holders, known := s.Processes(socks[0].Inode); known {
			if len(holders) != 1 || holders[0].PID != os.Getpid() || holders[0].Command != "" {
				t.Errorf("held by %+v, want this process, without its command", holders)
			}
			return
		}
	}
	t.Error("nobody found in 100 samples")
}

func TestNoProcess(t *testing.T) {
	h := newHosts(t, Config{NoProcess: true})
	h.act(func() { h.Server.Listen(h.service(), 16) })
	sock := h.find(h.Sampler, tcp.Listen, h.service(), netip.MustParseAddrPort("0.0.0.0:0"))
	for range 3 {
		h.sample(h.Sampler)
		if holders, known := h.Processes(sock.Inode); holders != nil || known {
			t.Fatalf("%v, known %v, want nothing", holders, known)
		}
	}
}
