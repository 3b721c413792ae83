package report

import (
	"io"
	"runtime"
)

// rowsAtOnce is how many connections are written at a time: few enough to stay in the cache, many enough to hide what a
// goroutine costs.
const rowsAtOnce = 256

// writeRows writes all connections of r, in their order. They are rendered concurrently, as that takes longer than to read
// the packets: render appends some to b.
func writeRows(w io.Writer, r *Report, render func(b []byte, r *Report, rows Rows) []byte) error {
	n := r.Counts.Connections
	ahead := runtime.GOMAXPROCS(0) + 1
	done := make([]chan []byte, ahead)
	for i := range done {
		done[i] = make(chan []byte, 1)
		done[i] <- nil
	}
	var failed error
	end := (n + rowsAtOnce - 1) / rowsAtOnce
	for i := 0; i < end+ahead; i++ {
		slot := done[i%ahead]
		b := <-slot
		if len(b) > 0 && failed == nil {
			_, failed = w.Write(b)
		}
		if i >= end || failed != nil {
			slot <- nil
			continue
		}
		go func() {
			from := i * rowsAtOnce
			slot <- render(b[:0], r, r.Rows(from, min(from+rowsAtOnce, n)))
		}()
	}
	return failed
}
