package screen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// gap lies between columns.
const gap = "  "

// widths is how wide the contents of each column have been since the order was last changed: a column that grew and shrank with
// every frame would make the table tremble.
type widths [numColumns]int

// The columns by importance: a narrow terminal has the first of them. Further ones have no room to themselves at the cost of
// those.
var (
	essential = [...]Column{ServerState, ClientState, ID, Age, Server, Client, Findings, Process}
	further   = [...]Column{Packets, Bytes, Resent, RTT}
)

// least is how narrow a column whose contents are cut may get; 0 means that they are not.
var least = [numColumns]int{Client: 15, Server: 15, Process: 10, Findings: 6}

// optional columns are left out where they are empty.
var optional = [numColumns]bool{Age: true, Process: true, Resent: true, RTT: true}

var alignedRight = [numColumns]bool{ID: true, Age: true, Packets: true, Bytes: true, Resent: true, RTT: true}

// cell is what the table shows of a connection in a column.
func (m *model) cell(c Column, r *Row) string {
	if r.Gone && c != ID {
		if c == ClientState {
			return "forgotten"
		}
		return ""
	}
	switch c {
	case ID:
		return compactID(r.ID)
	case Client:
		e := &r.Ends[tracker.Client]
		return address(e.Addr, e.Port)
	case Server:
		return serverShort(r)
	case ClientState, ServerState:
		e := &r.Ends[c-ClientState]
		return e.State.String() + certaintyMark(e.State, e.Certainty)
	case Age:
		if !r.Known {
			return ""
		}
		return m.look.lasted(r.For, r.AtLeast)
	case Packets:
		return compact(r.Packets)
	case Bytes:
		return compact(r.Bytes)
	case Resent:
		if r.Resent == 0 {
			return ""
		}
		return compact(r.Resent)
	case RTT:
		if r.RTT == 0 {
			return ""
		}
		return m.look.lasted(r.RTT, false)
	case Process:
		return report.Clean(r.Process)
	}
	names := make([]string, len(r.Findings))
	for i, kind := range r.Findings {
		names[i] = report.Clean(string(kind))
	}
	return strings.Join(names, " ")
}

// shortName and longName are how wide a server with its name makes its column at most: as any IPv4 address, before other columns
// have what they want; and after it.
const shortName, longName = 21, 64

// serverAddress, serverShort and serverNamed write a server: "203.0.113.7:443"; "api.example.com:443", where it has a name; and
// "api.example.com (203.0.113.7:443)".
func serverAddress(r *Row) string {
	e := &r.Ends[tracker.Server]
	return address(e.Addr, e.Port)
}

func serverShort(r *Row) string {
	if r.Name == "" {
		return serverAddress(r)
	}
	return fmt.Sprintf("%s:%d", report.Clean(r.Name), r.Ends[tracker.Server].Port)
}

func serverNamed(r *Row) string { return diagnosis.Named(report.Clean(r.Name), serverAddress(r)) }

// fitServer gives a server that has a name exactly width columns: its address, too, if there is room.
func (l *look) fitServer(r *Row, width int) string {
	if full := serverNamed(r); ansi.StringWidth(full) <= width {
		return l.fit(full, width)
	}
	return l.fitAddress(serverShort(r), width)
}

// placed is a column with its width.
type placed struct {
	Column
	width int
}

// columns chooses those that there is room for, and their widths.
func (m *model) columns(rows []*Row) []placed {
	for _, r := range rows {
		for c := range Column(numColumns) {
			width := ansi.StringWidth(m.cell(c, r))
			if c == Server && r.Name != "" {
				// Clients may call a server by 253 characters.
				width = max(min(width, shortName), ansi.StringWidth(serverAddress(r)))
				m.named = max(m.named, min(ansi.StringWidth(serverNamed(r)), longName))
			}
			m.widths[c] = max(m.widths[c], width)
		}
	}
	var chosen [numColumns]int
	room := m.width - 2 + len(gap) // the mark; no gap behind the last
	choose := func(columns []Column, width func(Column) int) {
		for _, c := range columns {
			if optional[c] && m.widths[c] == 0 && c != m.query.Sort {
				continue
			}
			switch want := width(c) + len(gap); {
			case want <= room:
				chosen[c] = width(c)
				room -= want
			case c == ServerState || c == ClientState:
				chosen[c] = max(room-len(gap), 1)
				room = 0
			}
		}
	}
	titled := func(c Column) int {
		title := len(columnTitles[c])
		if c == m.query.Sort {
			title++
		}
		return max(m.widths[c], title)
	}
	// First of each as much as it takes to be of use, then all of it; then further columns.
	choose(essential[:], func(c Column) int {
		switch {
		case least[c] != 0:
			return min(max(m.widths[c], 1), least[c])
		case c == ClientState || c == ServerState || c == ID:
			return max(m.widths[c], 4)
		}
		return titled(c)
	})
	for _, c := range []Column{Client, Server, Findings, ClientState, ServerState, Process} {
		if more := min(titled(c)-chosen[c], room); chosen[c] != 0 && more > 0 {
			chosen[c] += more
			room -= more
		}
	}
	if more := min(m.named-chosen[Server], room); chosen[Server] != 0 && more > 0 {
		chosen[Server] += more
		room -= more
	}
	choose(further[:], titled)
	var columns []placed
	for c := range Column(numColumns) {
		if chosen[c] != 0 {
			columns = append(columns, placed{c, chosen[c]})
		}
	}
	return columns
}

// tableLines shows the rows from the cursor's top on.
func (m *model) tableLines(height int) []string {
	if height <= 0 {
		return nil
	}
	l := &m.look
	var rows []*Row
	for i := range height - 1 {
		if r, ok := m.row(m.connections.top + i); ok {
			rows = append(rows, r)
		} else {
			rows = append(rows, nil)
		}
	}
	known := make([]*Row, 0, len(rows))
	for _, r := range rows {
		if r != nil {
			known = append(known, r)
		}
	}
	columns := m.columns(known)
	lines := []string{m.tableHead(columns)}
	for i, r := range rows {
		at := m.connections.top + i
		switch {
		case r != nil:
			lines = append(lines, m.tableRow(columns, r, at == m.connections.at))
		case at < m.frame.Matches:
			lines = append(lines, l.faint.Render("  "+l.ellipsis)) // asked for
		default:
			lines = append(lines, "")
		}
	}
	if m.frame.Matches == 0 && len(lines) > 1 {
		lines[1] = l.faint.Render(l.fit("  "+m.emptyTable(), m.width))
	}
	return lines
}

func (m *model) emptyTable() string {
	if m.query.Filter != "" {
		return "No connection matches. Esc clears the filter."
	}
	return "No connections so far."
}

func (m *model) tableHead(columns []placed) string {
	l := &m.look
	var b strings.Builder
	b.WriteString("  ")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(gap)
		}
		title, style := columnTitles[c.Column], l.faint
		if c.Column == m.query.Sort {
			direction := l.up
			if descending[c.Column] != m.query.Reverse {
				direction = l.down
			}
			// Beside the title where that has room, otherwise in its place's end.
			title, style = ansi.Truncate(title, max(c.width-1, 1), "")+direction, l.bold
		}
		title = ansi.Truncate(title, c.width, "")
		if alignedRight[c.Column] {
			title = l.fitRight(title, c.width)
		} else {
			title = l.fit(title, c.width)
		}
		b.WriteString(style.Render(title))
	}
	return b.String()
}

// tableRow shows r, which the cursor may be on.
func (m *model) tableRow(columns []placed, r *Row, cursor bool) string {
	l := &m.look
	selected := cursor && m.pane == connectionsPane
	mark := " "
	if len(r.Findings) > 0 {
		mark = l.mark
		if r.Worst == 0 {
			mark = l.info
		}
	}
	severity := l.severityOf(r.Worst)
	var b strings.Builder
	if !selected {
		mark = severity.Render(mark)
	}
	b.WriteString(mark)
	if cursor && !selected {
		b.WriteString(l.faint.Render(l.here))
	} else {
		b.WriteByte(' ')
	}
	for i, c := range columns {
		if i > 0 {
			b.WriteString(gap)
		}
		text := m.cell(c.Column, r)
		switch {
		case alignedRight[c.Column]:
			text = l.fitRight(text, c.width)
		case c.Column == Server && r.Name != "" && !r.Gone:
			text = l.fitServer(r, c.width)
		case c.Column == Client || c.Column == Server:
			text = l.fitAddress(text, c.width)
		default:
			text = l.fit(text, c.width)
		}
		if !selected {
			text = m.cellStyle(c.Column, r, text)
		}
		b.WriteString(text)
	}
	if selected {
		return l.selected.Render(l.fit(b.String(), m.width))
	}
	return b.String()
}

func (m *model) cellStyle(c Column, r *Row, text string) string {
	l := &m.look
	switch {
	case r.Gone:
		return l.faint.Render(text)
	case c == Findings && len(r.Findings) > 0:
		return l.severityOf(r.Worst).Render(text)
	case c == ClientState && over(r.Ends[tracker.Client].State), c == ServerState && over(r.Ends[tracker.Server].State), c == ID:
		return l.faint.Render(text)
	}
	return text
}

// over reports whether an end holds nothing that anybody waits for.
func over(s tcp.State) bool { return !s.Open() }

func compactID(id uint64) string { return strings.ReplaceAll(number(id), ",", "") }

// shows reports whether the table has the column now.
func (m *model) shows(c Column) bool {
	return slices.ContainsFunc(m.columns(nil), func(p placed) bool { return p.Column == c })
}
