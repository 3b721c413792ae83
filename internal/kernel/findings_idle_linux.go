package kernel

import (
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// idlers is about connections on which nothing happens for long.
var idlers = []Finding{
	{
		Scenario: Scenario{Name: "stuck-fin-wait-2", About: "the client has ended its direction and waits; the server's data is lost, its abort is challenged, and then nothing reaches the server",
			States: "FIN_WAIT_2/CLOSED", History: "S s A D.* F a d r A A",
			Run: func(s *Scene) {
				c, d := s.Open(RcvBuf(4096))
				talk(c, d)
				d.Send(3500)
				s.pause()
				c.CloseWrite()
				d.RecvEOF()
				s.pause()
				s.Client.Drop("ip length > 200")
				s.Server.Drop(everything)
				d.Send(500)
				d.Abort()
				s.Sleep(30 * time.Second)
				c.Recv(3500) // late, and so it says that its window has opened
				s.Sleep(94 * time.Second)
			}},
		Expect: []Expected{byServer("stuck_fin_wait_2", warning, web, 1, "the server aborted; its RST was not exact for the client, whose challenge ACK was dropped")},
	},
	{
		Scenario: Scenario{Name: "half-closed-download", About: "clients end their direction with the request, and the answers take minutes: data flows all the time",
			States: "FIN_WAIT_2/CLOSE_WAIT, TIME_WAIT/CLOSED",
			Run: func(s *Scene) {
				crew := s.crew()
				s.Listen(16)
				for n, packets := range [...]int{62, 40} {
					c, d := s.Open()
					c.Send(200)
					d.Recv(200)
					c.CloseWrite()
					crew.at(0, func() {
						for range packets {
							d.Send(1000)
							c.Recv(1000)
							s.Sleep(2 * time.Second)
						}
						if n > 0 {
							d.Close()
							c.RecvEOF()
							c.Close()
						}
					})
				}
				crew.wait()
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "reset-after-idle-firewall", About: "a stateful firewall in front of the server forgets idle connections after 30 s, and answers what follows with RST",
			States: "CLOSED/(ESTABLISHED) ×2", History: "S s A D.* D r",
			Run: func(s *Scene) {
				s.Server.Sysctl("net.netfilter.nf_conntrack_tcp_loose", "0")
				s.Server.Command("table inet firewall {\n chain in {\n  type filter hook input priority 0\n"+
					"  tcp dport 80 ct state invalid reject with tcp reset\n }\n}\n", "nft", "-f", "-")
				s.Server.Sysctl("net.netfilter.nf_conntrack_tcp_timeout_established", "30")
				var clients []*Socket
				for range 2 {
					c, d := s.Open()
					talk(c, d)
					clients = append(clients, c)
					s.Undecidable(d, "the RST is the firewall's, sent in the name of this end")
				}
				s.Sleep(63 * time.Second)
				for _, c := range clients {
					c.Send(300)
				}
				s.pause()
			}},
		At:     "client",
		Expect: []Expected{byServer("reset_after_idle", warning, web, 2, "a firewall in front of the server had forgotten the connections when the client spoke again")},
	},
	{
		Scenario: Scenario{Name: "reset-after-idle-restart", About: "the server restarts while its clients are idle; after more than a minute data, and a keep-alive probe, are answered by RST",
			States: "CLOSED/CLOSED ×2",
			Run: func(s *Scene) {
				a, x := s.Open()
				talk(a, x)
				b, y := s.Open(keepAlive(63, 10))
				talk(b, y)
				s.pause()
				x.Vanish()
				y.Vanish()
				s.Sleep(62 * time.Second)
				a.Send(300)
				s.Sleep(3 * time.Second)
			}},
		Expect: []Expected{byServer("reset_after_idle", warning, web, 2, "the server's sockets were destroyed; its kernel answers what follows by RST")},
	},
	{
		Scenario: Scenario{Name: "idle-then-data", About: "two connections are silent for more than a minute; data, and a keep-alive probe, are then answered",
			States: "ESTABLISHED/ESTABLISHED ×2",
			Run: func(s *Scene) {
				a, x := s.Open()
				talk(a, x)
				talk(s.Open(keepAlive(63, 10)))
				s.Sleep(62 * time.Second)
				talk(a, x)
				s.Sleep(3 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "stuck-close-wait-ipv6", About: "over IPv6, the client closes and the server does not",
			States: "(CLOSED)/CLOSE_WAIT ×2",
			Run: func(s *Scene) {
				a, x := s.open6()
				b, y := s.Client.Dial(s.Service6()), s.Accept()
				for _, ends := range [...][2]*Socket{{a, x}, {b, y}} {
					talk(ends[0], ends[1])
					ends[0].Close()
					ends[1].RecvEOF()
				}
				s.Sleep(64 * time.Second)
			}},
		Expect: []Expected{byServer("stuck_close_wait", warning, netip.MustParseAddrPort("[fd77::2]:80"), 2, "the clients closed, the server's application did not")},
	},
	{
		Scenario: Scenario{Name: "one-sided-client", About: "20 connections, most of them closed, of which the capture holds only what the clients sent",
			Run: oneSided},
		Edit:    without(func(p *Packet, _ int) bool { return p.Src.Port() == 80 }),
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "one-sided-server", About: "20 connections, most of them closed, of which the capture holds only what the server sent",
			Run: oneSided},
		Edit:    without(func(p *Packet, _ int) bool { return p.Dst.Port() == 80 }),
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "long-poll", About: "requests are answered after 65 s",
			States: "ESTABLISHED/ESTABLISHED, TIME_WAIT/CLOSED",
			Run: func(s *Scene) {
				var all [][2]*Socket
				for range 2 {
					c, d := s.Open()
					c.Send(200)
					d.Recv(200)
					all = append(all, [...]*Socket{c, d})
				}
				s.Sleep(65 * time.Second)
				for _, ends := range all {
					ends[1].Send(1000)
					ends[0].Recv(1000)
				}
				all[0][0].Close()
				all[0][1].RecvEOF()
				all[0][1].Close()
				s.pause()
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "web-socket", About: "three connections with pings of the application every 20 s",
			States: "ESTABLISHED/ESTABLISHED ×3",
			Run: func(s *Scene) {
				s.Listen(16)
				crew := s.crew()
				for n := range 3 {
					c, d := s.Open()
					talk(c, d)
					crew.every(20*time.Second, time.Duration(1+n)*time.Second, 82*time.Second, func() {
						c.Send(6)
						d.Recv(6)
						d.Send(6)
						c.Recv(6)
					})
				}
				crew.wait()
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "idle-pool", About: "a pool of 5 idle connections with keep-alive probes every 15 s, one of them in use every 7 s", Service: 8080,
			States: "ESTABLISHED/ESTABLISHED ×5",
			Run: func(s *Scene) {
				s.site(time.Hour, goKeepAlive)
				c := s.browser(goKeepAlive, &http.Transport{MaxIdleConnsPerHost: 5})
				crew := s.crew()
				for range 5 {
					crew.at(0, func() { s.get(c, "/slow/300ms") })
				}
				crew.every(7*time.Second, 7*time.Second, 75*time.Second, func() { s.get(c, "/") })
				crew.wait()
			}},
		Healthy: true,
	},
}

// oneSided makes connections that are closed by either end, or stay in use, and lets more than a minute pass.
func oneSided(s *Scene) {
	var open [][2]*Socket
	for n := range 20 {
		c, d := s.Open()
		talk(c, d)
		switch n % 5 {
		case 0:
			open = append(open, [...]*Socket{c, d})
			continue
		case 1, 2:
			c, d = d, c
		}
		c.Close()
		d.RecvEOF()
		d.Close()
	}
	for range 8 {
		s.Sleep(8 * time.Second)
		for _, ends := range open {
			talk(ends[0], ends[1])
		}
	}
}

// keepAlive probes after a silence, and then at the same interval.
func keepAlive(seconds, count int) Option {
	return func(fd int) error {
		for _, set := range [...]Option{
			Opt(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1), Opt(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds),
			Opt(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds), Opt(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, count),
		} {
			if err := set(fd); err != nil {
				return err
			}
		}
		return nil
	}
}
