package capture

import (
	"fmt"
	"testing"
	"time"

	"tcpleak/internal/kernel"
)

func TestAListenerRestsWhileThereIsRoom(t *testing.T) {
	const rest, room = 50 * time.Millisecond, 1 << 20
	for _, tt := range []struct {
		name   string
		rest   time.Duration
		age    time.Duration // of the newest packet
		lasted time.Duration // from the first to the newest
		octets int
		want   time.Duration
	}{
		{"not asked to", 0, 0, 10 * time.Millisecond, 1000, 0},
		{"little comes", rest, 0, 10 * time.Millisecond, 1000, rest},
		{"so much comes that there is room for 20 ms", rest, 0, 10 * time.Millisecond, room / 2, 20 * time.Millisecond},
		{"it is behind", rest, time.Second, 10 * time.Millisecond, 1000, 0},
		{"all at once", rest, 0, 0, 1000, 0},
	} {
		newest := time.Now().Add(-tt.age).UnixNano()
		at := &load{newest: newest, octets: tt.octets, totals: totals{first: newest - int64(tt.lasted)}}
		diff(t, tt.name, tt.want, at.pause(&listener{rest: tt.rest, room: room}))
		for _, moved := range []time.Duration{-time.Hour, time.Hour} {
			at.moved, at.newest, at.totals.first = int64(moved), newest+int64(moved), newest+int64(moved-tt.lasted)
			diff(t, tt.name+", after the clock was set", tt.want, at.pause(&listener{rest: tt.rest, room: room}))
		}
	}
}

func TestRestingLosesNothing(t *testing.T) {
	const sent = 20_000
	p := newPair(t)
	s := liveOn(t, p.Server, Config{Filter: fillers, Rest: 50 * time.Millisecond, BufferBytes: 32 << 20}, kernel.Device)
	send(t, p, sent)
	readPackets(t, s, sent)
	diff(t, "drops", "0 0", fmt.Sprint(s.Stats().DroppedKernel, s.Stats().DroppedInterface))
	// It is not asleep when it is closed.
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > time.Second {
		t.Errorf("closed after %v", took)
	}
}
