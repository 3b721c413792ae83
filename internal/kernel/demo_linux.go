package kernel

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Demo returns the scenario of the demonstration capture: an HTTP service on port 8080 whose handler of one path forgets
// to close. It takes demoTime.
func Demo() Scenario {
	return Scenario{Name: "demo", Service: 8080, Run: (*Scene).demo,
		About: "an HTTP service leaks sockets in CLOSE_WAIT, one path's after its clients gave up; three handshakes hang behind a firewall"}
}

const demoTime = 200 * time.Second

func (s *Scene) demo() {
	s.Listen(128)
	var wg sync.WaitGroup
	var failed error
	var mu sync.Mutex
	at := func(start time.Duration, f func()) {
		wg.Go(func() {
			err := Try(func() { s.Sleep(start); f() })
			mu.Lock()
			defer mu.Unlock()
			failed = cmp.Or(failed, err)
		})
	}
	go Try(func() {
		for {
			d, err := s.Listener.TryAccept()
			switch err {
			case nil:
				go Try(func() { serve(d) })
			case unix.EAGAIN: // nobody came for a while
			default:
				return
			}
		}
	})

	type leak struct {
		client *Socket
		closed time.Time
	}
	var leaks []leak
	for start := time.Second; start < demoTime-10*time.Second; start += 12 * time.Second {
		at(start, func() {
			c := s.Client.Dial(s.Service())
			c.get("/report")
			s.Sleep(5 * time.Second) // the client's patience
			c.Close()
			mu.Lock()
			defer mu.Unlock()
			leaks = append(leaks, leak{c, time.Now()})
		})
	}
	i := 0
	for start := time.Second; start < demoTime-5*time.Second; start += 2800 * time.Millisecond {
		i++
		kind := i % 3
		// Linux ends TIME_WAIT after 60 to 65 s: nobody could say whether a connection of that age is still there.
		if age := demoTime - start; 57*time.Second < age && age < 72*time.Second {
			continue
		}
		at(start, func() {
			c := s.Client.Dial(s.Service())
			if kind == 0 {
				c.get("/once")
				c.RecvEOF()
			} else {
				for range kind + 1 {
					c.get("/item")
					c.response()
					s.Sleep(300 * time.Millisecond)
				}
			}
			c.Close()
		})
	}
	for n := range 3 {
		at(time.Duration(n)*700*time.Millisecond, func() { // connections that are well and live on
			c := s.Client.Dial(s.Service())
			for start := time.Now(); time.Since(start) < demoTime-12*time.Second; s.Sleep(9 * time.Second) {
				c.get("/poll")
				c.response()
			}
		})
	}
	firewalled := netip.MustParseAddr("10.77.0.9")
	s.Client.AddAddress(firewalled)
	s.Client.Drop(synAck + " ip daddr " + firewalled.String())
	for n := range 3 {
		at(demoTime-14*time.Second+time.Duration(n)*3*time.Second, func() {
			s.Client.ConnectFrom(netip.AddrPortFrom(firewalled, uint16(50001+n)), s.Service())
		})
	}
	at(demoTime, func() {})
	wg.Wait()
	check("demo", failed)
	for _, l := range leaks {
		if time.Since(l.closed) > 55*time.Second {
			s.Undecidable(l.client, "Linux gives up an orphan in FIN_WAIT_2 after tcp_fin_timeout and sends nothing")
		}
	}
}

const endOfHeader = "\r\n\r\n"

func (s *Socket) get(path string) {
	s.Write("GET " + path + " HTTP/1.1\r\nHost: " + s.Peer.String() + "\r\nUser-Agent: demo/1.0" + endOfHeader)
}

// response receives a response of the demonstration's server.
func (s *Socket) response() {
	var got []byte
	for !bytes.HasSuffix(got, []byte("\n"+endOfHeader)) {
		b, err := s.RecvSome()
		check("response", err)
		if len(b) == 0 {
			check("response", fmt.Errorf("end of stream after %q", got))
		}
		got = append(got, b...)
	}
}

// serve answers the requests of one connection. Of a request for /report it forgets to close the connection.
func serve(s *Socket) {
	body := strings.Repeat("0123456789abcdef", 40) + "\n" + endOfHeader
	for {
		request, err := s.RecvSome()
		if err == unix.EAGAIN {
			continue // nothing came for a while
		}
		path := slices.Concat(bytes.Fields(request), [][]byte{nil, nil})[1]
		switch {
		case len(request) == 0:
			s.Close()
			return
		case string(path) == "/report":
			return
		}
		s.Write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d%s%s", len(body), endOfHeader, body))
		if string(path) == "/once" {
			s.Close()
			return
		}
	}
}
