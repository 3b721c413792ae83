package ladder

import (
	"fmt"

	"tcpleak/tcp"
)

// reset says what a RST means, and does.
func (l *telling) reset(step *Step, s *tcp.Segment, before [2]tcp.State) {
	from := step.From
	peer := from.Peer()
	end, ended := !step.States[from].Open(), !step.States[peer].Open()
	asked := &l.before
	refusal := before[peer] == tcp.SynSent && l.syns[from]+l.synACKs[from] == 0
	switch {
	case refusal && ended:
		step.trouble(fmt.Sprintf("refuses: nothing listens on port %d, or a firewall answers for it", l.ladder.Connection.Ends[from].Port))
		return
	case refusal:
		step.trouble("refuses")
	case !end && !ended:
		step.trouble(fmt.Sprintf("of no effect: not the number that the %v expects, or not the %v's own", peer, from))
		return
	// What belongs to no connection is answered by a RST without ACK, whose number is what that acknowledged (RFC 9293
	// 3.10.7.1); a connection is aborted by one with ACK.
	case asked.packet != 0 && s.Time-asked.time <= quiet && asked.from == peer && asked.flags.Any(tcp.ACK) && !s.Flags.Any(tcp.ACK) && step.Seq == asked.ack:
		if (before[from] == tcp.FinWait1 || before[from] == tcp.FinWait2) && asked.data {
			step.trouble(fmt.Sprintf("answers packet %d: the %v has closed, and takes no more data", asked.packet, from))
		} else {
			step.trouble(fmt.Sprintf("answers packet %d: the %v has no such connection (any more)", asked.packet, from))
		}
	case !before[from].Open():
		step.trouble(fmt.Sprintf("the %v has no such connection (any more)", from))
	case ended && before[peer].Open():
		step.trouble("aborts: this ends the connection at both ends at once, without a teardown")
		return
	default:
		step.trouble("aborts")
	}
	switch {
	case before[peer] == tcp.TimeWait && step.States[peer] == tcp.Closed:
		step.note(fmt.Sprintf("that ends TIME_WAIT at the %v", peer))
	case before[peer].Open() && ended:
		step.note(fmt.Sprintf("that ends it at the %v, too", peer))
	case !ended:
		step.note(fmt.Sprintf("but this is not the number that the %v expects, which goes on", peer))
	}
}
