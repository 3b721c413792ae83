package kernel

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"tcpleak/tcp"
)

// own gives the host all addresses of a prefix. It stands for as many hosts.
func (h *Host) own(prefix netip.Prefix) {
	h.Command("", "ip", "route", "add", "local", prefix.String(), "dev", "lo")
	h.Peer().Command("", "ip", "route", "add", prefix.String(), "via", h.V4.String(), "dev", Device)
}

// crowds is about one client with many connections, and many clients.
var crowds = []Finding{
	{
		Scenario: Scenario{Name: "time-wait-pressure", About: "a client opens and closes 1,100 connections to one port within seconds: its ends are in TIME_WAIT",
			Run: func(s *Scene) { s.short(1100, clientFirst) }},
		Thresholds: map[string]string{"time_wait_pressure": "1000"},
		Expect:     []Expected{byClient("time_wait_pressure", warning, clientAddr, web, 1100, "the client closes each of its connections first, and opens a new one for each request")},
		Crowd:      true, Edit: snap(64),
	},
	{
		Scenario: Scenario{Name: "time-wait-at-server", About: "as many connections, closed by the server: TIME_WAIT is at the server, where it costs no ports",
			Run: func(s *Scene) { s.short(1100, serverFirst) }},
		Thresholds: map[string]string{"time_wait_pressure": "1000"},
		Healthy:    true, Crowd: true, Edit: snap(64),
	},
	{
		Scenario: Scenario{Name: "churn", About: "a Go client opens a connection for each of 720 requests, 60 a second", Service: 8080,
			Run: func(s *Scene) { s.requests(&http.Transport{DisableKeepAlives: true}) }},
		Expect: []Expected{byClient("churn", info, clientAddr, app, requests, "DisableKeepAlives: one connection for each request, 60 a second for 12 s")},
		Crowd:  true,
	},
	{
		Scenario: Scenario{Name: "churn-pooled", About: "as many requests through a pool", Service: 8080,
			Run: func(s *Scene) { s.requests(&http.Transport{MaxIdleConnsPerHost: 8, MaxConnsPerHost: 8}) }},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "syn-flood", About: "200 SYNs from as many forged addresses, while 10 clients are served",
			Run: func(s *Scene) {
				s.Server.Sysctl("net.ipv4.tcp_max_syn_backlog", "1024")
				s.Listen(1024)
				s.flood(200)
			}},
		Expect: []Expected{byClient("syn_flood", critical, netip.Addr{}, web, 200, "SYNs with forged sources; the SYN-ACKs go nowhere")},
		Crowd:  true,
	},
	{
		Scenario: Scenario{Name: "syn-flood-cookies", About: "300 SYNs from as many forged addresses; the server answers with SYN cookies and keeps no state, while 10 clients are served",
			Run: func(s *Scene) {
				s.Server.Sysctl("net.ipv4.tcp_syncookies", "1")
				s.Listen(16)
				s.flood(300)
			}},
		Expect: []Expected{byClient("syn_flood", critical, netip.Addr{}, web, 300, "SYNs with forged sources; the SYN-ACKs go nowhere")},
		Crowd:  true,
	},
	{
		Scenario: Scenario{Name: "many-clients", About: "200 clients connect within a second, and are served",
			Run: func(s *Scene) {
				s.Client.own(forged)
				s.Listen(1024)
				served := s.acceptAll(200)
				crew := s.crew()
				for n := range 200 {
					crew.at(time.Duration(n)*5*time.Millisecond, func() {
						c := s.Client.DialFrom(source(n), s.Service())
						talk(c, served(c.Local))
					})
				}
				crew.wait()
				s.Sleep(6 * time.Second)
			}},
		Healthy: true, Crowd: true,
	},
	{
		Scenario: Scenario{Name: "port-scan-syn", About: "nmap -sS of 120 ports of the server, of which 2 listen",
			Run: func(s *Scene) {
				s.doors()
				s.scan("port_scan", "ports 22 and 80 listen, the others refuse", "-sS", "-p", "1-120", serverAddr.String())
			}},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "port-scan-connect", About: "nmap -sT of 120 ports of the server, of which 2 listen",
			Run: func(s *Scene) {
				s.doors()
				s.scan("port_scan", "ports 22 and 80 listen, the others refuse", "-sT", "-p", "1-120", serverAddr.String())
			}},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "port-scan-firewalled", About: "nmap -sS of 120 ports of the server, of which 2 listen; a firewall drops the SYNs to the others",
			Run: func(s *Scene) {
				s.doors()
				s.Server.Drop(syn + " tcp dport != { 22, 80 }")
				s.scan("port_scan", "118 ports do not answer, and are asked again from another port", "-sS", "-p", "1-120", serverAddr.String())
			}},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "port-scan-slow", About: "nmap -sS of 60 ports of the server, of which 2 listen, two a second",
			Run: func(s *Scene) {
				s.doors()
				s.scan("port_scan", "ports 22 and 80 listen, the others refuse", "-sS", "--scan-delay", "500ms", "--max-scan-delay", "500ms", "-p", "21-80", serverAddr.String())
			}},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "host-scan-connect", About: "nmap -sT of port 80 of 64 addresses: 8 listen, 12 refuse, the others do not answer",
			Run: func(s *Scene) {
				s.street()
				s.scan("host_scan", "12 refuse and 44 do not answer", "-sT", "-p", "80", street.String())
			}},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "host-scan-syn", About: "nmap -sS of port 80 of 64 addresses: 8 listen, 12 refuse, the others do not answer",
			Run: func(s *Scene) {
				s.street()
				s.scan("host_scan", "12 refuse and 44 do not answer", "-sS", "-p", "80", street.String())
			}},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "service-discovery", About: "a client asks 30 hosts for their health, and 30 ports of another, twice; all are well but two hosts, which refuse once each",
			Run: func(s *Scene) {
				s.Server.own(street)
				down := map[int]bool{9: true, 17: true}
				hosts := make(map[int]net.Listener)
				open := func(addr netip.AddrPort) (l net.Listener) {
					var err error
					config := net.ListenConfig{KeepAlive: noKeepAlive}
					config.SetMultipathTCP(false)
					s.Server.Run(func() { l, err = config.Listen(context.Background(), "tcp", addr.String()) })
					check("listen", err)
					s.later(func() { l.Close() })
					go http.Serve(l, http.NotFoundHandler())
					return l
				}
				for n := range 30 {
					if !down[n] {
						hosts[n] = open(inStreet(n + 1))
					}
					open(netip.AddrPortFrom(serverAddr, uint16(9000+n)))
				}
				c := s.browser(noKeepAlive, &http.Transport{DisableKeepAlives: true})
				health := func(addr netip.AddrPort) error {
					r, err := c.Get("http://" + addr.String() + "/health")
					if err == nil {
						r.Body.Close()
					}
					return err
				}
				for round := range 2 {
					for n := range 30 {
						err := health(inStreet(n + 1))
						if (err != nil) != (round == 0 && down[n]) {
							check("health", fmt.Errorf("host %d: %v", n, err))
						}
						if err != nil {
							open(inStreet(n + 1))
						}
						check("health", health(netip.AddrPortFrom(serverAddr, uint16(9000+n))))
						s.Sleep(50 * time.Millisecond)
					}
				}
				s.pause()
			}},
		Healthy: true, Crowd: true,
	},
}

// Who closes first, and so is left in TIME_WAIT.
const (
	clientFirst = iota
	serverFirst
)

// short opens and closes connections, some at a time. Without options, a capture of many of them stays small.
func (s *Scene) short(n, first int) {
	for _, h := range s.Hosts() {
		for _, option := range [...]string{"timestamps", "sack", "window_scaling"} {
			h.Sysctl("net.ipv4.tcp_"+option, "0")
		}
	}
	s.Listen(1024)
	go Try(func() {
		for {
			d := s.Accept()
			go Try(func() {
				if first == clientFirst {
					d.RecvEOF()
				}
				d.Close()
			})
		}
	})
	const atOnce = 4
	crew := s.crew()
	for worker := range atOnce {
		crew.at(0, func() {
			for i := worker; i < n; i += atOnce {
				c := s.Client.Dial(s.Service())
				if first == serverFirst {
					c.RecvEOF()
				}
				c.Close()
			}
		})
	}
	crew.wait()
	s.pause()
}

// requests are sent 60 a second.
const requests = 720

// requests sends requests through a pool.
func (s *Scene) requests(pool *http.Transport) {
	s.site(time.Minute, noKeepAlive)
	c := s.browser(noKeepAlive, pool)
	crew := s.crew()
	for n := range requests {
		crew.at(time.Duration(n)*time.Second/60, func() { s.get(c, "/") })
	}
	crew.wait()
	s.pause()
}

// forged holds the sources of a flood, street the targets of a scan.
var (
	forged = netip.MustParsePrefix("10.88.0.0/16")
	street = netip.MustParsePrefix("10.99.0.0/26")
)

// source returns the nth address and port of those to be forged.
func source(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 88, byte(n / 250), byte(1 + n%250)}), uint16(20000+n*37%40000))
}

// inStreet returns the web server at the nth address of the street.
func inStreet(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, 0, byte(n)}), 80)
}

// flood sends SYNs from forged addresses within a second or two, and serves some clients meanwhile.
func (s *Scene) flood(n int) {
	const legitimate = 10
	s.Server.Command("", "ip", "route", "add", forged.String(), "via", clientAddr.String(), "dev", Device)
	s.Client.Drop("ip daddr " + forged.String())
	for i := range n {
		s.Client.Inject(Tuple{source(i), s.Service()}, tcp.SYN, uint32(i)*2_654_435_761, 0, 0)
		if i%(n/legitimate) == 0 {
			talk(s.Open())
		}
		s.Sleep(5 * time.Millisecond)
	}
	s.Sleep(5 * time.Second)
}

// doors opens two ports.
func (s *Scene) doors() {
	for _, port := range [...]uint16{22, 80} {
		s.Server.Listen(netip.AddrPortFrom(serverAddr, port), 16)
	}
}

// street makes the server's namespace 64 hosts: 8 listen on port 80, 12 refuse, and of the others nothing is heard.
func (s *Scene) street() {
	s.Server.own(street)
	for n := range 8 {
		s.Server.Listen(inStreet(n*7+1), 16)
	}
	alive := ""
	for n := range 12 {
		alive += inStreet(n*5+2).Addr().String() + ", "
	}
	for n := range 8 {
		alive += inStreet(n*7+1).Addr().String() + ", "
	}
	s.Server.Drop(fmt.Sprintf("ip daddr %v ip daddr != { %s }", street, alive[:len(alive)-2]))
}

// nmap scans from the client. What is scanned is alive: no need to ask.
func (s *Scene) nmap(args ...string) {
	need("nmap", "nmap")
	s.Client.Command("", "nmap", append([]string{"-n", "-Pn", "--disable-arp-ping"}, args...)...)
	s.pause()
}

// scan runs nmap and notes what it was about: of all connections, those that nothing accepted. A port that does not answer
// is asked again from another port.
func (s *Scene) scan(kind, outcome string, args ...string) {
	s.nmap(args...)
	packets, err := ReadPackets(s.capture.Path)
	check("capture", err)
	accepted := 0
	for i := range packets.TCP {
		if packets.TCP[i].Flags.Has(tcp.SYN | tcp.ACK) {
			accepted++
		}
	}
	all := len(packets.Clients())
	why := fmt.Sprintf("nmap %s: %s", strings.Join(args, " "), outcome)
	s.found(byClient(kind, warning, clientAddr, netip.AddrPort{}, all-accepted, why).upTo(all))
}
