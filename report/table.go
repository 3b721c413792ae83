package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// TableOptions say how Table presents a report.
type TableOptions struct {
	Width int  // columns that no line exceeds, 40 at least; 0 is DefaultWidth
	Color bool // ANSI colours
	All   bool // every connection and every finding
}

// Limits of a table that is not asked for all.
const (
	DefaultWidth   = 100
	minWidth       = 40
	maxFindings    = 25 // the worst first
	maxEvidence    = 8  // packets of a finding
	maxConnections = 10 // connection numbers of a finding
)

// Table writes r for people: the capture and its quality, the findings, the connections that did not end
// cleanly, and the number of endpoints in each state.
func Table(w io.Writer, r Report, opt TableOptions) error {
	if opt.Width <= 0 {
		opt.Width = DefaultWidth
	}
	p := printer{opt: opt, width: max(opt.Width, minWidth)}
	p.capture(&r)
	if r.Capture.Segments > 0 || r.Counts.Connections > 0 {
		p.findings(&r)
		p.fromKernel(r.FromKernel)
		p.connections(&r)
		p.states(&r.Counts)
		p.heading(r.Quality.Verdict())
	}
	_, err := w.Write(p.out.Bytes())
	return err
}

type printer struct {
	opt   TableOptions
	width int
	out   bytes.Buffer
}

// ANSI styles.
const (
	bold   = "1"
	red    = "1;31"
	yellow = "33"
	cyan   = "36"
)

var severityStyles = [...]string{diagnosis.Info: cyan, diagnosis.Warning: yellow, diagnosis.Critical: red}

func (p *printer) styled(style, text string) string {
	if !p.opt.Color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (p *printer) paragraph(first, indent, text string) {
	p.out.WriteString(wrap(first, indent, Clean(text), p.width) + "\n")
}

func (p *printer) heading(text string) {
	p.out.WriteString("\n" + p.styled(bold, wrap("", "", text, p.width)) + "\n")
}

func (p *printer) capture(r *Report) {
	c, oneSided := &r.Capture, r.Quality.OneSided
	names := make([]string, len(c.Sources))
	for i := range c.Sources {
		names[i] = c.Sources[i].Name
	}
	head := "capture"
	switch {
	case len(names) > 3:
		head = fmt.Sprintf("%d files, %s to %s", len(names), names[0], names[len(names)-1])
	case len(names) > 0:
		head = strings.Join(names, ", ")
	}
	head += ": " + count(c.Packets, "packet")
	if c.First != 0 && c.Last != 0 {
		head += " in " + diagnosis.Age(time.Duration(c.Last-c.First)) + " from " +
			time.Unix(0, c.First).UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if c.Filter != "" {
		head += ", filter \"" + c.Filter + "\""
	}
	if c.Segments > 0 {
		head += ", " + count(c.Segments, "TCP segment")
		switch {
		case c.missed():
			head += ", incomplete"
		case oneSided > 0:
			head += ", partly one-sided"
		default:
			head += ", nothing missed"
		}
	}
	p.paragraph("", "  ", head)
	notes := c.notes()
	if oneSided > 0 {
		notes = append(notes, fmt.Sprintf("Captured in one direction only: %s. What the other end did is a guess, and findings are "+
			"withheld: capture on a host or a link that both directions pass.", count(oneSided, "connection")))
	}
	for _, note := range notes {
		p.paragraph("  ", "    ", note)
	}
}

// missed reports whether the capture is known to lack something.
func (c *Capture) missed() bool {
	return c.DroppedKernel+c.DroppedInterface+c.MissedBytes+c.Evicted.Total() > 0 ||
		slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Truncated })
}

// notes says what is not as it should be with a capture.
func (c *Capture) notes() []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	var skipped uint64
	var reasons []string
	for _, s := range c.Skipped {
		if s.N > 0 {
			skipped += s.N
			reasons = append(reasons, number(s.N)+" "+skippedWords(s.Reason))
		}
	}
	switch {
	case c.Packets == 0 && c.Filter != "":
		note("No packets: none passed the filter, or there were none. Try again without the filter.")
	case c.Packets == 0:
		note("No packets.")
	case c.Segments == 0 && skipped > 0:
		note("No TCP segments in %s: %s.", count(c.Packets, "packet"), strings.Join(reasons, ", "))
	case c.Segments == 0:
		note("No TCP segments in %s.", count(c.Packets, "packet"))
	case skipped > 0:
		note("Left out %s: %s.", count(skipped, "packet"), strings.Join(reasons, ", "))
	}
	if c.Duplicates > 0 {
		note("Counted once: %s seen again within 3 ms, as a mirror port or -i any shows them.", count(c.Duplicates, "segment"))
	}
	if c.DroppedKernel+c.DroppedInterface > 0 {
		note("Dropped before they could be read: %s by the kernel, %s by the interface. What is said about silence is less "+
			"sure; a filter or a larger buffer helps.", number(c.DroppedKernel), number(c.DroppedInterface))
	}
	if c.MissedBytes > 0 {
		note("Acknowledged but not captured: %s. The capture lost packets, not the network.", count(c.MissedBytes, "byte"))
	}
	for i := range c.Sources {
		if s := &c.Sources[i]; s.Truncated {
			note("%s is cut off: %s.", s.Name, cmp.Or(s.Detail, "it ends in the middle of a packet"))
		}
	}
	if n := c.Evicted.Total(); n > 0 {
		var kinds []string
		for _, kind := range evictions(c.Evicted) {
			if kind.N > 0 {
				kinds = append(kinds, number(kind.N)+" "+evictionWords[kind.Reason])
			}
		}
		note("%s forgotten to stay within the limit of memory, the least interesting first: %s.", count(n, "connection"), strings.Join(kinds, ", "))
	}
	return notes
}

func skippedWords(reason string) string {
	switch reason {
	case "not_tcp":
		return "not TCP"
	case "truncated_header":
		return "cut off within the headers"
	case "fragment":
		return "not the first fragment of a packet"
	case "unsupported_link_type":
		return "of a link type that is not supported"
	}
	return strings.ReplaceAll(reason, "_", " ")
}

func (p *printer) findings(r *Report) {
	c, findings := &r.Capture, r.Findings
	if len(findings) == 0 {
		p.heading("No findings")
		text := "No connection fails to open or to close for longer than the thresholds."
		if r.Quality.OneSided > 0 {
			text += " Those captured in one direction only were not judged."
		}
		if c.missed() {
			text += " The capture is incomplete, so this proves less than it could."
		}
		p.paragraph("  ", "  ", text)
		p.later(c)
		return
	}
	var parts []string
	bySeverity := severities(findings)
	for severity, n := range slices.Backward(bySeverity[:]) {
		word := diagnosis.Severity(severity).String()
		switch {
		case n == 0:
		case diagnosis.Severity(severity) == diagnosis.Warning:
			parts = append(parts, count(n, word))
		default:
			parts = append(parts, number(n)+" "+word)
		}
	}
	p.heading("Findings: " + strings.Join(parts, ", "))
	for i := range findings {
		if i == maxFindings && !p.opt.All {
			p.paragraph("", "", fmt.Sprintf("… and %s (--all or --format json shows them)",
				count(len(findings)-maxFindings, "more finding")))
			break
		}
		if i > 0 && (findings[i-1].Severity > diagnosis.Info || p.opt.All) {
			p.out.WriteByte('\n')
		}
		p.finding(&findings[i])
	}
	p.later(c)
}

// fromKernel tells what packets do not.
func (p *printer) fromKernel(findings []diagnosis.Finding) {
	if len(findings) == 0 {
		return
	}
	p.heading("From this host's kernel, not from packets")
	for i := range findings {
		if i > 0 {
			p.out.WriteByte('\n')
		}
		p.finding(&findings[i])
	}
}

// Holders names who has the sockets of a finding open: "pid 4242 java, fd 87, 91"; "" where nobody knows.
func Holders(f *diagnosis.Finding) string {
	var text strings.Builder
	for i := range f.Holders {
		h := &f.Holders[i]
		switch {
		case i > 0 && f.Holders[i-1].PID == h.PID:
			fmt.Fprintf(&text, ", %d", h.FD)
			continue
		case i > 0:
			text.WriteString("; ")
		}
		fmt.Fprintf(&text, "pid %d %s", h.PID, h.Name)
		if h.Container != "" {
			text.WriteString(" in " + h.Container)
		}
		fmt.Fprintf(&text, ", fd %d", h.FD)
	}
	if len(f.Holders) > 0 && len(f.Holders) < f.Count {
		text.WriteString(" and others")
	}
	return text.String()
}

// later names the findings that a live capture raised after its last packet.
func (p *printer) later(c *Capture) {
	for _, summary := range c.Later {
		p.paragraph("  ", "    ", "Clear only from the silence after the last packet, at which this report judges: "+summary)
	}
}

func (p *printer) finding(f *diagnosis.Finding) {
	head := f.Severity.String() + " " + string(f.Kind)
	switch {
	case f.Culprits > 1:
		head += ": " + count(f.Culprits, f.Culprit.Role.String())
		if f.Service.IsValid() {
			head += " of " + f.ServiceText()
		}
	case !named(f.Culprit) && f.Service.IsValid():
		head += ": " + f.ServiceText()
	case !named(f.Culprit):
	default:
		head += ": " + culpritText(f)
	}
	if f.Count > 0 {
		head += ", " + counted(f)
	}
	if f.For > 0 {
		before := ", for "
		if f.Count > 1 {
			before = ", the oldest for "
		}
		head += before + atLeast(f.ForAtLeast) + diagnosis.Age(f.For)
	}
	style := severityStyles[min(f.Severity, diagnosis.Critical)]
	severity := f.Severity.String()
	p.out.WriteString(p.styled(style, severity) + strings.TrimPrefix(wrap("", "  ", Clean(head), p.width), severity) + "\n")

	const indent = "         "
	p.paragraph("  ", "  ", f.Summary)
	if f.Severity == diagnosis.Info && !p.opt.All {
		return // in short: it is told for completeness
	}
	if f.Cause != "" {
		p.paragraph("  Why:   ", indent, f.Cause)
	}
	if f.Next != "" {
		next := f.Next
		if f.Command != "" {
			next += ":"
		}
		p.paragraph("  Next:  ", indent, next)
		if f.Command != "" {
			// In one line, whatever the width: a command is there to be copied.
			p.out.WriteString(indent + Clean(f.Command) + "\n")
		}
	}
	if len(f.Holders) > 0 {
		p.paragraph("  Who:   ", indent, Holders(f))
	}
	if f.Certainty != tracker.Confirmed {
		p.paragraph("  Sure?  ", indent, f.Certainty.String()+": "+certaintyWords(f.Certainty))
	}
	first := "  Seen:  "
	for i := range f.Evidence {
		if i == maxEvidence {
			p.paragraph(first, indent, "… "+count(len(f.Evidence)-i, "more packet"))
			break
		}
		p.paragraph(first, indent+"  ", evidenceText(&f.Evidence[i]))
		first = indent
	}
	if len(f.Connections) > 0 {
		p.paragraph("  In:    ", indent, connectionList(f))
	}
}

// counted says how many there are of what a finding is about.
func counted(f *diagnosis.Finding) string {
	if len(f.Connections) == 0 {
		return count(f.Count, "socket")
	}
	return count(f.Count, "connection")
}

// culpritText says which end is at fault, and of a client towards which server, where that is not told by the client's port
// or is known by name: "client 10.0.0.5 towards api.example.com (203.0.113.7:443)".
func culpritText(f *diagnosis.Finding) string {
	c := f.Culprit
	address := c.Addr.String()
	if c.Port != 0 {
		address = addrPort(c.Addr, c.Port).String()
	}
	switch {
	case c.Role == tracker.Server && c.Port != 0:
		address = diagnosis.Named(f.ServiceName, address)
	case f.Service.IsValid() && (c.Port == 0 || f.ServiceName != ""):
		address += " towards " + f.ServiceText()
	}
	return c.Role.String() + " " + address
}

func evidenceText(e *diagnosis.Evidence) string {
	text := fmt.Sprintf("packet %d, %s UTC, %s %s", e.Packet, time.Unix(0, e.Time).UTC().Format("15:04:05.000000"), e.From, e.Flags)
	if e.Meaning != "" {
		text += ": " + e.Meaning
	}
	return text
}

func connectionList(f *diagnosis.Finding) string {
	noun := "connection"
	if f.Count > 1 {
		noun = "connections"
	}
	var b strings.Builder
	b.WriteString(noun)
	for i, id := range f.Connections {
		if i == maxConnections {
			fmt.Fprintf(&b, " and %s", count(f.Count-i, "other"))
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %d", id)
	}
	return b.String()
}

func atLeast(is bool) string {
	if is {
		return "at least "
	}
	return ""
}

// certaintyWords explains what a state that is not confirmed rests on.
func certaintyWords(c tracker.Certainty) string {
	if c == tracker.Presumed {
		return "rests on a packet that may not have arrived, or on a capture with gaps"
	}
	return "the opening was not captured, or this end's packets were not"
}

// entry is what a table keeps of a connection, which is not valid for longer than its iteration.
type entry struct {
	id       uint64
	ends     [2]string
	named    string // the server with its name, if it has one
	states   [2]string
	ages     [2]string
	both     string  // time since the last change at either end
	marks    [3]bool // by Certainty: of an end's state
	findings []int
}

// list returns the entries of a table, in its order.
func list(r *Report, all bool) []entry {
	var entries []entry
	if !all {
		for c, findings := range r.Notable {
			entries = append(entries, entryOf(r, c, findings))
		}
		return entries
	}
	var kept [diagnosis.NumStandings][]entry
	for c, findings := range r.Rows(0, r.Counts.Connections) {
		standing := diagnosis.StandingOf(c, len(findings) > 0)
		kept[standing] = append(kept[standing], entryOf(r, c, findings))
	}
	return slices.Concat(kept[:]...)
}

func entryOf(r *Report, c *tracker.Connection, findings []int) entry {
	now := r.Capture.Last
	e := entry{id: c.ID, findings: slices.Clone(findings)}
	for i := range c.Ends {
		end := &c.Ends[i]
		e.ends[i] = addrPort(end.Addr, end.Port).String()
		e.states[i] = end.State.String()
		if end.State != tcp.Unknown {
			e.states[i] += mark(end.Certainty)
			e.marks[min(end.Certainty, tracker.Confirmed)] = true
		}
		e.ages[i] = ageSince(end, now)
	}
	e.named = diagnosis.Named(Clean(r.ServerName(c)), e.ends[tracker.Server])
	later := &c.Ends[0]
	if c.Ends[1].Since > later.Since {
		later = &c.Ends[1]
	}
	e.both = ageSince(later, now)
	return e
}

// mark shows a certainty beside a state.
func mark(c tracker.Certainty) string { return [...]string{"??", "?", ""}[min(c, tracker.Confirmed)] }

func ageSince(e *tracker.Endpoint, now int64) string {
	if e.Since == 0 || now < e.Since {
		return ""
	}
	if e.SinceAtLeast {
		return "≥" + diagnosis.Age(time.Duration(now-e.Since))
	}
	return diagnosis.Age(time.Duration(now - e.Since))
}

func (p *printer) connections(r *Report) {
	connections, standings := r.Counts.Connections, &r.Counts.Standings
	unclean := connections - standings[diagnosis.Clean]
	title := fmt.Sprintf("%s of %s did not end cleanly", number(unclean), count(connections, "connection"))
	switch {
	case connections == 1 && unclean == 0:
		title = "The only connection ended cleanly"
	case unclean == 0:
		title = "All " + count(connections, "connection") + " ended cleanly"
	}
	if open := standings[diagnosis.StillOpen]; open > 0 {
		title += fmt.Sprintf(" (%s still open, without a finding)", number(open))
	}
	p.heading(title)
	entries := list(r, p.opt.All)
	if len(entries) == 0 {
		return
	}
	kinds := make(map[int]string, len(r.Findings))
	for i := range r.Findings {
		kinds[r.Findings[i].ID] = Clean(string(r.Findings[i].Kind))
	}
	p.rows(layout(entries, kinds, p.width))
	if more := unclean - len(entries); more > 0 && !p.opt.All {
		p.paragraph("", "", fmt.Sprintf("… and %s more (--all or --format json shows them)", number(more)))
	}
	for _, c := range []tracker.Certainty{tracker.Presumed, tracker.Assumed} {
		if slices.ContainsFunc(entries, func(e entry) bool { return e.marks[c] }) {
			p.paragraph(fmt.Sprintf("%-3s", mark(c)), "   ", c.String()+": "+certaintyWords(c))
		}
	}
}

// layout puts a connection on one line where all of them fit the width, and else each end on a line of its own; with the
// names of servers if that takes no more lines, and without the findings, which name their connections, before it shortens an
// address.
func layout(entries []entry, kinds map[int]string, width int) (rows [][]string) {
	for _, lay := range []func([]entry, map[int]string, bool) [][]string{layLong, layHigh} {
		for _, named := range []bool{true, false} {
			if rows = lay(entries, kinds, named); tableWidth(rows) <= width {
				return rows
			}
		}
	}
	const address, findings = 2, 5
	for i := range rows {
		rows[i] = rows[i][:findings]
	}
	room := max(widths(rows)[address]-max(tableWidth(rows)-width, 0), len("ADDRESS"))
	for _, row := range rows {
		row[address] = shorten(row[address], room)
	}
	return rows
}

// layLong puts each connection on a line.
func layLong(entries []entry, kinds map[int]string, named bool) [][]string {
	rows := [][]string{{"ID", "CLIENT", "SERVER", "CLIENT STATE", "SERVER STATE", "FOR", "FINDINGS"}}
	for i := range entries {
		e := &entries[i]
		rows = append(rows, []string{decimal(e.id), e.ends[0], e.server(named), e.states[0], e.states[1], e.both,
			strings.Join(e.kinds(kinds), ",")})
	}
	return rows
}

// layHigh puts each end on a line.
func layHigh(entries []entry, kinds map[int]string, named bool) [][]string {
	rows := [][]string{{"ID", "END", "ADDRESS", "STATE", "FOR", "FINDINGS"}}
	for i := range entries {
		e := &entries[i]
		first, rest := "", ""
		if names := e.kinds(kinds); len(names) > 0 {
			first, rest = names[0], strings.Join(names[1:], ",")
		}
		rows = append(rows,
			[]string{decimal(e.id), "client", e.ends[0], e.states[0], e.ages[0], first},
			[]string{"", "server", e.server(named), e.states[1], e.ages[1], rest})
	}
	return rows
}

func (e *entry) server(named bool) string {
	if named {
		return e.named
	}
	return e.ends[tracker.Server]
}

// kinds names the findings of a connection, each once.
func (e *entry) kinds(kinds map[int]string) []string {
	var names []string
	for _, id := range e.findings {
		if name := kinds[id]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

const gutter = "  "

func widths(rows [][]string) []int {
	w := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			w[i] = max(w[i], twwidth.Width(cell))
		}
	}
	return w
}

func tableWidth(rows [][]string) int {
	total := len(gutter) * (len(rows[0]) - 1)
	for _, width := range widths(rows) {
		total += width
	}
	return total
}

func (p *printer) states(counts *diagnosis.Counts) {
	rows := [][]string{{"STATE", "CLIENTS", "SERVERS"}}
	for state, n := range counts.States {
		if n[tracker.Client]+n[tracker.Server] > 0 {
			rows = append(rows, []string{tcp.State(state).String(), number(n[tracker.Client]), number(n[tracker.Server])})
		}
	}
	p.heading("Endpoints in each state")
	p.rows(rows, tw.AlignLeft, tw.AlignRight, tw.AlignRight)
}

// rows writes a table without lines; the first row is its header. Columns are aligned to the left unless aligns says
// otherwise.
func (p *printer) rows(rows [][]string, aligns ...tw.Align) {
	alignment := tw.CellAlignment{Global: tw.AlignLeft, PerColumn: aligns}
	var b strings.Builder
	t := tablewriter.NewTable(&b,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Symbols:  tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAlignmentConfig(alignment),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAlignmentConfig(alignment),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithPadding(tw.Padding{Right: gutter, Overwrite: true}),
	)
	t.Header(rows[0])
	// Neither can fail: the rows are strings, and a Builder takes every write.
	_ = t.Bulk(rows[1:])
	_ = t.Render()
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, " \n")
		if head, tail := cut(line, p.width); tail != "" {
			line = head
		}
		p.out.WriteString(line + "\n")
	}
}
