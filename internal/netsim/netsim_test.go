package netsim

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"tcpleak/tcp"
)

var (
	seed        = flag.Uint64("seed", 1, "of the first connection; the others have the numbers that follow. 0: by chance")
	connections = flag.Int("connections", 3000, "how many to play")
)

// shownFailures is how many failures are told in full: the shortest, which explain the most.
const shownFailures = 3

func TestConnections(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	total := play(first, *connections)
	slices.SortFunc(total.Failures, func(a, b Failure) int { return len(a.Text) - len(b.Text) })
	for _, f := range total.Failures[:min(len(total.Failures), shownFailures)] {
		t.Error(f.Text)
	}
	t.Logf("seeds from %d\n%s%s", first, total, total.Kinds())
}

func play(first uint64, n int) *Report {
	var total Report
	var mu sync.Mutex
	var players sync.WaitGroup
	seeds := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		players.Go(func() {
			var own Report
			for s := range seeds {
				own.Run(s)
			}
			mu.Lock()
			defer mu.Unlock()
			total.Add(&own)
		})
	}
	for i := range n {
		seeds <- first + uint64(i)
	}
	close(seeds)
	players.Wait()
	return &total
}

// A failing seed is of use only if it fails again.
func TestASeedPlaysTheSameConnectionAgain(t *testing.T) {
	for seed := range uint64(20) {
		var told [2]string
		for i := range told {
			w := newWorld(seed, new(Report))
			w.play()
			var b strings.Builder
			w.story(&b, w.clock.time(), w.table)
			told[i] = b.String()
			w.close()
		}
		if told[0] != told[1] {
			t.Errorf("seed %d: at first\n%s\nthen\n%s", seed, told[0], told[1])
		}
	}
}

func TestEveryStateIsReached(t *testing.T) {
	r := play(1, 300)
	for s, n := range r.States {
		if s := tcp.State(s); n == 0 && s != tcp.Unknown {
			t.Errorf("no endpoint was ever in %v", s)
		}
	}
}
