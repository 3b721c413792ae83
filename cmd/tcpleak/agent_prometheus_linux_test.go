package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tcpleak/internal/kernel"
)

// recommended is what deploy/prometheus/README.md says of how often to ask; the rules say themselves how often they are judged.
const recommended = "5s"

// prometheus runs a Prometheus on the server, which asks the agent there and has the rules that are shipped.
type prometheus struct {
	*process
	h                    *hosts
	configuration, store string
	client               http.Client
}

func (h *hosts) prometheus(t *testing.T, scrape string) *prometheus {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("prometheus is missing; tools/install-deps.sh test installs it, or the package prometheus of Debian")
	}
	rules, err := filepath.Abs("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &prometheus{h: h, configuration: filepath.Join(dir, "prometheus.yml"), store: filepath.Join(dir, "data")}
	text := fmt.Sprintf("rule_files: [%q]\nscrape_configs:\n  - job_name: tcpleak\n    scrape_interval: %s\n    scrape_timeout: 1s\n    static_configs: [{targets: ['%s:9777']}]\n",
		rules, scrape, h.Server.V4)
	if err := os.WriteFile(p.configuration, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.client = http.Client{Timeout: hang, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
			h.Server.Run(func() { c, err = net.Dial(network, addr) })
			return c, err
		},
	}}
	p.begin(t)
	return p
}

// begin starts it, once more if it was killed.
func (p *prometheus) begin(t *testing.T) {
	t.Helper()
	p.process = p.h.launch(t, "Server is ready to receive web requests", "prometheus", "--config.file="+p.configuration, "--storage.tsdb.path="+p.store,
		"--web.listen-address="+p.h.Server.V4.String()+":9090")
}

// sample is a value at a time, both of Prometheus.
type sample struct {
	at    time.Time
	value float64
}

// UnmarshalJSON reads [1435781451.781,"1"].
func (s *sample) UnmarshalJSON(b []byte) error {
	var at float64
	var value string
	if err := json.Unmarshal(b, &[]any{&at, &value}); err != nil {
		return err
	}
	s.at = time.UnixMilli(int64(at * 1000))
	var err error
	s.value, err = strconv.ParseFloat(value, 64)
	return err
}

// query returns the samples of the first series that an expression gives, or nil.
func (p *prometheus) query(t *testing.T, expression string) []sample {
	t.Helper()
	response, err := p.client.Get(fmt.Sprintf("http://%s:9090/api/v1/query?query=%s", p.h.Server.V4, url.QueryEscape(expression)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Value  *sample
				Values []sample
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %v %s", expression, err, answer.Error)
	}
	if len(answer.Data.Result) == 0 {
		return nil
	}
	r := answer.Data.Result[0]
	if r.Value != nil {
		return []sample{*r.Value}
	}
	return r.Values
}

const (
	leakRule = `ALERTS{alertname="TcpleakLeak",alertstate="firing",severity="critical",service="10.77.0.2:80"}`
	// A connection counts as left behind after 5 s in CLOSE_WAIT, whatever the threshold.
	leakThreshold = 3 * time.Second
)

func TestPrometheusFiresTheAlertForALeakOnTheWire(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	agent, _ := h.agent(t, fmt.Sprintf("thresholds: {leak: \"%s, 5\"}\nonly: [leak]\n", leakThreshold))
	p := h.prometheus(t, recommended)
	began := time.Now()
	var fired []sample
	// Far more than it takes: whether it fires at all is one thing, how soon another, which Prometheus's own clock tells.
	for end := began.Add(90 * time.Second); fired == nil; time.Sleep(330 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the alert does not fire; the agent says %s", agent.stderr())
		}
		act(t, func() { h.leak(h.Client) })
		fired = p.query(t, leakRule+"[5m]")
	}
	took := fired[0].at.Sub(began)
	t.Logf("the alert fires %s after the first connection was left behind; the threshold is %s", took.Round(time.Millisecond), leakThreshold)
	if most := leakThreshold + 30*time.Second; took > most {
		t.Errorf("the alert fires %s after the leak began, want %s at most", took, most)
	}
}

// Prometheus is killed before a finding is raised, and comes back while it stands.
func TestAPrometheusThatIsKilledMissesNothing(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	agent, _ := h.agent(t, "thresholds: {syn_flood: 5}\nonly: [syn_flood]\n")
	p := h.prometheus(t, "1s")
	const packets = `tcpleak_capture_packets_total{job="tcpleak"}`
	act(t, h.healthy)
	until(t, func() string { return "nothing is scraped" }, func() bool { return p.query(t, packets) != nil })
	p.kill(t)
	killed := time.Now()

	act(t, func() {
		h.Server.Command("", "ip", "route", "add", "10.99.0.0/16", "via", h.Client.V4.String(), "dev", kernel.Device)
		var flood []kernel.Tuple
		for i := range 10 { // from where no answer comes
			flood = append(flood, kernel.Tuple{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 1)}), 40000), Dst: h.service()})
		}
		h.Client.InjectEach(flood)
	})
	if raised := agent.next(t); !strings.Contains(raised.text, `"event":"raised"`) || !strings.Contains(raised.text, `"kind":"syn_flood"`) {
		t.Errorf("the first line is %s", raised.text)
	}
	p.begin(t)
	var fired []sample
	until(t, func() string { return "the alert does not fire: " + agent.stderr() }, func() bool {
		fired = p.query(t, `ALERTS{alertname="TcpleakSYNFlood",alertstate="firing",severity="critical",service="10.77.0.2:80"}[5m]`)
		return fired != nil
	})
	if fired[0].at.Before(killed) {
		t.Errorf("it fired at %s, before it was killed at %s", fired[0].at, killed)
	}
	if raised := p.query(t, `tcpleak_findings_raised_total{kind="syn_flood",service="10.77.0.2:80"}`); len(raised) != 1 || raised[0].value != 1 {
		t.Errorf("findings raised meanwhile: %v", raised)
	}
	history := p.query(t, packets+"[10m]")
	if len(history) < 2 || history[0].at.After(killed) {
		t.Fatalf("what it had before is gone: %v", history)
	}
	for i := 1; i < len(history); i++ {
		if history[i].value < history[i-1].value {
			t.Errorf("the counter goes back: %v", history)
		}
	}
}
