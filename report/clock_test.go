package report

import (
	"math/rand/v2"
	"testing"
)

func TestClockWritesAsAppendTime(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var c clock
	for _, near := range []int64{0, -1, 1, -1e9, 1e9 - 1, 1<<63 - 1, -1 << 63, 951782400e9} {
		for range 100 {
			ns := near
			if random.IntN(3) > 0 && near > -1<<62 && near < 1<<62 {
				ns += random.Int64N(4e9) - 2e9
			}
			if got, want := string(c.append(nil, ns)), string(appendTime(nil, ns)); got != want {
				t.Fatalf("%d: got %s, want %s", ns, got, want)
			}
		}
	}
}
