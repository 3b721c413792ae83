package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// A Drawing is a picture, in units of its own; what it is made of lies upon what stands before it. The page's style has the
// classes.
type Drawing struct {
	Width, Height int
	Lines         []Line
	Boxes         []Box
	Texts         []Text
}

// A Line is a path of SVG's.
type Line struct{ Class, Path string }

// A Box has its text in the middle.
type Box struct {
	Class      string
	X, Y, W, H int
	Text       string
}

// TextX is where the middle of the text is.
func (b Box) TextX() int { return b.X + b.W/2 }

// TextY is where the text stands.
func (b Box) TextY() int { return b.Y + b.H/2 + 4 }

// Text is a line of text.
type Text struct {
	Class string
	X, Y  int
	Text  string
	Then  string // goes on in another style
}

// Ladder is a drawing of a ladder, and its steps as a table.
type Ladder struct {
	ID      uint64
	Heading string
	Names   [2]string
	Notes   []string
	Desc    string
	Drawing

	Rows    []Step
	Missing string
	Owed    bool // it waits for something
	Why     []string
	Command string // that tells all of it; "" where there is none
	Left    int    // steps that are not shown
}

// Step is a line of the table.
type Step struct {
	Time   Moment
	Packet string
	From   string
	What   string
	Phase  string
	Note   string
	States [2]string
	Wrong  bool
}

// The places in a ladder, in units; its text is 12 and 13 units high.
const (
	ladderWidth = 960
	timesRight  = 92
	clientRail  = 172
	serverRail  = 572
	boxWidth    = 108
	boxHeight   = 22
	middle      = (clientRail + serverRail) / 2
	notesLeft   = 646
	rowHeight   = 38
	lineHeight  = 16
	// A character of the widest of the fonts that browsers take for "system-ui" is on average less than 0.6 of its height wide.
	noteColumns = (ladderWidth - notesLeft) * 10 / (13 * 6)
)

var rails = [2]int{clientRail, serverRail}

// sheet is a ladder that is being drawn, from the top.
type sheet struct {
	v      *Ladder
	l      *ladder.Ladder
	clock  clock
	y      int
	from   [2]int // where the line of the present state begins
	states [2]tcp.State
}

// draw draws l with so many steps at most.
func (b *builder) draw(l *ladder.Ladder, most int) *Ladder {
	command := ""
	if b.again {
		command = fmt.Sprintf("tcpleak explain%s %d%s", b.files, l.Connection.ID, b.filter)
	}
	return draw(l, most, b.clock, command)
}

// draw draws l with so many steps at most; command tells all of it.
func draw(l *ladder.Ladder, most int, clock clock, command string) *Ladder {
	c := &l.Connection
	v := &Ladder{ID: c.ID, Missing: l.Missing.Text, Owed: l.Missing.Since != 0 || l.Missing.Phase != "", Command: command}
	v.Width = ladderWidth
	for role := range v.Names {
		v.Names[role] = endName(c.Ends[role].Addr, c.Ends[role].Port)
	}
	v.Heading = "Connection " + strconv.FormatUint(c.ID, 10) + ", step by step"
	v.Notes = report.Provisos(l)
	v.Why = report.States(c)

	d := sheet{v: v, l: l, clock: clock, y: 58, states: l.Begin}
	d.text("head middle", clientRail, 18, "Client")
	d.text("head middle", serverRail, 18, "Server")
	d.text("sub middle", clientRail, 34, v.Names[0])
	d.text("sub middle", serverRail, 34, v.Names[1])
	d.from = [2]int{d.y, d.y}
	for role, state := range l.Begin {
		if state != tcp.Unknown {
			d.state(role, state, d.y)
		}
	}
	d.y += rowHeight

	head, tail := len(l.Steps), len(l.Steps)
	if len(l.Steps) > most {
		// The beginning explains the rest; the end is where it stands.
		head = most * 5 / 8
		tail = len(l.Steps) - (most - head - 1)
	}
	for i := range l.Steps {
		s := &l.Steps[i]
		switch {
		case i == head && head < tail:
			d.left(head, tail)
		case i > head && i < tail:
		default:
			if i > 0 {
				d.silence(l.Steps[i-1].Last, s.Time)
			}
			d.step(s)
		}
	}
	d.foot()
	v.Desc = fmt.Sprintf("%s between client %s and server %s. In the end the client is in %v, the server in %v. %s",
		count(len(l.Steps), "step"), v.Names[0], v.Names[1], c.Ends[0].State, c.Ends[1].State, l.Missing.Text)
	return v
}

func (d *sheet) text(class string, x, y int, text string) {
	d.v.Texts = append(d.v.Texts, Text{Class: class, X: x, Y: y, Text: text})
}

func (d *sheet) line(class, format string, args ...any) {
	d.v.Lines = append(d.v.Lines, Line{class, fmt.Sprintf(format, args...)})
}

// rail draws the line of the present state of an end down to y.
func (d *sheet) rail(role, y int) {
	if d.states[role] != tcp.Unknown && y > d.from[role] {
		d.line("rail "+classOf(d.states[role]), "M%d %dV%d", rails[role], d.from[role], y)
	}
	d.from[role] = y
}

// state draws that an end enters a state at y.
func (d *sheet) state(role int, state tcp.State, y int) {
	d.rail(role, y)
	d.states[role] = state
	d.v.Boxes = append(d.v.Boxes, Box{classOf(state), rails[role] - boxWidth/2, y - boxHeight/2, boxWidth, boxHeight, state.String()})
}

func (d *sheet) seconds(at int64) string {
	const width = 10
	t := time.Duration(at - d.l.Connection.Start)
	for digits := 6; ; digits -= 3 {
		if text := strconv.FormatFloat(t.Seconds(), 'f', digits, 64); len(text) <= width || digits == 0 {
			return text
		}
	}
}

func (d *sheet) step(s *ladder.Step) {
	row := Step{Time: d.clock.packet(s.Time), What: what(s), Phase: s.Phase, Note: s.Note, Wrong: s.Trouble}
	for role, state := range s.States {
		if s.Changed[role] && state != tcp.Unknown {
			row.States[role] = state.String()
		}
	}
	d.text("time end", timesRight, d.y-1, d.seconds(s.Time))
	if s.Packet != 0 {
		row.Packet = strconv.FormatUint(s.Packet, 10) // as in the sentences
		label := row.Packet
		if len(label) <= 7 { // or there is no room for the word
			label = "packet " + label
		}
		d.text("packet end", timesRight, d.y+13, label)
	}
	// A line ends where the state that it leads to is written.
	var ends [2]int
	for role := range ends {
		ends[role] = rails[role]
		reach := 4
		if row.States[role] != "" {
			reach = boxWidth/2 + 4
			d.state(role, s.States[role], d.y)
		}
		if role == int(tracker.Client) {
			ends[role] += reach
		} else {
			ends[role] -= reach
		}
	}
	wrong := ""
	if s.Trouble {
		wrong = " wrong"
	}
	columns := (ends[1] - ends[0]) * 10 / (12 * 6)
	note := s.Note
	height := rowHeight
	switch {
	case one(s):
		row.From = s.From.String()
		d.arrow("arrow"+wrong, s.From, ends)
		d.v.Texts = append(d.v.Texts, Text{"flags middle" + wrong, middle, d.y - 7, row.What, s.Phase})
		if utf8.RuneCountInString(row.What+s.Phase)+1 > columns {
			d.v.Texts[len(d.v.Texts)-1].Then = ""
			d.text("phase middle", middle, d.y+15, s.Phase)
			height = rowHeight + lineHeight
		}
		if s.Count() > 1 && s.Last > s.Time {
			note = strings.TrimPrefix(note+"; over "+age(s.Last-s.Time), "; ")
			row.Note = note
		}
	case s.Kind == ladder.Run, s.Kind == ladder.Left:
		d.line("run", "M%d %dH%d", ends[0]+2, d.y, ends[1]-2)
		if utf8.RuneCountInString(row.What) <= columns {
			d.text("data middle"+wrong, middle, d.y-7, row.What)
		} else {
			for i, text := range runWords(s) {
				d.text("data middle"+wrong, middle, d.y-7+i*23, text)
			}
			height = rowHeight + lineHeight
		}
		if n := s.Again[0] + s.Again[1]; n > 0 {
			note = strings.TrimPrefix(note+"; "+count(n, "packet")+" sent again", "; ")
			row.Note = note
		}
	case s.Kind == ladder.Pause:
		d.line("pause", "M%d %dH%d", ends[0], d.y, ends[1])
	}
	wrapped := wrap(note, noteColumns)
	for i, line := range wrapped {
		d.text("note"+wrong, notesLeft, d.y+4+i*lineHeight, line)
	}
	d.y += max(height, len(wrapped)*lineHeight+14)
	d.v.Rows = append(d.v.Rows, row)
}

// arrow draws one from the sender to the other end.
func (d *sheet) arrow(class string, from tracker.Role, ends [2]int) {
	tail, head, back := ends[from], ends[from.Peer()], -8
	if from == tracker.Server {
		back = 8
	}
	d.line(class, "M%d %dH%d", tail, d.y, head+back)
	d.line(class+" tip", "M%d %dl%d -5v10z", head, d.y, back)
}

// one reports whether s is a segment, with those that repeat it.
func one(s *ladder.Step) bool {
	return s.Kind == ladder.Segment || s.Kind == ladder.Run && s.Count() == 1
}

// what says what was sent.
func what(s *ladder.Step) string {
	switch {
	case s.Kind == ladder.Pause:
		return ""
	case !one(s):
		return strings.Join(runWords(s), ", ")
	}
	text := s.Flags.String()
	n := s.Count()
	if n > 1 {
		text += " ×" + number(n)
	}
	if payload := s.Payload[s.From]; payload > 0 {
		text += ", " + count(payload, "byte")
		if n > 1 {
			text += " in all"
		}
	}
	return text
}

// runWords says what a run of data and acknowledgments was.
func runWords(s *ladder.Step) []string {
	first := count(s.Count(), "packet")
	if s.Kind == ladder.Left {
		first = "… " + first + " left out"
	}
	if s.Last > s.Time {
		first += " in " + age(s.Last-s.Time)
	}
	var data []string
	if n := s.Payload[tracker.Client]; n > 0 {
		data = append(data, count(n, "byte")+" →")
	}
	if n := s.Payload[tracker.Server]; n > 0 {
		data = append(data, "← "+count(n, "byte"))
	}
	if len(data) == 0 {
		return []string{first, "no data"}
	}
	return []string{first, strings.Join(data, " · ")}
}

// left stands for the steps from one to another.
func (d *sheet) left(from, to int) {
	d.v.Left = to - from
	text := "… " + count(d.v.Left, "more step")
	d.text("silence middle", middle, d.y+2, text)
	if d.v.Command != "" {
		d.text("note", notesLeft, d.y+2, "all of them: see the command below")
	}
	d.v.Rows = append(d.v.Rows, Step{Time: d.clock.packet(d.l.Steps[from].Time), What: text})
	d.y += rowHeight
	for role, state := range d.l.Steps[to-1].States {
		if state != d.states[role] && state != tcp.Unknown {
			d.state(role, state, d.y)
		}
	}
	d.y += rowHeight
}

// silence draws that nothing was sent for a while.
func (d *sheet) silence(from, until int64) {
	if t := until - from; t >= int64(time.Second) {
		d.text("silence middle", middle, d.y, age(t)+" of silence")
		for role := range rails {
			if d.states[role] != tcp.Unknown {
				d.rail(role, d.y-rowHeight/2+4)
				d.line("gap "+classOf(d.states[role]), "M%d %dV%d", rails[role], d.y-rowHeight/2+4, d.y+rowHeight/2-8)
				d.from[role] = d.y + rowHeight/2 - 8
			}
		}
		d.y += rowHeight
	}
}

// foot draws how it stands in the end, and what is missing.
func (d *sheet) foot() {
	l := d.l
	last := l.Connection.Last
	if n := len(l.Steps); n > 0 {
		last = l.Steps[n-1].Last
	}
	d.silence(last, l.Now)
	d.text("time end", timesRight, d.y-1, d.seconds(l.Now))
	d.text("packet end", timesRight, d.y+13, "now")
	ends := [2]int{clientRail + boxWidth/2 + 4, serverRail - boxWidth/2 - 4}
	for role := range rails {
		e := &l.Connection.Ends[role]
		if e.State == tcp.Unknown && d.states[role] == tcp.Unknown {
			continue
		}
		d.state(role, e.State, d.y)
		d.v.Boxes[len(d.v.Boxes)-1].Text += mark(e.Certainty)
	}
	if d.v.Owed {
		d.arrow("missing", l.Missing.From, ends)
		text := "missing"
		if l.Missing.Phase != "" {
			text = l.Missing.Phase + " is missing"
		}
		d.text("flags middle lack", middle, d.y-7, text)
	}
	if since := l.Missing.Since; d.v.Owed && since != 0 && since < l.Now {
		d.text("note lack", notesLeft, d.y+4, "for "+age(l.Now-since))
	}
	d.v.Height = d.y + rowHeight/2 + 4
}

// wrap breaks text into lines of at most columns characters, at spaces where there are any.
func wrap(text string, columns int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > columns {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:columns])), string(runes[columns:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
