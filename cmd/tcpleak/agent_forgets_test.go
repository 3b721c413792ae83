package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// A handshake that began before the filter changed, and of which only that much is captured, is nobody's fault.
func TestWhatWaitsToBeReadWhenTheFilterChangesIsForgotten(t *testing.T) {
	w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
	a := &agent{watcher: w}
	a.current.Filter = "tcp"
	a.now = time.Now().UnixNano()
	source.last = a.now
	packets := uint64(0)
	arrive := func(flags tcp.Flags, client, port uint16) {
		packets++
		seg := tcp.Segment{Time: a.now, Packet: packets, Src: addrOf(10, 1), SrcPort: client, Dst: addrOf(10, 2), DstPort: port, Flags: flags, Seq: 100}
		a.table.Add([]tcp.Segment{seg})
	}
	held := func(when string, want int) {
		t.Helper()
		if got := a.table.Len(); got != want {
			t.Errorf("%s: %d connections, want %d", when, got, want)
		}
	}
	arrive(tcp.SYN, 1000, 80)
	arrive(tcp.SYN, 1001, 81)
	arrive(tcp.SYN, 1002, 82)
	change := func(filter string) {
		a.reselect(filter)
		a.current.Filter = filter
	}
	change("tcp port 81 or tcp port 82")
	held("changed", 2)
	change("tcp port 81")
	held("changed again", 1)
	arrive(tcp.SYN, 1003, 80)
	arrive(tcp.SYN, 1004, 82)
	a.between()
	held("what was captured before is read", 3)
	a.now += int64(2 * time.Second)
	a.between()
	held("after it", 1)
	change("tcp")
	arrive(tcp.SYN, 1005, 80)
	a.now += int64(2 * time.Second)
	a.between()
	held("let pass again", 2)
}

// Of a connection that was heard before a filter and after it, the time between is missing.
func TestAFilterThatIsTakenBackHasLeftAGap(t *testing.T) {
	for between, want := range map[string][]uint64{
		"tcp dst port 80":                     {3},
		"tcp[tcpflags] & tcp-fin = 0":         {3},
		"tcp port 80 and net 10.0.0.0/8":      {2, 3},
		"tcp port 80 or tcp src port 81":      {2, 3},
		"tcp port 80 or tcp port 81":          {1, 2, 3},
		"tcp and (tcp[13] & 7 != 0 or len<1)": {3},
		"wlan type data":                      {3},
	} {
		w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
		a := &agent{watcher: w}
		a.now = time.Now().UnixNano()
		a.current.Filter = "tcp"
		source.last = a.now
		began := a.now
		arrive := func(at int64, port uint16) {
			a.table.Add([]tcp.Segment{{Time: at, Packet: uint64(a.table.Len() + 1), Src: addrOf(10, 1), SrcPort: 1000 + port, Dst: addrOf(11, 2), DstPort: port, Flags: tcp.SYN, Seq: 100}})
		}
		change := func(filter string) {
			a.reselect(filter)
			a.current.Filter = filter
		}
		change(between)
		change("tcp")
		// What was captured before the first change is read only now.
		arrive(began, 81)
		arrive(began, 80)
		arrive(time.Now().UnixNano(), 82)
		a.now = time.Now().UnixNano() + int64(2*time.Second)
		a.between()
		var held []uint64
		for c := range a.table.Connections(a.now) {
			held = append(held, c.ID)
		}
		if diff := cmp.Diff(want, held); diff != "" {
			t.Errorf("%s in between: connections held (-want +got):\n%s", between, diff)
		}
	}
}

func TestWhatANewFilterLeavesOutInAVLANIsForgotten(t *testing.T) {
	w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
	a := &agent{watcher: w}
	a.current.Filter = "tcp port 80"
	a.now = time.Now().UnixNano()
	source.last = a.now
	var tagged, tunnelled tcp.Encapsulation
	tagged.AddVLAN(5)
	tunnelled.AddTunnel(tcp.VXLAN, 7)
	for i, e := range []tcp.Encapsulation{{}, tagged, tunnelled} {
		id, _ := a.encaps.ID(&e)
		a.table.Add([]tcp.Segment{{Time: a.now, Packet: uint64(i + 1), Src: addrOf(10, 1), SrcPort: 1000, Dst: addrOf(10, 2), DstPort: 80, Flags: tcp.SYN, Seq: 100, Encap: id}})
	}
	a.reselect("tcp port 81")
	var held []uint64
	for c := range a.table.Connections(a.now) {
		held = append(held, c.ID)
	}
	if diff := cmp.Diff([]uint64{3}, held); diff != "" {
		t.Errorf("connections held (-want +got):\n%s", diff)
	}
}

// That few connections that are over are kept leaves the silence of the others as sure as it was.
func TestAConnectionThatIsOverMayBeForgotten(t *testing.T) {
	for ended, want := range map[int]uint64{0: 3, 2: 0} {
		w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 2})
		w.limits.MaxEnded = ended
		w.table = tracker.New(w.limits)
		source.last = time.Now().UnixNano()
		for i := range uint16(5) {
			client, server := addrOf(10, 1), addrOf(10, 2)
			w.table.Add([]tcp.Segment{
				{Time: source.last, Packet: uint64(2*i + 1), Src: client, SrcPort: 1000 + i, Dst: server, DstPort: 80, Flags: tcp.SYN, Seq: 100},
				{Time: source.last, Packet: uint64(2*i + 2), Src: server, SrcPort: 80, Dst: client, DstPort: 1000 + i, Flags: tcp.RST | tcp.ACK, Ack: 101},
			})
		}
		if n := w.table.Stats().Evicted.Total(); n != 3 {
			t.Errorf("%d evicted, want 3", n)
		}
		quality := w.analyze(source.last, source.Stats()).Quality
		if quality.Evicted != want || quality.Trusted() != (want == 0) {
			t.Errorf("where at most %d that are over are kept: %+v", ended, quality)
		}
	}
}
