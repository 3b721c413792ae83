package sockets

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
)

const ours, theirs = 1, 2 // inodes of namespaces

func socket(state tcp.State, namespace uint64, local, remote string) Socket {
	return Socket{State: state, Namespace: namespace, Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
}

// snap is a Snapshot of half-closed and other sockets, the former dumped a second later.
func snap(often, rarely []Socket) *Snapshot {
	return &Snapshot{
		Namespaces: []Namespace{{Inode: ours}, {Inode: theirs}},
		tables: []*table{
			{sockets: often, states: DefaultOften, at: start.Add(time.Second)},
			{sockets: rarely, states: DefaultRarely, at: start},
		},
	}
}

func states(all []Socket) []tcp.State {
	var s []tcp.State
	for _, sock := range all {
		s = append(s, sock.State)
	}
	return s
}

func lookup(s *Snapshot, local, remote string) []Socket {
	return s.Lookup(netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote))
}

func TestLookupIsDirected(t *testing.T) {
	s := snap([]Socket{
		socket(tcp.CloseWait, ours, "10.0.0.1:80", "10.0.0.2:5000"),
		socket(tcp.FinWait2, ours, "10.0.0.2:5000", "10.0.0.1:80"),
	}, nil)
	if diff := cmp.Diff([]tcp.State{tcp.CloseWait}, states(lookup(s, "10.0.0.1:80", "10.0.0.2:5000"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]tcp.State{tcp.FinWait2}, states(lookup(s, "10.0.0.2:5000", "10.0.0.1:80"))); diff != "" {
		t.Error(diff)
	}
	if got := lookup(s, "10.0.0.1:80", "10.0.0.2:5001"); got != nil {
		t.Errorf("found %v for a port that nobody has", got)
	}
}

func TestLookupTakesAddressesAsTheyCome(t *testing.T) {
	s := snap([]Socket{socket(tcp.CloseWait, ours, "10.0.0.1:80", "10.0.0.2:5000"), socket(tcp.LastAck, ours, "[fe80::1]:80", "[fe80::2]:5000")}, nil)
	if got := lookup(s, "[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:5000"); len(got) != 1 {
		t.Errorf("mapped IPv4: %v", got)
	}
	if got := lookup(s, "[fe80::1%eth0]:80", "[fe80::2%eth0]:5000"); len(got) != 1 {
		t.Errorf("with a zone: %v", got)
	}
}

func TestLookupPrefersTheNamespaceOfTheSampler(t *testing.T) {
	s := snap([]Socket{
		socket(tcp.CloseWait, theirs, "10.0.0.1:80", "10.0.0.2:5000"),
	}, []Socket{
		socket(tcp.Established, ours, "10.0.0.1:80", "10.0.0.2:5000"),
	})
	if diff := cmp.Diff([]tcp.State{tcp.Established, tcp.CloseWait}, states(lookup(s, "10.0.0.1:80", "10.0.0.2:5000"))); diff != "" {
		t.Error(diff)
	}
}

func TestTheNewerDumpKnowsBetter(t *testing.T) {
	s := snap([]Socket{
		socket(tcp.CloseWait, ours, "10.0.0.1:80", "10.0.0.2:5000"),
	}, []Socket{
		socket(tcp.Established, ours, "10.0.0.1:80", "10.0.0.2:5000"),
		socket(tcp.Established, ours, "10.0.0.1:80", "10.0.0.2:5001"),
	})
	if diff := cmp.Diff([]tcp.State{tcp.CloseWait}, states(lookup(s, "10.0.0.1:80", "10.0.0.2:5000"))); diff != "" {
		t.Error(diff)
	}
	var all []Socket
	for sock := range s.All() {
		all = append(all, *sock)
	}
	if diff := cmp.Diff([]tcp.State{tcp.CloseWait, tcp.Established}, states(all)); diff != "" {
		t.Error(diff)
	}
	for range s.All() {
		break // must not go on
	}
}

func TestAsked(t *testing.T) {
	s := snap(nil, nil)
	if got := s.Asked(tcp.CloseWait); !got.Equal(start.Add(time.Second)) {
		t.Errorf("CLOSE_WAIT: %v", got)
	}
	if got := s.Asked(tcp.Established); !got.Equal(start) {
		t.Errorf("ESTABLISHED: %v", got)
	}
	if got := s.Asked(tcp.TimeWait); !got.IsZero() {
		t.Errorf("TIME_WAIT: %v, but was never asked for", got)
	}
}

func TestListeners(t *testing.T) {
	listen := func(namespace uint64, local string) Socket {
		remote := "0.0.0.0:0"
		if local[0] == '[' {
			remote = "[::]:0"
		}
		return socket(tcp.Listen, namespace, local, remote)
	}
	s := snap([]Socket{
		listen(ours, "10.0.0.1:80"), listen(ours, "0.0.0.0:80"), listen(ours, "[::]:80"), listen(ours, "[::]:443"),
		listen(theirs, "0.0.0.0:25"), listen(ours, "10.0.0.1:53"), listen(ours, "10.0.0.1:53"),
		socket(tcp.CloseWait, ours, "10.0.0.1:22", "10.0.0.2:5000"),
	}, nil)
	for _, tt := range []struct {
		namespace uint64
		local     string
		want      []string
	}{
		{ours, "10.0.0.1:80", []string{"10.0.0.1:80"}},
		{ours, "10.0.0.7:80", []string{"0.0.0.0:80"}},
		{ours, "[2001:db8::1]:80", []string{"[::]:80"}},
		{ours, "10.0.0.1:443", []string{"[::]:443"}},
		{ours, "10.0.0.1:25", nil},
		{theirs, "10.0.0.1:25", []string{"0.0.0.0:25"}},
		{ours, "10.0.0.1:22", nil},
		{ours, "10.0.0.1:53", []string{"10.0.0.1:53", "10.0.0.1:53"}}, // SO_REUSEPORT
	} {
		var got []string
		for _, l := range s.Listeners(tt.namespace, netip.MustParseAddrPort(tt.local)) {
			got = append(got, l.Local.String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.local, diff)
		}
	}
}

func TestWhoHasGone(t *testing.T) {
	for _, tt := range []struct {
		state                tcp.State
		inode                uint32
		unaccepted, orphaned bool
	}{
		{tcp.Established, 0, true, false},
		{tcp.CloseWait, 0, true, false},
		{tcp.Established, 1, false, false},
		{tcp.FinWait1, 0, false, true},
		{tcp.FinWait2, 0, false, true},
		{tcp.FinWait2, 1, false, false}, // shutdown, not close
		{tcp.LastAck, 0, false, true},
		{tcp.Closing, 0, false, true},
		{tcp.TimeWait, 0, false, false},
		{tcp.SynRcvd, 0, false, false},
	} {
		s := Socket{State: tt.state, Inode: tt.inode}
		if s.Unaccepted() != tt.unaccepted || s.Orphaned() != tt.orphaned {
			t.Errorf("%v with inode %d: unaccepted %v, orphaned %v", tt.state, tt.inode, s.Unaccepted(), s.Orphaned())
		}
	}
}
