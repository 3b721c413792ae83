package agreement

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tcpleak/internal/kernel"
	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

var update = flag.Bool("update", false, "write the ladders in testdata again")

// ladders tells every connection of a capture.
func ladders(segments []*tcp.Segment) []ladder.Ladder {
	var batch []tcp.Segment
	now := int64(0)
	for _, s := range segments {
		if s != nil {
			batch = append(batch, *s)
			now = max(now, s.Time)
		}
	}
	table := tracker.New(tracker.Config{})
	table.Add(batch)
	var connections []tracker.Connection
	for c := range table.Connections(now) {
		connections = append(connections, *c)
	}
	teller := ladder.NewTeller(tracker.New(tracker.Config{}), connections)
	teller.Add(batch)
	return teller.Ladders(now)
}

func TestLaddersReadAsTheyDid(t *testing.T) {
	eachCapture(t, func(t *testing.T, truth *kernel.Truth, packets []packet) {
		var got bytes.Buffer
		for _, l := range ladders(segmentsOf(t, packets)) {
			if err := report.ExplainText(&got, &report.Explanation{Ladder: l}, report.TableOptions{Width: 80}); err != nil {
				t.Fatal(err)
			}
			got.WriteString("\n\n")
		}
		path := filepath.Join("../../testdata/ladders", filepath.Base(t.Name())+".txt")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
			t.Errorf("after a look at the difference, write it with -update (-want +got):\n%s", diff)
		}
	})
}

func TestLaddersFit80Columns(t *testing.T) {
	for _, path := range everyCapture(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			for _, l := range ladders(segmentsOf(t, readPackets(t, path))) {
				for _, told := range []ladder.Ladder{l, ladder.Outline(&l.Connection, l.Now)} {
					if err := report.ExplainText(&got, &report.Explanation{Ladder: told}, report.TableOptions{Width: 80}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for line := range strings.Lines(got.String()) {
				line = strings.TrimSuffix(line, "\n")
				if utf8.RuneCountInString(line) > 80 || strings.HasSuffix(line, " ") {
					t.Fatalf("%q", line)
				}
			}
		})
	}
}

// everyCapture returns the paths of the captures of the kernel's scenarios and of the findings.
func everyCapture(t *testing.T) (paths []string) {
	t.Helper()
	for _, pattern := range []string{filepath.Join(captures, "*.pcap"), "../../testdata/findings/*.pcap"} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("no captures like %s: %v", pattern, err)
		}
		paths = append(paths, some...)
	}
	return paths
}

func TestTheStatesOfEachStepAreTheTrackers(t *testing.T) {
	eachCapture(t, func(t *testing.T, _ *kernel.Truth, packets []packet) {
		segments := segmentsOf(t, packets)
		for _, l := range ladders(segments) {
			table := tracker.New(tracker.Config{})
			fed, now := 0, int64(0)
			states := l.Begin
			for i, step := range l.Steps {
				if step.Kind == ladder.Pause {
					now = max(now, step.Time)
				}
				for fed < int(step.LastPacket) {
					if s := segments[fed]; s != nil {
						now = max(now, s.Time)
						table.Add([]tcp.Segment{*s})
					}
					fed++
				}
				for c := range table.Connections(now) {
					if c.ID != l.Connection.ID {
						continue
					}
					for role := range states {
						end := role
						if c.FirstFrom != l.Connection.FirstFrom {
							end = 1 - role
						}
						if state := c.Ends[end].State; state != tcp.Unknown {
							states[role] = state
						}
					}
				}
				if step.Kind != ladder.Pause && states != step.States {
					t.Errorf("connection %d, step %d, packet %d: %v, but the tracker says %v", l.Connection.ID, i+1, step.LastPacket, step.States, states)
				}
				states = step.States
			}
		}
	})
}
