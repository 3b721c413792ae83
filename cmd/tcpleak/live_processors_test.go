package main

import (
	"runtime"
	"testing"
	"time"
)

func TestOneProcessorIsUsedWhereHardlyAnythingPasses(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3") // as though somebody had asked for so many
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	var p processors
	at, packets := time.Now(), uint64(0)
	look := func(n int, passed uint64, want int) {
		t.Helper()
		for range n {
			at, packets = at.Add(lookEvery), packets+passed
			p.look(at, packets)
		}
		if got := runtime.GOMAXPROCS(0); got != want {
			t.Errorf("%d processors are used, want %d", got, want)
		}
	}
	look(20, 1000, 3)
	look(quietLooks-1, 10, 3)
	look(1, 10, 1)
	look(100, 0, 1)
	look(1, 1000, 3)
	look(quietLooks, 10, 1)
	p.giveBack()
	look(0, 0, 3)
	p.giveBack()
	(*processors)(nil).look(at, packets)
	look(0, 0, 3)
}
