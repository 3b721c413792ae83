package page

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	chart "github.com/go-analyze/charts/chartdraw"
	"github.com/go-analyze/charts/chartdraw/drawing"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// The library places things at whole units, so that a chart is drawn at twice its size.
const (
	courseWidth, courseHeight = 960, 460
	growthWidth, growthHeight = 800, 400
	chartText                 = 24 // units
)

// styled returns a style that leaves the colours to the page's style: without a class, the library writes style attributes,
// which the page's policy forbids.
func styled(class string) chart.Style {
	return chart.Style{
		ClassName: class, FontStyle: chart.FontStyle{FontSize: chartText},
		StrokeWidth: 2, StrokeColor: drawing.ColorBlack, FillColor: drawing.ColorBlack,
	}
}

// axis is a range with its ticks.
type axis struct {
	chart.ContinuousRange
	ticks []chart.Tick
}

// GetTicks implements chart.TicksProvider: ticks that an axis is given would stretch it.
func (a *axis) GetTicks(chart.ValueFormatter) []chart.Tick { return a.ticks }

// grid is drawn below the other series. The lines of the library's own are always styled in attributes.
type grid struct{ ticks []chart.Tick }

func (grid) GetName() string           { return "" }
func (grid) GetYAxis() chart.YAxisType { return chart.YAxisPrimary }
func (grid) GetStyle() chart.Style     { return styled("grid") }
func (grid) Validate() error           { return nil }

func (g grid) Render(r chart.Renderer, box chart.Box, _, y chart.Range, _ chart.Style) {
	styled("grid").GetStrokeOptions().WriteToRenderer(r)
	defer r.ResetStyle()
	for _, tick := range g.ticks {
		at := box.Bottom - y.Translate(tick.Value)
		r.MoveTo(box.Left, at)
		r.LineTo(box.Right, at)
	}
	r.Stroke()
}

// render draws series over a time, and returns what is inside the SVG element.
func render(width, height int, from, to int64, most float64, zone *time.Location, series ...chart.Series) (template.HTML, error) {
	x := &axis{ContinuousRange: chart.ContinuousRange{Max: float64(to - from)}, ticks: timeTicks(from, to, zone)}
	y := &axis{ticks: countTicks(most)}
	y.Max = math.Max(most*1.08, y.ticks[len(y.ticks)-1].Value)
	c := chart.Chart{
		Width: width, Height: height, DPI: 72, // a point is a unit
		Background: chart.Style{ClassName: "none", Padding: chart.Box{Top: 20, Left: 6, Right: 12, Bottom: 8, IsSet: true}},
		Canvas:     chart.Style{ClassName: "none"},
		XAxis:      chart.XAxis{Style: styled("axis"), Range: x, GridMajorStyle: chart.Hidden(), GridMinorStyle: chart.Hidden()},
		YAxis: chart.YAxis{Style: styled("axis"), Range: y, GridMajorStyle: chart.Hidden(), GridMinorStyle: chart.Hidden(),
			Zero: chart.GridLine{Style: chart.Hidden()}},
		YAxisSecondary: chart.HideYAxis(),
		Series:         append([]chart.Series{grid{y.ticks}}, series...),
	}
	var b bytes.Buffer
	if err := c.Render(chart.SVG, &b); err != nil {
		return "", err
	}
	_, inside, _ := strings.Cut(b.String(), ">")
	inside = strings.TrimSuffix(inside, "</svg>")
	// #nosec G203 -- numbers and times: nothing of it was on the wire
	return template.HTML(strings.ReplaceAll(inside, "\n", "")), nil
}

// countTicks are round numbers from 0 to most, or a little above.
func countTicks(most float64) []chart.Tick {
	step := 1.0
	for n := 0; most/step > 4; n++ {
		step *= []float64{2, 2.5, 2}[n%3]
	}
	var ticks []chart.Tick
	for value := 0.0; ; value += step {
		if value == math.Trunc(value) {
			ticks = append(ticks, chart.Tick{Value: value, Label: number(int(value))})
		}
		if value >= most {
			return ticks
		}
	}
}

var timeSteps = []time.Duration{
	1, 10, 100, 1000, 1e4, 1e5, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// timeTicks are round times from one to another, in ns since 1970, at most six.
func timeTicks(from, to int64, zone *time.Location) []chart.Tick {
	const most = 6
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if (to-from)/int64(s) < most {
			step = s
			break
		}
	}
	for (to-from)/int64(step) >= most {
		step *= 2
	}
	layout := "15:04"
	switch {
	case step >= 24*time.Hour:
		layout = time.DateOnly
	case step >= 6*time.Hour:
		layout = "01-02 15:04"
	case step < time.Millisecond:
		layout = "05.000000"
	case step < time.Second:
		layout = "04:05.000"
	case step < time.Minute:
		layout = "15:04:05"
	}
	_, offset := time.Unix(0, from).In(zone).Zone()
	shift := int64(offset) * int64(time.Second)
	first := (from+shift+int64(step)-1)/int64(step)*int64(step) - shift
	var ticks []chart.Tick
	// At the very end, the 0 of the other axis stands.
	for at := first; at <= to-(to-from)/16; at += int64(step) {
		ticks = append(ticks, chart.Tick{Value: float64(at - from), Label: time.Unix(0, at).In(zone).Format(layout)})
	}
	return ticks
}

// stack is the order of the states in a chart, from the bottom: what is to be seen to grow has level ground below it.
var stack = []tcp.State{
	tcp.CloseWait, tcp.LastAck, tcp.Closing, tcp.FinWait1, tcp.FinWait2, tcp.SynRcvd, tcp.SynSent, tcp.Established, tcp.TimeWait,
}

// courses charts the ends in each state over time, a chart for each role.
func (b *builder) courses() (views []chartView) {
	s := b.survey
	t := s.timeline
	if t.n < 2 {
		return nil
	}
	var most float64
	var sums [2][moments + 1]float64
	for role := range sums {
		for i := range t.n + 1 {
			for _, state := range stack {
				sums[role][i] += float64(s.courses[role][state][i])
			}
			most = max(most, sums[role][i])
		}
	}
	if most == 0 {
		return nil
	}
	xs := make([]float64, t.n+1)
	for i := range xs {
		xs[i] = float64(t.at(i) - t.first)
	}
	for role := tracker.Client; role <= tracker.Server; role++ {
		v := chartView{ID: fmt.Sprintf("over-time-%v", role), Title: capital(role.String()) + "s in each state over time", Caption: capital(role.String()) + "s", Width: courseWidth, Height: courseHeight}
		var areas []chart.Series
		table := &chartTable{Columns: []string{"Time"}}
		rows := sampled(t.n)
		for _, i := range rows {
			table.Rows = append(table.Rows, []string{b.clock.second(t.at(i)).Text})
		}
		var peaks []string
		level := make([]float64, t.n+1)
		for _, state := range stack {
			course := &s.courses[role][state]
			if course.peak() == 0 {
				continue
			}
			for i := range level {
				level[i] += float64(course[i])
			}
			areas = append(areas, chart.ContinuousSeries{Style: styled("area " + classOf(state)), XValues: xs, YValues: slices.Clone(level)})
			v.Legend = append(v.Legend, legendView{classOf(state), state.String(), number(int(course[t.n]))})
			peaks = append(peaks, fmt.Sprintf("%v %s at the end, %s at most", state, number(int(course[t.n])), number(int(course.peak()))))
			table.Columns = append(table.Columns, state.String())
			for n, i := range rows {
				table.Rows[n] = append(table.Rows[n], number(int(course[i])))
			}
		}
		if len(areas) == 0 {
			continue
		}
		slices.Reverse(areas)    // each hides the lower part of the one before
		slices.Reverse(v.Legend) // as they lie
		v.Desc = strings.Join(peaks, "; ") + "."
		v.Table = table
		var err error
		if v.SVG, err = render(courseWidth, courseHeight, t.first, t.at(t.n), most, b.p.Zone, areas...); err != nil {
			continue
		}
		views = append(views, v)
	}
	return views
}

// sampled picks some of n+1 moments, the first and the last among them.
func sampled(n int) (picked []int) {
	const rows = 8
	for i := range rows + 1 {
		if at := n * i / rows; i == 0 || at > picked[len(picked)-1] {
			picked = append(picked, at)
		}
	}
	return picked
}

// growth charts how many connections f has come to be about.
func (b *builder) growth(f *diagnosis.Finding, anchor string) *chartView {
	const least = 5 // connections that make a curve
	from, to := b.r.Capture.First, b.r.Capture.Last
	begins := make([]int64, 0, len(f.Begins))
	for _, at := range f.Begins {
		if at != 0 {
			begins = append(begins, min(max(at, from), to))
		}
	}
	slices.Sort(begins)
	if len(begins) < least || from == 0 || begins[0] == begins[len(begins)-1] {
		return nil
	}
	t := newTimeline(from, to)
	v := &chartView{
		ID: "growth-" + anchor, Width: growthWidth, Height: growthHeight, Title: "Connections of this finding, by when each came to be so",
	}
	v.Caption = fmt.Sprintf("%s, by when each came to be so", count(len(begins), "connection"))
	if len(begins) < f.Count {
		v.Caption = fmt.Sprintf("The first %s of %s connections, by when each came to be so", number(len(begins)), number(f.Count))
	}
	end := to
	if b.r.Threshold != nil && f.For > 0 && f.Growth == nil {
		// Those that have been so for less time are not yet part of the finding: the curve would end level.
		if limit := b.r.Threshold(f.Kind).Age; limit > 0 {
			end = min(max(to-int64(limit), begins[len(begins)-1]), to)
			v.Caption += "; it takes " + age(int64(limit)) + " to count"
		}
	}
	v.Table = &chartTable{Columns: []string{"Time", "Connections"}}
	reached := func(ns int64) int {
		n, _ := slices.BinarySearchFunc(begins, ns, func(at, ns int64) int { return cmp.Or(cmp.Compare(at, ns), -1) })
		return n
	}
	for _, i := range sampled(t.n) {
		v.Table.Rows = append(v.Table.Rows, []string{b.clock.second(t.at(i)).Text, number(reached(t.at(i)))})
	}
	v.Desc = fmt.Sprintf("%s by %s, %s at the end.", number(reached(t.at(t.n/2))), b.clock.second(t.at(t.n/2)).Text, number(len(begins)))

	var xs, ys []float64
	add := func(ns int64, n int) {
		xs, ys = append(xs, float64(ns-from)), append(ys, float64(n))
	}
	add(from, 0)
	if len(begins) <= moments/2 {
		for i, at := range begins {
			add(at, i)
			add(at, i+1)
		}
	} else {
		for i := 0; i < t.n; i += 2 {
			if at := t.at(i); at < end {
				add(at, reached(at))
			}
		}
	}
	add(end, len(begins))
	var err error
	if v.SVG, err = render(growthWidth, growthHeight, from, to, float64(len(begins)), b.p.Zone, chart.ContinuousSeries{Style: styled("growth"), XValues: xs, YValues: ys}); err != nil {
		return nil
	}
	return v
}
