package livepage

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano()

func counted(state tcp.State, n int) *diagnosis.Counts {
	var c diagnosis.Counts
	c.States[state] = [2]int{n, 0}
	return &c
}

// The history is as long as an hour, and no longer in memory however often it is added to.
func TestTheHistoryIsBounded(t *testing.T) {
	var h history
	most := 0
	for i := range 6 * 3600 * 2 { // six hours
		h.add(epoch+int64(i)*int64(500*time.Millisecond), counted(tcp.CloseWait, i))
		most = max(most, len(h.points))
		if i == 2*60 && len(h.points) < 50 {
			t.Errorf("a minute on, there are only %d points", len(h.points))
		}
	}
	if most > maxPoints || cap(h.points) > 2*maxPoints {
		t.Errorf("%d points, in room for %d", most, cap(h.points))
	}
	span := time.Duration(h.present.at - h.points[0].at)
	if span < 55*time.Minute || span > time.Hour {
		t.Errorf("it reaches back %v", span)
	}
	for i := 1; i < len(h.points); i++ {
		if h.points[i].at <= h.points[i-1].at {
			t.Fatalf("point %d is not after the one before", i)
		}
	}
}

func TestAClockThatIsPutBackDrawsNothing(t *testing.T) {
	var h history
	h.add(epoch, counted(tcp.CloseWait, 1))
	h.add(epoch-int64(time.Minute), counted(tcp.CloseWait, 2))
	if len(h.points) != 1 || h.present.states[tcp.CloseWait] != 1 {
		t.Errorf("%+v", h)
	}
}

func TestTheChartShowsTheHistory(t *testing.T) {
	var h history
	for i := range 120 {
		c := counted(tcp.CloseWait, i/10)
		c.States[tcp.Established] = [2]int{5, 5}
		c.States[tcp.Closed] = [2]int{99, 99}
		h.add(epoch+int64(i)*int64(time.Second), c)
	}
	c := h.chart(time.UTC)
	if diff := cmp.Diff("CLOSE_WAIT 11 now, 11 at most; ESTABLISHED 10 now, 10 at most.", c.Desc); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Time", "CLOSE_WAIT", "ESTABLISHED"}, c.Columns); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"12:00:00 UTC", "0", "10"}, c.Rows[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"12:01:59 UTC", "11", "10"}, c.Rows[len(c.Rows)-1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var labels []string
	for _, text := range c.Texts {
		labels = append(labels, text.Text)
	}
	if diff := cmp.Diff([]string{"10", "20", "12:00:30", "12:01:00", "12:01:30"}, labels); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	areas := 0
	for _, line := range c.Lines {
		if strings.HasPrefix(line.Class, "course") {
			areas++
		}
	}
	if areas != 2 {
		t.Errorf("%d areas", areas)
	}
}

func TestAChartOfNothing(t *testing.T) {
	var h history
	h.add(epoch, &diagnosis.Counts{})
	c := h.chart(time.UTC)
	if c.Desc != "There were none." || len(c.Rows) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestRoundNumbers(t *testing.T) {
	for n, want := range map[uint64]string{50: "50", 5000: "5000", 20_000: "20k", 2_500_000: "2.5M"} {
		if got := compact(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for most, want := range map[uint64]string{0: "1", 4: "1 2 3 4", 7: "2 4 6", 90: "50", 400: "100 200 300 400"} {
		var c chart
		c.counts(most)
		var got []string
		for _, text := range c.Texts {
			got = append(got, text.Text)
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("up to %d (-want +got):\n%s", most, diff)
		}
	}
}
