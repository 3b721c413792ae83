package diagnosis

import (
	"runtime"
	"sync"
)

// leastShare is how many connections are worth a goroutine of their own. Tests lower it.
var leastShare = 1 << 10

// workersFor returns how many goroutines should share n connections.
func workersFor(n int) int { return max(1, min(runtime.GOMAXPROCS(0), n/leastShare)) }

// share calls do for equal parts of the numbers from 0 to n, each in a goroutine; worker counts the parts, in their order.
func share(workers, n int, do func(worker, from, to int)) {
	if workers == 1 {
		do(0, 0, n)
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { do(w, n*w/workers, n*(w+1)/workers) })
	}
	wg.Wait()
}
