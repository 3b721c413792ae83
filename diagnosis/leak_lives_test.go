package diagnosis

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tracker"
)

// TestWhatDoesNotMatterToALeak makes up lives, and checks that those that are left out change nothing.
func TestWhatDoesNotMatterToALeak(t *testing.T) {
	const now = int64(1_000_000 * time.Second)
	limit := Threshold{Leak, 60 * time.Second, 5}
	w := &crowd{now: now, first: now - int64(5*time.Minute)}
	grown, leftOut := 0, 0
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 3))
		within := func(d time.Duration) int64 { return random.Int64N(int64(d)) }
		var all, some []life
		rate := random.IntN(4)
		for range 20 + random.IntN(300) {
			l := life{start: w.first + within(5*time.Minute), client: random.Uint64N(20), asking: random.IntN(2) == 0}
			l.last = min(now, l.start+within(time.Second))
			switch random.IntN(4 + 4*rate) {
			case 0: // left open
			case 1: // left in CLOSE_WAIT
				role := tracker.Role(random.IntN(2))
				l.waits[role], l.ends[role.Peer()] = true, min(now, l.last+within(time.Second))
			case 2: // before the capture
				l.start, l.last = 0, random.Int64N(2)*l.last
				l.ends[0] = random.Int64N(2) * now
			default:
				role := tracker.Role(random.IntN(2))
				l.waits[role] = random.IntN(2) == 0
				l.ends[role.Peer()] = min(now, l.last+within([]time.Duration{time.Second, 20 * time.Second}[random.IntN(2)]))
				l.ends[role] = min(now, l.ends[role.Peer()]+within([]time.Duration{time.Second, 20 * time.Second}[random.IntN(2)]))
			}
			all = append(all, l)
			if l.matters(now) {
				some = append(some, l)
			}
		}
		leftOut += len(all) - len(some)
		for i := range 4 {
			a := &leak{role: tracker.Role(i % 2), idle: i < 2}
			b := *a
			grows := a.grows(w, all, limit)
			if got := b.grows(w, some, limit); got != grows {
				t.Fatalf("seed %d: of all %v, of what matters %v", seed, grows, got)
			}
			if diff := cmp.Diff(a.growth, b.growth); diff != "" || grows && (a.since != b.since || a.asking != b.asking) {
				t.Fatalf("seed %d (-all +what matters):\n%s", seed, diff)
			}
			if grows {
				grown++
			}
		}
	}
	if grown < 100 || leftOut < 1000 {
		t.Errorf("%d leaks, %d left out: too few to tell", grown, leftOut)
	}
}
