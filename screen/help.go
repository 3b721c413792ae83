package screen

import (
	"fmt"
	"strings"

	"charm.land/bubbles/v2/key"
	"github.com/charmbracelet/x/ansi"
)

// helpText is all that the keys do, and what the signs mean.
func (m *model) helpText() string {
	k, l := &m.keys, &m.look
	var b strings.Builder
	group := func(title string, bindings ...key.Binding) {
		b.WriteString("\n" + l.bold.Render(title) + "\n")
		for _, binding := range bindings {
			h := binding.Help()
			fmt.Fprintf(&b, "  %-12s %s\n", h.Key, h.Desc)
		}
	}
	text := func(lines ...string) {
		for _, line := range lines {
			b.WriteString(ansi.Wrap("  "+line, max(m.width, 20), "") + "\n")
		}
	}
	group("Everywhere", k.up, k.down, k.pageUp, k.pageDown, k.top, k.bottom, k.pause, k.help, k.suspend, k.quit)
	group("Findings", k.other, k.open, k.connections)
	group("Connections", k.other, k.open, k.filter, k.clear, k.left, k.right, k.reverse)
	group("In detail", k.back, k.sideways)
	b.WriteString("\n" + l.bold.Render("A filter") + "\n")
	text("Words, all of which a connection must show: an address, a port, a name, a state, a finding, a process.",
		"state:CLOSE_WAIT  client:10.0.0.7  server:api.example.com  finding:leak  port:8080",
		"process:java  id:12  age>60s  age<5m  !word turns it round")
	b.WriteString("\n" + l.bold.Render("Signs") + "\n")
	text("STATE?   presumed: rests on a packet that may not have arrived, or on a capture with gaps",
		"STATE??  assumed: the opening was not captured, or this end's packets were not",
		fmt.Sprintf("%-7s  for", l.atLeast+"TIME")+" at least as long: the beginning was not seen")
	return b.String()
}
