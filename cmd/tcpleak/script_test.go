package main

import (
	"compress/gzip"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
)

// Each script finds two captures in its directory: example.pcap, in which a server leaves a connection in CLOSE_WAIT, and
// closed.pcap, with a connection that was closed as it should be.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"example.pcap", "closed.pcap"} {
				b, err := os.ReadFile(filepath.Join("testdata", name))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), b, 0o644); err != nil {
					return err
				}
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"refuses":  refuses,
			"piece":    piece,
			"poke":     poke,
			"compress": compress,
		},
		UpdateScripts:      *update,
		RequireUniqueNames: true,
	})
}

// exits runs a command, whose exit status must be the given one:
//
//	exits STATUS COMMAND...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := status(ts, args[1:]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// refuses runs a command that must refuse what it is told: status 2, nothing on stdout, and on stderr one line that
// matches:
//
//	refuses REGEXP COMMAND...
func refuses(ts *testscript.TestScript, _ bool, args []string) {
	got := status(ts, args[1:])
	if got != 2 {
		ts.Fatalf("exit status %d, want 2", got)
	}
	if ts.ReadFile("stdout") != "" {
		ts.Fatalf("stdout is not empty")
	}
	line, ok := strings.CutSuffix(ts.ReadFile("stderr"), "\n")
	if !ok || strings.Contains(line, "\n") || !strings.HasPrefix(line, "tcpleak: ") {
		ts.Fatalf("stderr is not one line of tcpleak's")
	}
	if !regexp.MustCompile(args[0]).MatchString(line) {
		ts.Fatalf("stderr does not match %q", args[0])
	}
}

func status(ts *testscript.TestScript, command []string) int {
	err := ts.Exec(command[0], command[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// piece joins ranges of a file's octets, as Go's slices have them:
//
//	piece SOURCE TARGET FROM:TO...
func piece(ts *testscript.TestScript, _ bool, args []string) {
	source := ts.ReadFile(args[0])
	var target string
	for _, r := range args[2:] {
		from, to, _ := strings.Cut(r, ":")
		end := len(source)
		if to != "" {
			end = number(ts, to)
		}
		target += source[number(ts, from):end]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(target), 0o644))
}

// poke overwrites octets of a file:
//
//	poke FILE OFFSET HEX
func poke(ts *testscript.TestScript, _ bool, args []string) {
	octets, err := hex.DecodeString(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt(octets, int64(number(ts, args[1])))
	ts.Check(errors.Join(err, f.Close()))
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

// compress writes a compressed copy of a file:
//
//	compress gzip|zstd SOURCE TARGET
func compress(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[2]))
	ts.Check(err)
	defer f.Close()
	var w io.WriteCloser
	switch args[0] {
	case "gzip":
		w = gzip.NewWriter(f)
	case "zstd":
		w, err = zstd.NewWriter(f)
		ts.Check(err)
	}
	_, err = io.WriteString(w, ts.ReadFile(args[1]))
	ts.Check(errors.Join(err, w.Close()))
}
