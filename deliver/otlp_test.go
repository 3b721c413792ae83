package deliver_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	collogpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logpb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"tcpleak/deliver"
	"tcpleak/diagnosis"
)

// collector takes OTLP over HTTP on loopback, as an OpenTelemetry collector does.
type collector struct {
	*httptest.Server
	collected
	script  []int // statuses to answer with before it takes anything
	headers []http.Header
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{collected: newCollected()}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.headers = append(c.headers, r.Header)
	if len(c.script) > 0 {
		status := c.script[0]
		c.script = c.script[1:]
		w.WriteHeader(status)
		fmt.Fprint(w, "not now")
		return
	}
	var answer proto.Message
	switch r.URL.Path {
	case "/v1/logs":
		var q collogpb.ExportLogsServiceRequest
		if err := proto.Unmarshal(body, &q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer = c.takeLogs(&q)
	case "/v1/metrics":
		var q colmetricpb.ExportMetricsServiceRequest
		if err := proto.Unmarshal(body, &q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer = c.takeMetrics(&q)
	default:
		http.NotFound(w, r)
		return
	}
	text, err := proto.Marshal(answer)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(text)
}

func otlpConfig(c *collector) deliver.OTLPConfig {
	return deliver.OTLPConfig{Endpoint: deliver.Endpoint{URL: c.URL}, Host: "web1", Version: "1.2", Instance: "0123456789abcdef"}
}

// findingsOf are the numbers of the findings that records are about.
func findingsOf(records []*logpb.LogRecord) (ids []int64) {
	for _, r := range records {
		for _, a := range r.Attributes {
			if a.Key == "tcpleak.finding" {
				ids = append(ids, a.Value.GetIntValue())
			}
		}
	}
	return ids
}

func TestOTLPRecord(t *testing.T) {
	c := collect(t)
	d := start(t, deliver.Config{Output: exporter(t, otlpConfig(c))})
	d.Put(raised(3, 3))
	finish(t, d)
	if len(c.records) != 1 {
		t.Fatalf("%d records: %+v", len(c.records), d.Stats())
	}
	r := c.records[0]
	got := map[string]any{
		"event name": r.EventName, "time": r.TimeUnixNano, "severity": r.SeverityNumber.String(), "text": r.SeverityText, "body": r.Body.GetStringValue(),
	}
	for _, a := range r.Attributes {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_IntValue:
			got[a.Key] = v.IntValue
		case *commonpb.AnyValue_DoubleValue:
			got[a.Key] = v.DoubleValue
		case *commonpb.AnyValue_ArrayValue:
			for _, value := range v.ArrayValue.Values {
				got[a.Key] = value.GetStringValue()
			}
		default:
			got[a.Key] = a.Value.GetStringValue()
		}
	}
	want := map[string]any{
		"event name": "tcpleak.finding", "time": uint64(1_772_334_245_000_060_708), "severity": "SEVERITY_NUMBER_ERROR2", "text": "critical",
		"body":           "The server 10.77.0.2:8080 leaks connections.",
		"log.record.uid": d.Start() + "-1", "tcpleak.event": "raised", "tcpleak.finding": int64(3), "tcpleak.kind": "leak",
		"tcpleak.severity": "critical", "tcpleak.certainty": "confirmed", "tcpleak.role": "server", "tcpleak.culprit": "10.77.0.2:8080",
		"tcpleak.service": "10.77.0.2:8080", "tcpleak.count": int64(16), "tcpleak.since": "2026-03-01T03:00:51Z", "tcpleak.for": 194.0,
		"tcpleak.per_minute": 5.0, "tcpleak.next": "see who holds them: ss -tnp", "tcpleak.processes": "pid 4242 ja\"va�[2J�, fd 87",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	who := map[string]string{"service.name": "tcpleak", "service.version": "1.2", "service.instance.id": "0123456789abcdef", "host.name": "web1"}
	if diff := cmp.Diff(who, c.who); diff != "" {
		t.Errorf("resource (-want +got):\n%s", diff)
	}
}

func TestOTLPSeverities(t *testing.T) {
	c := collect(t)
	d := start(t, deliver.Config{Output: exporter(t, otlpConfig(c))})
	var events []diagnosis.Event
	for _, severity := range []diagnosis.Severity{diagnosis.Info, diagnosis.Warning, diagnosis.Critical} {
		e := event(1, diagnosis.Updated)
		e.Finding.Severity = severity
		events = append(events, e)
	}
	d.Put(append(events, event(1, diagnosis.Cleared)))
	finish(t, d)
	var got []string
	for _, r := range c.records {
		got = append(got, r.SeverityNumber.String()+" "+r.SeverityText)
	}
	want := []string{"SEVERITY_NUMBER_INFO info", "SEVERITY_NUMBER_WARN warning", "SEVERITY_NUMBER_ERROR2 critical", "SEVERITY_NUMBER_INFO info"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("severities (-want +got):\n%s", diff)
	}
}

// 502 and the like: the collector, or what stands before it, is away for a moment.
func TestOTLPCollectorThatReturnsGetsAll(t *testing.T) {
	c := collect(t)
	c.script = []int{502, 429, 503, 504, 302}
	d := start(t, deliver.Config{Output: exporter(t, otlpConfig(c)), Batch: 2, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	d.Put(raised(1, 5))
	finish(t, d)
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5}, findingsOf(c.records)); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
	s := wantStats(t, d, deliver.Stats{Sent: 5, Retried: 10, Failed: 5})
	if s.LastError != "the answer is 302 Found: not now; redirections are not followed, configure where it leads" {
		t.Errorf("last error %q", s.LastError)
	}
}

func TestOTLPCollectorThatIsDown(t *testing.T) {
	c := collect(t)
	o := exporter(t, otlpConfig(c))
	c.Close()
	err := o.Send(t.Context(), itemsOf(t, raised(1, 1)))
	if err == nil || !strings.HasPrefix(err.Error(), "no answer: dial tcp 127.0.0.1:") || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

// By the protocol, these must not be tried again.
func TestOTLPRefusal(t *testing.T) {
	for _, status := range []int{401, 404, 500} {
		c := collect(t)
		c.script = []int{status}
		d := start(t, deliver.Config{Output: exporter(t, otlpConfig(c)), Batch: 2})
		d.Put(raised(1, 3))
		finish(t, d)
		if diff := cmp.Diff([]int64{3}, findingsOf(c.records)); diff != "" {
			t.Errorf("%d: received (-want +got):\n%s", status, diff)
		}
		wantStats(t, d, deliver.Stats{Sent: 1, Lost: 2, Refused: 2, Failed: 1})
	}
}

func TestOTLPPartialSuccessIsCounted(t *testing.T) {
	c := collect(t)
	c.reject = 2
	d := start(t, deliver.Config{Output: exporter(t, otlpConfig(c))})
	d.Put(raised(1, 5))
	finish(t, d)
	s := wantStats(t, d, deliver.Stats{Sent: 3, Lost: 2, Refused: 2, Failed: 1})
	if want := "the collector rejected 2 of 5 events: too old"; s.LastError != want {
		t.Errorf("last error %q, want %q", s.LastError, want)
	}
}

func TestOTLPHeaders(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
	t.Setenv("TCPLEAK_TEST_TOKEN", "a-token")
	c := collect(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL+"/")
	config := otlpConfig(c)
	config.URL, config.TokenEnv, config.Headers = "", "TCPLEAK_TEST_TOKEN", map[string]string{"X-Key": "k"}
	o := exporter(t, config)
	if err := o.Send(t.Context(), itemsOf(t, raised(1, 1))); err != nil {
		t.Fatal(err)
	}
	got := []string{c.headers[0].Get("X-Tenant"), c.headers[0].Get("Authorization"), c.headers[0].Get("X-Key")}
	if diff := cmp.Diff([]string{"blue", "Bearer a-token", "k"}, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestOTLPMetrics(t *testing.T) {
	c := collect(t)
	registry := prometheus.NewRegistry()
	active := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tcpleak_findings_active", Help: "Findings that stand."}, []string{"kind"})
	registry.MustRegister(active)
	active.WithLabelValues("leak").Set(2)
	m, err := deliver.NewMetrics(otlpConfig(c), time.Hour, registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil { // sends what stands
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"tcpleak_findings_active kind=leak": 2}, c.values); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if c.who["service.name"] != "tcpleak" || c.who["host.name"] != "web1" {
		t.Errorf("resource %v", c.who)
	}
	if s := m.Stats(); s.Sent != 1 || s.Lost != 0 || s.LastError != "" {
		t.Errorf("stats %+v", s)
	}
}

func TestOTLPMetricsWhileTheCollectorIsAway(t *testing.T) {
	c := collect(t)
	c.script = []int{503}
	m, err := deliver.NewMetrics(otlpConfig(c), time.Hour, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s := m.Stats(); s.Sent != 0 || s.Lost != 1 || s.Down.IsZero() || s.LastError != "the answer is 503 Service Unavailable: not now" {
		t.Errorf("stats %+v", s)
	}
}

func TestOTLPConfigErrors(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	for url, want := range map[string]string{
		"":                               "otlp: no URL: give the collector's, such as http://localhost:4318, or set OTEL_EXPORTER_OTLP_ENDPOINT",
		"localhost:4317":                 "otlp: the URL must begin with http:// or https://",
		"http://localhost:4318/v1/logs/": "otlp: the URL ends with /v1/logs, which is added to it: leave it out",
		"http://localhost:4318?x=1":      "otlp: the URL has a query, which OTLP does not know: use a header instead",
	} {
		_, err := deliver.NewOTLP(deliver.OTLPConfig{Endpoint: deliver.Endpoint{URL: url}})
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := deliver.NewMetrics(deliver.OTLPConfig{Endpoint: deliver.Endpoint{URL: "http://localhost:4318"}}, time.Millisecond, nil); err == nil {
		t.Error("metrics every millisecond are taken")
	}
}
