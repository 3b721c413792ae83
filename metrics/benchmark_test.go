package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

// BenchmarkObserve tells what a judgement of 100,000 connections of 300 services costs here, with a count by service and without,
// beside the analysis that comes before it; and what a scrape costs then.
func BenchmarkObserve(b *testing.B) {
	const connections = 100_000
	w := newWorld(b, Config{Every: time.Hour}, tracker.Config{})
	for i := range connections {
		k := w.talk(1+i%500, uint16(1024+i/500), 1<<16+i%300, 80).open()
		switch i % 40 {
		case 0:
			k.half()
		case 1, 2:
			k.resend(client, 2)
		}
	}
	w.judge(2 * time.Minute)
	a := w.rules.Analyze(w.table, w.now, diagnosis.Capture{})
	o := Observation{Analysis: a, Standing: w.monitor.Standing(), Capture: w.capture, Now: w.now}
	b.Run("Analyze", func(b *testing.B) {
		for b.Loop() {
			w.rules.Analyze(w.table, w.now, diagnosis.Capture{})
		}
	})
	b.Run("Observe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.m.Observe(o)
		}
	})
	b.Run("Count", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.m.due = time.Time{}
			w.m.Observe(o)
		}
	})
	b.Run("Scrape", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := testutil.GatherAndCount(w.m.registry); err != nil {
				b.Fatal(err)
			}
		}
	})
}
