package kernel

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/tcp"
)

// Matches for Drop, in the terms of nftables.
const (
	everything = "meta l4proto tcp"
	syn        = "tcp flags & (syn | ack) == syn"
	synAck     = "tcp flags & (syn | ack) == (syn | ack)"
	fin        = "tcp flags & fin == fin"
	notSyn     = "tcp flags & syn == 0"
	pureAck    = "tcp flags & (syn | fin | rst | psh) == 0"
	fromServer = "tcp sport 80"
)

// Scenarios returns all scenarios but the random ones, grouped by what they are about.
func Scenarios() []Scenario {
	return slices.Concat(openings, queues, transfers, closes, resets, silences, reuses, forgeries, fastOpens, families)
}

// pause is how long a scene waits for answers that come at once, delayed ACKs included.
func (s *Scene) pause() { s.Sleep(300 * time.Millisecond) }

// repeats is long enough for a lost SYN or SYN-ACK to be sent three times in all, and data or a FIN more often.
func (s *Scene) repeats() { s.Sleep(3500 * time.Millisecond) }

// noMoreSynAck waits for as long as it takes to see that a SYN-ACK sent n times again is not repeated once more: each
// interval is twice the one before, the first a second, and timers are slack.
func (s *Scene) noMoreSynAck(n int) { s.Sleep(time.Second << n * 5 / 4) }

var openings = []Scenario{
	{Name: "established", About: "a handshake, then nothing",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A",
		Run: func(s *Scene) { s.Open(); s.pause() }},
	{Name: "refused", About: "nothing listens on the port",
		States: "CLOSED/CLOSED", History: "S r",
		Run: func(s *Scene) { s.Client.Connect(s.Service()); s.pause() }},
	{Name: "rejected-by-icmp", About: "a firewall on the server answers the SYN with an ICMP error",
		States: "(CLOSED)/CLOSED", History: "S S",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Rule(syn + " reject with icmp type port-unreachable")
			c := s.Client.Connect(s.Service())
			s.Undecidable(c, "closed by an ICMP error, which is not TCP")
			s.Sleep(1500 * time.Millisecond) // the first error may come while connect holds the socket, and is not fatal then
		}},
	{Name: "rejected-by-reset", About: "a firewall on the server answers the SYN with a RST although the port listens",
		States: "CLOSED/CLOSED", History: "S r",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Rule(syn + " reject with tcp reset")
			s.Client.Connect(s.Service())
			s.pause()
		}},
	{Name: "syn-lost", About: "every SYN is lost",
		States: "SYN_SENT/CLOSED", History: "S S S( S)*",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(syn)
			s.Client.Connect(s.Service())
			s.repeats()
		}},
	{Name: "syn-lost-once", About: "the first SYN is lost",
		States: "ESTABLISHED/ESTABLISHED", History: "S S s A",
		Run: func(s *Scene) { s.Server.DropFirst(1, syn); s.Open(); s.pause() }},
	{Name: "syn-abandoned", About: "every SYN is lost, and the client's application closes the socket",
		States: "(CLOSED)/CLOSED", History: "S S( S)*",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(syn)
			c := s.Client.Connect(s.Service())
			s.Undecidable(c, "closing a socket in SYN_SENT sends nothing")
			s.Sleep(1500 * time.Millisecond)
			c.Close()
			s.pause()
		}},
	{Name: "syn-gives-up", About: "every SYN is lost, and the client gives up",
		States: "(CLOSED)/CLOSED", History: "S S",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(syn)
			s.Client.Sysctl("net.ipv4.tcp_syn_linear_timeouts", "0")
			s.Client.Sysctl("net.ipv4.tcp_syn_retries", "1")
			s.Undecidable(s.Client.Connect(s.Service()), "giving up in SYN_SENT sends nothing")
			s.Sleep(4 * time.Second)
		}},
	{Name: "syn-ack-lost", About: "every SYN-ACK is lost",
		States: "SYN_SENT/SYN_RCVD", History: "S s( S s| s)+",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Client.Drop(synAck)
			s.Client.Connect(s.Service())
			s.repeats()
		}},
	{Name: "syn-ack-lost-once", About: "the first SYN-ACK is lost",
		States: "ESTABLISHED/ESTABLISHED",
		Run:    func(s *Scene) { s.Client.DropFirst(1, synAck); s.Open(); s.pause() }},
	{Name: "syn-rcvd-reset", About: "the client is gone when the repeated SYN-ACK arrives, and its host answers RST",
		States: "CLOSED/CLOSED", History: "S s( S s)* s R",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Client.Drop(synAck)
			s.Client.Connect(s.Service()).Close()
			s.Client.Admit()
			s.Sleep(1500 * time.Millisecond)
		}},
	{Name: "handshake-ack-lost", About: "the handshake's ACK and its repetitions are lost",
		States: "ESTABLISHED/SYN_RCVD", History: "S s A( s A)+",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(notSyn)
			s.Client.Dial(s.Service())
			s.repeats()
		}},
	{Name: "handshake-ack-and-data-lost", About: "the handshake's ACK is lost, and so is the data that follows",
		States: "ESTABLISHED/SYN_RCVD", History: "S s A D.* s A.*",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(notSyn)
			s.Client.Dial(s.Service()).Send(100)
			s.repeats()
		}},
	{Name: "handshake-ack-and-fin-lost", About: "nothing after the SYN reaches the server, the client's FIN included",
		States: "FIN_WAIT_1/SYN_RCVD", History: "S s A F.* s.*",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(notSyn)
			s.Client.Dial(s.Service()).Close()
			s.repeats()
		}},
	{Name: "handshake-gives-up", About: "the handshake's ACK and its repetitions are lost, and the server gives up",
		States: "ESTABLISHED/(CLOSED)", History: "S s A s A",
		Run: func(s *Scene) {
			c := s.expired()
			s.Undecidable(&Socket{Local: c.Peer, Peer: c.Local}, "giving up in SYN_RCVD sends nothing")
		}},
	{Name: "handshake-gives-up-then-data", About: "the server has given up the handshake; the client's data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A s A D r",
		Run: func(s *Scene) {
			c := s.expired()
			s.Server.Admit()
			c.Send(100)
			s.pause()
		}},
	{Name: "handshake-ack-lost-reset", About: "the handshake's ACK is lost; the client aborts, which ends SYN_RCVD",
		States: "CLOSED/CLOSED", History: "S s A R",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.DropFirst(1, pureAck)
			s.Client.Dial(s.Service()).Abort()
			s.pause()
		}},
	{Name: "handshake-ack-lost-once", About: "the handshake's ACK is lost; the SYN-ACK is repeated and answered",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A s A",
		Run: func(s *Scene) { s.Server.DropFirst(1, pureAck); s.Open(); s.noMoreSynAck(1) }},
	{Name: "handshake-ack-lost-data-arrives", About: "the handshake's ACK is lost; the data that follows completes the handshake",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D a",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.DropFirst(1, pureAck)
			s.Client.Dial(s.Service()).Send(100)
			s.Accept().Recv(100)
			s.pause()
		}},
	{Name: "handshake-ack-lost-fin-arrives", About: "the handshake's ACK is lost; the client's FIN completes the handshake",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A F a",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.DropFirst(1, pureAck)
			s.Client.Dial(s.Service()).Close()
			s.Accept()
			s.pause()
		}},
	{Name: "simultaneous-open", About: "both hosts connect to each other; their SYNs cross",
		States: "ESTABLISHED/ESTABLISHED", History: "S s( S s| s S) .*",
		Run: func(s *Scene) { s.crossing(); s.pause() }},
	{Name: "simultaneous-open-stuck", About: "both hosts connect to each other; their SYNs cross, the SYN-ACKs are lost",
		States: "SYN_RCVD/SYN_RCVD", History: "S s[Ss ]*",
		Run: func(s *Scene) {
			s.Client.Drop(synAck)
			s.Server.Drop(synAck)
			s.crossing()
			s.repeats()
		}},
	{Name: "defer-accept", About: "the server asked for TCP_DEFER_ACCEPT: the ACK arrives but does not open the connection",
		States: "ESTABLISHED/(SYN_RCVD)", History: "S s A",
		Run: func(s *Scene) {
			c := s.deferred(10)
			s.Undecidable(&Socket{Local: c.Peer, Peer: c.Local}, "TCP_DEFER_ACCEPT: the server ignores the handshake's ACK in silence")
			s.pause()
		}},
	{Name: "defer-accept-data", About: "the server asked for TCP_DEFER_ACCEPT: the client's data opens the connection",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D a",
		Run: func(s *Scene) {
			c := s.deferred(10)
			s.pause()
			c.Send(100)
			s.Accept().Recv(100)
			s.pause()
		}},
	{Name: "defer-accept-expired", About: "TCP_DEFER_ACCEPT ends without data: the SYN-ACK is repeated, its ACK opens the connection",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A s A",
		Run: func(s *Scene) { s.deferred(1); s.Accept(); s.noMoreSynAck(1) }},
	{Name: "syn-cookie", About: "the server answers with a SYN cookie; the ACK makes the connection",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A",
		Run: func(s *Scene) { s.Server.Sysctl("net.ipv4.tcp_syncookies", "2"); s.Open(); s.pause() }},
	{Name: "syn-cookie-ack-lost", About: "the server answers with a SYN cookie; the ACK is lost, and the server knows of nothing to repeat",
		States: "ESTABLISHED/(CLOSED)", History: "S s A",
		Run: func(s *Scene) {
			s.Server.Sysctl("net.ipv4.tcp_syncookies", "2")
			s.Listen(16)
			s.Server.Drop(notSyn)
			c := s.Client.Dial(s.Service())
			s.Undecidable(&Socket{Local: c.Peer, Peer: c.Local}, "a server that sends SYN cookies keeps no state before the ACK, and looks like any other")
			s.repeats()
		}},
	{Name: "syn-ack-duplicated", About: "a late copy of the SYN-ACK reaches the client, which acknowledges again",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A s A",
		Run: func(s *Scene) {
			c, _ := s.Open()
			snd, rcv := c.Seqs()
			s.Server.Inject(Tuple{c.Peer, c.Local}, tcp.SYN|tcp.ACK, rcv-1, snd, 0)
			s.pause()
		}},
	{Name: "syn-ack-out-of-nowhere", About: "a SYN-ACK reaches a port that sent no SYN, and is answered by RST",
		States: "CLOSED/CLOSED", History: "S r",
		Run: func(s *Scene) {
			from := s.Client.Ephemeral(s.Service())
			s.Server.Inject(Tuple{s.Service(), from}, tcp.SYN|tcp.ACK, 1000, 2000, 0)
			s.pause()
		}},
}

// expired returns a client that is connected to a server which waited in vain for the handshake's ACK.
func (s *Scene) expired() *Socket {
	s.Server.Sysctl("net.ipv4.tcp_synack_retries", "1")
	s.Listen(16)
	s.Server.Drop(notSyn)
	c := s.Client.Dial(s.Service())
	s.Sleep(4 * time.Second)
	return c
}

// deferred opens a connection that the server's application wants to see only with data.
func (s *Scene) deferred(seconds int) *Socket {
	s.Listen(16, Opt(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds))
	return s.Client.Dial(s.Service())
}

// crossing makes both hosts connect to each other so that neither SYN arrives before the other has left.
func (s *Scene) crossing() (a, b *Socket) {
	left, right := netip.AddrPortFrom(s.Client.V4, 5001), netip.AddrPortFrom(s.Server.V4, 5002)
	a, b = s.Client.Bound(left, right), s.Server.Bound(right, left)
	s.Clog()
	a.Connect()
	b.Connect()
	return a, b
}

// prefilled returns a scene's clients whose connections fill the accept queue of a server that does not accept, and then
// more whose handshakes were under way when the last place was taken.
func (s *Scene) prefilled(late int, alsoDrop ...string) (clients []*Socket) {
	const backlog = 4 // Linux keeps one more than asked for
	s.Listen(backlog)
	for range backlog {
		s.Client.Dial(s.Service())
	}
	s.Server.Drop(pureAck)
	for _, match := range alsoDrop {
		s.Server.Drop(match)
	}
	for range late {
		clients = append(clients, s.Client.Dial(s.Service()))
	}
	s.Server.Admit()
	return clients
}

var queues = []Scenario{
	{Name: "accept-queue-full", About: "the accept queue is full: ACKs of late handshakes are ignored, later SYNs too",
		States: "ESTABLISHED/ESTABLISHED ×5, ESTABLISHED/SYN_RCVD ×2, SYN_SENT/CLOSED ×2",
		Run: func(s *Scene) {
			s.prefilled(3)
			s.Sleep(1200 * time.Millisecond)
			s.Client.Connect(s.Service())
			s.Client.Connect(s.Service())
			s.repeats()
		}},
	{Name: "accept-queue-full-data", About: "the accept queue is full, and the clients that believe to be connected send data",
		States: "ESTABLISHED/ESTABLISHED ×5, ESTABLISHED/SYN_RCVD ×2",
		Run: func(s *Scene) {
			for _, c := range s.prefilled(3) {
				c.Send(200)
			}
			s.repeats()
		}},
	{Name: "accept-queue-full-close", About: "the accept queue is full, and the clients that believe to be connected close",
		States: "ESTABLISHED/ESTABLISHED ×4, FIN_WAIT_1/SYN_RCVD ×2, FIN_WAIT_2/CLOSE_WAIT",
		Run: func(s *Scene) {
			for _, c := range s.prefilled(3) {
				c.Close()
			}
			s.repeats()
		}},
	{Name: "accept-queue-recovers", About: "the accept queue is full for a while; then the server accepts",
		States: "ESTABLISHED/ESTABLISHED ×7",
		Run: func(s *Scene) {
			s.prefilled(3)
			s.Sleep(1500 * time.Millisecond)
			for range 7 {
				s.Accept()
			}
			s.noMoreSynAck(2)
		}},
	{Name: "accept-queue-abort", About: "the accept queue is full, and tcp_abort_on_overflow answers late ACKs with RST",
		States: "CLOSED/CLOSED ×2, ESTABLISHED/ESTABLISHED ×5",
		Run: func(s *Scene) {
			s.Server.Sysctl("net.ipv4.tcp_abort_on_overflow", "1")
			s.prefilled(3)
			s.repeats()
		}},
	{Name: "listener-closed-unaccepted", About: "the listener closes while a connection waits in its accept queue",
		States: "CLOSED/CLOSED", History: "S s A r",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Client.Dial(s.Service())
			s.pause()
			s.Listener.Close()
			s.pause()
		}},
	{Name: "listener-closed-in-handshake", About: "the listener closes before the handshake's ACK arrives; the client's data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A D r",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(notSyn)
			c := s.Client.Dial(s.Service())
			s.Listener.Close()
			s.Server.Admit()
			c.Send(100)
			s.pause()
		}},
}

var transfers = []Scenario{
	{Name: "established-data", About: "requests and responses on an open connection",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* d.*",
		Run: func(s *Scene) {
			c, d := s.Open()
			for range 3 {
				talk(c, d)
			}
			s.pause()
		}},
	{Name: "bulk-offload", About: "a transfer with segmentation offload: packets larger than the MTU; then both close",
		States: "TIME_WAIT/CLOSED", Offload: true,
		Run: func(s *Scene) {
			c, d := s.Open()
			go Try(func() { c.Send(300_000) })
			d.Recv(300_000)
			c.Close()
			d.RecvEOF()
			d.Close()
			s.pause()
		}},
	{Name: "bulk-loss", About: "a transfer with 10 % loss in both directions; then both close",
		States: "TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			c, d := s.Open()
			for _, h := range s.Hosts() {
				h.Drop("numgen random mod 100 < 10")
			}
			go Try(func() { c.Send(100_000) })
			d.Recv(100_000)
			for _, h := range s.Hosts() {
				h.Admit()
			}
			c.Close()
			d.RecvEOF()
			d.Close()
			s.Sleep(time.Second)
		}},
	{Name: "sequence-wraps", About: "the client's sequence numbers wrap in the middle of its data, and it closes",
		States: "FIN_WAIT_2/CLOSE_WAIT",
		Run: func(s *Scene) {
			c, d := s.Open(ISS(0xffffffff - 1500))
			c.Send(4000)
			d.Recv(4000)
			c.Close()
			s.pause()
		}},
	{Name: "sequence-wraps-at-syn", About: "the client's SYN has sequence number 0xffffffff",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* d.*",
		Run: func(s *Scene) { talk(s.Open(ISS(0xffffffff))); s.pause() }},
	{Name: "sequence-wraps-at-fin", About: "the client's FIN has sequence number 0xffffffff and is lost",
		States: "FIN_WAIT_1/ESTABLISHED", History: "S s A D a F F( F)*",
		Run: func(s *Scene) {
			c, d := s.Open(ISS(0xffffffff - 101))
			c.Send(100)
			d.Recv(100)
			s.pause()
			s.Server.Drop(fin)
			c.Close()
			s.Sleep(1500 * time.Millisecond)
		}},
	{Name: "keep-alive-answered", About: "keep-alive probes are answered",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A( A a){3,}",
		Run: func(s *Scene) { s.Open(KeepAlive(5)); s.Sleep(3500 * time.Millisecond) }},
	{Name: "keep-alive-close-wait", About: "the server forgot to close; its keep-alive probes are answered by the client in FIN_WAIT_2",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A F a( a A){2,}",
		Run: func(s *Scene) {
			c, d := s.Open()
			d.Set(KeepAlive(5))
			c.CloseWrite()
			s.repeats()
		}},
	{Name: "zero-window", About: "the server's application does not read; the client probes its zero window",
		States: "ESTABLISHED/ESTABLISHED",
		Run:    func(s *Scene) { s.stalled(); s.repeats() }},
	{Name: "zero-window-fin-waits", About: "the client closes while the server's zero window holds back its data and FIN",
		States: "(FIN_WAIT_1)/ESTABLISHED",
		Run: func(s *Scene) {
			c, _ := s.stalled()
			c.Close()
			s.repeats()
		}},
	{Name: "zero-window-opens", About: "the server's application reads again after a while, and both close",
		States: "TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			c, d := s.stalled()
			c.Close()
			s.Sleep(time.Second)
			d.RecvEOF()
			d.Close()
			s.pause()
		}},
	{Name: "shutdown-read", About: "the server shuts down reading, which sends nothing; the client's data is still acknowledged",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D a",
		Run: func(s *Scene) {
			c, d := s.Open()
			d.CloseRead()
			c.Send(100)
			s.pause()
		}},
}

// talk exchanges a request and a response.
func talk(client, server *Socket) {
	client.Send(200)
	server.Recv(200)
	server.Send(1000)
	client.Recv(1000)
}

// stalled opens a connection on which the server's window is zero and the client has more to send.
func (s *Scene) stalled() (client, server *Socket) {
	s.Listen(16, RcvBuf(4096))
	client, server = s.Open()
	for range 20 {
		client.TrySend(1000)
		s.Sleep(10 * time.Millisecond)
	}
	return client, server
}

var closes = []Scenario{
	{Name: "close-client-first", About: "the client closes, then the server",
		States: "TIME_WAIT/CLOSED", History: "S s A D.* F a f A",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			s.pause()
			c.Close()
			s.pause()
			d.Close()
			s.pause()
		}},
	{Name: "close-server-first", About: "the server closes, then the client",
		States: "CLOSED/TIME_WAIT", History: "S s A D.* f A F a",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			s.pause()
			d.Close()
			s.pause()
			c.Close()
			s.pause()
		}},
	{Name: "close-three-segments", About: "the server answers the client's FIN with its own FIN at once",
		States: "TIME_WAIT/CLOSED", History: "S s A D.* F f A",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			s.pause()
			d.Set(Opt(unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)) // or the kernel acknowledges the FIN first
			closed := make(chan error)
			go func() { closed <- Try(func() { d.RecvEOF(); d.Close() }) }()
			s.pause()
			c.Close()
			check("server", <-closed)
			s.pause()
		}},
	{Name: "close-wait-server", About: "the client closes, the server does not",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A D.* F a",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			c.Close()
			s.pause()
		}},
	{Name: "close-wait-client", About: "the server closes, the client does not",
		States: "CLOSE_WAIT/FIN_WAIT_2", History: "S s A D.* f A",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			d.Close()
			s.pause()
		}},
	{Name: "half-close-data", About: "the client ends its direction, the server goes on sending",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A F( a)?( d A)+",
		Run: func(s *Scene) { s.halfClosed(); s.pause() }},
	{Name: "half-close-finished", About: "the client ends its direction, the server sends more and then closes",
		States: "TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			_, d := s.halfClosed()
			d.Close()
			s.pause()
		}},
	{Name: "half-close-server", About: "the server ends its direction, the client goes on sending",
		States: "CLOSE_WAIT/FIN_WAIT_2",
		Run: func(s *Scene) {
			c, d := s.Open()
			d.CloseWrite()
			s.pause()
			for range 3 {
				c.Send(500)
				d.Recv(500)
			}
			s.pause()
		}},
	{Name: "fin-with-data", About: "the client's FIN travels with its last data",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A DF a",
		Run: func(s *Scene) {
			c, _ := s.Open()
			c.SendMore(300)
			c.Close()
			s.pause()
		}},
	{Name: "fin-behind-lost-data", About: "the client's FIN arrives, the data before it does not: the server has the FIN but may not take it",
		States: "FIN_WAIT_1/ESTABLISHED",
		Run: func(s *Scene) {
			c, _ := s.Open()
			s.Server.Drop("tcp flags & psh == psh ip length > 200")
			c.Send(500)
			c.CloseWrite()
			s.repeats()
		}},
	{Name: "fin-lost", About: "the client's FIN and its repetitions are lost",
		States: "FIN_WAIT_1/ESTABLISHED", History: "S s A F F F( F)*",
		Run: func(s *Scene) {
			c, _ := s.Open()
			s.Server.Drop(fin)
			c.Close()
			s.repeats()
		}},
	{Name: "fin-lost-once", About: "the client's FIN is lost and repeated",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A F F a",
		Run: func(s *Scene) {
			c, _ := s.Open()
			s.Server.DropFirst(1, fin)
			c.Close()
			s.Sleep(time.Second)
		}},
	{Name: "fin-ack-lost", About: "the ACK of the client's FIN is lost, and so are its repetitions",
		States: "FIN_WAIT_1/CLOSE_WAIT", History: "S s A F a( F a)+",
		Run: func(s *Scene) {
			c, _ := s.Open()
			s.Client.Drop(everything)
			c.Close()
			s.repeats()
		}},
	{Name: "fin-ack-lost-server", About: "the ACK of the server's FIN is lost, and so are its repetitions",
		States: "CLOSE_WAIT/FIN_WAIT_1", History: "S s A f A( f A)+",
		Run: func(s *Scene) {
			_, d := s.Open()
			s.Server.Drop(everything)
			d.Close()
			s.repeats()
		}},
	{Name: "last-fin-lost", About: "the client has closed; the server's FIN is lost, and so are its repetitions",
		States: "FIN_WAIT_2/LAST_ACK", History: "S s A F a f f f( f)*",
		Run: func(s *Scene) {
			d := s.closedByClient()
			s.Client.Drop(everything)
			d.Close()
			s.repeats()
		}},
	{Name: "last-ack-lost", About: "both have closed; the last ACK is lost, and so are its repetitions",
		States: "TIME_WAIT/LAST_ACK", History: "S s A F a f A f( A)?.*",
		Run: func(s *Scene) {
			d := s.closedByClient()
			s.Server.Drop(everything)
			d.Close()
			s.repeats()
		}},
	{Name: "last-ack-lost-once", About: "both have closed; the last ACK is lost, the FIN repeated and acknowledged again",
		States: "TIME_WAIT/CLOSED", History: "S s A F a f A( f)+ A",
		Run: func(s *Scene) {
			d := s.closedByClient()
			s.Server.DropFirst(1, everything)
			d.Close()
			s.Sleep(1500 * time.Millisecond)
		}},
	{Name: "last-ack-aborted", About: "the last ACK is lost; the server's application then aborts, which sends nothing in LAST_ACK",
		States: "TIME_WAIT/(CLOSED)", History: "S s A F a f A.*",
		Run: func(s *Scene) {
			d := s.closedByClient()
			s.Undecidable(d, "Linux sends no RST when a socket in LAST_ACK is aborted")
			s.Server.Drop(everything)
			d.CloseWrite()
			s.Sleep(700 * time.Millisecond)
			d.Abort()
			s.pause()
		}},
	{Name: "simultaneous-close", About: "both close at once; their FINs cross",
		States: "TIME_WAIT/TIME_WAIT", History: "S s A D.* F f (A a|a A)",
		Run: func(s *Scene) { s.crossedFINs(); s.pause() }},
	{Name: "closing", About: "both close at once; their FINs cross, and every ACK of them is lost",
		States: "CLOSING/CLOSING", History: "S s A D.* F f (A a|a A).*",
		Run: func(s *Scene) {
			s.crossedFINs(both)
			s.repeats()
		}},
	{Name: "closing-client", About: "both close at once; their FINs cross, and every ACK of the client's FIN is lost",
		States: "CLOSING/TIME_WAIT", History: "S s A D.* F f (A a|a A).*",
		Run: func(s *Scene) {
			s.crossedFINs(clientOnly)
			s.repeats()
		}},
	{Name: "fin-wait-2-timeout", About: "an orphan in FIN_WAIT_2 is given up after tcp_fin_timeout",
		States: "(CLOSED)/CLOSE_WAIT", History: "S s A F a",
		Run: func(s *Scene) {
			s.Client.Sysctl("net.ipv4.tcp_fin_timeout", "2")
			c, _ := s.Open()
			s.Undecidable(c, "Linux gives up an orphan in FIN_WAIT_2 after tcp_fin_timeout and sends nothing")
			c.Close()
			s.Sleep(5 * time.Second)
		}},
	{Name: "fin-wait-2-timeout-reset", About: "the server closes after the client's FIN_WAIT_2 was given up, and its FIN is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A F a f R",
		Run: func(s *Scene) {
			s.Client.Sysctl("net.ipv4.tcp_fin_timeout", "2")
			c, d := s.Open()
			c.Close()
			s.Sleep(5 * time.Second)
			d.Close()
			s.pause()
		}},
}

// halfClosed opens a connection, ends the client's direction, and lets the server send.
func (s *Scene) halfClosed() (client, server *Socket) {
	client, server = s.Open()
	client.CloseWrite()
	server.RecvEOF()
	for range 3 {
		server.Send(500)
		client.Recv(500)
	}
	s.pause()
	return client, server
}

// closedByClient returns the server's end of a connection that the client has closed.
func (s *Scene) closedByClient() *Socket {
	c, d := s.Open()
	c.Close()
	s.pause()
	return d
}

const (
	both = iota
	clientOnly
)

// crossedFINs closes both ends so that neither FIN arrives before the other has left. With an argument, one or both
// ends never hear that their FIN was acknowledged.
func (s *Scene) crossedFINs(deaf ...int) {
	c, d := s.Open()
	talk(c, d)
	s.pause()
	if len(deaf) > 0 {
		snd, rcv := c.Seqs()
		dropAck := func(h *Host, ack uint32) { h.Drop("tcp ackseq " + strconv.FormatUint(uint64(ack), 10)) }
		dropAck(s.Client, snd+1)
		if deaf[0] == both {
			dropAck(s.Server, rcv+1)
		}
	}
	s.Clog()
	c.Close()
	d.Close()
}

var resets = []Scenario{
	{Name: "abort-client", About: "the client aborts (linger 0)",
		States: "CLOSED/CLOSED", History: "S s A D.* R",
		Run: func(s *Scene) { c, d := s.Open(); talk(c, d); s.pause(); c.Abort(); s.pause() }},
	{Name: "abort-server", About: "the server aborts (linger 0)",
		States: "CLOSED/CLOSED", History: "S s A D.* r",
		Run: func(s *Scene) { c, d := s.Open(); talk(c, d); s.pause(); d.Abort(); s.pause() }},
	{Name: "abort-in-close-wait", About: "the client has closed, the server aborts",
		States: "CLOSED/CLOSED", History: "S s A F a r",
		Run: func(s *Scene) { s.closedByClient().Abort(); s.pause() }},
	{Name: "abort-lost", About: "the client aborts, the RST is lost and the server goes on waiting",
		States: "CLOSED/(ESTABLISHED)", History: "S s A R",
		Run: func(s *Scene) {
			c, d := s.Open()
			s.Undecidable(d, "the RST was lost on its last few metres, and is not repeated")
			s.Server.Drop(everything)
			c.Abort()
			s.pause()
		}},
	{Name: "abort-lost-then-data", About: "the client aborts, the RST is lost; the server's data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A R d R",
		Run: func(s *Scene) {
			c, d := s.Open()
			s.Server.Drop(everything)
			c.Abort()
			s.Server.Admit()
			d.Send(100)
			s.pause()
		}},
	{Name: "abort-behind-lost-data", About: "the client's data is lost and then it aborts: the RST is not exact and is challenged, the answer is",
		States: "CLOSED/CLOSED",
		Run: func(s *Scene) {
			c, _ := s.Open()
			s.Server.Drop("ip length > 200")
			c.Send(500)
			c.Abort()
			s.pause()
		}},
	{Name: "unread-data-client", About: "the client closes with unread data",
		States: "CLOSED/CLOSED", History: "S s A d A R",
		Run: func(s *Scene) { c, d := s.Open(); d.Send(500); s.pause(); c.Close(); s.pause() }},
	{Name: "unread-data-server", About: "the server closes with unread data",
		States: "CLOSED/CLOSED", History: "S s A D a r",
		Run: func(s *Scene) { c, d := s.Open(); c.Send(500); s.pause(); d.Close(); s.pause() }},
	{Name: "data-to-closed-server", About: "the server has closed; the client's data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A f A D r",
		Run: func(s *Scene) { c, d := s.Open(); d.Close(); s.pause(); c.Send(100); s.pause() }},
	{Name: "data-to-closed-client", About: "the client has closed; the server's data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A F a d R",
		Run: func(s *Scene) { s.closedByClient().Send(100); s.pause() }},
}

var silences = []Scenario{
	{Name: "server-unreachable", About: "nothing reaches the server any more; the client's data is repeated",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* D D D( D)*",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			s.pause()
			s.Server.Drop(everything)
			c.Send(300)
			s.repeats()
		}},
	{Name: "client-unreachable", About: "nothing reaches the client any more; the server's data is repeated",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* d A d d d( d)*",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			s.pause()
			s.Client.Drop("tcp flags & psh == psh")
			d.Send(300)
			s.repeats()
		}},
	{Name: "server-rebooted", About: "the server's socket vanishes; the client's data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A D r",
		Run: func(s *Scene) { c, d := s.Open(); d.Vanish(); s.pause(); c.Send(300); s.pause() }},
	{Name: "server-rebooted-after-silence", About: "the server is unreachable, then back without the connection: repeated data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A D D( D)* r",
		Run: func(s *Scene) {
			c, d := s.Open()
			s.Server.Drop(everything)
			c.Send(300)
			s.Sleep(time.Second)
			d.Vanish()
			s.Server.Admit()
			s.Sleep(2 * time.Second)
		}},
	{Name: "server-vanished", About: "the server's socket vanishes; nobody finds out",
		States: "ESTABLISHED/(CLOSED)", History: "S s A",
		Run: func(s *Scene) {
			_, d := s.Open()
			s.vanish(d)
			s.pause()
		}},
	{Name: "keep-alive-unanswered", About: "nothing reaches the server any more; keep-alive probes go unanswered",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A A A( A)*",
		Run: func(s *Scene) {
			s.Open(KeepAlive(9))
			s.Server.Drop(everything)
			s.repeats()
		}},
	{Name: "keep-alive-gives-up", About: "keep-alive probes go unanswered until the client sends a RST, which is lost too",
		States: "CLOSED/(ESTABLISHED)", History: "S s A A A R",
		Run: func(s *Scene) {
			_, d := s.Open(KeepAlive(2))
			s.Undecidable(d, "the RST was lost on its last few metres, and is not repeated")
			s.Server.Drop(everything)
			s.Sleep(4500 * time.Millisecond)
		}},
	{Name: "keep-alive-reset", About: "the server's socket vanishes; a keep-alive probe is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A A r",
		Run: func(s *Scene) {
			_, d := s.Open(KeepAlive(5))
			d.Vanish()
			s.Sleep(1500 * time.Millisecond)
		}},
	{Name: "user-timeout", About: "nothing reaches the server any more; the client gives up after TCP_USER_TIMEOUT",
		States: "(CLOSED)/ESTABLISHED", History: "S s A D D( D)*",
		Run: func(s *Scene) {
			c, _ := s.Open(Opt(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1500))
			s.Undecidable(c, "Linux gives up after TCP_USER_TIMEOUT and sends nothing")
			s.Server.Drop(everything)
			c.Send(300)
			s.repeats()
		}},
}

// vanish destroys a socket in silence, and notes that only a RST from its host can show it.
func (s *Scene) vanish(end *Socket) {
	tuple := Tuple{end.Local, end.Peer}
	end.Vanish()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vanished[tuple] = time.Now()
}

var reuses = []Scenario{
	{Name: "reuse-time-wait-server", About: "the server is in TIME_WAIT; the client's SYN from the same port opens a new connection",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* f A F a S s A",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			d.Close()
			s.pause()
			c.Close()
			s.pause()
			s.Client.DialFrom(c.Local, c.Peer)
			s.Accept()
			s.pause()
		}},
	{Name: "reuse-time-wait-client", About: "the client is in TIME_WAIT and opens a new connection from the same port (tcp_tw_reuse)",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A F( a)? f A S s A",
		Run: func(s *Scene) {
			s.Client.Sysctl("net.ipv4.tcp_tw_reuse", "1")
			c, d := s.Open()
			c.Close()
			d.Close()
			s.Sleep(1500 * time.Millisecond) // timestamps must have advanced by a second
			s.Client.DialFrom(c.Local, c.Peer)
			s.Accept()
			s.pause()
		}},
	{Name: "reuse-time-wait-challenged", About: "the server is in TIME_WAIT and answers a SYN with an old sequence number by an ACK; RST, and a second SYN",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A f A F a S a R S s A",
		Run: func(s *Scene) { s.oldSYN(); s.pause() }},
	{Name: "reuse-time-wait-killed", About: "as before, and the second SYN is lost: the RST has ended the server's TIME_WAIT",
		States: "SYN_SENT/CLOSED", History: "S s A f A F a S a R S( S)*",
		Run: func(s *Scene) { s.oldSYN((*Scene).dropSecondSYN); s.pause() }},
	{Name: "reuse-time-wait-unanswered", About: "as before, but the ACK with which TIME_WAIT answers the SYN is lost",
		States: "SYN_SENT/TIME_WAIT", History: "S s A f A F a S a( S a?)*",
		Run: func(s *Scene) {
			s.oldSYN(func(s *Scene) { s.Client.Drop(everything) })
			s.Sleep(1500 * time.Millisecond)
		}},
	{Name: "reuse-after-reset", About: "an aborted connection's port is used again at once",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A R S s A F a",
		Run: func(s *Scene) {
			c, _ := s.Open()
			from := c.Local
			c.Abort()
			s.pause()
			c = s.Client.DialFrom(from, s.Service())
			s.Accept()
			c.Close()
			s.pause()
		}},
	{Name: "half-open-discovery", About: "the client crashed and connects from the same port: challenge ACK, RST, and a second SYN (RFC 9293 3.5.1)",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* S a R S s A",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			s.pause()
			c.Vanish()
			s.Client.DialFrom(c.Local, c.Peer)
			s.Accept()
			s.pause()
		}},
	{Name: "half-open-undiscovered", About: "the client crashed and connects from the same port; the server's challenge ACK is lost",
		States: "SYN_SENT/ESTABLISHED", History: "S s A S a( S a)+",
		Run: func(s *Scene) {
			c, _ := s.Open()
			c.Vanish()
			s.Client.Drop(everything)
			s.Client.ConnectFrom(c.Local, c.Peer)
			s.repeats()
		}},
	{Name: "half-open-reset", About: "the client crashed and connects from the same port; the RST that answers the challenge ends the server's old connection",
		States: "SYN_SENT/CLOSED", History: "S s A S a R S( S)*",
		Run: func(s *Scene) {
			c, _ := s.Open()
			c.Vanish()
			s.dropSecondSYN() // the client repeats its SYN at once
			s.Client.ConnectFrom(c.Local, c.Peer)
			s.pause()
		}},
	{Name: "reuse-close-wait", About: "the server forgot a connection in CLOSE_WAIT; the client connects from the same port",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A F a S a R S s A",
		Run: func(s *Scene) {
			s.Client.Sysctl("net.ipv4.tcp_fin_timeout", "2")
			c, _ := s.Open()
			c.Close()
			s.Sleep(5 * time.Second)
			s.Client.ConnectFrom(c.Local, c.Peer)
			s.Sleep(1500 * time.Millisecond)
		}},
	{Name: "reuse-last-ack", About: "the server waits in LAST_ACK for an ACK that is lost; the client, gone, connects from the same port",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A F a f( f)* S a R S s A",
		Run: func(s *Scene) {
			c, d := s.Open()
			s.Client.Drop(fin) // or the server would leave LAST_ACK before the client is gone
			c.CloseWrite()
			s.pause()
			d.Close()
			s.pause()
			c.Vanish()
			s.Client.Admit()
			s.Client.ConnectFrom(c.Local, c.Peer)
			s.Sleep(2500 * time.Millisecond)
		}},
}

// dropSecondSYN lets one more SYN reach the server.
func (s *Scene) dropSecondSYN() {
	s.Server.Rule(syn + " limit rate over 1/day burst 1 packets" + drop)
}

// oldSYN leaves the server in TIME_WAIT, runs what is given, and connects again from the same port, with a SYN that could
// be a stray of the old connection: no timestamp, and a sequence number before the old one's end.
func (s *Scene) oldSYN(before ...func(*Scene)) {
	for _, h := range s.Hosts() {
		h.Sysctl("net.ipv4.tcp_timestamps", "0")
	}
	c, d := s.Open(ISS(2_000_000_000))
	d.Close()
	s.pause()
	c.Close()
	s.pause()
	for _, f := range before {
		f(s)
	}
	s.Client.ConnectFrom(c.Local, c.Peer, ISS(1_000_000_000))
}

var forgeries = []Scenario{
	{Name: "reset-in-window", About: "a forged RST in the window, not exact: a challenge ACK, and the connection lives",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* R a",
		Run: func(s *Scene) { s.forge(10, tcp.RST); s.pause() }},
	{Name: "reset-out-of-window", About: "a forged RST far out of the window is ignored",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* R",
		Run: func(s *Scene) { s.forge(1<<30, tcp.RST); s.pause() }},
	{Name: "reset-old", About: "a forged RST just before the window is ignored",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* R",
		Run: func(s *Scene) { s.forge(-1, tcp.RST); s.pause() }},
	{Name: "reset-forged-exact", About: "a forged RST, exact, ends the server's connection; the client knows nothing of it",
		States: "(ESTABLISHED)/CLOSED", History: "S s A D.* R",
		Run: func(s *Scene) {
			c, _ := s.forge(0, tcp.RST)
			s.Undecidable(c, forgedFrom)
			s.pause()
		}},
	{Name: "reset-forged-exact-then-data", About: "a forged RST ends the server's connection; the client's next data is answered by RST",
		States: "CLOSED/CLOSED", History: "S s A D.* R D r",
		Run: func(s *Scene) { c, _ := s.forge(0, tcp.RST); s.pause(); c.Send(100); s.pause() }},
	{Name: "reset-in-window-syn-rcvd", About: "a forged RST, in the window but not exact, in SYN_RCVD: a challenge ACK, and the handshake goes on",
		States: "SYN_SENT/SYN_RCVD", History: "S s R a( S s| s)+",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Client.Drop(synAck)
			c := s.Client.Connect(s.Service())
			s.Sleep(200 * time.Millisecond)
			packets, err := ReadPackets(s.capture.Path)
			check("capture", err)
			s.Client.Inject(Tuple{c.Local, c.Peer}, tcp.RST, packets.TCP[0].Seq+11, 0, 0)
			s.Sleep(1500 * time.Millisecond)
		}},
	{Name: "reset-in-window-fin-wait-1", About: "a forged RST, in the window but not exact, in FIN_WAIT_1: a challenge ACK",
		States: "FIN_WAIT_1/ESTABLISHED", History: "S s A F( F)* r A F( F)*",
		Run: func(s *Scene) {
			c, _ := s.Open()
			snd, rcv := c.Seqs()
			s.Server.Drop(everything)
			c.Close()
			s.Server.Inject(Tuple{c.Peer, c.Local}, tcp.RST, rcv+10, snd, 0)
			s.pause()
		}},
	{Name: "reset-in-window-fin-wait-2", About: "a forged RST, in the window but not exact, in FIN_WAIT_2 of a socket that its application holds open: a challenge ACK",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A F a r A",
		Run: func(s *Scene) { s.resetFinWait2((*Socket).CloseWrite) }},
	{Name: "reset-in-window-orphan", About: "a forged RST, in the window but not exact, in FIN_WAIT_2 of a socket that its application has closed: it ends in silence",
		States: "(CLOSED)/(CLOSE_WAIT)", History: "S s A F a r",
		Run: func(s *Scene) {
			c, d := s.resetFinWait2((*Socket).Close)
			s.Undecidable(c, "Linux ends an orphan in FIN_WAIT_2 at any RST in the window; whether it is an orphan is not on the wire")
			s.Undecidable(d, forgedFrom)
		}},
	{Name: "reset-in-window-close-wait", About: "a forged RST, in the window but not exact, in CLOSE_WAIT: a challenge ACK",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A F a R a",
		Run: func(s *Scene) {
			c, d := s.Open()
			c.CloseWrite()
			s.pause()
			snd, rcv := d.Seqs()
			s.Client.Inject(Tuple{c.Local, c.Peer}, tcp.RST, rcv+10, snd, 0)
			s.pause()
		}},
	{Name: "syn-in-window", About: "a forged SYN inside an open connection: a challenge ACK, and the connection lives",
		States: "(ESTABLISHED)/ESTABLISHED", History: "S s A D.* S a",
		Run: func(s *Scene) {
			c, _ := s.forge(10, tcp.SYN)
			s.Undecidable(c, "the SYN was forged in the name of this end")
			s.pause()
		}},
	{Name: "syn-in-window-then-data", About: "a forged SYN inside an open connection, which then goes on",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* S a D a",
		Run: func(s *Scene) { c, _ := s.forge(10, tcp.SYN); s.pause(); c.Send(100); s.pause() }},
	{Name: "fin-out-of-window", About: "a forged FIN far out of the window is answered by an ACK and otherwise ignored",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* F a.*",
		Run: func(s *Scene) { s.forge(1<<30, tcp.FIN|tcp.ACK); s.pause() }},
	{Name: "fin-forged-ahead", About: "a forged FIN in the window but ahead of the data: it is kept, not taken",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* F a.*",
		Run: func(s *Scene) { s.forge(10, tcp.FIN|tcp.ACK); s.pause() }},
	{Name: "ack-of-unsent-data", About: "a forged ACK of data that was never sent is ignored",
		States: "ESTABLISHED/ESTABLISHED",
		Run: func(s *Scene) {
			c, d := s.Open()
			talk(c, d)
			s.pause()
			snd, rcv := c.Seqs()
			s.Client.Inject(Tuple{c.Local, c.Peer}, tcp.ACK, snd, rcv+100_000, 0)
			s.pause()
		}},
	{Name: "time-wait-reset", About: "a forged RST, exact, ends the client's TIME_WAIT",
		States: "CLOSED/CLOSED", History: "S s A F a f A r",
		Run: func(s *Scene) { s.resetTimeWait(0) }},
	{Name: "time-wait-reset-inexact", About: "a forged RST, in the window but not exact, leaves the client's TIME_WAIT alone",
		States: "TIME_WAIT/CLOSED", History: "S s A F a f A r",
		Run: func(s *Scene) { s.resetTimeWait(10) }},
	{Name: "syn-sent-reset-unacceptable", About: "a forged RST that does not acknowledge the SYN leaves SYN_SENT alone",
		States: "SYN_SENT/CLOSED", History: "S r( S)*",
		Run: func(s *Scene) {
			s.Listen(16)
			s.Server.Drop(syn)
			c := s.Client.Connect(s.Service())
			s.Server.Inject(Tuple{c.Peer, c.Local}, tcp.RST|tcp.ACK, 0, 12345, 0)
			s.Sleep(1500 * time.Millisecond)
		}},
}

const forgedFrom = "the RST was forged in the name of this end"

// resetFinWait2 ends the client's direction and injects a RST that is in its window but not exact.
func (s *Scene) resetFinWait2(end func(*Socket)) (client, server *Socket) {
	client, server = s.Open()
	snd, rcv := client.Seqs()
	tuple := Tuple{client.Peer, client.Local}
	end(client)
	s.pause()
	s.Server.Inject(tuple, tcp.RST, rcv+10, snd+1, 0)
	s.pause()
	return client, server
}

// resetTimeWait closes a connection, the client first, and injects a RST at an offset to the exact sequence number.
func (s *Scene) resetTimeWait(offset uint32) {
	c, d := s.Open()
	snd, rcv := c.Seqs()
	c.Close()
	s.pause()
	d.Close()
	s.pause()
	s.Server.Inject(Tuple{c.Peer, c.Local}, tcp.RST, rcv+1+offset, snd+1, 0)
	s.pause()
}

// forge opens a connection, lets it talk, and injects a segment in the client's name, at an offset to the exact
// sequence number.
func (s *Scene) forge(offset int, flags tcp.Flags) (client, server *Socket) {
	client, server = s.Open()
	talk(client, server)
	s.pause()
	snd, rcv := client.Seqs()
	s.Client.Inject(Tuple{client.Local, client.Peer}, flags, snd+uint32(offset), rcv, 0)
	return client, server
}

var fastOpens = []Scenario{
	{Name: "fast-open", About: "the first connection fetches a cookie; the second carries data in its SYN",
		States: "ESTABLISHED/ESTABLISHED, TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			s.cookie()
			c, _ := s.fastOpened()
			c.Recv(1000)
			s.pause()
		}},
	{Name: "fast-open-early-answer", About: "the server answers the data in the SYN before the handshake's ACK, which is lost",
		States: "ESTABLISHED/SYN_RCVD, TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			s.cookie()
			s.Server.Drop(notSyn)
			s.fastOpened()
			s.repeats()
		}},
	{Name: "fast-open-early-close", About: "the server answers and closes before the handshake's ACK, which is lost",
		States: "CLOSE_WAIT/FIN_WAIT_1, TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			s.cookie()
			s.Server.Drop(notSyn)
			_, d := s.fastOpened()
			d.Close()
			s.repeats()
		}},
	{Name: "fast-open-data-refused", About: "the server does not know the cookie any more: it acknowledges the SYN without its data, which is sent again",
		States: "ESTABLISHED/ESTABLISHED, TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			s.cookie()
			s.Server.Sysctl("net.ipv4.tcp_fastopen_key", "12345678-12345678-12345678-12345678")
			c, _ := s.fastOpened()
			c.Recv(1000)
			s.pause()
		}},
	{Name: "fast-open-syn-lost", About: "the SYN with data is lost and repeated without it",
		States: "ESTABLISHED/ESTABLISHED, TIME_WAIT/CLOSED",
		Run: func(s *Scene) {
			s.cookie()
			s.Server.DropFirst(1, syn)
			s.fastOpened()
			s.pause()
		}},
}

// cookie opens and closes a connection that leaves the client with the server's Fast Open cookie.
func (s *Scene) cookie() {
	const clientAndServer = "3"
	s.Client.Sysctl("net.ipv4.tcp_fastopen", clientAndServer)
	s.Server.Sysctl("net.ipv4.tcp_fastopen", clientAndServer)
	s.Listen(16, Opt(unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16))
	c := s.Client.DialFast(s.Service(), 50)
	d := s.Accept()
	d.Recv(50)
	c.Close()
	d.RecvEOF()
	d.Close()
	s.pause()
}

// fastOpened opens a connection whose SYN carries data, which the server answers.
func (s *Scene) fastOpened() (client, server *Socket) {
	client = s.Client.DialFast(s.Service(), 200)
	server = s.Accept()
	server.Recv(200)
	server.Send(1000)
	return client, server
}

var families = []Scenario{
	{Name: "ipv6-established", About: "a request and a response over IPv6",
		States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* d.*",
		Run: func(s *Scene) { talk(s.open6()); s.pause() }},
	{Name: "ipv6-close", About: "both close, over IPv6",
		States: "TIME_WAIT/CLOSED", History: "S s A D.* d.* F.* f A",
		Run: func(s *Scene) {
			c, d := s.open6()
			talk(c, d)
			c.Close()
			s.pause()
			d.Close()
			s.pause()
		}},
	{Name: "ipv6-close-wait", About: "the client closes, the server does not, over IPv6",
		States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A D.* d.* F a",
		Run: func(s *Scene) {
			c, d := s.open6()
			talk(c, d)
			c.Close()
			s.pause()
		}},
	{Name: "ipv6-refused", About: "nothing listens on the port, over IPv6",
		States: "CLOSED/CLOSED", History: "S r",
		Run: func(s *Scene) { s.Client.Connect(s.Service6()); s.pause() }},
}

// open6 opens a connection over IPv6.
func (s *Scene) open6() (client, server *Socket) {
	s.Listener = s.Server.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), s.service), 16)
	client = s.Client.Dial(s.Service6())
	return client, s.Accept()
}
