package main

import (
	"testing"
	"time"

	"tcpleak/capture"
	"tcpleak/tcp"
)

// A handshake that began before the filter changed, and of which only that much is captured, is nobody's fault.
func TestWhatWaitsToBeReadWhenTheFilterChangesIsForgotten(t *testing.T) {
	w, source, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
	a := &agent{watcher: w}
	a.current.Filter = "tcp"
	var err error
	if a.selects, err = capture.Selects("tcp"); err != nil {
		t.Fatal(err)
	}
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
