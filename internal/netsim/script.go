package netsim

import (
	"bytes"
	"fmt"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	gvisor "gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"tcpleak/tcp"
)

func (w *world) chance(p float64) bool { return w.random.Float64() < p }

// between returns a duration from low to high, each magnitude as likely as another.
func (w *world) between(low, high time.Duration) time.Duration {
	d := low
	for d < high && w.chance(0.7) {
		d *= 2
	}
	return min(d+time.Duration(w.random.Int64N(int64(d))), high)
}

// play runs the random script of this world.
func (w *world) play() {
	w.conditions()
	w.hosts[1].accepts = !w.chance(0.05)
	simultaneous := w.chance(0.1)
	if simultaneous {
		w.act(0, "connects", func(h *host) { h.connect(w.receiveBuffers[0]) })
		if w.chance(0.5) {
			w.advance(w.between(time.Microsecond, w.paths[0].before+w.paths[0].after))
		}
		w.act(1, "connects", func(h *host) { h.connect(w.receiveBuffers[1]) })
	} else {
		if !w.chance(0.05) {
			w.act(1, "listens", func(h *host) { h.listen(w.receiveBuffers[1]) })
		}
		w.act(0, "connects", func(h *host) { h.connect(w.receiveBuffers[0]) })
	}
	w.pause()
	for range 2 + w.random.IntN(12) {
		w.step(w.random.IntN(2))
		w.pause()
	}
	if w.chance(0.7) {
		for _, i := range w.random.Perm(2) {
			w.act(i, "closes", func(h *host) { h.closeApp() })
			w.pause()
		}
	}
	for _, h := range w.hosts {
		if h.down && w.chance(0.5) {
			w.act(h.index, "is up again", (*host).restart)
		}
	}
	w.advance(w.between(10*time.Millisecond, 200*time.Second))
}

// conditions chooses what the wire is like.
func (w *world) conditions() {
	rate := func(p, most float64) float64 {
		if !w.chance(p) {
			return 0
		}
		return w.random.Float64() * most
	}
	for i := range w.paths {
		w.paths[i] = path{
			before: w.between(5*time.Microsecond, 60*time.Millisecond), after: w.between(5*time.Microsecond, 60*time.Millisecond),
			lostBefore: rate(0.2, 0.2), lostAfter: rate(0.5, 0.3), delayed: rate(0.1, 0.1), reordered: rate(0.3, 0.3), doubled: rate(0.2, 0.2),
		}
		if w.chance(0.3) {
			w.receiveBuffers[i] = 4096 << w.random.IntN(4)
		}
	}
	for i, p := range w.paths {
		w.say("%s's way to the capture and on: %v", hostNames[i], p)
	}
}

func (w *world) pause() {
	switch w.random.IntN(5) {
	case 0:
		w.advance(w.between(time.Microsecond, 10*time.Millisecond))
	case 1, 2:
		w.advance(w.between(time.Millisecond, 500*time.Millisecond))
	case 3:
		w.advance(w.between(200*time.Millisecond, 10*time.Second))
	case 4:
		w.advance(w.between(time.Second, 150*time.Second))
	}
}

func (h *host) restart() { h.down = false }

func (h *host) closeApp() {
	if h.app != nil {
		h.app.Close()
	}
}

// step does one random thing at host i.
func (w *world) step(i int) {
	h := w.hosts[i]
	if h.down {
		if w.chance(0.3) {
			w.act(i, "is up again", (*host).restart)
		}
		return
	}
	if h.app == nil || h.state() == tcp.Closed {
		if (i == 0 || h.listener == nil) && w.chance(0.6) && w.clock.flying == 0 {
			w.act(i, "connects again", func(h *host) { h.connect(w.receiveBuffers[i]) })
		}
		return
	}
	switch n := w.random.IntN(100); {
	case n < 40:
		size := 1 + w.random.IntN(1000)
		if w.chance(0.3) {
			size = 1 + w.random.IntN(40000)
		}
		w.act(i, fmt.Sprintf("sends %d octets", size), func(h *host) {
			h.app.Write(bytes.NewReader(make([]byte, size)), tcpip.WriteOptions{})
		})
	case n < 50:
		w.act(i, "stops reading", func(h *host) { h.reads = false })
	case n < 58:
		w.act(i, "reads", func(h *host) { h.reads = true })
	case n < 70:
		w.act(i, "half-closes", func(h *host) { h.app.Shutdown(tcpip.ShutdownWrite) })
	case n < 80:
		w.act(i, "closes", (*host).closeApp)
	case n < 84:
		w.act(i, "aborts", func(h *host) {
			h.app.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: true})
			h.app.Close()
		})
	case n < 87:
		idle, interval, count := w.between(time.Second, 10*time.Second), w.between(time.Second, 5*time.Second), 1+w.random.IntN(5)
		w.act(i, fmt.Sprintf("keeps alive: %v, %v, %d", idle, interval, count), func(h *host) {
			if h.app.State() != uint32(gvisor.StateClose) {
				h.keepAlive(idle, interval, count)
			}
		})
	case n < 92:
		w.act(i, "vanishes", func(h *host) {
			h.down = true
			h.crash()
			h.end.vanished = w.clock.time()
		})
	default:
		w.advance(w.between(time.Second, 150*time.Second))
	}
}
