//go:build unix && !linux

package privilege

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// drop changes the user and the groups: there are no capabilities and no Landlock here.
func drop(cfg Config) (Report, error) {
	a, err := choose(cfg.User, caller{uid: os.Getuid(), euid: os.Geteuid(), gid: os.Getgid(), getenv: os.Getenv})
	if err == nil && a != nil {
		err = become(a)
	}
	if err != nil {
		return Report{}, err
	}
	r := Report{Notes: []string{runtime.GOOS + " has no more to give up"}}
	r.User, r.UID, r.GID = now()
	return r, nil
}

func become(a *account) error {
	groups := a.groups
	if len(groups) == 0 {
		groups = []int{a.gid}
	}
	err := syscall.Setgroups(groups)
	if err == nil {
		err = syscall.Setgid(a.gid)
	}
	if err == nil {
		err = syscall.Setuid(a.uid)
	}
	if err != nil {
		return fmt.Errorf("cannot become %s: %w: it takes root", a.name, err)
	}
	return nil
}

func setAside() error { return nil }

func readProcesses(read func()) { read() }
