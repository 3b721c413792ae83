package deliver_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	collogpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	rpc "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"tcpleak/deliver"
)

// callee takes OTLP over gRPC on loopback, as an OpenTelemetry collector does.
type callee struct {
	collogpb.UnimplementedLogsServiceServer
	collected
	url    string
	script []error // to answer with before it takes anything
	sent   []metadata.MD
}

type metricsCallee struct {
	colmetricpb.UnimplementedMetricsServiceServer
	*callee
}

func beCalled(t *testing.T, address string, options ...grpc.ServerOption) *callee {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &callee{collected: newCollected(), url: "http://" + listener.Addr().String()}
	server := grpc.NewServer(options...)
	collogpb.RegisterLogsServiceServer(server, c)
	colmetricpb.RegisterMetricsServiceServer(server, metricsCallee{callee: c})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return c
}

// asked takes note of a call, and returns what it is to end with.
func (c *callee) asked(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	c.sent = append(c.sent, md)
	if len(c.script) == 0 {
		return nil
	}
	err := c.script[0]
	c.script = c.script[1:]
	return err
}

func (c *callee) Export(ctx context.Context, q *collogpb.ExportLogsServiceRequest) (*collogpb.ExportLogsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	return c.takeLogs(q), nil
}

func (c metricsCallee) Export(ctx context.Context, q *colmetricpb.ExportMetricsServiceRequest) (*colmetricpb.ExportMetricsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.asked(ctx); err != nil {
		return nil, err
	}
	return c.takeMetrics(q), nil
}

func caller(t *testing.T, e deliver.Endpoint) *deliver.OTLP {
	t.Helper()
	return exporter(t, deliver.OTLPConfig{Endpoint: e, GRPC: true, Host: "web1"})
}

// resourceExhausted is a status that says when to come back.
func resourceExhausted(t *testing.T, after time.Duration) error {
	t.Helper()
	s, err := rpc.New(codes.ResourceExhausted, "too much").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// By the protocol, these must be tried again.
func TestOTLPByGRPCCollectorThatReturnsGetsAll(t *testing.T) {
	c := beCalled(t, "127.0.0.1:0")
	c.script = []error{
		rpc.Error(codes.Unavailable, "not\nnow"), rpc.Error(codes.Aborted, ""), rpc.Error(codes.DataLoss, ""),
		resourceExhausted(t, time.Millisecond), rpc.Error(codes.Canceled, "last"),
	}
	d := start(t, deliver.Config{Output: caller(t, deliver.Endpoint{URL: c.url}), Batch: 2, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond})
	d.Put(raised(1, 5))
	finish(t, d)
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5}, findingsOf(c.records)); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
	s := wantStats(t, d, deliver.Stats{Sent: 5, Retried: 10, Failed: 5})
	if s.LastError != "the call ends as Canceled: last" {
		t.Errorf("last error %q", s.LastError)
	}
}

// By the protocol, these must not be tried again.
func TestOTLPByGRPCRefusal(t *testing.T) {
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.Internal} {
		c := beCalled(t, "127.0.0.1:0")
		c.script = []error{rpc.Error(code, "no")}
		d := start(t, deliver.Config{Output: caller(t, deliver.Endpoint{URL: c.url}), Batch: 2})
		d.Put(raised(1, 3))
		finish(t, d)
		if diff := cmp.Diff([]int64{3}, findingsOf(c.records)); diff != "" {
			t.Errorf("%s: received (-want +got):\n%s", code, diff)
		}
		wantStats(t, d, deliver.Stats{Sent: 1, Lost: 2, Refused: 2, Failed: 1})
	}
}

// A collector answers so to what is too large for it, and to what it cannot read.
func TestOTLPByGRPCDividesWhatIsRefusedForItsContent(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.ResourceExhausted} {
		c := beCalled(t, "127.0.0.1:0")
		c.script = []error{rpc.Error(code, "larger than max"), nil, rpc.Error(code, "larger than max")}
		d := start(t, deliver.Config{Output: caller(t, deliver.Endpoint{URL: c.url}), Batch: 2})
		d.Put(raised(1, 3))
		finish(t, d)
		if diff := cmp.Diff([]int64{1, 2, 3}, findingsOf(c.records)); diff != "" {
			t.Errorf("%s: received (-want +got):\n%s", code, diff)
		}
		wantStats(t, d, deliver.Stats{Sent: 3, Retried: 4, Failed: 2})
	}
}

func TestOTLPByGRPCPartialSuccessIsCounted(t *testing.T) {
	c := beCalled(t, "127.0.0.1:0")
	c.reject = 2
	d := start(t, deliver.Config{Output: caller(t, deliver.Endpoint{URL: c.url})})
	d.Put(raised(1, 5))
	finish(t, d)
	s := wantStats(t, d, deliver.Stats{Sent: 3, Lost: 2, Refused: 2, Failed: 1})
	if want := "the collector rejected 2 of 5 events: too old"; s.LastError != want {
		t.Errorf("last error %q, want %q", s.LastError, want)
	}
}

// Headers and the token arrive, and what is told of an error has none of them.
func TestOTLPByGRPCOverTLSWithAToken(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
	t.Setenv("TCPLEAK_TEST_TOKEN", "a-token")
	// Borrowed: a certificate for 127.0.0.1.
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	ca := trusting(t, lender)
	c := beCalled(t, "127.0.0.1:0", grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: lender.TLS.Certificates})))
	c.script = []error{rpc.Error(codes.Unauthenticated, "Bearer a-token, key very-secret\x1b[2J")}
	url := strings.Replace(c.url, "http:", "https:", 1)
	o := caller(t, deliver.Endpoint{URL: url, Headers: map[string]string{"X-Key": "very-secret"}, TokenEnv: "TCPLEAK_TEST_TOKEN", TLS: deliver.TLS{CAFile: ca}})
	if err, want := o.Send(t.Context(), itemsOf(t, raised(1, 1))), "the call ends as Unauthenticated: Bearer …, key …�[2J"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := o.Send(t.Context(), itemsOf(t, raised(1, 1))); err != nil {
		t.Error(err)
	}
	var got []string
	for _, key := range []string{"x-tenant", "authorization", "x-key"} {
		got = append(got, c.sent[1].Get(key)...)
	}
	if diff := cmp.Diff([]string{"blue", "Bearer a-token", "very-secret"}, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}

	untrusted := caller(t, deliver.Endpoint{URL: url})
	if err := untrusted.Send(t.Context(), itemsOf(t, raised(1, 1))); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
}

// Nobody listens at first.
func TestOTLPByGRPCCollectorThatComesLater(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	o := caller(t, deliver.Endpoint{URL: "http://" + address})
	if err := o.Send(t.Context(), itemsOf(t, raised(1, 1))); err == nil || !strings.HasPrefix(err.Error(), "the call ends as Unavailable: ") ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
	d := start(t, deliver.Config{Output: o, MinBackoff: 50 * time.Millisecond, MaxBackoff: 50 * time.Millisecond})
	d.Put(raised(1, 2))
	c := beCalled(t, address)
	finish(t, d)
	if diff := cmp.Diff([]int64{1, 2}, findingsOf(c.records)); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

// What takes calls and does not answer is left alone once the time is over.
func TestOTLPByGRPCTimeout(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	o := caller(t, deliver.Endpoint{URL: "http://" + deaf.Addr().String()})
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := o.Send(ctx, itemsOf(t, raised(1, 1))); err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}

func TestOTLPByGRPCMetrics(t *testing.T) {
	c := beCalled(t, "127.0.0.1:0")
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "tcpleak_findings_active", Help: "Findings that stand."}))
	m, err := deliver.NewMetrics(deliver.OTLPConfig{Endpoint: deliver.Endpoint{URL: c.url}, GRPC: true}, time.Hour, registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil { // sends what stands
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"tcpleak_findings_active": 0}, c.values); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if s := m.Stats(); s.Sent != 1 || s.Lost != 0 || s.LastError != "" {
		t.Errorf("stats %+v", s)
	}
}

func TestOTLPByGRPCHasNoPath(t *testing.T) {
	_, err := deliver.NewOTLP(deliver.OTLPConfig{Endpoint: deliver.Endpoint{URL: "http://localhost:4317/otlp"}, GRPC: true})
	if want := "otlp: the URL has a path, which gRPC does not know: leave it out, or use OTLP over HTTP"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
