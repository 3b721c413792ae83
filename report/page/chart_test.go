package page_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/report/page"
	"tcpleak/tracker"
)

// staggered is a report on n connections like stuck, of which each begins and goes on so much after the one before.
func staggered(n int, apart time.Duration) report.Report {
	c := stuck(1)
	r := repeated(n, c)
	r.Rows = func(from, to int) report.Rows {
		return func(yield func(*tracker.Connection, []int) bool) {
			for i := from; i < to; i++ {
				own, shift := c, int64(i)*int64(apart)
				own.ID, own.Start, own.Last = uint64(i+1), c.Start+shift, c.Last+shift
				for role := range own.Ends {
					e := &own.Ends[role]
					e.Since += shift
					for _, m := range []*tracker.Mark{&e.Facts.SYN, &e.Facts.FirstACK, &e.Facts.AckReached, &e.Facts.FIN, &e.Facts.Last} {
						if m.Seen() {
							m.Time += shift
						}
					}
				}
				if !yield(&own, nil) {
					return
				}
			}
		}
	}
	return r
}

// Each begins a second after the one before, and is open for two.
func TestStatesOverTime(t *testing.T) {
	// So many that several goroutines count them.
	for _, n := range []int{300, 30_000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			apart := 300 * time.Second / time.Duration(n)
			r := staggered(n, apart)
			r.Capture.Last = after(299*time.Second + 2040*time.Millisecond)
			root := parse(t, write(t, page.Page{Report: r}))
			per := n / 300
			for _, side := range []struct{ id, closed string }{{"over-time-client", "FIN_WAIT_2"}, {"over-time-server", "CLOSE_WAIT"}} {
				figure := byID(t, root, side.id)
				columns := make(map[string]int)
				for i, th := range all(all(figure, named(atom.Thead))[0], named(atom.Th)) {
					columns[text(th)] = i
				}
				rows := table(t, figure, "Time")
				if len(rows) != 9 {
					t.Fatalf("%d lines, want 9", len(rows))
				}
				for i, row := range rows {
					elapsed := float64(i) / 8 * 301.04
					closed := max(0, (elapsed-2.04)*float64(per))
					if got := number(t, row[columns[side.closed]]); float64(got) < closed-2 || float64(got) > closed+2+float64(per)*1.1 {
						t.Errorf("%s at %s: %d, want %.0f or so", side.closed, row[0], got, closed)
					}
					if got := number(t, row[columns["ESTABLISHED"]]); i > 0 && i < 8 && (got < per*2-per/10-1 || got > per*2+per/10+1) {
						t.Errorf("ESTABLISHED at %s: %d, want %d", row[0], got, per*2)
					}
				}
			}
		})
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// In the end, a chart says what the table of the states says.
func TestAChartEndsWhereTheCaptureDoes(t *testing.T) {
	for _, file := range captures(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			p := load(t, file)
			if p.Report.Quality.OneSided > 0 {
				t.Skip("connections of which one direction is missing are not in the chart")
			}
			root := parse(t, write(t, p))
			for column, id := range []string{"over-time-client", "over-time-server"} {
				charts := all(root, func(n *html.Node) bool { return attribute(n, "id") == id })
				if len(charts) == 0 {
					continue // nothing was open for long enough
				}
				want, got := make(map[string]string), make(map[string]string)
				for _, row := range table(t, byID(t, root, "capture"), "State", "Clients", "Servers") {
					if state := row[0]; state != "CLOSED" && state != "LISTEN" && state != "UNKNOWN" && row[1+column] != "0" {
						want[state] = row[1+column]
					}
				}
				for _, li := range all(charts[0], named(atom.Li)) {
					if state, n, _ := strings.Cut(text(li), " "); n != "0" {
						got[state] = n
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-table +chart):\n%s", id, diff)
				}
			}
		})
	}
}

func TestOneDirectionIsNotCharted(t *testing.T) {
	c := stuck(1)
	c.Visibility = tracker.ClientOnly
	r := repeated(3, c)
	got := write(t, page.Page{Report: r})
	if strings.Contains(got, "over-time-client") {
		t.Error("a chart of guesses")
	}
	mixed := staggered(4, time.Second)
	rows := mixed.Rows
	mixed.Rows = func(from, to int) report.Rows {
		return func(yield func(*tracker.Connection, []int) bool) {
			for c, findings := range rows(from, to) {
				if c.ID == 2 {
					c.Visibility = tracker.ServerOnly
				}
				if !yield(c, findings) {
					return
				}
			}
		}
	}
	root := parse(t, write(t, page.Page{Report: mixed}))
	wants(t, byID(t, root, "over-time"), "CLOSE_WAIT 3", "So is 1 connection of which one direction was captured.")
}

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *diagnosis.Finding)
		want   []string // nil for no chart
		first  int      // connections in the middle of the capture
	}{
		{"as they came", func(f *diagnosis.Finding) {}, []string{"100 connections, by when each came to be so; it takes 1m00s to count"}, 75},
		{"a leak", func(f *diagnosis.Finding) { f.Growth = &diagnosis.Growth{PerMinute: 30, To: 100, Over: time.Minute} },
			[]string{"100 connections, by when each came to be so Connections of"}, 75},
		{"more than are listed", func(f *diagnosis.Finding) { f.Count = 500 }, []string{"The first 100 of 500 connections"}, 75},
		{"four", func(f *diagnosis.Finding) { f.Begins = f.Begins[:4] }, nil, 0},
		{"all at once", func(f *diagnosis.Finding) {
			for i := range f.Begins {
				f.Begins[i] = after(time.Minute)
			}
		}, nil, 0},
		{"when is not known", func(f *diagnosis.Finding) { f.Begins = nil }, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := repeated(100, stuck(1), 1)
			f := stuckFinding(1, 100) // two seconds apart
			c.change(&f)
			r.Findings = []diagnosis.Finding{f}
			root := parse(t, write(t, page.Page{Report: r}))
			figures := all(root, func(n *html.Node) bool { return attribute(n, "id") == "growth-f1" })
			if len(figures) != min(len(c.want), 1) {
				t.Fatalf("%d charts", len(figures))
			}
			if len(figures) == 0 {
				return
			}
			wants(t, figures[0], c.want...)
			rows := table(t, figures[0], "Time", "Connections")
			if got := number(t, rows[4][1]); got < c.first || got > c.first+1 {
				t.Errorf("%d in the middle, want %d", got, c.first)
			}
			if got := number(t, rows[8][1]); got != 100 {
				t.Errorf("%d in the end", got)
			}
		})
	}
}

// Charts of any length have a few round times below them, and round numbers beside them.
func TestAxes(t *testing.T) {
	for _, c := range []struct {
		span time.Duration
		n    int
		want []string
	}{
		{time.Microsecond, 3, []string{"0", "1", "2", "3"}},
		{40 * time.Millisecond, 4, []string{"04:05.010", "04:05.020", "04:05.030"}},
		{3 * time.Second, 7, []string{"03:04:05", "03:04:06", "03:04:07", "2", "4", "6", "8"}},
		{5 * time.Minute, 16, []string{"03:05", "03:06", "03:07", "03:08", "5", "10", "15", "20"}},
		{49 * time.Hour, 10_000, []string{"03-01 12:00", "03-02 00:00", "5,000", "10,000"}},
		{400 * 24 * time.Hour, 20_000, []string{"2026-06-04", "10,000", "20,000"}},
	} {
		t.Run(c.span.String(), func(t *testing.T) {
			r := staggered(c.n, 0)
			r.Capture.Last = after(c.span)
			root := parse(t, write(t, page.Page{Report: r}))
			figures := all(root, func(n *html.Node) bool { return attribute(n, "id") == "over-time-client" })
			if len(figures) != 1 {
				t.Fatal("no chart")
			}
			var labels []string
			for _, e := range all(all(figures[0], named(atom.Svg))[0], func(n *html.Node) bool { return n.Data == "text" }) {
				labels = append(labels, text(e))
			}
			if len(labels) < 3 || len(labels) > 14 {
				t.Errorf("labels %q", labels)
			}
			for _, want := range c.want {
				if !strings.Contains(fmt.Sprintf("%q", labels), strconv.Quote(want)) {
					t.Errorf("no %q in %q", want, labels)
				}
			}
		})
	}
}
