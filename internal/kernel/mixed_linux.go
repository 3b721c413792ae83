package kernel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Mixed returns scenarios of some hundred connections each, whose ends act by random scripts. What the ends do is set by
// the seed; what is lost, and when, is not.
func Mixed() []Scenario {
	return []Scenario{
		Mix{Seed: 1, Connections: 200, Loss: 5, SpareResets: true}.
			Scenario("mixed-1", "random scripts, 5 % loss into both hosts (RSTs are spared)"),
		Mix{Seed: 2, Connections: 160, Loss: 12, SpareResets: true}.
			Scenario("mixed-2", "random scripts, 12 % loss into both hosts (RSTs are spared)"),
		Mix{Seed: 3, Connections: 240, Deaf: 60}.
			Scenario("mixed-3", "random scripts without loss, except that some connections go deaf at one end in the middle"),
		Mix{Seed: 4, Connections: 160, Loss: 8, Deaf: 40, V6: true}.
			Scenario("mixed-4", "random scripts over IPv6, 8 % loss of everything, and some connections go deaf"),
	}
}

// Mix is the recipe of a mixed scenario.
type Mix struct {
	Seed        uint64
	Connections int
	Loss        int // percent of the packets into each host
	SpareResets bool
	Deaf        int // connections whose packets into one host are all lost after a while; half for each host
	V6          bool
}

// Scenario returns the scenario of the recipe.
func (m Mix) Scenario(name, about string) Scenario {
	return Scenario{Name: name, About: about, Run: m.run}
}

const (
	scriptTime = 3 * time.Second // bounds when a script begins, and how long it runs
	deafTime   = scriptTime / 2  // when connections go deaf
)

func (m Mix) run(s *Scene) {
	s.resetsLost = m.Loss > 0 && !m.SpareResets || m.Deaf > 0
	service := s.Service()
	local := netip.IPv4Unspecified()
	if m.V6 {
		service, local = s.Service6(), netip.IPv6Unspecified()
	}
	s.Listener = s.Server.Listen(netip.AddrPortFrom(local, s.service), 1024)
	accepted := s.acceptAll(m.Connections)
	if m.Loss > 0 {
		match := fmt.Sprintf("numgen random mod 100 < %d", m.Loss)
		if m.SpareResets {
			match = "tcp flags & rst == 0 " + match
		}
		for _, h := range s.Hosts() {
			h.Drop(match)
		}
	}
	s.Client.Sysctl("net.ipv4.tcp_syn_linear_timeouts", "0") // repeated SYNs would leave no quiet moment to end at
	var scripts sync.WaitGroup
	start := time.Now()
	first := s.Client.Ephemeral(service).Port() + 1
	for i := range m.Connections {
		local := s.Client.Ephemeral(service)
		scripts.Go(func() {
			r := rand.New(rand.NewPCG(m.Seed, uint64(i)))
			// What the system refuses has no effect on the wire.
			_ = Try(func() {
				if i >= m.Deaf {
					s.Sleep(time.Duration(r.Int64N(int64(scriptTime))))
					s.script(r, local, service, accepted)
					return
				}
				s.Sleep(time.Duration(r.Int64N(int64(deafTime))))
				sides := s.script(r, local, service, accepted)
				s.Sleep(time.Until(start.Add(deafTime + time.Duration(r.Int64N(int64(scriptTime/4))))))
				s.acts(r, sides, 4)
			})
		})
	}
	deafClient := fmt.Sprintf("tcp dport %d-%d", first, int(first)+m.Deaf/2-1) + drop
	deafServer := fmt.Sprintf("tcp sport %d-%d", int(first)+m.Deaf/2, int(first)+m.Deaf-1) + drop
	s.Sleep(time.Until(start.Add(deafTime)))
	if m.Deaf > 0 {
		s.Client.Rule(deafClient)
		s.Server.Rule(deafServer)
	}
	scripts.Wait()
	// An ACK that was lost shows only when the segment that it was for is repeated: a second at first for a SYN-ACK.
	s.Sleep(1500 * time.Millisecond)
	// Then the random loss ends, so that no ACK is lost so late that nothing can show it before the capture ends.
	if m.Deaf > 0 {
		s.Client.Rules(deafClient)
		s.Server.Rules(deafServer)
	} else {
		s.Client.Admit()
		s.Server.Admit()
	}
	deaf := func(t Tuple) bool {
		n := int(max(t.Src.Port(), t.Dst.Port())) - int(first)
		return n >= 0 && n < m.Deaf
	}
	for end := time.Now().Add(40 * time.Second); !s.settled(deaf) && time.Now().Before(end); {
		s.Sleep(500 * time.Millisecond)
	}
}

// settled reports whether every end, but the ones to ignore, has been silent after its last repetition for so long that
// its timer would have run out again if it still had something to repeat: a capture that ended earlier could not tell.
func (s *Scene) settled(ignore func(Tuple) bool) bool {
	packets, err := ReadPackets(s.capture.Path)
	if err != nil {
		return false // tcpdump is writing
	}
	now := time.Now()
	for tuple, r := range packets.Repetitions() {
		// Timers double, and fire up to an eighth late.
		if !ignore(tuple) && now.Sub(r.Last) < r.Interval*5/2 {
			return false
		}
	}
	return true
}

// acceptAll accepts until the pair is closed, and returns a function that waits for the connection from an address.
func (s *Scene) acceptAll(connections int) func(from netip.AddrPort) *Socket {
	var mu sync.Mutex
	waiting := make(map[netip.AddrPort]chan *Socket)
	channel := func(from netip.AddrPort) chan *Socket {
		mu.Lock()
		defer mu.Unlock()
		if waiting[from] == nil {
			waiting[from] = make(chan *Socket, 1)
		}
		return waiting[from]
	}
	go Try(func() {
		for range connections {
			d := s.Accept()
			channel(d.Peer) <- d
		}
	})
	return func(from netip.AddrPort) *Socket {
		select {
		case d := <-channel(from):
			return d
		case <-time.After(scriptTime):
			return nil
		}
	}
}

// side is one end of a scripted connection.
type side struct {
	*Socket
	shut bool // its FIN is ordered: an abort may then be silent
}

// script opens a connection and does a random number of random things with it, then leaves it as it is. It returns the
// ends that are still there.
func (s *Scene) script(r *rand.Rand, local, service netip.AddrPort, accepted func(netip.AddrPort) *Socket) []*side {
	var opts []Option
	switch r.IntN(12) {
	case 0:
		service = netip.AddrPortFrom(service.Addr(), 81) // nothing listens there
	case 1:
		opts = append(opts, RcvBuf(2048))
	case 2:
		opts = append(opts, KeepAlive(9))
	}
	sides := []*side{{Socket: s.Client.DialFrom(local, service, opts...)}}
	if d := accepted(local); d != nil {
		sides = append(sides, &side{Socket: d})
	}
	return s.acts(r, sides, 10)
}

// acts does random things, mean in number, and returns the ends that are still there.
func (s *Scene) acts(r *rand.Rand, sides []*side, mean int) []*side {
	for end := time.Now().Add(scriptTime); r.IntN(mean) > 0 && len(sides) > 0 && time.Now().Before(end); {
		s.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
		i := r.IntN(len(sides))
		if s.act(r, sides[i], sides) {
			sides = append(sides[:i], sides[i+1:]...)
		}
	}
	return sides
}

// act does one random thing at one of the ends that are there, and reports whether its socket is gone.
func (s *Scene) act(r *rand.Rand, e *side, there []*side) (gone bool) {
	switch n := r.IntN(100); {
	case n < 40:
		size := 1 + r.IntN(60)
		if r.IntN(8) == 0 {
			size = 4000
		}
		if !e.shut {
			e.TrySend(size)
		}
	case n < 75:
		e.Drain()
	case n < 82:
		e.shut = true
		if err := Try(e.CloseWrite); err != nil && !errors.Is(err, unix.ENOTCONN) {
			panic(err)
		}
	case n < 93:
		e.Close()
		return true
	case n < 97 && !e.shut:
		e.Abort()
		return true
	case n < 99:
		// Only a peer that goes on sending finds out.
		for _, peer := range there {
			if peer != e && !peer.shut {
				s.vanish(e.Socket)
				peer.TrySend(10)
				return true
			}
		}
	}
	return false
}
