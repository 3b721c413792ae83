package privilege

import (
	"errors"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// What Landlock can allow for a path, without running programs and making devices and links.
const (
	readFile  landlock.AccessFSSet = ll.AccessFSReadFile
	readTree  landlock.AccessFSSet = readFile | ll.AccessFSReadDir
	writeFile landlock.AccessFSSet = readFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	writeTree landlock.AccessFSSet = readTree | writeFile | ll.AccessFSMakeReg | ll.AccessFSRemoveFile |
		ll.AccessFSMakeDir | ll.AccessFSRemoveDir
)

// always is what the program and its libraries open while they run.
var always = struct{ read, write, terminal []string }{
	read: []string{
		"/proc",        // the runtime and libpsx. Not /proc/self, whose inode is another one once the kernel has forgotten it
		"/sys/devices", // libpcap counts an interface's drops in statistics/
		"/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo",
	},
	write:    []string{os.DevNull},
	terminal: []string{"/dev/tty"},
}

// confine applies as much of Landlock as the kernel has, and notes what it could not do.
func (r *Report) confine(cfg Config) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		switch {
		case errors.Is(err, unix.ENOSYS):
			r.note("without Landlock, which this kernel does not have")
		case errors.Is(err, unix.EOPNOTSUPP):
			r.note("without Landlock, which this kernel has not enabled (boot it with lsm=landlock,…)")
		default:
			r.note("without Landlock (%v)", err)
		}
		return
	}
	all := landlock.V11
	if cfg.Network {
		all.HandledAccessNet = 0
		all.HandledAccessFS &^= ll.AccessFSResolveUnix
		all.Scoped &^= ll.ScopeAbstractUnixSocket
	}
	var rules []landlock.Rule
	allow := func(paths []string, file, tree landlock.AccessFSSet) (allowed []string) {
		for _, path := range paths {
			// What is not there, or out of this user's reach, would make an error of the rule.
			fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			var info unix.Stat_t
			err = unix.Fstat(fd, &info)
			unix.Close(fd)
			if err != nil {
				continue
			}
			access := file
			if info.Mode&unix.S_IFMT == unix.S_IFDIR {
				access = tree
			}
			allowed = append(allowed, path)
			rules = append(rules, landlock.PathAccess(access, path).IgnoreIfMissing())
		}
		return allowed
	}
	allow(always.read, readFile, readTree)
	allow(always.write, writeFile, writeTree)
	allow(always.terminal, writeFile|ll.AccessFSIoctlDev, writeTree)
	allow(cfg.Read, readFile, readTree)
	r.writable = allow(cfg.Write, writeFile, writeTree)
	if err := all.BestEffort().Restrict(rules...); err != nil {
		r.writable = nil
		r.note("without Landlock (%v)", err)
		return
	}
	r.Landlock = abi
}
