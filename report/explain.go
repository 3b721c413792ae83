package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Explanation is one connection, step by step, and what is wrong with it.
type Explanation struct {
	Ladder   ladder.Ladder
	Findings []diagnosis.Finding
	Name     string // what the client calls the server; "" if nobody knows
}

const (
	minLadderWidth = 80
	maxLadderWidth = 120
	stateWidth     = 14 // "ESTABLISHED??" and a space
	secondsWidth   = 10
	packetWidth    = 7 // at least
	quiet          = time.Second
)

// ExplainText writes e for people: both ends as rails with their states, what goes from one to the other between them, and
// in the end what is missing. Of opt, All is of no account; a ladder is at least 80 columns wide.
func ExplainText(w io.Writer, e *Explanation, opt TableOptions) error {
	if opt.Width <= 0 {
		opt.Width = DefaultWidth
	}
	p := explainer{printer: printer{opt: opt, width: min(max(opt.Width, minLadderWidth), maxLadderWidth)}, d: &e.Ladder}
	p.packets = packetWidth
	for i := range p.d.Steps {
		p.packets = max(p.packets, len(strconv.FormatUint(p.d.Steps[i].Packet, 10)))
	}
	p.before = secondsWidth + 1 + p.packets + 2
	p.middle = p.width - p.before - 2*stateWidth - 2
	p.head(Clean(e.Name))
	p.row("", "", p.state(p.d.Begin[0], false), "", p.state(p.d.Begin[1], false), "")
	for i := range p.d.Steps {
		p.step(i)
	}
	p.foot()
	for i := range e.Findings {
		p.heading(fmt.Sprintf("Finding %d", e.Findings[i].ID))
		p.finding(&e.Findings[i])
	}
	_, err := w.Write(p.out.Bytes())
	return err
}

type explainer struct {
	printer
	d       *ladder.Ladder
	packets int // columns of the packet numbers
	before  int // columns before the rails: times and packets
	middle  int // columns between the rails
}

func (p *explainer) head(name string) {
	c := &p.d.Connection
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	at := time.Unix(0, c.Start).UTC().Format("2006-01-02 15:04:05.000000 UTC")
	title := fmt.Sprintf("Connection %d: client %v to server %s", c.ID, addrPort(client.Addr, client.Port),
		diagnosis.Named(name, addrPort(server.Addr, server.Port).String()))
	for line := range strings.SplitSeq(wrap("", "  ", title, p.width), "\n") {
		p.out.WriteString(p.styled(bold, line) + "\n")
	}
	var facts []string
	fact := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	fact("first packet %s", at)
	fact("%s and %s from the client", count(client.Packets, "packet"), count(client.PayloadBytes, "byte"))
	fact("%s and %s from the server", count(server.Packets, "packet"), count(server.PayloadBytes, "byte"))
	if c.HandshakeRTT > 0 && client.State != tcp.SynRcvd && server.State != tcp.SynRcvd {
		fact("handshake in %s", diagnosis.Age(time.Duration(c.HandshakeRTT)))
	}
	p.paragraph("  ", "  ", strings.Join(facts, "; ")+".")
	for _, note := range Provisos(p.d) {
		p.paragraph("  ", "  ", note)
	}
	p.out.WriteByte('\n')
	names := [2]string{addrPort(client.Addr, client.Port).String(), addrPort(server.Addr, server.Port).String()}
	p.out.WriteString(p.styled(bold, fmt.Sprintf("%*s %*s  %-*s%*s", secondsWidth, "seconds", p.packets, "packet", stateWidth+1, "CLIENT", p.width-p.before-stateWidth-1, "SERVER")) + "\n")
	if with := diagnosis.Named(name, names[1]); len(names[0])+len(with) < p.width-p.before {
		names[1] = with
	}
	if gap := p.width - p.before - len(names[0]) - len(names[1]); gap > 0 {
		p.out.WriteString(strings.Repeat(" ", p.before) + names[0] + strings.Repeat(" ", gap) + names[1] + "\n")
	}
}

// Provisos says what a reader of d must know of how it came about, a sentence each.
func Provisos(d *ladder.Ladder) (notes []string) {
	c := &d.Connection
	if d.Outlined {
		notes = append(notes, "Told from what is remembered of it; its packets were not kept.")
	}
	if c.Opened == tracker.Midstream {
		notes = append(notes, "It was open before the capture began: the handshake is not shown.")
	}
	if c.RolesGuessed {
		notes = append(notes, "Which end is the client is a guess, by the ports.")
	}
	if c.Visibility != tracker.BothSides {
		notes = append(notes, fmt.Sprintf("Only what the %v sent was captured.", c.Visibility))
	}
	for role := range c.Ends {
		if n := c.Ends[role].MissedBytes; n > 0 && c.Visibility == tracker.BothSides {
			notes = append(notes, fmt.Sprintf("The capture does not hold %s of the %v's that the %v acknowledged.", count(n, "byte"), tracker.Role(role), tracker.Role(role).Peer()))
		}
	}
	if d.Copies > 0 {
		notes = append(notes, fmt.Sprintf("Left out: %s that the capture shows twice.", count(d.Copies, "packet")))
	}
	return notes
}

func (p *explainer) state(s tcp.State, changed bool) string {
	if !changed && s == tcp.Unknown {
		return ""
	}
	return s.String()
}

// row writes a line: what is between the rails has p.middle columns, or none.
func (p *explainer) row(at, packet, left, between, right, style string) {
	if between == "" {
		between = strings.Repeat(" ", p.middle)
	}
	leftRail, rightRail := "│", "│"
	if strings.HasPrefix(between, "─") {
		leftRail = "├"
	} else if strings.HasSuffix(between, "─") {
		rightRail = "┤"
	}
	line := fmt.Sprintf("%*s %*s  %s%s%s%s%s", secondsWidth, at, p.packets, packet, p.styledIf(bold, left),
		strings.Repeat(" ", max(stateWidth-twwidth.Width(left), 0)), leftRail, p.styledIf(style, between), rightRail)
	if right != "" {
		line += " " + p.styled(bold, right)
	}
	p.out.WriteString(line + "\n")
}

func (p *explainer) styledIf(style, text string) string {
	if style == "" || text == "" {
		return text
	}
	return p.styled(style, text)
}

// between writes text between the rails, as many lines as it takes.
func (p *explainer) between(text, style string) {
	for line := range strings.SplitSeq(wrap("", "", Clean(text), p.middle-2), "\n") {
		p.row("", "", "", " "+line+strings.Repeat(" ", max(p.middle-1-twwidth.Width(line), 0)), "", style)
	}
}

func (p *explainer) seconds(at int64) string {
	d := time.Duration(at - p.d.Connection.Start)
	for digits := 6; ; digits -= 3 {
		if text := strconv.FormatFloat(d.Seconds(), 'f', digits, 64); len(text) <= secondsWidth || digits == 0 {
			return text
		}
	}
}

func (p *explainer) step(i int) {
	s := &p.d.Steps[i]
	if i > 0 {
		p.silence(p.d.Steps[i-1].Last, s.Time)
	}
	style := ""
	if s.Trouble {
		style = yellow
	}
	var states [2]string
	for role := range states {
		if s.Changed[role] {
			states[role] = p.state(s.States[role], true)
		}
	}
	packet := ""
	if s.Packet != 0 {
		packet = strconv.FormatUint(s.Packet, 10) // as in the sentences
	}
	switch {
	case s.Single():
		label, size := p.label(s), size(s)
		if twwidth.Width(label+size) <= p.middle-arrowWidth {
			label, size = label+size, ""
		}
		p.row(p.seconds(s.Time), packet, states[0], arrow(s.From, shorten(label, p.middle-arrowWidth), p.middle), states[1], style)
		if size != "" {
			p.between(strings.TrimSpace(size), style)
		}
		if text := words(s); text != "" {
			p.between(text, style)
		}
	case s.Kind == ladder.Run || s.Kind == ladder.Left:
		lines := runWords(s, p.middle-2, p.d.Outlined)
		for n, line := range lines {
			line = " " + line + strings.Repeat(" ", max(p.middle-1-twwidth.Width(line), 0))
			if n == 0 {
				p.row(p.seconds(s.Time), packet, states[0], line, states[1], style)
			} else {
				p.row("", "", "", line, "", style)
			}
		}
	case s.Kind == ladder.Pause:
		p.row(p.seconds(s.Time), "", states[0], "", states[1], "")
		p.between(s.Note, "")
	}
}

// silence writes that nothing was sent for a while.
func (p *explainer) silence(from, until int64) {
	if d := time.Duration(until - from); d >= quiet {
		text := "⋮ " + diagnosis.Age(d) + " of silence"
		p.row("", "", "", centered(text, p.middle, ' '), "", "")
	}
}

func centered(text string, width int, fill rune) string {
	space := max(width-twwidth.Width(text), 0)
	return strings.Repeat(string(fill), space/2) + text + strings.Repeat(string(fill), space-space/2)
}

const (
	lead       = 2        // dashes before the label of an arrow
	arrowWidth = lead + 4 // what an arrow has beside its label at least: a dash behind it, the head and two spaces, too
)

// arrow draws one from the sender's rail to the other.
func arrow(from tracker.Role, label string, width int) string {
	label = " " + label + " "
	line := width - twwidth.Width(label) - 1
	if from == tracker.Client {
		return strings.Repeat("─", lead) + label + strings.Repeat("─", max(line-lead, 0)) + "▶"
	}
	return "◀" + strings.Repeat("─", max(line-lead, 0)) + label + strings.Repeat("─", lead)
}

// numbersFrom is the width from which there is room for sequence numbers.
const numbersFrom = 110

// label is what an arrow bears.
func (p *explainer) label(s *ladder.Step) string {
	text := s.Flags.String()
	if p.width >= numbersFrom && !p.d.Outlined {
		text += fmt.Sprintf(" seq %d", s.Seq)
		if s.Flags.Any(tcp.ACK) && p.d.Connection.Ends[s.From.Peer()].Packets > 0 {
			text += fmt.Sprintf(" ack %d", s.Ack)
		}
	}
	return text
}

// size says how many segments an arrow stands for, and how many octets they carry.
func size(s *ladder.Step) (text string) {
	n := s.Count()
	if n > 1 {
		text = " ×" + number(n)
	}
	payload := s.Payload[s.From]
	if payload == 0 {
		return text
	}
	if n == 1 {
		return ", " + count(payload, "byte")
	}
	return text + ", " + count(payload, "byte") + " in all"
}

// words are what a segment means.
func words(s *ladder.Step) string {
	var parts []string
	if s.Phase != "" {
		parts = append(parts, s.Phase)
	}
	if s.Note != "" {
		parts = append(parts, s.Note)
	}
	text := strings.Join(parts, ": ")
	if s.Count() > 1 && s.Last > s.Time {
		if text != "" {
			text += "; "
		}
		text += "over " + diagnosis.Age(time.Duration(s.Last-s.Time))
	}
	return text
}

// runWords are the lines for data and acknowledgments. Of what is only remembered, it is not known how long it took.
func runWords(s *ladder.Step, width int, remembered bool) (lines []string) {
	text := count(s.Count(), "packet")
	if s.Kind == ladder.Left {
		text = "… " + text + " left out"
	}
	if d := time.Duration(s.Last - s.Time); d > 0 && !remembered {
		text += " in " + diagnosis.Age(d)
	}
	lines = strings.Split(wrap("", "", text, width), "\n")
	var to, back string
	if s.Payload[tracker.Client] > 0 {
		to = count(s.Payload[tracker.Client], "byte") + " ▶"
	}
	if s.Payload[tracker.Server] > 0 {
		back = "◀ " + count(s.Payload[tracker.Server], "byte")
	}
	switch gap := width - twwidth.Width(to) - twwidth.Width(back); {
	case to == "" && back == "":
		lines = strings.Split(wrap("", "", text+", no data", width), "\n")
	case gap > 0:
		lines = append(lines, to+strings.Repeat(" ", gap)+back)
	default:
		lines = append(lines, to, strings.Repeat(" ", max(width-twwidth.Width(back), 0))+back)
	}
	if n := s.Again[0] + s.Again[1]; n > 0 {
		lines = append(lines, strings.Split(wrap("", "", count(n, "packet")+" sent again", width), "\n")...)
	}
	return lines
}

func (p *explainer) foot() {
	d := p.d
	last := d.Connection.Last
	if n := len(d.Steps); n > 0 {
		last = max(last, d.Steps[n-1].Last)
	}
	p.silence(last, d.Now)
	var states [2]string
	for role := range states {
		e := &d.Connection.Ends[role]
		states[role] = e.State.String() + mark(e.Certainty)
	}
	p.row(p.seconds(d.Now), "end", states[0], "", states[1], "")
	p.out.WriteByte('\n')
	p.paragraph("", "", d.Missing.Text)
	for _, sentence := range States(&d.Connection) {
		p.paragraph("  ", "  ", sentence)
	}
}

// States says of each end of c which state it is in, how certainly, and why.
func States(c *tracker.Connection) (sentences []string) {
	for role := range c.Ends {
		e := &c.Ends[role]
		switch why := e.Why(); {
		case why == "":
		case e.State == tcp.Unknown:
			sentences = append(sentences, fmt.Sprintf("The %v's state is not known: %s.", tracker.Role(role), why))
		default:
			sentences = append(sentences, fmt.Sprintf("The %v is in %v (%v): %s.", tracker.Role(role), e.State, certainties[e.Certainty], why))
		}
	}
	return sentences
}

// certainties explain the marks behind the states, too.
var certainties = [...]string{
	tracker.Assumed: "??, assumed", tracker.Presumed: "?, presumed", tracker.Confirmed: "confirmed",
}
