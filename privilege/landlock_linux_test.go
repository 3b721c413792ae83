package privilege

import (
	"context"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// landlockABI is the kernel's, 0 where it has none.
func landlockABI() int {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return abi
}

func TestLandlockClosesTheNetworkUnlessItIsNeeded(t *testing.T) {
	asRoot(t)
	if landlockABI() < 4 {
		t.Skip("needs Linux 6.7 or newer with lsm=landlock")
	}
	for name, tt := range map[string]struct {
		cfg  Config
		want map[string]string
	}{
		"not needed": {Config{}, map[string]string{"connect": "permission denied", "bind": "permission denied"}},
		"needed":     {Config{Network: true}, map[string]string{"connect": "connection refused", "bind": "allowed"}},
	} {
		t.Run(name, func(t *testing.T) {
			diff(t, "network", tt.want, inChild(t, start{}, func() map[string]string {
				dropped(tt.cfg)
				_, connect := net.DialTimeout("tcp4", "127.0.0.1:1", time.Second)
				// Not Multipath TCP, which Landlock leaves alone.
				var plain net.ListenConfig
				plain.SetMultipathTCP(false)
				_, bind := plain.Listen(context.Background(), "tcp4", "127.0.0.1:0")
				return map[string]string{"connect": reason(connect), "bind": reason(bind)}
			}))
		})
	}
}

// noLandlock makes this process's kernel answer with an error when it is asked for Landlock, as the seccomp filters of
// some containers do.
func noLandlock(answer syscall.Errno) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_LANDLOCK_CREATE_RULESET},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(answer)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if err != 0 {
		return err
	}
	return nil
}

func TestWithoutLandlockTheRestIsGivenUp(t *testing.T) {
	asRoot(t)
	for answer, why := range map[syscall.Errno]string{
		unix.ENOSYS:     "without Landlock, which this kernel does not have",
		unix.EOPNOTSUPP: "without Landlock, which this kernel has not enabled (boot it with lsm=landlock,…)",
		unix.EPERM:      "without Landlock (operation not permitted)",
	} {
		t.Run(strconv.Itoa(int(answer)), func(t *testing.T) {
			type result struct {
				Report   Report
				Attempts map[string]string
			}
			got := inChild(t, start{}, func() result {
				if err := noLandlock(answer); err != nil {
					panic(err)
				}
				return result{dropped(Config{}), attempts()}
			})
			diff(t, "notes", []string{why}, got.Report.Notes)
			diff(t, "ABI", 0, got.Report.Landlock)
			for what, came := range got.Attempts {
				if came == "allowed" {
					t.Errorf("%s: allowed", what)
				}
			}
		})
	}
}

// A program may be confined 16 times over; service managers may have used them up.
func TestLandlockThatCannotBeAppliedIsNoted(t *testing.T) {
	asRoot(t)
	if landlockABI() == 0 {
		t.Skip("needs Linux 5.13 or newer with lsm=landlock")
	}
	got := inChild(t, start{}, func() Report {
		for range 16 {
			new(Report).confine(Config{Read: []string{"/"}})
		}
		return dropped(Config{})
	})
	diff(t, "ABI", 0, got.Landlock)
	if len(got.Notes) != 1 || !strings.HasPrefix(got.Notes[0], "without Landlock (the maximum number of stacked rulesets") {
		t.Errorf("notes: %q", got.Notes)
	}
}
