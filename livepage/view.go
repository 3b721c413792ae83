package livepage

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/report/page"
	"tcpleak/screen"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// What is shown is put into words here, for the template and for the script alike: both find it by the names of the fields. All
// that a browser is sent has passed through cleaned.

// Limits keep what is sent small, and a reader from what he will not read.
const (
	maxFindings = 40 // the worst
	maxLinks    = 12 // connections of a finding
	pageRows    = 50 // connections on a page of the table
	maxSources  = 4
	maxLength   = 300 // characters of a filter or a name that a person has chosen
)

// A state is how many endpoints are in one.
type state struct{ Class, Name, Clients, Servers string }

// head is what stands above all.
type head struct {
	Time    page.Moment
	Source  string
	Filter  string
	Facts   []page.Fact
	Trusted bool
	Verdict string
	States  []state
	Log     []entry
}

// An entry says what happened with a finding.
type entry struct {
	Time     page.Moment
	Change   string
	Severity string
	Kind     string
	Text     string
}

type count struct{ Severity, Text string }

type findings struct {
	Counts   []count
	None     string
	Findings []finding
	More     string
}

type finding struct {
	ID int
	page.Finding
	Links  []uint64 // connections
	Others string   // that are not among them
	Search string   // a query that lists them
}

func (p *Page) head(m *moment) head {
	c := &m.Capture
	v := head{
		Time: page.Time(m.Now, m.Now, p.cfg.Zone), Filter: clip(c.Filter), Trusted: m.Quality.Trusted(), Verdict: m.Quality.Verdict(),
	}
	names := c.Sources[:min(len(c.Sources), maxSources)]
	v.Source = clip(strings.Join(names, ", "))
	if more := len(c.Sources) - len(names); more > 0 {
		v.Source += fmt.Sprintf(" and %d more", more)
	}
	dropped := page.Fact{Name: "Dropped", Value: "none"}
	if c.Dropped > 0 {
		dropped.Value, dropped.Note = report.Counted(c.Dropped, "packet"), "before they could be read"
	}
	v.Facts = []page.Fact{
		{Name: "Connections", Value: report.Number(uint64(m.Counts.Connections))},
		{Name: "Packets", Value: report.Number(uint64(m.perSecond+0.5)) + "/s", Note: report.Number(c.Packets) + " in all"},
		dropped,
		{Name: "Memory", Value: size(m.Bytes), Note: "for connections"},
	}
	if m.Evicted > 0 {
		v.Facts = append(v.Facts, page.Fact{Name: "Forgotten", Value: report.Number(m.Evicted), Note: "to keep within the limit"})
	}
	stacked := page.Stack()
	slices.Reverse(stacked) // as they lie in the chart
	for _, s := range append(stacked, tcp.Listen, tcp.Closed, tcp.Unknown) {
		if n := m.Counts.States[s]; n[tracker.Client]+n[tracker.Server] > 0 {
			v.States = append(v.States, state{page.ClassOf(s), s.String(), report.Number(uint64(n[tracker.Client])), report.Number(uint64(n[tracker.Server]))})
		}
	}
	for i := range slices.Backward(m.log) {
		e := &m.log[i]
		told := page.Tell(&e.Finding, e.Time, p.cfg.Zone)
		line := entry{page.Time(e.Time, m.Now, p.cfg.Zone), e.Change.String(), told.Severity, told.Kind, told.Who}
		switch {
		case e.Change == diagnosis.Cleared && e.Finding.For > 0:
			line.Text += ", after " + lasted(e.Finding.For, e.Finding.ForAtLeast)
		case e.Finding.Count > 1:
			line.Text += ", " + report.Counted(uint64(e.Finding.Count), "connection")
		}
		line.Text = strings.TrimPrefix(line.Text, ", ")
		v.Log = append(v.Log, line)
	}
	return cleaned(v)
}

func (p *Page) findings(m *moment) findings {
	var v findings
	standing := slices.Clone(m.Findings)
	slices.SortStableFunc(standing, func(a, b diagnosis.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	var counts [diagnosis.Critical + 1]uint64
	for i := range standing {
		counts[min(standing[i].Severity, diagnosis.Critical)]++
	}
	for severity, n := range slices.Backward(counts[:]) {
		if n == 0 {
			continue
		}
		word := diagnosis.Severity(severity).String()
		text := report.Number(n) + " " + word
		if diagnosis.Severity(severity) == diagnosis.Warning {
			text = report.Counted(n, word)
		}
		v.Counts = append(v.Counts, count{word, text})
	}
	if len(standing) == 0 {
		v.None = "No connection fails to open or to close for longer than the thresholds."
	}
	for i := range standing {
		f := &standing[i]
		if i == maxFindings {
			v.More = "Left out: " + report.Counted(uint64(len(standing)-i), "finding") + " after the worst " + strconv.Itoa(maxFindings) + "."
			break
		}
		told := finding{ID: f.ID, Finding: page.Tell(f, m.Now, p.cfg.Zone)}
		// The oldest first: it is the one whose packets are the evidence.
		if f.Example != 0 {
			told.Links = append(told.Links, f.Example)
		}
		for _, id := range f.Connections {
			if len(told.Links) == maxLinks {
				break
			}
			if id != f.Example {
				told.Links = append(told.Links, id)
			}
		}
		if more := f.Count - len(told.Links); more > 0 && len(told.Links) > 0 {
			told.Others = report.Counted(uint64(more), "other")
		}
		if filter := filterOf(f); len(told.Links) > 0 && filter != "" {
			told.Search = link(screen.Query{Sort: screen.Age, Filter: filter})
		}
		v.Findings = append(v.Findings, told)
	}
	return cleaned(v)
}

// filterOf lists the connections of f, and perhaps some more; "" if nothing does.
func filterOf(f *diagnosis.Finding) string {
	var words []string
	// A connection does not know of what the kernel says of it.
	if about, _ := diagnosis.Explain(f.Kind); !about.Kernel {
		words = append(words, "finding:"+string(f.Kind))
	}
	if f.Service.IsValid() && f.Service.Port() != 0 {
		words = append(words, "server:"+f.Service.String())
	}
	return strings.Join(words, " ")
}

func (p *Page) chart(m *moment) chart { return m.history.chart(p.cfg.Zone) }

// table is a part of the connections.
type table struct {
	Heading string
	Filter  string
	Sort    string
	Reverse bool
	Wrong   string // with the filter, or with the answer
	Columns []column
	Rows    []row
	Part    string // which of them
	Search  string // the query that asks for this
	Before  string // and for those before and after; "" where there are none
	After   string
	All     string // without a filter
}

type column struct {
	Name, Title string
	Number      bool
	Sorted      string // "ascending", "descending", or ""
	Search      string // the query that sorts by it
}

type row struct {
	ID      uint64
	Gone    bool
	Client  string
	Server  string
	States  [2]endState
	For     string
	Packets string
	Bytes   string
	Resent  string
	RTT     string
	Process string
	Kinds   string
	Worst   string // severity; "" without findings
}

type endState struct{ Class, Name, Mark string }

var columnTitles = map[screen.Column]string{
	screen.ID: "ID", screen.Client: "Client", screen.Server: "Server", screen.ClientState: "Client state", screen.ServerState: "Server state",
	screen.Age: "For", screen.Packets: "Packets", screen.Bytes: "Bytes", screen.Resent: "Resent", screen.RTT: "RTT",
	screen.Process: "Process", screen.Findings: "Findings",
}

// tableOf puts the answer to q into words.
func tableOf(q screen.Query, f *screen.Frame) table {
	all := uint64(f.Counts.Connections)
	v := table{Heading: report.Counted(all, "connection"), Filter: q.Filter, Sort: q.Sort.String(), Reverse: q.Reverse, Search: link(q)}
	if q.Filter != "" {
		v.Heading = report.Number(uint64(f.Matches)) + " of " + report.Counted(all, "connection")
		v.All = link(screen.Query{Sort: q.Sort, Reverse: q.Reverse})
	}
	for _, c := range screen.Columns() {
		to := screen.Query{Sort: c, Filter: q.Filter}
		head := column{Name: c.String(), Title: columnTitles[c], Number: numeric(c)}
		if c == q.Sort {
			to.Reverse = !q.Reverse
			head.Sorted = "ascending"
			if c.Falling() != q.Reverse {
				head.Sorted = "descending"
			}
		}
		head.Search = link(to)
		v.Columns = append(v.Columns, head)
	}
	for i := range f.Rows {
		v.Rows = append(v.Rows, rowOf(&f.Rows[i]))
	}
	if n := len(f.Rows); n > 0 && n < f.Matches {
		v.Part = report.Number(uint64(q.Offset+1)) + " to " + report.Number(uint64(q.Offset+n)) + " of " + report.Number(uint64(f.Matches))
	}
	to := q
	if q.Offset > 0 {
		to.Offset = max(min(q.Offset, f.Matches)-q.Rows, 0)
		v.Before = link(to)
	}
	if q.Offset+len(f.Rows) < f.Matches && len(f.Rows) > 0 {
		to.Offset = q.Offset + len(f.Rows)
		v.After = link(to)
	}
	return cleaned(v)
}

func numeric(c screen.Column) bool {
	return c == screen.RTT || c == screen.Resent || c == screen.Age || c == screen.Packets || c == screen.Bytes
}

func rowOf(r *screen.Row) row {
	v := row{ID: r.ID, Gone: r.Gone}
	if r.Gone {
		return v
	}
	v.Client, v.Server = endName(&r.Ends[tracker.Client]), endName(&r.Ends[tracker.Server])
	for role := range r.Ends {
		e := &r.Ends[role]
		v.States[role] = endState{Class: page.ClassOf(e.State), Name: e.State.String()}
		if e.State != tcp.Unknown {
			v.States[role].Mark = page.Mark(e.Certainty)
		}
	}
	if r.Known {
		v.For = lasted(r.For, r.AtLeast)
	}
	v.Packets, v.Bytes = report.Number(r.Packets), report.Number(r.Bytes)
	if r.Resent > 0 {
		v.Resent = report.Number(r.Resent)
	}
	if r.RTT > 0 {
		v.RTT = diagnosis.Age(r.RTT)
	}
	v.Process = clip(r.Process)
	var kinds []string
	for _, kind := range r.Findings {
		kinds = append(kinds, string(kind))
	}
	if v.Kinds = strings.Join(kinds, ", "); v.Kinds != "" {
		v.Worst = min(r.Worst, diagnosis.Critical).String()
	}
	return v
}

// opened is a connection, step by step.
type opened struct {
	ID       uint64
	Gone     string // why there is nothing to tell
	Title    string
	Process  string
	Time     page.Moment
	Findings []page.Finding
	Ladder   *page.Ladder
}

// openedOf puts what is known of the connection id into words.
func (p *Page) openedOf(id uint64, f *screen.Frame) opened {
	v := opened{ID: id, Title: "Connection " + strconv.FormatUint(id, 10), Time: page.Time(f.Now, f.Now, p.cfg.Zone)}
	d := f.Detail
	if d == nil || d.Gone {
		v.Gone = "There is no such connection now. It may have been forgotten, to keep within the limit of memory."
		return v
	}
	c := &d.Ladder.Connection
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	v.Title += fmt.Sprintf(": %v to %v", netip.AddrPortFrom(client.Addr.Netip(), client.Port), netip.AddrPortFrom(server.Addr.Netip(), server.Port))
	v.Process = clip(d.Process)
	for i := range d.Findings {
		v.Findings = append(v.Findings, page.Tell(&d.Findings[i], f.Now, p.cfg.Zone))
	}
	v.Ladder = page.Draw(&d.Ladder, p.cfg.Zone)
	return cleaned(v)
}

func endName(e *screen.End) string { return netip.AddrPortFrom(e.Addr.Netip(), e.Port).String() }

// lasted writes how long something has been so.
func lasted(d time.Duration, atLeast bool) string {
	if atLeast {
		return "≥" + diagnosis.Age(d)
	}
	return diagnosis.Age(d)
}

// link is the part of an address that asks for q.
func link(q screen.Query) string {
	values := url.Values{}
	if q.Filter != "" {
		values.Set("filter", q.Filter)
	}
	if q.Sort != screen.Findings {
		values.Set("sort", q.Sort.String())
	}
	if q.Reverse {
		values.Set("reverse", "true")
	}
	if q.Offset > 0 {
		values.Set("offset", strconv.Itoa(q.Offset))
	}
	return "?" + values.Encode()
}

// size writes a number of octets: 41 kB, 1.3 GB.
func size(n int) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, next
	}
	digits := 0
	if f < 9.95 && unit != "B" {
		digits = 1
	}
	return strconv.FormatFloat(f, 'f', digits, 64) + " " + unit
}

// clip shortens what a person has chosen.
func clip(text string) string {
	if runes := []rune(text); len(runes) > maxLength {
		return string(runes[:maxLength]) + "…"
	}
	return text
}

// cleaned returns v with all its texts fit to be read: nothing in them is hidden, or changes the order of what is around it.
// It changes what v refers to.
func cleaned[T any](v T) T {
	clean(reflect.ValueOf(&v).Elem())
	return v
}

func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if text := v.String(); report.Clean(text) != text {
			v.SetString(report.Clean(text))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			clean(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			clean(v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clean(v.Elem())
		}
	}
}
