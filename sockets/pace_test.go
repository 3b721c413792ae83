package sockets

import (
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

func TestPaceKeepsItsShare(t *testing.T) {
	for _, tt := range []struct {
		cost time.Duration
		want int // runs in 100 s, looked at every 100 ms
	}{
		{0, 100},
		{5 * time.Millisecond, 100},  // 0.5 %: the least interval holds
		{10 * time.Millisecond, 100}, // just the share
		{50 * time.Millisecond, 20},
		{time.Second, 1},
	} {
		p := pace{every: time.Second, share: 0.01}
		runs := 0
		for now := start; now.Sub(start) < 100*time.Second; now = now.Add(100 * time.Millisecond) {
			if p.due(now) {
				runs++
				p.ran(now, tt.cost)
			}
		}
		if runs != tt.want {
			t.Errorf("at %v each: %d runs in 100 s, want %d", tt.cost, runs, tt.want)
		}
	}
}

func TestPaceSurvivesAClockThatIsSetBack(t *testing.T) {
	p := pace{every: time.Second, share: 0.01}
	p.ran(start, time.Minute)
	if p.due(start.Add(time.Hour)) {
		t.Error("due before its cost is paid off")
	}
	if !p.due(start.Add(-time.Hour)) {
		t.Error("not due after the clock was set back")
	}
}

func TestBudget(t *testing.T) {
	b := budget{share: 0.01, most: 100 * time.Millisecond}
	steps := []struct {
		after time.Duration // the last step
		want  time.Duration
		spend time.Duration
	}{
		{0, 100 * time.Millisecond, 250 * time.Millisecond},
		{10 * time.Second, -50 * time.Millisecond, 0},
		{10 * time.Second, 50 * time.Millisecond, 0},
		{time.Hour, 100 * time.Millisecond, 10 * time.Millisecond},
		{-time.Hour, 90 * time.Millisecond, 0},
		{time.Second, 100 * time.Millisecond, 0},
	}
	now := start
	for i, s := range steps {
		now = now.Add(s.after)
		if got := b.earn(now); got != s.want {
			t.Fatalf("step %d: %v, want %v", i, got, s.want)
		}
		b.spend(s.spend)
	}
}
