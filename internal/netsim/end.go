package netsim

import (
	"time"

	"tcpleak/tcp"
)

// end is what the harness knows of one host's end and the wire does not show.
type end struct {
	state  tcp.State
	socket int // which of the host's sockets that is about

	sent    int       // order of the last frame that it sent
	flags   tcp.Flags // of that frame
	reached tcp.Seq   // the highest acknowledgment that it sent
	synEnd  tcp.Seq   // what acknowledges its SYN
	closed  bool      // its window was, with that frame

	acted    bool  // it has changed its state without a frame
	actedAt  int   // sent, when it last did
	vanished int64 // when it went down, ns since 1970; 0 if it never did
	timeWait int64 // when it entered TIME_WAIT, or began it anew, ns since 1970

	quirks // of the socket
}

// quirks is what has happened to a socket that stacks treat in different ways, or gVisor in a wrong one.
type quirks struct {
	abandoned       bool // its application closed it in SYN_RCVD, and it sent no FIN
	wrongACK        bool // it left SYN_RCVD by an acknowledgment of something else
	tired           bool // it gave up its keep-alives in TIME_WAIT
	resetInTimeWait bool
	dataInTimeWait  int64 // when it last had octets without a FIN in TIME_WAIT, ns since 1970; 0 if never
	resetAhead      bool  // it had a RST that lay in its window, but was not the next
	resetBehind     bool  // it had a RST with the number of a FIN that it had acknowledged
	heardFIN        bool
	finEnd          tcp.Seq // what acknowledges that FIN, if heardFIN
}

// observe takes in what the stack says about the newest of its sockets; spoke tells whether it sent something at that.
func (e *end) observe(said tcp.State, socket int, at int64, why cause, spoke bool) {
	if socket != e.socket {
		e.quirks = quirks{}
	} else {
		said = e.corrected(said)
		if said == e.state {
			return
		}
	}
	expired := e.state == tcp.TimeWait && at-e.timeWait >= int64(time.Minute)
	if why != byFrame && !spoke && e.state != tcp.Unknown && !expired {
		e.acted, e.actedAt = true, e.sent
	}
	switch {
	case said == tcp.TimeWait:
		e.timeWait = at
	case said == tcp.Closed && e.state == tcp.SynRcvd:
		e.abandoned = why == byApplication && !spoke
	case said == tcp.Closed && e.state == tcp.TimeWait:
		e.tired = why == byTimer && at-e.timeWait < int64(time.Minute)
	}
	e.state, e.socket = said, socket
}

// corrected undoes two mistakes of gVisor. An end in SYN_RCVD that begins anew with a SYN still says SYN_RCVD
// (handshake.synRcvdState in connect.go). And an end in LAST_ACK or CLOSING that sends its FIN again says FIN_WAIT_1 from
// then on, and FIN_WAIT_2 once that is acknowledged, although it has had its peer's FIN (sender.maybeSendSegment in snd.go).
func (e *end) corrected(said tcp.State) tcp.State {
	switch {
	case said == tcp.SynRcvd && e.flags == tcp.SYN:
		return tcp.SynSent
	case said == tcp.FinWait1 && (e.state == tcp.LastAck || e.state == tcp.Closing):
		return e.state
	case said == tcp.FinWait1 && e.state == tcp.FinWait1 && e.heardFIN && e.reached.AtOrAfter(e.finEnd):
		return tcp.Closing // and sent its FIN again at once
	case said == tcp.FinWait2 && (e.state == tcp.LastAck || e.state == tcp.Closed):
		return tcp.Closed
	case said == tcp.FinWait2 && (e.state == tcp.Closing || e.state == tcp.TimeWait):
		return tcp.TimeWait
	}
	return said
}

// at returns the state at a quiet moment.
func (e *end) at(now int64) tcp.State {
	if e.state == tcp.TimeWait && now-e.timeWait >= int64(time.Minute) {
		return tcp.Closed
	}
	return e.state
}

// spoke notes a frame that this end sends.
func (e *end) spoke(f *frame) {
	s := &f.segment
	e.sent, e.flags, e.closed = f.order, s.Flags, s.Window == 0
	if s.Flags.Any(tcp.SYN) {
		e.synEnd = s.End()
	}
	if s.Flags.Any(tcp.ACK) {
		e.reached = s.Ack
	}
}

// heard notes a frame that is about to reach this end, which is in state.
func (e *end) heard(f *frame, state tcp.State, at int64) {
	s := &f.segment
	// gVisor drops payload that meets a closed window with all that comes with it (header.Acceptable in header/tcp.go); Linux
	// takes the acknowledgment, as RFC 9293 3.10.7.4 allows.
	if s.Seq == e.reached && (s.Len == 0 || !e.closed) {
		f.inOrder = true
	}
	if s.Flags.Has(tcp.SYN|tcp.ACK) && state == tcp.SynRcvd && f.copies == 1 {
		f.crossed = true
	}
	if s.Flags.Any(tcp.FIN) && state != tcp.SynSent && s.End().After(e.reached) { // not one of an older connection
		e.heardFIN, e.finEnd = true, s.End()
	}
	timeWait := e.at(at) == tcp.TimeWait // as corrected
	switch reset := s.Flags.Any(tcp.RST); {
	case state == tcp.TimeWait && reset:
		e.resetInTimeWait = true
	case timeWait && s.Flags.Any(tcp.FIN):
		e.timeWait = at
	case timeWait && s.Len > 0:
		e.dataInTimeWait = at
	case state == tcp.SynRcvd && !reset && s.Flags.Any(tcp.ACK) && s.Ack != e.synEnd:
		e.wrongACK = true
	case state == tcp.SynSent || !reset || f.inOrder:
	case s.Seq+1 == e.reached:
		e.resetBehind = true
	case s.Seq.After(e.reached):
		e.resetAhead = true
	}
}
