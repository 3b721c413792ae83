package deployment

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const top = "../.."

// released builds the static program once for all tests, and returns the directory of the release.
func released(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program once more; not with -short")
	}
	if archive, err := exec.Command("gcc", "-print-file-name=libpcap.a").Output(); err != nil || !filepath.IsAbs(strings.TrimSpace(string(archive))) {
		t.Skip("gcc has no libpcap.a to link: install gcc and libpcap-dev (Debian, Ubuntu)")
	}
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var releaseDir string // removed in TestMain

var build = sync.OnceValues(func() (dir string, err error) {
	if releaseDir, err = os.MkdirTemp("", "tcpleak-release-"); err != nil {
		return "", err
	}
	cmd := exec.Command("tools/release.sh", "v1.2.3", releaseDir)
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{err, out}
	}
	return releaseDir, nil
})

type buildError struct {
	err    error
	output []byte
}

func (e *buildError) Error() string {
	return "tools/release.sh: " + e.err.Error() + "\n" + string(e.output)
}

func TestMain(m *testing.M) {
	status := m.Run()
	if releaseDir != "" {
		os.RemoveAll(releaseDir)
	}
	os.Exit(status)
}

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("needs root %s: make test-root", why)
	}
}

func TestReleaseIsStatic(t *testing.T) {
	f, err := elf.Open(filepath.Join(released(t), "tcpleak"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a segment %v: it needs a loader and libraries", p.Type)
		}
	}
}

func TestReleaseKnowsItsVersion(t *testing.T) {
	out, err := exec.Command(filepath.Join(released(t), "tcpleak"), "--version").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("v1.2.3")) {
		t.Errorf("--version: %v, %q", err, out)
	}
}

func TestChecksumsMatch(t *testing.T) {
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = released(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range []string{"tcpleak:", "man/tcpleak.1.gz:", "completions/tcpleak.bash:", ".tar.gz:"} {
		if !bytes.Contains(out, []byte(name)) {
			t.Errorf("nothing vouches for %s\n%s", name, out)
		}
	}
}

// As in an image from scratch: no library, no /etc, no /proc.
func TestReleaseRunsWhereThereIsNothingElse(t *testing.T) {
	dir := released(t)
	needRoot(t, "for chroot")
	root := t.TempDir()
	for from, to := range map[string]string{filepath.Join(dir, "tcpleak"): "tcpleak", top + "/testdata/demo.pcap": "demo.pcap"} {
		if err := os.WriteFile(filepath.Join(root, to), []byte(read(t, from)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/tcpleak", "-r", "/demo.pcap", "tcp or host 192.0.2.1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("CLOSE_WAIT")) {
		t.Errorf("%v: want a report with CLOSE_WAIT, got\n%s", err, out)
	}
}

// The system calls that give up root have to reach every thread, also those that a static glibc has started.
func TestReleaseGivesUpRootOnEveryThread(t *testing.T) {
	dir := released(t)
	needRoot(t, "to have something to give up")
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "tcpleak"), "-i", "any", "--user", "65534")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	capturing := false
	var said []string
	for !capturing && lines.Scan() {
		said = append(said, lines.Text())
		capturing = strings.Contains(lines.Text(), "capturing on any")
	}
	if !capturing {
		t.Fatalf("it never captured: %q, %v", said, cmd.Wait())
	}
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "task/*/status"))
	if err != nil || len(threads) < 2 {
		t.Fatalf("found the threads %q (%v)", threads, err)
	}
	for _, thread := range threads {
		status := fields(read(t, thread))
		for name, want := range map[string]string{
			"Uid": "65534 65534 65534 65534", "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1",
		} {
			if status[name] != want {
				t.Errorf("%s: %s is %s, want %s", thread, name, status[name], want)
			}
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("at SIGTERM: %v: %q", err, said)
	}
}

// fields reads /proc/PID/status.
func fields(status string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		values[name] = strings.Join(strings.Fields(value), " ")
	}
	return values
}
