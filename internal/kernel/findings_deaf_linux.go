package kernel

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/tcp"
)

// deaf is about segments that do not arrive, and queues that nobody empties.
var deaf = []Finding{
	{
		Scenario: Scenario{Name: "half-open-handshake", About: "a firewall on the client's side drops every SYN-ACK",
			States: "SYN_SENT/SYN_RCVD ×2", History: "S s( S s| s| S)+",
			Run: func(s *Scene) {
				s.Listen(16)
				s.Client.Drop(synAck)
				s.Client.Connect(s.Service())
				s.Client.Connect(s.Service())
				s.Sleep(5 * time.Second)
			}},
		Expect: []Expected{byClient("half_open_handshake", warning, clientAddr, web, 2, "SYN-ACKs were dropped on the way into the client")},
	},
	{
		Scenario: Scenario{Name: "half-open-handshake-client-gone", About: "the client is gone when the SYN-ACK comes, and its host is silent",
			States: "(CLOSED)/SYN_RCVD", History: "S s s s( s)*",
			Run: func(s *Scene) {
				s.Listen(16)
				from := s.Client.Ephemeral(s.Service())
				s.Undecidable(&Socket{Local: from, Peer: s.Service()}, "the host is gone and says nothing")
				s.Client.Drop(everything)
				s.Client.Inject(Tuple{from, s.Service()}, tcp.SYN, 1_000_000, 0, 0)
				s.Sleep(5 * time.Second)
			}},
		Expect: []Expected{byClient("half_open_handshake", warning, clientAddr, web, 1, "one SYN was sent by a host that does not answer any more")},
	},
	{
		Scenario: Scenario{Name: "unanswered-syn", About: "a firewall on the server's side drops every SYN",
			States: "SYN_SENT/CLOSED ×3", History: "S S S( S)*",
			Run: func(s *Scene) {
				s.Listen(16)
				s.Server.Drop(syn)
				for range 3 {
					s.Client.Connect(s.Service())
				}
				s.Sleep(5 * time.Second)
			}},
		Expect: []Expected{byServer("unanswered_syn", warning, web, 3, "SYNs were dropped on the way into the server")},
	},
	{
		Scenario: Scenario{Name: "unanswered-syn-one-source", About: "a firewall on the server's side drops the SYNs of one client; others are served",
			States: "ESTABLISHED/ESTABLISHED ×4, SYN_SENT/CLOSED ×2",
			Run: func(s *Scene) {
				banned := netip.MustParseAddr("10.77.0.9")
				s.Client.AddAddress(banned)
				s.Server.Drop(syn + " ip saddr " + banned.String())
				for range 2 {
					talk(s.Open())
				}
				s.Client.ConnectFrom(netip.AddrPortFrom(banned, 40101), s.Service())
				s.Client.ConnectFrom(netip.AddrPortFrom(banned, 40102), s.Service())
				for range 2 {
					s.Sleep(2500 * time.Millisecond)
					talk(s.Open())
				}
				s.pause()
			}},
		Expect: []Expected{byServer("unanswered_syn", warning, web, 2, "SYNs of 10.77.0.9 were dropped on the way into the server, which answers others")},
	},
	{
		Scenario: Scenario{Name: "slow-handshake-syn", About: "the first SYN of each of two clients is lost",
			States: "ESTABLISHED/ESTABLISHED ×2", History: "S S s A D.*",
			Run: func(s *Scene) {
				for range 2 {
					s.Server.Rules()
					s.Server.DropFirst(1, syn)
					talk(s.Open())
				}
				s.Sleep(4 * time.Second)
			}},
		Expect: []Expected{byNeither("slow_handshake", info, web, 2, "the first SYN was dropped on the way into the server, the second was not")},
	},
	{
		Scenario: Scenario{Name: "slow-handshake-syn-ack", About: "the first SYN-ACK for each of two clients is lost",
			States: "ESTABLISHED/ESTABLISHED ×2", History: "S s[Ss ]* A A?.*",
			Run: func(s *Scene) {
				for range 2 {
					s.Client.Rules()
					s.Client.DropFirst(1, synAck)
					talk(s.Open())
				}
				s.Sleep(4 * time.Second)
			}},
		Expect: []Expected{byNeither("slow_handshake", info, web, 2, "the first SYN-ACK was dropped on the way into the client, the second was not")},
	},
	{
		Scenario: Scenario{Name: "handshake-ack-lost-once", About: "one ACK of a handshake is lost; the SYN-ACK is repeated and answered: no queue is full",
			States: "ESTABLISHED/ESTABLISHED ×6", History: "S s A s A.*",
			Run: func(s *Scene) {
				s.Server.DropFirst(1, pureAck)
				for range 6 {
					s.Open()
				}
				s.Sleep(4 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "deferred-accept", About: "a server with TCP_DEFER_ACCEPT and clients that take their time: SYN-ACKs are repeated, and no queue is full",
			States: "ESTABLISHED/ESTABLISHED ×3", History: "S s A s A D.*",
			Run: func(s *Scene) {
				clients := make(map[netip.AddrPort]*Socket)
				s.Listen(16, Opt(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1))
				for range 3 {
					c := s.Client.Dial(s.Service())
					clients[c.Local] = c
				}
				s.Sleep(4 * time.Second)
				for range clients {
					d := s.Accept() // whose SYN-ACK was repeated first is not known
					talk(clients[d.Peer], d)
				}
				s.pause()
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "accept-queue-full", About: "the server does not accept, and its clients wait for it to speak first",
			States: "ESTABLISHED/ESTABLISHED ×9, ESTABLISHED/SYN_RCVD ×7",
			Run:    func(s *Scene) { s.overflow(); s.Sleep(6 * time.Second) }},
		Expect: []Expected{byServer("accept_queue_full", critical, web, 7, queueWhy)},
	},
	{
		Scenario: Scenario{Name: "accept-queue-full-data", About: "the server does not accept, and its clients send requests",
			States: "ESTABLISHED/ESTABLISHED ×9, ESTABLISHED/SYN_RCVD ×7",
			Run: func(s *Scene) {
				for _, c := range s.overflow() {
					c.Send(200)
				}
				s.Sleep(6 * time.Second)
			}},
		Expect: []Expected{byServer("accept_queue_full", critical, web, 7, queueWhy)},
	},
	{
		Scenario: Scenario{Name: "accept-queue-full-late-syns", About: "the server does not accept; while its queue is full, it ignores more SYNs",
			States: "ESTABLISHED/ESTABLISHED ×9, ESTABLISHED/SYN_RCVD ×7, SYN_SENT/CLOSED ×3",
			Run: func(s *Scene) {
				s.overflow()
				s.Sleep(1500 * time.Millisecond)
				for range 3 {
					s.Client.Connect(s.Service())
				}
				s.Sleep(4500 * time.Millisecond)
			}},
		Expect: []Expected{byServer("accept_queue_full", critical, web, 7, queueWhy+"; that 3 SYNs came too late has the same cause").upTo(10)},
	},
	{
		Scenario: Scenario{Name: "accept-queue-keeps-up", About: "as many clients at once, and a server that accepts them",
			States: "ESTABLISHED/ESTABLISHED ×16",
			Run: func(s *Scene) {
				s.Listen(64)
				clients := s.rush(16)
				for range clients {
					d := s.Accept()
					go Try(func() { d.Recv(200); d.Send(1000) })
				}
				for _, c := range clients {
					c.Send(200)
				}
				for _, c := range clients {
					c.Recv(1000)
				}
				s.Sleep(6 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "stuck-fin-wait-1", About: "nothing reaches the server any more, and the client closes",
			States: "FIN_WAIT_1/ESTABLISHED ×2", History: "S s A D.* F F F( F)+",
			Run: func(s *Scene) {
				a, d := s.Open()
				talk(a, d)
				b, e := s.Open()
				talk(b, e)
				s.pause()
				s.Server.Drop(everything)
				a.Close()
				b.Close()
				s.Sleep(13 * time.Second)
			}},
		Expect: []Expected{byServer("stuck_fin_wait_1", warning, web, 2, "everything was dropped on the way into the server before the client closed")},
	},
	{
		Scenario: Scenario{Name: "stuck-last-ack", About: "the client closes and is unreachable when the server closes too",
			States: "FIN_WAIT_2/LAST_ACK", History: "S s A D.* F a f f f( f)+",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.pause()
				c.Close()
				s.pause()
				s.Client.Drop(everything)
				d.Close()
				s.Sleep(13 * time.Second)
			}},
		Expect: []Expected{byClient("stuck_last_ack", warning, clientAddr, web, 1, "everything was dropped on the way into the client before the server closed")},
	},
	{
		Scenario: Scenario{Name: "stuck-closing", About: "both close at once; the client's FIN does not reach the server, which then is gone",
			States: "CLOSING/(CLOSED)",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.pause()
				s.Server.Drop(everything)
				s.Clog()
				c.Close()
				d.CloseWrite()
				s.pause()
				s.Undecidable(d, "the host is gone and says nothing")
				d.Vanish()
				s.Sleep(13 * time.Second)
			}},
		Expect: []Expected{byServer("stuck_closing", warning, web, 1, "the FINs crossed, and everything was dropped on the way into the server, which vanished after its FIN")},
	},
	{
		Scenario: Scenario{Name: "stuck-closing-path", About: "both close at once; every ACK of the client's FIN is lost on the way back",
			States: "CLOSING/TIME_WAIT",
			Run: func(s *Scene) {
				s.crossedFINs(clientOnly)
				s.Sleep(13 * time.Second)
			}},
		Expect: []Expected{byNeither("stuck_closing", warning, web, 1, "the FINs crossed; the server acknowledges each, and the ACKs are dropped on the way into the client")},
	},
	{
		Scenario: Scenario{Name: "slow-close", About: "FINs are lost twice in each of the states that wait for an ACK, and then arrive",
			States: "CLOSED/TIME_WAIT, TIME_WAIT/CLOSED ×2",
			Run: func(s *Scene) {
				s.Server.DropFirst(2, fin) // in FIN_WAIT_1
				c, d := s.Open()
				talk(c, d)
				c.Close()
				d.RecvEOF()
				d.Close()
				s.Client.DropFirst(2, fin) // in FIN_WAIT_1, of the server
				c, d = s.Open()
				talk(c, d)
				d.Close()
				c.RecvEOF()
				c.Close()
				s.pause()
				c, d = s.Open()
				talk(c, d)
				c.Close()
				d.RecvEOF()
				s.pause()
				s.Client.Rules()
				s.Client.DropFirst(2, fin) // in LAST_ACK
				d.Close()
				s.Sleep(13 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "half-open-data", About: "the server crashes, its host with it; the client's data is repeated and never answered",
			States: "ESTABLISHED/(CLOSED)", History: "S s A D.* D D D( D)+",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.pause()
				s.Server.Drop(everything)
				s.vanish(d)
				c.Send(300)
				s.Sleep(8 * time.Second)
			}},
		Expect: []Expected{byServer("half_open", warning, web, 1, "the server's socket was destroyed and everything was dropped on the way into its host, then the client sent data")},
	},
	{
		Scenario: Scenario{Name: "half-open-keep-alive", About: "the server crashes, its host with it; the client's keep-alive probes are never answered",
			States: "ESTABLISHED/(CLOSED) ×2", History: "S s A D.* A A A( A)+",
			Run: func(s *Scene) {
				var ends []*Socket
				for range 2 {
					c, d := s.Open(KeepAlive(9))
					talk(c, d)
					ends = append(ends, d)
				}
				s.pause()
				s.Server.Drop(everything)
				for _, d := range ends {
					s.vanish(d)
				}
				s.Sleep(8 * time.Second)
			}},
		Expect: []Expected{byServer("half_open", warning, web, 2, "the server's sockets were destroyed and everything was dropped on the way into its host; the clients probe every second")},
	},
	{
		Scenario: Scenario{Name: "half-open-client-gone", About: "the client crashes, its host with it; the server's data is repeated and never answered",
			States: "(CLOSED)/ESTABLISHED",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.pause()
				s.Client.Drop(everything)
				s.vanish(c)
				d.Send(300)
				s.Sleep(8 * time.Second)
			}},
		Expect: []Expected{byClient("half_open", warning, clientAddr, web, 1, "the client's socket was destroyed and everything was dropped on the way into its host, then the server sent data")},
	},
	{
		Scenario: Scenario{Name: "keep-alive-answered", About: "keep-alive probes every second, each answered",
			States: "ESTABLISHED/ESTABLISHED ×2",
			Run: func(s *Scene) {
				talk(s.Open(KeepAlive(9)))
				_, d := s.Open()
				d.Set(KeepAlive(9))
				s.Sleep(8 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "data-repeated-then-answered", About: "data is lost twice in each direction, and then arrives",
			States: "ESTABLISHED/ESTABLISHED",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.pause()
				s.Server.DropFirst(2, "tcp flags psh")
				c.Send(300)
				d.Recv(300)
				s.Client.DropFirst(2, "tcp flags psh")
				d.Send(300)
				c.Recv(300)
				s.Sleep(6 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "zero-window-server", About: "the server's application does not read; the client probes its zero window",
			States: "ESTABLISHED/ESTABLISHED",
			Run:    func(s *Scene) { s.stalled(); s.Sleep(8 * time.Second) }},
		Expect: []Expected{byServer("zero_window", warning, web, 1, "the server's application never reads what the client sends")},
	},
	{
		Scenario: Scenario{Name: "zero-window-client", About: "the client stops reading in the middle of a download; the server probes its zero window",
			States: "ESTABLISHED/ESTABLISHED",
			Run: func(s *Scene) {
				c, d := s.Open(RcvBuf(4096))
				c.Send(200)
				d.Recv(200)
				fill(d)
				s.Sleep(8 * time.Second)
			}},
		Expect: []Expected{byClient("zero_window", warning, clientAddr, web, 1, "the client's application never reads what the server sends")},
	},
	{
		Scenario: Scenario{Name: "zero-window-for-a-moment", About: "the server's application reads after a second of zero window, several times; the transfer ends well",
			States: "TIME_WAIT/CLOSED",
			Run: func(s *Scene) {
				c, d := s.stalled()
				for range 5 {
					s.Sleep(time.Second)
					d.Drain()
					s.pause() // what waited for the window arrives
					d.Drain()
					s.pause()
					fill(c)
				}
				c.CloseWrite()
				d.RecvEOF()
				d.Close()
				c.RecvEOF()
				c.Close()
				s.pause()
			}},
		Healthy: true,
	},
}

const queueWhy = "8 clients connected at once while the accept queue of a server that does not accept had room for 1"

// rush opens connections whose SYNs are all on their way before the first is answered.
func (s *Scene) rush(n int) (clients []*Socket) {
	for range n {
		clients = append(clients, s.Client.Bound(s.Client.Ephemeral(s.Service()), s.Service()))
	}
	s.Clog()
	for _, c := range clients {
		c.Connect()
	}
	s.Sleep(500 * time.Millisecond)
	return clients
}

// overflow fills the accept queue but for one place, then lets 8 more clients connect at once.
func (s *Scene) overflow() (late []*Socket) {
	const backlog = 8 // Linux keeps one more than asked for
	s.Listen(backlog)
	for range backlog {
		s.Client.Dial(s.Service())
	}
	return s.rush(backlog)
}

// fill sends until the peer's window and the own buffer take no more for a while.
func fill(s *Socket) {
	for range 20 {
		s.TrySend(1000)
		time.Sleep(10 * time.Millisecond)
	}
}
