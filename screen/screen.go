// Package screen shows a live capture on a terminal.
//
// Three parts play together. The loop that takes in segments owns the table, and with it a [Composer], which puts what is to be
// seen into a [Frame]. A [Screen] owns the terminal; it says by a [Query] what part it wants, and is shown frames. Neither ever
// waits for the other. After each batch of segments, and at least every 250 ms, the loop does:
//
//	if analysed {
//		composer.Judge(analysis, monitor.Update(analysis))
//	}
//	if screen.Due() {
//		screen.Show(composer.Compose(capture, screen.Query()))
//	}
package screen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"
)

const (
	// showEvery is how often the screen is brought up to date; answerEvery, what somebody has just asked for.
	showEvery   = 200 * time.Millisecond
	answerEvery = 40 * time.Millisecond
	// framesPerSecond is how often a terminal is written to at most. Nothing is written where nothing has changed.
	framesPerSecond = 30
	// patience is how long a screen that is to end may go on with what it does.
	patience = time.Second
)

// Options say what a Screen is shown on. The zero value is the process's own terminal.
type Options struct {
	In, Out  *os.File       // a terminal; nil is os.Stdin and os.Stdout
	Environ  []string       // as os.Environ, which nil stands for: TERM, NO_COLOR, and the locale
	Location *time.Location // that times of day are shown at; nil is time.Local
}

// Screen is a terminal that shows frames. Its methods may be called concurrently.
type Screen struct {
	opt Options

	mu      sync.Mutex
	query   Query // what the screen wants
	answer  Query // what it was last shown
	shown   time.Time
	frame   *Frame // the newest, until it is taken
	running bool
	stop    context.CancelFunc
	ended   chan struct{} // closed when Run has returned

	fresh chan struct{} // there is a frame
}

// New returns a Screen that has not touched its terminal yet.
func New(opt Options) *Screen {
	opt.In, opt.Out = cmp.Or(opt.In, os.Stdin), cmp.Or(opt.Out, os.Stdout)
	opt.Location = cmp.Or(opt.Location, time.Local)
	if opt.Environ == nil {
		opt.Environ = os.Environ()
	}
	return &Screen{opt: opt, query: firstQuery, fresh: make(chan struct{}, 1)}
}

// firstQuery is what a screen wants before it knows its size.
var firstQuery = Query{Sort: Findings, Rows: 100}

// Usable says why a screen cannot be shown: it takes a terminal that can move its cursor. It returns nil if it can.
func (s *Screen) Usable() error {
	if !term.IsTerminal(int(s.opt.In.Fd())) || !term.IsTerminal(int(s.opt.Out.Fd())) {
		return errors.New("the live screen needs a terminal for its input and its output; try without it")
	}
	if name := s.getenv("TERM"); name == "" || name == "dumb" {
		return fmt.Errorf("the live screen needs a terminal that can move its cursor, and TERM is %q; try without it", name)
	}
	return nil
}

// Run shows the screen until somebody quits, ctx ends or Close is called, and leaves the terminal as it was, also when it
// panics. It fails if the terminal does, or if the screen has panicked; the trace is then on stderr. It can be called once.
//
// The terminal is in raw mode meanwhile: Ctrl-C ends Run and sends no signal. What else writes to the terminal spoils the picture.
func (s *Screen) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return errors.New("the screen was shown before")
	}
	s.running, s.stop, s.ended = true, stop, ended
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running = false
		s.mu.Unlock()
	}()

	if err := s.Usable(); err != nil {
		return err
	}
	colored := s.getenv("NO_COLOR") == ""
	profile := colorprofile.ASCII
	if colored {
		profile = colorprofile.ANSI
	}
	m := newModel(s, colored, unicodeLocale(s.getenv))
	m.ctx = ctx
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	out := &output{File: s.opt.Out, stop: stop}
	// The profile is given, as to find out one that is richer bubbletea would run tmux, as whoever captures.
	p := tea.NewProgram(m, tea.WithContext(hard), tea.WithInput(s.opt.In), tea.WithOutput(out), tea.WithEnvironment(s.opt.Environ),
		tea.WithoutSignalHandler(), tea.WithColorProfile(profile), tea.WithFPS(framesPerSecond))
	defer context.AfterFunc(ctx, func() {
		defer time.AfterFunc(patience, kill).Stop()
		p.Send(endMsg{})
		<-ended
	})()
	_, err := p.Run()
	switch {
	case errors.Is(err, tea.ErrProgramPanic):
		return errors.New("the screen failed: this is a bug, please report it with the trace above")
	case out.failed() != nil:
		return fmt.Errorf("the terminal is gone: %w", out.failed())
	case err == nil, ctx.Err() != nil:
		return nil
	}
	return fmt.Errorf("cannot show the screen on this terminal: %w; try without it", err)
}

// output is a terminal that is written to. A terminal that is gone, as when its window was closed or ssh ended, tells those that
// write; bubbletea does not listen.
type output struct {
	*os.File
	stop context.CancelFunc
	mu   sync.Mutex
	err  error // the first
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.File.Write(b)
	if err != nil {
		o.mu.Lock()
		o.err = cmp.Or(o.err, err)
		o.mu.Unlock()
		o.stop()
	}
	return n, err
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Close ends Run and returns when the terminal is as it was. A goroutine whose panic would end the process defers it.
// Without Run it does nothing.
func (s *Screen) Close() {
	s.mu.Lock()
	stop, ended := s.stop, s.ended
	s.mu.Unlock()
	if stop != nil {
		stop()
		<-ended
	}
}

// Due reports whether it is time to Show a frame: five times a second, and sooner where the query has changed. There never is
// when Run does not run.
func (s *Screen) Due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := showEvery
	if s.query != s.answer {
		every = answerEvery
	}
	return s.running && time.Since(s.shown) >= every
}

// Query returns what the screen wants to be shown.
func (s *Screen) Query() Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.query
}

// Show replaces what is shown. It does not wait for the terminal.
func (s *Screen) Show(f Frame) {
	s.mu.Lock()
	s.frame, s.answer, s.shown = &f, f.Query, time.Now()
	s.mu.Unlock()
	select {
	case s.fresh <- struct{}{}:
	default:
	}
}

// want says what the screen wants to be shown.
func (s *Screen) want(q Query) {
	s.mu.Lock()
	s.query = q
	s.mu.Unlock()
}

// take returns the frame that has come since the last call, nil if none has.
func (s *Screen) take() *Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.frame
	s.frame = nil
	return f
}

func (s *Screen) getenv(name string) string {
	for _, v := range s.opt.Environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}
