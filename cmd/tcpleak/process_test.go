package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// hang bounds every wait for another process: enough on a busy machine, not for ever.
const hang = 15 * time.Second

// process is a command that runs beside the test.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan line // of stdout
	ended chan struct{}

	mu   sync.Mutex
	talk strings.Builder // what it wrote to stderr
}

type line struct {
	text string
	at   time.Time
}

// launch starts a command, by start if that is not nil, and waits until it says on stderr that it is ready, if that is not
// "". The command ends with the test at the latest.
func launch(t *testing.T, start func(*exec.Cmd) error, ready string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), lines: make(chan line, 1<<16), ended: make(chan struct{})}
	stdin, err1 := p.cmd.StdinPipe()
	stdout, err2 := p.cmd.StdoutPipe()
	stderr, err3 := p.cmd.StderrPipe()
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := errors.Join(err1, err2, err3, start(p.cmd)); err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	isReady := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- line{s.Text(), time.Now()}
		}
	})
	readers.Go(func() {
		waiting := ready != ""
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.mu.Lock()
			p.talk.WriteString(s.Text() + "\n")
			p.mu.Unlock()
			if waiting && strings.Contains(s.Text(), ready) {
				waiting = false
				close(isReady)
			}
		}
	})
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // its status is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
	if ready != "" {
		select {
		case <-isReady:
		case <-p.ended:
			t.Fatalf("%s ended: %s", name, p.stderr())
		case <-time.After(hang):
			t.Fatalf("%s never said %q: %s", name, ready, p.stderr())
		}
	}
	return p
}

func (p *process) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.talk.String()
}

// next waits for a line on stdout.
func (p *process) next(t *testing.T) line {
	t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			t.Fatalf("ended: %s", p.stderr())
		}
		return l
	case <-time.After(hang):
		t.Fatalf("nothing came: %s", p.stderr())
	}
	panic("unreachable")
}

// interrupt does what Ctrl-C does.
func (p *process) interrupt(t *testing.T) (lines []string, status int) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	return p.wait(t)
}

// wait returns the lines on stdout that have not been read, and the exit status.
func (p *process) wait(t *testing.T) (lines []string, status int) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(hang):
		t.Fatalf("does not end: %s", p.stderr())
	}
	for l := range p.lines {
		lines = append(lines, l.text)
	}
	return lines, p.cmd.ProcessState.ExitCode()
}

// Ctrl-C on a pipe that never ends gives the report on what has come.
func TestInterruptedPipe(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/example.pcap")
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, nil, "", "tcpleak", "-r", "-", "--format", "json")
	// The pipe holds 64 KiB and the program some more before it looks at it: once all this is written, most has been read.
	const header = 24
	endless := append(file[:header:header], bytes.Repeat(file[header:], 4<<20/len(file))...)
	if _, err := p.stdin.Write(endless); err != nil {
		t.Fatal(err)
	}
	lines, status := p.interrupt(t)
	if status != statusOK || p.stderr() != "" {
		t.Errorf("exit status %d, stderr %q", status, p.stderr())
	}
	if len(lines) < 2 {
		t.Fatalf("no report: %q", lines)
	}
	var capture struct{ Packets int }
	if err := json.Unmarshal([]byte(lines[0]), &capture); err != nil || capture.Packets == 0 {
		t.Errorf("%v, the report begins with %s", err, lines[0])
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, `{"type":"summary"`) {
		t.Errorf("the report ends with %s", last)
	}
}

// A reader that has seen enough, as head does, is no failure.
func TestReaderLeaves(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	var talk bytes.Buffer
	if status := run(t.Context(), []string{"-r", "testdata/example.pcap"}, w, &talk); status != statusOK || talk.Len() > 0 {
		t.Errorf("exit status %d, stderr %q", status, &talk)
	}
}

func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here: ", err)
	}
	defer full.Close()
	var talk bytes.Buffer
	status := run(t.Context(), []string{"-r", "testdata/example.pcap"}, full, &talk)
	if want := "tcpleak: write /dev/full: no space left on device\n"; status != statusError || talk.String() != want {
		t.Errorf("exit status %d, stderr %q", status, &talk)
	}
}
