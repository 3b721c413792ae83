package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tracker"
)

// outputLines are the lines of a scrape about outputs.
func outputLines(t *testing.T, w *world) (lines []string) {
	for line := range strings.Lines(scrape(t, w)) {
		if strings.HasPrefix(line, "tcpleak_output_") {
			lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, "tcpleak_output_")))
		}
	}
	return lines
}

// Counters go on where an output is configured anew.
func TestOutputs(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	w.judge(time.Second)
	if got := outputLines(t, w); got != nil {
		t.Errorf("without outputs: %q", got)
	}
	w.outputs = []Output{{Kind: "webhook", Events: true, Queued: 2, Sent: 5, Lost: 4, Refused: 1, Failed: 3}, {Kind: "otlp_metrics", Failed: 1, Up: true}}
	w.judge(time.Second)
	w.outputs = []Output{{Kind: "webhook", Events: true, Sent: 2, Up: true}}
	w.judge(time.Second)
	want := []string{
		`failures_total{output="webhook"} 3`,
		`lost_findings_total{output="webhook",reason="no_room"} 3`,
		`lost_findings_total{output="webhook",reason="refused"} 1`,
		`queued_findings{output="webhook"} 0`,
		`sent_findings_total{output="webhook"} 7`,
		`up{output="webhook"} 1`,
	}
	if diff := cmp.Diff(want, outputLines(t, w)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
