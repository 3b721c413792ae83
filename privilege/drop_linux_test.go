package privilege

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/capture"
	"tcpleak/tcp"
)

func reason(err error) string {
	var number syscall.Errno
	switch {
	case err == nil:
		return "allowed"
	case errors.As(err, &number):
		return number.Error()
	}
	return err.Error()
}

// attempts is what a process tries that wants back what it had.
func attempts() map[string]string {
	tried := make(map[string]string)
	try := func(what string, err error) { tried[what] = reason(err) }

	f, err := os.Open("/etc/shadow")
	f.Close()
	try("open /etc/shadow", err)
	if os.Getuid() != 0 {
		try("become root", unix.Setresuid(0, 0, 0))
	}
	try("become another", unix.Setresuid(4321, 4321, 4321))
	try("take a group", unix.Setgroups([]int{0}))
	_, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	try("capture", err)
	try("raise capabilities", raiseAll())
	try("change the host's name", unix.Sethostname([]byte("tcpleak")))
	return tried
}

// raiseAll asks for every capability there is, on this thread.
func raiseAll() error {
	var sets [2]unix.CapUserData
	for i := range sets {
		sets[i] = unix.CapUserData{Effective: 1<<32 - 1, Permitted: 1<<32 - 1}
	}
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0])
}

func TestNothingComesBack(t *testing.T) {
	asRoot(t)
	for name, tt := range map[string]struct {
		cfg       Config
		processes bool
	}{
		"by sudo":            {Config{}, false},
		"by sudo, network":   {Config{Network: true}, false},
		"by sudo, processes": {Config{Processes: true}, true},
		"to root":            {Config{User: "root"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.cfg.User == "root" && landlockABI() == 0 {
				t.Skip("without Landlock, root reads the files of root; run on Linux 5.13 or newer with lsm=landlock")
			}
			got := inChild(t, start{env: []string{"SUDO_UID=4242", "SUDO_GID=4242"}}, func() map[string]string {
				dropped(tt.cfg)
				return attempts()
			})
			want := map[string]string{
				"open /etc/shadow":       "permission denied",
				"become root":            "operation not permitted",
				"become another":         "operation not permitted",
				"take a group":           "operation not permitted",
				"capture":                "operation not permitted",
				"raise capabilities":     "operation not permitted",
				"change the host's name": "operation not permitted",
			}
			if tt.cfg.User == "root" {
				delete(want, "become root")
			}
			diff(t, "attempts", want, got)
		})
	}
}

func TestAnOpenCaptureGoesOn(t *testing.T) {
	asRoot(t)
	for name, cfg := range map[string]Config{"confined": {}, "processes": {Processes: true}} {
		t.Run(name, func(t *testing.T) {
			got := inChild(t, start{}, func() string {
				l, err := net.Listen("tcp4", "127.0.0.1:0")
				if err != nil {
					return err.Error()
				}
				go func() {
					c, err := l.Accept()
					if err == nil {
						io.Copy(c, c)
					}
				}()
				c, err := net.Dial("tcp4", l.Addr().String())
				if err != nil {
					return err.Error()
				}
				source, err := capture.OpenLive([]string{"lo"}, capture.Config{
					Filter: fmt.Sprintf("tcp port %d", l.Addr().(*net.TCPAddr).Port), Encaps: new(tcp.EncapTable),
					Timeout: 50 * time.Millisecond,
				})
				if err != nil {
					return err.Error()
				}
				dropped(cfg)
				c.Write([]byte("hello"))
				batch := make([]tcp.Segment, 16)
				for octets, deadline := uint32(0), time.Now().Add(10*time.Second); octets < 10; {
					n, err := source.Read(batch)
					if err != nil || time.Now().After(deadline) {
						return fmt.Sprintf("%d octets captured, %v", octets, err)
					}
					for _, s := range batch[:n] {
						octets += s.Len
					}
				}
				return reason(source.Close())
			})
			diff(t, "capture", "allowed", got)
		})
	}
}

// libpcap reads it whenever it is asked for the interface's drops, and takes a refusal for none.
func TestTheInterfacesOwnCountsStayReadable(t *testing.T) {
	asRoot(t)
	const file = "/sys/class/net/lo/statistics/rx_missed_errors"
	if _, err := os.Stat(file); err != nil {
		t.Skip("mount /sys: ", err)
	}
	diff(t, file, "allowed", inChild(t, start{}, func() string {
		dropped(Config{})
		_, err := os.ReadFile(file)
		return reason(err)
	}))
}

// What rotation does, where it may and where it may not.
func TestFilesAreWrittenWhereTheyMay(t *testing.T) {
	asRoot(t)
	mine, open, roots := directory(t, "mine", 4242, 0o700), directory(t, "open", 0, 0o777), directory(t, "roots", 0, 0o755)
	type result struct {
		Report                                     Report
		Rotate, CheckMine, CheckOpen, CheckRoots   string
		OpenRoots, OpenOpen, Across, CheckNonexist string
		Owner                                      int
	}
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	run := func(cfg Config) func() result {
		return func() result {
			r := result{Report: dropped(cfg)}
			r.CheckMine, r.CheckOpen = text(r.Report.CheckWritable(mine)), text(r.Report.CheckWritable(open))
			r.CheckRoots, r.CheckNonexist = text(r.Report.CheckWritable(roots)), text(r.Report.CheckWritable(mine+"/none"))
			create := func(name string) error {
				f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
				if err != nil {
					return err
				}
				_, err = f.WriteString("packets")
				return errors.Join(err, f.Truncate(3), f.Close())
			}
			first, second := filepath.Join(mine, "x.pcap"), filepath.Join(mine, "x.pcap1")
			r.Rotate = text(errors.Join(
				create(first), os.Rename(first, second), create(first), create(first), os.Remove(second),
			))
			if info, err := os.Stat(first); err == nil {
				r.Owner = int(info.Sys().(*syscall.Stat_t).Uid)
			}
			r.OpenRoots = text(r.Report.Denied(create(filepath.Join(roots, "x.pcap"))))
			r.OpenOpen = text(r.Report.Denied(create(filepath.Join(open, "x.pcap"))))
			return r
		}
	}
	sudo := start{env: []string{"SUDO_UID=4242", "SUDO_GID=4242"}}
	denied := func(op, path, and string) string {
		return op + " " + path + ": permission denied: once it captures, tcpleak runs as uid 4242" + and +
			": choose a directory of that user, or the user with --user"
	}
	t.Run("confined", func(t *testing.T) {
		got := inChild(t, sudo, run(Config{Write: []string{mine, roots, "/nowhere"}}))
		and := ""
		if got.Report.Landlock > 0 {
			and = " and may write nowhere but in " + mine + ", " + roots
			diff(t, "writing where everybody may", denied("open", open+"/x.pcap", and), got.OpenOpen)
			diff(t, "check of where everybody may", denied("write to", open, and), got.CheckOpen)
		}
		diff(t, "rotation", "", got.Rotate)
		diff(t, "owner", 4242, got.Owner)
		diff(t, "check of the user's", "", got.CheckMine)
		diff(t, "check of root's", denied("write to", roots, and), got.CheckRoots)
		diff(t, "check of what is not there", "write to "+mine+"/none: no such file or directory", got.CheckNonexist)
		diff(t, "writing to root's", denied("open", roots+"/x.pcap", and), got.OpenRoots)
	})
	t.Run("processes", func(t *testing.T) {
		got := inChild(t, sudo, run(Config{Processes: true}))
		diff(t, "rotation", "", got.Rotate)
		diff(t, "check of where everybody may", "", got.CheckOpen)
		diff(t, "writing to root's", denied("open", roots+"/x.pcap", ""), got.OpenRoots)
	})
}

func TestTheProcessSeesItselfAndLeavesNoCore(t *testing.T) {
	asRoot(t)
	type result struct {
		Dumpable   int
		Descriptor int
		Itself     map[string]string
		Zone       string
	}
	got := inChild(t, start{}, func() result {
		dropped(Config{})
		var r result
		r.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		descriptors, _ := os.ReadDir("/proc/self/fd")
		r.Descriptor = len(descriptors)
		r.Itself = make(map[string]string)
		for _, name := range []string{"status", "statm", "cgroup", "mountinfo", "net/dev"} {
			_, err := os.ReadFile("/proc/self/" + name)
			r.Itself[name] = reason(err)
		}
		_, err := os.Executable()
		r.Itself["exe"] = reason(err)
		return r
	})
	diff(t, "dumpable", 0, got.Dumpable)
	if got.Descriptor == 0 {
		t.Error("no descriptors in /proc/self/fd")
	}
	for name, why := range got.Itself {
		diff(t, name, "allowed", why)
	}
}
