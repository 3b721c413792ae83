// Package metrics exposes a live capture to Prometheus.
//
// The loop that owns the table calls Observe after each judgement; a scrape reads what Observe last made of it, and never
// touches the table. Two ages of figures stand side by side. What the judgement has counted already, and what the capture
// counts, is as new as the last judgement: tcpleak_endpoints, tcpleak_finding…, tcpleak_capture_… and tcpleak_table_…, and the
// growth of leaks. The other families that begin with tcpleak_service_ take a pass over all connections, which is made every
// Config.Every at most and takes a fiftieth of the time at most: they lag by as much, and tcpleak_services_counted_timestamp_seconds
// says when that was.
//
// A service is the server's address and port; VLANs and tunnels do not tell services apart. Which may be a label is bounded:
// it must have completed a handshake, have answered a SYN, or be in the middle of a conversation in which both ends speak, so
// that what a scan asks for in vain makes no series. Config.MaxServices have a place, first come, first served. What a service
// has is its own for as long as it has open connections, traffic or findings, and an hour longer. All others share
// service="other"; service="none" is for findings about several services, or about none.
//
// Counters per service never go back while the service has its place, whatever the table forgets: each pass adds what has
// happened since the last one. What happens to a connection in the time between the last pass over it and its eviction is not
// counted, nor is a connection that is evicted before any pass: with tcpleak_table_evicted_connections_total growing, these
// counters are lower bounds.
package metrics

import (
	"cmp"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

// Defaults of a Config.
const (
	DefaultMaxServices = 200
	DefaultEvery       = 5 * time.Second
)

// Config says what becomes a label. Zero values take the defaults.
type Config struct {
	// MaxServices is how many services have series of their own: about 50 each. It bounds clients and processes, too.
	MaxServices int
	// ByRemote adds tcpleak_service_client_connections, with the address of the client as a label.
	ByRemote bool
	// ByProcess adds tcpleak_process_findings, with the name of the process as a label.
	ByProcess bool
	// Every is how often services are counted at most.
	Every   time.Duration
	Version string           // of tcpleak
	Clock   func() time.Time // time.Now, unless a test wants another
}

// Capture counts what happened before and in the table since the capture began.
type Capture struct {
	Packets                         uint64
	DroppedKernel, DroppedInterface uint64
	// Skipped counts packets that gave no segment by reason. Reasons that have not occurred should be here, too: a series
	// that begins with 1 hides its first event from rate().
	Skipped     map[string]uint64
	Table       tracker.Stats
	Connections int // held
	Bytes       int // of memory that they take
	// Lean says that payload is left to the kernel now, LeanChanges how often the agent went lean or back by itself.
	Lean        bool
	LeanChanges uint64
}

// Output is how what is found gets to where it is sent, counted since that began.
type Output struct {
	Kind   string // a label: one of a few
	Events bool   // it takes findings, and has all of what follows; one for metrics has Failed and Up
	Queued int
	// Sent, Lost and Refused count findings, Refused those of Lost that would never be taken, and Failed the attempts to send.
	Sent, Lost, Refused, Failed uint64
	Up                          bool
}

// An Observation is what a judgement of the table has found.
type Observation struct {
	Analysis *diagnosis.Analysis
	Events   []diagnosis.Event   // what has changed with it, of Monitor.Update
	Standing []diagnosis.Finding // what stands now, of Monitor.Standing
	Capture  Capture
	Outputs  []Output // one of each kind at most
	Now      int64    // that was judged at, on the capture's clock, ns since 1970
}

// Metrics is what Prometheus is told.
type Metrics struct {
	cfg        Config
	registry   *prometheus.Registry
	handshakes *prometheus.HistogramVec
	shown      atomic.Pointer[picture]

	// The rest belongs to the caller of Observe.
	services places[service]
	clients  places[serviceClient]
	process  places[string]
	figures  []figures // by place; the last is of all that have none
	counted  *counted
	due      time.Time // when to count services next
	packet   uint64    // the newest that a pass has seen in a handshake or a RST
	resent   []resent  // as of the last pass, in the order of IDs
	raised   map[findingLabels]uint64
	totals   totals
	outputs  outputs
}

// New returns Metrics of a capture that has not begun.
func New(cfg Config) *Metrics {
	if cfg.MaxServices <= 0 {
		cfg.MaxServices = DefaultMaxServices
	}
	cfg.Every = cmp.Or(max(cfg.Every, 0), DefaultEvery)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	m := &Metrics{
		cfg: cfg, registry: prometheus.NewRegistry(),
		services: newPlaces[service](cfg.MaxServices), clients: newPlaces[serviceClient](cfg.MaxServices), process: newPlaces[string](cfg.MaxServices),
		figures: make([]figures, cfg.MaxServices+1), raised: make(map[findingLabels]uint64),
		handshakes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tcpleak_service_handshake_seconds",
			Help: "Time from the first SYN to the ACK that completes the handshake, repeated SYNs included, as seen where the capture is.",
			// A SYN is repeated after 1, 3 and 7 seconds.
			Buckets:                     []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 3, 7},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"service"}),
	}
	m.handshakes.WithLabelValues(otherService)
	for _, about := range diagnosis.Kinds() {
		for severity := about.Severity; severity <= about.Worst; severity++ {
			for _, service := range []string{otherService, noService} {
				m.raised[findingLabels{about.Kind, severity, service}] = 0
			}
		}
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tcpleak_build_info", Help: "1, with the version of tcpleak and of Go as labels.",
		ConstLabels: prometheus.Labels{"version": label(cmp.Or(cfg.Version, "unknown")), "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.handshakes, &collector{shown: &m.shown},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics to Prometheus. Before the first Observe there are only those of tcpleak's own process.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, Registry: m.registry,
		// What is slow to read its answer must not gather others behind it.
		MaxRequestsInFlight: 8, Timeout: 10 * time.Second,
	})
}

// Gatherer returns what a scrape returns, for those who send it elsewhere. It may be used concurrently.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Observe takes over what a judgement found. It must be called before the table takes in more, and always by the same
// goroutine. Where the capture and the table have begun anew, which fewer packets than before tell, counters go on; a table that
// outlives its capture needs packets that are numbered on.
func (m *Metrics) Observe(o Observation) {
	clock := m.cfg.Clock()
	p := &picture{connections: o.Capture.Connections, bytes: o.Capture.Bytes, states: o.Analysis.Counts.States, judged: clock, lean: o.Capture.Lean}
	if o.Capture.Packets < m.totals.packets.last {
		m.packet, m.resent = 0, nil // packets and connections are numbered from 1 again
	}
	m.admitFindings(&o)
	if !clock.Before(m.due) {
		m.count(o.Analysis, o.Now)
		took := m.cfg.Clock().Sub(clock)
		m.counted.at, m.counted.took = clock, took
		m.due = clock.Add(max(m.cfg.Every, countShare*took))
	}
	p.counted = m.counted
	p.findings, p.growth = m.findings(&o)
	if m.cfg.ByProcess {
		p.processes = m.processes(&o)
	}
	m.totals.take(&o.Capture)
	p.outputs = m.outputs.take(o.Outputs)
	p.totals = m.totals.snapshot()
	m.shown.Store(p)
}
