package deliver

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// DefaultMetricsInterval is how often metrics are sent.
const DefaultMetricsInterval = time.Minute

// Metrics sends what a Prometheus registry holds to an OpenTelemetry collector, again and again. There is no queue: where
// a collector was away, the next numbers tell the same, as all of them count from the start.
type Metrics struct {
	provider *metric.MeterProvider
	exporter *metricsExporter
}

// NewMetrics begins to send what source gathers, every so often; 0 stands for DefaultMetricsInterval. What config says is
// what it says for logs.
func NewMetrics(config OTLPConfig, every time.Duration, source prometheus.Gatherer) (*Metrics, error) {
	c, name, err := config.open("metrics")
	if err != nil {
		return nil, err
	}
	if every = cmp.Or(every, DefaultMetricsInterval); every < time.Second {
		return nil, fmt.Errorf("%s: metrics every %s: a second at least", name, every)
	}
	var sender metric.Exporter
	if config.GRPC {
		sender, err = otlpmetricgrpc.New(context.Background(),
			otlpmetricgrpc.WithEndpoint(c.target()), otlpmetricgrpc.WithTLSCredentials(c.credentials()),
			otlpmetricgrpc.WithDialOption(c.dialOptions()...), otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: false}))
	} else {
		sender, err = otlpmetrichttp.New(context.Background(),
			otlpmetrichttp.WithHTTPClient(c.http()), otlpmetrichttp.WithEndpointURL(c.url.String()),
			otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: false}))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m := &Metrics{exporter: &metricsExporter{Exporter: sender, client: c, tell: config.Tell, stats: Stats{Name: name, Kind: "otlp_metrics"}}}
	m.provider = metric.NewMeterProvider(metric.WithResource(config.resource()), metric.WithReader(
		metric.NewPeriodicReader(m.exporter, metric.WithInterval(every), metric.WithTimeout(min(every, DefaultTimeout)),
			metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(m.exporter.gathering(source)))))))
	return m, nil
}

// Stats returns how it fares. Sent, and Lost and Failed alike, count exports, each of all metrics; Queued and Retried are 0.
func (m *Metrics) Stats() Stats {
	m.exporter.mu.Lock()
	defer m.exporter.mu.Unlock()
	return m.exporter.stats
}

// Close sends the last numbers, as long as ctx allows, and ends.
func (m *Metrics) Close(ctx context.Context) error {
	defer m.exporter.client.transport.CloseIdleConnections()
	if err := m.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("deliver: %s: metrics: %s", oneLine(m.Stats().Name), oneLine(err.Error()))
	}
	return nil
}

// metricsExporter keeps account of what the reader above it would tell a global handler, which writes to stderr.
type metricsExporter struct {
	metric.Exporter
	client *client
	tell   func(string) // may be nil
	mu     sync.Mutex
	stats  Stats
}

// gathering is source, whose complaints cost nothing of what it gathers all the same.
func (e *metricsExporter) gathering(source prometheus.Gatherer) prometheus.GathererFunc {
	return func() ([]*dto.MetricFamily, error) {
		all, err := source.Gather()
		if err != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.stats.LastError = oneLine(err.Error())
		}
		return all, nil
	}
}

func (e *metricsExporter) Export(ctx context.Context, all *metricdata.ResourceMetrics) error {
	began := time.Now()
	ctx, x := exchanging(ctx)
	err := e.Exporter.Export(ctx, all)
	if x.began() {
		err = x.verdict(func(int) bool { return false })
	}
	if line := e.settle(began, err); line != "" && e.tell != nil {
		e.tell(line)
	}
	return nil
}

// settle takes note of how an export ended, and returns what is to be told of it, or "".
func (e *metricsExporter) settle(began time.Time, err error) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &e.stats
	if err == nil {
		s.Sent++
		if s.Down.IsZero() {
			return ""
		}
		s.Down = time.Time{}
		return oneLine(s.Name) + ": takes metrics again"
	}
	s.Lost++
	s.Failed++
	s.LastError = oneLine(err.Error())
	if !s.Down.IsZero() {
		return ""
	}
	s.Down = began
	return oneLine(s.Name) + ": does not take metrics: " + s.LastError
}
