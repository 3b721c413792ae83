package sockets

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxNamespaces bounds the descriptors that are held.
const maxNamespaces = 1024

// The least time between two searches for network namespaces, and between two looks whether those that were found are still
// there.
const (
	namespacesEvery = 2 * time.Second
	goneEvery       = 250 * time.Millisecond
)

// namespaceDirs hold a file for each namespace that has a name, as mount points.
var namespaceDirs = []string{"/run/netns", "/run/docker/netns"}

// namespaces are the network namespaces that are asked. That of the Sampler comes first and stays.
//
// A netlink socket keeps its namespace alive, with the interfaces in it: a device that was lent to a container would not
// come back to the host when the container ends. A namespace that is nobody else's any more is therefore given up soon.
type namespaces struct {
	all      []*namespace
	search   pace
	lookGone pace

	hidden  bool // some processes do not show theirs
	refused int  // how many may not be entered
	tooMany int
}

type namespace struct {
	Namespace
	*diag
	path  string // of its file
	start uint64 // of PID, if that is how it was found
}

// newNamespaces begins with that of the calling thread. Finding others may take a share of a core.
func newNamespaces(others bool, share float64) (*namespaces, error) {
	d, err := openDiag()
	if err != nil {
		return nil, explain(err)
	}
	own := &namespace{diag: d}
	own.PID = os.Getpid()
	if own.Inode, err = namespaceLink("/proc/thread-self/ns/net"); err != nil && others {
		d.close()
		return nil, fmt.Errorf("finding out which network namespace is ours: %w; is /proc mounted?", err)
	}
	return &namespaces{
		all:      []*namespace{own},
		search:   pace{every: namespacesEvery, share: share / 2},
		lookGone: pace{every: goneEvery, share: share / 2},
	}, nil
}

// refresh enters namespaces that are new, leaves those that have ended, and reports whether there were any.
func (n *namespaces) refresh(now time.Time) bool {
	due := n.search.due(now)
	if !due && n.lookGone.due(now) {
		start := processorTime()
		due = slices.ContainsFunc(n.all[1:], (*namespace).gone)
		n.lookGone.ran(now, processorTime()-start)
	}
	if !due {
		return false
	}
	start := processorTime()
	defer func() { n.search.ran(now, processorTime()-start) }()

	found, hidden := findNamespaces()
	n.hidden = hidden
	changed := false
	own := n.all[0]
	if f, ok := found[own.Inode]; ok {
		own.Name = f.Name
		delete(found, own.Inode)
	}
	n.all = slices.DeleteFunc(n.all, func(s *namespace) bool {
		if s == own {
			return false
		}
		f, ok := found[s.Inode]
		delete(found, s.Inode)
		switch {
		case ok:
			s.Namespace, s.path, s.start = f.Namespace, f.path, f.start
			return false
		case !s.gone():
			return false
		}
		s.close()
		changed = true
		return true
	})
	n.refused, n.tooMany = 0, 0
	for _, f := range found {
		if len(n.all) >= maxNamespaces {
			n.tooMany++
			continue
		}
		var err error
		if f.diag, err = openDiagAt(f.path, f.Inode); err != nil {
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
				n.refused++
			}
			continue // the others have gone meanwhile
		}
		n.all = append(n.all, f)
		changed = true
	}
	return changed
}

func (n *namespaces) list() []Namespace {
	all := make([]Namespace, len(n.all))
	for i, s := range n.all {
		all[i] = s.Namespace
	}
	return all
}

func (n *namespaces) close() {
	for _, s := range n.all {
		s.close()
	}
}

// gone reports whether the namespace is no longer where it was seen; it may be elsewhere.
func (s *namespace) gone() bool {
	if s.start == 0 {
		inode, err := namespaceFile(s.path)
		return err != nil || inode != s.Inode
	}
	inode, err := namespaceLink(s.path)
	if os.IsPermission(err) {
		// The right to look was given up. The same process is in the same namespace, as good as always.
		start, err := startOf(s.PID)
		return err != nil || start != s.start
	}
	return err != nil || inode != s.Inode
}

// findNamespaces returns the network namespaces that processes are in and those that have names. It is not told of those in
// which only a thread is, not its process.
func findNamespaces() (found map[uint64]*namespace, hidden bool) {
	found = make(map[uint64]*namespace)
	for _, pid := range listPIDs() {
		path := fmt.Sprintf("/proc/%d/ns/net", pid)
		inode, err := namespaceLink(path)
		if os.IsPermission(err) {
			hidden = true
		}
		if err != nil || found[inode] != nil {
			continue
		}
		if start, err := startOf(pid); err == nil {
			found[inode] = &namespace{Namespace: Namespace{Inode: inode, PID: pid}, path: path, start: start}
		}
	}
	for _, dir := range namespaceDirs {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			path := filepath.Join(dir, f.Name())
			inode, err := namespaceFile(path)
			if err != nil {
				continue // an empty file that a namespace was once mounted on
			}
			if found[inode] == nil {
				found[inode] = &namespace{Namespace: Namespace{Inode: inode}, path: path}
			}
			found[inode].Name = clean(f.Name(), maxName)
		}
	}
	return found, hidden
}

// namespaceLink returns the inode of the namespace that a link in /proc/PID/ns leads to.
func namespaceLink(path string) (uint64, error) {
	link, err := os.Readlink(path)
	if err != nil {
		return 0, err
	}
	inode, ok := linkInode([]byte(link), "net")
	if !ok {
		return 0, &os.PathError{Op: "readlink", Path: path, Err: unix.EINVAL}
	}
	return inode, nil
}

// namespaceFile returns the inode of the namespace that is mounted on a file.
func namespaceFile(path string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if fs.Type != unix.NSFS_MAGIC {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: unix.EINVAL}
	}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stat.Ino, nil
}

// listPIDs returns the processes of this host, as far as they may be seen.
func listPIDs() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
