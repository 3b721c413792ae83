package ladder

import (
	"cmp"
	"fmt"
	"slices"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Outline tells c, as it stands at now (ns since 1970), from what is remembered of it, without its packets: the steps that
// opened and closed it, with the data in between as one.
func Outline(c *tracker.Connection, now int64) Ladder {
	o := outline{c: c}
	for role := tracker.Client; role <= tracker.Server; role++ {
		o.phases[role] = c.Phases(role, nil)
	}
	for role := tracker.Client; role <= tracker.Server; role++ {
		o.opening(role)
		o.closing(role)
		o.trouble(role)
	}
	slices.SortStableFunc(o.steps, func(a, b Step) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Packet, b.Packet)) })
	o.overlaps()
	o.data()
	return Ladder{Connection: *c, Now: now, Begin: beginning(c), Steps: o.states(), Missing: missing(c, now), Outlined: true}
}

type outline struct {
	c      *tracker.Connection
	phases [2][]tracker.Phase
	steps  []Step
}

// step adds what m says, unless it was not seen or stands there already.
func (o *outline) step(m tracker.Mark, from tracker.Role, phase, note string) *Step {
	if !m.Seen() {
		return new(Step)
	}
	for i := range o.steps {
		if s := &o.steps[i]; s.Packet == m.Packet && s.From == from {
			if phase != "" && s.Phase != "" && s.Phase != phase {
				s.Phase = joined(s.Phase, phase)
			} else {
				s.Phase = cmp.Or(s.Phase, phase)
			}
			s.note(note)
			return s
		}
	}
	s := Step{From: from, Time: m.Time, Last: m.Time, Packet: m.Packet, LastPacket: m.Packet, Flags: m.Flags, Phase: phase, Note: note}
	s.Segments[from] = 1
	o.steps = append(o.steps, s)
	return &o.steps[len(o.steps)-1]
}

// joined names two steps of the teardown that one segment takes, the earlier first.
func joined(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return a + " and " + b[len("teardown "):]
}

// times makes of s a step that was taken n times, for the last time at last.
func (s *Step) times(n uint16, last int64) {
	if n > 1 {
		s.Last = max(s.Last, last)
		for role := range s.Segments {
			s.Segments[role] *= uint64(n)
		}
		s.Again[s.From] = uint64(n - 1)
		s.trouble("sent " + times(n))
	}
}

// before reports whether a was sent before b.
func before(a, b tracker.Mark) bool {
	return a.Seen() && (a.Time < b.Time || a.Time == b.Time && a.Packet < b.Packet)
}

// senseless reports whether m, which x sent, has flags that no state allows: it opens and closes nothing.
func (o *outline) senseless(m tracker.Mark, x tracker.Role) bool {
	return m.Seen() && o.c.Ends[x].Odd[tracker.InvalidFlags].First.Packet == m.Packet
}

func (o *outline) opening(x tracker.Role) {
	e, peer := &o.c.Ends[x].Facts, &o.c.Ends[x.Peer()].Facts
	switch {
	case o.senseless(e.SYN, x):
		o.step(e.SYN, x, "", "").trouble(senseless)
	case e.SYN.Flags.Any(tcp.ACK):
		o.step(e.SYN, x, "handshake 2/3", "agrees, and asks to open its own direction").times(e.SYNs, e.SYNLast)
	case e.SYN.Seen():
		note := "asks to open a connection"
		if o.c.Opened == tracker.Simultaneous && before(peer.SYN, e.SYN) {
			note = "asks, too: both ends open at once"
		}
		o.step(e.SYN, x, "handshake 1/3", note).times(e.SYNs, e.SYNLast)
		if (peer.SYN.Flags.Any(tcp.ACK) || !peer.SYN.Seen()) && !e.FirstACK.Flags.Any(tcp.FIN) {
			o.step(e.FirstACK, x, "handshake 3/3", "agrees: the connection is open")
		}
	}
}

func (o *outline) closing(x tracker.Role) {
	e, peer := &o.c.Ends[x].Facts, &o.c.Ends[x.Peer()].Facts
	if !e.FIN.Seen() {
		return
	}
	if o.senseless(e.FIN, x) {
		o.step(e.FIN, x, "", "").trouble(senseless)
		return
	}
	fin, ack, note := "teardown 1/4", "teardown 2/4", "has nothing more to send, and closes its direction"
	if before(peer.FIN, e.FIN) {
		fin, ack, note = "teardown 3/4", "teardown 4/4", "closes its direction, too"
	}
	if fin == "teardown 3/4" && o.c.ClosedFirst == tracker.BothClosed {
		note = crossed(x.Peer())
	}
	o.step(e.FIN, x, fin, note).times(e.FINs, e.SentLast)
	if peer.AcksFIN {
		o.step(peer.AckReached, x.Peer(), ack, "acknowledges the FIN")
	}
}

func (o *outline) trouble(x tracker.Role) {
	e := &o.c.Ends[x].Facts
	note := "resets the connection"
	if o.c.Opened == tracker.Refused {
		note = "refuses"
	}
	for _, m := range []tracker.Mark{e.RSTFirst, e.RST} {
		if s := o.step(m, x, "", ""); s.Note == "" {
			s.trouble(note)
		}
	}
	if e.ZeroWindow.Seen() {
		o.step(e.ZeroWindow, x, "", "").trouble(full)
	}
	if asks(&o.c.Ends[x], &o.c.Ends[x.Peer()]) && e.Asked.Packet != e.SYN.Packet && e.Asked.Packet != e.FIN.Packet {
		o.step(e.Asked, x, "", "").trouble("no answer has come, although it asked again " + times(e.Repeats))
	}
}

// overlaps takes out of a SYN or FIN that was sent several times those that are steps of their own.
func (o *outline) overlaps() {
	for i := range o.steps {
		first := &o.steps[i]
		x := first.From
		if f := &o.c.Ends[x].Facts; first.Packet != f.SYN.Packet && first.Packet != f.FIN.Packet {
			continue
		}
		for j := range o.steps {
			again := &o.steps[j]
			if i != j && again.From == x && again.Flags&first.Flags&(tcp.SYN|tcp.FIN) != 0 && first.Segments[x] > 1 {
				first.Segments[x]--
			}
		}
	}
}

// data puts what is left between the opening and the close.
func (o *outline) data() {
	run := Step{Kind: Run, Time: o.c.Start, Last: o.c.Last}
	at := 0
	for i := range o.steps {
		s := &o.steps[i]
		if s.Flags.Any(tcp.FIN|tcp.RST) || s.Phase == "" {
			run.Last = s.Time
			break
		}
		at, run.Time = i+1, s.Time
	}
	var counted, again [2]uint64
	for i := range o.steps {
		for role := range counted {
			counted[role] += o.steps[i].Segments[role]
			again[role] += o.steps[i].Again[role]
		}
	}
	for role := range o.c.Ends {
		e := &o.c.Ends[role]
		run.Segments[role] = max(e.Packets, counted[role]) - counted[role]
		run.Again[role] = min(max(e.Retransmitted, again[role])-again[role], run.Segments[role])
		if carrier := o.carrier(role); run.Segments[role] == 0 && carrier != nil {
			carrier.Payload[role] = e.PayloadBytes
		} else {
			run.Payload[role] = e.PayloadBytes
		}
	}
	if run.Count() > 0 {
		o.steps = slices.Insert(o.steps, at, run)
	}
}

// carrier returns the step that must have carried what an end sent if nothing is left beside the steps: the FIN is the likeliest.
func (o *outline) carrier(role int) (carrier *Step) {
	for i := range o.steps {
		if s := &o.steps[i]; int(s.From) == role && s.Segments[role] > 0 && !s.Flags.Any(tcp.RST) &&
			(carrier == nil || s.Flags.Any(tcp.FIN) || carrier.Flags.Any(tcp.SYN)) {
			carrier = s
		}
	}
	return carrier
}

// states fills in the states of the steps, and adds what changed between them.
func (o *outline) states() []Step {
	states, next := beginning(o.c), [2]int{}
	enter := func(s *Step, until int64) {
		for role := range states {
			for next[role] < len(o.phases[role]) && o.phases[role][next[role]].From <= until {
				state := o.phases[role][next[role]].State
				s.Changed[role] = s.Changed[role] || states[role] != state
				states[role] = state
				next[role]++
			}
			s.States[role], s.Certainty[role] = states[role], o.c.Ends[role].Certainty
		}
	}
	for i := range o.steps {
		s := &o.steps[i]
		until := s.Time
		if s.Kind == Run {
			until = s.Last - 1
		}
		enter(s, until)
	}
	for role := range o.c.Ends {
		if left := o.phases[role][next[role]:]; len(left) > 0 {
			e := &o.c.Ends[role]
			s := Step{Kind: Pause, From: tracker.Role(role), Time: left[len(left)-1].From, Note: fmt.Sprintf("the %v: %s", tracker.Role(role), e.Why())}
			s.Last = s.Time
			enter(&s, s.Time)
			o.steps = append(o.steps, s)
		}
	}
	return o.steps
}
