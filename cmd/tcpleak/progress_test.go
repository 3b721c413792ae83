package main

import (
	"bytes"
	"testing"
	"time"

	"tcpleak/capture"
)

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		name        string
		read, total int64
		elapsed     time.Duration
		want        string
	}{
		{"half", 400e6, 800e6, 4 * time.Second, "400 of 800 MB (50 %), 100 MB/s, 4s left"},
		{"long", 1e9, 400e9, 10 * time.Second, "1000 of 400000 MB (0 %), 100 MB/s, 1h6m30s left"},
		{"done", 800e6, 800e6, 8 * time.Second, "800 of 800 MB (100 %), 100 MB/s, 0s left"},
		{"file has grown", 900e6, 800e6, 9 * time.Second, "900 of 900 MB (100 %), 100 MB/s, 0s left"},
		{"pipe", 400e6, 0, 4 * time.Second, "400 MB, 100 MB/s"},
		{"nothing on the pipe", 0, 0, time.Minute, "0 MB, 0 MB/s"},
		{"no time has passed", 0, 0, 0, "0 MB, 0 MB/s"},
	} {
		if got := progressLine(c.read, c.total, c.elapsed); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

type statsSource struct {
	capture.Source
	stats capture.Stats
}

func (s *statsSource) Stats() capture.Stats { return s.stats }

func TestProgressReplacesItsLine(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, source: &statsSource{}, started: time.Now().Add(-2 * progressDelay)}
	for range 10 * progressBatches {
		p.update()
	}
	p.clear()
	if got, want := out.String(), "\r\x1b[K0 MB, 0 MB/s\r\x1b[K"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

func TestProgressSaysNothingAtFirst(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, source: &statsSource{}, started: time.Now(), next: time.Now().Add(time.Hour)}
	for range 10 * progressBatches {
		p.update()
	}
	p.clear()
	if out.Len() > 0 {
		t.Errorf("wrote %q", &out)
	}
}

func TestNoProgressOffATerminal(t *testing.T) {
	p := newProgress(new(bytes.Buffer), &statsSource{})
	if p != nil {
		t.Fatal("progress would end up in a file or a pipe")
	}
	p.update()
	p.clear()
}
