package ladder

import (
	"fmt"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// missing says what c waits for at now. The first of these that is true of an end is the one that keeps the other waiting.
func missing(c *tracker.Connection, now int64) Missing {
	for _, find := range [...]func(c *tracker.Connection, role tracker.Role, now int64) (Missing, bool){
		missesFIN, missesAnswer, missesACK, missesGone, missesReply,
	} {
		for role := tracker.Client; role <= tracker.Server; role++ {
			if m, ok := find(c, role, now); ok {
				return m
			}
		}
	}
	return Missing{Text: complete(c, now)}
}

func waiting(since, now int64, atLeast bool) string {
	if now <= since {
		return "Waiting"
	}
	age := diagnosis.Age(time.Duration(now - since))
	if atLeast {
		age = "at least " + age
	}
	return "Waiting " + age
}

// asks reports whether e has sent something that its peer has not answered, more than once.
func asks(e, peer *tracker.Endpoint) bool {
	asked := &e.Facts.Asked
	return asked.Seen() && e.Facts.Repeats > 0 && (!peer.Facts.Last.Seen() || peer.Facts.Last.Time < asked.Time)
}

// missesFIN: X has had the peer's FIN, or the peer waits for X's although X is not seen to have had it.
func missesFIN(c *tracker.Connection, x tracker.Role, now int64) (m Missing, ok bool) {
	e, peer := &c.Ends[x], &c.Ends[x.Peer()]
	m = Missing{From: x, Phase: "teardown 3/4"}
	switch {
	case e.State == tcp.CloseWait:
		m.Since = e.Since
		m.Text = fmt.Sprintf("%s for the %v's FIN (%s): its application has not closed the connection", waiting(e.Since, now, e.SinceAtLeast), x, m.Phase)
		switch e.Certainty {
		case tracker.Confirmed:
			m.Text += "."
		case tracker.Presumed:
			m.Text += ", as far as the capture shows."
		default:
			m.Text += ", by what the capture has of it."
		}
		if e.Facts.DataLast > e.Since {
			m.Text += fmt.Sprintf(" It last sent data %s ago.", diagnosis.Age(time.Duration(max(now-e.Facts.DataLast, 0))))
		}
		switch {
		case peer.State == tcp.FinWait2:
			m.Text += fmt.Sprintf(" The %v has closed its direction and can only wait.", x.Peer())
		case peer.State == tcp.FinWait1 && e.Facts.AcksFIN:
			m.Text += fmt.Sprintf(" The %v's ACK (teardown 2/4) has passed here, but not reached the %v.", x, x.Peer())
		case peer.State == tcp.Closed:
			m.Text += fmt.Sprintf(" The %v has gone altogether.", x.Peer())
		}
		return m, true
	case peer.State == tcp.FinWait2 && e.State == tcp.LastAck:
		m.Since = e.Facts.FIN.Time
		m.Text = fmt.Sprintf("%s for the %v's FIN (%s) to reach the %v: it was sent %s and has passed here, and the %v has not acknowledged it.",
			waiting(m.Since, now, false), x, m.Phase, x.Peer(), times(e.Facts.FINs), x.Peer())
		return m, true
	case peer.State == tcp.FinWait2 && e.State.Open():
		m.Since = peer.Since
		m.Text = fmt.Sprintf("%s for the %v's FIN (%s).", waiting(peer.Since, now, peer.SinceAtLeast), x, m.Phase)
		return m, true
	case peer.State == tcp.FinWait2:
		m.Since = peer.Since
		m.Text = fmt.Sprintf("%s for the %v's FIN (%s), which will not come: the %v is gone or was not captured.", waiting(peer.Since, now, peer.SinceAtLeast), x, m.Phase, x)
		return m, true
	}
	return m, false
}

// missesAnswer: the peer of X has sent a SYN, or a SYN-ACK, that X has not answered.
func missesAnswer(c *tracker.Connection, x tracker.Role, now int64) (m Missing, ok bool) {
	peer := &c.Ends[x.Peer()]
	switch peer.State {
	case tcp.SynSent:
		m = Missing{From: x, Phase: "handshake 2/3", Since: peer.Since}
		m.Text = fmt.Sprintf("%s for the %v's SYN-ACK (%s); the SYN was sent %s.", waiting(peer.Since, now, peer.SinceAtLeast), x, m.Phase, times(peer.Facts.SYNs))
	case tcp.SynRcvd:
		m = Missing{From: x, Phase: "handshake 3/3", Since: peer.Since}
		sent := "SYN-ACK"
		if c.Opened == tracker.Simultaneous {
			sent = "SYN, with or without ACK,"
		}
		m.Text = fmt.Sprintf("%s for the %v's ACK (%s) at the %v; the %s was sent %s.", waiting(peer.Since, now, peer.SinceAtLeast), x, m.Phase, x.Peer(), sent, times(peer.Facts.SYNs))
		switch e := &c.Ends[x].Facts; {
		case !e.FirstACK.Seen():
		case e.Last.Time >= peer.Facts.SYNLast && now-e.Last.Time <= quiet:
			m.Text += " An ACK has just passed here: if it arrives and is taken, no other SYN-ACK will come."
		default:
			m.Text += " The ACK has passed here, but was lost behind this point or not taken: a full accept queue does that."
		}
	default:
		return m, false
	}
	return m, true
}

// missesACK: the peer of X has sent a FIN that X has not acknowledged.
func missesACK(c *tracker.Connection, x tracker.Role, now int64) (m Missing, ok bool) {
	e, peer := &c.Ends[x], &c.Ends[x.Peer()]
	m = Missing{From: x, Since: peer.Facts.FIN.Time}
	switch peer.State {
	case tcp.FinWait1:
		m.Phase = "teardown 2/4"
	case tcp.Closing, tcp.LastAck:
		m.Phase = "teardown 4/4"
	default:
		return m, false
	}
	m.Text = fmt.Sprintf("%s for the %v's ACK of the %v's FIN (%s); the FIN was sent %s.",
		waiting(m.Since, now, false), x, x.Peer(), m.Phase, times(peer.Facts.FINs))
	switch {
	case e.State == tcp.Closed:
		m.Text += fmt.Sprintf(" The %v is gone.", x)
	case e.Facts.AcksFIN && e.Facts.Last.Time >= peer.Facts.SentLast && now-e.Facts.Last.Time <= quiet && peer.Facts.FINs > 1:
		m.Text += " An ACK has just passed here: if it arrives, no other FIN will come."
	case e.Facts.AcksFIN:
		m.Text += " The ACK has passed here, and was lost behind this point."
	case asks(peer, e) && peer.Facts.Asked.Packet < peer.Facts.FIN.Packet:
		m.Text += fmt.Sprintf(" What comes before it, from packet %d on, is not acknowledged either.", peer.Facts.Asked.Packet)
	}
	return m, true
}

// missesGone: X is gone, and the peer does not know.
func missesGone(c *tracker.Connection, x tracker.Role, now int64) (m Missing, ok bool) {
	e, peer := &c.Ends[x], &c.Ends[x.Peer()]
	if e.State != tcp.Closed || peer.State != tcp.Established {
		return m, false
	}
	m = Missing{From: x, Since: e.Since}
	seems := ""
	if e.Certainty != tracker.Confirmed {
		seems = ", as it seems,"
	}
	m.Text = fmt.Sprintf("Half-open: the %v is gone%s and the %v does not know it. It finds out when it next sends something and has a RST in answer, or none at all.",
		x, seems, x.Peer())
	return m, true
}

// missesReply: the peer of X has sent something that X does not acknowledge, or X does not read.
func missesReply(c *tracker.Connection, x tracker.Role, now int64) (m Missing, ok bool) {
	e, peer := &c.Ends[x], &c.Ends[x.Peer()]
	switch asked := &peer.Facts.Asked; {
	case e.Facts.ZeroWindow.Seen() && e.State.Open():
		m = Missing{From: x, Since: e.Facts.ZeroWindow.Time}
		m.Text = fmt.Sprintf("%s for the %v to read: its receive buffer has been full since packet %d.", waiting(m.Since, now, false), x, e.Facts.ZeroWindow.Packet)
	case asks(peer, e) && peer.State.Open():
		m = Missing{From: x, Since: asked.Time}
		m.Text = fmt.Sprintf("%s for the %v to answer packet %d, which was sent %s.", waiting(m.Since, now, false), x, asked.Packet, times(peer.Facts.Repeats+1))
	default:
		return m, false
	}
	return m, true
}

// complete says how a connection that waits for nothing stands.
func complete(c *tracker.Connection, now int64) string {
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	silence := "the capture ends here"
	if now-c.Last >= quiet {
		silence = "silent for " + diagnosis.Age(time.Duration(now-c.Last))
	}
	switch {
	case c.Opened == tracker.Refused:
		return "Nothing is missing: the server refused."
	case c.Opened == tracker.Unanswered && client.State == tcp.Unknown:
		return fmt.Sprintf("Nothing is missing: the SYN was hardly the %v's own, and was not answered.", tracker.Client)
	case c.Opened == tracker.Unanswered && !client.State.Open():
		return fmt.Sprintf("The server never answered the SYN (handshake 2/3), sent %s; the client has given up.", times(client.Facts.SYNs))
	case c.EndedBy == tracker.EndedByFIN && (client.State == tcp.TimeWait || server.State == tcp.TimeWait):
		return "Nothing is missing: both ends have closed. In TIME_WAIT an end keeps the port for a while, as it must."
	case c.EndedBy == tracker.EndedByFIN:
		return "Nothing is missing: both ends have closed."
	case c.EndedBy == tracker.EndedByRST:
		return "Nothing is missing: a RST ends a connection at both ends, if it arrives, and nobody owes an answer."
	case client.State == tcp.Closed && server.State == tcp.Closed:
		return "Nothing is missing: both ends have left the connection."
	case client.State == tcp.Established && server.State == tcp.Established:
		return fmt.Sprintf("Nothing is owed: both ends are open; %s.", silence)
	}
	return fmt.Sprintf("Nothing more is known; %s.", silence)
}

func times(n uint16) string {
	switch n {
	case 0, 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
