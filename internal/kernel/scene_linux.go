package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/tcp"
)

// Scenario is a script for the two hosts, and what must come of it: a capture that does not show what its name says is
// worse than none, and kernels change.
type Scenario struct {
	Name, About string
	// States is the truth that must come out, as Truth.Summary spells it; "" leaves it open.
	States string
	// History is a regular expression for the first connection, as Packets.History spells it.
	History string
	Run     func(*Scene)
	// Offload leaves the device's segmentation offloads on, so that packets exceed the MTU.
	Offload bool
	// Service is the port that the scene's server listens on; 80 if zero.
	Service uint16
}

// Scene is a running scenario.
type Scene struct {
	*Pair
	Listener *Socket

	service     uint16
	capture     *Capture
	undecidable map[Tuple]string
	vanished    map[Tuple]time.Time
	resetsLost  bool       // the scene's rules drop RSTs too
	expect      []Expected // what only the run of the scene tells
	cleanups    []func()   // for what belongs to no pair, when the capture has ended
}

// Record plays a scenario and writes NAME.pcap and NAME.json into dir.
func Record(ctx context.Context, dir string, sc Scenario, side string) (*Truth, error) {
	pair, err := NewPair(ctx, sc.Offload)
	if err != nil {
		return nil, err
	}
	defer pair.Close()
	at := pair.Client
	if side == pair.Server.Name {
		at = pair.Server
	}
	base := filepath.Join(dir, sc.Name)
	var truth *Truth
	err = Try(func() {
		s := &Scene{
			Pair:        pair,
			service:     cmp.Or(sc.Service, 80),
			capture:     at.Capture(base + ".pcap"),
			undecidable: make(map[Tuple]string),
			vanished:    make(map[Tuple]time.Time),
		}
		sc.Run(s)
		truth = s.finish()
		truth.Scenario, truth.Description = sc.Name, sc.About
		check("truth", truth.Write(base+".json"))
		if got := truth.Summary(); sc.States != "" && got != sc.States {
			check("states", fmt.Errorf("%s; want %s", got, sc.States))
		}
		if sc.History != "" {
			check("history", matchHistory(base+".pcap", sc.History))
		}
	})
	return truth, err
}

func matchHistory(path, expr string) error {
	packets, err := ReadPackets(path)
	if err != nil {
		return err
	}
	clients := packets.Clients()
	if len(clients) == 0 {
		return errors.New("no connection")
	}
	got := packets.History(clients[0])
	if ok, err := regexp.MatchString("^(?:"+expr+")$", got); !ok {
		return errors.Join(fmt.Errorf("%q; want %q", got, expr), err)
	}
	return nil
}

// Undecidable notes that no capture can tell the state of the socket's end, and why.
func (s *Scene) Undecidable(end *Socket, why string) {
	s.undecidable[Tuple{end.Local, end.Peer}] = why
}

// Listen opens the scene's listener on every address of the server's family.
func (s *Scene) Listen(backlog int, opts ...Option) {
	s.Listener = s.Server.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), s.service), backlog, opts...)
}

// Service returns the address and port of the scene's server.
func (s *Scene) Service() netip.AddrPort { return netip.AddrPortFrom(s.Server.V4, s.service) }

// Service6 returns the IPv6 address and port of the scene's server.
func (s *Scene) Service6() netip.AddrPort { return netip.AddrPortFrom(s.Server.V6, s.service) }

// Open opens a connection and returns both ends of it.
func (s *Scene) Open(opts ...Option) (client, server *Socket) {
	if s.Listener == nil {
		s.Listen(16)
	}
	client = s.Client.Dial(s.Service(), opts...)
	return client, s.Accept()
}

// Accept takes a connection from the scene's listener.
func (s *Scene) Accept() *Socket {
	c := s.Listener.Accept()
	c.Local = netip.AddrPortFrom(s.Server.V4, s.service)
	if c.Peer.Addr().Is6() {
		c.Local = netip.AddrPortFrom(s.Server.V6, s.service)
	}
	return c
}

// finish waits until two readings of ss agree while nothing passes on the link, stops the capture there, and returns
// what ss said.
func (s *Scene) finish() *Truth {
	const quiet = 100 * time.Millisecond
	s.Client.Filler(1) // silence up to here counts for the capture: its clock is that of its packets
	for deadline := time.Now().Add(30 * time.Second); ; {
		if time.Now().After(deadline) {
			check("end of capture", errors.New("the link does not fall silent"))
		}
		size, before := s.capture.Size(), time.Now()
		states := s.States()
		s.Sleep(quiet)
		again, end := s.States(), time.Now()
		if s.capture.Size() != size || !reflect.DeepEqual(states, again) {
			continue
		}
		s.capture.Stop()
		// A packet may pass between the last look at the file and the end of tcpdump.
		check("capture", cut(s.capture.Path, end))
		packets, err := ReadPackets(s.capture.Path)
		check("capture", err)
		if packets.Last.After(before) {
			check("end of capture", errors.New("a packet passed between the readings of ss"))
		}
		truth := s.truth(packets, states)
		truth.End = end.UTC()
		check("truth", truth.Check(packets))
		return truth
	}
}

func (s *Scene) truth(packets *Packets, states [2][]SocketState) *Truth {
	t := &Truth{
		CapturedAt: s.capture.Host.Name, Kernel: release(), Packets: packets.Total, First: packets.First, Last: packets.Last,
		Listeners: []Listener{},
	}
	sockets := make(map[Tuple]tcp.State)
	listening := make(map[netip.AddrPort]bool)
	for i, h := range s.Hosts() {
		for _, line := range states[i] {
			if line.State == tcp.Listen {
				t.Listeners = append(t.Listeners, Listener{h.Name, line.Local.Addr(), line.Local.Port()})
				for _, addr := range [...]netip.Addr{h.V4, h.V6, line.Local.Addr()} {
					listening[netip.AddrPortFrom(addr, line.Local.Port())] = true
				}
				continue
			}
			sockets[Tuple{line.Local, line.Peer}] = line.State
		}
	}
	type sent struct {
		packets int
		iss     uint32
		fin     *Packet // the first transmission
		last    Packet
	}
	by := make(map[Tuple]sent)
	for _, p := range packets.TCP {
		d := by[p.Tuple]
		if p.Flags.Has(tcp.SYN) && p.Seq != d.iss {
			d.fin, d.iss = nil, p.Seq // the FIN was an earlier connection's
		}
		if p.Flags.Has(tcp.FIN) && d.fin == nil {
			d.fin = &p
		}
		by[p.Tuple] = sent{d.packets + 1, d.iss, d.fin, p}
	}
	for _, client := range packets.Clients() {
		for _, tuple := range [...]Tuple{client, client.Reverse()} {
			state, ok := sockets[tuple]
			if !ok {
				state = tcp.Closed
			}
			e := Endpoint{
				Host: s.hostOf(tuple.Src.Addr()), Address: tuple.Src.Addr(), Port: tuple.Src.Port(),
				PeerAddress: tuple.Dst.Addr(), PeerPort: tuple.Dst.Port(),
				State: state.String(), Packets: by[tuple].packets,
				Listening: listening[tuple.Src], Undecidable: s.undecidable[tuple],
			}
			fin, peerFIN := by[tuple].fin, by[tuple.Reverse()].fin
			switch at, vanished := s.vanished[tuple]; {
			case e.Undecidable != "":
			case (state == tcp.Closing || state == tcp.TimeWait) && fin != nil && peerFIN != nil && fin.answers(peerFIN):
				e.Undecidable = "closed before the peer's FIN came, but its own FIN left only after it"
			case (state == tcp.FinWait1 || state == tcp.LastAck || state == tcp.Closing) && fin == nil:
				// Linux changes the state when the application closes, not when the FIN leaves: a zero window holds it
				// back, and so does congestion control while something is being retransmitted.
				e.Undecidable = "closed by its application; the FIN waits behind data that may not leave yet"
			case s.resetsLost && state != tcp.Closed && resetAfter(by[tuple.Reverse()].last, by[tuple].last):
				e.Undecidable = "the RST may have been lost on its last few metres, and is not repeated"
			case state != tcp.Closed && resetAfter(by[tuple.Reverse()].last, by[tuple].last) && by[tuple.Reverse()].last.Seq != by[tuple].last.Ack:
				e.Undecidable = "the RST lies behind data that may have been lost on its last few metres, and is not answered"
			case vanished && state == tcp.Closed && !by[tuple].last.Time.After(at.Add(vanishing)) &&
				(!by[tuple.Reverse()].last.Flags.Has(tcp.RST) || by[tuple.Reverse()].last.Seq != by[tuple].last.Ack):
				e.Undecidable = "destroyed without a word; nothing has come since that would be answered by a RST"
			}
			t.Endpoints = append(t.Endpoints, e)
		}
	}
	return t
}

// vanishing is how long a socket may take to vanish on a busy machine.
const vanishing = 100 * time.Millisecond

// answers reports whether p acknowledges the FIN of peer.
func (p *Packet) answers(peer *Packet) bool {
	return p.Flags.Has(tcp.ACK) && int32(p.Ack-(peer.Seq+uint32(peer.Payload))) > 0
}

// resetAfter reports whether a direction's last segment is a RST, later than the other direction's last.
func resetAfter(last, other Packet) bool {
	return last.Flags.Has(tcp.RST) && last.Time.After(other.Time)
}

func (s *Scene) hostOf(addr netip.Addr) string {
	// The server's addresses are fixed; a client may have more than one.
	if addr == s.Server.V4 || addr == s.Server.V6 {
		return s.Server.Name
	}
	return s.Client.Name
}

func release() string {
	var u unix.Utsname
	check("uname", unix.Uname(&u))
	return unix.ByteSliceToString(u.Release[:])
}

// Remove deletes the files of a scenario that failed.
func Remove(dir, name string) error {
	var errs []error
	for _, ext := range [...]string{".pcap", ".pcap.gz", ".json"} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name+ext)))
	}
	return errors.Join(errs...)
}
