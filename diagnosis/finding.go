// Package diagnosis says what is wrong with a connection: which end is at fault, since when, why, and what to do next.
package diagnosis

import (
	"net/netip"
	"time"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Severity ranks findings.
type Severity uint8

// The severities, mildest first.
const (
	Info Severity = iota
	Warning
	Critical
)

// String returns the name in lower case: "warning".
func (s Severity) String() string { return [...]string{"info", "warning", "critical"}[s] }

// Kind names what is wrong, as in "stuck_close_wait".
type Kind string

// Culprit is the end at fault.
type Culprit struct {
	Role tracker.Role
	Addr tcp.Addr
	Port uint16
}

// Evidence is one segment that a finding rests on.
type Evidence struct {
	tracker.Mark
	From    tracker.Role
	Meaning string
}

// Finding is one thing that is wrong.
type Finding struct {
	ID          int // from 1 within a report
	Kind        Kind
	Severity    Severity
	Certainty   tracker.Certainty
	Connections []uint64
	Ref         tracker.Ref // finds the connection again
	Culprit     Culprit
	Service     netip.AddrPort // the connection's server: with Kind and the culprit's role and address it names a group
	// Shared is set where the culprits of one service are one group, whoever they are: their addresses may be forged.
	Shared     bool
	Since      int64 // ns since 1970
	For        time.Duration
	ForAtLeast bool   // For is a lower bound
	Summary    string // what is wrong at which end, one line
	Cause      string // in words for an engineer who does not remember RFC 9293
	Next       string // what to do next, on which host: a clause that Command completes
	Command    string // for a shell
	Evidence   []Evidence
}

// NextStep is Next and Command in one sentence.
func (f *Finding) NextStep() string {
	if f.Command == "" {
		return f.Next
	}
	return f.Next + ": " + f.Command
}
