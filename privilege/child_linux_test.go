package privilege

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// What is given up cannot be taken back, so each test that drops runs its part in a child of its own: this program again,
// with its parent's number in this variable.
const parentPID = "TCPLEAK_PRIVILEGE_PARENT"

var isChild = os.Getenv(parentPID) != ""

// A start says how a child is to be called.
type start struct {
	wrap  []string // a program and its arguments, before the child's
	env   []string
	path  string // of the child, where it is a copy of this program
	files []*os.File
	attr  *syscall.SysProcAttr
}

const (
	resultsAt = 3 + iota // the child's descriptors
	programAt
	filesAt // start.files
)

// asRoot skips the test where it cannot be run.
func asRoot(t *testing.T) {
	t.Helper()
	if isChild {
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("run as root: make test-root")
	}
	has := cap.GetProc()
	for _, v := range []cap.Value{
		cap.CHOWN, cap.DAC_READ_SEARCH, cap.SETGID, cap.SETUID, cap.SETPCAP, cap.NET_RAW, cap.SYS_PTRACE, cap.SYS_ADMIN, cap.SETFCAP,
	} {
		if on, _ := has.GetFlag(cap.Effective, v); !on {
			t.Skipf("this root has no %s: docker run --privileged, or a machine of its own", v)
		}
	}
}

// program finds what a test calls, or skips it.
func program(t *testing.T, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is missing: install %s", name, from)
		}
	}
	return path
}

// inChild returns what run returns in a child. There, inChild does not return; whatever comes before it is done twice.
func inChild[T any](t *testing.T, s start, run func() T) T {
	t.Helper()
	if isChild {
		if err := json.NewEncoder(os.NewFile(resultsAt, "results")).Encode(run()); err != nil {
			t.Fatal(err)
		}
		os.Exit(0)
	}
	results, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	// Handed over open, since another user may not get through the directories above it.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	if s.path == "" {
		s.path = fmt.Sprintf("/proc/self/fd/%d", programAt)
	}
	names := strings.Split(t.Name(), "/")
	for i, name := range names {
		names[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	args := append(slices.Clone(s.wrap), s.path, "-test.run", strings.Join(names, "/"), "-test.timeout", "30s")
	cmd := exec.Command(args[0], args[1:]...)
	var talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &talk, &talk
	cmd.ExtraFiles = append([]*os.File{theirs, self}, s.files...)
	cmd.SysProcAttr = s.attr
	cmd.Dir = "/"
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SUDO_") && !strings.HasPrefix(v, "DOAS_") && !strings.HasPrefix(v, "PKEXEC_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	// The race detector's own second at the end of each process is of no use here.
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(append(cmd.Env, fmt.Sprint(parentPID, "=", os.Getpid())), s.env...)
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	var result T
	decodeErr := json.NewDecoder(results).Decode(&result)
	if err := cmd.Wait(); err != nil || decodeErr != nil {
		t.Fatalf("the child ended with %v, its results with %v, saying:\n%s", err, decodeErr, &talk)
	}
	return result
}

// dropped calls Drop in a child, whose end it is if that fails.
func dropped(cfg Config) Report {
	r, err := Drop(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return r
}

// directory makes one that every user can reach, of the given owner. In the child it is the same.
func directory(t *testing.T, name string, uid int, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("tcpleak-privilege-%s-", name))
	if isChild {
		return path + os.Getenv(parentPID)
	}
	path += strconv.Itoa(os.Getpid())
	if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, uid, -1), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	return path
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
