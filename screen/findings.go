package screen

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"tcpleak/diagnosis"
	"tcpleak/report"
)

// findingLines list the findings from the cursor's top on, below a head, and say more about the one at the cursor.
func (m *model) findingLines(height, preview int) []string {
	l, f := &m.look, &m.frame
	seen := f.Findings[min(m.findings.top, len(f.Findings)):]
	seen = seen[:min(len(seen), max(height-1, 0))]
	head := []string{"SEVERITY", "FINDING", "AT FAULT", "CONN.", "SINCE", "FOR"}
	cells := make([][]string, len(seen))
	var widths [6]int
	for i := range head {
		widths[i] = len(head[i])
	}
	for i := range seen {
		g := seen[i].At(f.Now)
		count := ""
		if g.Count > 0 {
			count = compact(uint64(g.Count))
		}
		age := ""
		if g.For > 0 {
			age = l.lasted(g.For, g.ForAtLeast)
		}
		cells[i] = []string{g.Severity.String(), report.Clean(string(g.Kind)), report.Clean(l.culprit(&g)), count,
			clock(g.Since, f.Now, m.screen.opt.Location), age}
		for c, cell := range cells[i] {
			widths[c] = max(widths[c], ansi.StringWidth(cell))
		}
	}
	const severity, kind, culprit, connections, since = 0, 1, 2, 3, 4
	total := func() (n int) {
		for _, w := range widths {
			if w > 0 {
				n += w + len(gap)
			}
		}
		return n - len(gap) + 2
	}
	// What does not fit is left out, the least important first; then the culprit is cut.
	for _, c := range []int{since, connections} {
		if total() > m.width {
			widths[c] = 0
		}
	}
	if over := total() - m.width; over > 0 {
		widths[culprit] = max(widths[culprit]-over, 0)
	}
	if over := total() - m.width; over > 0 {
		widths[severity] = max(widths[severity]-over, 4)
	}
	line := func(row []string, style func(column int, text string) string) string {
		var b strings.Builder
		first := true
		for c, cell := range row {
			if widths[c] == 0 {
				continue
			}
			if !first {
				b.WriteString(gap)
			}
			first = false
			switch {
			case c == connections || c > since:
				cell = l.fitRight(cell, widths[c])
			default:
				cell = l.fit(cell, widths[c])
			}
			b.WriteString(style(c, cell))
		}
		return b.String()
	}
	lines := []string{"  " + line(head, func(_ int, text string) string { return l.faint.Render(text) })}
	for i := range cells {
		mark := "  "
		if m.findings.top+i == m.findings.at {
			if m.pane == findingsPane {
				lines = append(lines, l.selected.Render(l.fit(mark+line(cells[i], func(_ int, text string) string { return text }), m.width)))
				continue
			}
			mark = l.faint.Render(l.here + " ")
		}
		style := l.severityOf(seen[i].Severity)
		lines = append(lines, mark+line(cells[i], func(c int, text string) string {
			if c == severity || c == kind {
				return style.Render(text)
			}
			return text
		}))
	}
	if len(f.Findings) == 0 && len(lines) < height {
		lines = []string{l.faint.Render(l.fit("  No connection fails to open or to close for longer than the thresholds.", m.width))}
	}
	for len(lines) < height && (!m.layout.split || len(f.Findings) > 0) {
		lines = append(lines, "")
	}
	if preview > 0 && m.findings.at < len(f.Findings) {
		g := f.Findings[m.findings.at].At(f.Now)
		lines = append(lines, m.preview(&g, preview)...)
	}
	return lines
}

// preview is the summary of a finding.
func (m *model) preview(f *diagnosis.Finding, height int) []string {
	l := &m.look
	about := f.Summary
	if who := report.Holders(f); who != "" {
		about = "Held by " + who + ". " + about // first, as there may be no room for all
	}
	text := strings.Split(ansi.Wrap(report.Clean(about), max(m.width-4, 10), ""), "\n")
	if len(text) > height {
		text = text[:height]
		text[height-1] = ansi.Truncate(text[height-1], max(m.width-6, 1), "") + l.ellipsis
	}
	for len(text) < height {
		text = append(text, "")
	}
	for i := range text {
		text[i] = "  " + l.faint.Render(text[i])
	}
	return text
}

// commandWidth is how much of a process's command line is shown: of some, it fills pages.
const commandWidth = 300

// findingText is all about a finding, in lines of width columns.
func (m *model) findingText(f *diagnosis.Finding, width int) string {
	l, now := &m.look, f.At(m.frame.Now)
	f = &now
	var b strings.Builder
	b.WriteString(l.severityOf(f.Severity).Render(f.Severity.String()+" "+string(f.Kind)) + "  " + report.Clean(l.culprit(f)) + "\n")
	var facts []string
	if f.Count > 0 {
		facts = append(facts, count(uint64(f.Count), "connection"))
	}
	if f.For > 0 {
		facts = append(facts, "for "+l.lasted(f.For, f.ForAtLeast))
	}
	facts = append(facts, "since "+clock(f.Since, m.frame.Now, m.screen.opt.Location), f.Certainty.String())
	b.WriteString("       " + l.faint.Render(strings.Join(facts, ", ")) + "\n")
	paragraph := func(label, text string) {
		const indent = 7
		for i, line := range strings.Split(ansi.Wrap(report.Clean(text), max(width-indent, 10), ""), "\n") {
			if i > 0 {
				label = ""
			}
			b.WriteString(l.faint.Render(fmt.Sprintf("%-*s", indent, label)) + line + "\n")
		}
	}
	paragraph("", f.Summary)
	if who := report.Holders(f); who != "" {
		paragraph("Who", who)
		for i := range f.Holders {
			h := &f.Holders[i]
			if h.Command != "" && (i == 0 || f.Holders[i-1].PID != h.PID) {
				paragraph("", ansi.Truncate(fmt.Sprintf("pid %d is %s", h.PID, report.Clean(h.Command)), commandWidth, l.ellipsis))
			}
		}
	}
	if f.Cause != "" {
		paragraph("Why", f.Cause)
	}
	if f.Next != "" {
		paragraph("Next", f.Next)
	}
	if f.Command != "" {
		b.WriteString("       " + l.bold.Render(report.Clean(f.Command)) + "\n") // in one line: it is there to be copied
	}
	label := "Seen"
	for i := range f.Evidence {
		e := &f.Evidence[i]
		paragraph(label, fmt.Sprintf("packet %d, %s, %s %s: %s", e.Packet, clock(e.Time, m.frame.Now, m.screen.opt.Location), e.From, e.Flags, e.Meaning))
		label = ""
	}
	return b.String()
}
