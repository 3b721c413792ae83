package screen

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"charm.land/bubbles/v2/help"
	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textinput"
	"charm.land/bubbles/v2/viewport"
	tea "charm.land/bubbletea/v2"

	"tcpleak/diagnosis"
	"tcpleak/report"
)

// pane is one of the two lists.
type pane uint8

const (
	findingsPane pane = iota
	connectionsPane
)

// mode is what the keys are for.
type mode uint8

const (
	listing mode = iota
	filtering
	reading // a connection or a finding in detail
	helping
)

// model is what a screen shows, and how keys change that.
type model struct {
	screen *Screen
	ctx    context.Context // ends the wait for frames
	keys   keys
	look   look

	width, height int
	layout        layout

	frame   Frame
	have    bool // there has been a frame
	next    *Frame
	turned  time.Time // when frame was last replaced
	ticking bool      // somebody will remind of next
	paused  bool
	ended   bool

	mode        mode
	before      mode // what help goes back to
	pane        pane
	query       Query
	findings    cursor
	finding     identity // that the cursor is on
	connections cursor
	connection  uint64 // that the cursor is on
	widths      widths
	named       int // how wide servers have been with their names, as widths

	input     textinput.Model
	old       string // the filter, while another is being written
	filterErr error

	opened    opened
	view      viewport.Model
	shortHelp help.Model
}

// opened is what is read in detail: a connection, or a finding with the connection that it is oldest at.
type opened struct {
	connection uint64 // 0 where the finding is about none
	finding    identity
	ofFinding  bool
}

// identity tells findings of successive analyses apart.
type identity struct {
	kind    diagnosis.Kind
	culprit diagnosis.Culprit
	service netip.AddrPort
}

func identityOf(f *diagnosis.Finding) identity { return identity{f.Kind, f.Culprit, f.Service} }

// cursor is a place in a list of which a part is seen.
type cursor struct{ at, top int }

// within keeps the cursor in a list of n, and in the rows that are seen.
func (c *cursor) within(n, rows int) {
	c.at = max(min(c.at, n-1), 0)
	rows = max(rows, 1)
	c.top = max(min(c.top, c.at, n-rows), c.at-rows+1, 0)
}

func newModel(s *Screen, colored, unicode bool) *model {
	m := &model{screen: s, ctx: context.Background(), query: firstQuery, pane: connectionsPane, width: 80, height: 24}
	m.input = textinput.New()
	m.input.Prompt, m.input.CharLimit = "/", 200
	m.input.KeyMap.Paste.Unbind() // it would run a program that reads the clipboard, as whoever captures
	m.view = viewport.New()
	m.view.FillHeight = true
	m.shortHelp = help.New()
	m.dress(newLook(colored, true, unicode))
	m.arrange()
	return m
}

// dress sets the look.
func (m *model) dress(l look) {
	m.look = l
	m.keys = newKeys(&l.glyphs)
	m.input.SetStyles(l.inputStyles())
	m.input.SetVirtualCursor(false)
	m.shortHelp.Styles = l.helpStyles()
	m.shortHelp.Ellipsis, m.shortHelp.ShortSeparator = l.ellipsis, "  "
	m.view.KeyMap = viewport.KeyMap{} // keys come to the model first
	m.view.SetHorizontalStep(8)
}

// frameMsg says that there is a frame; turnMsg, that one which was held back is due; endMsg, that it is time to go.
type (
	frameMsg struct{}
	turnMsg  struct{}
	endMsg   struct{}
)

func (m *model) Init() tea.Cmd {
	if m.look.color {
		return tea.Batch(m.wait, tea.RequestBackgroundColor)
	}
	return m.wait
}

// wait waits for a frame.
func (m *model) wait() tea.Msg {
	select {
	case <-m.screen.fresh:
		return frameMsg{}
	case <-m.ctx.Done():
		return nil
	}
}

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.widths, m.named = widths{}, 0
	case tea.BackgroundColorMsg:
		m.dress(newLook(m.look.color, msg.IsDark(), m.look.ascii == nil))
	case frameMsg:
		if f := m.screen.take(); f != nil {
			m.next = f
		}
		cmd = tea.Batch(m.wait, m.turn(time.Now()))
	case endMsg:
		cmd = m.end()
	case turnMsg:
		m.ticking = false
		cmd = m.turn(time.Now())
	case tea.KeyPressMsg:
		cmd = m.press(msg)
	case tea.PasteMsg:
		if m.mode == filtering {
			cmd = m.write(msg)
		}
	}
	m.arrange()
	m.screen.want(m.query)
	return m, cmd
}

func (m *model) end() tea.Cmd {
	m.ended = true
	return tea.Quit
}

// turn shows the next frame, or sees to it that it will be: five times a second, and at once what was asked for. What is
// paused waits until it is asked for something.
func (m *model) turn(now time.Time) tea.Cmd {
	if m.next == nil {
		return nil
	}
	asked := !m.have || m.next.Query != m.frame.Query
	if m.paused && !asked {
		return nil
	}
	if left := showEvery - answerEvery - now.Sub(m.turned); left > 0 && !asked {
		if m.ticking {
			return nil
		}
		m.ticking = true
		return tea.Tick(left, func(time.Time) tea.Msg { return turnMsg{} })
	}
	if m.next.Query.ordered() != m.frame.Query.ordered() {
		m.widths, m.named = widths{}, 0
	}
	m.frame, m.have, m.next, m.turned = *m.next, true, nil, now
	m.follow()
	return nil
}

// follow keeps the cursors on what they are on; but those at the top, which nobody has moved, stay there.
func (m *model) follow() {
	for i := range m.frame.Findings {
		if identityOf(&m.frame.Findings[i]) == m.finding && m.findings.at > 0 {
			m.findings.at = i
			break
		}
	}
	if m.connections.at == 0 {
		return
	}
	if r, ok := m.row(m.connections.at); ok && r.ID == m.connection {
		return
	}
	for i := range m.layout.connections {
		if r, ok := m.row(m.connections.top + i); ok && r.ID == m.connection {
			m.connections.at = m.connections.top + i
			return
		}
	}
}

// row returns row i of the table, if the frame has it.
func (m *model) row(i int) (*Row, bool) {
	i -= m.frame.Query.Offset
	if i < 0 || i >= len(m.frame.Rows) {
		return nil, false
	}
	return &m.frame.Rows[i], true
}

// arrange sees to it that all that is shown agrees, after anything has changed.
func (m *model) arrange() {
	m.layout = m.plan()
	m.findings.within(len(m.frame.Findings), m.layout.findings)
	m.connections.within(m.frame.Matches, m.layout.connections)
	if i := m.findings.at; i < len(m.frame.Findings) {
		m.finding = identityOf(&m.frame.Findings[i])
	}
	if r, ok := m.row(m.connections.at); ok {
		m.connection = r.ID
	}
	// A page more in both directions, so that there is something to show at once.
	rows := max(m.layout.connections, 10)
	m.query.Offset = max(m.connections.top-rows, 0)
	m.query.Rows = min(3*rows, maxRows)
	m.view.SetWidth(m.width)
	m.view.SetHeight(max(m.height-2, 1))
	switch m.mode {
	case reading:
		m.query.Open = m.opened.connection
		m.view.SetContent(m.detailText())
	case helping:
		m.view.SetContent(m.helpText())
	}
	if m.mode != helping && m.mode != reading {
		m.query.Open = 0
	}
}

func (m *model) press(msg tea.KeyPressMsg) tea.Cmd {
	k := &m.keys
	if m.mode == filtering {
		return m.pressFiltering(msg)
	}
	switch {
	case key.Matches(msg, k.quit):
		return m.end()
	case key.Matches(msg, k.suspend):
		return tea.Suspend
	case key.Matches(msg, k.pause):
		m.paused = !m.paused
		return m.turn(time.Now())
	case key.Matches(msg, k.help) && m.mode != helping:
		m.before, m.mode = m.mode, helping
		m.view.GotoTop()
		return nil
	}
	if m.mode == listing {
		return m.pressListing(msg)
	}
	return m.pressReading(msg)
}

func (m *model) pressReading(msg tea.KeyPressMsg) tea.Cmd {
	k := &m.keys
	switch {
	case key.Matches(msg, k.back), m.mode == helping && key.Matches(msg, k.help):
		if m.mode == helping {
			m.mode = m.before
		} else {
			m.mode = listing
		}
		m.view.GotoTop()
		m.view.SetXOffset(0)
	case key.Matches(msg, k.up):
		m.view.ScrollUp(1)
	case key.Matches(msg, k.down):
		m.view.ScrollDown(1)
	case key.Matches(msg, k.pageUp):
		m.view.PageUp()
	case key.Matches(msg, k.pageDown):
		m.view.PageDown()
	case key.Matches(msg, k.top):
		m.view.GotoTop()
	case key.Matches(msg, k.bottom):
		m.view.GotoBottom()
	case key.Matches(msg, k.left):
		m.view.ScrollLeft(8)
	case key.Matches(msg, k.right):
		m.view.ScrollRight(8)
	case key.Matches(msg, k.connections) && m.mode == reading && m.opened.ofFinding:
		if f := m.read(); f != nil {
			m.mode = listing
			m.narrow(f)
		}
	}
	return nil
}

func (m *model) pressListing(msg tea.KeyPressMsg) tea.Cmd {
	k := &m.keys
	c, rows := &m.connections, m.layout.connections
	if m.pane == findingsPane {
		c, rows = &m.findings, m.layout.findings
	}
	switch {
	case key.Matches(msg, k.other):
		m.pane = connectionsPane - m.pane
	case key.Matches(msg, k.up):
		c.at--
	case key.Matches(msg, k.down):
		c.at++
	case key.Matches(msg, k.pageUp):
		c.at -= rows
		c.top -= rows
	case key.Matches(msg, k.pageDown):
		c.at += rows
		c.top += rows
	case key.Matches(msg, k.top):
		c.at = 0
	case key.Matches(msg, k.bottom):
		c.at = max(len(m.frame.Findings), m.frame.Matches)
	case key.Matches(msg, k.filter):
		m.pane, m.mode, m.old = connectionsPane, filtering, m.query.Filter
		m.input.SetValue(m.query.Filter)
		m.input.CursorEnd()
		return m.input.Focus()
	case key.Matches(msg, k.clear):
		m.setFilter("")
	case key.Matches(msg, k.open):
		m.open()
	case m.pane == findingsPane:
		if key.Matches(msg, k.connections) && m.findings.at < len(m.frame.Findings) {
			m.narrow(&m.frame.Findings[m.findings.at])
		}
	case key.Matches(msg, k.left):
		m.sortBy(m.query.Sort - 1)
	case key.Matches(msg, k.right):
		m.sortBy(m.query.Sort + 1)
	case key.Matches(msg, k.reverse):
		m.query.Reverse = !m.query.Reverse
		*c = cursor{}
	}
	return nil
}

func (m *model) pressFiltering(msg tea.KeyPressMsg) (cmd tea.Cmd) {
	switch {
	case msg.String() == "ctrl+c":
		return m.end()
	case key.Matches(msg, m.keys.accept):
		if m.filterErr == nil {
			m.mode = listing
			m.input.Blur()
		}
	case key.Matches(msg, m.keys.cancel):
		m.mode = listing
		m.input.Blur()
		m.setFilter(m.old)
	case key.Matches(msg, m.keys.suspend):
		return tea.Suspend
	default:
		cmd = m.write(msg)
	}
	return cmd
}

// write lets the filter's text take in a key or what is pasted.
func (m *model) write(msg tea.Msg) (cmd tea.Cmd) {
	m.input, cmd = m.input.Update(msg)
	if text, written := strings.ReplaceAll(report.Clean(m.input.Value()), "\ufffd", ""), m.input.Value(); text != written {
		m.input.SetValue(text)
	}
	m.setFilter(m.input.Value())
	return cmd
}

// setFilter filters by text, if it can be read.
func (m *model) setFilter(text string) {
	text = strings.Join(strings.Fields(text), " ")
	_, m.filterErr = ParseFilter(text)
	if m.filterErr == nil && text != m.query.Filter {
		m.query.Filter = text
		m.connections = cursor{}
	}
}

// sortBy sorts by a column, unless there is none.
func (m *model) sortBy(c Column) {
	if int(c) < numColumns { // below the first it is far above the last
		m.query.Sort, m.query.Reverse = c, false
		m.connections = cursor{}
	}
}

// narrow shows the connections that a finding is about.
func (m *model) narrow(f *diagnosis.Finding) {
	words := []string{"finding:" + string(f.Kind)}
	host := ""
	switch c := f.Culprit; {
	case f.Culprits == 1 && c.Port != 0:
		host = netip.AddrPortFrom(c.Addr.Netip(), c.Port).String()
	case f.Culprits == 1:
		host = c.Addr.String() + ":"
	}
	if host != "" {
		words = append(words, f.Culprit.Role.String()+":"+host)
	}
	if service := f.Service; service.IsValid() && service.Port() != 0 && service.String() != host {
		words = append(words, "server:"+service.String())
	}
	m.pane = connectionsPane
	m.setFilter(strings.Join(words, " "))
}

// read_ opens what the cursor is on.
func (m *model) open() {
	r := opened{}
	if m.pane == findingsPane {
		if m.findings.at >= len(m.frame.Findings) {
			return
		}
		f := &m.frame.Findings[m.findings.at]
		r = opened{connection: f.Example, finding: identityOf(f), ofFinding: true}
	} else {
		row, ok := m.row(m.connections.at)
		if !ok {
			return
		}
		r.connection = row.ID
	}
	m.opened, m.mode = r, reading
	m.view.GotoTop()
	m.view.SetXOffset(0)
}

// read returns the finding that is read, nil if it is no more.
func (m *model) read() *diagnosis.Finding {
	for i := range m.frame.Findings {
		if f := &m.frame.Findings[i]; identityOf(f) == m.opened.finding {
			return f
		}
	}
	return nil
}
