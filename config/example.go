package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const exampleHead = `# What tcpleak agent is to do: tcpleak agent -c tcpleak.yaml
#
# All of this is the default; what is commented out is an example. tcpleak agent --check -c tcpleak.yaml says what is wrong
# with a file. Flags come before variables of the environment, those before this file: outputs.webhook.url is
# --outputs-webhook-url and TCPLEAK_OUTPUTS_WEBHOOK_URL. Secrets belong into files of their own, or the environment.
`

// exampleWidth is how wide comments are, in characters.
const exampleWidth = 110

// Example returns a file with every key, explained: those that have a default with it, the others commented out.
func Example() []byte {
	var b bytes.Buffer
	b.WriteString(exampleHead)
	defaults := Default()
	var at []string // the sections that are open
	for i := range keys {
		k := &keys[i]
		parts := strings.Split(k.name, ".")
		sections, name := parts[:len(parts)-1], parts[len(parts)-1]
		for depth, section := range sections {
			if depth >= len(at) || at[depth] != section {
				fmt.Fprintf(&b, "\n%s%s:\n", strings.Repeat("  ", depth), section)
				at = slices.Clone(sections[:depth+1])
			}
		}
		indent := strings.Repeat("  ", len(sections))
		if len(sections) == 0 || !bytes.HasSuffix(b.Bytes(), []byte(":\n")) {
			b.WriteByte('\n')
		}
		for _, line := range wrap(k.help, exampleWidth-len(indent)-2) {
			fmt.Fprintf(&b, "%s# %s\n", indent, line)
		}
		if k.example != "" {
			fmt.Fprintf(&b, "%s#%s: %s\n", indent, name, k.example)
		} else {
			fmt.Fprintf(&b, "%s%s: %s\n", indent, name, write(k.value(&defaults)))
		}
	}
	return b.Bytes()
}

// Table returns the keys with their variables, flags, defaults and meaning, as a table in Markdown.
func Table() string {
	var b strings.Builder
	b.WriteString("| key | flag | variable | default | meaning |\n|---|---|---|---|---|\n")
	defaults := Default()
	for i := range keys {
		k := &keys[i]
		flag := "`--" + k.flagName() + "`"
		if k.short != "" {
			flag = "`-" + k.short + "`, " + flag
		}
		initial := "–"
		if k.example == "" {
			initial = "`" + write(k.value(&defaults)) + "`"
		}
		help := k.help
		if k.reload {
			help += " **(R)**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s |\n", k.name, flag, k.variable(), initial, strings.ReplaceAll(help, "|", "\\|"))
	}
	return b.String()
}

// wrap breaks text into lines of at most width characters, where words allow.
func wrap(text string, width int) []string {
	var lines []string
	for word := range strings.FieldsSeq(text) {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+1+len(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}
