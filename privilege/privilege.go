// Package privilege gives up what the process may do once its captures are open.
//
// # Order
//
// Call SetAside before anything else. Open the captures, and the netlink sockets in every network namespace that is to be
// asked; call Drop; open what is to be written. Files are opened after the drop so that they belong to the user who reads
// them, and so that the kernel checks that this user may write there. Report.CheckWritable says at the start whether a
// directory will take the files of a rotation, and Report.Denied turns a refusal into a line that says who was refused.
//
// What was open before stays open: captures go on, and so do terminals, pipes and sockets. Sockets of network namespaces
// that appear later cannot be opened any more, since setns takes CAP_SYS_ADMIN, which is never kept.
//
// # The user
//
// Root becomes the user who called sudo, doas, run0 or pkexec. Without them it becomes nobody, as tcpdump becomes tcpdump:
// who has to write where only root may says so by Config.User "root", which keeps the user and gives up the rest. A
// program that is not root, because its file or its service gives it capabilities, keeps its user.
//
// # Processes
//
// The owner of a socket is found by reading the links in /proc/PID/fd of other users' processes, for which the kernel asks
// CAP_DAC_READ_SEARCH (to list the directory) and CAP_SYS_PTRACE (to read the links). Together they amount to much of what
// root may do. With Config.Processes they are kept, but not in effect: a function that ReadProcesses runs has them, on its
// thread and as long as it runs, and nothing else has.
//
// Landlock forbids a confined process to look into any process outside (its ptrace rule holds for reading, too), whatever
// else it allows. Processes and Landlock thus exclude each other, and Drop leaves Landlock out when Processes are wanted.
package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Config says what is still needed after the drop.
type Config struct {
	// User is the name or number of the user to become; empty: see the package's documentation.
	User string
	// Processes keeps what ReadProcesses needs, as far as it is there.
	Processes bool
	// Read and Write are the files and directories that Landlock still lets the process open, with all below them; those
	// under Write may also be made, renamed within their directory, truncated and removed. A path that does not exist is
	// left out. /proc, /sys/devices and the descriptions of terminals can always be read, /dev/null and /dev/tty used.
	Read, Write []string
	// Network lets the process bind, connect and send. Without it Landlock forbids TCP from ABI 4 on, abstract Unix sockets
	// from 6, other Unix sockets from 9, and UDP from 10, but never Multipath TCP. Sockets that are bound or connected before the drop are not
	// affected, nor are those that capture, and netlink's.
	Network bool
}

// A Report is what came of a drop.
type Report struct {
	User     string // the name of the user the process runs as now, or the number where there is no name
	UID, GID int
	Dropped  []string // capabilities, as in "cap_net_raw", in the kernel's order
	Kept     []string // likewise; in effect only during ReadProcesses
	Landlock int      // version of the kernel's ABI, 0 where it is not applied
	Notes    []string // what could not be done, and why

	writable []string // under Landlock
}

// Drop gives up whatever cfg does not ask for, on all threads, and for good. On Linux that is the user, the groups, the
// capabilities in all five sets, the way to new ones through programs with a set-user-ID bit or file capabilities, core
// dumps, and with Landlock files, the network and signals to others. Other Unix systems have only the user and the groups of it, Windows none.
// It is harmless where there is nothing to give up.
//
// What the system does not have or the process may not do is left out, with a note in the Report. It is an error if
// Config.User does not exist or the process cannot become that user, or if a right that ought to go has stayed; the process
// should end then.
//
// Core dumps, which would hold packets, are ruled out by making the process undumpable: debuggers and /proc/PID/fd are for
// root then. The process itself still sees /proc/self.
//
// Call Drop once, and not at the same time as ReadProcesses.
func Drop(cfg Config) (Report, error) {
	r, err := drop(cfg)
	if err != nil {
		return r, fmt.Errorf("giving up privileges: %w", err)
	}
	return r, nil
}

// SetAside takes out of effect, and keeps for ReadProcesses, what file or ambient capabilities gave a process that is not
// root, so that the files that its user names are opened with that user's rights. To be called first of all; what opening a
// capture takes stays in effect. Root is left as it is: it may open what it names.
func SetAside() error {
	if err := setAside(); err != nil {
		return fmt.Errorf("setting capabilities aside: %w", err)
	}
	return nil
}

// ReadProcesses runs read with what Config.Processes kept in effect. Only what read does in its own goroutine has it: a
// goroutine that it starts does not. Without anything kept, it just runs read. It takes some microseconds: let read be a whole
// round. Safe for concurrent use, and may be nested.
func ReadProcesses(read func()) { readProcesses(read) }

// String is one line without an end, for a person.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "runs as %s", r.user())
	if len(r.Kept) == 0 {
		b.WriteString(" without capabilities")
	} else {
		fmt.Fprintf(&b, " with %s, only while it reads processes", strings.Join(r.Kept, ", "))
	}
	if r.Landlock > 0 {
		fmt.Fprintf(&b, "; confined by Landlock, ABI %d", r.Landlock)
	}
	for _, note := range r.Notes {
		b.WriteString("; " + note)
	}
	return b.String()
}

func (r Report) user() string {
	if r.User == fmt.Sprint(r.UID) {
		return "uid " + r.User
	}
	return fmt.Sprintf("%s (uid %d)", r.User, r.UID)
}

// Denied explains an error that stems from what Drop gave up: who was refused, and what to do. Other errors, and nil, are
// returned as they are. The error is wrapped.
func (r Report) Denied(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	only := ""
	if r.Landlock > 0 {
		only = " and may write nowhere"
		if len(r.writable) > 0 {
			only += " but in " + strings.Join(r.writable, ", ")
		}
	}
	return fmt.Errorf("%w: once it captures, tcpleak runs as %s%s: choose a directory of that user, or the user with --user", err, r.user(), only)
}

// CheckWritable reports whether files can be made in a directory and removed from it, by doing so. To be called after Drop,
// for the directory of files that will be opened later.
func (r Report) CheckWritable(dir string) error {
	f, err := os.CreateTemp(dir, ".tcpleak-*")
	if err != nil {
		// Not the name of the trial, that nobody has heard of.
		if pathError, ok := errors.AsType[*fs.PathError](err); ok {
			err = &fs.PathError{Op: "write to", Path: dir, Err: pathError.Err}
		}
		return r.Denied(err)
	}
	f.Close()
	return r.Denied(os.Remove(f.Name()))
}
