package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds the size of the file, in octets. For the worst of this size the parser takes seconds, and some 300 MiB.
const maxFile = 1 << 20

// read reads the file at path.
func read(path string) ([]byte, error) {
	name := printable(path)
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var about fs.FileInfo
		if about, err = f.Stat(); err == nil && about.IsDir() {
			return nil, fmt.Errorf("%s: is a directory; name the file in it", name)
		}
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such file; the agent starts without one, too", name)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: may not be read: %w; let the agent's user read it", name, cause(err))
	case err != nil:
		return nil, fmt.Errorf("%s: cannot be read: %w", name, cause(err))
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s: is larger than %d KiB; this is hardly a configuration", name, maxFile>>10)
	}
	return data, nil
}

// cause is an error of the operating system without the path, which the line begins with.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// A document is a file that is being read.
type document struct {
	name     string
	wrong    *problems
	settings []setting
}

// parse reads the settings in data, the contents of the file at path. Everything that is wrong goes to wrong; what is right is
// returned nevertheless.
func parse(path string, data []byte, wrong *problems) []setting {
	d := document{name: printable(path), wrong: wrong}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if !d.isText(data) {
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		wrong.addf(1, "%s: %w", d.name, err)
		return nil
	}
	var root, next yaml.Node
	switch err := loader.Load(&root); {
	case errors.Is(err, io.EOF): // comments alone
		return nil
	case err != nil:
		d.syntax(err, data)
		return nil
	}
	switch err := loader.Load(&next); {
	case err == nil:
		d.failf(max(next.Line, 1), "another document begins, after ---; the agent takes one")
	case !errors.Is(err, io.EOF):
		d.syntax(err, data)
	}
	top := &root
	if top.Kind == yaml.DocumentNode && len(top.Content) == 1 {
		top = top.Content[0]
	}
	d.section(top, "")
	return d.settings
}

func (d *document) failf(line int, format string, args ...any) {
	d.wrong.addf(line, "%s:%d: %w", d.name, line, fmt.Errorf(format, args...))
}

func (d *document) at(n *yaml.Node) origin {
	return origin{where: fmt.Sprintf("%s:%d", d.name, n.Line), line: n.Line}
}

// isText refuses what an editor would not show as text. The parser would say it without a line, or read UTF-16.
func (d *document) isText(data []byte) bool {
	line := func(offset int) int { return 1 + bytes.Count(data[:offset], []byte("\n")) }
	// A reload may come while the file is being written.
	if len(bytes.TrimSpace(data)) == 0 {
		d.failf(1, "the file is empty; write {} for the defaults")
		return false
	}
	for offset := 0; offset < len(data); {
		r, size := utf8.DecodeRune(data[offset:])
		switch {
		case r == utf8.RuneError && size == 1:
			d.failf(line(offset), "not UTF-8; save the file in this encoding")
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f:
			d.failf(line(offset), "the control character %U; remove it", r)
			return false
		}
		offset += size
	}
	return true
}

// advice is what to do about what the parser says.
var advice = []struct{ message, todo string }{
	{"mapping values are not allowed", "a value with \": \" in it needs quotes; or a line before lacks its colon"},
	{"could not find expected ':'", "a key ends in a colon"},
	{"unexpected end of stream", "close the quotes"},
	{"unknown escape character", "use single quotes, in which \\ is a character like others"},
	{"expected ',' or ']'", "close the list with ]"},
	{"expected ',' or '}'", "close the map with }"},
	{"cannot start any token", "put the value in quotes"},
	{"did not find expected key", "the keys of a section begin in one column"},
	{"did not find expected '-' indicator", "each entry of a list begins with - in one column"},
}

// syntax reports what the parser says. It does not repeat what stands in the file, but for the names of anchors, which it is
// not asked about here.
func (d *document) syntax(err error, data []byte) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		d.failf(1, "not YAML that can be read")
		return
	}
	line := max(e.Mark.Line, 1)
	// The parser complains where the tab makes no sense any more, which may be later.
	for i, text := range strings.Split(string(data), "\n") {
		if i < line && strings.Contains(text[:len(text)-len(strings.TrimLeft(text, " \t"))], "\t") {
			d.failf(i+1, "a tab before the text; YAML is indented with spaces")
			return
		}
	}
	message := e.Message
	if strings.Contains(message, "anchor") || strings.Contains(message, "alias") {
		d.failf(line, "an alias, with *; write out what is meant")
		return
	}
	switch opened := e.ContextMark.Line; {
	case opened == 0 || opened >= line:
	case strings.Contains(message, "unexpected end of stream"): // where the quotes begin says more
		line = opened
	default:
		message += fmt.Sprintf(", %s from line %d on", e.ContextMsg, e.ContextMark.Line)
	}
	for _, a := range advice {
		if strings.Contains(e.Message, a.message) {
			d.failf(line, "not YAML: %s; %s", message, a.todo)
			return
		}
	}
	d.failf(line, "not YAML: %s; compare with the example file", message)
}

// section reads the keys below prefix.
func (d *document) section(n *yaml.Node, prefix string) {
	where := strings.TrimSuffix(prefix, ".")
	switch {
	case !d.plain(n, where):
		return
	case isNull(n): // all that is in it has been commented out
		return
	case n.Kind != yaml.MappingNode && prefix == "":
		d.failf(n.Line, "the file holds %s; it should be lines of KEY: VALUE", kindOf(n))
		return
	case n.Kind != yaml.MappingNode:
		d.failf(n.Line, "%s: is %s; it should be a section, with lines of KEY: VALUE below it", where, kindOf(n))
		return
	}
	d.pairs(n, prefix, func(name string, k, v *yaml.Node) {
		full := prefix + name
		if isSection(full) {
			d.section(v, full+".")
		} else if key := findKey(full); key != nil {
			d.setting(key, v)
		} else if d.wrong.full() { // guessing takes its time
			d.wrong.more++
		} else {
			d.failf(k.Line, "%s: there is no such key%s", printable(full), meant(prefix, name))
		}
	})
}

// pairs calls each with every key and value of a map, once for each key.
func (d *document) pairs(n *yaml.Node, prefix string, each func(name string, k, v *yaml.Node)) {
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := k.Value
		if k.Kind == yaml.AliasNode || k.Kind == yaml.ScalarNode && name == "<<" && k.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
			d.failf(k.Line, "an alias or merge, with * or <<; write out what is meant")
			continue
		}
		if k.Kind != yaml.ScalarNode {
			d.failf(k.Line, "%s as a key; a key is a word", kindOf(k))
			continue
		}
		if line, again := seen[name]; again {
			d.failf(k.Line, "%s: given in line %d already; leave one of them", printable(prefix+name), line)
			continue
		}
		seen[name] = k.Line
		each(name, k, v)
	}
}

// setting reads the value of a key. Nothing after the colon is as if the key were not there; "" is the empty text.
func (d *document) setting(key *key, n *yaml.Node) {
	if !d.plain(n, key.name) || isNull(n) {
		return
	}
	s := setting{key: key, from: d.at(n), public: true}
	shape := shapeOf(key.value(new(Agent)))
	switch {
	case shape == scalar && n.Kind == yaml.ScalarNode:
		s.text = n.Value
	case shape == list && n.Kind == yaml.SequenceNode:
		for i, v := range n.Content {
			if e := fmt.Sprintf("%s, entry %d", key.name, i+1); d.word(v, e) {
				s.entries = append(s.entries, entry{from: d.at(v), text: v.Value})
			}
		}
	case shape == mapping && n.Kind == yaml.MappingNode:
		d.pairs(n, key.name+".", func(name string, _, v *yaml.Node) {
			if d.word(v, key.name+"."+printable(name)) {
				s.entries = append(s.entries, entry{from: d.at(v), name: name, text: v.Value})
			}
		})
	default:
		d.failf(n.Line, "%s: is %s; it should be %s", key.name, kindOf(n), [...]string{
			scalar: "a single value, after the colon", list: "a list, as [A, B]", mapping: "a map, as {A: B}"}[shape])
		return
	}
	d.settings = append(d.settings, s)
}

// word reports whether n is a single value.
func (d *document) word(n *yaml.Node, name string) bool {
	if !d.plain(n, name) {
		return false
	}
	if n.Kind != yaml.ScalarNode {
		d.failf(n.Line, "%s: is %s; it should be a single value", name, kindOf(n))
		return false
	}
	if isNull(n) {
		d.failf(n.Line, "%s: has no value; give one, or remove the line", name)
		return false
	}
	return true
}

// plain refuses what makes a file mean something else than it seems to, and has no use here.
func (d *document) plain(n *yaml.Node, name string) bool {
	if name != "" {
		name += ": "
	}
	switch {
	case n.Kind == yaml.AliasNode:
		d.failf(n.Line, "%san alias, with *; write out what is meant", name)
	case n.Style&yaml.TaggedStyle != 0:
		d.failf(n.Line, "%sa tag, with !; leave it out", name)
	default:
		return true
	}
	return false
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a map"
	}
	return "a single value"
}

// meant guesses which key name is meant, where the keys below prefix are expected.
func meant(prefix, name string) string {
	var here, elsewhere []string
	full := make(map[string]string) // by last part
	for i := range keys {
		if rest, below := strings.CutPrefix(keys[i].name, prefix); below {
			first, _, _ := strings.Cut(rest, ".")
			here = append(here, first)
		}
		parts := strings.Split(keys[i].name, ".")
		for j := 1; j < len(parts); j++ {
			elsewhere = append(elsewhere, parts[j])
			full[parts[j]] = strings.Join(parts[:j+1], ".")
		}
		if len(parts) == 1 && prefix != "" {
			elsewhere = append(elsewhere, parts[0])
			full[parts[0]] = parts[0] + ", which is in no section"
		}
		// The flag may be better known.
		if flag := strings.ReplaceAll(keys[i].flagName(), "-", "_"); prefix == "" && keys[i].flag != "" {
			elsewhere = append(elsewhere, flag)
			full[flag] = keys[i].name
		}
	}
	if best := closest(name, here); best != "" {
		return "; did you mean " + best + "?"
	}
	if best := closest(name, elsewhere); best != "" {
		return "; did you mean " + full[best] + "?"
	}
	if prefix != "" {
		return "; in this section there are " + strings.Join(unique(here), ", ")
	}
	return "; the example file has all there are"
}

// unique leaves out what is like the one before.
func unique(names []string) []string {
	var kept []string
	for i, name := range names {
		if i == 0 || name != names[i-1] {
			kept = append(kept, name)
		}
	}
	return kept
}
