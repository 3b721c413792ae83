package capture

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/tcp"
)

const capNetRaw = 13

// asNobody runs a test in a process of its own, which has only the given capabilities, and returns what it prints.
func asNobody(t *testing.T, test string, capabilities ...uintptr) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("run as root, to take rights away: sudo make test")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^"+test+"$") // nobody may not enter the program's directory
	cmd.ExtraFiles = []*os.File{file}
	cmd.Dir = "/"
	cmd.Env = []string{"CAPTURE_AS_NOBODY=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: capabilities}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestNobody is what asNobody runs.
func TestNobody(t *testing.T) {
	if os.Getenv("CAPTURE_AS_NOBODY") == "" {
		t.Skip("only for the other tests to run")
	}
	for _, name := range []string{"lo", "any"} {
		s, err := OpenLive([]string{name}, Config{Promiscuous: true, BufferBytes: 64 << 20, Filter: "tcp", Timeout: 10 * time.Millisecond,
			Encaps: new(tcp.EncapTable)})
		if err == nil {
			_, err = s.Read(make([]tcp.Segment, 1))
			s.Close()
		}
		fmt.Println(name, err)
	}
	all, err := Interfaces()
	fmt.Println(len(all) >= 2, err)
}

func TestWithoutTheRightToCapture(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	denied := "no right to capture: run sudo tcpleak, or give it the right once with sudo setcap cap_net_raw+ep " + program
	lines := strings.Split(asNobody(t, "TestNobody"), "\n")
	diff(t, "output", []string{"lo lo: " + denied, "any any: " + denied, "true <nil>"}, lines[:3])
}

func TestOneCapabilityIsEnough(t *testing.T) {
	lines := strings.Split(asNobody(t, "TestNobody", capNetRaw), "\n")
	diff(t, "output", []string{"lo <nil>", "any <nil>", "true <nil>"}, lines[:3])
}

func TestErrorsOfActivation(t *testing.T) {
	text := func(s string) error { return activationError("eth0", fmt.Errorf("%s", s)) }
	diff(t, "down", "the interface is down: bring it up with sudo ip link set eth0 up", text("Interface Not Up").Error())
	diff(t, "several lines", "Error: one; two", text("Error: one\ntwo").Error())
	diff(t, "root", "no right to capture, even for root, without the capability CAP_NET_RAW: a container gets it with --cap-add NET_RAW", deniedError(true).Error())
	diff(t, "a plain path", "/usr/local/bin/tcpleak-1.2", shellQuoted("/usr/local/bin/tcpleak-1.2"))
	diff(t, "another", `'/home/it'\''s me/tcpleak'`, shellQuoted("/home/it's me/tcpleak"))
}
