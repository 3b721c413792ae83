// Command tcpleak reads packets from capture files or a network interface and tells the TCP state of both ends of every
// connection: which do not open or never close, which end is at fault, and why.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"tcpleak/capture"
	"tcpleak/privilege"
	"tcpleak/report"
)

// version is set by the linker.
var version = "unknown"

// Exit statuses.
const (
	statusOK      = 0
	statusFinding = 1 // a finding at or above --fail-on
	statusError   = 2 // wrong usage, or an input that could not be read
)

func main() {
	if err := privilege.SetAside(); err != nil {
		fmt.Fprintln(os.Stderr, "tcpleak: "+oneLine(err.Error()))
		os.Exit(statusError)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal must end a process that does not react to the first.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errFound says that there is a finding at or above --fail-on: a result, not a failure.
var errFound = errors.New("found what --fail-on asks for")

// run is the command: it returns the exit status. When ctx ends, it reports what it has read.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(stdout, stderr)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, errFound):
		return statusFinding
	case errors.Is(err, syscall.EPIPE):
		return statusOK // whoever reads has seen enough
	}
	fmt.Fprintln(stderr, "tcpleak: "+oneLine(err.Error()))
	return statusError
}

// oneLine keeps a message, which may quote a file's name or its content, on one line and harmless to a terminal.
func oneLine(s string) string {
	return report.Clean(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, strings.TrimSpace(s)))
}

// open starts reading what o asks for.
func (o *options) open(cfg capture.Config) (capture.Source, error) {
	if len(o.interfaces) > 0 {
		return capture.OpenLive(o.interfaces, cfg)
	}
	return capture.OpenFiles(o.files, cfg)
}
