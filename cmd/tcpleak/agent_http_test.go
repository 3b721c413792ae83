package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

// However many ask, the capture has most of the time for itself.
func TestQuestionsLeaveTimeForTheCapture(t *testing.T) {
	const cost, asked = 10 * time.Millisecond, 3
	q := newQuestions()
	do := func(_ context.Context, f func()) error { f(); return nil }
	done := make(chan error)
	began := time.Now()
	for range asked {
		go func() { done <- q.ask(t.Context(), do, func() { time.Sleep(cost) }) }()
	}
	for range asked {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	// The last need not wait for what comes after it.
	if took := time.Since(began); took < ((asked-1)*questionShare+1)*cost {
		t.Errorf("%d questions of %v in %v", asked, cost, took)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	if err := q.ask(ctx, do, func() { t.Error("it is not its turn") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that cannot wait gets %v", err)
	}
}
