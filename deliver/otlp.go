package deliver

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	collogpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
)

// OTLPConfig says which collector to send to, by OTLP over HTTP with protobuf, or over gRPC.
//
// The URL is the collector's base URL, "http://localhost:4318", to which /v1/logs and /v1/metrics are added; for gRPC it has
// no path: "http://localhost:4317", or https for TLS. Without one, OTEL_EXPORTER_OTLP_ENDPOINT counts.
// OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_COMPRESSION count as well.
type OTLPConfig struct {
	Endpoint
	GRPC     bool
	Name     string // "otlp" and the URL's host if it is ""
	Host     string // host.name
	Version  string // service.version
	Instance string // service.instance.id, absent if it is ""
	// Tell, if it is not nil, is told on one line when the collector begins to fail to take metrics, and when it takes them
	// again. What becomes of events is told to the Tell of a Config.
	Tell func(line string)
}

// open checks config for a signal, "logs" or "metrics".
func (config OTLPConfig) open(signal string) (c *client, name string, err error) {
	const variable = "OTEL_EXPORTER_OTLP_ENDPOINT"
	name = cmp.Or(config.Name, "otlp")
	config.URL = cmp.Or(config.URL, os.Getenv(variable))
	if config.URL == "" {
		return nil, "", fmt.Errorf("%s: no URL: give the collector's, such as http://localhost:4318, or set %s", name, variable)
	}
	if c, err = config.Endpoint.open(name); err != nil {
		return nil, "", err
	}
	for _, signal := range []string{"logs", "metrics", "traces"} {
		if strings.HasSuffix(strings.TrimRight(c.url.Path, "/"), "/v1/"+signal) {
			return nil, "", fmt.Errorf("%s: the URL ends with /v1/%s, which is added to it: leave it out", name, signal)
		}
	}
	if c.url.RawQuery != "" {
		return nil, "", fmt.Errorf("%s: the URL has a query, which OTLP does not know: use a header instead", name)
	}
	switch {
	case !config.GRPC:
		c.url = c.url.JoinPath("v1", signal)
	case strings.Trim(c.url.Path, "/") != "":
		return nil, "", fmt.Errorf("%s: the URL has a path, which gRPC does not know: leave it out, or use OTLP over HTTP", name)
	}
	return c, cmp.Or(config.Name, "otlp "+c.url.Host), nil
}

// resource describes who sends.
func (config OTLPConfig) resource() *resource.Resource {
	attributes := []attribute.KeyValue{attribute.String("service.name", "tcpleak")}
	for _, a := range [][2]string{{"service.version", config.Version}, {"service.instance.id", config.Instance}, {"host.name", config.Host}} {
		if a[1] != "" {
			attributes = append(attributes, attribute.String(a[0], report.Clean(a[1])))
		}
	}
	return resource.NewSchemaless(attributes...)
}

// OTLP sends events as log records to an OpenTelemetry collector. docs/output.md lists their attributes.
type OTLP struct {
	name     string
	client   *client
	exporter sdklog.Exporter
	logger   log.Logger
	records  recorder
}

// NewOTLP returns an output that sends as config says, or an error that says what is wrong with it.
func NewOTLP(config OTLPConfig) (*OTLP, error) {
	c, name, err := config.open("logs")
	if err != nil {
		return nil, err
	}
	o := &OTLP{name: name, client: c}
	// Neither tries again: the Dispatcher does, and it knows what may be lost.
	if config.GRPC {
		o.exporter, err = otlploggrpc.New(context.Background(),
			otlploggrpc.WithEndpoint(c.target()), otlploggrpc.WithTLSCredentials(c.credentials()),
			otlploggrpc.WithDialOption(c.dialOptions()...), otlploggrpc.WithRetry(otlploggrpc.RetryConfig{Enabled: false}))
	} else {
		o.exporter, err = otlploghttp.New(context.Background(),
			otlploghttp.WithHTTPClient(c.http()), otlploghttp.WithEndpointURL(c.url.String()),
			otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: false}))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	o.logger = sdklog.NewLoggerProvider(
		sdklog.WithResource(config.resource()), sdklog.WithProcessor(&o.records),
		sdklog.WithAttributeCountLimit(-1), sdklog.WithAttributeValueLengthLimit(-1), // whatever OTEL_LOGRECORD_* say
	).Logger("tcpleak/deliver")
	return o, nil
}

// Name returns the configured name, or what it is and the collector's.
func (o *OTLP) Name() string { return o.name }

// Send exports the batch. By the protocol, 429, 502, 503 and 504 are to be tried again, and any other status but 2xx is a
// refusal; of gRPC, UNAVAILABLE and its like, and RESOURCE_EXHAUSTED if it says when to come back.
func (o *OTLP) Send(ctx context.Context, batch []*Item) error {
	o.records = o.records[:0]
	for _, item := range batch {
		o.logger.Emit(ctx, record(item))
	}
	exchanged, x := exchanging(ctx)
	err := o.exporter.Export(exchanged, o.records)
	switch {
	case x.taken():
		answer, _ := x.reply.(*collogpb.ExportLogsServiceResponse)
		if answer == nil {
			answer = new(collogpb.ExportLogsServiceResponse)
			if proto.Unmarshal(x.answer, answer) != nil {
				return nil // that an answer cannot be read does not undo it
			}
		}
		if n := answer.GetPartialSuccess().GetRejectedLogRecords(); n > 0 {
			n = min(n, int64(len(batch)))
			return &Permanent{Rejected: int(n), Err: fmt.Errorf("the collector rejected %d of %d events: %s",
				n, len(batch), oneLine(answer.GetPartialSuccess().GetErrorMessage()))}
		}
		return nil
	case ctx.Err() != nil && x.status == 0:
		return ctx.Err()
	case !x.began() && err != nil:
		return &Permanent{Err: err, Divide: true} // it was not fit to be sent
	}
	return x.verdict(func(status int) bool {
		return slices.Contains([]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, status)
	})
}

// Close gives up connections that stand idle.
func (o *OTLP) Close() error {
	o.client.transport.CloseIdleConnections()
	return o.exporter.Shutdown(context.Background())
}

// recorder keeps records as the SDK completes them, for Send to export. The SDK's own processors either drop what does not
// fit or do not say what became of it.
type recorder []sdklog.Record

func (*recorder) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

func (r *recorder) OnEmit(_ context.Context, record *sdklog.Record) error {
	*r = append(*r, record.Clone())
	return nil
}

func (*recorder) Shutdown(context.Context) error   { return nil }
func (*recorder) ForceFlush(context.Context) error { return nil }

// severities are the log data model's: its appendix B puts Syslog's Critical there.
var severities = [...]log.Severity{diagnosis.Info: log.SeverityInfo, diagnosis.Warning: log.SeverityWarn, diagnosis.Critical: log.SeverityError2}

// record turns an event into a log record. All texts are cleaned: one that is not UTF-8 would cost the whole batch.
func record(item *Item) log.Record {
	e, f := &item.Event, &item.Event.Finding
	var r log.Record
	r.SetEventName("tcpleak.finding")
	r.SetTimestamp(time.Unix(0, e.Time))
	r.SetBody(attribute.StringValue(report.Clean(f.Summary)))
	severity := f.Severity
	if e.Change == diagnosis.Cleared {
		severity = diagnosis.Info // that it is over is no reason to wake anybody
	}
	r.SetSeverity(severities[severity])
	r.SetSeverityText(severity.String())
	text := func(key, value string) {
		if value != "" {
			r.AddAttributes(attribute.String(key, report.Clean(value)))
		}
	}
	text("log.record.uid", item.ID)
	text("tcpleak.event", e.Change.String())
	r.AddAttributes(attribute.Int("tcpleak.finding", f.ID))
	text("tcpleak.kind", string(f.Kind))
	text("tcpleak.severity", f.Severity.String())
	text("tcpleak.certainty", f.Certainty.String())
	if f.Culprits > 0 {
		text("tcpleak.role", f.Culprit.Role.String())
		if f.Culprit.Addr != (tcp.Addr{}) {
			text("tcpleak.culprit", endText(netip.AddrPortFrom(f.Culprit.Addr.Netip(), f.Culprit.Port)))
		}
	}
	if f.Service.IsValid() {
		text("tcpleak.service", endText(f.Service))
	}
	r.AddAttributes(attribute.Int("tcpleak.count", f.Count))
	text("tcpleak.since", time.Unix(0, f.Since).UTC().Format(time.RFC3339Nano))
	if f.For != 0 {
		r.AddAttributes(attribute.Float64("tcpleak.for", f.For.Seconds()))
	}
	if f.Growth != nil {
		r.AddAttributes(attribute.Float64("tcpleak.per_minute", f.Growth.PerMinute))
	}
	text("tcpleak.cause", f.Cause)
	text("tcpleak.next", f.NextStep())
	if len(f.Holders) > 0 {
		var names []string
		for _, h := range f.Holders {
			names = append(names, report.Clean(h.String()))
		}
		r.AddAttributes(attribute.StringSlice("tcpleak.processes", names))
	}
	return r
}

// endText is an address, with its port unless there are several.
func endText(end netip.AddrPort) string {
	if end.Port() == 0 {
		return end.Addr().String()
	}
	return end.String()
}
