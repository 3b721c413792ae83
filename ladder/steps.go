package ladder

import (
	"fmt"

	"tcpleak/reassembly"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// take adds a segment, with which the connection has come to stand as in view.
func (l *telling) take(s *tcp.Segment, taken *tracker.Taken, view *tracker.Connection) {
	if taken.Copy {
		l.ladder.Copies++
		return
	}
	from := l.ladder.Connection.FirstFrom
	if taken.Answer {
		from = from.Peer()
	}
	step := Step{
		From: from, Time: s.Time, Last: s.Time, Packet: s.Packet, LastPacket: s.Packet,
		Flags: s.Flags, Seq: taken.Seq, Ack: taken.Ack,
	}
	step.Segments[from], step.Payload[from] = 1, uint64(s.Len)
	if c := taken.Verdict.Class; c == reassembly.Retransmission && s.Flags.Any(tcp.SYN|tcp.FIN) || c == reassembly.Retransmission && s.Len > 0 {
		step.Again[from] = 1
	}
	if !l.began {
		l.begin(view)
	}
	before := l.states
	l.enter(&step, view)
	ordinary := l.describe(&step, s, taken, view, before)
	for role := range before {
		if step.Changed[role] && l.moved[role] && isBack(before[role], step.States[role]) {
			step.trouble(l.isStill(&step, tracker.Role(role), view, before[role]))
		}
		l.moved[role] = l.moved[role] || step.Changed[role]
	}
	if step.Note == "" {
		for role := range before {
			if e := &view.Ends[role]; step.Changed[role] && e.Why() != "" {
				step.note(fmt.Sprintf("so the %v is in %v: %s", tracker.Role(role), e.State, e.Why()))
			}
		}
	}
	l.remember(&step, s, taken)
	if ordinary && step.Changed == [2]bool{} {
		step.Kind = Run
	}
	l.append(step)
}

// remember keeps what the next segments are understood by.
func (l *telling) remember(step *Step, s *tcp.Segment, taken *tracker.Taken) {
	from := step.From
	l.last = max(l.last, s.Time)
	l.before = sent{s.Packet, from, s.Time, s.Flags, taken.Ack, s.Len > 0, step.Trouble && step.Again[from] > 0, taken.Verdict.Class}
	if p := &l.passed[from]; s.Flags.Any(tcp.ACK) && !s.Flags.Any(tcp.RST) && !taken.Foreign && (!p.some || int32(taken.Ack-p.ack) > 0) {
		*p = passed{taken.Ack, true}
	}
}

// isBack reports whether an end that seemed to have gone on from one state to another turns out not to have.
func isBack(from, to tcp.State) bool {
	switch to {
	case tcp.Closed, tcp.TimeWait, tcp.Unknown, tcp.Listen:
		return false
	}
	return from == tcp.Closed || from == tcp.TimeWait || from > to && from != tcp.CloseWait
}

// isStill says of an end which seemed to have left its state that it has not, and how step shows it.
func (l *telling) isStill(step *Step, role tracker.Role, view *tracker.Connection, before tcp.State) string {
	e, peer := &view.Ends[role], &view.Ends[role.Peer()]
	switch {
	case before == tcp.Closed && l.syn.packet != 0 && l.syn.from == role:
		return fmt.Sprintf("so the %v is still there: the SYN in packet %d was hardly its own", role, l.syn.packet)
	case before == tcp.Closed && e.Facts.RST.Seen():
		return fmt.Sprintf("so the %v is still there: the RST was hardly its own", role)
	case before == tcp.Closed && peer.Facts.RST.Seen():
		return fmt.Sprintf("so the %v is still there: it has not taken the RST", role)
	case step.From == role && step.Again[role] > 0:
		return fmt.Sprintf("so the %v is still in %v", role, e.State)
	}
	return fmt.Sprintf("so the %v is still in %v: %s", role, e.State, e.Why())
}

// beginning returns what both ends of c were in before its first segment, Unknown where nothing shows it.
func beginning(c *tracker.Connection) (states [2]tcp.State) {
	if c.Ends[tracker.Client].Facts.SYN.Seen() {
		states[tracker.Client] = tcp.Closed
	}
	switch server := &c.Ends[tracker.Server]; {
	case c.Opened == tracker.Simultaneous:
		states[tracker.Server] = tcp.Closed
	case server.Facts.SYN.Seen() || server.State == tcp.Listen:
		states[tracker.Server] = tcp.Listen
	}
	return states
}

// begin notes what both ends were in before the first segment.
func (l *telling) begin(view *tracker.Connection) {
	l.began = true
	l.states = beginning(&l.ladder.Connection)
	if view.Ends[tracker.Server].State == tcp.Listen {
		l.states[tracker.Server] = tcp.Listen
	}
	l.ladder.Begin = l.states
}

// enter fills in the states of step and reports whether one is new. What the capture does not show yet is not new.
func (l *telling) enter(step *Step, view *tracker.Connection) bool {
	for role := range view.Ends {
		e := &view.Ends[role]
		state := e.State
		if state == tcp.Unknown {
			state = l.states[role]
		}
		step.States[role], step.Certainty[role] = state, e.Certainty
		step.Changed[role] = state != l.states[role]
		l.states[role] = state
	}
	return step.Changed != [2]bool{}
}

// describe fills in what step is about, and reports whether that is data or an acknowledgment like any other.
func (l *telling) describe(step *Step, s *tcp.Segment, taken *tracker.Taken, view *tracker.Connection, before [2]tcp.State) (ordinary bool) {
	from := step.From
	peer := from.Peer()
	end := &view.Ends[from]
	odd := end.Odd[tracker.InvalidFlags].Count > l.senseless[from]
	l.senseless[from] = end.Odd[tracker.InvalidFlags].Count
	switch {
	case odd:
		step.trouble(senseless)
		return false
	case taken.Foreign:
		step.trouble("not believed: it lacks the timestamps that both ends agreed on")
		return false
	case s.Flags.Any(tcp.RST):
		l.reset(step, s, before)
		return false
	case s.Flags.Any(tcp.SYN):
		l.open(step, s, before)
		return false
	}
	acksFIN := end.Facts.AcksFIN && !l.acksFIN[from]
	l.acksFIN[from] = end.Facts.AcksFIN
	if s.Flags.Any(tcp.FIN) {
		l.close(step, acksFIN)
	} else if acksFIN && l.finStep[peer] != 0 {
		step.Phase = fmt.Sprintf("teardown %d/4", l.finStep[peer]+1)
		step.note("acknowledges the FIN")
	}
	first := s.Flags.Any(tcp.ACK) && !l.answered[from]
	l.answered[from] = l.answered[from] || s.Flags.Any(tcp.ACK)
	if first && !s.Flags.Any(tcp.FIN) && l.synACKs[from] == 0 && (l.synACKs[peer] > 0 || l.syns[from] > 0) {
		step.Phase = "handshake 3/3"
		step.note("agrees: the connection is open")
		switch {
		case l.synACKs[peer] == 0:
			step.note("the SYN-ACK was not captured")
		case taken.Verdict.Class == reassembly.Retransmission && s.Len > 0:
			step.note("with the data of the SYN again, which was not taken")
		}
	}
	special := l.classify(step, s, taken)
	step.answers = step.Phase == "" && l.answer(step, s, end, taken.Verdict.Class)
	return !special && !step.answers && step.Phase == ""
}

// pure reports whether s acknowledges, and nothing else.
func pure(s *tcp.Segment) bool {
	return s.Len == 0 && s.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK) == tcp.ACK
}

// repeated reports whether the last segment was from's SYN or FIN, again.
func (l *telling) repeated(from tracker.Role) bool {
	return l.before.again && l.before.from == from && l.before.flags.Any(tcp.SYN|tcp.FIN)
}

// answer notes what a mere acknowledgment answers, where that is not data.
func (l *telling) answer(step *Step, s *tcp.Segment, end *tracker.Endpoint, class reassembly.Class) bool {
	from := step.From
	challenge := end.Odd[tracker.ChallengeACK].Count > l.disputes[from]
	l.disputes[from] = end.Odd[tracker.ChallengeACK].Count
	asked := &l.before
	switch {
	case !pure(s):
		return false
	case class == reassembly.ZeroWindowProbe || class == reassembly.KeepAlive && !l.repeated(from.Peer()):
		return false
	case l.syn.packet != 0 && l.syn.from == from.Peer() && s.Time-l.syn.time <= quiet && l.syn.packet > asked.packet:
		if l.refusals++; l.refusals == 1 {
			step.note(fmt.Sprintf("answers the SYN in packet %d, which asks for a new connection: the %v still has this one", l.syn.packet, from))
		} else {
			step.note(fmt.Sprintf("answers another SYN: the %v still has this one", from))
		}
	case challenge:
		step.note("a challenge: was that really meant?")
	case asked.packet == 0 || asked.from == from || asked.flags.Any(tcp.RST):
		return false
	case asked.class == reassembly.KeepAlive:
		step.note("answers: still here")
	case asked.class == reassembly.ZeroWindowProbe && s.Window == 0:
		step.note("answers: not yet")
	case l.repeated(from.Peer()):
		step.note("acknowledges that again")
	default:
		return false
	}
	return true
}

func (l *telling) open(step *Step, s *tcp.Segment, before [2]tcp.State) {
	from, answer := step.From, s.Flags.Any(tcp.ACK)
	peer := from.Peer()
	times := &l.syns[from]
	step.Phase = "handshake 1/3"
	if answer {
		times = &l.synACKs[from]
		step.Phase = "handshake 2/3"
	}
	if *times++; *times > 1 {
		step.Again[from] = 1
	}
	switch {
	case *times > 1 && !answer && before[from] >= tcp.Established && before[from] != tcp.Closed:
		step.Phase = ""
		step.trouble("its SYN once more, inside the open connection")
	case *times > 1 && l.passed[peer].some && int32(l.passed[peer].ack) > 0:
		if answer {
			step.trouble("again: the ACK has passed here, but has not reached it or was not taken")
		} else {
			step.trouble("again: the SYN-ACK has passed here, but has not reached it or was not taken")
		}
	case *times > 1 && !answer:
		step.trouble("again: no SYN-ACK has come")
	case *times > 1 && l.repeated(peer):
		step.trouble("again, as it was asked again")
	case *times > 1:
		step.trouble("again: no ACK has come")
	case answer && l.syns[from] > 0:
		step.note("agrees, with its own SYN again")
	case answer:
		step.note("agrees, and asks to open its own direction")
		if l.syns[peer] == 0 {
			step.note("the SYN was not captured")
		}
	case l.syns[peer] > 0:
		step.note("asks, too: both ends open at once")
	default:
		step.note("asks to open a connection")
	}
	if s.Len > 0 {
		step.note("with data (Fast Open)")
	}
}

func (l *telling) close(step *Step, acksFIN bool) {
	from := step.From
	peer := from.Peer()
	if l.fins[from]++; l.fins[from] > 1 {
		step.Phase = fmt.Sprintf("teardown %d/4", l.finStep[from])
		step.Again[from] = 1
		if l.acksFIN[peer] {
			step.trouble("again: the ACK has passed here, but has not reached it")
		} else {
			step.trouble("again: no ACK has come")
		}
		if acksFIN {
			step.Phase += fmt.Sprintf(" and %d/4", l.finStep[peer]+1)
			step.note("acknowledges the peer's FIN")
		}
		return
	}
	switch {
	case l.fins[peer] == 0:
		l.finStep[from] = 1
		step.Phase = "teardown 1/4"
		step.note("has nothing more to send, and closes its direction")
	case acksFIN:
		l.finStep[from] = 3
		step.Phase = "teardown 2/4 and 3/4"
		step.note("acknowledges the FIN, and closes its direction, too")
	case l.acksFIN[from]:
		l.finStep[from] = 3
		step.Phase = "teardown 3/4"
		step.note("closes its direction, too")
	default:
		l.finStep[from] = 3
		step.Phase = "teardown 3/4"
		step.note(crossed(peer))
	}
}

// crossed is said of a FIN that was sent before the peer's had arrived.
func crossed(peer tracker.Role) string {
	return fmt.Sprintf("closes, too, before it has had the %v's FIN: both close at once", peer)
}

// classify notes what is out of the ordinary with a segment in the middle of the connection.
func (l *telling) classify(step *Step, s *tcp.Segment, taken *tracker.Taken) (special bool) {
	from := step.From
	peer := from.Peer()
	unseen := l.ladder.Connection.Ends[peer].Packets == 0
	switch taken.Verdict.Class {
	case reassembly.Retransmission:
		if s.Flags.Any(tcp.FIN) || step.Phase != "" {
			break
		}
		special = true
		switch p := &l.passed[peer]; {
		case unseen:
			step.trouble("sent again")
		case p.some && int32(p.ack-(taken.Seq+s.Len)) >= 0:
			step.trouble("sent again, although the ACK has passed here: that was lost or late")
		default:
			step.trouble("sent again: it, or its ACK, was lost or late")
		}
	case reassembly.OutOfOrder:
		special = true
		step.trouble("late: others overtook it, or an earlier transmission was lost before it came here")
	case reassembly.KeepAlive:
		if l.repeated(peer) {
			break // an answer with an old number
		}
		special = true
		step.note("keep-alive: are you still there?")
	case reassembly.ZeroWindowProbe:
		special = true
		step.note("window probe: may I send again?")
	}
	if taken.Beyond && taken.Verdict.Class != reassembly.ZeroWindowProbe {
		special = true
		step.trouble(fmt.Sprintf("beyond the window that the %v offers", peer))
	}
	if taken.Verdict.AcksMissed && !unseen {
		special = true
		step.trouble(fmt.Sprintf("acknowledges what the capture does not hold: it missed packets of the %v, or they were never sent", peer))
	}
	if closed := s.Window == 0 && s.Flags.Any(tcp.ACK); closed != l.closed[from] {
		special = true
		l.closed[from] = closed
		if closed {
			step.trouble(full)
		} else {
			step.note("its window is open again")
		}
	}
	return special
}

// full is what a zero window means.
const full = "window 0: its receive buffer is full, as the application does not read"

// senseless is said of flags such as SYN with FIN.
const senseless = "flags that no state allows together"

func (s *Step) note(text string) {
	if s.Note != "" && text != "" {
		s.Note += "; "
	}
	s.Note += text
}

func (s *Step) trouble(text string) {
	s.Trouble = true
	s.note(text)
}
