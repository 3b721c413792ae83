package screen

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/diagnosis"
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

// tmux is a terminal multiplexer with one window, in which a shell runs.
type tmux struct {
	t   *testing.T
	dir string
}

func newTmux(t *testing.T) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux here: run make deps-test, or install it")
	}
	dir, err := os.MkdirTemp("", "tmux") // not t.TempDir: the name of a socket may have 107 octets
	if err != nil {
		t.Fatal(err)
	}
	m := &tmux{t, dir}
	t.Cleanup(func() {
		_ = m.command("kill-server").Run()
		os.RemoveAll(dir)
	})
	m.do("new-session", "-d", "-x", "120", "-y", "36", "env", "PS1=$ ", "ENV=", "HISTFILE=", "sh")
	m.shows("$")
	return m
}

func (m *tmux) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-u", "-f", os.DevNull, "-S", filepath.Join(m.dir, "socket")}, args...)...)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "TMUX" && name != "NO_COLOR" && name != "LC_ALL" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8")
	return cmd
}

func (m *tmux) do(args ...string) string {
	m.t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %s: %v: %s", args[0], err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

func (m *tmux) press(keys ...string) {
	m.t.Helper()
	m.do(append([]string{"send-keys"}, keys...)...)
}

func (m *tmux) screen() string { return m.do("capture-pane", "-p") }

// shows waits until all of the texts are on the screen.
func (m *tmux) shows(texts ...string) {
	m.t.Helper()
	screen := ""
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		screen = m.screen()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%q does not appear in\n%s", missing, screen)
		}
	}
}

// play starts the program, between two looks at the terminal's settings.
func (m *tmux) play(what string) {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	script := filepath.Join(m.dir, "script")
	text := fmt.Sprintf("stty -g >%[1]s/before\n%[2]s=%[3]s sh -c 'echo $$ >%[1]s/pid; exec \"$0\"' %[4]s 2>%[1]s/stderr\necho \"status $?\"\nstty -g >%[1]s/after\necho over\n",
		m.dir, playVariable, what, self)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.press("clear; . "+script, "Enter")
	m.shows("Connections 9")
}

// modes are what a program can leave a terminal in.
const modes = "alternate screen #{alternate_on}, cursor #{cursor_flag}, cursor keys #{keypad_cursor_flag}, keypad #{keypad_flag}, mouse #{mouse_any_flag}, " +
	"insert #{insert_flag}, wrap #{wrap_flag}, scroll from #{scroll_region_upper}"

// over waits until the program has ended with a status, and checks that the terminal is sound and shows the text.
func (m *tmux) over(status int, text string) {
	m.t.Helper()
	m.shows("over", fmt.Sprintf("status %d", status))
	if got, want := m.do("display-message", "-p", modes), "alternate screen 0, cursor 1, cursor keys 0, keypad 0, mouse 0, insert 0, wrap 1, scroll from 0"; got != want {
		m.t.Errorf("the terminal is left with %s; want %s", got, want)
	}
	before, after := m.file("before"), m.file("after")
	if before != after || before == "" {
		m.t.Errorf("stty -g tells %q after it, %q before", after, before)
	}
	if screen := m.screen(); !strings.Contains(screen, text) || strings.Contains(screen, "Connections") {
		m.t.Errorf("want no more than %q on\n%s", text, screen)
	}
	// And a shell works as ever.
	m.press("echo so$((40+2))nd", "Enter")
	m.shows("so42nd")
}

func (m *tmux) file(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestUnderTmux(t *testing.T) {
	t.Parallel()
	m := newTmux(t)
	m.play("run")
	m.shows("tcpleak  eth0  tcp port 80", "Findings 2 warnings", "STATE       CLIENTS SERVERS", "FINDINGS▲", "q quit")
	m.press("r")
	m.shows("FINDINGS▼")
	m.press("Home", "Left", "Left", "Left")
	m.shows("RESENT▼")
	m.press("/")
	m.press("state:close_wait")
	m.shows("/state:close_wait", "3 match")
	m.press("Enter")
	m.shows("3 of 9 match state:close_wait")
	m.press("Enter")
	m.shows("Connection 4 ", "Why    The client sent its FIN", "handshake 1/3")
	m.do("resize-window", "-x", "70", "-y", "16")
	m.shows("esc back")
	m.press("End")
	m.shows("100 %")
	m.press("Escape")
	m.shows("3 of 9 match")
	m.do("resize-window", "-x", "40", "-y", "10")
	m.shows("eth0", "● ", "q quit")
	if lines := strings.Split(m.screen(), "\n"); len(lines) != 10 || !strings.Contains(lines[9], "q quit") {
		t.Errorf("ten lines are\n%s", m.screen())
	}
	m.do("resize-window", "-x", "150", "-y", "50")
	m.shows("RTT", "RESENT", "3 of 9 match state:close_wait")
	m.press("?")
	m.shows("what the keys do")
	m.press("?")
	m.press("q")
	m.over(0, "the report")
}

func TestTerminatedUnderTmux(t *testing.T) {
	t.Parallel()
	m := newTmux(t)
	m.play("run")
	pid, err := strconv.Atoi(m.file("pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.over(0, "the report")
}

func TestPanicOfTheLoopUnderTmux(t *testing.T) {
	t.Parallel()
	m := newTmux(t)
	m.play("panic")
	m.over(2, "status 2")
	if text := m.file("stderr"); !strings.Contains(text, "panic: the loop has failed") {
		t.Errorf("stderr has %q", text)
	}
}

func TestPanicOfTheScreenUnderTmux(t *testing.T) {
	t.Parallel()
	m := newTmux(t)
	m.play("break")
	m.over(2, "status 2")
	if text := m.file("stderr"); !strings.Contains(text, "index out of range") || !strings.Contains(text, "tcpleak: the screen failed") {
		t.Errorf("stderr has %q", text)
	}
}

func TestSuspendedUnderTmux(t *testing.T) {
	t.Parallel()
	m := newTmux(t)
	m.play("run")
	m.press("C-z")
	m.shows("over") // the script goes on when its program stops
	if got := m.do("display-message", "-p", "#{alternate_on} #{cursor_flag}"); got != "0 1" {
		t.Errorf("alternate screen and cursor: %s", got)
	}
	m.press("clear; fg", "Enter")
	m.shows("Connections 9", "q quit")
	m.press("q")
	m.shows("the report")
	m.press("clear; stty -g", "Enter")
	m.shows(m.file("before"))
}
