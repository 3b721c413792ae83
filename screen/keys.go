package screen

import "charm.land/bubbles/v2/key"

// keys are what can be pressed.
type keys struct {
	up, down, pageUp, pageDown, top, bottom          key.Binding
	left, right, reverse, filter, clear, open, other key.Binding
	pause, connections, help, quit, suspend, back    key.Binding
	accept, cancel                                   key.Binding // of a filter that is being written
	move, sort, scroll, sideways                     key.Binding // for help: several at once
}

func newKeys(g *glyphs) keys {
	bind := func(shown, does string, names ...string) key.Binding {
		return key.NewBinding(key.WithKeys(names...), key.WithHelp(shown, does))
	}
	return keys{
		up: bind("up k", "up", "up", "k"), down: bind("down j", "down", "down", "j"),
		pageUp: bind("PgUp", "a page up", "pgup", "ctrl+b"), pageDown: bind("PgDn", "a page down", "pgdown", "ctrl+f"),
		top: bind("Home g", "to the first", "home", "g"), bottom: bind("End G", "to the last", "end", "G"),
		left: bind("left h", "sort by the column to the left", "left", "h"), right: bind("right l", "sort by the column to the right", "right", "l"),
		reverse: bind("r", "reverse", "r"), filter: bind("/", "filter", "/"), clear: bind("esc", "clear filter", "esc"),
		open: bind(g.keyEnter, "open", "enter"), other: bind("tab", "findings/connections", "tab", "shift+tab"),
		pause: bind("p", "pause", "p", "space"), connections: bind("c", "its connections", "c"), help: bind("?", "help", "?"),
		quit: bind("q", "quit", "q", "ctrl+c"), suspend: bind("ctrl+z", "suspend", "ctrl+z"), back: bind("esc", "back", "esc", "backspace"),
		accept: bind(g.keyEnter, "keep", "enter"), cancel: bind("esc", "as before", "esc"),
		move: bind(g.keyUp, "move", "up"), sort: bind(g.keyLeft, "sort", "left"), scroll: bind(g.keyUp, "scroll", "up"),
		sideways: bind(g.keyLeft, "sideways", "left"),
	}
}
