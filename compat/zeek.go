// Package compat gives other tools' one-word summaries of a connection, by those tools' own rules.
package compat

import (
	"strings"

	"tcpleak/tcp"
)

// Zeek follows one connection by the rules of Zeek's TCP analyzer (TCPSessionAdapter.cc, TCP_Endpoint.cc and
// base/protocols/conn/main.zeek of Zeek 7) and yields its conn_state and history. The zero value is ready. It holds no
// pointer and does not allocate.
//
// It departs from Zeek where Zeek's answer depends on something other than the segments: timers (Zeek gives up a
// connection after 5 s to 5 min of silence and starts another), checksums (letter c), analysis limits (letter x), and the
// payload itself, without which Zeek takes every acknowledgement for a content gap.
type Zeek struct {
	history History
	last    [2]struct{ syn, fin, rst uint16 }
	count   [2]struct{ rexmit, window, gap uint16 }
	state   [2]zeekState // by direction, like last and count
	before  [2]zeekState
	seen    [2]uint8 // by role: when Zeek exchanges the roles, what was seen stays with them
	letters uint8
	flags   uint8
}

// MaxHistory is how many letters of history are kept; Zeek itself has no limit. A connection that goes through every
// letter of both directions once fits.
const MaxHistory = 24

// Seen is what the reassembly of both directions says about a segment.
type Seen struct {
	// Behind is set where the segment ends at or before the highest sequence number that its sender had sent already.
	// Zeek calls this a retransmission, also where it is a segment out of order or a keep-alive with an octet.
	Behind bool
	// Gap is set where the segment acknowledges octets of its receiver that the capture does not hold, for the first time.
	Gap bool
}

type zeekState uint8

// Zeek's endpoint states. CLOSED means that this side has sent a FIN.
const (
	inactive zeekState = iota
	synSent
	synAckSent
	partial
	established
	closed
	reset
)

const (
	sawSYN uint8 = 1 << iota
	sawFIN
	sawRST
	sawFINRST
	sawMulti
	sawData
	sawACK
)

const (
	zeekStarted uint8 = 1 << iota
	zeekFlipped
	zeekSwapped // the originator is the direction 1
	zeekPayload // either side has sent payload
)

// historyLetters are the letters by code; code+1 is kept, so that 0 is none. A responder's letter is its originator's in
// lower case, responderLetter codes on.
const (
	historyLetters  = "SHFRADIQWTG^shfradiqwtg"
	responderLetter = 12
)

const (
	letterS = iota
	letterH
	letterF
	letterR
	letterA
	letterD
	letterI
	letterQ
	letterW
	letterT
	letterG
	letterFlip
)

// Segment takes the next segment of the connection, sent in the direction dir: 0 is the direction of the connection's
// first segment.
func (z *Zeek) Segment(s *tcp.Segment, dir uint8, seen Seen) {
	dir &= 1
	if !seen.Behind && !seen.Gap && z.unchangedBy(s, dir) {
		return
	}
	if z.flags&zeekStarted == 0 {
		z.flags |= zeekStarted
		if startsAtResponder(s) {
			z.flip()
		}
	}
	if z.letters == 1 && z.history[0] == letterH+1 && z.role(dir) == 1 && !s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST) {
		z.missedSYN()
	}
	z.flagLetters(s, dir)
	if s.Window == 0 && !s.Flags.Any(tcp.RST) && z.state[dir^1] != closed && z.state[dir] != reset {
		z.scaled(&z.count[dir].window, letterW, dir)
	}
	// A SYN sets Zeek's highest sequence number to its own end before the comparison, so its payload always counts.
	if s.Len > 0 && (seen.Behind || s.Flags.Any(tcp.SYN)) && z.state[dir] != reset {
		z.scaled(&z.count[dir].rexmit, letterT, dir)
	}
	if s.Len > 0 && !s.Flags.Any(tcp.RST) || seen.Gap {
		z.flags |= zeekPayload
	}
	z.step(s, dir)
	if seen.Gap && z.clean(dir) && z.clean(dir^1) {
		z.scaled(&z.count[dir^1].gap, letterG, dir^1)
	}
}

// unchangedBy is the short way for most segments of a connection: data or an ACK from a side that has sent such before.
func (z *Zeek) unchangedBy(s *tcp.Segment, dir uint8) bool {
	bit := sawACK
	if s.Len > 0 {
		bit = sawData
	}
	return s.Flags&(tcp.SYN|tcp.FIN|tcp.RST) == 0 && s.Window != 0 && z.seen[z.role(dir)]&bit != 0 &&
		z.state[dir] != inactive
}

// ConnState returns Zeek's conn_state: S0, S1, SF, REJ, S2, S3, RSTO, RSTR, RSTOS0, RSTRH, SH, SHR or OTH.
func (z *Zeek) ConnState() string {
	o := z.state[z.role(0)]
	r := z.state[z.role(1)]
	oInactive := o == inactive || o == partial
	rInactive := r == inactive || r == partial
	switch {
	case r == reset && (o == synSent || o == synAckSent || o == reset && z.flags&zeekPayload == 0):
		return "REJ"
	case r == reset && oInactive:
		return "RSTRH"
	case r == reset:
		return "RSTR"
	case o == reset && rInactive && z.resetBeforeReply():
		return "RSTOS0"
	case o == reset && rInactive:
		return "OTH"
	case o == reset:
		return "RSTO"
	case o == closed && r == closed:
		return "SF"
	case o == closed && rInactive:
		return "SH"
	case o == closed:
		return "S2"
	case r == closed && oInactive:
		return "SHR"
	case r == closed:
		return "S3"
	case o == synSent && r == inactive:
		return "S0"
	case o == established && r == established:
		return "S1"
	}
	return "OTH"
}

// History is Zeek's history: a letter for each thing that happened, in upper case by the originator.
type History [2]uint64 // letters of 5 bits, the first in the lowest bits

// HistoryOf returns the history of the given letters. It drops what is no letter, and what is beyond MaxHistory.
func HistoryOf(letters string) History {
	var z Zeek
	for i := range len(letters) {
		if code := strings.IndexByte(historyLetters, letters[i]); code >= 0 {
			z.add(uint8(code))
		}
	}
	return z.history
}

// History returns the history so far.
func (z *Zeek) History() History { return z.history }

// String returns the letters.
func (h History) String() string {
	var b [MaxHistory]byte
	return string(h.AppendTo(b[:0]))
}

// AppendTo appends the letters to b.
func (h History) AppendTo(b []byte) []byte {
	for _, word := range h {
		for ; word != 0; word >>= 5 {
			b = append(b, historyLetters[word&31-1])
		}
	}
	return b
}

// resetBeforeReply matches the history against Zeek's pattern ^?S[^HAFGIQ]*R.*
func (z *Zeek) resetBeforeReply() bool {
	i := uint8(0)
	if i < z.letters && z.letter(i) == letterFlip {
		i++
	}
	if i == z.letters || z.letter(i) != letterS {
		return false
	}
	for i++; i < z.letters; i++ {
		switch z.letter(i) {
		case letterR:
			return true
		case letterH, letterA, letterF, letterG, letterI, letterQ:
			return false
		}
	}
	return false
}

// role turns a direction into a role (0 originator, 1 responder), and back.
func (z *Zeek) role(dir uint8) uint8 {
	if z.flags&zeekSwapped != 0 {
		return dir ^ 1
	}
	return dir
}

func (z *Zeek) flip() {
	z.flags ^= zeekSwapped
	z.flags |= zeekFlipped
	z.add(letterFlip)
}

// missedSYN takes the peer's answer to a SYN-ACK that began the connection: the SYN was missed, and the sender of the
// SYN-ACK is the responder after all.
func (z *Zeek) missedSYN() {
	z.history, z.letters = History{}, 0
	z.flip()
	z.add(letterH + responderLetter)
	z.seen = [2]uint8{1: sawSYN}
	z.set(z.role(1), established)
}

func (z *Zeek) flagLetters(s *tcp.Segment, dir uint8) {
	last := &z.last[dir]
	switch s.Flags & (tcp.SYN | tcp.FIN | tcp.RST) {
	case 0:
		if s.Len > 0 {
			z.once(sawData, letterD, dir)
		} else if s.Flags.Any(tcp.ACK) {
			z.once(sawACK, letterA, dir)
		}
	case tcp.SYN:
		letter := uint8(letterS)
		if s.Flags.Any(tcp.ACK) {
			letter = letterH
		}
		// Until its side has closed, a SYN restarts Zeek's relative numbers, so that it never differs from the last.
		again := (z.state[dir] == closed || z.state[dir] == reset) && fold(s.Seq) != last.syn
		if !z.once(sawSYN, letter, dir) && again {
			z.add(z.cased(letter, dir))
		}
		last.syn = fold(s.Seq)
	case tcp.FIN:
		at := fold(s.Seq.Add(s.Len))
		if !z.once(sawFIN, letterF, dir) && at != last.fin {
			z.add(z.cased(letterF, dir))
		}
		last.fin = at
	case tcp.RST:
		at := fold(s.Seq)
		if !z.once(sawRST, letterR, dir) && at != last.rst {
			z.add(z.cased(letterR, dir))
		}
		last.rst = at
	case tcp.FIN | tcp.RST, tcp.SYN | tcp.FIN | tcp.RST:
		z.once(sawFINRST, letterI, dir)
	default:
		z.once(sawMulti, letterQ, dir)
	}
}

// step moves the sender's state. Neither FIN nor RST is held against sequence numbers: Zeek does not either.
func (z *Zeek) step(s *tcp.Segment, dir uint8) {
	peer := dir ^ 1
	switch z.state[dir] {
	case inactive:
		z.stepInactive(s, dir, peer)
	case synSent, synAckSent:
		if s.Flags.Any(tcp.FIN) {
			z.set(dir, closed)
		}
		if s.Flags.Any(tcp.RST) {
			z.set(dir, reset)
		}
	case established, partial:
		if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && z.state[dir] == partial && z.state[peer] == inactive {
			z.set(dir, synSent)
		}
		if s.Flags&(tcp.FIN|tcp.RST) == tcp.FIN {
			z.set(dir, closed)
			// FIN, then RST, and only then the other end's FIN: an orderly end.
			if z.state[peer] == reset && z.before[peer] == closed {
				z.set(peer, closed)
			}
		}
		if s.Flags.Any(tcp.RST) {
			z.set(dir, reset)
		}
	case closed:
		if s.Flags.Any(tcp.RST) && z.state[peer] != closed {
			z.set(dir, reset)
		}
	}
}

func (z *Zeek) stepInactive(s *tcp.Segment, dir, peer uint8) {
	originator := z.role(dir) == 0
	switch {
	case !s.Flags.Any(tcp.SYN):
	case originator && s.Flags.Any(tcp.ACK):
		z.set(dir, synAckSent)
	case originator:
		z.set(dir, synSent)
	default:
		// A SYN after its own SYN-ACK: captured in the wrong order.
		if !s.Flags.Any(tcp.ACK) && z.state[peer] == synAckSent {
			z.flip()
			z.set(peer, established)
		}
		if z.state[peer] == synSent {
			z.set(peer, established)
		}
		z.set(dir, established)
	}
	if s.Flags.Any(tcp.FIN) {
		z.set(dir, closed)
	}
	if s.Flags.Any(tcp.RST) {
		z.set(dir, reset)
	}
	if z.state[dir] != inactive {
		return
	}
	switch {
	case !originator && s.Len == 0 && z.state[peer] == synSent: // an ACK ahead of the SYN-ACK is ignored
	case s.Flags.Any(tcp.ACK) && z.state[peer] == established:
		z.set(dir, established)
	default:
		z.set(dir, partial)
	}
}

func (z *Zeek) set(dir uint8, state zeekState) {
	if z.state[dir] != state {
		z.before[dir], z.state[dir] = z.state[dir], state
	}
}

// clean reports whether a gap in what dir sent is worth a letter: elsewhere gaps come from sequence numbers that Zeek
// does not trust.
func (z *Zeek) clean(dir uint8) bool {
	return z.state[dir] == established || z.state[dir] == closed && z.before[dir] == established
}

// once adds the letter if bit is new to the role of dir, and reports whether it was.
func (z *Zeek) once(bit, letter, dir uint8) bool {
	role := z.role(dir)
	if z.seen[role]&bit != 0 {
		return false
	}
	z.seen[role] |= bit
	z.add(z.cased(letter, dir))
	return true
}

// scaled counts and adds the letter for the 1st, 10th, 100th, 1,000th and 10,000th time.
func (z *Zeek) scaled(count *uint16, letter, dir uint8) {
	if *count == 1<<16-1 {
		return
	}
	*count++
	switch *count {
	case 1, 10, 100, 1000, 10000:
		z.add(z.cased(letter, dir))
	}
}

func (z *Zeek) cased(letter, dir uint8) uint8 {
	if z.role(dir) == 1 {
		return letter + responderLetter
	}
	return letter
}

const lettersPerWord = MaxHistory / 2

func (z *Zeek) add(letter uint8) {
	if z.letters < MaxHistory {
		z.history[z.letters/lettersPerWord] |= uint64(letter+1) << (z.letters % lettersPerWord * 5)
		z.letters++
	}
}

func (z *Zeek) letter(i uint8) uint8 {
	return uint8(z.history[i/lettersPerWord]>>(i%lettersPerWord*5))&31 - 1
}

// fold keeps 16 bits of a sequence number, enough to tell a repeated FIN or RST from another one in all but one case of
// 65,536.
func fold(s tcp.Seq) uint16 { return uint16(uint32(s) * 0x9e3779b1 >> 16) }

// startsAtResponder reports whether Zeek, from the ports alone, takes the receiver of a connection's first segment for its
// originator.
func startsAtResponder(s *tcp.Segment) bool {
	if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN || !likelyServer(s.SrcPort) {
		return false
	}
	return !likelyServer(s.DstPort) || !s.Flags.Any(tcp.SYN) && s.SrcPort < s.DstPort
}

// likelyServer reports whether an analyzer of Zeek's default scripts is registered for the TCP port.
func likelyServer(port uint16) bool {
	switch port {
	case 21, 2811, // FTP
		22,      // SSH
		25, 587, // SMTP
		53,                                        // DNS
		79,                                        // finger
		80, 81, 631, 1080, 3128, 8000, 8080, 8888, // HTTP, SOCKS
		88,       // Kerberos
		110,      // POP3
		135,      // DCE/RPC
		139, 445, // SMB
		143,       // IMAP
		389, 3268, // LDAP
		443, 563, 585, 614, 636, 989, 990, 992, 993, 995, 5223, 8443, // TLS
		502,        // Modbus
		1434, 3306, // MySQL
		1883,       // MQTT
		3389,       // RDP
		5222, 5269, // XMPP
		5432,                   // PostgreSQL
		6379,                   // Redis
		6666, 6667, 6668, 6669, // IRC
		20000: // DNP3
		return true
	}
	return false
}
