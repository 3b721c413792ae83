// Package tmux drives programs on a terminal as a person would: a tmux with one window, in which a shell runs.
package tmux

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds each wait for something to appear.
const patience = 30 * time.Second

// Tmux is a terminal multiplexer with one window of 120 columns and 36 lines.
type Tmux struct {
	Dir string // its own; it is removed with the test

	t *testing.T
}

// New starts a tmux, which ends with the test. Start starts the server, and thereby says in which network namespace its shell
// is; nil starts it here. Without tmux the test is skipped.
func New(t *testing.T, start func(*exec.Cmd) error) *Tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux here: run make deps-test, or install it")
	}
	dir, err := os.MkdirTemp("", "tmux") // not t.TempDir: the name of a socket may have 107 octets
	if err != nil {
		t.Fatal(err)
	}
	m := &Tmux{Dir: dir, t: t}
	t.Cleanup(func() {
		_ = m.command("kill-server").Run()
		os.RemoveAll(dir)
	})
	server := m.command("-D") // in the foreground, so that it can be waited for
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill() // it may have ended
		_ = server.Wait()
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "socket")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("tmux does not start")
		}
	}
	m.Do("new-session", "-d", "-x", "120", "-y", "36", "env", "PS1=$ ", "ENV=", "HISTFILE=", "sh")
	m.Shows("$")
	return m
}

func (m *Tmux) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-u", "-f", os.DevNull, "-S", filepath.Join(m.Dir, "socket")}, args...)...)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "TMUX" && name != "NO_COLOR" && name != "LC_ALL" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8")
	return cmd
}

// Do gives tmux a command, and returns what it answers.
func (m *Tmux) Do(args ...string) string {
	m.t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %s: %v: %s", args[0], err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// Press presses keys, by tmux's names or one by one.
func (m *Tmux) Press(keys ...string) {
	m.t.Helper()
	m.Do(append([]string{"send-keys"}, keys...)...)
}

// Screen is what the terminal shows.
func (m *Tmux) Screen() string { return m.Do("capture-pane", "-p") }

// Shows waits until all of the texts are on the screen.
func (m *Tmux) Shows(texts ...string) {
	m.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		screen, missing := m.Screen(), ""
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

// Play lets the shell run a command, with stderr in a file of Dir named "stderr", and its process ID in "pid"; between two looks at
// the terminal's settings.
func (m *Tmux) Play(command string) {
	m.t.Helper()
	script := filepath.Join(m.Dir, "script")
	text := fmt.Sprintf("stty -g >%[1]s/before\nsh -c 'echo $$ >%[1]s/pid; exec %[2]s' 2>%[1]s/stderr\necho \"status $?\"\nstty -g >%[1]s/after\necho over\n",
		m.Dir, command)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.Press("clear; . "+script, "Enter")
}

// modes are what a program can leave a terminal in.
const modes = "alternate screen #{alternate_on}, cursor #{cursor_flag}, cursor keys #{keypad_cursor_flag}, keypad #{keypad_flag}, mouse #{mouse_any_flag}, " +
	"insert #{insert_flag}, wrap #{wrap_flag}, scroll from #{scroll_region_upper}"

// Over waits until what was played has ended with a status, checks that the terminal is as sound as it was, and returns what it
// shows.
func (m *Tmux) Over(status int) (screen string) {
	m.t.Helper()
	m.Shows("over", fmt.Sprintf("status %d", status))
	if got, want := m.Do("display-message", "-p", modes), "alternate screen 0, cursor 1, cursor keys 0, keypad 0, mouse 0, insert 0, wrap 1, scroll from 0"; got != want {
		m.t.Errorf("the terminal is left with %s; want %s", got, want)
	}
	before, after := m.File("before"), m.File("after")
	if before != after || before == "" {
		m.t.Errorf("stty -g tells %q after it, %q before", after, before)
	}
	screen = m.Screen()
	// And a shell works as ever.
	m.Press("echo so$((40+2))nd", "Enter")
	m.Shows("so42nd")
	return screen
}

// File reads a file of Dir.
func (m *Tmux) File(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.Dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
