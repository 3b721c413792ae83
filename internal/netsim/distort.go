package netsim

import (
	"slices"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// shown is a frame as a worse capture would have seen it.
type shown struct {
	packet uint64 // of the true capture
	tcp.Segment
}

// distortion is something that a capture may do to what passes it.
type distortion struct {
	name  string
	apply func(w *world, frames []shown) []shown
}

var distortions = []distortion{
	{"the capture lost some", (*world).thinned},
	{"the capture saw some twice", (*world).doubled},
	{"the capture saw neighbours the wrong way round", (*world).swapped},
	{"the capture began late", (*world).late},
	{"the capture saw only the client", onlyFrom(0)},
	{"the capture saw only the server", onlyFrom(1)},
}

const oneSided = 4 // those from here on

// distort shows the connection to a tracker once more as a worse capture, and holds what that then confirms against the
// same truth. What a capture missed at the end, and a RST, leave no trace.
func (w *world) distort() {
	var all []shown
	for _, f := range w.frames {
		if f.segment.Packet != 0 {
			all = append(all, shown{f.segment.Packet, f.segment})
		}
	}
	slices.SortFunc(all, func(a, b shown) int { return int(a.packet) - int(b.packet) })
	n := w.random.IntN(len(distortions))
	d := &distortions[n]
	left := d.apply(w, slices.Clone(all))
	kept := make([]bool, len(all)+1)
	for _, s := range left {
		kept[s.packet] = true
	}

	table := tracker.New(tracker.Config{})
	var traceless []*shown // what it missed, and nothing since has revealed
	resetMissed := false
	fed, wanted, seen := 0, uint64(0), make([]bool, len(all)+1)
	for i := range w.moments {
		m := &w.moments[i]
		for ; wanted < m.packet; wanted++ {
			s := &all[wanted]
			if !kept[s.packet] {
				traceless = append(traceless, s)
				resetMissed = resetMissed || s.Flags.Any(tcp.RST)
				continue
			}
			traceless = slices.DeleteFunc(traceless, func(t *shown) bool {
				return w.sender(&t.Segment) == w.sender(&s.Segment) && reveals(&s.Segment, &t.Segment)
			})
		}
		for ; fed < len(left) && left[fed].Time <= m.at; fed++ {
			s := left[fed].Segment
			s.Packet = uint64(fed + 1)
			seen[left[fed].packet] = true
			table.Add([]tcp.Segment{s})
		}
		if fed == 0 || resetMissed || !slices.Equal(seen[1:m.packet+1], kept[1:m.packet+1]) || slices.Contains(seen[m.packet+1:], true) {
			continue
		}
		if n < oneSided && len(traceless) > 0 {
			continue
		}
		for end, e := range w.inferred(table, m.at) {
			if e.Certainty != tracker.Confirmed {
				continue
			}
			w.report.Distorted++
			// A capture that missed what the host did not answer cannot know that it vanished.
			if m.doubted[end] || w.hosts[end].end.vanished != 0 || agrees(w.hosts[end], m.truth[end], e.State) {
				continue
			}
			w.failed++
			w.report.Failures = append(w.report.Failures, w.failure(m.at, end, m.truth[end], e, d.name, table))
			return
		}
	}
}

func (w *world) sender(s *tcp.Segment) int {
	if s.SrcPort == w.hosts[0].own.Port && s.Src.String() == w.address(0) {
		return 0
	}
	return 1
}

func (w *world) thinned(frames []shown) []shown {
	share := 0.01 + w.random.Float64()*0.2
	return slices.DeleteFunc(frames, func(shown) bool { return w.chance(share) })
}

func (w *world) doubled(frames []shown) []shown {
	for _, s := range slices.Clone(frames) {
		if w.chance(0.5) {
			s.Time += w.random.Int64N(int64(time.Millisecond))
			frames = append(frames, s)
		}
	}
	slices.SortStableFunc(frames, func(a, b shown) int { return int(a.Time - b.Time) })
	return frames
}

func (w *world) swapped(frames []shown) []shown {
	restamped := w.chance(0.5)
	for i := 0; i+1 < len(frames); i++ {
		a, b := &frames[i], &frames[i+1]
		if b.Time-a.Time > int64(time.Millisecond) || !w.chance(0.3) {
			continue
		}
		*a, *b = *b, *a
		if restamped {
			a.Time, b.Time = b.Time, a.Time
		}
		i++
	}
	return frames
}

func (w *world) late(frames []shown) []shown {
	if len(frames) == 0 {
		return nil
	}
	return frames[w.random.IntN(len(frames)):]
}

func onlyFrom(host int) func(w *world, frames []shown) []shown {
	return func(w *world, frames []shown) []shown {
		return slices.DeleteFunc(frames, func(s shown) bool { return w.sender(&s.Segment) != host })
	}
}
