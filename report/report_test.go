package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

type writer func(io.Writer, report.Report) error

func table(opt report.TableOptions) writer {
	return func(w io.Writer, r report.Report) error { return report.Table(w, r, opt) }
}

func render(t *testing.T, write writer, r report.Report) string {
	t.Helper()
	var b strings.Builder
	if err := write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGoldenFiles(t *testing.T) {
	for name, write := range map[string]writer{
		"mixed.json":      report.JSON,
		"mixed.csv":       report.CSV,
		"mixed-80.table":  table(report.TableOptions{Width: 80}),
		"mixed-120.table": table(report.TableOptions{Width: 120}),
		"mixed-all.table": table(report.TableOptions{Width: 160, All: true, Color: true}),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, render(t, write, mixed())) })
	}
}

func TestEveryJSONLineIsAnObject(t *testing.T) {
	var types []string
	for line := range strings.Lines(render(t, report.JSON, mixed())) {
		var object struct{ Type string }
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Errorf("%v in %s", err, line)
		}
		if len(types) == 0 || types[len(types)-1] != object.Type {
			types = append(types, object.Type)
		}
	}
	if diff := cmp.Diff([]string{"capture", "connection", "finding", "summary"}, types); diff != "" {
		t.Errorf("order of the lines (-want +got):\n%s", diff)
	}
	if got := render(t, report.JSON, mixed()); strings.Contains(got, "null") || strings.Contains(got, "0001-01-01") {
		t.Errorf("an unknown value is not absent:\n%s", got)
	}
}

func TestNoLineIsWiderThanTheTable(t *testing.T) {
	for _, width := range []int{40, 60, 72, 80, 100, 132} {
		for line := range strings.Lines(render(t, table(report.TableOptions{Width: width, All: true}), mixed())) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %d: %d columns: %s", width, n, line)
			}
		}
	}
}

// TestHostileTextCannotReachTheTerminal puts text of another's making wherever there is text.
func TestHostileTextCannotReachTheTerminal(t *testing.T) {
	const hostile = "a\x1b[2Jb\x07\r\nc\u009b31md\u202ecod.exe\u2066e\xff\x00\u2028\U000e0041\"\\"
	r := mixed()
	r.Capture.Sources[0].Name, r.Capture.Sources[0].Detail = hostile, hostile
	r.Capture.Filter = hostile
	r.Capture.Skipped = []report.Count{{Reason: hostile, N: 1}}
	findings := r.Findings
	for i := range findings {
		f := &findings[i]
		f.Kind, f.Summary, f.Cause, f.Next, f.Command, f.ServiceName = hostile, hostile, hostile, hostile, hostile, hostile
		for j := range f.Evidence {
			f.Evidence[j].Meaning = hostile
		}
	}
	r.Findings = findings
	r.Name = func(tcp.Addr, uint16, tcp.Addr, uint16) string { return hostile }
	c := stuck(1, "10.77.0.1:1", "10.77.0.2:80")
	put(&r, []tracker.Connection{c}, map[uint64][]int{1: {1}})

	event := &diagnosis.Event{Time: after(0), Change: diagnosis.Raised, Finding: findings[0]}
	for name, write := range map[string]writer{
		"json":       report.JSON,
		"csv":        report.CSV,
		"table":      table(report.TableOptions{Width: 80, All: true}),
		"wide table": table(report.TableOptions{Width: 500, All: true}),
		"explain": func(w io.Writer, _ report.Report) error {
			e := explained("10.77.0.1:1", "10.77.0.2:80", 1, time.Second)
			e.Name = hostile
			return report.ExplainText(w, &e, report.TableOptions{Width: 120})
		},
		"event":      func(w io.Writer, _ report.Report) error { return report.EventText(w, event, time.UTC) },
		"event json": func(w io.Writer, _ report.Report) error { return report.EventJSON(w, event) },
	} {
		got := render(t, write, r)
		if !utf8.ValidString(got) {
			t.Errorf("%s: invalid UTF-8", name)
		}
		for _, char := range got {
			if char != '\n' && char < ' ' || char >= 0x7f && char < 0xa0 || strings.ContainsRune("\u202e\u2066\u2028\U000e0041", char) {
				t.Errorf("%s: %q gets through", name, char)
			}
		}
		if strings.Contains(name, "json") {
			for line := range strings.Lines(got) {
				if !json.Valid([]byte(line)) {
					t.Errorf("%s: invalid JSON: %s", name, line)
				}
			}
		}
	}
	var line struct{ Sources []struct{ Name string } }
	if err := json.Unmarshal([]byte(strings.SplitN(render(t, report.JSON, r), "\n", 2)[0]), &line); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ToValidUTF8(hostile, "\ufffd"), line.Sources[0].Name); diff != "" {
		t.Errorf("the name as JSON gives it back (-want +got):\n%s", diff)
	}
}

func TestTableWithNothingWrong(t *testing.T) {
	r := mixed()
	r.Capture = report.Capture{
		Sources: []report.Source{{Name: "x.pcap"}}, First: after(0), Last: after(301 * time.Second), Packets: 41, Segments: 41,
	}
	put(&r, []tracker.Connection{connection(1, "10.77.0.1:50030", "10.77.0.2:80")}, nil)
	r.Findings, r.Quality = nil, diagnosis.Quality{Connections: 1}
	golden(t, "clean.table", render(t, table(report.TableOptions{}), r))
}

func TestTableWithoutTCP(t *testing.T) {
	for name, c := range map[string]report.Capture{
		"no-tcp":     {Sources: []report.Source{{Name: "x.pcap"}}, Packets: 41, Skipped: []report.Count{{Reason: "not_tcp", N: 41}}},
		"no-packets": {Sources: []report.Source{{Name: "x.pcap"}}, Filter: "port 81"},
	} {
		golden(t, name+".table", render(t, table(report.TableOptions{Width: 80}), report.Report{Capture: c}))
	}
}

func TestTableOfManyConnectionsIsBounded(t *testing.T) {
	var connections []tracker.Connection
	findings := make(map[uint64][]int)
	for id := uint64(1); id <= 1000; id++ {
		connections = append(connections, stuck(id, fmt.Sprintf("10.77.0.1:%d", 10000+id), "10.77.0.2:80"))
	}
	findings[777] = []int{1}
	r := report.Report{
		Capture: report.Capture{Segments: 5, Packets: 5}, Findings: []diagnosis.Finding{stuckFinding(1, 777)},
	}
	put(&r, connections, findings)
	got := render(t, table(report.TableOptions{}), r)
	if n := strings.Count(got, "10.77.0.2:80  FIN_WAIT_2?"); n != 200 {
		t.Errorf("%d connections listed, want 200", n)
	}
	if !strings.Contains(got, "… and 800 more (--all or --format json shows them)") {
		t.Errorf("does not say how many are left out:\n%s", got)
	}
	if first := strings.Index(got, "\n777 "); first < 0 || first > strings.Index(got, "\n1 ") {
		t.Error("the connection with a finding is not first")
	}
	if got := render(t, table(report.TableOptions{All: true}), r); strings.Count(got, "10.77.0.2:80  FIN_WAIT_2?") != 1000 {
		t.Error("not every connection is listed with All")
	}
}

// TestTheLegendIsOfWhatIsListed leaves out the only connection whose state is presumed.
func TestTheLegendIsOfWhatIsListed(t *testing.T) {
	var connections []tracker.Connection
	findings := make(map[uint64][]int)
	for id := uint64(1); id <= 201; id++ {
		c := stuck(id, fmt.Sprintf("10.77.0.1:%d", 10000+id), "10.77.0.2:80")
		if id < 201 {
			c.Ends[0].Certainty = tracker.Confirmed
			findings[id] = []int{1}
		}
		connections = append(connections, c)
	}
	r := report.Report{Capture: report.Capture{Segments: 5, Packets: 5}, Findings: []diagnosis.Finding{stuckFinding(1, 1)}}
	put(&r, connections, findings)
	for all, want := range map[bool]int{false: 0, true: 1} {
		if got := strings.Count(render(t, table(report.TableOptions{All: all}), r), "presumed: rests"); got != want {
			t.Errorf("All %v: presumed is explained %d times, want %d", all, got, want)
		}
	}
}

// TestRowsAreWrittenInOrder has many of them rendered at the same time.
func TestRowsAreWrittenInOrder(t *testing.T) {
	for _, n := range []int{1, 255, 256, 257, 3000} {
		connections := make([]tracker.Connection, n)
		for i := range connections {
			connections[i] = stuck(uint64(i+1), "10.77.0.1:50034", "10.77.0.2:80")
		}
		var r report.Report
		put(&r, connections, nil)
		var ids []uint64
		for line := range strings.Lines(render(t, report.JSON, r)) {
			var object struct {
				Type string
				ID   uint64
			}
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				t.Fatal(err)
			}
			if object.Type == "connection" {
				ids = append(ids, object.ID)
			}
		}
		rows := strings.Split(strings.TrimSpace(render(t, report.CSV, r)), "\n")[1:]
		if len(ids) != n || len(rows) != n {
			t.Fatalf("%d connections: %d lines, %d rows", n, len(ids), len(rows))
		}
		for i, id := range ids {
			if id != uint64(i+1) || !strings.HasPrefix(rows[i], fmt.Sprintf("%d,", id)) {
				t.Fatalf("%d connections: line %d is of connection %d, row %s", n, i, id, rows[i])
			}
		}
	}
}

func TestAddressesAreShortenedOnlyWhereNothingElseHelps(t *testing.T) {
	const client = "[2001:db8:0:1:1111:2222:3333:4444]:50040"
	if got := render(t, table(report.TableOptions{Width: 100}), mixed()); !strings.Contains(got, client) {
		t.Errorf("%s is shortened at 100 columns:\n%s", client, got)
	}
	got := render(t, table(report.TableOptions{Width: 60}), mixed())
	if !strings.Contains(got, "…") || !strings.Contains(got, ":4444]:50040") {
		t.Errorf("a shortened address must keep its end and port:\n%s", got)
	}
}

func TestEvents(t *testing.T) {
	f := stuckFinding(1, 12)
	for _, e := range []struct {
		event *diagnosis.Event
		want  string
	}{
		{
			&diagnosis.Event{Time: after(0), Change: diagnosis.Raised, Finding: f},
			"03:04:05 warning stuck_close_wait raised: server 10.77.0.2:80 (connection 12): " +
				f.Summary + " Next: " + f.NextStep() + "\n",
		},
		{
			&diagnosis.Event{Time: after(time.Minute), Change: diagnosis.Cleared, Finding: f},
			"03:05:05 warning stuck_close_wait cleared: server 10.77.0.2:80 (connection 12) after 4m59s\n",
		},
	} {
		var b strings.Builder
		if err := report.EventText(&b, e.event, time.UTC); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e.want, b.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	var b bytes.Buffer
	if err := report.EventJSON(&b, &diagnosis.Event{Time: after(0), Change: diagnosis.Raised, Finding: f}); err != nil {
		t.Fatal(err)
	}
	golden(t, "event.json", b.String())
}

var errFull = errors.New("no space left on device")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriteErrorsAreReturned(t *testing.T) {
	for name, write := range map[string]writer{
		"json": report.JSON, "csv": report.CSV, "table": table(report.TableOptions{}),
	} {
		if err := write(fullDisk{}, mixed()); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v, want %v", name, err, errFull)
		}
	}
}

func BenchmarkJSON(b *testing.B) { benchmark(b, report.JSON, 100_000) }

func BenchmarkCSV(b *testing.B) { benchmark(b, report.CSV, 100_000) }

func BenchmarkTable(b *testing.B) { benchmark(b, table(report.TableOptions{}), 100_000) }

// benchmark writes n connections, every third with a finding's number.
func benchmark(b *testing.B, write writer, n int) {
	r := mixed()
	connections, findings := make([]tracker.Connection, n), make(map[uint64][]int)
	for i := range connections {
		c := stuck(uint64(i+1), "10.77.0.1:50034", "10.77.0.2:80")
		c.Start, c.Last = c.Start+int64(i)*3e6, c.Last+int64(i)*3e6
		connections[i] = c
		if i%3 == 0 {
			findings[c.ID] = []int{1}
		}
	}
	put(&r, connections, findings)
	var written counter
	b.ReportAllocs()
	for b.Loop() {
		written = 0
		if err := write(&written, r); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(written))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/connection")
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func TestManyCulpritsAreCounted(t *testing.T) {
	r := mixed()
	f := stuckFinding(1, 1, 2, 3)
	f.Kind, f.Culprit, f.Culprits = "half_open_handshake", diagnosis.Culprit{Role: tracker.Client}, 3
	r.Findings = []diagnosis.Finding{f}
	if got := render(t, table(report.TableOptions{}), r); !strings.Contains(got, "half_open_handshake: 3 clients of 10.77.0.2:80, 3 connections") {
		t.Errorf("they are not in:\n%s", got)
	}
}
