package main

import (
	"fmt"
	"io"
	"time"

	"tcpleak/capture"
)

// progress shows on a terminal how far reading has come: nothing for the first second, then twice a second.
type progress struct {
	w       io.Writer
	source  capture.Source
	started time.Time
	next    time.Time
	batches int
	shown   bool
}

const (
	progressDelay    = time.Second
	progressInterval = 500 * time.Millisecond
	// progressBatches is how many batches go by between looks at the clock.
	progressBatches = 64
)

// newProgress returns nil, on which all methods do nothing, if w is no terminal.
func newProgress(w io.Writer, source capture.Source) *progress {
	if _, terminal := terminalWidth(w); !terminal {
		return nil
	}
	now := time.Now()
	return &progress{w: w, source: source, started: now, next: now.Add(progressDelay)}
}

func (p *progress) update() {
	if p == nil {
		return
	}
	if p.batches++; p.batches%progressBatches != 0 {
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressInterval)
	p.shown = true
	stats := p.source.Stats()
	fmt.Fprint(p.w, "\r\x1b[K", progressLine(stats.BytesRead, stats.BytesTotal, now.Sub(p.started)))
}

func (p *progress) clear() {
	if p != nil && p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// progressLine says how much of total octets has been read in elapsed, how fast, and how long the rest will take. A total
// of 0 is unknown.
func progressLine(read, total int64, elapsed time.Duration) string {
	const mb = 1e6
	rate := float64(read) / max(elapsed.Seconds(), 1e-3)
	if total <= 0 {
		return fmt.Sprintf("%.0f MB, %.0f MB/s", float64(read)/mb, rate/mb)
	}
	total = max(total, read) // the file may grow while it is read
	left := time.Duration(float64(max(total-read, 0)) / max(rate, 1) * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%.0f of %.0f MB (%d %%), %.0f MB/s, %s left",
		float64(read)/mb, float64(total)/mb, read*100/total, rate/mb, left)
}
