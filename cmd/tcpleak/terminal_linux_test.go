package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// onTerminal runs the command with stdout on a terminal of some columns and returns what the terminal would show.
func onTerminal(t *testing.T, columns uint16, args ...string) string {
	t.Helper()
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here, mount devpts: ", err)
	}
	defer controller.Close()
	fd := int(controller.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string)
	go func() {
		var all bytes.Buffer
		_, _ = io.Copy(&all, controller) // ends with an error when the terminal is closed
		shown <- all.String()
	}()
	status := run(t.Context(), args, terminal, t.Output())
	terminal.Close()
	if status != statusOK {
		t.Fatalf("exit status %d", status)
	}
	return strings.ReplaceAll(<-shown, "\r\n", "\n")
}

var colour = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func TestColourOnTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	shown := onTerminal(t, 80, "-r", "testdata/example.pcap", "--threshold", "stuck_close_wait=1ms")
	if !colour.MatchString(shown) {
		t.Errorf("no colour in %q", shown)
	}
	if rest := colour.ReplaceAllString(shown, ""); strings.ContainsRune(rest, '\x1b') {
		t.Errorf("more than colours in %q", shown)
	}
}

func TestNoColor(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	if shown := onTerminal(t, 80, "-r", "testdata/example.pcap", "--threshold", "stuck_close_wait=1ms"); strings.ContainsRune(shown, '\x1b') {
		t.Errorf("colour in %q", shown)
	}
}

func TestProgramsSeeNoColour(t *testing.T) {
	for _, format := range []string{"json", "csv"} {
		if shown := onTerminal(t, 80, "-r", "testdata/example.pcap", "--format", format); strings.ContainsRune(shown, '\x1b') {
			t.Errorf("%s: colour in %q", format, shown)
		}
	}
}

func TestFitsTerminal(t *testing.T) {
	for _, columns := range []uint16{60, 80, 132} {
		shown := onTerminal(t, columns, "-r", "../../testdata/demo.pcap", "--all")
		for line := range strings.Lines(shown) {
			line = colour.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")
			command := strings.HasPrefix(line, "         tcpdump ") // to be copied, so never broken
			if n := utf8.RuneCountInString(line); n > int(columns) && !command {
				t.Errorf("%d of %d columns: %s", n, columns, line)
			}
		}
	}
}
