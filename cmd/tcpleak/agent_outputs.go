package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"time"

	"tcpleak/config"
	"tcpleak/deliver"
	"tcpleak/metrics"
)

// outputs are where the settings send events.
func (a *agent) outputs(s *config.Agent) ([]deliver.Config, error) {
	var all []deliver.Config
	if o := &s.Outputs; o.Lines {
		to, name := a.stdout, "standard output"
		if o.LinesFile != "" {
			name = o.LinesFile
			to = &appended{name: o.LinesFile}
		}
		all = append(all, deliver.Config{Output: deliver.NewLines(name, to)})
	}
	if w := &s.Outputs.Webhook; w.URL != "" {
		out, err := deliver.NewWebhook(deliver.WebhookConfig{
			Endpoint: deliver.Endpoint{URL: w.URL, Headers: w.Headers, TokenFile: w.TokenFile}, Host: hostName(),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, deliver.Config{Output: out, Capacity: w.Queue, Timeout: w.Timeout})
	}
	if c := &s.Outputs.OTLP; c.Endpoint != "" {
		out, err := deliver.NewOTLP(a.collector(s))
		if err != nil {
			return nil, err
		}
		all = append(all, deliver.Config{Output: out})
	}
	for i := range all {
		all[i].Tell = a.outputSays
	}
	return all, nil
}

// outputsFare is what metrics say of the outputs.
func (a *agent) outputsFare() (all []metrics.Output) {
	add := func(s deliver.Stats, events bool) {
		all = append(all, metrics.Output{Kind: s.Kind, Events: events, Queued: s.Queued, Sent: s.Sent, Lost: s.Lost, Refused: s.Refused, Failed: s.Failed, Up: s.Down.IsZero()})
	}
	for _, s := range a.out.Stats() {
		add(s, true)
	}
	if a.sent != nil {
		add(a.sent.Stats(), false)
	}
	return all
}

// outputSays says how an output fares. It is called once the capture has begun, from several goroutines.
func (a *agent) outputSays(line string) { fmt.Fprintln(a.stderr, "tcpleak: "+oneLine(line)) }

func (a *agent) collector(s *config.Agent) deliver.OTLPConfig {
	o := &s.Outputs.OTLP
	return deliver.OTLPConfig{
		Endpoint: deliver.Endpoint{URL: o.URL(), Headers: o.Headers}, GRPC: o.Protocol == config.OverGRPC,
		Host: hostName(), Version: version, Instance: instance(), Tell: a.outputSays,
	}
}

// metricsTo begins to send metrics to the collector that the settings name, if any. It waits for none.
func (a *agent) metricsTo(s *config.Agent) (*deliver.Metrics, error) {
	if s.Outputs.OTLP.Endpoint == "" {
		return nil, nil
	}
	return deliver.NewMetrics(a.collector(s), 0, a.metrics.Gatherer())
}

// sendMetrics goes over to what metricsTo returned.
func (a *agent) sendMetrics(to *deliver.Metrics) {
	leave(a.sent, drain)
	a.sent = to
}

// leave ends what metricsTo began, with so much time for the last numbers. What does not arrive is in those that go elsewhere.
func leave(m *deliver.Metrics, within time.Duration) {
	if m == nil {
		return
	}
	go func() {
		ctx, stop := context.WithTimeout(context.Background(), within)
		defer stop()
		_ = m.Close(ctx)
	}()
}

// instance tells this start of the agent apart from others, of this host and of others.
var instance = sync.OnceValue(func() string {
	var id [8]byte
	rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
})

// hostName is "" where it is not known: the receiver knows whom it talks to.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// appended is a file that is opened for each batch of lines, so that it may be rotated away.
type appended struct{ name string }

func (f *appended) Write(b []byte) (int, error) {
	file, err := os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return 0, err
	}
	n, err := file.Write(b)
	return n, cmp.Or(err, file.Close())
}
