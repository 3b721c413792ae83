// Package traffic writes captures of any number of interleaved TCP connections, complete and broken.
//
// Packets come out in the order of time, at something like the rate of a busy server, and nothing is kept but the
// connections that are open: a file of any length takes the memory of Config.Concurrent. The same Config gives the same
// octets. Lengths and checksums are right.
package traffic

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
)

// Fate is what becomes of a connection.
type Fate uint8

// The fates. All but Complete, Held and Forged count as broken.
const (
	Complete      Fate = iota // opened, used, and closed by both ends
	Unanswered                // nothing answers the SYN, which may be repeated
	Refused                   // a RST answers the SYN
	Stuck                     // the server repeats its SYN-ACK, whatever the client acknowledges: its accept queue is full
	HalfClosed                // the client closes, and the server never does
	Reset                     // one end resets it
	HalfOpen                  // the client is gone without a word, and the server repeats itself
	Retransmitted             // complete; a segment and its first repetition are lost behind the capture
	Lossy                     // complete; a segment is lost before or behind the capture, and others are acknowledged selectively
	Held                      // of a flood: open to the end
	Forged                    // of a flood: one SYN
	NumFates      int  = iota
)

// broken are what Config.Broken is a share of, each as often as the others.
var broken = [...]Fate{Unanswered, Refused, Stuck, HalfClosed, Reset, HalfOpen, Retransmitted, Lossy}

// String returns the name in lower case: "half-closed".
func (f Fate) String() string {
	return [...]string{
		"complete", "unanswered", "refused", "stuck", "half-closed", "reset", "half-open", "retransmitted", "lossy", "held", "forged",
	}[f]
}

// Config says what to write.
type Config struct {
	Packets     uint64  // how many; 0 is as many as Connections need to be played to their ends
	Connections uint64  // begin no more than these; 0 is no limit
	Concurrent  int     // connections open at once
	Payload     int     // mean octets of a segment with data, 1 to MaxPayload
	SnapLen     int     // octets kept of each packet; 0 is all
	IPv6        float64 // share of the connections, 0 to 1
	Broken      float64 // share of the connections, 0 to 1
	Flood       uint64  // instead of Packets, Connections, Concurrent and Broken: so many forged SYNs, over FloodHeld and FloodHalfClosed
	Seed        uint64
}

// Bounds of a Config, and what a flood comes over.
const (
	MaxPayload      = 1448
	MaxConcurrent   = 10_000_000 // the clients have ports for eleven times as many
	FloodHeld       = 1000       // connections that are open before a flood, in use, and open after it
	FloodHalfClosed = 100        // connections that the client has closed before a flood and the server has not
)

func (c *Config) check() error {
	switch {
	case c.Flood == 0 && c.Packets == 0 && c.Connections == 0:
		return fmt.Errorf("neither packets nor connections nor a flood: there is no end")
	case c.Flood == 0 && (c.Concurrent < 1 || c.Concurrent > MaxConcurrent):
		return fmt.Errorf("%d concurrent connections: from 1 to %d", c.Concurrent, MaxConcurrent)
	case c.Payload < 1 || c.Payload > MaxPayload:
		return fmt.Errorf("%d octets of payload: from 1 to %d", c.Payload, MaxPayload)
	case c.SnapLen < 0:
		return fmt.Errorf("a snap length of %d", c.SnapLen)
	case !(c.IPv6 >= 0 && c.IPv6 <= 1), !(c.Broken >= 0 && c.Broken <= 1):
		return fmt.Errorf("a share is a number from 0 to 1")
	}
	return nil
}

// Summary says what was written.
type Summary struct {
	Packets     uint64
	Connections uint64           // begun
	Fates       [NumFates]uint64 // of the connections begun
	Unfinished  uint64           // connections begun whose fate the last packet forestalled; those that are Held are none
}

// Write writes a pcap file.
func Write(w io.Writer, cfg Config) (Summary, error) {
	if err := cfg.check(); err != nil {
		return Summary{}, err
	}
	return newGenerator(w, cfg).run()
}

const (
	// start of the capture, seconds since 1970.
	start = 1_760_000_000
	// rate is how many packets a second the connections are paced to, where their round trips admit it.
	rate = 200_000
	// connectionPackets and connectionExchanges are what a connection comes to, about.
	connectionPackets   = 26
	connectionExchanges = 3.2
	// floodStart is when those that were there before have been opened, or half closed; floodGap lies between two SYNs.
	floodStart = 5 * second
	floodGap   = 10 // µs
)

// generator plays connections, each in a slot that the next takes over.
type generator struct {
	cfg     Config
	rng     *rand.Rand
	frames  *frameWriter
	slots   []connection
	queue   queue
	forged  connection // the one of a flood that is being written
	ports   [clients]uint16
	think   float64 // mean wait before a request, µs
	now     int64   // µs since start
	summary Summary
	begun   func(*connection) // for tests
}

func newGenerator(w io.Writer, cfg Config) *generator {
	g := &generator{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0)), frames: newFrameWriter(w, cfg.SnapLen)}
	for i := range g.ports {
		g.ports[i] = uint16(g.rng.Uint32N(ephemeralPorts))
	}
	n, ramp := cfg.Concurrent, int64(0)
	if cfg.Flood > 0 {
		n = FloodHeld + FloodHalfClosed
		ramp = floodStart / 5
		g.think = 10 * second
	} else {
		life := float64(n) * connectionPackets / rate * 1e6
		g.think = life / connectionExchanges
		// Short, so that all are open long before the first have run their course.
		ramp = int64(life/20) + 1
		if c := cfg.Connections; c > 0 && c < uint64(n) {
			n = int(c)
		}
	}
	g.slots = make([]connection, n)
	g.queue = make(queue, 0, n+1)
	for i := range g.slots {
		g.queue.push(event{g.rng.Int64N(ramp), uint32(i)})
	}
	if cfg.Flood > 0 {
		g.queue.push(event{floodStart, g.floodSlot()})
	}
	return g
}

// floodSlot is the place in the queue that belongs to no connection.
func (g *generator) floodSlot() uint32 { return uint32(len(g.slots)) }

func (g *generator) run() (Summary, error) {
	for len(g.queue) > 0 && !g.done() {
		next := g.queue[0]
		g.now = next.at
		wait, more := int64(floodGap), true
		if next.slot == g.floodSlot() {
			g.forge()
		} else {
			wait, more = g.step(&g.slots[next.slot])
		}
		if more {
			g.queue.delayFirst(wait)
		} else {
			g.queue.removeFirst()
		}
	}
	for i := range g.slots {
		if c := &g.slots[i]; c.begun && c.fate != Held && (c.at < c.planned || c.stage != over) {
			g.summary.Unfinished++
		}
	}
	g.summary.Packets = g.frames.packets
	return g.summary, g.frames.flush()
}

func (g *generator) done() bool {
	switch {
	case g.frames.err != nil:
		return true
	case g.cfg.Flood > 0:
		return g.summary.Fates[Forged] == g.cfg.Flood
	}
	return g.cfg.Packets > 0 && g.frames.packets >= g.cfg.Packets
}

// step plays the next step of c and returns how long it is to the one after it; false if none follows in this slot.
func (g *generator) step(c *connection) (wait int64, more bool) {
	if !c.begun {
		g.begin(c, g.fate())
		g.plan(c)
	}
	g.play(c, c.plan[c.at])
	c.at++
	if c.at == c.planned && !g.plan(c) {
		*c = connection{}
		if limit := g.cfg.Connections; g.cfg.Flood > 0 || limit > 0 && g.summary.Connections >= limit {
			return 0, false
		}
		return 1 + g.rng.Int64N(1000), true
	}
	next := c.plan[c.at]
	if next.dir == c.turn {
		return int64(next.wait) + 5 + g.rng.Int64N(40), true
	}
	return int64(next.wait) + int64(c.rtt)/2 + g.rng.Int64N(int64(c.rtt)/8+1), true
}

// fate draws what becomes of the next connection.
func (g *generator) fate() Fate {
	switch {
	case g.cfg.Flood > 0 && g.summary.Fates[HalfClosed] < FloodHalfClosed:
		return HalfClosed
	case g.cfg.Flood > 0:
		return Held
	case g.rng.Float64() < g.cfg.Broken:
		return broken[g.rng.IntN(len(broken))]
	}
	return Complete
}

// begin makes c a new connection.
func (g *generator) begin(c *connection, fate Fate) {
	r := g.rng
	client := r.Uint32N(clients)
	g.ports[client] = (g.ports[client] + 1) % ephemeralPorts
	// Some servers are much busier than others.
	u := r.Float64()
	server := uint32(u * u * servers)
	*c = connection{
		begun: true, fate: fate, v6: r.Float64() < g.cfg.IPv6, timestamps: r.IntN(10) > 0,
		exchanges: g.exchanges(), rtt: uint32(200 * math.Exp(r.Float64()*5)), // 0.2 to 30 ms
	}
	c.ends[0].host, c.ends[0].port = firstClient+client, firstEphemeral+g.ports[client]
	c.ends[1].host, c.ends[1].port = firstServer+server, services[server%uint32(len(services))]
	g.number(c)
}

// exchanges draws how many requests a connection carries: most a few, some many.
func (g *generator) exchanges() uint16 {
	if g.rng.IntN(10) == 0 {
		return uint16(5 + g.rng.IntN(14))
	}
	return uint16(1 + g.rng.IntN(4))
}

// forge writes one SYN of a flood.
func (g *generator) forge() {
	c := &g.forged
	*c = connection{begun: true, fate: Forged}
	c.ends[0].host, c.ends[0].port = firstForged+g.rng.Uint32N(forgedHosts), uint16(1024+g.rng.Uint32N(1<<16-1024))
	c.ends[1].host, c.ends[1].port = firstServer, services[0]
	g.number(c)
	g.play(c, step{kind: syn})
}

// number gives c its numbers, and counts it.
func (g *generator) number(c *connection) {
	for i := range c.ends {
		e := &c.ends[i]
		numbers := g.rng.Uint64()
		e.iss, e.clock = uint32(numbers), uint32(numbers>>32)
		e.id = uint16(g.rng.Uint32())
	}
	g.summary.Connections++
	g.summary.Fates[c.fate]++
	if g.begun != nil {
		g.begun(c)
	}
}
