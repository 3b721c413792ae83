package screen

import (
	"fmt"
	"strings"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tracker"
)

// readingTitle stands above what is read in detail.
func (m *model) readingTitle() string {
	l := &m.look
	left := ""
	d := m.frame.Detail
	switch {
	case m.opened.ofFinding:
		left = l.accent.Render("Finding " + string(m.opened.finding.kind))
	case d != nil && d.ID == m.opened.connection && !d.Gone:
		c := &d.Ladder.Connection
		client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
		left = l.accent.Render(fmt.Sprintf("Connection %d", c.ID)) + fmt.Sprintf("  %s %s %s", address(client.Addr, client.Port), l.arrow,
			diagnosis.Named(report.Clean(d.Name), address(server.Addr, server.Port)))
	default:
		left = l.accent.Render(fmt.Sprintf("Connection %d", m.opened.connection))
	}
	right := clock(m.frame.Now, m.frame.Now, m.screen.opt.Location)
	if n := m.view.TotalLineCount(); n > m.view.Height() {
		right = fmt.Sprintf("%.0f %%  ", 100*m.view.ScrollPercent()) + right
	}
	if m.paused {
		right = l.alarm.Render("PAUSED") + " at " + right
	}
	return l.apart(left, right, m.width)
}

// detailText is all about what is read.
func (m *model) detailText() string {
	l, d := &m.look, m.frame.Detail
	width := max(m.width, 40)
	var b strings.Builder
	var of *diagnosis.Finding
	if m.opened.ofFinding {
		if of = m.read(); of != nil {
			b.WriteString("\n" + m.findingText(of, width))
		} else {
			b.WriteString("\n" + l.faint.Render("This is over.") + "\n")
		}
		if m.opened.connection == 0 {
			return b.String()
		}
		b.WriteString("\n" + l.faint.Render("The connection that this is oldest at:") + "\n")
	}
	switch {
	case d == nil || d.ID != m.opened.connection:
		return b.String() + "\n" + l.ellipsis
	case d.Gone:
		return b.String() + "\n" + l.faint.Render("This connection has been forgotten, to keep within the limit of memory.") + "\n"
	}
	if d.Process != "" {
		b.WriteString("\n" + l.faint.Render("Process ") + report.Clean(d.Process) + "\n")
	}
	for i := range d.Findings {
		f := &d.Findings[i]
		if of != nil && identityOf(f) == identityOf(of) {
			continue
		}
		b.WriteString("\n" + m.findingText(f, width))
	}
	var text strings.Builder
	// It cannot fail: a Builder takes every write.
	_ = report.ExplainText(&text, &report.Explanation{Ladder: d.Ladder, Name: d.Name}, report.TableOptions{Width: width, Color: l.color})
	return b.String() + "\n" + l.adapt(text.String())
}
