package deliver_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/deliver"
	"tcpleak/diagnosis"
)

func TestLinesWritesALineForEachEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		d := start(t, deliver.Config{Output: deliver.NewLines("stdout", &text)})
		d.Put([]diagnosis.Event{event(1, diagnosis.Raised), event(1, diagnosis.Cleared)})
		finish(t, d)
		lines := strings.Split(text.String(), "\n")
		if len(lines) != 3 || lines[2] != "" || !strings.HasPrefix(lines[1], fmt.Sprintf(`{"id":"%s-2","type":"event","event":"cleared",`, d.Start())) {
			t.Errorf("wrote %q", text.String())
		}
	})
}

// full takes so many octets and then fails once.
type full struct {
	bytes.Buffer
	room int
}

func (f *full) Write(p []byte) (int, error) {
	if f.room >= 0 && len(p) > f.room {
		n, _ := f.Buffer.Write(p[:f.room])
		f.room = -1
		return n, errors.New("no space left on device")
	}
	return f.Buffer.Write(p)
}

func TestLinesAfterAWriteThatFailedHalfway(t *testing.T) {
	items := itemsOf(t, raised(1, 3))
	first := len(items[0].JSON) + 1
	for name, tt := range map[string]struct {
		room int
		want []string // by line: which event, or a piece of one
	}{
		"before it began":        {0, []string{"1", "2", "3"}},
		"within the first line":  {5, []string{"piece", "1", "2", "3"}},
		"before a line's end":    {first - 1, []string{"1", "1", "2", "3"}}, // which it is given before the next
		"after a line":           {first, []string{"1", "2", "3"}},
		"within the second line": {first + 9, []string{"1", "piece", "2", "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &full{room: tt.room}
				d := start(t, deliver.Config{Output: deliver.NewLines("stdout", out)})
				d.Put(raised(1, 3))
				time.Sleep(time.Minute)
				finish(t, d)
				var got []string
				for line := range strings.Lines(out.String()) {
					what := "piece"
					for _, id := range []string{"1", "2", "3"} {
						if strings.HasPrefix(line, fmt.Sprintf(`{"id":"%s-%s",`, d.Start(), id)) && strings.HasSuffix(line, "}\n") && len(line) == first {
							what = id
						}
					}
					got = append(got, what)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("lines (-want +got):\n%s", diff)
				}
				wantStats(t, d, deliver.Stats{Sent: 3, Retried: d.Stats()[0].Retried, Failed: 1})
			})
		})
	}
}
