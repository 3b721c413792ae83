package livepage

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/screen"
)

// hostile is what a page must show as it is, as far as it can be seen.
const hostile = "</script><img src=x onerror=alert(1)>\x1b[31m\x00\u202edlrow\u2028\"'`{{.}}"

func TestThePageIsCompleteWithoutScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	if status, _, header := w.get(t, "/"); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("before the first judgement: %d, %v", status, header)
	}
	w.judge(0)
	status, text, header := w.get(t, "/")
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, text)
	}
	for _, want := range []string{
		"<title>db1: tcpleak</title>", "tcpleak agent v1.2.3 on db1", `<h1 id="source">eth0</h1>`, `<code>leak</code>`, "CLOSE_WAIT", `href="/connections/4"`, `<a href="/report">`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it has not %q", want)
		}
	}
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy has not %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("the policy is %s", policy)
	}
	// All that it refers to is its own; an attribute that is run or styled would be against the policy.
	for _, m := range regexp.MustCompile(`(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "/") && !strings.HasPrefix(m[1], "#") || strings.HasPrefix(m[1], "//") {
			t.Errorf("it refers to %s", m[1])
		}
	}
	if found := regexp.MustCompile(`<[^>]*\s(style|on[a-z]+)=`).FindString(text); found != "" {
		t.Errorf("%s", found)
	}
	for _, path := range []string{"/page.css", "/page.js", "/icon.svg"} {
		status, text, header := w.get(t, path)
		if status != http.StatusOK || text == "" || header.Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", path, status, header)
		}
		if found := regexp.MustCompile(`url\(|@import|innerHTML|insertAdjacentHTML|document\.write|eval\(`).FindString(text); found != "" {
			t.Errorf("%s has %s", path, found)
		}
	}
}

func TestAConnectionHasAPageOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	status, text, header := w.get(t, "/connections/4")
	for _, want := range []string{"Connection 4: ", "teardown 3/4 is missing", `class="finding warning"`, "Told from what is remembered"} {
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d: it has not %q", status, want)
		}
	}
	if header.Get("Content-Security-Policy") != policy {
		t.Error("it has no policy")
	}
	for path, want := range map[string]int{
		"/connections/999999": http.StatusNotFound, "/connections/0": http.StatusNotFound, "/connections/x": http.StatusNotFound, "/connections/4/5": http.StatusNotFound,
	} {
		if status, _, _ := w.get(t, path); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestFilterSortAndPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.judge(0)
	ask := func(query string) table {
		t.Helper()
		_, text, _ := w.get(t, "/view/connections?"+query)
		return decoded[table](t, text)
	}
	all := ask("")
	if len(all.Rows) != pageRows || all.Before != "" || all.After != "?offset=50" || !strings.HasPrefix(all.Part, "1 to 50 of ") {
		t.Errorf("%d rows, %q, before %q, after %q", len(all.Rows), all.Part, all.Before, all.After)
	}
	next := ask("offset=50")
	if next.Before != "?" || next.Rows[0].ID == all.Rows[0].ID {
		t.Errorf("the second page begins with %d, before it is %q", next.Rows[0].ID, next.Before)
	}
	beyond := ask("offset=100000")
	if len(beyond.Rows) != 0 || beyond.Before == "" || beyond.After != "" {
		t.Errorf("far beyond the end: %+v", beyond)
	}
	waiting := ask(url.Values{"filter": {"state:CLOSE_WAIT"}, "sort": {"id"}}.Encode())
	if len(waiting.Rows) == 0 || waiting.All != "?sort=id" {
		t.Errorf("%d rows, all by %q", len(waiting.Rows), waiting.All)
	}
	last := uint64(0)
	for _, r := range waiting.Rows {
		if r.ID <= last || r.States[0].Name != "CLOSE_WAIT" && r.States[1].Name != "CLOSE_WAIT" {
			t.Errorf("%+v", r)
		}
		last = r.ID
	}
	for _, column := range waiting.Columns {
		if column.Name == "id" && (column.Sorted != "ascending" || column.Search != "?filter=state%3ACLOSE_WAIT&reverse=true&sort=id") ||
			column.Name == "packets" && (column.Sorted != "" || column.Search != "?filter=state%3ACLOSE_WAIT&sort=packets") {
			t.Errorf("%+v", column)
		}
	}
	for query, want := range map[string]string{
		"filter=age%3Esoon": "filter: age>soon: not a duration", "sort=colour": `sort: no column has the name "colour"`, "reverse=perhaps": "reverse: true or false",
		"offset=-1": "offset: a number from 0", "limit=1001": "limit: a number from 0 to 1000", "filter=" + strings.Repeat("x", 5000): "filter: at most",
	} {
		status, text, _ := w.get(t, "/view/connections?"+query)
		if got := decoded[table](t, text).Wrong; status != http.StatusBadRequest || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %d %s", query, status, got)
		}
		if status, text, _ := w.get(t, "/?"+query); status != http.StatusOK || !strings.Contains(text, `id="findings"`) {
			t.Errorf("the page with %s: %d", query, status)
		}
	}
}

// Who is busy with packets has no time for pages; those that know enough are shown.
func TestABusyCapture(t *testing.T) {
	t.Parallel()
	p := New(Config{Ask: func(context.Context, screen.Query) (screen.Frame, error) { return screen.Frame{}, errors.New("busy") }})
	t.Cleanup(p.Close)
	p.Judge(Judgement{Capture: screen.Capture{Now: epoch}})
	mux := http.NewServeMux()
	p.Register(mux)
	for path, want := range map[string]int{"/": 200, "/view/connections": 503, "/view/connections/4": 503, "/connections/4": 503} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestNothingHostileIsAPartOfThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.process = hostile
	w.change = spoil
	w.judge(0)
	visible := report.Clean(hostile)
	for _, path := range []string{"/", "/?filter=" + url.QueryEscape(hostile), "/connections/4"} {
		_, text, _ := w.get(t, path)
		if strings.Contains(text, "<img") || strings.Contains(text, "</script><") {
			t.Errorf("%s has it as it is", path)
		}
		if strings.ContainsAny(text, "\x00\x1b\u202e\u2028") {
			t.Errorf("%s has what is hidden", path)
		}
	}
	r := w.read(t)
	for _, name := range []string{"head", "findings"} {
		data := r.next(name)
		if strings.Contains(data, "<img") || strings.ContainsAny(data, "\x00\x1b\u202e\u2028\r") {
			t.Errorf("%s has it as it is", name)
		}
		var v any
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			t.Fatal(err)
		}
		seen := 0
		eachText(v, func(text string) {
			if report.Clean(text) != text {
				t.Errorf("%s tells %q", name, text)
			}
			if strings.Contains(text, visible) {
				seen++
			}
		})
		if seen == 0 {
			t.Errorf("%s does not show it at all", name)
		}
	}
}

// spoil puts hostile text wherever text may come from elsewhere.
func spoil(j *Judgement) {
	j.Sources, j.Filter = []string{hostile}, hostile
	for i := range j.Findings {
		f := &j.Findings[i]
		f.Summary, f.Cause, f.Next, f.Command, f.ServiceName = hostile, hostile, hostile, hostile, hostile
		f.Holders = []diagnosis.Holder{{PID: 1, Name: hostile, Command: hostile, Container: hostile}}
		for e := range f.Evidence {
			f.Evidence[e].Meaning = hostile
		}
	}
	j.Events = append(j.Events, diagnosis.Event{Time: j.Now, Finding: j.Findings[0]})
}

func eachText(v any, do func(string)) {
	switch v := v.(type) {
	case string:
		do(v)
	case []any:
		for _, e := range v {
			eachText(e, do)
		}
	case map[string]any:
		for _, e := range v {
			eachText(e, do)
		}
	}
}

// What clean cannot reach would be sent as it is.
func TestCleaningReachesEveryText(t *testing.T) {
	for _, v := range []any{head{}, findings{}, chart{}, table{}, opened{}} {
		var visit func(reflect.Type, string)
		visit = func(t2 reflect.Type, at string) {
			switch t2.Kind() {
			case reflect.String, reflect.Bool, reflect.Int, reflect.Uint64:
			case reflect.Struct:
				for i := range t2.NumField() {
					if f := t2.Field(i); !f.IsExported() {
						t.Errorf("%s.%s cannot be changed", at, f.Name)
					} else {
						visit(f.Type, at+"."+f.Name)
					}
				}
			case reflect.Slice, reflect.Array, reflect.Pointer:
				visit(t2.Elem(), at)
			default:
				t.Errorf("%s is a %v, which is not cleaned", at, t2.Kind())
			}
		}
		visit(reflect.TypeOf(v), reflect.TypeOf(v).Name())
	}
	got := cleaned(opened{Title: "a\x1bb", Findings: nil})
	if diff := cmp.Diff("a�b", got.Title); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo.pcap")
	w.change = func(j *Judgement) {
		for len(j.Findings) < 10_000 {
			f := j.Findings[0]
			f.ID = len(j.Findings) + 1
			f.Severity = diagnosis.Info
			j.Findings = append(j.Findings, f)
		}
	}
	w.judge(0)
	w.judge(time.Second)
	m, _ := w.Page.now()
	v := w.findings(&m)
	if len(v.Findings) != maxFindings || v.More == "" || v.Findings[0].Severity != "critical" {
		t.Errorf("%d findings, the first %s, then: %s", len(v.Findings), v.Findings[0].Severity, v.More)
	}
	if event := eventOf(findingsPart, v); len(event) > 200_000 {
		t.Errorf("an event of %d bytes", len(event))
	}
}

func TestAFindingLeadsToItsConnections(t *testing.T) {
	service := netip.MustParseAddrPort("10.77.0.2:8080")
	for _, tt := range []struct {
		finding diagnosis.Finding
		want    string
	}{
		{diagnosis.Finding{Kind: diagnosis.StuckCloseWait, Service: service}, "finding:stuck_close_wait server:10.77.0.2:8080"},
		{diagnosis.Finding{Kind: diagnosis.StuckCloseWait}, "finding:stuck_close_wait"},
		{diagnosis.Finding{Kind: diagnosis.KernelDisagrees, Service: service}, "server:10.77.0.2:8080"},
		{diagnosis.Finding{Kind: diagnosis.KernelDisagrees}, ""},
	} {
		got := filterOf(&tt.finding)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.finding.Kind, diff)
		}
		if _, err := screen.ParseFilter(got); err != nil {
			t.Error(err)
		}
	}
}
