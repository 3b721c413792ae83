package netsim

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"tcpleak/tcp"
)

var (
	seedFlag        = flag.Uint64("seed", 1, "of the first connection")
	connectionsFlag = flag.Int("connections", 2000, "how many to play")
)

func TestConnections(t *testing.T) {
	var mu sync.Mutex
	total := Report{Undecidable: make(map[string]int)}
	var wg sync.WaitGroup
	seeds := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			mine := Report{Undecidable: make(map[string]int)}
			for s := range seeds {
				Run(s, &mine)
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(&mine)
		}()
	}
	for i := range *connectionsFlag {
		seeds <- *seedFlag + uint64(i)
	}
	close(seeds)
	wg.Wait()
	slices.SortFunc(total.Failures, func(a, b Failure) int { return len(a.Text) - len(b.Text) })
	for _, f := range total.Failures[:min(len(total.Failures), 5)] {
		t.Error(f.Text)
	}
	kinds := make(map[string][]uint64)
	for _, f := range total.Failures {
		head := f.Text[strings.Index(f.Text, ": ")+2:]
		head, _, _ = strings.Cut(head, "\n")
		head, why, _ := strings.Cut(head, ": ")
		head += ": " + strings.Join(strings.FieldsFunc(why, func(r rune) bool { return r >= '0' && r <= '9' }), "N")
		kinds[head] = append(kinds[head], f.Seed)
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		t.Log(len(kinds[k]), k, kinds[k][:min(4, len(kinds[k]))])
	}
	t.Log(total.String())
}

func (r *Report) add(o *Report) {
	r.Connections += o.Connections
	r.Moments += o.Moments
	r.Endpoints += o.Endpoints
	r.Agreed += o.Agreed
	r.Confirmed += o.Confirmed
	r.Frames += o.Frames
	for i, n := range o.States {
		r.States[i] += n
	}
	r.Failures = append(r.Failures, o.Failures...)
	for k, n := range o.Undecidable {
		r.Undecidable[k] += n
	}
}

func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d connections, %d frames, %d moments, %d endpoints: %d agreed, %d confirmed; %d connections failed",
		r.Connections, r.Frames, r.Moments, r.Endpoints, r.Agreed, r.Confirmed, len(r.Failures))
	for i, n := range r.States {
		fmt.Fprintf(&b, "\n%8d %v", n, tcp.State(i))
	}
	for _, k := range slices.Sorted(maps.Keys(r.Undecidable)) {
		fmt.Fprintf(&b, "\n%8d undecidable: %s", r.Undecidable[k], k)
	}
	return b.String()
}
