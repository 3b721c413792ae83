package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/capture"
	"tcpleak/tcp"
)

// rightsOf is what /proc says of one thread.
func rightsOf(status []byte) string {
	var kept []string
	for line := range strings.Lines(string(status)) {
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs":
			kept = append(kept, name+" "+strings.Join(strings.Fields(value), " "))
		}
	}
	return strings.Join(kept, "\n")
}

// rightsOfThreads counts the threads of this process by their rights.
func rightsOfThreads() map[string]int {
	all, _ := filepath.Glob("/proc/self/task/*/status")
	count := make(map[string]int)
	for _, name := range all {
		status, err := os.ReadFile(name)
		switch {
		case err == nil:
			count[rightsOf(status)]++
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH): // has not just ended
			count[err.Error()]++
		}
	}
	return count
}

// threads makes n threads that wait in the kernel until the process ends.
func threads(n int) {
	var started sync.WaitGroup
	for range n {
		started.Add(1)
		go func() {
			runtime.LockOSThread()
			var pipe [2]int
			if err := unix.Pipe(pipe[:]); err != nil {
				panic(err)
			}
			started.Done()
			unix.Read(pipe[0], make([]byte, 1))
		}()
	}
	started.Wait()
}

// rights is what every thread must have.
func rights(uid, gid, groups, permitted string) string {
	four := func(id string) string { return strings.Join([]string{id, id, id, id}, " ") }
	const none = "0000000000000000"
	return strings.Join([]string{
		"Uid " + four(uid), "Gid " + four(gid), "Groups " + groups,
		"CapInh " + none, "CapPrm " + permitted, "CapEff " + none, "CapBnd " + none, "CapAmb " + none, "NoNewPrivs 1",
	}, "\n")
}

func TestEveryThreadGivesUpTheSame(t *testing.T) {
	asRoot(t)
	const none, processes = "0000000000000000", "0000000000080004"
	calledBySudo := []string{"SUDO_UID=4242", "SUDO_GID=4343", "SUDO_USER=nobody"}
	for name, tt := range map[string]struct {
		env  []string
		cfg  Config
		want string
	}{
		"by sudo":               {calledBySudo, Config{}, rights("4242", "4343", "", none)},
		"by sudo, processes":    {calledBySudo, Config{Processes: true}, rights("4242", "4343", "", processes)},
		"by sudo, network":      {calledBySudo, Config{Network: true}, rights("4242", "4343", "", none)},
		"by root":               {nil, Config{}, rights("65534", "65534", "65534", none)},
		"by root, processes":    {nil, Config{Processes: true}, rights("65534", "65534", "65534", processes)},
		"to root":               {calledBySudo, Config{User: "root"}, rights("0", "0", "GROUPS", none)},
		"to root, processes":    {calledBySudo, Config{User: "root", Processes: true}, rights("0", "0", "GROUPS", processes)},
		"to a user with a name": {calledBySudo, Config{User: "nobody"}, rights("65534", "65534", "65534", none)},
		"to a number":           {nil, Config{User: "4242"}, rights("4242", "4242", "", none)},
	} {
		t.Run(name, func(t *testing.T) {
			type result struct {
				Before, After, Later int // threads
				Rights               map[string]int
			}
			got := inChild(t, start{env: tt.env}, func() result {
				var r result
				// A capture waits within libpcap.
				if _, err := capture.OpenLive([]string{"lo"}, capture.Config{Encaps: new(tcp.EncapTable)}); err != nil {
					panic(err)
				}
				threads(20)
				r.Before = count(rightsOfThreads())
				dropped(tt.cfg)
				r.After = count(rightsOfThreads())
				threads(20)
				r.Rights = rightsOfThreads()
				r.Later = count(r.Rights)
				return r
			})
			if got.Before < 20 || got.After < got.Before || got.Later < got.After+10 {
				t.Errorf("%d threads before, %d afterwards, and %d later", got.Before, got.After, got.Later)
			}
			want := tt.want
			if strings.Contains(want, "GROUPS") { // keeps what root has
				groups, _ := os.Getgroups()
				want = strings.Replace(want, "GROUPS", strings.Trim(fmt.Sprint(groups), "[]"), 1)
			}
			diff(t, "rights", map[string]int{want: got.Later}, got.Rights)
		})
	}
}

func count(by map[string]int) (n int) {
	for _, c := range by {
		n += c
	}
	return n
}

// Threads come and go while the rights do.
func TestThreadsThatStartMeanwhileGiveUpTheSame(t *testing.T) {
	asRoot(t)
	got := inChild(t, start{}, func() map[string]int {
		stop := make(chan struct{})
		for range 4 {
			go func() {
				for {
					select {
					case <-stop:
						return
					default:
						var wg sync.WaitGroup
						wg.Go(func() {
							runtime.LockOSThread() // and ends with its thread
							time.Sleep(50 * time.Microsecond)
						})
						wg.Wait()
					}
				}
			}()
		}
		dropped(Config{})
		close(stop)
		threads(4)
		return rightsOfThreads()
	})
	if len(got) != 1 {
		t.Errorf("%d kinds of threads: %v", len(got), got)
	}
}
