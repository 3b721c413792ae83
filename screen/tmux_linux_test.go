package screen

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/internal/tmux"
)

// playVariable makes this test binary a program with a screen, which the tests below run under tmux. Its value is what the
// program does.
const playVariable = "TCPLEAK_SCREEN_TEST"

func TestMain(m *testing.M) {
	if what := os.Getenv(playVariable); what != "" {
		os.Exit(play(what))
	}
	os.Exit(m.Run())
}

// play is a live loop without packets.
func play(what string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := New(Options{})
	// As it belongs to the goroutine that would end the process by a panic.
	go func() {
		defer s.Close()
		for w, start := small(), time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if what == "panic" && time.Since(start) > time.Second {
				panic("the loop has failed")
			}
			if s.Due() {
				f := w.compose(s.Query())
				if what == "break" && time.Since(start) > time.Second {
					f.Findings = []diagnosis.Finding{{Severity: 200}}
				}
				s.Show(f)
			}
		}
	}()
	if err := s.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "tcpleak:", err)
		return 2
	}
	if what == "panic" {
		select {} // the other goroutine ends the process
	}
	fmt.Println("the report")
	return 0
}

// playInTmux starts the program in a new tmux.
func playInTmux(t *testing.T, what string) *tmux.Tmux {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := tmux.New(t, nil)
	m.Play(fmt.Sprintf("env %s=%s %s", playVariable, what, self))
	m.Shows("Connections 9")
	return m
}

// ended waits until the program has ended with a status, and left a sound terminal with no more than text.
func ended(t *testing.T, m *tmux.Tmux, status int, text string) {
	t.Helper()
	if screen := m.Over(status); !strings.Contains(screen, text) || strings.Contains(screen, "Connections") {
		t.Errorf("want no more than %q on\n%s", text, screen)
	}
}

func TestUnderTmux(t *testing.T) {
	t.Parallel()
	m := playInTmux(t, "run")
	m.Shows("tcpleak  eth0  tcp port 80", "Findings 2 warnings", "STATE       CLIENTS SERVERS", "FINDINGS▲", "q quit")
	m.Press("r")
	m.Shows("FINDINGS▼")
	m.Press("Home", "Left", "Left", "Left")
	m.Shows("RESENT▼")
	m.Press("/")
	m.Press("state:close_wait")
	m.Shows("/state:close_wait", "3 match")
	m.Press("Enter")
	m.Shows("3 of 9 match state:close_wait")
	m.Press("Enter")
	m.Shows("Connection 4 ", "Why    The client sent its FIN", "handshake 1/3")
	m.Do("resize-window", "-x", "70", "-y", "16")
	m.Shows("esc back")
	m.Press("End")
	m.Shows("100 %")
	m.Press("Escape")
	m.Shows("3 of 9 match")
	m.Do("resize-window", "-x", "40", "-y", "10")
	m.Shows("eth0", "● ", "q quit")
	if lines := strings.Split(m.Screen(), "\n"); len(lines) != 10 || !strings.Contains(lines[9], "q quit") {
		t.Errorf("ten lines are\n%s", m.Screen())
	}
	m.Do("resize-window", "-x", "150", "-y", "50")
	m.Shows("RTT", "RESENT", "3 of 9 match state:close_wait")
	m.Press("?")
	m.Shows("what the keys do")
	m.Press("?")
	m.Press("q")
	ended(t, m, 0, "the report")
}

func TestTerminatedUnderTmux(t *testing.T) {
	t.Parallel()
	m := playInTmux(t, "run")
	pid, err := strconv.Atoi(m.File("pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended(t, m, 0, "the report")
}

func TestPanicOfTheLoopUnderTmux(t *testing.T) {
	t.Parallel()
	m := playInTmux(t, "panic")
	ended(t, m, 2, "status 2")
	if text := m.File("stderr"); !strings.Contains(text, "panic: the loop has failed") {
		t.Errorf("stderr has %q", text)
	}
}

func TestPanicOfTheScreenUnderTmux(t *testing.T) {
	t.Parallel()
	m := playInTmux(t, "break")
	ended(t, m, 2, "status 2")
	if text := m.File("stderr"); !strings.Contains(text, "index out of range") || !strings.Contains(text, "tcpleak: the screen failed") {
		t.Errorf("stderr has %q", text)
	}
}

func TestSuspendedUnderTmux(t *testing.T) {
	t.Parallel()
	m := playInTmux(t, "run")
	m.Press("C-z")
	m.Shows("over") // the script goes on when its program stops
	if got := m.Do("display-message", "-p", "#{alternate_on} #{cursor_flag}"); got != "0 1" {
		t.Errorf("alternate screen and cursor: %s", got)
	}
	m.Press("clear; fg", "Enter")
	m.Shows("Connections 9", "q quit")
	m.Press("q")
	m.Shows("the report")
	m.Press("clear; stty -g", "Enter")
	m.Shows(m.File("before"))
}
