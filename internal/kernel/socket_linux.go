package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/tcp"
)

// patience bounds every blocking socket call: a scenario that hangs must fail, not wait.
const patience = 10 * time.Second

// Socket is a TCP socket with nothing between it and the kernel. Its methods panic with a *Failure.
type Socket struct {
	Local, Peer netip.AddrPort

	fd   int
	host *Host
}

// Option sets something on a new socket, before bind.
type Option func(fd int) error

// Opt sets an integer socket option.
func Opt(level, name, value int) Option {
	return func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) }
}

// RcvBuf bounds what the receiver takes, and so the window.
func RcvBuf(octets int) Option { return Opt(unix.SOL_SOCKET, unix.SO_RCVBUF, octets) }

// KeepAlive makes the socket probe every second after a second of silence, and give up after count probes.
func KeepAlive(count int) Option {
	return func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, count),
		)
	}
}

// ISS sets the initial send sequence number.
func ISS(seq uint32) Option {
	return func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, repairSendQueue),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ, int(int32(seq))),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, repairOffQuietly),
		)
	}
}

// Values of TCP_REPAIR and TCP_REPAIR_QUEUE that golang.org/x/sys/unix does not name.
const (
	repairRecvQueue  = 1
	repairSendQueue  = 2
	repairOffQuietly = -1 // TCP_REPAIR_OFF_NO_WP: without a window probe
)

func (h *Host) socket(local netip.AddrPort, opts []Option) *Socket {
	family := unix.AF_INET
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	s := &Socket{Local: local, host: h}
	h.Run(func() {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		check("socket", err)
		s.own(fd)
	})
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	check("SO_RCVTIMEO", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	check("SO_SNDTIMEO", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout))
	check("SO_REUSEADDR", unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	for _, set := range opts {
		check("socket option", set(s.fd))
	}
	check(fmt.Sprint("bind ", local), unix.Bind(s.fd, sockaddr(local)))
	return s
}

// own registers an open descriptor with the pair, which closes it in the end.
func (s *Socket) own(fd int) {
	p := s.host.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sockets == nil {
		unix.Close(fd)
		panic(&Failure{errors.New("the pair is closed")})
	}
	s.fd = fd
	p.sockets[s] = struct{}{}
}

// disown takes the descriptor back from the pair; false if the pair has closed it.
func (s *Socket) disown() bool {
	p := s.host.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.sockets[s]
	delete(p.sockets, s)
	return ok
}

// Listen opens a listening socket.
func (h *Host) Listen(local netip.AddrPort, backlog int, opts ...Option) *Socket {
	s := h.socket(local, opts)
	check("listen", unix.Listen(s.fd, backlog))
	return s
}

// Ephemeral returns an unused address and port of the host, of the family of to. Ports count upwards: captures that are
// made again keep them.
func (h *Host) Ephemeral(to netip.AddrPort) netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.port++
	if to.Addr().Is6() {
		return netip.AddrPortFrom(h.V6, h.port)
	}
	return netip.AddrPortFrom(h.V4, h.port)
}

// Dial connects and waits until the connection is open.
func (h *Host) Dial(to netip.AddrPort, opts ...Option) *Socket {
	return h.DialFrom(h.Ephemeral(to), to, opts...)
}

// DialFrom is Dial from an address and port of choice.
func (h *Host) DialFrom(local, to netip.AddrPort, opts ...Option) *Socket {
	s := h.bound(local, to, opts)
	check(fmt.Sprint("connect ", to), s.connect())
	return s
}

// Connect sends the SYN and does not wait for an answer.
func (h *Host) Connect(to netip.AddrPort, opts ...Option) *Socket {
	return h.ConnectFrom(h.Ephemeral(to), to, opts...)
}

// ConnectFrom is Connect from an address and port of choice.
func (h *Host) ConnectFrom(local, to netip.AddrPort, opts ...Option) *Socket {
	s := h.bound(local, to, opts)
	s.Connect()
	return s
}

// DialFast opens with Fast Open: the payload travels in the SYN if the host holds a cookie of the server.
func (h *Host) DialFast(to netip.AddrPort, payload int, opts ...Option) *Socket {
	s := h.bound(h.Ephemeral(to), to, opts)
	check("connect with data", retry(func() error {
		return unix.Sendto(s.fd, make([]byte, payload), unix.MSG_FASTOPEN, sockaddr(to))
	}))
	return s
}

func (h *Host) bound(local, to netip.AddrPort, opts []Option) *Socket {
	s := h.socket(local, opts)
	s.Peer = to
	return s
}

// Bound returns a socket that has not connected yet.
func (h *Host) Bound(local, to netip.AddrPort, opts ...Option) *Socket {
	return h.bound(local, to, opts)
}

// Connect sends the SYN of a bound socket and does not wait for an answer.
func (s *Socket) Connect() {
	check("nonblocking", unix.SetNonblock(s.fd, true))
	if err := s.connect(); err != unix.EINPROGRESS {
		check(fmt.Sprint("connect ", s.Peer), err)
	}
	check("blocking", unix.SetNonblock(s.fd, false))
}

func (s *Socket) connect() error {
	return retry(func() error { return unix.Connect(s.fd, sockaddr(s.Peer)) })
}

// Accept waits for a connection.
func (s *Socket) Accept() *Socket {
	c, err := s.TryAccept()
	check("accept", err)
	return c
}

// TryAccept waits for a connection and returns the error of accept.
func (s *Socket) TryAccept() (*Socket, error) {
	var fd int
	var from unix.Sockaddr
	err := retry(func() (err error) {
		fd, from, err = unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &Socket{host: s.host, Local: s.Local, Peer: addrPort(from)}
	c.own(fd)
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	check("SO_RCVTIMEO", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	check("SO_SNDTIMEO", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout))
	return c, nil
}

// Set sets an option of an open socket.
func (s *Socket) Set(opt Option) { check("socket option", opt(s.fd)) }

// Send sends n octets, waiting for room in the send buffer.
func (s *Socket) Send(n int) { s.send(make([]byte, n), 0) }

// SendMore sends n octets that wait for what follows: a FIN then travels with them.
func (s *Socket) SendMore(n int) { s.send(make([]byte, n), unix.MSG_MORE) }

// Write sends text.
func (s *Socket) Write(text string) { s.send([]byte(text), 0) }

func (s *Socket) send(b []byte, flags int) {
	for len(b) > 0 {
		n, err := s.sendSome(b, flags)
		check("send", err)
		b = b[n:]
	}
}

func (s *Socket) sendSome(b []byte, flags int) (n int, err error) {
	err = retry(func() (err error) {
		n, err = unix.SendmsgN(s.fd, b, nil, nil, flags|unix.MSG_NOSIGNAL)
		return err
	})
	return n, err
}

// TrySend sends up to n octets without waiting and returns how many the kernel took.
func (s *Socket) TrySend(n int) (int, error) { return s.sendSome(make([]byte, n), unix.MSG_DONTWAIT) }

// Recv receives exactly n octets.
func (s *Socket) Recv(n int) []byte {
	b := make([]byte, n)
	for got := 0; got < n; {
		m, err := s.recv(b[got:], 0)
		check("recv", err)
		if m == 0 {
			panic(&Failure{fmt.Errorf("recv: end of stream after %d of %d octets", got, n)})
		}
		got += m
	}
	return b
}

// RecvEOF receives until the peer's FIN.
func (s *Socket) RecvEOF() {
	b := make([]byte, 64<<10)
	for {
		n, err := s.recv(b, 0)
		check("recv", err)
		if n == 0 {
			return
		}
	}
}

// RecvSome waits for something to arrive and returns it; empty at the peer's FIN.
func (s *Socket) RecvSome() ([]byte, error) {
	b := make([]byte, 4096)
	n, err := s.recv(b, 0)
	return b[:max(n, 0)], err
}

// Drain takes what has arrived, without waiting. It reports whether the peer's FIN has.
func (s *Socket) Drain() (eof bool, err error) {
	b := make([]byte, 64<<10)
	for {
		n, err := s.recv(b, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN:
			return false, nil
		case err != nil || n == 0:
			return err == nil, err
		}
	}
}

func (s *Socket) recv(b []byte, flags int) (n int, err error) {
	err = retry(func() (err error) {
		n, _, err = unix.Recvfrom(s.fd, b, flags)
		return err
	})
	return n, err
}

// CloseWrite sends a FIN; the socket still receives.
func (s *Socket) CloseWrite() { check("shutdown", unix.Shutdown(s.fd, unix.SHUT_WR)) }

// CloseRead stops receiving, which sends nothing.
func (s *Socket) CloseRead() { check("shutdown", unix.Shutdown(s.fd, unix.SHUT_RD)) }

// Close closes the socket as applications do: with a FIN, or with a RST if something was left unread.
func (s *Socket) Close() {
	if s.disown() {
		fd := s.fd
		s.fd = -1
		check("close", unix.Close(fd))
	}
}

// Abort closes the socket with a RST.
func (s *Socket) Abort() {
	linger := unix.Linger{Onoff: 1}
	check("SO_LINGER", unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
	s.Close()
}

// Vanish destroys the socket without a word on the wire, as the crash of a host does.
func (s *Socket) Vanish() {
	s.Set(Opt(unix.IPPROTO_TCP, unix.TCP_REPAIR, 1))
	s.Close()
}

// Seqs returns SND.NXT, counting what is queued, and RCV.NXT.
func (s *Socket) Seqs() (snd, rcv uint32) {
	s.Set(Opt(unix.IPPROTO_TCP, unix.TCP_REPAIR, 1))
	for _, q := range [...]struct {
		queue int
		seq   *uint32
	}{{repairSendQueue, &snd}, {repairRecvQueue, &rcv}} {
		s.Set(Opt(unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, q.queue))
		n, err := unix.GetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
		check("TCP_QUEUE_SEQ", err)
		*q.seq = uint32(n)
	}
	s.Set(Opt(unix.IPPROTO_TCP, unix.TCP_REPAIR, repairOffQuietly))
	return snd, rcv
}

// Inject sends a forged segment from the host: its source need not be a socket of the host. IPv4 without options.
func (h *Host) Inject(t Tuple, flags tcp.Flags, seq, ack uint32, payload int) {
	h.inject([]Tuple{t}, flags, seq, ack, payload)
}

// InjectEach sends as many SYNs, quickly.
func (h *Host) InjectEach(all []Tuple) { h.inject(all, tcp.SYN, 1, 0, 0) }

func (h *Host) inject(all []Tuple, flags tcp.Flags, seq, ack uint32, payload int) {
	h.Run(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		check("raw socket", err)
		defer unix.Close(fd)
		for _, t := range all {
			check("inject", unix.Sendto(fd, forge(t, flags, seq, ack, payload), 0, &unix.SockaddrInet4{Addr: t.Dst.Addr().As4()}))
		}
	})
}

// forge makes a packet; the kernel fills in length, id and checksum of the IP header.
func forge(t Tuple, flags tcp.Flags, seq, ack uint32, payload int) []byte {
	segment := make([]byte, 20+payload)
	be := binary.BigEndian
	be.PutUint16(segment, t.Src.Port())
	be.PutUint16(segment[2:], t.Dst.Port())
	be.PutUint32(segment[4:], seq)
	be.PutUint32(segment[8:], ack)
	segment[12], segment[13] = 5<<4, byte(flags)
	be.PutUint16(segment[14:], 512)
	src, dst := t.Src.Addr().As4(), t.Dst.Addr().As4()
	be.PutUint16(segment[16:], checksum(src[:], dst[:], []byte{0, unix.IPPROTO_TCP, 0, byte(len(segment))}, segment))

	packet := make([]byte, 20, 20+len(segment))
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_TCP
	copy(packet[12:], src[:])
	copy(packet[16:], dst[:])
	return append(packet, segment...)
}

// checksum is the Internet checksum (RFC 1071) of parts of even length, the last of any length.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i, c := range b {
			sum += uint32(c) << (8 * (1 - i&1))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// retry repeats a system call that a signal interrupted; the Go runtime sends itself many.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
