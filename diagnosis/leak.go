package diagnosis

import (
	"cmp"
	"fmt"
	"slices"
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

// waiting reports whether an end of l is in CLOSE_WAIT.
func (l *life) waiting() bool {
	for role := range l.ends {
		if l.waits[role] && l.ends[role] == 0 {
			return true
		}
	}
	return false
}

// leavable reports whether l may be left behind, if not now then when it has been silent for longer.
func (l *life) leavable() bool { return l.waiting() || l.ends == [2]int64{} }

// mayBeLeft reports whether l may be left behind, whatever is usual.
func (l *life) mayBeLeft(now int64) bool {
	return l.waiting() || l.ends == [2]int64{} && tooQuiet(now-l.last, now-l.start, 0)
}

// matters reports whether the search for leaks must know of l. Of others it would learn nothing: they were gone in less time
// than it takes to count, and closed before their silence could become what is usual.
func (l *life) matters(now int64) bool {
	for role := range l.ends {
		end := l.ends[role]
		if end == 0 {
			end = now
		}
		if end-l.start >= quietTime || l.waits[role] && (l.ends[role] == 0 || end-l.closeWait(tracker.Role(role)) >= stuckTime) {
			return true
		}
	}
	at := l.closed()
	return at != 0 && (l.last == 0 || (at-l.last)*5/4 > quietTime)
}

// searched reports whether p may leak, and the capture is long enough to show it.
func (w *crowd) searched(p *port) bool {
	limit := w.rules.thresholds[Leak]
	return p.left >= limit.Count && w.now-w.first >= leastSpan(limit) && w.now < w.calm(p)
}

// calm returns from when on nothing leaks at p, unless something more is heard. To keep growing over a time is to do so in its last
// quarter, at the end of which there are more than at its beginning (trend.Grows): then something began in its last three eighths.
func (w *crowd) calm(p *port) int64 {
	if p.began <= w.first {
		return w.first
	}
	const margin = time.Microsecond // the samples of a time are a whole number of ns apart
	return add(w.first, time.Duration((p.began-w.first)/5*8+quietTime)+margin)
}

// nextLook returns when to look for leaks again, if nothing more is heard: what has been left behind may be seen to grow with every
// sample of the shortest time that shows it.
func (w *crowd) nextLook() int64 {
	next, limit := never, w.rules.thresholds[Leak]
	for _, p := range w.ports {
		if calm := w.calm(p); p.leavable >= limit.Count && w.now < calm {
			sample := max(leastSpan(limit)/(samples-1), 1)
			next = min(next, calm, max(w.now+sample, w.first+leastSpan(limit)))
		}
	}
	return next
}

// leastSpan is the least time that shows a leak. A capture of a minute shows a little less than a minute.
func leastSpan(limit Threshold) int64 { return int64(limit.Age) - int64(limit.Age)/20 }

// leaks finds those who leave connections with e behind: by the growth of what has been left for long enough to tell it from
// healthy traffic, over the longest time in which it keeps growing, and half of that, and so on. It changes the order of
// lives.
func (w *crowd) leaks(e endpoint, lives []life, client func(*life) tcp.Addr) []*leak {
	limit := w.rules.thresholds[Leak]
	var all []*leak
	blamed := false
	slices.SortFunc(lives, func(a, b life) int {
		switch {
		case a.piled != b.piled && a.piled:
			return -1
		case a.piled != b.piled:
			return 1
		case !a.piled:
			return 0
		}
		return cmp.Compare(a.client, b.client)
	})
	for i := 0; i < len(lives) && lives[i].piled; {
		end := i + 1
		for end < len(lives) && lives[end].piled && lives[end].client == lives[i].client {
			end++
		}
		of := lives[i:end]
		i = end
		for _, idle := range [...]bool{false, true} {
			l := &leak{role: tracker.Client, idle: idle}
			if l.grows(w, of, limit) && !l.asking {
				l.key = key{kind: Leak, role: tracker.Client, addr: client(&of[0]), service: e}
				all = append(all, l)
				blamed = blamed || idle
			}
		}
	}
	for _, idle := range [...]bool{false, true} {
		l := &leak{role: tracker.Server, idle: idle, key: key{kind: Leak, role: tracker.Server, addr: e.addr, service: e}}
		if (!idle || !blamed) && l.grows(w, lives, limit) {
			all = append(all, l)
		}
	}
	return all
}

// left returns since when the connection is left behind, and whether it still is.
func (l *leak) left(life *life, now int64) (since int64, is bool) {
	switch {
	case !l.idle:
		return life.closeWait(l.role), life.waits[l.role] && life.ends[l.role] == 0
	case life.ends != [2]int64{}:
		return 0, false
	}
	silent := now - life.last
	return life.last, l.tooQuiet(silent, now-life.start)
}

// tooQuiet reports whether a connection of that age has been silent for so long that it is left behind: more than a quarter
// longer than any that was closed in the end.
func (l *leak) tooQuiet(silent, age int64) bool { return tooQuiet(silent, age, l.usual) }

func tooQuiet(silent, age, usual int64) bool {
	return silent >= quietTime && silent >= usual*5/4 && silent >= age/2
}

// grows reports whether what lives leave behind keeps growing up to now, and fills in how.
func (l *leak) grows(w *crowd, lives []life, limit Threshold) bool {
	if l.idle {
		for i := range lives {
			life := &lives[i]
			l.usual = max(l.usual, life.closed()-max(life.last, w.first))
		}
	}
	lefts, asking, oldest := 0, 0, w.now
	for i := range lives {
		life := &lives[i]
		if since, is := l.left(life, w.now); is {
			lefts++
			oldest = min(oldest, since)
			if life.asking {
				asking++
			}
		}
	}
	least := leastSpan(limit)
	if lefts < limit.Count || w.now-w.first < least {
		return false
	}
	l.asking, l.since = l.idle && 2*asking > lefts, oldest
	// One quiet connection of each client is what a growing number of users looks like.
	if l.idle && !l.asking && l.role == tracker.Server && 4*lefts < 5*l.clients(lives, lefts, w.now) {
		return false
	}
	for span := w.now - w.first; span >= least; span /= 2 {
		if l.idle && w.now-oldest < min(span*3/4, longQuiet) {
			continue
		}
		if l.growsOver(w, lives, span, limit) {
			return true
		}
	}
	return false
}

// clients counts the clients of those of lives that are left behind, lefts of them.
func (l *leak) clients(lives []life, lefts int, now int64) int {
	of := make([]uint64, 0, lefts)
	for i := range lives {
		if _, is := l.left(&lives[i], now); is {
			of = append(of, lives[i].client)
		}
	}
	slices.Sort(of)
	return len(slices.Compact(of))
}

func (l *leak) growsOver(w *crowd, lives []life, span int64, limit Threshold) bool {
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
	for i := range lives {
		life := &lives[i]
		end := life.ends[l.role]
		if end == 0 {
			end = w.now
		}
		if l.idle {
			count(life.start, end)
		} else if at := life.closeWait(l.role); at != 0 {
			count(at, end)
		}
		if _, is := l.left(life, w.now); is && life.start >= from {
			fresh++
		}
	}
	times, values := make([]int64, samples), make([]float64, samples)
	level := 0.0
	for i := range values {
		level += change[i]
		times[i], values[i] = from+int64(i)*step, level
	}
	rise := int(values[samples-1] - values[0])
	if rise < limit.Count || l.idle && (fresh < limit.Count || 2*fresh < rise) {
		return false // before the trend, which takes longer
	}
	perSecond, grows := trend.Grows(times, values)
	if !grows {
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

// began returns when c, which l holds, began to count for its growth.
func (l *leak) began(c *tracker.Connection) int64 {
	if l.idle {
		return c.Start
	}
	return c.Ends[l.role].Since
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
