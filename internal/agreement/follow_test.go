package agreement

import (
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/internal/kernel"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

func TestTakeDoesWhatAddDoes(t *testing.T) {
	eachCapture(t, func(t *testing.T, _ *kernel.Truth, packets []packet) {
		added, taken := tracker.New(tracker.Config{}), tracker.New(tracker.Config{})
		now := int64(0)
		for _, s := range segmentsOf(t, packets) {
			if s == nil {
				continue
			}
			now = max(now, s.Time)
			added.Add([]tcp.Segment{*s})
			if got := taken.Take(s); got.Ref.ID() == 0 && !got.Copy {
				t.Errorf("packet %d belongs to no connection", s.Packet)
			}
		}
		if added.Stats() != taken.Stats() {
			t.Errorf("statistics are %+v, want %+v", taken.Stats(), added.Stats())
		}
		want, got := added.List(), taken.List()
		for i := range want.Len() {
			var a, b tracker.Connection
			want.View(i, now, &a)
			got.View(i, now, &b)
			if !reflect.DeepEqual(a, b) {
				t.Errorf("connection %d (-added +taken):\n%s", a.ID, cmp.Diff(a, b, cmp.Exporter(func(reflect.Type) bool { return true })))
			}
		}
	})
}

// TestPhasesAreTheStatesOnTheWay leaves out what was sent again, reset or left for another connection: there the phases know
// better than one did on the way.
func TestPhasesAreTheStatesOnTheWay(t *testing.T) {
	var compared atomic.Int64
	t.Cleanup(func() {
		if n := compared.Load(); n < 250 {
			t.Errorf("%d connections were compared, want 250 at least", n)
		}
	})
	eachCapture(t, func(t *testing.T, _ *kernel.Truth, packets []packet) {
		type end struct {
			id   uint64
			role tracker.Role
		}
		table := tracker.New(tracker.Config{})
		was := map[end][]tracker.Phase{}
		var c tracker.Connection
		now := int64(0)
		for _, s := range segmentsOf(t, packets) {
			if s == nil {
				continue
			}
			now = max(now, s.Time)
			if taken := table.Take(s); !table.Get(taken.Ref, now, &c) {
				t.Fatalf("packet %d belongs to no connection", s.Packet)
			}
			for role := range c.Ends {
				e := end{c.ID, tracker.Role(role)}
				was[e] = append(was[e], tracker.Phase{State: c.Ends[role].State, From: now})
			}
		}
		for c := range table.Connections(now) {
			client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
			if client.Retransmitted+server.Retransmitted > 0 || client.Facts.SYNs > 1 || server.Facts.SYNs > 1 ||
				client.Facts.RST.Seen() || server.Facts.RST.Seen() || table.Len() > 1 && incarnations(table, now, c) > 1 {
				continue
			}
			compared.Add(1)
			for role := tracker.Client; role <= tracker.Server; role++ {
				phases := c.Phases(role, nil)
				for _, then := range was[end{c.ID, role}] {
					state := tcp.Unknown
					for _, p := range phases {
						if p.From <= then.From {
							state = p.State
						}
					}
					if state != then.State && !(state == tcp.Unknown && then.State == tcp.Listen) {
						t.Errorf("connection %d, %v: %v at %d, phases %v", c.ID, role, then.State, then.From, phases)
					}
				}
			}
		}
	})
}

// incarnations counts the connections with the addresses and ports of c.
func incarnations(table *tracker.Table, now int64, c *tracker.Connection) (n int) {
	for other := range table.Connections(now) {
		if other.Ends[0].Addr == c.Ends[0].Addr && other.Ends[0].Port == c.Ends[0].Port && other.Ends[1].Port == c.Ends[1].Port {
			n++
		}
	}
	return n
}
