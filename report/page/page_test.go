package page_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/report/page"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// What is promised of the first screen: which server leaks, since when, how fast, and what to do.
func TestTheDemo(t *testing.T) {
	root := parse(t, write(t, load(t, "demo.pcap")))
	header := all(root, named(atom.Header))[0]
	wants(t, header, "demo.pcap", "3m20s from 2026-11-22 13:20:59 UTC", "1,214 packets", "87 connections", "Silence in this capture is silence")
	worst := all(root, named(atom.Article))[0]
	wants(t, worst, "critical leak The server 10.77.0.2:8080 leaks connections: 16 are left in CLOSE_WAIT", "At fault server 10.77.0.2:8080",
		"Since 13:21:05 UTC the oldest for 3m14s", "Growth 5.0 more a minute", "Runs out in 3h23m at 1,024 descriptors", "Certainty confirmed",
		"What to do On 10.77.0.2, see which process holds them, and watch the number: ss -tnp state close-wait '( sport = :8080 )'",
		"packet 56 13:21:05.520632 client FIN,ACK", "Connections 4 , 10 ,", "Connection 4, step by step", "teardown 3/4 is missing",
		"tcpleak explain -r demo.pcap 4", "What this kind of finding means")
	wants(t, byID(t, root, "f2"), "stuck_close_wait", "Connection 4, step by step , stands with an earlier finding")
	wants(t, byID(t, root, "over-time"), "CLOSE_WAIT 16", "FIN_WAIT_2 16", "TIME_WAIT 13")
	if rows := all(byID(t, root, "connections-table"), named(atom.Tr)); len(rows) != 1+22 {
		t.Errorf("%d rows, want a header and 22", len(rows))
	}
	wants(t, byID(t, root, "c4"), "4 10.77.0.1:40003 10.77.0.2:8080 FIN_WAIT_2 ? CLOSE_WAIT 3m13s 4 / 3 68 / 0 stuck_close_wait")
	wants(t, byID(t, root, "c79"), "13s 4 / 3 68 / 0 leak")
}

// captures are all kinds of findings.
func captures(t *testing.T) []string {
	files, err := filepath.Glob("../../testdata/findings/*.pcap*")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d captures in testdata/findings: %v", len(files), err)
	}
	names := []string{"demo.pcap"}
	for _, file := range files {
		names = append(names, "findings/"+filepath.Base(file))
	}
	return names
}

func TestEveryPageIsSound(t *testing.T) {
	for _, file := range captures(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			p := load(t, file)
			text := write(t, p)
			sound(t, text)
			if strings.ContainsRune(text, '\uFFFD') {
				t.Error("something hidden stood in what the program itself has written")
			}
			root := parse(t, text)
			for _, f := range p.Report.Findings {
				article := byID(t, root, "f"+strconv.Itoa(f.ID))
				wants(t, article, string(f.Kind), f.Severity.String(), f.Certainty.String())
				if len(f.Connections) > 0 {
					wants(t, article, ", step by step")
				}
			}
		})
	}
}

// sound checks what holds of every page.
func sound(t *testing.T, text string) {
	t.Helper()
	nested(t, text)
	root := parse(t, text)
	selfContained(t, root)
	policed(t, text, root)
	linked(t, root)
	accessible(t, root)
}

// void elements have no end.
var void = []string{"meta", "input", "br", "link", "img"}

// nested checks that every element is closed where it should be: parsers repair what is not, each in its way.
func nested(t *testing.T, text string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(text))
	var open []string
	for {
		switch z.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("not closed: %q", open)
			}
			return
		case html.StartTagToken:
			if name, _ := z.TagName(); !slices.Contains(void, string(name)) {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				t.Fatalf("</%s> within %q", name, open)
			}
			open = open[:len(open)-1]
		}
	}
}

// selfContained checks that nothing is fetched, and that nothing runs but the script of the page.
func selfContained(t *testing.T, root *html.Node) {
	t.Helper()
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "link", "img", "iframe", "object", "embed", "base", "image", "use", "audio", "video", "foreignobject", "animate", "set":
			t.Errorf("<%s>", n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "src", a.Key == "srcset", a.Key == "action", a.Key == "style", strings.HasPrefix(a.Key, "on"),
				a.Key == "href" && !strings.HasPrefix(a.Val, "#"),
				strings.Contains(a.Val, "url("), strings.Contains(a.Val, "://"):
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	for _, style := range all(root, named(atom.Style)) {
		if text := text(style); strings.Contains(text, "url(") || strings.Contains(text, "@import") || strings.Contains(text, "http") {
			t.Error("the style refers to something")
		}
	}
}

// policed checks that the policy lets the page's own style and script pass, and nothing else.
func policed(t *testing.T, text string, root *html.Node) {
	t.Helper()
	hash := func(tag string) string {
		_, inside, _ := strings.Cut(text, "<"+tag+">")
		inside, _, _ = strings.Cut(inside, "</"+tag+">")
		sum := sha256.Sum256([]byte(inside))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	for _, tag := range []atom.Atom{atom.Style, atom.Script} {
		if n := len(all(root, named(tag))); n != 1 {
			t.Errorf("%d elements <%v>, want one", n, tag)
		}
	}
	policy := ""
	for _, meta := range all(root, named(atom.Meta)) {
		if attribute(meta, "http-equiv") == "Content-Security-Policy" {
			policy += attribute(meta, "content")
		}
	}
	want := "default-src 'none'; style-src " + hash("style") + "; script-src " + hash("script") + "; base-uri 'none'; form-action 'none'"
	if policy != want {
		t.Errorf("policy %q, want %q", policy, want)
	}
}

// linked checks that IDs are unique and that what refers to one finds it.
func linked(t *testing.T, root *html.Node) {
	t.Helper()
	ids := make(map[string]int)
	for _, n := range all(root, func(*html.Node) bool { return true }) {
		if id := attribute(n, "id"); id != "" {
			ids[id]++
		}
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%d elements with id %q", n, id)
		}
	}
	for _, n := range all(root, func(*html.Node) bool { return true }) {
		for _, key := range []string{"aria-labelledby", "aria-describedby", "for"} {
			for id := range strings.FieldsSeq(attribute(n, key)) {
				if ids[id] == 0 {
					t.Errorf("<%s %s=%q>: no such element", n.Data, key, id)
				}
			}
		}
		if href := attribute(n, "href"); href != "" && ids[strings.TrimPrefix(href, "#")] == 0 {
			t.Errorf("a link to %s, which is not there", href)
		}
	}
}

// accessible checks what those need who do not see the page, or have no pointer.
func accessible(t *testing.T, root *html.Node) {
	t.Helper()
	count := func(a atom.Atom) int { return len(all(root, named(a))) }
	if attribute(all(root, named(atom.Html))[0], "lang") != "en" {
		t.Error("no language")
	}
	for _, landmark := range []atom.Atom{atom.Header, atom.Nav, atom.Main, atom.Footer, atom.H1} {
		if n := count(landmark); n != 1 {
			t.Errorf("%d elements <%v>, want one", n, landmark)
		}
	}
	first := all(all(root, named(atom.Body))[0], func(*html.Node) bool { return true })[0]
	if first.DataAtom != atom.A || attribute(first, "href") != "#main" {
		t.Error("the first element does not lead past the navigation")
	}
	level := 0
	for _, n := range all(root, func(n *html.Node) bool {
		return len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6'
	}) {
		if l := int(n.Data[1] - '0'); l > level+1 {
			t.Errorf("<h%d> %q below <h%d>", l, text(n), level)
			level = l
		} else {
			level = l
		}
	}
	for _, table := range all(root, named(atom.Table)) {
		if len(all(table, named(atom.Caption))) == 0 && attribute(table.Parent, "aria-label") == "" {
			t.Errorf("a table without a name: %.60q", text(table))
		}
		for _, th := range all(table, named(atom.Th)) {
			if attribute(th, "scope") == "" {
				t.Errorf("a header of nothing: %q", text(th))
			}
		}
	}
	for _, svg := range all(root, named(atom.Svg)) {
		inside := all(svg, func(n *html.Node) bool { return n.Data == "title" || n.Data == "desc" })
		if attribute(svg, "role") != "img" || len(inside) != 2 || text(inside[0]) == "" || text(inside[1]) == "" || attribute(svg, "aria-labelledby") == "" {
			t.Errorf("a picture without a title and a description: %.60q", text(svg))
		}
	}
	for _, n := range all(root, func(n *html.Node) bool { return n.DataAtom == atom.Input || n.DataAtom == atom.Select }) {
		if n.Parent.DataAtom != atom.Label {
			t.Errorf("<%s> without a label", n.Data)
		}
	}
	for _, n := range all(root, func(n *html.Node) bool { return attribute(n, "role") == "region" }) {
		if attribute(n, "tabindex") != "0" || attribute(n, "aria-labelledby")+attribute(n, "aria-label") == "" {
			t.Error("a region that scrolls, and not by keyboard")
		}
	}
	for _, n := range all(root, named(atom.Form)) {
		if !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "hidden" }) {
			t.Error("a form that does nothing without a script, and is there without")
		}
	}
}

const (
	hostile = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>\" ' ` {{.}} ]]> --> \u202egpj.exe \x00\x1b[31m\u200b\xff\r\n&lt;"
	cleaned = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>\" ' ` {{.}} ]]> --> \uFFFDgpj.exe"
)

func TestWhatIsHostileIsText(t *testing.T) {
	c := stuck(1)
	p := page.Page{Report: repeated(3, c, 1)}
	r := &p.Report
	f := stuckFinding(1, 3)
	f.Kind, f.Summary, f.Cause, f.Next, f.Command = hostile, hostile+". "+hostile, hostile, hostile, hostile
	f.Evidence[0].Meaning = hostile
	r.Findings = []diagnosis.Finding{f}
	r.Capture.Filter, r.Capture.Later = hostile, []string{hostile}
	r.Capture.Skipped = []report.Count{{Reason: hostile, N: 2}}
	r.Capture.Sources = []report.Source{{Name: hostile, Format: hostile, LinkTypes: []string{hostile}, Truncated: true, Detail: hostile}}
	p.Ladders = []ladder.Ladder{{
		Connection: c, Now: after(time.Minute), Steps: []ladder.Step{{Time: after(0), Last: after(0), Packet: 1, Phase: hostile, Note: hostile}},
		Missing: ladder.Missing{Phase: hostile, Text: hostile, Since: after(0)},
	}}
	got := write(t, p)
	sound(t, got)
	root := parse(t, got)
	wants(t, all(root, named(atom.H1))[0], cleaned)
	for _, id := range []string{"f1", "capture", "c1"} {
		wants(t, byID(t, root, id), cleaned)
	}
	wants(t, all(root, named(atom.Svg))[0], "alert(1)", "\uFFFDgpj.exe")
	for line := range strings.Lines(got) {
		if line = strings.TrimSuffix(line, "\n"); report.Clean(line) != line {
			t.Errorf("something hidden in %q", line)
		}
	}
	for _, code := range all(byID(t, root, "f1"), named(atom.Code)) {
		if strings.Contains(text(code), "tcpleak explain") {
			t.Errorf("a command with a name that cannot be shown: %q", text(code))
		}
	}
}

// A page stays small, and says what it leaves out. It also takes no memory for each connection.
func TestAMillionConnections(t *testing.T) {
	t.Parallel()
	const n = 1_000_000
	c := stuck(1)
	p := page.Page{Report: repeated(n, c, 1, 2, 3)}
	r := &p.Report
	about := stuckFinding(1, n)
	kinds := diagnosis.Kinds()
	steps := make([]ladder.Step, 200)
	for i := range steps {
		steps[i] = ladder.Step{
			Time: after(time.Duration(i) * 2 * time.Second), Last: after(time.Duration(i) * 2 * time.Second), Packet: uint64(100_000_000 + i), Flags: tcp.SYN | tcp.PSH | tcp.ACK,
			Payload: [2]uint64{65_000, 0}, Segments: [2]uint64{3, 0}, Phase: "teardown 2/4 and 3/4", Trouble: true,
			Note:   "acknowledges what the capture does not hold: the capture missed packets of the server; again: the ACK has passed here, and has not reached it or was not taken",
			States: [2]tcp.State{tcp.State(2 + i%9), tcp.State(2 + i%9)}, Changed: [2]bool{true, true},
		}
	}
	for i := range 10_000 {
		f := about
		f.ID, f.Kind, f.Example = i+1, kinds[i%len(kinds)].Kind, uint64(n-i)
		f.Growth = &diagnosis.Growth{PerMinute: 1e6, From: 0, To: n, Over: time.Hour, Limits: []diagnosis.Limit{{Descriptors: 1024, In: time.Hour}}}
		f.Evidence = slices.Repeat(f.Evidence, 20)
		f.Cause = strings.Repeat("The application on the server does not read. ", 12)
		r.Findings = append(r.Findings, f)
	}
	for _, id := range page.Wanted(r) {
		own := c
		own.ID = id
		p.Ladders = append(p.Ladders, ladder.Ladder{Connection: own, Now: r.Capture.Last, Steps: steps, Missing: ladder.Missing{Phase: "teardown 3/4", Since: start, Text: "Waiting."}})
	}
	r.Capture.Filter = strings.Repeat("port 1 or ", 10_000)
	for i := range 10_000 {
		r.Capture.Sources = append(r.Capture.Sources, report.Source{Name: strings.Repeat("long/", 1000) + strconv.Itoa(i), Format: "pcap", Truncated: true})
		r.Capture.Later = append(r.Capture.Later, about.Summary)
	}
	begin := time.Now()
	got := write(t, p)
	t.Logf("%d bytes in %v", len(got), time.Since(begin))
	if len(got) >= 2_000_000 {
		t.Errorf("%d bytes", len(got))
	}
	sound(t, got)
	root := parse(t, got)
	wants(t, byID(t, root, "findings"), "Left out: 9,960 findings after the worst 40", "and 999,976 others", "more steps", "The first 10,000 of 1,000,000 connections", "… 12 more packets")
	wants(t, byID(t, root, "connections"), "1,000,000 of 1,000,000 connections did not end cleanly", "Left out: 999,000 more connections; the page lists 1,000")
	wants(t, byID(t, root, "over-time"), "CLOSE_WAIT 1,000,000", "FIN_WAIT_2 1,000,000")
	wants(t, byID(t, root, "capture"), "… and 9,977 more files")
	byID(t, root, "c1000000") // the example of the worst, far behind those that come first
	if articles := all(root, named(atom.Article)); len(articles) != 40 {
		t.Errorf("%d findings", len(articles))
	}
}

// Of more connections than there is room for, those of the worst findings are listed.
func TestTheWorstAreListed(t *testing.T) {
	r := repeated(6000, stuck(1))
	for id, severity := range []diagnosis.Severity{diagnosis.Critical, diagnosis.Warning, diagnosis.Info} {
		f := stuckFinding(id+1, 1)
		f.Severity, f.Example = severity, 1
		r.Findings = append(r.Findings, f)
	}
	rows := r.Rows
	r.Rows = func(from, to int) report.Rows {
		return func(yield func(*tracker.Connection, []int) bool) {
			for c := range rows(from, to) {
				findings := []int{3}
				switch {
				case c.ID > 5900:
					findings = []int{3, 1}
				case c.ID > 3000 && c.ID%2 == 0:
					findings = []int{2}
				case c.ID > 2000:
					findings = nil
				}
				if !yield(c, findings) {
					return
				}
			}
		}
	}
	listed := make(map[string]int)
	for i, row := range table(t, byID(t, parse(t, write(t, page.Page{Report: r})), "connections"), "ID") {
		id, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case id > 5900:
			listed["critical"]++
		case id > 3000 && id%2 == 0:
			listed["warning"]++
		case i == 0:
			listed["told"]++
		default:
			listed["other"]++
		}
	}
	if diff := cmp.Diff(map[string]int{"critical": 100, "warning": 899, "told": 1}, listed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestItTakesNoMemoryForEachConnection(t *testing.T) {
	allocated := func(n int) uint64 {
		p := page.Page{Report: repeated(n, stuck(1))}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		write(t, p)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	allocated(20_000)
	few, many := allocated(20_000), allocated(400_000)
	if many > few+few/4+1<<20 {
		t.Errorf("%d bytes for 400,000 connections, %d for 20,000", many, few)
	}
}

func TestWithoutFindings(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *report.Report)
		want   []string
	}{
		{"no packets", func(r *report.Report) { *r = report.Report{} }, []string{"Empty capture There is nothing to judge.", "No packets."}},
		{"no TCP", func(r *report.Report) {
			*r = report.Report{Capture: report.Capture{Packets: 3, First: start, Last: start}}
		},
			[]string{"Empty capture", "No TCP segments in 3 packets."}},
		{"one packet", func(r *report.Report) { *r = repeated(1, stuck(1)); r.Capture.Last = r.Capture.First },
			[]string{"No findings.", "1 of 1 connection did not end cleanly"}},
		{"one direction", func(r *report.Report) { r.Quality.OneSided = 2 },
			[]string{"Incomplete capture", "No findings. No connection fails to open or to close for longer than the thresholds. Those captured in one direction only were not judged."}},
		{"all closed", func(r *report.Report) {
			c := stuck(1)
			c.EndedBy = tracker.EndedByFIN
			*r = repeated(2, c)
		}, []string{"All 2 connections ended cleanly"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := repeated(2, stuck(1))
			c.change(&r)
			if r.Rows == nil {
				r.Rows = repeated(0, stuck(1)).Rows
			}
			got := write(t, page.Page{Report: r})
			sound(t, got)
			wants(t, parse(t, got), c.want...)
		})
	}
}

// The zone is that of all times, and the day stands where there are several.
func TestTimes(t *testing.T) {
	r := repeated(2, stuck(1), 1)
	r.Findings = []diagnosis.Finding{stuckFinding(1, 2)}
	zone := time.FixedZone("NPT", 5*3600+45*60)
	root := parse(t, write(t, page.Page{Report: r, Zone: zone}))
	wants(t, root, "from 2026-03-01 08:49:05 NPT", "Since 08:49:07 NPT", "packet 6 08:49:07.000000")
	r.Capture.Last = after(20 * time.Hour)
	root = parse(t, write(t, page.Page{Report: r, Zone: zone}))
	wants(t, root, "Since 2026-03-01 08:49:07 NPT")
	if at := attribute(all(byID(t, root, "f1"), named(atom.Time))[0], "datetime"); at != "2026-03-01T03:04:07.040000000Z" {
		t.Errorf("for programs it is %s", at)
	}
}

func TestWanted(t *testing.T) {
	r := repeated(3, stuck(1), 1)
	if got := page.Wanted(&r); len(got) != 0 {
		t.Errorf("%d without findings", got)
	}
	about := func(example uint64, connections ...uint64) diagnosis.Finding {
		return diagnosis.Finding{ID: len(r.Findings) + 1, Example: example, Connections: connections}
	}
	r.Findings = append(r.Findings, about(7, 5, 7), about(0, 3, 4), about(0), about(7, 7))
	if got := page.Wanted(&r); !slices.Equal(got, []uint64{7, 3}) {
		t.Errorf("%d, want 7 and 3", got)
	}
	for i := range uint64(100) {
		r.Findings = append(r.Findings, about(100+i))
	}
	if got := page.Wanted(&r); len(got) != 38 || got[37] != 135 {
		t.Errorf("%d: of the 40 findings that are shown, two more have no connection of their own", got)
	}
}

// Commands can be pasted as they stand, or are not there.
func TestCommands(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(c *report.Capture)
		want   string // "" for none
	}{
		{"a file", func(*report.Capture) {}, "tcpleak explain -r x.pcap 1"},
		{"a filter", func(c *report.Capture) { c.Filter = "tcp and port 80" }, "tcpleak explain -r x.pcap 1 'tcp and port 80'"},
		{"spaces", func(c *report.Capture) { c.Sources[0].Name = "my dump.pcap" }, "tcpleak explain -r 'my dump.pcap' 1"},
		{"quotes", func(c *report.Capture) { c.Sources[0].Name = "it's $(rm) `x`" }, `tcpleak explain -r 'it'\''s $(rm) ` + "`x`' 1"},
		{"two files", func(c *report.Capture) { c.Sources = append(c.Sources, report.Source{Name: "y*.pcap"}) }, "tcpleak explain -r x.pcap -r 'y*.pcap' 1"},
		{"a pipe", func(c *report.Capture) { c.Sources[0].Name = "-" }, ""},
		{"an interface", func(c *report.Capture) { c.Live = true }, ""},
		{"hidden characters", func(c *report.Capture) { c.Sources[0].Name = "x\u202epacp.pcap" }, ""},
		{"many files", func(c *report.Capture) { c.Sources = slices.Repeat(c.Sources, 5) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := repeated(2, stuck(1), 1)
			r.Findings = []diagnosis.Finding{stuckFinding(1, 2)}
			c.change(&r.Capture)
			got := ""
			for _, code := range all(byID(t, parse(t, write(t, page.Page{Report: r})), "l1"), named(atom.Code)) {
				got += text(code)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Findings that are told for completeness are there, and not in the way: unless there are no others.
func TestInfo(t *testing.T) {
	r := repeated(4, stuck(1), 1, 2)
	for id := 1; id <= 2; id++ {
		f := stuckFinding(id, 4)
		f.Severity = diagnosis.Info
		f.Example = uint64(id)
		r.Findings = append(r.Findings, f)
	}
	root := parse(t, write(t, page.Page{Report: r}))
	inside := func(id string) bool {
		for n := range all(byID(t, root, id), named(atom.Svg))[0].Ancestors() {
			if n.DataAtom == atom.Details {
				return true
			}
		}
		return false
	}
	if inside("f1") || !inside("f2") {
		t.Errorf("the ladder of the first is hidden: %t; that of the second: %t", inside("f1"), inside("f2"))
	}
	wants(t, byID(t, root, "f2"), "What this kind of finding means is told with an earlier finding")
}

// What the kernel says has a section of its own, whose findings have places of their own.
func TestFromTheKernel(t *testing.T) {
	r := repeated(4, stuck(1), 1)
	f := stuckFinding(1, 4)
	f.Holders = []diagnosis.Holder{{PID: 4242, FD: 87, Name: "java", Command: "java -jar shop.jar"}, {PID: 4243, FD: 9, Name: hostile, Container: "pod <x>"}}
	r.Findings, r.FromKernel = []diagnosis.Finding{f}, slices.Repeat([]diagnosis.Finding{f}, 30)
	got := write(t, page.Page{Report: r})
	sound(t, got)
	root := parse(t, got)
	wants(t, byID(t, root, "f1"), "Who has them open pid 4242 java, fd 87 pid 4243 </style>", "fd 9 in pod <x> and 2 more")
	wants(t, byID(t, root, "k1"), "stuck_close_wait", "Connection 1, step by step , stands with an earlier finding")
	wants(t, byID(t, root, "kernel"), "not from packets", "Left out: 10 more findings.")
	if n := len(all(byID(t, root, "kernel"), func(n *html.Node) bool { return attribute(n, "class") == "ladder" })); n > 0 {
		t.Errorf("%d ladders with findings that do not rest on packets", n)
	}
}

// contrast is that of two colours, "#rrggbb", as WCAG 2.2 defines it: 1 to 21.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	luminance := func(colour string) (l float64) {
		n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
		if err != nil || len(colour) != 7 {
			t.Fatalf("%q is not a colour", colour)
		}
		for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
			c := float64(byte(n>>(8*i))) / 255
			if c <= 0.04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			l += weight * c
		}
		return l
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestColoursCanBeTold(t *testing.T) {
	css, err := os.ReadFile("page.css")
	if err != nil {
		t.Fatal(err)
	}
	roots := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(css), -1)
	if len(roots) < 2 {
		t.Fatal("want the colours of light and dark")
	}
	colours := make(map[string]string)
	for i, scheme := range []string{"light", "dark"} {
		for _, variable := range regexp.MustCompile(`(--[a-z0-9-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(roots[i][1], -1) {
			colours[variable[1]] = variable[2]
		}
		check := func(ink, paper string, least float64) {
			if got := contrast(t, colours[ink], colours[paper]); got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, ink, paper, got, least)
			}
		}
		for _, paper := range []string{"--paper", "--surface", "--tint"} {
			for _, ink := range []string{"--ink", "--soft", "--accent", "--critical", "--warning", "--info"} {
				check(ink, paper, 4.5)
			}
		}
		check("--good", "--paper", 4.5)
		check("--on-strong", "--critical", 4.5)
		for state := range tcp.NumStates {
			name := fmt.Sprintf("--s%d", state)
			check("--on-strong", name, 4.5) // what is written in its box
			check(name, "--paper", 3)       // the line, the area
		}
	}
}

// The page's own files are free of what Write replaces.
func TestTheTemplateHidesNothing(t *testing.T) {
	for _, name := range []string{"page.html.tmpl", "page.css", "page.js"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSuffix(line, "\n"); report.Clean(line) != line {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

func TestAWriterThatFails(t *testing.T) {
	if err := page.Write(failing{}, page.Page{Report: repeated(1, stuck(1))}); !errors.Is(err, os.ErrClosed) {
		t.Error("its error is lost")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

// A capture goes on while its page is written.
func TestADraftNeedsTheConnectionsNoMore(t *testing.T) {
	p := load(t, "demo.pcap")
	var want, got bytes.Buffer
	if err := page.Write(&want, p); err != nil {
		t.Fatal(err)
	}
	rows, gone := p.Report.Rows, false
	p.Report.Rows = func(from, to int) iter.Seq2[*tracker.Connection, []int] {
		if gone {
			t.Error("it asks for connections")
		}
		return rows(from, to)
	}
	draft := page.Look(p)
	gone = true
	if err := draft.Write(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("(-at once +drafted):\n%s", diff)
	}
}
