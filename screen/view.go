package screen

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// layout is how the lines of the terminal are shared out.
type layout struct {
	header  int // 1 or 2
	states  int // with its caption; 0 for none
	notices int // with its caption; 0 for none
	split   bool
	// findings and connections are the rows of the lists, without captions; preview, the lines on the finding at the cursor.
	findings, preview, connections int
}

const (
	stateWidth = 38 // of one state with its numbers and a short history
	minBody    = 6
)

// plan shares out the lines.
func (m *model) plan() layout {
	p := layout{header: 2}
	if m.height < 14 {
		p.header = 1
	}
	body := m.height - p.header - 1 // the footer
	if n := len(m.standing()); n > 0 && m.height >= 20 {
		perLine := m.statesPerLine()
		p.states = min((n+perLine-1)/perLine, max(m.height/6, 3)) + 1
	}
	if n := len(m.frame.Notices); n > 0 && m.height >= 22 {
		p.notices = min(n, max(m.height/12, 2)) + 1
	}
	body -= p.states + p.notices
	if body < minBody {
		body += p.states + p.notices
		p.states, p.notices = 0, 0
	}
	const splitFrom = 16
	if body >= splitFrom {
		p.split, p.preview = true, 2
		if m.width >= 100 {
			p.preview = 1 // hardly a summary is longer
		}
		p.findings = max(min(len(m.frame.Findings), body/3-2), 1)
		p.connections = body - p.findings - p.preview - 4 // two captions and two heads
		if len(m.frame.Findings) == 0 {
			p.preview = 0
			p.connections = body - p.findings - 3
		}
		return p
	}
	if body >= 9 {
		p.preview = 2
	}
	p.findings = max(body-2-p.preview, 1)
	p.connections = max(body-2, 1)
	return p
}

func (m *model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	// In the end, nothing: tmux copies what the alternate screen holds to the normal one if the size has changed.
	if m.width <= 0 || m.height <= 0 || m.ended {
		return v
	}
	var lines []string
	switch m.mode {
	case reading:
		lines = append(lines, m.readingTitle())
		lines = append(lines, strings.Split(m.view.View(), "\n")...)
	case helping:
		lines = append(lines, m.look.accent.Render("tcpleak: what the keys do"))
		lines = append(lines, strings.Split(m.view.View(), "\n")...)
	default:
		lines = m.overview()
	}
	if room := m.height - 1; len(lines) > room {
		lines = lines[:room]
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines, m.footer())
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "")
	}
	v.SetContent(strings.Join(lines, "\n"))
	if m.mode == filtering {
		if c := m.input.Cursor(); c != nil {
			c.Y = m.height - 1
			c.X = min(c.X, m.width-1)
			v.Cursor = c
		}
	}
	return v
}

// overview is all but the details.
func (m *model) overview() []string {
	p := &m.layout
	lines := m.header()
	lines = append(lines, m.stateLines()...)
	switch {
	case p.split:
		lines = append(lines, m.caption(findingsPane))
		lines = append(lines, m.findingLines(p.findings+1, p.preview)...)
		lines = append(lines, m.caption(connectionsPane))
		lines = append(lines, m.tableLines(p.connections+1)...)
	case m.pane == findingsPane:
		lines = append(lines, m.tabs())
		lines = append(lines, m.findingLines(p.findings+1, p.preview)...)
	default:
		lines = append(lines, m.tabs())
		lines = append(lines, m.tableLines(p.connections+1)...)
	}
	return append(lines, m.noticeLines()...)
}

// header says what is captured, and how well that goes.
func (m *model) header() []string {
	l, f := &m.look, &m.frame
	sources := make([]string, 0, 3)
	for i, name := range f.Sources {
		if i == 3 {
			sources = append(sources, fmt.Sprintf("%d more", len(f.Sources)-i))
			break
		}
		sources = append(sources, report.Clean(name))
	}
	left := l.bold.Render(strings.Join(sources, ", "))
	if m.layout.header > 1 {
		left = l.accent.Render("tcpleak") + "  " + left
	}
	if f.Filter != "" {
		left += l.faint.Render("  " + report.Clean(f.Filter))
	}
	right := ""
	if m.have {
		right = clock(f.Now, f.Now, m.screen.opt.Location)
	}
	if m.paused {
		right = l.alarm.Render("PAUSED") + "  " + right
	}
	if !m.have {
		return []string{l.apart(left, "", m.width), l.faint.Render("Waiting for the first packets.")}[:m.layout.header]
	}
	dropped := l.faint.Render("0 dropped")
	if f.Dropped > 0 {
		dropped = l.alarm.Render(number(f.Dropped) + " dropped")
	}
	rate := number(uint64(f.PerSecond + 0.5))
	if m.layout.header == 1 {
		if f.Dropped == 0 {
			dropped = ""
		}
		facts := fmt.Sprintf("%s/s %s ", compact(uint64(f.PerSecond+0.5)), dropped)
		return []string{l.apart(left, facts+right, m.width)}
	}
	facts := []string{rate + " packets/s " + l.graph.Render(l.sparkline(f.Traffic[:], f.Known, min(30, m.width/8))), dropped,
		count(uint64(f.Counts.Connections), "connection"), "memory " + size(f.Bytes)}
	if f.Evicted > 0 {
		facts = append(facts, l.severityOf(diagnosis.Warning).Render(number(f.Evicted)+" forgotten"))
	}
	return []string{l.apart(left, right, m.width), strings.Join(facts, "   ")}
}

// standing are the states that endpoints are in, or were in the last minute.
func (m *model) standing() []tcp.State {
	var states []tcp.State
	for state := range m.frame.States {
		for _, n := range m.frame.States[state] {
			if n > 0 {
				states = append(states, tcp.State(state))
				break
			}
		}
	}
	return states
}

func (m *model) statesPerLine() int { return max(m.width/(stateWidth+len(gap)), 1) }

// stateLines count the endpoints in each state.
func (m *model) stateLines() []string {
	if m.layout.states == 0 {
		return nil
	}
	l, states := &m.look, m.standing()
	perLine := m.statesPerLine()
	rows := m.layout.states - 1
	perLine = min(perLine, (len(states)+rows-1)/rows)
	width := min((m.width-(perLine-1)*3)/perLine, stateWidth+24)
	spark := width - 11 - 2*8 - 2
	captions, last := make([]string, perLine), "LAST 60 s"
	if spark < len(last) {
		last = "60 s"
	}
	for i := range captions {
		captions[i] = l.faint.Render(l.fit(fmt.Sprintf("%-11s%8s%8s  %s", "STATE", "CLIENTS", "SERVERS", last), width))
	}
	lines := []string{strings.Join(captions, "   ")}
	for row := range rows {
		var cells []string
		for column := range perLine {
			i := column*rows + row // down, then across, as a connection goes
			if i >= len(states) {
				break
			}
			s := states[i]
			n := m.frame.Counts.States[s]
			cell := fmt.Sprintf("%-11s%8s%8s  ", s, compact(uint64(n[tracker.Client])), compact(uint64(n[tracker.Server])))
			if n[0]+n[1] == 0 {
				cell = l.faint.Render(cell)
			}
			cells = append(cells, l.fit(cell+l.graph.Render(l.sparkline(m.frame.States[s][:], m.frame.Known, spark)), width))
		}
		lines = append(lines, strings.Join(cells, "   "))
	}
	return lines
}

// title names a pane, with what there is in it.
func (m *model) title(p pane) (name, rest string) {
	f := &m.frame
	if p == findingsPane {
		var n [3]uint64
		for i := range f.Findings {
			n[min(int(f.Findings[i].Severity), 2)]++
		}
		var parts []string
		for severity := diagnosis.Critical; ; severity-- {
			if n[severity] > 0 {
				text := number(n[severity]) + " " + severity.String()
				if severity == diagnosis.Warning {
					text = count(n[severity], severity.String())
				}
				parts = append(parts, m.look.severityOf(severity).Render(text))
			}
			if severity == diagnosis.Info {
				break
			}
		}
		if parts == nil {
			parts = []string{m.look.faint.Render("none")}
		}
		return "Findings", strings.Join(parts, ", ")
	}
	rest = number(uint64(f.Counts.Connections))
	if m.query.Filter != "" {
		rest = number(uint64(f.Matches)) + " of " + rest + " match " + m.look.bold.Render(report.Clean(m.query.Filter))
	}
	if !m.shows(m.query.Sort) {
		by := "by " + strings.ToLower(columnTitles[m.query.Sort])
		if m.query.Reverse {
			by += ", reversed"
		}
		rest += " " + m.look.faint.Render(by)
	}
	return "Connections", rest
}

// caption stands above a pane where both are seen.
func (m *model) caption(p pane) string {
	l := &m.look
	name, rest := m.title(p)
	style := l.faint
	if p == m.pane {
		style = l.accent
	}
	text := style.Render(l.rule+l.rule+" "+name) + " " + rest + " "
	return text + l.faint.Render(strings.Repeat(l.rule, max(m.width-ansi.StringWidth(text), 0)))
}

// tabs stands above the only pane that is seen.
func (m *model) tabs() string {
	l := &m.look
	text := ""
	for p := findingsPane; p <= connectionsPane; p++ {
		name, rest := m.title(p)
		if p == m.pane {
			text += l.accent.Render(l.rule+" "+name) + " " + rest + " "
		} else {
			text += l.faint.Render(l.rule+" "+name+" "+ansi.Strip(rest)) + " "
		}
	}
	return text + l.faint.Render(strings.Repeat(l.rule, max(m.width-ansi.StringWidth(text), 0)))
}

// noticeLines are what has happened last: what was raised, what was cleared.
func (m *model) noticeLines() []string {
	if m.layout.notices == 0 {
		return nil
	}
	l, f := &m.look, &m.frame
	text := l.faint.Render(l.rule + l.rule + " Events ")
	lines := []string{text + l.faint.Render(strings.Repeat(l.rule, max(m.width-ansi.StringWidth(text), 0)))}
	for _, n := range f.Notices[max(len(f.Notices)-m.layout.notices+1, 0):] {
		e := &n.Event
		g := &e.Finding
		line := l.faint.Render(clock(e.Time, f.Now, m.screen.opt.Location)) + " "
		about := fmt.Sprintf("%s %s", report.Clean(string(g.Kind)), report.Clean(l.culprit(g)))
		switch {
		case n.Text != "":
			line += l.bold.Render(report.Clean(n.Text))
		case e.Change == diagnosis.Cleared && g.For > 0:
			line += l.faint.Render(fmt.Sprintf("cleared %s after %s", about, l.lasted(g.For, g.ForAtLeast)))
		case e.Change == diagnosis.Cleared:
			line += l.faint.Render("cleared " + about)
		default:
			line += fmt.Sprintf("%-7s %s %s", e.Change, l.severityOf(g.Severity).Render(string(g.Kind)), report.Clean(l.culprit(g)))
			if g.Count > 1 {
				line += fmt.Sprintf(", %d connections", g.Count)
			}
		}
		lines = append(lines, l.fit(line, m.width))
	}
	return lines
}

// footer says what can be pressed, or is the filter that is being written.
func (m *model) footer() string {
	k, l := &m.keys, &m.look
	var bindings, spare []key.Binding // what there is no room for is left out, the spare ones first
	switch m.mode {
	case filtering:
		right := l.faint.Render(number(uint64(m.frame.Matches)) + " match")
		if m.filterErr != nil {
			right = l.alarm.Render(report.Clean(m.filterErr.Error()))
		}
		m.input.SetWidth(max(m.width-ansi.StringWidth(right)-4, m.width/3))
		return l.apart(m.input.View(), right, m.width)
	case reading:
		bindings = []key.Binding{k.back, k.scroll, k.sideways}
		if m.opened.ofFinding {
			bindings = append(bindings, k.connections)
		}
		bindings = append(bindings, k.pause, k.help, k.quit)
	case helping:
		bindings = []key.Binding{k.back, k.scroll, k.quit}
	default:
		other := k.other
		if m.pane == connectionsPane {
			other.SetHelp("tab", "findings")
			bindings = []key.Binding{k.move, k.open, other, k.filter, k.sort, k.reverse}
		} else {
			other.SetHelp("tab", "connections")
			bindings = []key.Binding{k.move, k.open, other, k.connections, k.filter}
		}
		spare = []key.Binding{k.reverse, k.move, k.pause, k.sort, k.connections, k.clear, k.filter, k.other}
		if m.query.Filter != "" {
			bindings = append(bindings, k.clear)
		}
		bindings = append(bindings, k.pause, k.help, k.quit)
	}
	for {
		text := m.shortHelp.ShortHelpView(bindings)
		if ansi.StringWidth(text) <= m.width || len(spare) == 0 {
			return text
		}
		bindings = slices.DeleteFunc(bindings, func(b key.Binding) bool { return slices.Equal(b.Keys(), spare[0].Keys()) })
		spare = spare[1:]
	}
}
