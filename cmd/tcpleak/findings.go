package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tcpleak/diagnosis"
)

func findingsCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "findings [KIND]",
		Short: "List the kinds of findings, or explain one: what it means, what causes it, what to do",
		Long: `Lists the kinds of findings: how severe they are, their default thresholds, and
when they are raised. Given a KIND, explains it: which end is at fault, what it
means, what usually causes it, and what to do.

In commands, PORT stands for the server's port and ADDRESS for the other host.`,
		Example:               "  tcpleak findings\n  tcpleak findings stuck_close_wait",
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var all []cobra.Completion
			for _, about := range diagnosis.Kinds() {
				if len(args) == 0 && strings.HasPrefix(string(about.Kind), begun) {
					all = append(all, cobra.CompletionWithDesc(string(about.Kind), about.Condition()))
				}
			}
			return all, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			width := helpWidth(stdout)
			text := listKinds(width)
			switch len(args) {
			case 0:
			case 1:
				about, err := kindNamed(args[0])
				if err != nil {
					return err
				}
				text = explainKind(&about, width)
			default:
				return fmt.Errorf("findings explains one kind at a time: tcpleak findings %s", args[0])
			}
			_, err := io.WriteString(stdout, text)
			return err
		},
	}
}

// kindNamed takes a name as people may write it, and says which they may mean if there is none such.
func kindNamed(name string) (diagnosis.About, error) {
	kind := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	if about, ok := diagnosis.Explain(diagnosis.Kind(kind)); ok {
		return about, nil
	}
	const all = "tcpleak findings lists all"
	if near := nearKinds(kind); len(near) > 0 {
		return diagnosis.About{}, fmt.Errorf("there is no finding of kind %q; did you mean %s? %s", name, orList(near), all)
	}
	return diagnosis.About{}, fmt.Errorf("there is no finding of kind %q; %s", name, all)
}

// orList is "a", "a or b", "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// nearKinds returns the kinds that look like name, or have it as a part. It lets cobra compare, as for mistyped commands.
func nearKinds(name string) []string {
	const part, edits = 3, 2 // characters: of a part that tells something, and that may be wrong
	if len(name) < part {
		return nil
	}
	plain := func(s string) string { return strings.ReplaceAll(s, "_", "") }
	kinds := &cobra.Command{SuggestionsMinimumDistance: edits}
	for _, about := range diagnosis.Kinds() {
		kind := &cobra.Command{Use: string(about.Kind), Run: func(*cobra.Command, []string) {}}
		if strings.Contains(plain(kind.Use), plain(name)) {
			kind.SuggestFor = []string{name}
		}
		kinds.AddCommand(kind)
	}
	var near []string
	for _, kind := range kinds.SuggestionsFor(name) {
		if len(near) == 0 || near[len(near)-1] != kind { // it may be near for two reasons
			near = append(near, kind)
		}
	}
	return near
}

// listKinds is a table of all kinds. Its last column takes what the others leave of the width.
func listKinds(width int) string {
	const gutter = 2
	rows := [][]string{{"KIND", "SEVERITY", "DEFAULT", "RAISED WHEN"}}
	for _, about := range diagnosis.Kinds() {
		rows = append(rows, []string{string(about.Kind), about.Severities(), about.Threshold(), about.Condition()})
	}
	const severity, last = 1, 3
	room := width
	for column := range last {
		widest := 0
		for _, row := range rows {
			if column == severity {
				row[column] = strings.ReplaceAll(row[column], ", ", ",\n") // one below the other
			}
			for line := range strings.Lines(row[column]) {
				widest = max(widest, utf8.RuneCountInString(strings.TrimSpace(line)))
			}
		}
		room -= widest + gutter
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, gutter, ' ', 0)
	for _, row := range rows {
		var cells [last + 1][]string
		height := 0
		for column, text := range row {
			cells[column] = strings.Split(text, "\n")
			if column == last {
				cells[column] = wrapped(text, room)
			}
			height = max(height, len(cells[column]))
		}
		for i := range height {
			var line [last + 1]string
			for column, lines := range cells {
				if i < len(lines) {
					line[column] = lines[i]
				}
			}
			fmt.Fprintln(t, strings.Join(line[:], "\t"))
		}
	}
	t.Flush() // a Builder takes every write
	b.WriteByte('\n')
	for _, line := range wrapped("tcpleak findings KIND explains one. --threshold KIND=DURATION or KIND=COUNT changes a threshold; "+
		"--only KIND and --ignore KIND choose what is reported.", width) {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// explainKind tells all there is to know about a kind.
func explainKind(about *diagnosis.About, width int) string {
	var b strings.Builder
	paragraph := func(first, indent, text string) {
		for _, line := range wrapped(text, width-len(indent)) {
			b.WriteString(first + line + "\n")
			first = indent
		}
	}
	field := func(name, text string) { paragraph(fmt.Sprintf("  %-13s", name+":"), strings.Repeat(" ", 15), text) }

	b.WriteString(string(about.Kind) + "\n")
	field("Raised when", about.Condition()+".")
	field("At fault", about.AtFault+".")
	severity := about.Severity.String() + "."
	if about.Worst > about.Severity {
		severity = fmt.Sprintf("%s; %s at worst.", about.Severity, about.Worst)
	}
	field("Severity", severity)
	threshold := "none."
	if takes := about.Takes(); takes != "" {
		threshold = fmt.Sprintf("%s; to change it: --threshold %s=%s.", about.Threshold(), about.Kind, takes)
	}
	field("Threshold", threshold)

	b.WriteString("\nWhat it means\n")
	paragraph("  ", "  ", about.Meaning)
	b.WriteString("\nWhat usually causes it\n")
	for _, cause := range about.Causes {
		paragraph("  - ", "    ", cause)
	}
	b.WriteString("\nWhat to do\n")
	for i, advice := range about.Advice {
		text, command := diagnosis.Step(advice)
		paragraph(fmt.Sprintf("  %d. ", i+1), "     ", text)
		if command != "" {
			// In one line, whatever the width: a command is there to be copied.
			b.WriteString("     " + command + "\n")
		}
	}
	return b.String()
}

// wrapped breaks text at spaces into lines of at most width columns, where its words allow it.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
