package diagnosis

import (
	"fmt"
	"time"

	"tcpleak/diagnosis/trend"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// leak is connections of one culprit that are left behind, more and more of them.
type leak struct {
	role   tracker.Role
	key    key
	idle   bool  // they are left idle in ESTABLISHED, not in CLOSE_WAIT
	asking bool  // of the idle, most wait for an answer
	usual  int64 // of the idle: the longest silence that ended by a close, as an idle timeout does
	since  int64
	growth Growth
}

// Times that a leak is judged by.
const (
	// stuckTime is how long a connection is in CLOSE_WAIT before it counts: healthy ones pass through in milliseconds.
	stuckTime = int64(5 * time.Second)
	// quietTime is how long an open connection is silent before it counts.
	quietTime = int64(10 * time.Second)
	// longQuiet is the silence of the oldest that is left: no pool's pings are farther apart, as devices on the way forget
	// connections after minutes. In a window shorter than that, it is three quarters of the window.
	longQuiet = int64(2 * time.Minute)
	samples   = 60
)

// leaks finds those who leave connections behind: by the growth of what has been left for long enough to tell it from healthy
// traffic, over the longest time in which it keeps growing, and half of that, and so on.
func (w *crowd) leaks() []*leak {
	limit := w.rules.thresholds[Leak]
	var all []*leak
	services := make(map[endpoint][]*pair)
	blamed := make(map[endpoint]bool)
	for k, p := range w.pairs {
		services[k.server] = append(services[k.server], p)
		for _, idle := range [...]bool{false, true} {
			l := &leak{role: tracker.Client, idle: idle, key: key{kind: Leak, role: tracker.Client, addr: k.client, service: k.server}}
			if l.grows(w, []*pair{p}, limit) && !l.asking {
				all = append(all, l)
				blamed[k.server] = blamed[k.server] || idle
			}
		}
	}
	for e, pairs := range services {
		for _, idle := range [...]bool{false, true} {
			l := &leak{role: tracker.Server, idle: idle, key: key{kind: Leak, role: tracker.Server, addr: e.addr, service: e}}
			if (!idle || !blamed[e]) && l.grows(w, pairs, limit) {
				all = append(all, l)
			}
		}
	}
	return all
}

// left returns since when the connection is left behind, and whether it still is.
func (l *leak) left(life *life, now int64) (since int64, is bool) {
	switch {
	case !l.idle:
		return life.closeWait[l.role], life.closeWait[l.role] != 0 && life.ends[l.role] == 0
	case life.ends != [2]int64{}:
		return 0, false
	}
	silent := now - life.last
	return life.last, l.tooQuiet(silent, now-life.start)
}

// tooQuiet reports whether a connection of that age has been silent for so long that it is left behind: more than a quarter
// longer than any that was closed in the end.
func (l *leak) tooQuiet(silent, age int64) bool {
	return silent >= quietTime && silent >= l.usual*5/4 && silent >= age/2
}

// grows reports whether what pairs leave behind keeps growing up to now, and fills in how.
func (l *leak) grows(w *crowd, pairs []*pair, limit Threshold) bool {
	lefts, asking, clients, oldest := 0, 0, 0, w.now
	for _, p := range pairs {
		for i := range p.lives {
			if life := &p.lives[i]; l.idle {
				l.usual = max(l.usual, life.closed()-max(life.last, w.first))
			}
		}
	}
	for _, p := range pairs {
		before := lefts
		for i := range p.lives {
			life := &p.lives[i]
			if since, is := l.left(life, w.now); is {
				lefts++
				oldest = min(oldest, since)
				if life.asking {
					asking++
				}
			}
		}
		if lefts > before {
			clients++
		}
	}
	// A capture of a minute shows a little less than a minute.
	least := int64(limit.Age) - int64(limit.Age)/20
	if lefts < limit.Count || w.now-w.first < least {
		return false
	}
	l.asking, l.since = l.idle && 2*asking > lefts, oldest
	// One quiet connection of each client is what a growing number of users looks like.
	if l.idle && !l.asking && l.role == tracker.Server && 4*lefts < 5*clients {
		return false
	}
	for span := w.now - w.first; span >= least; span /= 2 {
		if l.idle && w.now-oldest < min(span*3/4, longQuiet) {
			continue
		}
		if l.growsOver(w, pairs, span, limit) {
			return true
		}
	}
	return false
}

func (l *leak) growsOver(w *crowd, pairs []*pair, span int64, limit Threshold) bool {
	// What began just now cannot yet be told from what ends in a moment.
	dwell := stuckTime
	if l.idle {
		dwell = quietTime
	}
	from, to := w.now-span, w.now-dwell
	step := (to - from) / (samples - 1)
	if step <= 0 {
		return false
	}
	var change [samples + 1]float64
	fresh := 0
	count := func(begin, end int64) {
		if end-begin < dwell || end <= from || begin > to {
			return
		}
		first, last := max((begin-from+step-1)/step, 0), (end-from)/step
		if first < samples {
			change[first]++
		}
		if last+1 < samples {
			change[last+1]--
		}
	}
	for _, p := range pairs {
		for i := range p.lives {
			life := &p.lives[i]
			end := life.ends[l.role]
			if end == 0 {
				end = w.now
			}
			if l.idle {
				count(life.start, end)
			} else if at := life.closeWait[l.role]; at != 0 {
				count(at, end)
			}
			if _, is := l.left(life, w.now); is && life.start >= from {
				fresh++
			}
		}
	}
	times, values := make([]int64, samples), make([]float64, samples)
	level := 0.0
	for i := range values {
		level += change[i]
		times[i], values[i] = from+int64(i)*step, level
	}
	rise := int(values[samples-1] - values[0])
	perSecond, grows := trend.Grows(times, values)
	if !grows || rise < limit.Count || l.idle && (fresh < limit.Count || 2*fresh < rise) {
		return false
	}
	l.growth = Growth{PerMinute: perSecond * 60, From: int(values[0]), To: int(values[samples-1]), Over: time.Duration(span)}
	for _, n := range [...]int{1024, 65536} {
		if missing := float64(n - l.growth.To); missing > 0 && perSecond > 0 {
			if in := missing / perSecond; in < 1e8 {
				l.growth.Limits = append(l.growth.Limits, Limit{n, time.Duration(in * 1e9)})
			}
		}
	}
	return true
}

// holds reports whether c is one of those left behind.
func (l *leak) holds(c *tracker.Connection, now int64) bool {
	x, y := &c.Ends[l.role], &c.Ends[l.role.Peer()]
	if c.Visibility != tracker.BothSides || c.Ends[l.key.role].Addr != l.key.addr || endpointOf(&c.Ends[tracker.Server]) != l.key.service {
		return false
	}
	if !l.idle {
		return x.State == tcp.CloseWait && !mayHaveClosed(c, x)
	}
	return x.State == tcp.Established && y.State == tcp.Established && c.Opened != tracker.Midstream && l.tooQuiet(now-spokeLast(c), now-c.Start)
}

func (l *leak) words(f *Finding, example *tracker.Connection) {
	x, y := &example.Ends[l.role], &example.Ends[l.role.Peer()]
	s := &suspect{c: example, role: l.role, x: x, peer: y}
	what, state := "left in CLOSE_WAIT", "close-wait"
	if l.idle {
		what, state = "left open and silent", "established"
	}
	whose := hostPort(x)
	if l.role == tracker.Client {
		whose = fmt.Sprintf("%s, towards %s,", x.Addr, hostPort(y))
	}
	f.Summary = fmt.Sprintf("The %v %s leaks connections: %d are %s, %s more per minute over %s.",
		l.role, whose, f.Count, what, rate(l.growth.PerMinute), Age(l.growth.Over))
	if len(l.growth.Limits) > 0 {
		f.Summary += fmt.Sprintf(" At this rate there will be %d of them in %s.", l.growth.Limits[0].Descriptors, Age(l.growth.Limits[0].In))
	}
	switch {
	case !l.idle:
		f.Cause = fmt.Sprintf("The %v closes, and the application on the %v does not: a code path forgets close(), and each time it runs one more socket and "+
			"descriptor stays, until accept() or connect() fails with \"too many open files\".", l.role.Peer(), l.role)
	case l.asking:
		f.Cause = "The clients have sent requests and wait; the server neither answers nor closes: its workers hang, on a lock, a database or another service, " +
			"and each request occupies one more of them."
	case l.role == tracker.Client:
		f.Cause = "The client has had its answer, and neither uses the connection again nor closes it: a response body is not read to its end or not closed, " +
			"or a new pool is made for each request. Or its pool is still growing to what it needs."
	default:
		f.Cause = "Many clients leave connections open and never use them again, and the server has no idle timeout that would close them."
	}
	f.Next = fmt.Sprintf("On %s, see which process holds them, and watch the number", x.Addr)
	f.Command = ssOptions("-tnp state "+state, s)
	f.Evidence = marks(
		proof(y.Facts.FIN, l.role.Peer(), "of the oldest: closes its end"),
		proof(x.Facts.AckReached, l.role, "of the oldest: acknowledges; its own FIN never follows"),
		proof(x.Facts.Last, l.role, "of the oldest: last sign of life"),
	)
	if l.idle {
		f.Evidence = marks(
			proof(x.Facts.Last, l.role, "of the oldest: last sign of life"),
			proof(y.Facts.Last, l.role.Peer(), "of the oldest: last sign of life"),
		)
	}
}

// rate writes a number per minute with the digits that matter.
func rate(perMinute float64) string {
	if perMinute < 10 {
		return fmt.Sprintf("%.1f", perMinute)
	}
	return fmt.Sprintf("%.0f", perMinute)
}
