// Package ladder tells one connection step by step: what each end sent, in which state that left both, and what is missing.
package ladder

import (
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Ladder is the story of a connection.
type Ladder struct {
	Connection tracker.Connection // as it stands at Now
	Now        int64              // ns since 1970
	// Begin is what both ends were in before the first step.
	Begin [2]tcp.State
	Steps []Step
	// Copies counts packets that the capture showed twice; they are left out.
	Copies  uint64
	Missing Missing
	// Outlined: told from what is remembered of the connection, not from its packets. Then data is one run, and repetitions
	// are numbers.
	Outlined bool
}

// Kind says what a Step is.
type Kind uint8

// The kinds of steps.
const (
	Segment Kind = iota // one segment, with those that repeat it
	Run                 // data and acknowledgments that changed no state
	Pause               // nothing was sent on this connection, and a state changed: by the clock, or by another connection
	Left                // steps that there is no room for
)

// String returns the name that the JSON output uses: "segment".
func (k Kind) String() string { return [...]string{"segment", "run", "pause", "left_out"}[k] }

// Step is one thing that happened. What is indexed by Role is indexed by the sender's.
type Step struct {
	Kind               Kind
	From               tracker.Role // of a Segment, or a Run of one; of a Pause, the end that changed
	Time, Last         int64        // of its first and last segment, ns since 1970
	Packet, LastPacket uint64       // 0 of a Pause
	Segments           [2]uint64
	Payload            [2]uint64 // octets, those sent again counted again
	Again              [2]uint64 // segments with what had been sent before
	Flags              tcp.Flags // of a Segment, or a Run of one
	Seq, Ack           uint32    // likewise: octets from the ISS, or from the lowest number seen
	Phase              string    // "handshake 1/3", "teardown 2/4 and 3/4", or ""
	Note               string    // what it means, without a full stop; "" where the flags say it
	Trouble            bool      // it is not as it should be: lost, repeated, refused, reset
	// States are those of both ends after it; Changed tells which are new.
	States    [2]tcp.State
	Certainty [2]tracker.Certainty
	Changed   [2]bool

	answers bool // it is the answer to what the other end has just asked
}

// Count returns how many segments the step stands for.
func (s *Step) Count() uint64 { return s.Segments[0] + s.Segments[1] }

// Single reports whether the step is one segment, or one repeated, of which From, Flags, Seq and Ack are known.
func (s *Step) Single() bool {
	return s.Kind == Segment || s.Kind == Run && s.Count() == 1 && s.Packet != 0
}

// Missing is what a connection still waits for.
type Missing struct {
	From  tracker.Role // whose move it is
	Phase string       // the step that is missing: "teardown 3/4"; "" where none is
	Since int64        // ns since 1970; 0 where nothing is missing, or it is not known since when
	Text  string       // in words, a sentence or two
}
