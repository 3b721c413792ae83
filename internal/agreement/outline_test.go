package agreement

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/ladder"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// phasesOf returns the steps of the handshake and the teardown in the order in which they were taken, with who took them.
func phasesOf(l *ladder.Ladder) (phases []string) {
	for i := range l.Steps {
		s := &l.Steps[i]
		if s.Phase == "" {
			continue
		}
		part, numbers, _ := strings.Cut(s.Phase, " ")
		for _, number := range strings.Split(numbers, " and ") {
			phases = append(phases, s.From.String()+" "+part+" "+number)
		}
	}
	return phases
}

// endOf returns the states in which a ladder leaves both ends.
func endOf(l *ladder.Ladder) [2]tcp.State {
	if n := len(l.Steps); n > 0 {
		return l.Steps[n-1].States
	}
	return l.Begin
}

// known is state, or what there was before where the capture does not show it.
func known(state, before tcp.State) tcp.State {
	if state == tcp.Unknown {
		return before
	}
	return state
}

func sums(l *ladder.Ladder) (packets, payload [2]uint64) {
	for i := range l.Steps {
		for role := range packets {
			packets[role] += l.Steps[i].Segments[role]
			payload[role] += l.Steps[i].Payload[role]
		}
	}
	return packets, payload
}

// plain reports whether nothing was repeated or reset on c, so that what is remembered of it tells all that went on.
func plain(c *tracker.Connection) bool {
	for role := range c.Ends {
		f := &c.Ends[role].Facts
		if f.SYNs > 1 || f.FINs > 1 || f.RST.Seen() || c.Ends[role].Retransmitted > 0 {
			return false
		}
	}
	return true
}

func eachStory(t *testing.T, test func(t *testing.T, all []ladder.Ladder)) {
	for _, path := range everyCapture(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			test(t, ladders(segmentsOf(t, readPackets(t, path))))
		})
	}
}

func TestALadderAccountsForEveryPacket(t *testing.T) {
	eachStory(t, func(t *testing.T, all []ladder.Ladder) {
		for _, l := range all {
			c := &l.Connection
			got, payload := sums(&l)
			if want := [2]uint64{c.Ends[0].Packets, c.Ends[1].Packets}; got != want {
				t.Errorf("connection %d: the steps hold %v packets, the connection %v", c.ID, got, want)
			}
			if want := [2]uint64{c.Ends[0].PayloadBytes, c.Ends[1].PayloadBytes}; plain(c) && payload != want {
				t.Errorf("connection %d: the steps hold %v octets, the connection %v", c.ID, payload, want)
			}
		}
	})
}

func TestAnOutlineTellsTheSameStory(t *testing.T) {
	eachStory(t, func(t *testing.T, all []ladder.Ladder) {
		for _, l := range all {
			c := &l.Connection
			o := ladder.Outline(c, l.Now)
			if diff := cmp.Diff(l.Missing, o.Missing); diff != "" {
				t.Errorf("connection %d: what is missing (-ladder +outline):\n%s", c.ID, diff)
			}
			if diff := cmp.Diff(l.Begin, o.Begin); diff != "" {
				t.Errorf("connection %d: in the beginning (-ladder +outline):\n%s", c.ID, diff)
			}
			end := endOf(&o)
			if want := [2]tcp.State{known(c.Ends[0].State, end[0]), known(c.Ends[1].State, end[1])}; end != want {
				t.Errorf("connection %d: the outline ends in %v, the connection is in %v", c.ID, end, want)
			}
			got, payload := sums(&o)
			if want := [2]uint64{c.Ends[0].Packets, c.Ends[1].Packets}; got != want {
				t.Errorf("connection %d: the outline holds %v packets, the connection %v", c.ID, got, want)
			}
			if want := [2]uint64{c.Ends[0].PayloadBytes, c.Ends[1].PayloadBytes}; payload != want {
				t.Errorf("connection %d: the outline holds %v octets, the connection %v", c.ID, payload, want)
			}
			if !slices.IsSortedFunc(o.Steps, func(a, b ladder.Step) int { return int(min(max(a.Time-b.Time, -1), 1)) }) {
				t.Errorf("connection %d: the outline is not in the order of time", c.ID)
			}
			if !plain(c) {
				continue
			}
			if diff := cmp.Diff(phasesOf(&l), phasesOf(&o)); diff != "" {
				t.Errorf("connection %d: the steps taken (-ladder +outline):\n%s", c.ID, diff)
			}
		}
	})
}
