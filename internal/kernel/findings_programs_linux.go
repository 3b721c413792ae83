package kernel

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tcpleak/tcp"
)

// Programs as they are in use, Go's net and net/http, nginx, curl and Python, act in the hosts of a scene. Their
// connections belong to no Pair: what ends them must wait for the end of the capture.

// dialer returns how Go programs connect from the host, for net/http. Ports count upwards as those of Dial do.
func (h *Host) dialer(keepAlive time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (conn net.Conn, err error) {
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(h.Ephemeral(to)), KeepAlive: keepAlive}
		h.Run(func() { conn, err = d.DialContext(ctx, "tcp", addr) })
		return conn, err
	}
}

// listener makes a Go program listen on the scene's service.
func (s *Scene) listener(keepAlive time.Duration) (l net.Listener) {
	config := net.ListenConfig{KeepAlive: keepAlive}
	config.SetMultipathTCP(false)
	var err error
	s.Server.Run(func() { l, err = config.Listen(context.Background(), "tcp", s.Service().String()) })
	check("listen", err)
	s.later(func() { l.Close() })
	return l
}

// noKeepAlive leaves a connection in silence when its program is silent; goKeepAlive is what Go does unless told
// otherwise: a probe every 15 s.
const (
	noKeepAlive = -1 * time.Second
	goKeepAlive = 0
)

// site runs a Go web server. It answers /slow/DURATION after that time, and anything else at once.
func (s *Scene) site(idle, keepAlive time.Duration) {
	server := &http.Server{IdleTimeout: idle, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(strings.TrimPrefix(r.URL.Path, "/slow/")); err == nil {
			time.Sleep(d)
		}
		fmt.Fprintln(w, strings.Repeat("0123456789", 20))
	})}
	l := s.listener(keepAlive)
	go server.Serve(l)
	s.later(func() { server.Close() })
}

// secureSite runs the same over TLS, of the given version at most, and returns a client for it, too.
func (s *Scene) secureSite(idle time.Duration, version uint16) (*http.Client, *httptest.Server) {
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "here you are") }))
	site.Listener = s.listener(noKeepAlive)
	site.TLS = &tls.Config{MaxVersion: version}
	site.Config.IdleTimeout, site.Config.ErrorLog = idle, log.New(io.Discard, "", 0)
	site.StartTLS()
	s.later(site.Close)
	pool := site.Client().Transport.(*http.Transport).Clone()
	pool.TLSClientConfig.ServerName = "example.com" // in httptest's certificate
	return s.browser(noKeepAlive, pool), site
}

// browser returns a Go web client with a pool of connections.
func (s *Scene) browser(keepAlive time.Duration, pool *http.Transport) *http.Client {
	pool.DialContext = s.Client.dialer(keepAlive)
	pool.DisableCompression = true
	s.later(pool.CloseIdleConnections)
	return &http.Client{Transport: pool}
}

// get asks for a page and reads it, so that the connection returns to the pool.
func (s *Scene) get(c *http.Client, path string) {
	scheme := "http://"
	if s.service == 8443 {
		scheme = "https://"
	}
	r, err := c.Get(scheme + s.Service().String() + path)
	check("get", err)
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	check("get", err)
}

// forget asks for a page and forgets resp.Body.Close: the pool never gets the connection back.
func (s *Scene) forget(c *http.Client) {
	r, err := c.Get("http://" + s.Service().String() + "/forgotten")
	check("get", err)
	s.later(func() { r.Body.Close() }) // what is not reachable would be closed by the garbage collector
}

// service is a Go program with a line protocol. Its handler has an early return that forgets conn.Close: after a line
// that begins with "report", if it is to forget at all. It takes its time to close after the peer's FIN.
type service struct {
	forgets bool
	closing time.Duration

	mu   sync.Mutex
	kept []net.Conn
}

func (v *service) run(s *Scene) {
	l := s.listener(noKeepAlive)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go v.handle(conn)
		}
	}()
	s.later(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, conn := range v.kept {
			conn.Close()
		}
	})
}

func (v *service) handle(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		fmt.Fprintln(conn, "answer to", lines.Text())
		if v.forgets && strings.HasPrefix(lines.Text(), "report") {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.kept = append(v.kept, conn)
			return
		}
	}
	time.Sleep(v.closing)
	conn.Close()
}

// ask connects to the service, exchanges lines with it, and closes.
func (s *Scene) ask(lines ...string) {
	conn, err := s.Client.dialer(noKeepAlive)(context.Background(), "tcp", s.Service().String())
	check("dial", err)
	defer conn.Close()
	answers := bufio.NewScanner(conn)
	for _, line := range lines {
		fmt.Fprintln(conn, line)
		if !answers.Scan() {
			check("answer", errors.Join(answers.Err(), io.ErrUnexpectedEOF))
		}
	}
}

// nginx serves the scene's service with nginx, which closes an idle connection after a while.
func (s *Scene) nginx(keepAlive time.Duration) {
	need("nginx", "nginx-light")
	dir, err := os.MkdirTemp("", "nginx")
	check("nginx", err)
	s.later(func() { os.RemoveAll(dir) })
	temp := ""
	for _, name := range [...]string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf(" %s_temp_path %s;\n", name, filepath.Join(dir, name))
	}
	config := filepath.Join(dir, "nginx.conf")
	check("nginx", os.WriteFile(config, fmt.Appendf(nil, `daemon off;
master_process off;
pid %s/pid;
events {}
http {
 access_log off;
%s keepalive_timeout %dms;
 server {
  listen %v;
  location / { return 200 "hello\n"; }
 }
}
`, dir, temp, keepAlive.Milliseconds(), s.Service()), 0o644))
	s.program(exec.Command("nginx", "-e", filepath.Join(dir, "error.log"), "-c", config))
	s.await(s.Server, tcp.Listen)
}

// program starts a program of the server's that runs until the end of the scene.
func (s *Scene) program(cmd *exec.Cmd) {
	s.Server.Start(cmd)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.later(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
}

// await waits until the host has a socket in a state.
func (s *Scene) await(h *Host, state tcp.State) {
	for end := time.Now().Add(patience); time.Now().Before(end); s.Sleep(5 * time.Millisecond) {
		for _, line := range h.States() {
			if line.State == state {
				return
			}
		}
	}
	check("wait", fmt.Errorf("no socket of the %s reached %v", h.Name, state))
}

// python runs a Python program in the client's namespace.
func (s *Scene) python(program string) {
	need("python3", "python3")
	s.Client.Command(program, "python3", "-")
}

// keepAliveTimeouts is about web servers that close idle connections, and clients that reuse them too late.
var keepAliveTimeouts = []Finding{
	{
		Scenario: Scenario{Name: "closed-while-sending-nginx", About: "nginx closes an idle connection while the client's next request is under way, three times",
			History: "S s A D.* f( f)* D( f)* r( A)?",
			Run: func(s *Scene) {
				s.nginx(2 * time.Second)
				s.crossedRequests(3)
			}},
		Expect: []Expected{byNeither("closed_while_sending", warning, web, 3, "the client's pool reused a connection that nginx had closed after keepalive_timeout 2s; the FIN was still under way")},
	},
	{
		Scenario: Scenario{Name: "closed-while-sending-go", About: "a Go server closes an idle connection while the client's next request is under way, three times", Service: 8080,
			History: "S s A D.* f( f)* D( f)* r( A)?",
			Run: func(s *Scene) {
				s.site(2*time.Second, noKeepAlive)
				s.crossedRequests(3)
			}},
		Expect: []Expected{byNeither("closed_while_sending", warning, app, 3, "the client's pool reused a connection that the server had closed after IdleTimeout 2s; the FIN was still under way")},
	},
	{
		Scenario: Scenario{Name: "closed-while-sending-after-fin", About: "nginx closes an idle connection; a Python client does not notice and sends its next request on it, twice",
			States: "CLOSED/CLOSED ×2", History: "S s A D.* f A D( D)* r( r)*",
			Run: func(s *Scene) {
				s.nginx(2 * time.Second)
				s.python(`
import http.client, time
for _ in range(2):
    c = http.client.HTTPConnection("10.77.0.2", 80, timeout=5)
    c.request("GET", "/")
    c.getresponse().read()
    time.sleep(3)
    try:
        c.request("POST", "/order", body="one")
        c.getresponse()
        raise SystemExit("answered")
    except (ConnectionError, http.client.RemoteDisconnected):
        pass
    c.close()
`)
				s.pause()
			}},
		Expect: []Expected{byNeither("closed_while_sending", warning, web, 2, "the client sent a request a second after nginx's FIN, which came after keepalive_timeout 2s")},
	},
	{
		Scenario: Scenario{Name: "keep-alive-matched", About: "nginx closes idle connections after 3 s; a Python client sends every second, and closes when nginx does",
			States: "CLOSED/TIME_WAIT ×2",
			Run: func(s *Scene) {
				s.nginx(3 * time.Second)
				s.python(`
import http.client, time
for _ in range(2):
    c = http.client.HTTPConnection("10.77.0.2", 80, timeout=10)
    for _ in range(4):
        c.request("POST", "/order", body="one")
        c.getresponse().read()
        time.sleep(1)
    assert c.sock.recv(1) == b""
    c.close()
`)
				s.pause()
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "refused-happy-eyeballs", About: "curl tries IPv6, is refused, and is served over IPv4", Service: 8080,
			Run: func(s *Scene) {
				need("curl", "curl")
				s.site(time.Second, noKeepAlive)
				s.Client.Command("", "curl", "-sS", "--noproxy", "*", "-H", "Connection: close", "-o", "/dev/null", "--resolve", "web.example:8080:[fd77::2],10.77.0.2", "http://web.example:8080/")
				s.pause()
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "tls-goodbye", About: "a Go server closes idle TLS connections; its client's close_notify comes after the FIN and is answered by RST, and nobody minds",
			Service: 8443, Run: func(s *Scene) {
				for _, version := range [...]uint16{tls.VersionTLS12, tls.VersionTLS13} {
					c, site := s.secureSite(time.Second, version)
					for range 4 {
						s.get(c, "/")
						s.Sleep(1500 * time.Millisecond)
					}
					site.Close()
				}
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "http-keep-alive", About: "a Go client sends 60 requests on a few connections, from several goroutines, and keeps them", Service: 8080,
			Run: func(s *Scene) {
				s.site(time.Minute, goKeepAlive)
				c := s.browser(goKeepAlive, &http.Transport{MaxIdleConnsPerHost: 4})
				crew := s.crew()
				for n := range 4 {
					crew.at(time.Duration(n)*100*time.Millisecond, func() {
						for range 15 {
							s.get(c, "/slow/150ms")
							s.Sleep(300 * time.Millisecond)
						}
					})
				}
				crew.wait()
				s.Sleep(2 * time.Second)
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "cut-short", About: "as many connections in every phase of their lives, and the capture ends in the middle of it", Service: 8080,
			Run: func(s *Scene) {
				s.site(200*time.Millisecond, noKeepAlive)
				c := s.browser(noKeepAlive, &http.Transport{MaxIdleConnsPerHost: 3})
				once := s.browser(noKeepAlive, &http.Transport{DisableKeepAlives: true})
				crew := s.crew()
				crew.every(30*time.Millisecond, 0, 4*time.Second, func() { s.get(c, "/slow/50ms") })
				crew.every(70*time.Millisecond, 0, 4*time.Second, func() { s.get(once, "/slow/10ms") })
				crew.wait()
				s.Sleep(time.Second)
			}},
		Healthy: true, Crowd: true, Edit: firstHalf,
	},
}

// crossedRequests lets the server's FINs be under way for as long as it takes the client to send its next request.
func (s *Scene) crossedRequests(n int) {
	c := s.browser(noKeepAlive, &http.Transport{})
	for range n {
		s.get(c, "/")
		s.Client.Drop(fin)
		s.await(s.Server, tcp.FinWait1)
		r, err := c.Post("http://"+s.Service().String()+"/order", "text/plain", strings.NewReader("one"))
		if err == nil {
			r.Body.Close()
			check("post", errors.New("answered"))
		}
		s.Client.Admit()
	}
	s.pause()
}

// leaks is about connections that pile up, or only seem to.
var leaks = []Finding{
	{
		Scenario: Scenario{Name: "leak-server", About: "a Go service forgets conn.Close in one of its handlers: sockets pile up in CLOSE_WAIT among 20 healthy connections a second",
			Service: 8080, Run: func(s *Scene) { s.busy(&service{forgets: true}, 20, leakInterval) }},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "leak-server-slow", About: "the same at a quarter of the rate, among 3 healthy connections a second",
			Service: 8080, Run: func(s *Scene) { s.busy(&service{forgets: true}, 3, 4*leakInterval) }},
		Crowd: true,
	},
	{
		Scenario: Scenario{Name: "leak-none", About: "as much traffic as in leak-server, and a Go service that closes everything",
			Service: 8080, Run: func(s *Scene) { s.busy(&service{}, 20, leakInterval) }},
		Healthy: true, Crowd: true,
	},
	{
		Scenario: Scenario{Name: "slow-closer", About: "a Go service closes 5 s after its clients: always some 30 sockets in CLOSE_WAIT, and never more",
			Service: 8080, Run: func(s *Scene) {
				v := &service{closing: 5 * time.Second}
				v.run(s)
				crew := s.crew()
				crew.every(160*time.Millisecond, 0, leakTime, func() { s.ask("item 1") })
				crew.wait()
			}},
		Healthy: true, Crowd: true,
	},
	{
		Scenario: Scenario{Name: "leak-client-pool", About: "a Go client forgets resp.Body.Close on one path: idle connections pile up beside a pool that is well",
			Service: 8080, Run: func(s *Scene) {
				s.site(time.Hour, noKeepAlive)
				n := len(s.forgetful(noKeepAlive))
				s.found(byClient("leak", critical, clientAddr, app, n, "the client never closes the response's body, so the pool never gets the connection back; one more every 1.5 s"))
			}},
	},
	{
		Scenario: Scenario{Name: "leak-client-pool-keep-alive", About: "the same with the keep-alive probes that Go sends every 15 s: the connections pile up, idle but not silent",
			Service: 8080, Run: func(s *Scene) {
				s.site(time.Hour, goKeepAlive)
				n := len(s.forgetful(goKeepAlive))
				s.found(byClient("leak", critical, clientAddr, app, n, "the client never closes the response's body, so the pool never gets the connection back; one more every 1.5 s"))
			}},
	},
	{
		Scenario: Scenario{Name: "leak-client-close-wait", About: "a Go client forgets resp.Body.Close on one path, and the server closes idle connections after 3 s: sockets pile up in CLOSE_WAIT at the client",
			Service: 8080, Run: func(s *Scene) {
				s.site(3*time.Second, noKeepAlive)
				forgotten := s.forgetful(noKeepAlive)
				closed := olderThan(3*time.Second, forgotten)
				stuck := olderThan(3*time.Second+time.Minute, forgotten)
				s.found(byClient("leak", critical, clientAddr, app, closed, "the client never closes the response's body, and so never the socket that the server has closed; one more every 1.5 s").upTo(len(forgotten)))
				s.found(byClient("stuck_close_wait", warning, clientAddr, app, stuck, "these have been closed by the server for more than a minute").upTo(stuck + 1))
			}},
	},
	{
		Scenario: Scenario{Name: "pool-breathes", About: "a Go client's pool grows to 30 connections under load and shrinks again when it idles, five times", Service: 8080,
			Run: func(s *Scene) {
				s.site(time.Minute, goKeepAlive)
				c := s.browser(goKeepAlive, &http.Transport{MaxIdleConnsPerHost: 30, IdleConnTimeout: 6 * time.Second})
				crew := s.crew()
				for wave := range 5 {
					for n := range 30 {
						crew.at(time.Duration(wave)*18*time.Second+time.Duration(n)*80*time.Millisecond, func() {
							for range 3 {
								s.get(c, "/slow/1500ms")
							}
						})
					}
				}
				crew.at(leakTime, func() {})
				crew.wait()
			}},
		Healthy: true, Crowd: true,
	},
	{
		Scenario: Scenario{Name: "pool-warms-up", About: "a pool opens 30 connections in 20 s and keeps them, mostly idle, for more than a minute: the growth has ended", Service: 8080,
			Run: func(s *Scene) {
				s.site(time.Hour, noKeepAlive)
				c := s.browser(noKeepAlive, &http.Transport{MaxIdleConnsPerHost: 30})
				crew := s.crew()
				for n := range 30 {
					crew.at(time.Duration(n)*700*time.Millisecond, func() { s.get(c, fmt.Sprintf("/slow/%v", 21*time.Second-time.Duration(n)*700*time.Millisecond)) })
				}
				crew.every(4*time.Second, 24*time.Second, leakTime, func() { s.get(c, "/") })
				crew.wait()
			}},
		Healthy: true,
	},
	{
		Scenario: Scenario{Name: "more-users", About: "60 users come in 90 s and stay, each of them active every few seconds: growth, and no leak", Service: 8080,
			Run: func(s *Scene) {
				(&service{}).run(s)
				crew := s.crew()
				crew.every(leakInterval, leakStart, leakTime, func() {
					conn, err := s.Client.dialer(noKeepAlive)(context.Background(), "tcp", s.Service().String())
					check("dial", err)
					s.later(func() { conn.Close() })
					answers := bufio.NewScanner(conn)
					for time.Since(crew.begin) < leakTime-5*time.Second {
						fmt.Fprintln(conn, "are you there?")
						if !answers.Scan() {
							check("answer", io.ErrUnexpectedEOF)
						}
						s.Sleep(4 * time.Second)
					}
				})
				crew.wait()
			}},
		Healthy: true,
	},
}

// A leak loses a connection every leakInterval from leakStart until leakTime.
const (
	leakStart    = time.Second
	leakInterval = 1500 * time.Millisecond
	leakTime     = 91500 * time.Millisecond
)

// busy runs a service and its healthy clients, so many a second, for leakTime. At each interval, one more asks for what
// the service may forget to close.
func (s *Scene) busy(v *service, perSecond int, interval time.Duration) {
	v.run(s)
	crew := s.crew()
	crew.every(time.Second/time.Duration(perSecond), 0, leakTime, func() { s.ask("item 1") })
	var mu sync.Mutex
	var closed []time.Time
	crew.every(interval, leakStart, leakTime, func() {
		s.ask("item 1", "report 7")
		mu.Lock()
		defer mu.Unlock()
		closed = append(closed, time.Now())
	})
	crew.at(leakTime, func() {})
	crew.wait()
	if !v.forgets {
		return
	}
	stuck := olderThan(time.Minute, closed)
	s.found(byServer("leak", critical, app, len(closed), fmt.Sprintf("a handler returns without conn.Close; one more every %v", interval)))
	s.found(byServer("stuck_close_wait", warning, app, stuck, "these were closed by their clients more than a minute ago").upTo(stuck + 1))
}

// olderThan counts the times that are longer ago than d.
func olderThan(d time.Duration, times []time.Time) (n int) {
	for _, t := range times {
		if time.Since(t) > d {
			n++
		}
	}
	return n
}

// forgetful runs a Go client that uses its pool well, but for one path. It returns when it forgot a connection.
func (s *Scene) forgetful(keepAlive time.Duration) (forgotten []time.Time) {
	c := s.browser(keepAlive, &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 2 * time.Second})
	crew := s.crew()
	crew.every(200*time.Millisecond, 0, leakTime, func() { s.get(c, "/slow/100ms") })
	var mu sync.Mutex
	crew.every(leakInterval, leakStart, leakTime, func() {
		s.forget(c)
		mu.Lock()
		defer mu.Unlock()
		forgotten = append(forgotten, time.Now())
	})
	crew.at(leakTime, func() {})
	crew.wait()
	return forgotten
}

// forgotten is about single connections that nobody closes.
var forgotten = []Finding{
	{
		Scenario: Scenario{Name: "stuck-close-wait-server", About: "a Go service forgets conn.Close on one path, for three of eight connections", Service: 8080,
			Run: func(s *Scene) {
				(&service{forgets: true}).run(s)
				for n := range 8 {
					s.ask([...]string{"item 1", "report 7"}[n%3%2])
					s.Sleep(100 * time.Millisecond)
				}
				s.Sleep(65 * time.Second)
			}},
		Expect: []Expected{byServer("stuck_close_wait", warning, app, 3, "the service's handler returned without conn.Close; the clients had closed")},
	},
	{
		Scenario: Scenario{Name: "stuck-close-wait-client", About: "a Go client forgets resp.Body.Close; the server closes the idle connections after 2 s", Service: 8080,
			Run: func(s *Scene) {
				s.site(2*time.Second, noKeepAlive)
				c := s.browser(noKeepAlive, &http.Transport{MaxIdleConnsPerHost: 4})
				for range 3 {
					s.get(c, "/")
					s.forget(c)
					s.Sleep(100 * time.Millisecond)
				}
				s.Sleep(66 * time.Second)
			}},
		Expect: []Expected{byClient("stuck_close_wait", warning, clientAddr, app, 3, "the client never closes the body of the response; the server has closed")},
	},
}
