package diagnosis

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/olekukonko/tablewriter/pkg/twwarp"
)

var update = flag.Bool("update", false, "write docs/findings.md instead of comparing with it")

// constants are the kinds that kinds.go declares, in its order.
func constants(t *testing.T) []Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
			for _, value := range spec.Values {
				text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, Kind(text))
			}
		}
		return false
	})
	return all
}

func TestEachKindIsDescribedOnceAndInOrder(t *testing.T) {
	var described []Kind
	for _, about := range Kinds() {
		described = append(described, about.Kind)
	}
	if diff := cmp.Diff(constants(t), described); diff != "" {
		t.Errorf("kinds are not the constants (-constants +kinds):\n%s", diff)
	}
	for _, kind := range described {
		if about, ok := Explain(kind); !ok || about.Kind != kind {
			t.Errorf("Explain(%s) is about %q, %v", kind, about.Kind, ok)
		}
	}
	if about, ok := Explain("no_such_kind"); ok {
		t.Errorf("Explain explains %+v", about)
	}
}

func TestProse(t *testing.T) {
	for _, about := range Kinds() {
		t.Run(string(about.Kind), func(t *testing.T) {
			if about.Worst < about.Severity {
				t.Errorf("%v is worse than the worst, %v", about.Severity, about.Worst)
			}
			for name, clause := range map[string]string{"Raised": about.Raised, "AtFault": about.AtFault} {
				if clause == "" || strings.HasSuffix(clause, ".") {
					t.Errorf("%s is no clause: %q", name, clause)
				}
				wellSet(t, clause)
			}
			for _, sentences := range slices.Concat([]string{about.Meaning}, about.Causes, about.Advice) {
				if !strings.HasSuffix(sentences, ".") || sentences[:1] != strings.ToUpper(sentences[:1]) {
					t.Errorf("no sentences: %q", sentences)
				}
				wellSet(t, sentences)
			}
			between := func(name string, n, least, most int) {
				if n < least || n > most {
					t.Errorf("%s has %d, want %d to %d", name, n, least, most)
				}
			}
			between("Meaning, in sentences,", strings.Count(about.Meaning, ". ")+1, 2, 4)
			between("Causes", len(about.Causes), 2, 4)
			between("Advice", len(about.Advice), 2, 4)
			commands := 0
			for _, advice := range about.Advice {
				text, command := Step(advice)
				if strings.Contains(text+command, "`") {
					t.Errorf("a command is not the last thing in %q", advice)
				}
				if command == "" {
					continue
				}
				commands++
				if !strings.HasSuffix(text, ":") {
					t.Errorf("nothing leads to the command in %q", advice)
				}
				if strings.Count(command, "'")%2 != 0 || strings.Count(command, "(") != strings.Count(command, ")") {
					t.Errorf("no command: %s", command)
				}
			}
			between("Advice, in commands,", commands, 1, 4)
		})
	}
}

// wellSet checks what any text must be to be shown in one piece, in a terminal, in Markdown and in JSON.
func wellSet(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\t\n\r\x1b") || strings.Contains(text, "  ") || strings.TrimSpace(text) != text {
		t.Errorf("odd space in %q", text)
	}
	if prose, _ := Step(text); strings.ContainsAny(prose, "*<>|[]") {
		t.Errorf("Markdown would take a part of %q for markup", text)
	}
}

func TestStep(t *testing.T) {
	for _, c := range []struct{ advice, text, command string }{
		{"Look: `ss -t`.", "Look:", "ss -t"},
		{"Ask whoever runs it.", "Ask whoever runs it.", ""},
	} {
		if text, command := Step(c.advice); text != c.text || command != c.command {
			t.Errorf("Step(%q) = %q, %q; want %q, %q", c.advice, text, command, c.text, c.command)
		}
	}
}

func TestThresholdText(t *testing.T) {
	for _, c := range []struct {
		age       time.Duration
		count     int
		threshold string
		condition string
		takes     string
	}{
		{0, 0, "–", "it happens", ""},
		{60 * time.Second, 0, "60s", "it happens 60s", "DURATION"},
		{0, 100, "100", "it happens 100", "COUNT"},
		{60 * time.Second, 10, "60s, 10", "it happens 60s and by 10", "DURATION|COUNT"},
		{500 * time.Millisecond, 0, "500ms", "it happens 500ms", "DURATION"},
		{90*time.Second + 500*time.Millisecond, 0, "90.5s", "it happens 90.5s", "DURATION"},
		{2 * time.Minute, 0, "120s", "it happens 120s", "DURATION"},
		{150 * time.Second, 0, "2m30s", "it happens 2m30s", "DURATION"},
		{30 * time.Minute, 0, "30m", "it happens 30m", "DURATION"},
		{2 * time.Hour, 0, "2h", "it happens 2h", "DURATION"},
		{90 * time.Minute, 0, "1h30m", "it happens 1h30m", "DURATION"},
	} {
		about := About{Raised: "it happens", Age: c.age, Count: c.count}
		if got := about.Threshold(); got != c.threshold {
			t.Errorf("Threshold of %v, %d is %q, want %q", c.age, c.count, got, c.threshold)
		}
		if got := about.Condition(); got != c.condition {
			t.Errorf("Condition of %v, %d is %q, want %q", c.age, c.count, got, c.condition)
		}
		if got := about.Takes(); got != c.takes {
			t.Errorf("Takes of %v, %d is %q, want %q", c.age, c.count, got, c.takes)
		}
	}
}

func TestSeverities(t *testing.T) {
	for _, c := range []struct {
		severity, worst Severity
		want            string
	}{
		{Info, Info, "info"},
		{Info, Warning, "info, warning"},
		{Critical, Critical, "critical"},
	} {
		if got := (About{Severity: c.severity, Worst: c.worst}).Severities(); got != c.want {
			t.Errorf("Severities of %v, %v is %q, want %q", c.severity, c.worst, got, c.want)
		}
	}
}

// TestDocs keeps docs/findings.md as the kinds have it.
func TestDocs(t *testing.T) {
	const name = "../docs/findings.md"
	want := docs()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/findings.md is out of date; go test ./diagnosis -run TestDocs -update writes it (-file +kinds):\n%s", diff)
	}
}

const introduction = `# Findings

<!-- Written by go test ./diagnosis -run TestDocs -update, from diagnosis/kinds.go. -->

A finding says what is wrong, at which end, since when, why, and what to do next, and names the packets that show it.
` + "`tcpleak findings` lists the kinds, `tcpleak findings KIND` explains one as below." + `

**Groups.** A finding is about all connections that share its kind, the end at fault and the service: it is shown once, with
their number, their IDs, and the oldest as an example. Where many clients of a service share a fault that need not be
theirs, as with handshakes that are never completed, they share the finding.

**One broken connection, one finding.** It is about the cause. An end in CLOSE_WAIT explains the FIN_WAIT_2 of its peer, a full
accept queue the half-open handshakes of its port, a scan the refused connections that it is made of: none of these is
reported again. What concerns the path or is only odd, such as a slow handshake, stands beside it.

**Raised, updated, cleared.** A finding is raised when its condition has lasted for as long, or has occurred as often, as
its threshold says; never once per packet. With -i, it is updated when it gets worse or its connections have doubled, and
cleared when the condition ends; what happens in a moment, such as an abort, and what has ended by giving up is cleared a
minute after the last time. Times are those of the capture, up to its last packet. A file is judged at that packet: what
had gone well in the end is not reported, what had failed or happened in a moment is.

**Severity.** ` + "`critical`" + `: a service fails or is about to, for everybody. ` + "`warning`" + `: a connection has failed, or holds what it should
give back. ` + "`info`" + `: worth knowing, and often intended. Some kinds rise to a second severity, with their number.

**Certainty.** ` + "`confirmed`" + `: the packets prove it. ` + "`presumed`" + `: it rests on a segment that may not have arrived, or on a capture with
gaps. ` + "`assumed`" + `: the opening of the connection, or one end of it, was not captured. [inference.md](inference.md) has the
rules. What a capture of one direction cannot show is not reported.

**Flags.** ` + "`--threshold KIND=DURATION` or `KIND=COUNT`" + ` changes a threshold; the table says which of the two a kind has, and a
leak has both. ` + "`--only KIND` and `--ignore KIND`" + ` choose what is reported, and may be repeated: what an ignored finding
explains is not reported as something else. ` + "`--fail-on SEVERITY`" + ` makes the exit status 1 if a finding is that severe or worse.

`

const placeholders = `In the commands, PORT is the server's port, ADDRESS the other host, PID the process, INTERFACE a network interface, SERVICE
a systemd unit, NAME a host's name and FILE a capture; an IPv6 address before a port is put in brackets. Most need root to show processes of
others. They are those of Linux, and so are the defaults that the text names.
`

// docs is docs/findings.md.
func docs() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for paragraph := range strings.SplitSeq(strings.TrimSpace(introduction), "\n\n") {
		line("%s\n", fill(paragraph, ""))
	}
	line("| kind | severity | default | raised when |\n|---|---|---|---|")
	for _, about := range Kinds() {
		line("| [`%s`](#%[1]s) | %s | %s | %s |", about.Kind, about.Severities(), about.Threshold(), about.Condition())
	}
	line("\n%s", fill(placeholders, ""))
	for _, about := range Kinds() {
		line("\n## `%s`\n", about.Kind)
		threshold := ""
		if takes := about.Takes(); takes != "" {
			threshold = fmt.Sprintf(" Threshold: %s; `--threshold %s=%s` changes it.", about.Threshold(), about.Kind, takes)
		}
		line("%s\n", fill(fmt.Sprintf("Raised when %s. At fault: %s. Severity: %s.%s",
			about.Condition(), about.AtFault, about.Severities(), threshold), ""))
		line("%s\n", fill(about.Meaning, ""))
		line("What usually causes it:\n")
		for _, cause := range about.Causes {
			line("- %s", fill(cause, "  "))
		}
		line("\nWhat to do:\n")
		for i, advice := range about.Advice {
			line("%d. %s", i+1, fill(advice, "   "))
		}
	}
	return b.String()
}

// fill breaks text into lines of about 120 columns, all but the first with the indent, and none within a command.
func fill(text, indent string) string {
	const width = 120
	const together = "\ue000" // no space, so that no line is broken at it
	parts := strings.Split(text, "`")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = strings.ReplaceAll(parts[i], " ", together)
	}
	lines, _ := twwarp.WrapString(strings.Join(parts, "`"), width-len(indent))
	return strings.ReplaceAll(strings.Join(lines, "\n"+indent), together, " ")
}
