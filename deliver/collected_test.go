package deliver_test

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	collogpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logpb "go.opentelemetry.io/proto/otlp/logs/v1"

	"tcpleak/deliver"
)

// collected is what an OpenTelemetry collector has taken, whether over HTTP or gRPC.
type collected struct {
	mu      sync.Mutex
	reject  int64 // how many records of a request it says it has rejected
	records []*logpb.LogRecord
	values  map[string]float64 // of gauges, by name and labels
	who     map[string]string  // attributes of the resource
}

func newCollected() collected {
	return collected{values: make(map[string]float64), who: make(map[string]string)}
}

func (c *collected) sentBy(attributes []*commonpb.KeyValue) {
	for _, a := range attributes {
		c.who[a.Key] = a.Value.GetStringValue()
	}
}

func (c *collected) takeLogs(q *collogpb.ExportLogsServiceRequest) *collogpb.ExportLogsServiceResponse {
	for _, resource := range q.ResourceLogs {
		c.sentBy(resource.Resource.Attributes)
		for _, scope := range resource.ScopeLogs {
			c.records = append(c.records, scope.LogRecords...)
		}
	}
	ok := new(collogpb.ExportLogsServiceResponse)
	if c.reject > 0 {
		ok.PartialSuccess = &collogpb.ExportLogsPartialSuccess{RejectedLogRecords: c.reject, ErrorMessage: "too\nold"}
	}
	return ok
}

func (c *collected) takeMetrics(q *colmetricpb.ExportMetricsServiceRequest) *colmetricpb.ExportMetricsServiceResponse {
	for _, resource := range q.ResourceMetrics {
		c.sentBy(resource.Resource.Attributes)
		for _, scope := range resource.ScopeMetrics {
			for _, m := range scope.Metrics {
				for _, point := range m.GetGauge().GetDataPoints() {
					name := m.Name
					for _, a := range point.Attributes {
						name += " " + a.Key + "=" + a.Value.GetStringValue()
					}
					c.values[name] = point.GetAsDouble()
				}
			}
		}
	}
	return new(colmetricpb.ExportMetricsServiceResponse)
}

// exporter returns an output that ends with the test.
func exporter(t *testing.T, config deliver.OTLPConfig) *deliver.OTLP {
	t.Helper()
	o, err := deliver.NewOTLP(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// trusting writes the certificate of a server to a file, for those who are to trust it.
func trusting(t *testing.T, server *httptest.Server) (ca string) {
	t.Helper()
	ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return ca
}
