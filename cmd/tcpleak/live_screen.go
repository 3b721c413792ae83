package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"tcpleak/screen"
	"tcpleak/tracker"
)

// onTerminal reports whether there is somebody to look at a screen.
func (w *watcher) onTerminal() bool {
	_, out := terminalWidth(w.stdout)
	return out && w.format == "table" && !w.lines && term.IsTerminal(int(os.Stdin.Fd())) && screen.New(screen.Options{}).Usable() == nil
}

// withScreen shows what happens on the terminal, until the reader has seen enough or the capture ends.
func (w *watcher) withScreen(ctx context.Context) (err error) {
	s := &onScreen{watcher: w, screen: screen.New(screen.Options{}), composer: screen.NewComposer(w.table)}
	w.audience = s
	if w.host != nil {
		s.composer.Process = w.process
	}
	if w.names != nil {
		s.composer.Name = func(c *tracker.Connection) string {
			client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
			return w.names.Server(client.Addr, client.Port, server.Addr, server.Port)
		}
	}
	// What is said meanwhile would spoil the picture. It becomes a part of it, and is said again afterwards.
	talk, later := w.stderr, new(strings.Builder)
	w.stderr = io.MultiWriter(later, notes{s})
	ended := make(chan error, 1)
	go func() {
		ended <- s.screen.Run(ctx)
		w.source.Close()
	}()
	defer func() {
		s.screen.Close()
		w.stderr = talk
		io.WriteString(talk, later.String()) // an error would be of the terminal, on which nobody reads it
	}()
	err = w.follow()
	s.screen.Close()
	return errors.Join(err, <-ended)
}

// process names who has a connection's ends open.
func (w *watcher) process(c *tracker.Connection) string {
	for role := tracker.Client; role <= tracker.Server; role++ {
		if s, ok := w.host.Socket(c, role); ok && len(s.Holders) > 0 {
			return fmt.Sprintf("%s[%d]", s.Holders[0].Name, s.Holders[0].PID)
		}
	}
	return ""
}

// onScreen is the audience at a terminal.
type onScreen struct {
	*watcher
	screen   *screen.Screen
	composer *screen.Composer
	shown    struct { // last
		at      time.Time
		second  int64 // on the capture's clock, since 1970
		packets uint64
		query   screen.Query
		all     bool // what has happened
	}
}

func (s *onScreen) hear(j *judgement) error {
	s.composer.Judge(j.Analysis, j.events, j.more...)
	s.shown.all = s.shown.all && len(j.events) == 0
	s.between()
	return nil
}

// between redraws the screen, if it is time to: where hardly anything passes, when the clock on it goes on. Each time costs some
// milliseconds.
func (s *onScreen) between() {
	if !s.screen.Due() {
		return
	}
	stats, last := s.source.Stats(), &s.shown
	passed, query, second := time.Since(last.at), s.screen.Query(), s.now/int64(time.Second)
	if last.all && query == last.query && second == last.second && float64(stats.Packets-last.packets) < restRate*passed.Seconds() {
		return
	}
	last.at, last.second, last.packets, last.query, last.all = time.Now(), second, stats.Packets, query, true
	c := screen.Capture{Now: s.now, Filter: stats.Filter, Packets: stats.Packets, Dropped: stats.DroppedKernel + stats.DroppedInterface}
	for _, source := range stats.Sources {
		c.Sources = append(c.Sources, source.Name)
	}
	s.screen.Show(s.composer.Compose(c, query))
}

// report has nothing to do: what there is to report is on the screen.
func (s *onScreen) report() error { return nil }

// notes makes lines that are meant for stderr notices on the screen.
type notes struct{ *onScreen }

func (n notes) Write(b []byte) (int, error) {
	n.composer.Note(n.now, strings.TrimPrefix(strings.TrimSpace(string(b)), "tcpleak: "))
	return len(b), nil
}
