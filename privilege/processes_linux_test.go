package privilege

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// seen is what process names take of another process.
func seen(pid int) string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	if _, err := os.ReadDir(dir); err != nil {
		return "list: " + reason(err)
	}
	if _, err := os.Readlink(dir + "/1"); err != nil {
		return "link: " + reason(err)
	}
	return "seen"
}

func TestOnlyReadProcessesSeesProcesses(t *testing.T) {
	asRoot(t)
	// Of root, and of another user.
	var pids []string
	for _, credential := range []*syscall.Credential{nil, {Uid: 4444, Gid: 4444}} {
		if isChild {
			break
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		other := exec.CommandContext(ctx, program(t, "sleep", "coreutils"), "60")
		other.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		defer other.Wait()
		defer stop()
		pids = append(pids, strconv.Itoa(other.Process.Pid))
	}
	got := inChild(t, start{env: []string{"PIDS=" + strings.Join(pids, ",")}}, func() map[string]string {
		r := dropped(Config{Processes: true})
		got := map[string]string{"kept": strings.Join(r.Kept, ",")}
		for i, text := range strings.Split(os.Getenv("PIDS"), ",") {
			pid, _ := strconv.Atoi(text)
			got[fmt.Sprint("before ", i)] = seen(pid)
			ReadProcesses(func() {
				ReadProcesses(func() {})
				got[fmt.Sprint("within ", i)] = seen(pid)
				beside := make(chan string)
				go func() { beside <- seen(pid) }()
				got[fmt.Sprint("beside ", i)] = <-beside
			})
			got[fmt.Sprint("after ", i)] = seen(pid)
		}
		ReadProcesses(func() {
			// Threads made now must not have what this one has.
			threads(8)
			effective := make(map[string]int)
			for rights, n := range rightsOfThreads() {
				_, value, _ := strings.Cut(rights, "CapEff ")
				value, _, _ = strings.Cut(value, "\n")
				effective[value] += n
			}
			got["raised"] = strconv.Itoa(effective["0000000000080004"])
		})
		func() {
			defer func() { recover() }()
			ReadProcesses(func() { panic("ends") })
		}()
		pid, _ := strconv.Atoi(strings.Split(os.Getenv("PIDS"), ",")[0])
		got["after a panic"] = seen(pid)
		return got
	})
	const no = "list: permission denied"
	diff(t, "what is seen", map[string]string{
		"kept":     "cap_dac_read_search,cap_sys_ptrace",
		"before 0": no, "within 0": "seen", "beside 0": no, "after 0": no,
		"before 1": no, "within 1": "seen", "beside 1": no, "after 1": no,
		"raised": "1", "after a panic": no,
	}, got)
}

// The reason for which Processes goes without Landlock. Should a kernel change that, Drop can confine both.
func TestLandlockHidesProcesses(t *testing.T) {
	asRoot(t)
	if landlockABI() == 0 {
		t.Skip("needs Linux 5.13 or newer with lsm=landlock")
	}
	parent := os.Getpid()
	if isChild {
		parent = os.Getppid()
	}
	got := inChild(t, start{}, func() string {
		before := seen(parent)
		new(Report).confine(Config{Read: []string{"/"}, Network: true})
		return before + ", then " + seen(parent)
	})
	diff(t, "what is seen", "seen, then link: permission denied", got)
}
