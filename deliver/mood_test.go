package deliver_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/deliver"
	"tcpleak/diagnosis"
)

// Each change is told once: whoever reads the log sees when the output was away, and is not drowned.
func TestTellsWhenAnOutputChanges(t *testing.T) {
	refused := &deliver.Permanent{Err: errors.New("404")}
	divided := &deliver.Permanent{Err: errors.New("413"), Divide: true}
	down := errors.New("connection\nrefused")
	for name, c := range map[string]struct {
		answers []error
		every   time.Duration // between events
		events  int           // at a time
		want    []string
	}{
		"all is well":        {[]error{nil, nil}, time.Minute, 1, nil},
		"away for some time": {[]error{down, down, down, nil}, time.Hour, 1, []string{"is tried again, and events wait: connection refused", "takes events again"}},
		"refuses":            {[]error{refused, refused, nil}, time.Minute, 1, []string{"refuses events, which are lost: 404", "takes events again"}},
		"away, then refuses": {[]error{down, refused, refused}, time.Hour, 1, []string{"is tried again, and events wait: connection refused", "refuses events, which are lost: 404", "takes events again"}},
		"back and forth":     {[]error{refused, nil, refused, nil, refused, nil}, time.Second, 1, []string{"refuses events, which are lost: 404", "takes events again"}},
		"too many at a time": {[]error{divided, nil, nil}, time.Minute, 2, nil},
		"this one":           {[]error{divided, divided, nil}, time.Minute, 2, []string{"refuses events, which are lost: 413", "takes events again"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &fake{name: "out\x1b", answer: func(n int, _ context.Context, _ []*deliver.Item) error {
					if n < len(c.answers) {
						return c.answers[n]
					}
					return nil
				}}
				var told []string
				d := start(t, deliver.Config{Output: out, Tell: func(line string) { told = append(told, line) }})
				for i := range c.answers {
					var events []diagnosis.Event
					for j := range c.events {
						events = append(events, event(i*10+j, diagnosis.Raised))
					}
					d.Put(events)
					time.Sleep(c.every)
				}
				finish(t, d)
				for i := range c.want {
					c.want[i] = "out�: " + c.want[i]
				}
				if diff := cmp.Diff(c.want, told); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}
