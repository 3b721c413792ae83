package host

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// links are the interfaces of this host, in the network namespace of the process.
type links struct {
	own      map[netip.Addr]bool // addresses of any of them
	captured []netip.Prefix      // those of the ones that are captured on
	bridged  []netip.Prefix      // and of those the bridges', behind which are containers
	bridges  map[string]bool     // by name, as looked up once: later there may be no right to
	any      bool                // all are
	loopback bool                // the loopback interface is among them
	due      time.Time
}

// refreshed is how often addresses are looked at: they seldom change.
const refreshed = 30 * time.Second

func (l *links) refresh(now time.Time, names []string) {
	if now.Before(l.due) {
		return
	}
	all, err := net.Interfaces()
	if err != nil {
		return // as they were
	}
	if l.bridges == nil {
		l.bridges = make(map[string]bool)
		for _, name := range names {
			_, err := os.Stat(filepath.Join("/sys/class/net", filepath.Base(name), "bridge"))
			l.bridges[name] = err == nil
		}
	}
	*l = links{own: make(map[netip.Addr]bool), bridges: l.bridges, any: slices.Contains(names, "any"), due: now.Add(refreshed)}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		captured := slices.Contains(names, i.Name)
		l.loopback = l.loopback || captured && i.Flags&net.FlagLoopback != 0
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			l.own[prefix.Addr().Unmap()] = true
			if captured {
				l.captured = append(l.captured, prefix)
			}
			if l.bridges[i.Name] {
				l.bridged = append(l.bridged, prefix)
			}
		}
	}
}

// carry reports whether packets between the addresses may pass what is captured on. ours: the local end is in the network
// namespace of the process. In another the same addresses may be somebody else's.
func (l *links) carry(local, remote netip.Addr, ours bool) bool {
	mine := l.own[local] || local.IsLoopback()
	switch {
	case mine != ours:
		return false
	case l.any:
		return true
	case ours && (l.own[remote] || remote.IsLoopback()):
		return l.loopback // whatever interface has the address
	}
	if ours {
		return slices.ContainsFunc(l.captured, func(p netip.Prefix) bool { return p.Addr() == local })
	}
	return slices.ContainsFunc(l.bridged, func(p netip.Prefix) bool { return p.Contains(local) })
}
