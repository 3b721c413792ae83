package privilege

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A terminal that was there before the drop: it is read, tells its size, and says when that changes.
func TestATerminalStaysUsable(t *testing.T) {
	asRoot(t)
	var master, slave *os.File
	if !isChild {
		master, slave = terminal(t)
	}
	type result struct{ Typed, Size, Resized, Raw, Reopened string }
	const ready = "ready\n"
	if master != nil {
		go func() {
			heard := make([]byte, 64)
			for all := ""; !strings.Contains(all, "ready"); {
				n, err := master.Read(heard)
				if err != nil {
					return
				}
				all += string(heard[:n])
			}
			unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 132})
			master.WriteString("q")
		}()
	}
	got := inChild(t, start{
		files: []*os.File{slave},
		attr:  &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: filesAt},
	}, func() result {
		var r result
		tty := os.NewFile(filesAt, "terminal")
		dropped(Config{})
		resized := make(chan os.Signal, 1)
		signal.Notify(resized, unix.SIGWINCH)
		size, err := unix.IoctlGetWinsize(filesAt, unix.TIOCGWINSZ)
		if err != nil {
			return result{Size: err.Error()}
		}
		r.Size = fmt.Sprint(size.Col, "x", size.Row)
		r.Raw = reason(raw(filesAt))
		again, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		r.Reopened = reason(err)
		if err == nil {
			r.Reopened = reason(raw(int(again.Fd())))
		}
		tty.WriteString(ready)
		<-resized
		if size, err = unix.IoctlGetWinsize(filesAt, unix.TIOCGWINSZ); err == nil {
			r.Resized = fmt.Sprint(size.Col, "x", size.Row)
		}
		key := make([]byte, 1)
		tty.Read(key)
		r.Typed = string(key)
		return r
	})
	diff(t, "terminal", result{Typed: "q", Size: "80x24", Resized: "132x50", Raw: "allowed", Reopened: "allowed"}, got)
}

func raw(fd int) error {
	_, err := term.MakeRaw(fd)
	return err
}

// terminal makes a pseudo-terminal of 80 columns and 24 rows.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("mount /dev/pts: ", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}),
	)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}
