package kernel

import (
	"fmt"
	"net/netip"
	"time"

	"tcpleak/tcp"
)

// oddities is about segments that no healthy stack sends, and captures that are not complete.
var oddities = []Finding{
	{
		Scenario: Scenario{Name: "refused-once", About: "nothing listens on the port",
			States: "CLOSED/CLOSED", History: "S r",
			Run: func(s *Scene) { s.Client.Connect(s.Service()); s.pause() }},
		Expect: []Expected{byServer("refused", info, web, 1, "nothing listens on the port")},
	},
	{
		Scenario: Scenario{Name: "refused-again-and-again", About: "nothing listens on the port, and a client tries again 30 times",
			States: "CLOSED/CLOSED ×30", History: "S r",
			Run: func(s *Scene) {
				for n := range 30 {
					s.Client.Connect(s.Service())
					s.Sleep(time.Duration(100+n*67%200) * time.Millisecond)
				}
			}},
		Expect: []Expected{byServer("refused", warning, web, 30, "nothing listens on the port; a retry loop without a backoff")},
	},
	{
		Scenario: Scenario{Name: "aborted-linger", About: "the client aborts an open connection (linger 0)",
			States: "CLOSED/CLOSED", History: "S s A D.* R",
			Run: func(s *Scene) { c, d := s.Open(); talk(c, d); s.pause(); c.Abort(); s.pause() }},
		Expect: []Expected{byClient("aborted", info, clientAddr, web, 1, "the client set SO_LINGER to 0 and closed")},
	},
	{
		Scenario: Scenario{Name: "aborted-unread", About: "the server closes with unread data",
			States: "CLOSED/CLOSED", History: "S s A D.* r",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.pause()
				c.Send(500)
				s.pause()
				d.Close()
				s.pause()
			}},
		Expect: []Expected{byServer("aborted", info, web, 1, "the server closed while 500 octets of the client's waited to be read")},
	},
	{
		Scenario: Scenario{Name: "aborted-data-after-close", About: "the client closes in the middle of a download; the server's next data is answered by RST",
			States: "CLOSED/CLOSED", History: "S s A D a d.* F a d( d)* R( R)*",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				for range 3 {
					d.Send(1000)
					c.Recv(1000)
				}
				s.pause()
				c.Close()
				s.pause()
				d.Send(1000)
				s.pause()
			}},
		Expect: []Expected{byClient("aborted", info, clientAddr, web, 1, "the client closed its socket while the server was still sending")},
	},
	{
		Scenario: Scenario{Name: "aborted-no-socket", About: "the server's socket vanishes; the client's data, a few seconds later, is answered by RST",
			States: "CLOSED/CLOSED", History: "S s A D.* D r",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.Sleep(3 * time.Second)
				d.Vanish()
				c.Send(300)
				s.pause()
			}},
		Expect: []Expected{byServer("aborted", info, web, 1, "the server's socket was destroyed; its kernel answers the client's data by RST, after seconds and not a minute of silence")},
	},
	{
		Scenario: Scenario{Name: "idle", About: "three connections are silent after their first request",
			States: "ESTABLISHED/ESTABLISHED ×3",
			Run: func(s *Scene) {
				for range 3 {
					talk(s.Open())
				}
				s.Sleep(8 * time.Second)
			}},
		Thresholds: map[string]string{"idle": "5s"},
		Expect:     []Expected{byNeither("idle", info, web, 3, "nothing was sent for 8 s")},
	},
	{
		Scenario: Scenario{Name: "path-loss", About: "every tenth data segment into the server is lost",
			States: "TIME_WAIT/CLOSED",
			Run:    func(s *Scene) { s.upload("ip length > 200 numgen inc mod 10 == 9") }},
		Expect: []Expected{byNeither("path_loss", info, web, 1, "every tenth data segment was dropped on the way into the server")},
	},
	{
		Scenario: Scenario{Name: "path-without-loss", About: "the same transfer without loss",
			States: "TIME_WAIT/CLOSED",
			Run:    func(s *Scene) { s.upload("") }},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "capture-gap", About: "a transfer of which the capture missed three data segments in a row",
			States: "TIME_WAIT/CLOSED",
			Run:    func(s *Scene) { s.upload("") }},
		Edit:   without(func(p *Packet, before int) bool { return p.Payload > 0 && 40 <= before && before < 43 }),
		Expect: []Expected{byNeither("capture_gap", info, web, 1, "three data segments were taken out of the file; their ACKs are there")},
	},
	{
		Scenario: Scenario{Name: "capture-gap-scattered", About: "a transfer of which the capture missed three data segments, and some ACKs",
			States: "TIME_WAIT/CLOSED",
			Run:    func(s *Scene) { s.upload("") }},
		Edit: without(func(p *Packet, before int) bool {
			return p.Payload > 0 && (before == 30 || before == 60 || before == 90) || p.Payload == 0 && before > 5 && before%10 == 0 && !p.Flags.Any(tcp.SYN|tcp.FIN)
		}),
		Expect: []Expected{byNeither("capture_gap", info, web, 1, "three data segments were taken out of the file; their ACKs are there")},
	},
	{
		Scenario: Scenario{Name: "blind-reset", About: "forged RSTs in the window, not exact: challenge ACKs, and the connection lives",
			States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* R a R a D.*",
			Run: func(s *Scene) {
				c, d := s.forge(10, tcp.RST)
				s.Sleep(time.Second) // challenge ACKs are rate limited
				snd, rcv := c.Seqs()
				s.Client.Inject(Tuple{c.Local, c.Peer}, tcp.RST, snd+2000, rcv, 0)
				s.pause()
				talk(c, d)
				s.pause()
			}},
		Expect: []Expected{
			byClient("blind_reset", info, clientAddr, web, 1, "two RSTs were forged in the client's name, 10 and 2000 octets ahead of what the server awaits"),
			byServer("challenge_ack", info, web, 1, "the server answers them with challenge ACKs"),
		},
	},
	{
		Scenario: Scenario{Name: "syn-inside", About: "a forged SYN inside an open connection: a challenge ACK, and the connection lives",
			States: "ESTABLISHED/ESTABLISHED", History: "S s A D.* S a D.*",
			Run: func(s *Scene) { c, d := s.forge(10, tcp.SYN); s.pause(); talk(c, d); s.pause() }},
		Expect: []Expected{
			byClient("syn_inside", info, clientAddr, web, 1, "a SYN was forged in the client's name"),
			byServer("challenge_ack", info, web, 1, "the server answers it with a challenge ACK"),
		},
	},
	{
		Scenario: Scenario{Name: "invalid-flags-nmap", About: "nmap -sX and -sN of an open port: FIN+PSH+URG, and no flags at all",
			Run: func(s *Scene) {
				s.doors()
				s.nmap("-sX", "-p", "80", serverAddr.String())
				s.nmap("-sN", "-p", "80", serverAddr.String())
			}},
		Expect: []Expected{byClient("invalid_flags", info, clientAddr, web, 4, "nmap sent each of the two probes twice, from different ports")},
		Crowd:  true,
	},
	{
		Scenario: Scenario{Name: "invalid-flags-inside", About: "segments with SYN+FIN, with FIN+PSH+URG and with no flags are forged inside an open connection",
			States: "ESTABLISHED/ESTABLISHED",
			Run: func(s *Scene) {
				c, d := s.forge(1<<30, tcp.SYN|tcp.FIN)
				snd, rcv := c.Seqs()
				for _, flags := range [...]tcp.Flags{tcp.FIN | tcp.PSH | tcp.URG, 0} {
					s.pause()
					s.Client.Inject(Tuple{c.Local, c.Peer}, flags, snd+1<<30, rcv, 0)
				}
				s.pause()
				talk(c, d)
				s.pause()
			}},
		Expect: []Expected{byClient("invalid_flags", info, clientAddr, web, 1, "three segments with impossible flags were forged in the client's name, far out of the window")},
	},
	{
		Scenario: Scenario{Name: "data-after-fin", About: "data is forged in the name of a client that has ended its direction",
			States: "FIN_WAIT_2/CLOSE_WAIT", History: "S s A D.* F a D.*",
			Run: func(s *Scene) {
				c, d := s.Open()
				talk(c, d)
				s.pause()
				snd, rcv := c.Seqs()
				c.CloseWrite()
				s.pause()
				s.Client.Inject(Tuple{c.Local, c.Peer}, tcp.ACK|tcp.PSH, snd+1, rcv, 100)
				s.pause()
			}},
		Expect: []Expected{byClient("data_after_fin", info, clientAddr, web, 1, "100 octets after its FIN were forged in the client's name")},
	},
	{
		Scenario: Scenario{Name: "port-reused", About: "a client connects three times from the same port, while the server is in TIME_WAIT",
			States: "CLOSED/TIME_WAIT", History: "S s A D.* f A F a S s A D.* f A F a S s A D.* f A F a",
			Run: func(s *Scene) {
				s.Listen(16)
				from := s.Client.Ephemeral(s.Service())
				for range 3 {
					c := s.Client.DialFrom(from, s.Service())
					d := s.Accept()
					talk(c, d)
					d.Close()
					s.pause()
					c.Close()
					s.pause()
				}
			}},
		Expect: []Expected{byClient("port_reused", info, clientAddr, web, 2, "the client binds the same port again while the server is in TIME_WAIT").upTo(3)},
	},
	{
		Scenario: Scenario{Name: "several-at-once", About: "four things go wrong at one server at the same time, among connections that are well",
			Run: func(s *Scene) {
				behindFirewall, unreachable := netip.MustParseAddr("10.77.0.9"), netip.MustParseAddr("10.77.0.8")
				s.Client.AddAddress(behindFirewall)
				s.Client.AddAddress(unreachable)
				s.Client.Drop(synAck + " ip daddr " + behindFirewall.String())
				s.Listen(16)
				crew := s.crew()
				crew.at(0, func() { // a client that the server cannot reach any more
					for n := range 2 {
						local := netip.AddrPortFrom(unreachable, uint16(40100+n))
						c := s.Client.DialFrom(local, s.Service())
						d := s.Accept()
						talk(c, d)
						s.Client.Drop(fmt.Sprintf("ip daddr %v tcp dport %d", unreachable, local.Port()))
						d.Close()
					}
				})
				crew.at(0, func() { // a port on which nothing listens
					for range 40 {
						s.Client.Connect(netip.AddrPortFrom(s.Server.V4, 81))
						s.Sleep(300 * time.Millisecond)
					}
				})
				for n := range 3 { // a client that sees no SYN-ACK
					crew.at(time.Duration(6+n)*time.Second, func() {
						s.Client.ConnectFrom(netip.AddrPortFrom(behindFirewall, uint16(40200+n)), s.Service())
					})
				}
				crew.at(time.Second, func() { // a server that does not read, on another port
					s.Server.Listen(netip.AddrPortFrom(s.Server.V4, 8080), 4, RcvBuf(4096))
					fill(s.Client.Dial(netip.AddrPortFrom(s.Server.V4, 8080)))
				})
				crew.at(2*time.Second, func() { // connections that are well
					for range 20 {
						c, d := s.Open()
						talk(c, d)
						c.Close()
						d.RecvEOF()
						d.Close()
						s.Sleep(500 * time.Millisecond)
					}
				})
				crew.wait()
				s.Sleep(time.Second)
			}},
		Expect: []Expected{
			byClient("stuck_fin_wait_1", warning, netip.MustParseAddr("10.77.0.8"), web, 2, "everything was dropped on the way into the client before the server closed"),
			byServer("refused", warning, netip.AddrPortFrom(serverAddr, 81), 40, "nothing listens on the port; a retry loop without a backoff"),
			byClient("half_open_handshake", warning, netip.MustParseAddr("10.77.0.9"), web, 3, "SYN-ACKs were dropped on the way into the client"),
			byServer("zero_window", warning, app, 1, "the server's application never reads what the client sends"),
		},
	},
	{
		Scenario: Scenario{Name: "health-checks", About: "a load balancer's health checks: 30 connections that are aborted as soon as they are open, among requests",
			Run: func(s *Scene) {
				for n := range 30 {
					c, d := s.Open()
					c.Abort()
					s.Sleep(200 * time.Millisecond)
					d.Close()
					if n%5 == 0 {
						c, d := s.Open()
						talk(c, d)
						c.Close()
						d.RecvEOF()
						d.Close()
					}
				}
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "reset-instead-of-fin", About: "the server closes after its answer, and the client, which has read it, resets: 10 times",
			States: "CLOSED/CLOSED ×10", History: "S s A D.* f A? ?R",
			Run: func(s *Scene) {
				for range 10 {
					c, d := s.Open()
					talk(c, d)
					d.Close()
					c.RecvEOF()
					c.Abort()
					s.Sleep(200 * time.Millisecond)
				}
				s.Sleep(3 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "closed-normally", About: "20 connections, closed by either end: TIME_WAIT is what is left",
			Run: func(s *Scene) {
				for n := range 20 {
					c, d := s.Open()
					talk(c, d)
					if n%2 == 0 {
						c, d = d, c
					}
					c.Close()
					d.RecvEOF()
					d.Close()
					s.Sleep(50 * time.Millisecond)
				}
				s.Sleep(3 * time.Second)
			}},
		Healthy: true,
	},
}

// upload moves 200 kB to the server, which may lose some of the packets, and closes in good order.
func (s *Scene) upload(lose string) {
	const size = 200_000
	c, d := s.Open()
	if lose != "" {
		s.Server.Drop(lose)
	}
	go Try(func() { c.Send(size) })
	d.Recv(size)
	s.Server.Admit()
	c.Close()
	d.RecvEOF()
	d.Close()
	s.Sleep(time.Second)
}
