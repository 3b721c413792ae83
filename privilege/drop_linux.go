package privilege

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// forProcesses is what ReadProcesses puts into effect.
var forProcesses = []cap.Value{cap.DAC_READ_SEARCH, cap.SYS_PTRACE}

func drop(cfg Config) (Report, error) {
	var r Report
	if err := findThreads(); err != nil {
		return r, err
	}
	// Go reads /etc/localtime when it first needs it, which may be too late.
	_ = time.Local.String()

	a, err := choose(cfg.User, caller{uid: os.Getuid(), euid: os.Geteuid(), gid: os.Getgid(), getenv: os.Getenv})
	if err != nil {
		return r, err
	}
	before := cap.GetProc()
	if a != nil {
		if err := become(a); err != nil {
			if cfg.User != "" || os.Getuid() != os.Geteuid() {
				return r, fmt.Errorf("cannot become %s: %w: it takes root, or cap_setuid and cap_setgid", a.name, err)
			}
			r.note("stays root, since this root may not become %s (%v)", a.name, err)
		}
	}
	r.User, r.UID, r.GID = now()
	if err := limit(); err != nil {
		r.note("programs that it called could have capabilities, but for no-new-privileges (%v)", err)
	}
	kept := cap.NewSet()
	if cfg.Processes {
		for _, v := range forProcesses {
			if has(before, v) {
				kept.SetFlag(cap.Permitted, true, v)
			}
		}
	}
	if err := errors.Join(cap.ResetAmbient(), kept.SetProc()); err != nil {
		return r, fmt.Errorf("capabilities: %w", err)
	}
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return r, fmt.Errorf("no new privileges: %w", err)
	}
	// After the user and the capabilities, whose changes set it to what the machine is configured for.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return r, fmt.Errorf("no core dumps: %w", err)
	}
	for v := range cap.MaxBits() {
		switch {
		case has(kept, v):
			r.Kept = append(r.Kept, v.String())
		case has(before, v):
			r.Dropped = append(r.Dropped, v.String())
		}
	}
	if cfg.Processes {
		if len(r.Kept) < len(forProcesses) {
			r.note("without %s and %s, sees only its own user's processes", forProcesses[0], forProcesses[1])
		}
		r.note("without Landlock, which would hide processes")
		return r, nil
	}
	r.confine(cfg)
	return r, nil
}

// findThreads is an error where libpsx, which carries system calls to all threads, would not find them: it would kill the
// process.
func findThreads() error {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.New("/proc does not show this process: mount -t proc proc /proc in its namespaces, and try again")
	}
	return nil
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func has(set *cap.Set, v cap.Value) bool {
	on, err := set.GetFlag(cap.Permitted, v)
	return err == nil && on
}

// become changes the user and the groups, and keeps the permitted capabilities; none is in effect afterwards.
func become(a *account) error {
	if err := cap.SetGroups(a.gid, a.groups...); err != nil {
		return err
	}
	if err := cap.SetUID(a.uid); err != nil {
		return err
	}
	// The calls take 16 bits on some machines.
	var uid, gid [3]int
	uid[0], uid[1], uid[2] = unix.Getresuid()
	gid[0], gid[1], gid[2] = unix.Getresgid()
	if uid != [3]int{a.uid, a.uid, a.uid} || gid != [3]int{a.gid, a.gid, a.gid} {
		return fmt.Errorf("the kernel made it the users %d and the groups %d", uid, gid)
	}
	return nil
}

// limit empties the bounding set and makes user 0 a user like any other, so that no program that is called gets
// capabilities. Both take CAP_SETPCAP; where that is missing, no-new-privileges has to do.
func limit() error {
	set := cap.GetProc()
	if !has(set, cap.SETPCAP) {
		return nil
	}
	if err := errors.Join(set.SetFlag(cap.Effective, true, cap.SETPCAP), set.SetProc()); err != nil {
		return err
	}
	for v := range cap.MaxBits() {
		if err := cap.DropBound(v); err != nil {
			return fmt.Errorf("bounding set: %s: %w", v, err)
		}
	}
	const bits = cap.SecbitNoRoot | cap.SecbitNoRootLocked | cap.SecbitNoSetUIDFixup | cap.SecbitNoSetUIDFixupLocked |
		cap.SecbitKeepCapsLocked | cap.SecbitNoCapAmbientRaise | cap.SecbitNoCapAmbientRaiseLocked
	if err := (cap.GetSecbits() | bits).Set(); err != nil {
		return fmt.Errorf("secure bits: %w", err)
	}
	return nil
}

func setAside() error {
	set := cap.GetProc()
	changed := false
	for _, v := range forProcesses {
		if on, _ := set.GetFlag(cap.Effective, v); on {
			changed = true
			set.SetFlag(cap.Effective, false, v)
		}
	}
	if !changed || os.Geteuid() == 0 {
		return nil
	}
	if err := findThreads(); err != nil {
		return err
	}
	return set.SetProc()
}

func readProcesses(read func()) {
	runtime.LockOSThread()
	if lower, raised := raise(); raised {
		defer func() {
			// A thread that would not let go stays locked to its goroutine, and ends with it.
			if lower() == nil {
				runtime.UnlockOSThread()
			}
		}()
	} else {
		runtime.UnlockOSThread()
	}
	read()
}

// raise puts into effect, on this thread, what is permitted of forProcesses, unless it is in effect anyway.
func raise() (lower func() error, raised bool) {
	var before [2]unix.CapUserData // of 32 capabilities each
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&header, &before[0]) != nil {
		return nil, false
	}
	after := before
	for _, v := range forProcesses {
		after[v/32].Effective |= before[v/32].Permitted & (1 << (v % 32))
	}
	if after == before || unix.Capset(&header, &after[0]) != nil {
		return nil, false
	}
	return func() error { return unix.Capset(&header, &before[0]) }, true
}
