package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tcpleak/tcp"
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

// A report is made of a judgement that is due at once, and not of one of its own.
func TestAReportComesWithAJudgement(t *testing.T) {
	w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
	w.due = time.Now().Add(time.Hour)
	a := &agent{watcher: w, asks: make(chan func()), questions: newQuestions()}
	judged := time.Now()
	a.judged.Store(&judged)
	source.last = judged.UnixNano()
	w.now = source.last
	w.table.Add([]tcp.Segment{{Time: w.now, Packet: 1, Src: addrOf(10, 1), SrcPort: 1000, Dst: addrOf(10, 2), DstPort: 80, Flags: tcp.SYN, Seq: 100}})
	text := make(chan string)
	go func() {
		defer close(text)
		draft, err := a.draft(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		var b bytes.Buffer
		if err := draft.Write(&b); err != nil {
			t.Error(err)
		}
		text <- b.String()
	}()
	for len(a.orders) == 0 {
		a.between()
	}
	if !w.wanted || !w.due.IsZero() {
		t.Errorf("wanted: %v; the next look is due in %v", w.wanted, time.Until(w.due))
	}
	analysis := w.findings(source.Stats())
	a.deliverReports(&judgement{Analysis: analysis, stats: source.Stats(), now: w.now})
	if got := <-text; !strings.Contains(got, "1 connection") {
		t.Errorf("the report says %.200q", got)
	}
	a.deliverReports(&judgement{}) // nobody waits any more
}
