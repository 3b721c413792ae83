package sockets

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// oldDump is TCPDIAG_GETSOCK, what SOCK_DIAG_BY_FAMILY replaced. ss falls back on it, so that it stays.
const oldDump = 18

// maxBound is how many interfaces with sockets bound to them are remembered in a namespace.
const maxBound = 64

// diag is a socket of the kernel's socket diagnosis. It answers for the network namespace in which it was opened.
//
// Of github.com/vishvananda/netlink this takes the transport. Its SocketDiagTCP has no filter: it asks for the sockets of
// every state, one family at a time, with 250 octets of statistics each, and leaves out where answers end early.
type diag struct {
	handles  map[int]*nl.SocketHandle
	families bool                // the kernel does not answer oldDump
	bound    map[uint32]struct{} // interfaces that sockets were bound to
}

// openDiag opens a diag in the namespace of the calling thread.
func openDiag() (*diag, error) {
	socket, err := nl.Subscribe(unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket for NETLINK_SOCK_DIAG: %w", err)
	}
	// Dumps come in pieces, each at once: the kernel makes it while it is read.
	timeout := unix.Timeval{Sec: 5}
	if err := errors.Join(socket.SetSendTimeout(&timeout), socket.SetReceiveTimeout(&timeout)); err != nil {
		socket.Close()
		return nil, err
	}
	return &diag{
		handles: map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: socket}},
		bound:   make(map[uint32]struct{}),
	}, nil
}

// openDiagAt opens a diag in the namespace with the given file, if that still has the inode.
func openDiagAt(path string, inode uint64) (*diag, error) {
	// O_NONBLOCK: it may turn out to be a FIFO.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	if stat.Ino != inode {
		return nil, unix.ENOENT
	}
	var d *diag
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, so that no other ever runs in that namespace.
		runtime.LockOSThread()
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
			d, err = openDiag()
		}
	}()
	<-done
	return d, err
}

func (d *diag) close() { d.handles[unix.NETLINK_INET_DIAG].Close() }

// dump calls each for every socket in the states of the mask, as parseSocket reads them.
func (d *diag) dump(mask uint32, each func([]byte)) error {
	if mask == 0 {
		return nil
	}
	if !d.families {
		err := d.exchange(oldDump, unix.NLM_F_DUMP, bothRequest(mask), each)
		if err != unix.EINVAL && err != unix.EOPNOTSUPP {
			return err
		}
		d.families = true
	}
	for _, family := range [...]byte{familyIPv4, familyIPv6} {
		err := d.exchange(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, dumpRequest(family, mask), each)
		if err == unix.ENOENT && family == familyIPv6 {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lookup calls each for the socket of one connection, or the listener that it would go to.
func (d *diag) lookup(p pair, each func([]byte)) error {
	ask := func(boundTo uint32) error {
		err := d.exchange(nl.SOCK_DIAG_BY_FAMILY, 0, lookupRequest(p, boundTo), each)
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	if err := ask(0); err != nil {
		return err
	}
	for boundTo := range d.bound {
		if err := ask(boundTo); err != nil {
			return err
		}
	}
	return nil
}

func (d *diag) exchange(kind int, flags int, request []byte, each func([]byte)) (err error) {
	defer func() {
		// nl takes messages that tell of an error to be as long as they should be.
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed answer of NETLINK_SOCK_DIAG: %v", r)
		}
	}()
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = d.handles
	req.AddRawData(request)
	err = req.ExecuteIter(unix.NETLINK_INET_DIAG, uint16(kind), func(msg []byte) bool {
		each(msg)
		return true
	})
	if errors.Is(err, nl.ErrDumpInterrupted) {
		return nil // something changed meanwhile: it always does
	}
	return err
}

// explain says what an error of the first exchange means.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the kernel does not answer for TCP sockets: %w; as root, try modprobe tcp_diag", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("not allowed to ask the kernel for TCP sockets: %w; a sandbox or seccomp filter forbids NETLINK_SOCK_DIAG", err)
	}
	return fmt.Errorf("asking the kernel for TCP sockets: %w", err)
}
