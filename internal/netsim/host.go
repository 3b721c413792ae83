package netsim

import (
	"bytes"
	"io"
	"math/rand"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	gvisor "gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"tcpleak/tcp"
)

const nic = 1

var hostNames = [2]string{"client", "server"}

var addresses = [2][2]netip.Addr{
	{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")},
	{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")},
}

// host is one stack, and the application on it.
type host struct {
	index int
	stack *stack.Stack
	link  *link
	proto tcpip.NetworkProtocolNumber
	own   tcpip.FullAddress
	peer  tcpip.FullAddress

	listener tcpip.Endpoint
	accepts  bool
	reads    bool
	app      tcpip.Endpoint // the application's socket, nil before it has one
	known    []tcpip.Endpoint
	down     bool

	end end
}

// link is a host's end of the wire. What the host sends stays in out until the world fetches it.
type link struct {
	*channel.Endpoint
	mu  sync.Mutex
	out [][]byte
}

// WritePackets implements stack.LinkEndpoint.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range packets.AsSlice() {
		view := p.ToView()
		l.out = append(l.out, bytes.Clone(view.AsSlice()))
		view.Release()
	}
	return packets.Len(), nil
}

func (l *link) fetch() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.out
	l.out = nil
	return out
}

// randomness seeds all that a stack draws by chance. Stacks draw from several goroutines.
type randomness struct {
	mu sync.Mutex
	r  *rand.Rand
}

// Read implements io.Reader.
func (r *randomness) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Read(b)
}

// Int63 implements rand.Source.
func (r *randomness) Int63() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Int63()
}

// Seed implements rand.Source.
func (r *randomness) Seed(int64) {}

var newStackMu sync.Mutex

// newStack returns a stack that handles its segments one after another. gVisor starts as many goroutines for them as
// GOMAXPROCS says, and these would race.
func newStack(options stack.Options) *stack.Stack {
	newStackMu.Lock()
	defer newStackMu.Unlock()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return stack.New(options)
}

func newHost(index int, c *clock, family int, seed int64) *host {
	random := &randomness{r: rand.New(rand.NewSource(seed))}
	h := &host{index: index, link: &link{Endpoint: channel.New(0, 1500, "")}, reads: true, accepts: true}
	h.link.LinkEPCapabilities = stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
	h.stack = newStack(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{gvisor.NewProtocol},
		Clock:              hostClock{c, index},
		RandSource:         random,
		SecureRNG:          random,
	})
	check(h.stack.CreateNIC(nic, h.link))
	h.proto = header.IPv4ProtocolNumber
	destination := header.IPv4EmptySubnet
	if family == 1 {
		h.proto, destination = header.IPv6ProtocolNumber, header.IPv6EmptySubnet
	}
	h.own = tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(addresses[family][index].AsSlice())}
	h.peer = tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(addresses[family][1-index].AsSlice())}
	check(h.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol: h.proto, AddressWithPrefix: h.own.Addr.WithPrefix(),
	}, stack.AddressProperties{}))
	h.stack.SetRouteTable([]tcpip.Route{{Destination: destination, NIC: nic}})
	return h
}

// check panics where the harness itself is wrong.
func check(err tcpip.Error) {
	if err != nil {
		panic("netsim: " + err.String())
	}
}

// settle returns when the stack has nothing left to do before the next event.
func (h *host) settle() {
	// Pausing waits for the goroutine that handles segments to have none left.
	h.stack.Pause()
	h.stack.Resume()
}

func (h *host) deliver(b []byte) {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(bytes.Clone(b))})
	defer p.DecRef()
	h.link.InjectInbound(h.proto, p)
}

func (h *host) socket() tcpip.Endpoint {
	e, err := h.stack.NewEndpoint(gvisor.ProtocolNumber, h.proto, new(waiter.Queue))
	check(err)
	e.SocketOptions().SetReuseAddress(true)
	return e
}

func (h *host) listen(receiveBuffer int64) {
	h.listener = h.socket()
	if receiveBuffer > 0 {
		h.listener.SocketOptions().SetReceiveBufferSize(receiveBuffer, true)
	}
	check(h.listener.Bind(h.own))
	check(h.listener.Listen(4))
}

// connect opens actively and reports whether the stack was willing to.
func (h *host) connect(receiveBuffer int64) bool {
	e := h.socket()
	if receiveBuffer > 0 {
		e.SocketOptions().SetReceiveBufferSize(receiveBuffer, true)
	}
	if err := e.Bind(h.own); err != nil {
		e.Close()
		return false
	}
	if err := e.Connect(h.peer); err != nil {
		if _, started := err.(*tcpip.ErrConnectStarted); !started {
			e.Close()
			return false
		}
	}
	h.app = e
	return true
}

// serve is what the application does whenever it can: accept and read.
func (h *host) serve() {
	if h.listener != nil && h.accepts {
		for {
			e, _, err := h.listener.Accept(nil)
			if err != nil {
				break
			}
			h.app = e
		}
	}
	for h.app != nil && h.reads {
		if r, err := h.app.Read(io.Discard, tcpip.ReadOptions{}); err != nil || r.Count == 0 {
			break
		}
	}
}

// discover notes the endpoint that now takes the connection's segments, if it is a new one.
func (h *host) discover() {
	found := h.stack.FindTransportEndpoint(h.proto, gvisor.ProtocolNumber, stack.TransportEndpointID{
		LocalPort: h.own.Port, LocalAddress: h.own.Addr, RemotePort: h.peer.Port, RemoteAddress: h.peer.Addr,
	}, nic)
	e, ok := found.(*gvisor.Endpoint)
	if !ok || e == h.listener || len(h.known) > 0 && h.known[len(h.known)-1] == e {
		return
	}
	h.known = append(h.known, e)
}

// state returns what the stack says about the newest of its endpoints.
func (h *host) state() tcp.State {
	if len(h.known) == 0 {
		if h.listener != nil {
			return tcp.Listen
		}
		return tcp.Closed
	}
	return states[gvisor.EndpointState(h.known[len(h.known)-1].State())]
}

var states = map[gvisor.EndpointState]tcp.State{
	gvisor.StateEstablished: tcp.Established, gvisor.StateSynSent: tcp.SynSent, gvisor.StateSynRecv: tcp.SynRcvd,
	gvisor.StateFinWait1: tcp.FinWait1, gvisor.StateFinWait2: tcp.FinWait2, gvisor.StateTimeWait: tcp.TimeWait,
	gvisor.StateClose: tcp.Closed, gvisor.StateError: tcp.Closed, gvisor.StateCloseWait: tcp.CloseWait,
	gvisor.StateLastAck: tcp.LastAck, gvisor.StateListen: tcp.Listen, gvisor.StateClosing: tcp.Closing,
}

func (h *host) keepAlive(idle, interval time.Duration, count int) {
	i, v := tcpip.KeepaliveIdleOption(idle), tcpip.KeepaliveIntervalOption(interval)
	check(h.app.SetSockOpt(&i))
	check(h.app.SetSockOpt(&v))
	check(h.app.SetSockOptInt(tcpip.KeepaliveCountOption, count))
	h.app.SocketOptions().SetKeepAlive(true)
}

// crash ends everything that the host has open; the world sees to it that it does so in silence.
func (h *host) crash() {
	for _, e := range h.known {
		e.Abort()
	}
	if h.app != nil {
		h.app.Abort()
	}
	h.app = nil
}

func (h *host) shutdown() {
	h.crash()
	if h.listener != nil {
		h.listener.Close()
	}
	h.settle()
	h.stack.Close()
	h.stack.RemoveNIC(nic)
}
