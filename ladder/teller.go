package ladder

import (
	"fmt"

	"tcpleak/reassembly"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Teller follows some connections while a table takes in a capture for the second time.
type Teller struct {
	table *tracker.Table
	// ports has, of those that are followed, one port XOR the other: most segments have other ports, in whichever direction.
	ports [1 << 16]bool
	told  map[key][]*telling
	order []*telling
	now   int64
	view  tracker.Connection
}

// key is the same for both directions.
type key struct {
	low, high         tcp.Addr
	lowPort, highPort uint16
	encap             uint32
}

func keyOf(a tcp.Addr, aPort uint16, b tcp.Addr, bPort uint16, encap uint32) key {
	if b.Less(a) || a == b && bPort < aPort {
		a, aPort, b, bPort = b, bPort, a, aPort
	}
	return key{a, b, aPort, bPort, encap}
}

// telling is a ladder that is being built.
type telling struct {
	ladder    Ladder
	began     bool
	states    [2]tcp.State
	syns      [2]int // without ACK, by role, as all that follows
	synACKs   [2]int
	fins      [2]int
	answered  [2]bool // the end has sent an ACK without SYN
	acksFIN   [2]bool
	closed    [2]bool // its window is zero
	finStep   [2]int  // 1 or 3, of the teardown
	moved     [2]bool // it has left the state in which it began
	passed    [2]passed
	disputes  [2]uint32 // challenge ACKs that it has sent
	senseless [2]uint32 // segments with flags that no state allows
	before    sent      // the segment before this one
	syn       sent      // a SYN with the same addresses and ports, of another connection
	refusals  int       // answers to such
	last      int64     // when its last segment passed
}

// passed is the highest acknowledgment that an end has sent: whether it arrived is another question.
type passed struct {
	ack  uint32
	some bool
}

// sent is what is remembered of a segment, to understand the next.
type sent struct {
	packet uint64 // 0 is none
	from   tracker.Role
	time   int64
	flags  tcp.Flags
	ack    uint32
	data   bool
	again  bool
	class  reassembly.Class
}

// NewTeller returns a Teller of connections as they stand in the end, or stood when another table had taken in the same
// segments. table must be empty and have the same configuration as that one.
func NewTeller(table *tracker.Table, connections []tracker.Connection) *Teller {
	t := &Teller{table: table, told: make(map[key][]*telling)}
	for i := range connections {
		c := &connections[i]
		client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
		k := keyOf(client.Addr, client.Port, server.Addr, server.Port, c.Encap)
		l := &telling{ladder: Ladder{Connection: *c}}
		t.told[k], t.order = append(t.told[k], l), append(t.order, l)
		t.ports[client.Port^server.Port] = true
	}
	return t
}

// Add takes in segments, in the order of the capture.
func (t *Teller) Add(batch []tcp.Segment) {
	from := 0
	for i := range batch {
		s := &batch[i]
		if !t.ports[s.SrcPort^s.DstPort] {
			continue
		}
		told := t.told[keyOf(s.Src, s.SrcPort, s.Dst, s.DstPort, s.Encap)]
		if told == nil {
			continue
		}
		t.table.Add(batch[from:i])
		from = i + 1
		t.now = max(t.now, s.Time)
		t.follow(told, s)
	}
	t.table.Add(batch[from:])
}

// follow takes in s, which belongs to one of those told or to another with the same addresses and ports.
func (t *Teller) follow(told []*telling, s *tcp.Segment) {
	for _, other := range told {
		t.pause(other)
	}
	taken := t.table.Take(s)
	for _, other := range told {
		if other.ladder.Connection.ID != taken.Ref.ID() {
			t.pause(other)
			if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && !taken.Copy {
				client := &other.ladder.Connection.Ends[tracker.Client]
				other.syn = sent{packet: s.Packet, time: s.Time, from: tracker.Server}
				if s.Src == client.Addr && s.SrcPort == client.Port {
					other.syn.from = tracker.Client
				}
			}
			continue
		}
		other.ladder.Connection.Ref = taken.Ref
		if t.look(other) {
			other.take(s, &taken, &t.view)
		}
	}
}

// look fills in t.view with how the connection of l stands, its ends in the roles that they turn out to have.
func (t *Teller) look(l *telling) bool {
	if !t.table.Get(l.ladder.Connection.Ref, t.now, &t.view) {
		return false
	}
	if t.view.FirstFrom != l.ladder.Connection.FirstFrom {
		t.view.Ends[0], t.view.Ends[1] = t.view.Ends[1], t.view.Ends[0]
	}
	return true
}

// pause notes what has changed although the connection of l has sent nothing.
func (t *Teller) pause(l *telling) {
	if !l.began || !t.look(l) {
		return
	}
	step, before := Step{Kind: Pause}, l.states
	if !l.enter(&step, &t.view) {
		return
	}
	for role, changed := range step.Changed {
		if changed {
			e := &t.view.Ends[role]
			step.From, step.Time = tracker.Role(role), min(max(e.Since, l.last), t.now)
			step.note(fmt.Sprintf("the %v: %s", tracker.Role(role), whyPaused(e, before[role], l.last)))
		}
	}
	step.Last = step.Time
	l.append(step)
}

// whyPaused says why e has left a state although nothing was sent. last is when the last segment passed.
func whyPaused(e *tracker.Endpoint, before tcp.State, last int64) string {
	if e.Since <= last && !e.GaveUp {
		// An acknowledgment that was presumed lost is now presumed to have arrived.
		switch before {
		case tcp.SynRcvd:
			return "it does not repeat its SYN any more, so the ACK seems to have arrived"
		case tcp.FinWait1, tcp.Closing, tcp.LastAck:
			return "it does not repeat its FIN any more, so the ACK seems to have arrived"
		}
	}
	return e.Why()
}

// Ladders returns what was told, in the order of NewTeller's connections, as of now: the time that those were judged at, in
// ns since 1970.
func (t *Teller) Ladders(now int64) []Ladder {
	t.now = max(t.now, now)
	all := make([]Ladder, len(t.order))
	for i, l := range t.order {
		t.pause(l)
		l.ladder.Now, l.ladder.Missing = now, missing(&l.ladder.Connection, now)
		all[i] = l.ladder
	}
	return all
}
