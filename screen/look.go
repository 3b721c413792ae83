package screen

import (
	"image/color"
	"strings"

	"charm.land/bubbles/v2/help"
	"charm.land/bubbles/v2/textinput"
	"charm.land/lipgloss/v2"

	"tcpleak/diagnosis"
)

// look is how things are shown. The colours are the sixteen that a terminal's own theme defines.
type look struct {
	plain, bold, faint, accent, selected lipgloss.Style
	graph                                lipgloss.Style
	alarm                                lipgloss.Style // what must not be overlooked in the header
	severity                             [3]lipgloss.Style
	color, dark                          bool
	glyphs
}

// glyphs are the characters beyond ASCII that are used.
type glyphs struct {
	spark                       []string // from the lowest, for zero
	up, down, ellipsis, dot     string
	mark, info                  string // beside a connection with a finding
	here                        string // the cursor of a list that the keys are not for
	rule, times, arrow, atLeast string
	keyUp, keyLeft, keyEnter    string
	ascii                       *strings.Replacer // of what other packages write; nil keeps it
}

var unicodeGlyphs = glyphs{
	spark: []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇"}, up: "▲", down: "▼", ellipsis: "…", dot: "·", mark: "●", info: "·", here: "▸",
	rule: "─", times: "×", arrow: "→", atLeast: "≥", keyUp: "↑↓", keyLeft: "←→", keyEnter: "⏎",
}

var asciiGlyphs = glyphs{
	spark: []string{"_", ".", "-", "=", "+", "*", "#"}, up: "^", down: "v", ellipsis: "~", dot: "|", mark: "!", info: ".", here: ">",
	rule: "-", times: "x", arrow: "->", atLeast: ">", keyUp: "up/down", keyLeft: "left/right", keyEnter: "enter",
	ascii: strings.NewReplacer("│", "|", "├", "|", "┤", "|", "─", "-", "▶", ">", "◀", "<", "⋮", ":", "…", "~", "×", "x", "≥", ">=",
		"–", "-", "→", "->", "µ", "u", "�", "?", "·", "|"),
}

func newLook(colored, dark, unicode bool) look {
	style := lipgloss.NewStyle
	ink := func(s lipgloss.Style, c color.Color) lipgloss.Style {
		if !colored {
			return s
		}
		return s.Foreground(c)
	}
	l := look{
		plain: style(), bold: style().Bold(true), faint: style().Faint(true), selected: style().Reverse(true),
		color: colored, dark: dark, glyphs: asciiGlyphs,
	}
	if unicode {
		l.glyphs = unicodeGlyphs
	}
	l.alarm = ink(style().Bold(true), lipgloss.Red)
	l.severity[diagnosis.Critical] = l.alarm
	if dark {
		l.accent, l.graph = ink(style().Bold(true), lipgloss.Cyan), ink(style().Faint(true), lipgloss.Cyan)
		l.severity[diagnosis.Warning] = ink(style(), lipgloss.Yellow)
		l.severity[diagnosis.Info] = ink(style(), lipgloss.Cyan)
	} else {
		// Yellow and cyan on white can hardly be read.
		l.accent, l.graph = ink(style().Bold(true), lipgloss.Blue), ink(style().Faint(true), lipgloss.Blue)
		l.severity[diagnosis.Warning] = ink(style(), lipgloss.Magenta)
		l.severity[diagnosis.Info] = ink(style(), lipgloss.Blue)
	}
	return l
}

// adapt makes text that another package has written, and coloured for a dark terminal, fit for this one.
func (l *look) adapt(text string) string {
	if l.ascii != nil {
		text = l.ascii.Replace(text)
	}
	if !l.dark {
		text = strings.NewReplacer("\x1b[33m", "\x1b[35m", "\x1b[36m", "\x1b[34m").Replace(text)
	}
	return text
}

// severityOf is the style of a severity.
func (l *look) severityOf(s diagnosis.Severity) lipgloss.Style {
	return l.severity[min(int(s), len(l.severity)-1)]
}

// sparkline shows values with one character for each of width equal parts of them, by their maximum; of those before the last
// known, nothing.
func (l *look) sparkline(values []uint32, known, width int) string {
	if width <= 0 {
		return ""
	}
	width = min(width, len(values))
	top := uint64(0)
	for _, v := range values {
		top = max(top, uint64(v))
	}
	var b strings.Builder
	for i := range width {
		peak, end := uint64(0), (i+1)*len(values)/width
		if end <= len(values)-known {
			b.WriteByte(' ')
			continue
		}
		for _, v := range values[i*len(values)/width : end] {
			peak = max(peak, uint64(v))
		}
		level := 0
		if peak > 0 {
			level = 1 + int(peak*uint64(len(l.spark)-2)/top)
		}
		b.WriteString(l.spark[level])
	}
	return b.String()
}

func (l *look) helpStyles() help.Styles {
	return help.Styles{
		Ellipsis: l.faint, ShortKey: l.bold, ShortDesc: l.faint, ShortSeparator: l.faint,
		FullKey: l.bold, FullDesc: l.plain, FullSeparator: l.faint,
	}
}

func (l *look) inputStyles() textinput.Styles {
	state := textinput.StyleState{Text: l.plain, Placeholder: l.faint, Suggestion: l.faint, Prompt: l.accent}
	return textinput.Styles{Focused: state, Blurred: state}
}

// unicodeLocale reports whether an environment asks for UTF-8: the first of the variables that POSIX gives the say.
func unicodeLocale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToUpper(getenv(name)); value != "" {
			return strings.Contains(value, "UTF-8") || strings.Contains(value, "UTF8")
		}
	}
	return false
}
