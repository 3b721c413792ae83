package livepage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/report/page"
	"tcpleak/tcp"
)

const (
	// maxPoints is how many moments are remembered, however long ago the first is.
	maxPoints = 240
	firstStep = int64(time.Second)
	// maxSpan is how far back they reach: as maxPoints are reached, every other is forgotten, until they are far enough apart.
	maxSpan  = int64(time.Hour)
	lastStep = maxSpan / maxPoints
)

// history is how many endpoints there were in each state. The zero value is empty.
type history struct {
	step    int64 // between points, ns
	next    int64 // when the present becomes a point, ns since 1970
	points  []point
	present point
}

type point struct {
	at     int64 // ns since 1970
	states [tcp.NumStates]uint32
}

func (h *history) add(now int64, counts *diagnosis.Counts) {
	if now < h.present.at {
		return // a clock that was put back would draw over what has been
	}
	h.present.at = now
	for state := range h.present.states {
		h.present.states[state] = uint32(min(counts.States[state][0]+counts.States[state][1], 1<<32-1))
	}
	if now < h.next {
		return
	}
	if h.step == 0 {
		h.step = firstStep
	}
	if len(h.points) == maxPoints {
		if h.step < lastStep {
			h.step = min(2*h.step, lastStep)
			kept := h.points[:0]
			for i := 1; i < len(h.points); i += 2 {
				kept = append(kept, h.points[i])
			}
			h.points = kept
		} else {
			h.points = slices.Delete(h.points, 0, 1)
		}
	}
	h.points = append(h.points, h.present)
	old := 0
	for old < len(h.points) && h.points[old].at < now-maxSpan {
		old++
	}
	h.points = slices.Delete(h.points, 0, old)
	h.next = now + h.step
}

// A chart is a picture, and the same in words and numbers.
type chart struct {
	page.Drawing
	Title, Desc string
	Columns     []string
	Rows        [][]string // the first cell is the time
}

// The places in a chart, in units; its text is 24 units high, as in a report's.
const (
	chartWidth, chartHeight = 960, 400
	chartLeft, chartRight   = 8, 872
	chartTop, chartBottom   = 20, 352
	leastSpan               = int64(time.Minute)
)

// chart draws h up to the present.
func (h *history) chart(zone *time.Location) chart {
	c := chart{Drawing: page.Drawing{Width: chartWidth, Height: chartHeight}, Columns: []string{"Time"}}
	points := append(slices.Clone(h.points), h.present)
	if last := len(points) - 2; last >= 0 && points[last].at == h.present.at {
		points = points[:last+1]
	}
	to := h.present.at
	from := min(points[0].at, to-leastSpan)
	var drawn []tcp.State
	most := uint64(0)
	for _, state := range page.Stack() {
		if slices.ContainsFunc(points, func(p point) bool { return p.states[state] > 0 }) {
			drawn = append(drawn, state)
		}
	}
	sums := make([]uint64, len(points))
	for i := range points {
		for _, state := range drawn {
			sums[i] += uint64(points[i].states[state])
		}
		most = max(most, sums[i])
	}
	top := c.counts(most)
	c.times(from, to, zone)
	x := func(at int64) int {
		return chartLeft + int(float64(at-from)/float64(to-from)*(chartRight-chartLeft)+0.5)
	}
	y := func(n uint64) int { return chartBottom - int(float64(n)/top*(chartBottom-chartTop)+0.5) }
	var areas []page.Line
	level := make([]uint64, len(points))
	var words []string
	for _, state := range drawn {
		var path strings.Builder
		peak := uint32(0)
		for i := range points {
			level[i] += uint64(points[i].states[state])
			peak = max(peak, points[i].states[state])
		}
		fmt.Fprintf(&path, "M%d %d", x(points[0].at), chartBottom)
		for i := range points {
			// Along level ground, its ends are enough.
			if i > 0 && i < len(points)-1 && level[i] == level[i-1] && level[i] == level[i+1] {
				continue
			}
			fmt.Fprintf(&path, "L%d %d", x(points[i].at), y(level[i]))
		}
		fmt.Fprintf(&path, "L%d %dz", x(to), chartBottom)
		areas = append(areas, page.Line{Class: "course " + page.ClassOf(state), Path: path.String()})
		words = append(words, fmt.Sprintf("%v %s now, %s at most", state, report.Number(uint64(h.present.states[state])), report.Number(uint64(peak))))
		c.Columns = append(c.Columns, state.String())
	}
	slices.Reverse(areas) // each hides the lower part of the one before
	c.Lines = append(c.Lines, areas...)
	c.Lines = append(c.Lines, page.Line{Class: "base", Path: fmt.Sprintf("M%d %dH%d", chartLeft, chartBottom, chartRight)})
	c.Title = "Endpoints in each state in the last " + diagnosis.Age(time.Duration(to-points[0].at).Truncate(time.Second))
	c.Desc = strings.Join(words, "; ") + "."
	if len(words) == 0 {
		c.Desc = "There were none."
	}
	const rows = 8
	picked := -1
	for i := range rows + 1 {
		at := (len(points) - 1) * i / rows
		if at == picked {
			continue
		}
		picked = at
		row := []string{page.Time(points[at].at, to, zone).Text}
		for _, state := range drawn {
			row = append(row, report.Number(uint64(points[at].states[state])))
		}
		c.Rows = append(c.Rows, row)
	}
	return c
}

// counts draws lines at round numbers up to most, and returns the number at the top.
func (c *chart) counts(most uint64) (top float64) {
	step := uint64(1)
	for n := 0; most > 4*step; n++ {
		// 1, 2, 5, 10, and so on.
		if n%3 == 1 {
			step = step * 5 / 2
		} else {
			step *= 2
		}
	}
	top = float64(max(most, 1)) * 1.04
	for value := step; float64(value) <= top; value += step {
		y := chartBottom - int(float64(value)/top*(chartBottom-chartTop)+0.5)
		c.Lines = append(c.Lines, page.Line{Class: "grid", Path: fmt.Sprintf("M%d %dH%d", chartLeft, y, chartRight)})
		c.Texts = append(c.Texts, page.Text{X: chartRight + 10, Y: y + 8, Text: compact(value)})
	}
	return top
}

// times writes round times below.
func (c *chart) times(from, to int64, zone *time.Location) {
	const most = 5
	steps := []time.Duration{
		15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if (to-from)/int64(s) < most {
			step = s
			break
		}
	}
	layout, half := "15:04", 36 // of the width of the text
	if step < time.Minute {
		layout, half = "15:04:05", 54
	}
	_, offset := time.Unix(0, from).In(zone).Zone()
	shift := int64(offset) * int64(time.Second)
	for at := (from+shift+int64(step)-1)/int64(step)*int64(step) - shift; at <= to; at += int64(step) {
		x := chartLeft + int(float64(at-from)/float64(to-from)*(chartRight-chartLeft)+0.5)
		if x < chartLeft+half || x > chartRight-half+40 {
			continue
		}
		c.Lines = append(c.Lines, page.Line{Class: "grid", Path: fmt.Sprintf("M%d %dv8", x, chartBottom)})
		c.Texts = append(c.Texts, page.Text{Class: "middle", X: x, Y: chartBottom + 36, Text: time.Unix(0, at).In(zone).Format(layout)})
	}
}

// compact writes a round number with few characters: 5000, 20k, 2.5M.
func compact(n uint64) string {
	switch {
	case n < 10_000:
		return strconv.FormatUint(n, 10)
	case n < 1_000_000:
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64) + "k"
	}
	return strconv.FormatFloat(float64(n)/1e6, 'f', -1, 64) + "M"
}
