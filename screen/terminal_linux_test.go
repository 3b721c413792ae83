package screen

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/diagnosis"
)

// terminal is a pseudo-terminal, and what has been written to it.
type terminal struct {
	*os.File // the program's end
	keyboard *os.File

	mu     sync.Mutex
	output bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	// Not blocking, so that closing it ends a read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here, mount devpts: ", err)
	}
	keyboard := os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// It is left to the finalizer to close it: after a panic bubbletea does not wait for the goroutine that reads from it.
	term := &terminal{File: tty, keyboard: keyboard}
	term.resize(t, 100, 40)
	go func() {
		_, _ = io.Copy(writer(func(b []byte) (int, error) {
			term.mu.Lock()
			defer term.mu.Unlock()
			return term.output.Write(b)
		}), keyboard) // ends with an error when the terminal is closed
	}()
	return term
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func (term *terminal) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(term.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	// It is not this process's own terminal, which the kernel would tell it of.
	_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH)
}

func (term *terminal) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := term.keyboard.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

func (term *terminal) written() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.output.String()
}

func (term *terminal) settings(t *testing.T) unix.Termios {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(term.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *settings
}

// patiently waits until ok.
func patiently(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// shown is a screen that runs on a terminal.
type shown struct {
	*terminal
	*Screen
	before unix.Termios
	err    error         // of Run
	ended  chan struct{} // closed when that has returned
}

func run(t *testing.T, ctx context.Context) *shown {
	t.Helper()
	term := newTerminal(t)
	s := &shown{
		terminal: term, before: term.settings(t), ended: make(chan struct{}),
		Screen: New(Options{In: term.File, Out: term.File, Environ: []string{"TERM=xterm-256color", "LANG=C.UTF-8"}}),
	}
	go func() {
		defer close(s.ended)
		s.err = s.Run(ctx)
	}()
	t.Cleanup(s.Screen.Close)
	patiently(t, "the alternate screen", func() bool { return strings.Contains(s.written(), "\x1b[?1049h") })
	return s
}

// end waits for the end, checks that the terminal is as before, and returns what Run did.
func (s *shown) end(t *testing.T) error {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the screen does not end")
	}
	if after := s.settings(t); after != s.before {
		t.Errorf("the terminal is left as %+v, and was %+v", after, s.before)
	}
	for _, pair := range [][2]string{{"\x1b[?1049h", "\x1b[?1049l"}, {"\x1b[?25l", "\x1b[?25h"}, {"\x1b[?2004h", "\x1b[?2004l"}} {
		patiently(t, fmt.Sprintf("what undoes %q", pair[0]), func() bool {
			text := s.written()
			return strings.LastIndex(text, pair[0]) < strings.LastIndex(text, pair[1])
		})
	}
	return s.err
}

// loop does as the live loop does, until the screen has ended.
func (s *shown) loop(w *world) {
	for i := 0; ; i++ {
		select {
		case <-s.ended:
			return
		default:
		}
		w.talk(i%250, uint16(1000+i/250), 300, 80).open().half()
		if i%50 == 0 {
			w.judge(20 * time.Millisecond)
		}
		if s.Due() {
			s.Show(w.compose(s.Query()))
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAllAtOnce(t *testing.T) {
	s := run(t, t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { s.loop(small()) })
	patiently(t, "connections", func() bool { return strings.Contains(s.written(), "Connections") })
	for i, keys := range []string{"j", "\x1b[B", "\x1b[C", "r", "\t", "\r", "\x1b[6~", "/close\r", "G", "g", "p", "\x1b[D", "p", "?", "\x1b[5~", "/x\x7f\x1b"} {
		s.press(t, keys)
		s.resize(t, uint16(20+37*i%150), uint16(4+13*i%50))
		time.Sleep(20 * time.Millisecond) // so that something happens in between; nothing depends on it
	}
	patiently(t, "the end", func() bool {
		s.press(t, "\x1b")
		time.Sleep(100 * time.Millisecond) // an Esc and a key at once would be Alt with the key
		s.press(t, "q")
		select {
		case <-s.ended:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	if err := s.end(t); err != nil {
		t.Error(err)
	}
	loop.Wait()
	if s.Due() {
		t.Error("a frame is due after the end")
	}
	s.Show(Frame{}) // and does no harm
}

func TestControlCEnds(t *testing.T) {
	s := run(t, t.Context())
	s.press(t, "\x03")
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := run(t, ctx)
	cancel()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

func TestCloseWaitsForTheTerminal(t *testing.T) {
	s := run(t, t.Context())
	s.Screen.Close()
	if after := s.settings(t); after != s.before {
		t.Errorf("the terminal is left as %+v, and was %+v", after, s.before)
	}
	if err := s.end(t); err != nil {
		t.Error(err)
	}
	s.Screen.Close()
	if err := s.Run(t.Context()); err == nil {
		t.Error("it runs twice")
	}
}

func TestUsable(t *testing.T) {
	term := newTerminal(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tt := range []struct {
		in, out *os.File
		env     string
		want    string // part of the error; "" for none
	}{
		{term.File, term.File, "TERM=xterm", ""},
		{term.File, term.File, "TERM=dumb", `TERM is "dumb"`},
		{term.File, term.File, "LANG=C", `TERM is ""`},
		{term.File, file, "TERM=xterm", "needs a terminal for its input and its output"},
		{file, term.File, "TERM=xterm", "needs a terminal for its input and its output"},
	} {
		s := New(Options{In: tt.in, Out: tt.out, Environ: []string{tt.env}})
		if err := s.Usable(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.env, err, tt.want)
		}
		if tt.want != "" {
			if err := s.Run(t.Context()); err == nil {
				t.Errorf("%s: it runs", tt.env)
			}
		}
	}
	term.mu.Lock()
	defer term.mu.Unlock()
	if text := term.output.String(); text != "" {
		t.Errorf("it has written %q", text)
	}
}

func TestCloseWithoutRun(t *testing.T) {
	New(Options{}).Close()
}

func TestContextThatHasEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	term := newTerminal(t)
	before := term.settings(t)
	if err := New(Options{In: term.File, Out: term.File, Environ: []string{"TERM=xterm"}}).Run(ctx); err != nil {
		t.Error(err)
	}
	if after := term.settings(t); after != before {
		t.Errorf("the terminal is left as %+v, and was %+v", after, before)
	}
}

func TestPanicLeavesTheTerminalSound(t *testing.T) {
	silence, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer silence.Close()
	defer func(f *os.File) { os.Stderr = f }(os.Stderr)
	os.Stderr = silence // for the trace
	s := run(t, t.Context())
	s.Show(Frame{Findings: []diagnosis.Finding{{Severity: 200}}}) // of which there is no name
	if err := s.end(t); err == nil || !strings.Contains(err.Error(), "the screen failed") {
		t.Errorf("it ends with %v", err)
	}
}

func TestTerminalThatGoesAway(t *testing.T) {
	s := run(t, t.Context())
	s.keyboard.Close()
	go s.loop(small())
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on without a terminal")
	}
	if s.err == nil || !strings.Contains(s.err.Error(), "the terminal is gone") {
		t.Errorf("it ends with %v", s.err)
	}
}
