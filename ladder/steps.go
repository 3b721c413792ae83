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
		if e := &view.Ends[role]; l.last != 0 && step.Changed[role] && isBack(before[role], e.State) {
			step.trouble(fmt.Sprintf("so the %v is back in %v: %s", tracker.Role(role), e.State, e.Why()))
		}
	}
	l.last = max(l.last, s.Time)
	if ordinary && step.Changed == [2]bool{} {
		step.Kind = Run
	}
	l.append(step)
}

// isBack reports whether an end that seemed to have gone on from one state to another turns out not to have.
func isBack(from, to tcp.State) bool {
	switch to {
	case tcp.Closed, tcp.TimeWait, tcp.Unknown, tcp.Listen:
		return false
	}
	return from == tcp.Closed || from == tcp.TimeWait || from > to && from != tcp.CloseWait
}

// begin notes what both ends were in before the first segment.
func (l *telling) begin(view *tracker.Connection) {
	l.began = true
	l.states = [2]tcp.State{tcp.Closed, tcp.Unknown}
	if view.Opened == tracker.Midstream {
		l.states = [2]tcp.State{tcp.Unknown, tcp.Unknown}
	} else if server := &l.ladder.Connection.Ends[tracker.Server]; server.Facts.SYN.Seen() {
		l.states[tracker.Server] = tcp.Listen
		if l.ladder.Connection.Opened == tracker.Simultaneous {
			l.states[tracker.Server] = tcp.Closed
		}
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
	switch {
	case taken.Foreign:
		step.trouble("not believed: it lacks the timestamps that both ends agreed on")
		return false
	case s.Flags.Any(tcp.RST):
		l.reset(step, before)
		return false
	case s.Flags.Any(tcp.SYN):
		l.open(step, s, before)
		return false
	}
	acksFIN := end.Facts.AcksFIN && !l.acksFIN[from]
	l.acksFIN[from] = end.Facts.AcksFIN
	if s.Flags.Any(tcp.FIN) {
		l.close(step, s, acksFIN)
	} else if acksFIN && l.finStep[peer] != 0 {
		step.Phase = fmt.Sprintf("teardown %d/4", l.finStep[peer]+1)
		step.note("acknowledges the FIN")
	}
	first := s.Flags.Any(tcp.ACK) && !l.answered[from]
	l.answered[from] = l.answered[from] || s.Flags.Any(tcp.ACK)
	if first && l.synACKs[peer] > 0 && l.synACKs[from] == 0 && !s.Flags.Any(tcp.FIN) {
		step.Phase = "handshake 3/3"
		step.note("agrees: the connection is open")
	}
	special := l.classify(step, s, taken)
	return !special && step.Phase == ""
}

func (l *telling) reset(step *Step, before [2]tcp.State) {
	peer := step.From.Peer()
	switch {
	case before[peer] == tcp.SynSent && step.States[peer] == tcp.Closed && l.syns[step.From]+l.synACKs[step.From] == 0:
		step.trouble(fmt.Sprintf("refuses: nothing listens on port %d", l.ladder.Connection.Ends[step.From].Port))
	case step.States[step.From] != tcp.Closed && step.States[peer] != tcp.Closed:
		step.trouble(fmt.Sprintf("of no effect: not the number that the %v expects, or not the %v's own", peer, step.From))
	case before[peer] == tcp.Closed || before[peer] == tcp.TimeWait || before[peer] == tcp.Unknown || before[peer] == tcp.Listen:
		step.trouble(fmt.Sprintf("the %v has nothing open here (any more)", step.From))
	case step.States[peer] == tcp.Closed:
		step.trouble("ends the connection at once, at both ends, without a teardown")
	default:
		step.trouble(fmt.Sprintf("the %v gives up; but this is not the number that the %v expects, which goes on", step.From, peer))
	}
}

func (l *telling) open(step *Step, s *tcp.Segment, before [2]tcp.State) {
	from, answer := step.From, s.Flags.Any(tcp.ACK)
	peer := from.Peer()
	times := &l.syns[from]
	if answer {
		times = &l.synACKs[from]
	}
	*times++
	switch {
	case !answer && before[from] >= tcp.Established && before[from] != tcp.Closed && *times > 1:
		step.trouble("a SYN inside an open connection")
		return
	case answer:
		step.Phase = "handshake 2/3"
		step.note("agrees, and asks to open its own direction")
	case l.syns[peer] > 0:
		step.Phase = "handshake 1/3"
		step.note("asks, too: both ends open at once")
	default:
		step.Phase = "handshake 1/3"
		step.note("asks to open a connection")
	}
	if s.Len > 0 {
		step.note("with data (Fast Open)")
	}
	if *times == 1 {
		return
	}
	step.Again[from] = 1
	switch {
	case !answer:
		step.trouble("again: no answer has come")
	case l.answered[peer]:
		step.trouble("again: the ACK has passed here, and has not reached it or was not taken")
	default:
		step.trouble("again: no ACK has come")
	}
}

func (l *telling) close(step *Step, s *tcp.Segment, acksFIN bool) {
	from := step.From
	peer := from.Peer()
	if l.fins[from]++; l.fins[from] > 1 {
		step.Phase = fmt.Sprintf("teardown %d/4", l.finStep[from])
		step.Again[from] = 1
		if l.acksFIN[peer] {
			step.trouble("again: the ACK has passed here, and has not reached it")
		} else {
			step.trouble("again: no ACK has come")
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
		step.note("closes at the same time: the FINs crossed")
	}
}

// classify notes what is out of the ordinary with a segment in the middle of the connection.
func (l *telling) classify(step *Step, s *tcp.Segment, taken *tracker.Taken) (special bool) {
	from := step.From
	peer := from.Peer()
	switch taken.Verdict.Class {
	case reassembly.Retransmission:
		if s.Flags.Any(tcp.FIN) || step.Phase != "" {
			break
		}
		special = true
		if l.ladder.Connection.Ends[peer].Packets == 0 {
			step.trouble("sent again")
			break
		}
		step.trouble("sent again: it, or its ACK, was lost")
	case reassembly.OutOfOrder:
		special = true
		step.trouble("late: others overtook it, or an earlier transmission was lost before it came here")
	case reassembly.KeepAlive:
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
	if taken.Verdict.AcksMissed {
		special = true
		step.trouble(fmt.Sprintf("acknowledges what the capture does not hold: the capture missed packets of the %v", peer))
	}
	if closed := s.Window == 0 && s.Flags.Any(tcp.ACK); closed != l.closed[from] {
		special = true
		l.closed[from] = closed
		if closed {
			step.trouble("its receive buffer is full: window 0, the application does not read")
		} else {
			step.note("its window is open again")
		}
	}
	return special
}

func (s *Step) note(text string) {
	if s.Note != "" {
		text = s.Note + "; " + text
	}
	s.Note = text
}

func (s *Step) trouble(text string) {
	s.Trouble = true
	s.note(text)
}
