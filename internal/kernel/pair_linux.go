package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Device is the name of the veth device in both namespaces.
const Device = "veth0"

// Failure is what the methods of this package panic with when the system refuses something. A script of socket calls is
// read as a script only without an error check after each line; [Try] turns the panic into an error.
type Failure struct{ Err error }

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

func check(what string, err error) {
	if err != nil {
		panic(&Failure{fmt.Errorf("%s: %w", what, err)})
	}
}

// Try runs f and returns the error of the Failure that f panicked with, if any.
func Try(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Failure:
			err = r.Err
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// Available returns an error that says what is missing to make namespaces and captures here, and how to get it.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run with sudo")
	}
	for _, c := range [...]struct{ command, pkg string }{
		{"tcpdump", "tcpdump"}, {"nft", "nftables"}, {"ss", "iproute2"}, {"ip", "iproute2"}, {"tc", "iproute2"},
	} {
		if _, err := exec.LookPath(c.command); err != nil {
			return fmt.Errorf("%s is not installed: install the package %s", c.command, c.pkg)
		}
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread, and with it the namespace, ends with the goroutine
		err = unix.Unshare(unix.CLONE_NEWNET)
	}()
	<-done
	if err != nil {
		return fmt.Errorf("network namespaces are not allowed here: %w (in a container, run it privileged)", err)
	}
	return nil
}

// Pair is two hosts on one link. Their namespaces have no name: they end with the process, however it ends.
type Pair struct {
	Client, Server *Host

	ctx     context.Context
	mu      sync.Mutex
	sockets map[*Socket]struct{}
}

// Host is one end of a Pair, in its own network namespace.
type Host struct {
	Name   string // "client" or "server"
	V4, V6 netip.Addr

	pair *Pair
	tid  int
	jobs chan func()
	mu   sync.Mutex // guards port
	port uint16     // the last that Dial gave away
}

// NewPair makes two namespaces joined by a veth pair: 10.77.0.1 and fd77::1 for the client, 10.77.0.2 and fd77::2 for the
// server, with fixed MAC addresses and no neighbour discovery. Without offloads, each packet on the wire is a segment as
// the peer sees it. Waiting ends early when ctx does. Close releases everything.
func NewPair(ctx context.Context, offload bool) (p *Pair, err error) {
	p = &Pair{ctx: ctx, sockets: make(map[*Socket]struct{})}
	p.Client = &Host{Name: "client", V4: netip.MustParseAddr("10.77.0.1"), V6: netip.MustParseAddr("fd77::1"), pair: p, port: 40000}
	p.Server = &Host{Name: "server", V4: netip.MustParseAddr("10.77.0.2"), V6: netip.MustParseAddr("fd77::2"), pair: p, port: 50000}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	for _, h := range p.Hosts() {
		if err := h.start(); err != nil {
			return nil, err
		}
	}
	return p, Try(func() {
		for _, h := range p.Hosts() {
			h.Sysctl("net.ipv6.conf.default.accept_dad", "0")
			h.Sysctl("net.ipv6.conf.default.addr_gen_mode", "1") // no link-local address, and so no chatter
			h.Sysctl("net.ipv4.tcp_congestion_control", "reno")  // the one that every kernel has
			h.Sysctl("net.ipv4.tcp_syncookies", "0")
			h.Sysctl("net.ipv4.tcp_no_metrics_save", "1") // or one connection's losses change the timers of the next
		}
		p.Client.Command("", "ip", "link", "add", Device, "address", mac(p.Client), "type", "veth",
			"peer", "name", Device, "address", mac(p.Server), "netns", fmt.Sprint(p.Server.tid))
		for _, h := range p.Hosts() {
			h.Command(fmt.Sprintf("addr add %s/24 dev %s\naddr add %s/64 dev %s nodad\nlink set lo up\nlink set %s up\n",
				h.V4, Device, h.V6, Device, Device), "ip", "-batch", "-")
			h.Command(fmt.Sprintf("table inet scene {\n chain in {\n  type filter hook prerouting priority -300\n }\n"+
				" chain fillers {\n  type filter hook input priority 0\n  udp dport %d drop\n }\n}\n", discard), "nft", "-f", "-")
			if !offload {
				h.withoutOffload()
			}
		}
		for _, h := range p.Hosts() {
			for _, addr := range [...]netip.Addr{h.V4, h.V6} {
				h.Peer().neighbour(addr)
			}
		}
	})
}

func mac(h *Host) string {
	if h == h.pair.Client {
		return "02:00:00:00:00:01"
	}
	return "02:00:00:00:00:02"
}

// Hosts returns the client and the server.
func (p *Pair) Hosts() [2]*Host { return [...]*Host{p.Client, p.Server} }

// Close closes the sockets that are still open and gives up the namespaces.
func (p *Pair) Close() {
	p.mu.Lock()
	for s := range p.sockets {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // wakes whoever waits on it
		unix.Close(s.fd)
	}
	p.sockets = nil
	p.mu.Unlock()
	for _, h := range p.Hosts() {
		if h.jobs != nil {
			close(h.jobs)
		}
	}
}

// Sleep waits, and fails when the context of the pair ends.
func (p *Pair) Sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
		check("interrupted", p.ctx.Err())
	}
}

// start runs the host's thread in a new namespace. Go can give a namespace to a goroutine only by keeping its thread, and
// processes inherit the namespace of the thread that starts them.
func (h *Host) start() error {
	ready := make(chan error)
	h.jobs = make(chan func())
	go func() {
		runtime.LockOSThread()
		h.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for job := range h.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		return fmt.Errorf("new network namespace: %w", err)
	}
	return nil
}

// Run runs f on the thread that lives in the host's namespace and waits for it. A panic of f is passed on. One f runs at
// a time, so f must not block for long; sockets made in f may be used anywhere.
func (h *Host) Run(f func()) {
	done := make(chan any, 1)
	h.jobs <- func() {
		defer func() { done <- recover() }()
		f()
	}
	if r := <-done; r != nil {
		panic(r)
	}
}

// Namespace returns the path of the host's namespace, for nsenter --net=PATH.
func (h *Host) Namespace() string {
	return fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), h.tid)
}

// Peer returns the other host.
func (h *Host) Peer() *Host {
	if h == h.pair.Client {
		return h.pair.Server
	}
	return h.pair.Client
}

// AddAddress gives the host one more IPv4 address.
func (h *Host) AddAddress(addr netip.Addr) {
	h.Command("", "ip", "addr", "add", addr.String()+"/24", "dev", Device)
	h.Peer().neighbour(addr)
}

// neighbour fixes the link address of one of the peer's addresses.
func (h *Host) neighbour(addr netip.Addr) {
	h.Command("", "ip", "neigh", "replace", addr.String(), "lladdr", mac(h.Peer()), "dev", Device, "nud", "permanent")
}

// withoutOffload makes the device carry segments of the size of the MTU. Where ethtool is missing the captures are still
// right, only with larger segments.
func (h *Host) withoutOffload() {
	if _, err := exec.LookPath("ethtool"); err == nil {
		h.Command("", "ethtool", "-K", Device, "tso", "off", "gso", "off", "gro", "off")
	}
}

// Start starts a command in the host's namespace. It is killed with the pair.
func (h *Host) Start(cmd *exec.Cmd) {
	// The signal is sent when the thread that started the command ends, which is the host's.
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	h.Run(func() { check(cmd.Path, cmd.Start()) })
}

// Command runs a command in the host's namespace and returns its output.
func (h *Host) Command(stdin string, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	h.Start(cmd)
	if err := cmd.Wait(); err != nil {
		panic(&Failure{fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))})
	}
	return stdout.String()
}

// Sysctl sets a kernel parameter of the host's namespace: Sysctl("net.ipv4.tcp_fin_timeout", "3").
func (h *Host) Sysctl(name, value string) {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	h.Run(func() { check("sysctl", os.WriteFile(path, []byte(value), 0)) })
}

// Drop makes the host discard the arriving packets that match an nft expression, after the capture has seen them: "tcp
// flags syn". Rules add up until Admit.
func (h *Host) Drop(match string) { h.Rule(match + drop) }

// DropFirst is Drop for the first n matching packets only.
func (h *Host) DropFirst(n int, match string) {
	h.Rule(fmt.Sprintf("%s limit rate 1/day burst %d packets", match, n) + drop)
}

const drop = " counter drop"

// Rule appends a rule for arriving packets.
func (h *Host) Rule(rule string) { h.Command("add rule inet scene in "+rule+"\n", "nft", "-f", "-") }

// Rules replaces all rules at once.
func (h *Host) Rules(rules ...string) {
	script := "flush chain inet scene in\n"
	for _, rule := range rules {
		script += "add rule inet scene in " + rule + "\n"
	}
	h.Command(script, "nft", "-f", "-")
}

// Admit removes the rules: everything reaches the host again.
func (h *Host) Admit() { h.Rules() }

// States returns what ss says of the host's TCP sockets.
func (h *Host) States() []SocketState {
	all, err := ParseSS(h.Command("", "ss", "-tanH"))
	check("ss", err)
	return all
}

// States returns what ss says in both namespaces, client and server.
func (p *Pair) States() [2][]SocketState {
	return [...][]SocketState{p.Client.States(), p.Server.States()}
}

// Clog makes packets of both hosts wait before they leave, for some 60 ms from now on: what the two send meanwhile
// crosses on the link. A veth pair delivers at once, so nothing crosses by itself.
func (p *Pair) Clog() {
	for _, h := range p.Hosts() {
		h.Command("", "tc", "qdisc", "replace", "dev", Device, "root", "tbf", "rate", "160kbit", "burst", "1600", "limit", "100000")
	}
	for _, h := range p.Hosts() {
		// The first takes the bucket's tokens, the second waits for new ones.
		h.Filler(1400)
		h.Filler(1400)
	}
}

// Filler sends a UDP datagram that no socket of the peer awaits.
func (h *Host) Filler(octets int) {
	h.Run(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		check("socket", err)
		defer unix.Close(fd)
		check("filler", unix.Sendto(fd, make([]byte, octets), 0, sockaddr(netip.AddrPortFrom(h.Peer().V4, discard))))
	})
}

// discard is the port for datagrams that nobody awaits; they are dropped, or an ICMP error would answer them.
const discard = 9
