package sockets

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/internal/kernel"
)

// The test binary is also the other processes that the tests need: TestMain becomes one of them if role says so.
const role = "TCPLEAK_SOCKETS_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "hold": // whatever was inherited, until standard input ends
		if err := os.WriteFile("/proc/self/comm", []byte(os.Args[1]), 0); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	case "dropper": // gives up its rights on the way
		if err := beDropper(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "stranger": // asks as somebody who may not see everything
		if err := beStranger(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// startHolder starts a process with the given name that holds files, and waits until it does. stop ends it.
func startHolder(t *testing.T, name string, start func(*exec.Cmd) error, files ...*os.File) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", name)
	cmd.Env = append(os.Environ(), role+"=hold")
	cmd.ExtraFiles = files
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			stdin.Close()
			cmd.Wait()
		}
	}
	t.Cleanup(stop)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the process that is to hold sockets says %q, %v", line, err)
	}
	return cmd.Process.Pid, stop
}

// strangerSaw is what a process without rights learns.
type strangerSaw struct {
	Own, Other           int // holders of its own listener, and of another user's
	OwnKnown, OtherKnown bool
	OtherState           string
	Limited              string
}

func beStranger() error {
	other := netip.MustParseAddrPort(os.Args[1])
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	own := l.Addr().(*net.TCPAddr).AddrPort()
	s, err := New(Config{AllNamespaces: true})
	if err != nil {
		return err
	}
	defer s.Close()
	var saw strangerSaw
	for now := time.Now(); !saw.OwnKnown || !saw.OtherKnown; now = now.Add(time.Second) {
		if time.Since(now) > 0 && now.After(time.Now().Add(10*time.Minute)) {
			return fmt.Errorf("holders are still looked for: %+v", saw)
		}
		snap, err := s.Sample(now)
		if err != nil {
			return err
		}
		saw.Limited = snap.Limited
		for sock := range snap.All() {
			holders, known := s.Processes(sock.Inode)
			switch sock.Local {
			case own:
				saw.Own, saw.OwnKnown = len(holders), known
			case other:
				saw.Other, saw.OtherKnown, saw.OtherState = len(holders), known, sock.State.String()
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(saw)
}

// dropperSaw is what a process learns with rights, after giving them up, and when the other process has ended.
type dropperSaw struct{ Namespace, Socket, Process [3]bool }

func beDropper() error {
	var want struct {
		Inode         uint64 // of the namespace
		Local, Remote netip.AddrPort
		PID           int
	}
	stdin := bufio.NewReader(os.Stdin)
	next := json.NewDecoder(stdin)
	if err := next.Decode(&want); err != nil {
		return err
	}
	s, err := New(Config{AllNamespaces: true})
	if err != nil {
		return err
	}
	defer s.Close()
	var saw dropperSaw
	now := time.Now()
	for i := range saw.Socket {
		switch i {
		case 1:
			if err := syscall.Setresuid(65534, 65534, 65534); err != nil {
				return err
			}
		case 2:
			fmt.Println("dropped")
			if err := next.Decode(new(struct{})); err != nil {
				return err
			}
		}
		for range 20 { // more than it takes to look for everything
			now = now.Add(20 * time.Second)
			snap, err := s.Sample(now)
			if err != nil {
				return err
			}
			saw.Namespace[i] = slices.ContainsFunc(snap.Namespaces, func(n Namespace) bool { return n.Inode == want.Inode })
			saw.Socket[i], saw.Process[i] = false, false
			for _, sock := range snap.Lookup(want.Local, want.Remote) {
				if sock.Namespace == want.Inode {
					saw.Socket[i] = true
					holders, _ := s.Processes(sock.Inode)
					saw.Process[i] = slices.ContainsFunc(holders, func(p Process) bool { return p.PID == want.PID && p.Namespace == want.Inode })
				}
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(saw)
}

// What was found with rights is still seen without them, for as long as it is there.
func TestRightsThatAreGivenUp(t *testing.T) {
	h := newHosts(t, Config{})
	var c *kernel.Socket
	h.act(func() {
		l := h.Server.Listen(h.service(), 16)
		c = h.Client.Dial(h.service())
		l.Accept()
		c.CloseWrite()
	})
	shared := duplicate(t, c)
	pid, stop := startHolder(t, "child", func(cmd *exec.Cmd) error { return kernel.Try(func() { h.Client.Start(cmd) }) }, shared)
	shared.Close()

	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"=dropper")
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	fmt.Fprintf(stdin, `{"Inode": %d, "Local": %q, "Remote": %q, "PID": %d}`, h.namespace(c.Local.Addr()), c.Local, c.Peer, pid)
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "dropped\n" {
		t.Fatalf("the process that gives up its rights says %q, %v", line, err)
	}
	stop()
	fmt.Fprintln(stdin, "{}")
	var saw dropperSaw
	if err := json.NewDecoder(lines).Decode(&saw); err != nil {
		t.Fatal(err)
	}
	there := [3]bool{true, true, false}
	if diff := cmp.Diff(dropperSaw{there, there, there}, saw); diff != "" {
		t.Errorf("with rights, without, after the end (-want +got)\n%s", diff)
	}
}

func TestWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to start a process of another user: run sudo make test-root")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command("/proc/self/exe", l.Addr().String())
	cmd.Env = append(os.Environ(), role+"=stranger")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var saw strangerSaw
	if err := json.Unmarshal(out, &saw); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !saw.OwnKnown || saw.Own != 1 {
		t.Errorf("its own socket: %d processes, known %v; want itself", saw.Own, saw.OwnKnown)
	}
	if !saw.OtherKnown || saw.Other != 0 || saw.OtherState != "LISTEN" {
		t.Errorf("root's socket: %d processes, known %v, %s; want the socket without process", saw.Other, saw.OtherKnown, saw.OtherState)
	}
	for _, want := range []string{"processes of other users", "network namespaces"} {
		if !strings.Contains(saw.Limited, want) {
			t.Errorf("Limited is %q, want it to speak of %s", saw.Limited, want)
		}
	}
}
