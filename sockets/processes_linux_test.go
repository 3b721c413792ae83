package sockets

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// steps lets time pass for p, a second at a time.
func steps(p *processes, from time.Time, span time.Duration) (to time.Time) {
	for to = from; to.Before(from.Add(span)); to = to.Add(time.Second) {
		p.step(to)
	}
	return to
}

// await lets time pass until it is known who holds a socket.
func await(t *testing.T, p *processes, inode uint32, from time.Time) (holders []Process, to time.Time) {
	t.Helper()
	for to = from; to.Before(from.Add(2 * time.Minute)); to = to.Add(time.Second) {
		if holders, known := p.of(inode); known {
			return holders, to
		}
		p.step(to)
	}
	t.Fatalf("in two minutes, nothing is known of who holds inode %d", inode)
	return nil, to
}

func TestWhatNobodyHoldsIsSearchedForEverLessOften(t *testing.T) {
	p := newProcesses(ProgramOnly, 1)
	const nobodys = 1 // an inode of the first file systems that a host mounts, no socket's
	p.step(start)
	if _, known := p.of(nobodys); known {
		t.Fatal("known before any search")
	}
	now := steps(p, start, 10*time.Minute)
	if holders, known := p.of(nobodys); len(holders) > 0 || !known {
		t.Errorf("after ten minutes: %v, known %v", holders, known)
	}
	// At 0, 2, 6, 14, 30, 62, 126, 254 and 510 s; later each where processes are many.
	if p.searches < 3 || p.searches > 9 {
		t.Errorf("%d searches in ten minutes, want about 9", p.searches)
	}
	// The interest ends, and with it the searches.
	now = now.Add(forgetAfter)
	p.interested(nil, now)
	before := p.searches
	steps(p, now, 10*time.Minute)
	if p.searches != before || len(p.interest) > 0 || len(p.pending) > 0 {
		t.Errorf("%d searches for what nobody asks for", p.searches-before)
	}
}

func TestProcessesOfNewSocketsAreOftenKnownOnes(t *testing.T) {
	fd, inode := unixSocket(t)
	p := newProcesses(ProgramOnly, 1)
	p.step(start)
	holders, now := await(t, p, inode, start)
	if len(holders) != 1 || holders[0].PID != os.Getpid() || holders[0].FD != fd {
		t.Fatalf("held by %+v, want this process, fd %d", holders, fd)
	}

	// When all processes cannot be afforded, those that were named are.
	p.fullCost = time.Hour
	fd, inode = unixSocket(t)
	full := p.lastFull
	if holders, _ := await(t, p, inode, now); len(holders) != 1 || holders[0].FD != fd {
		t.Errorf("held by %+v, want fd %d", holders, fd)
	}
	if !p.lastFull.Equal(full) {
		t.Error("all processes were searched")
	}
}

func TestDescriptorThatHasBecomeSomethingElse(t *testing.T) {
	fd, inode := unixSocket(t)
	p := newProcesses(ProgramOnly, 1)
	p.step(start)
	holders, now := await(t, p, inode, start)
	if len(holders) != 1 {
		t.Fatalf("held by %+v, want this process", holders)
	}
	// A pipe takes its place.
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if err := unix.Dup3(pipe[0], fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	now = now.Add(recheckEvery)
	p.interested([]Socket{{Inode: inode}}, now)
	p.step(now)
	if holders, _ := await(t, p, inode, now.Add(time.Second)); len(holders) > 0 {
		t.Errorf("held by %+v, want nobody", holders)
	}
}

// unixSocket opens a socket and returns its descriptor and inode.
func unixSocket(t *testing.T) (fd int, inode uint32) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		t.Fatal(err)
	}
	return fd, uint32(stat.Ino)
}
