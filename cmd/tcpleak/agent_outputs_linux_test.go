package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/internal/kernel"
)

// until asks done again and again, as long as is bearable.
func until(t *testing.T, what func() string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > 2*hang {
			t.Fatalf("%v are over: %s", 2*hang, what())
		}
	}
}

// kill ends a program without a word of warning.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// told are the events that an agent has written to its standard output, by their ids, in order.
type told struct {
	ids  []string
	text map[string]string
}

// hear takes in the lines until there are n.
func (e *told) hear(t *testing.T, agent *process, n int) {
	t.Helper()
	for len(e.ids) < n {
		l := agent.next(t)
		var about struct{ ID string }
		if err := json.Unmarshal([]byte(l.text), &about); err != nil {
			t.Fatalf("%v: %s", err, l.text)
		}
		if e.text == nil {
			e.text = make(map[string]string)
		}
		e.ids = append(e.ids, about.ID)
		e.text[about.ID] = l.text
	}
}

// spot is one more address of the server: a service with findings of its own.
type spot struct {
	client   *kernel.Host
	at       netip.AddrPort
	listener *kernel.Socket
}

func (h *hosts) spots(t *testing.T, n int) (spots []spot) {
	t.Helper()
	act(t, func() {
		for i := range n {
			addr := netip.AddrFrom4([4]byte{10, 77, 0, byte(100 + i)})
			h.Server.AddAddress(addr)
			at := netip.AddrPortFrom(addr, 80)
			spots = append(spots, spot{h.Client, at, h.Server.Listen(at, 16)})
		}
	})
	return spots
}

// leak is a connection that the server forgets to close. It returns the server's end.
func (s spot) leak() *kernel.Socket {
	client := s.client.Dial(s.at)
	server := s.listener.Accept()
	client.Close()
	server.RecvEOF()
	return server
}

// arrivals are what a receiver has written down: the id and the text of each event, in order.
type arrivals struct{ ids, texts []string }

// missing says which of the events have not arrived, or what else is wrong with what has; it is "" for nothing.
func (a arrivals) missing(sent *told) string {
	first := make(map[string]string)
	var order []string
	for i, id := range a.ids {
		if text, twice := first[id]; !twice {
			first[id] = a.texts[i]
			order = append(order, id)
		} else if text != a.texts[i] {
			return fmt.Sprintf("%s arrived again as something else:\n%s\n%s", id, text, a.texts[i])
		}
	}
	return cmp.Diff(sent.ids, order)
}

// posted reads what webhook-receiver has written.
func posted(t *testing.T, file string) (a arrivals) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var body struct {
			Host   string
			Events []json.RawMessage
		}
		if d.Decode(&body) != nil {
			return a // the end, or what is being written
		}
		for _, text := range body.Events {
			var about struct{ ID string }
			if err := json.Unmarshal(text, &about); err != nil {
				t.Fatal(err)
			}
			a.ids, a.texts = append(a.ids, about.ID), append(a.texts, string(text))
		}
	}
}

// The receiver is killed while findings are raised, comes back, and dies once more before it has answered.
func TestAWebhookThatIsKilledMissesNothing(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	spots := h.spots(t, 5)
	file := filepath.Join(t.TempDir(), "posted")
	address := h.Server.V4.String() + ":8080"
	receiver := h.launch(t, "ready", "webhook-receiver", address, file)
	agent, get := h.agent(t, "thresholds: {stuck_close_wait: 200ms}\noutputs: {webhook: {url: \"http://"+address+"/hook\"}}\n")
	var sent told
	arrived := func(n int) {
		t.Helper()
		sent.hear(t, agent, n)
		until(t, func() string { return posted(t, file).missing(&sent) + agent.stderr() }, func() bool { return posted(t, file).missing(&sent) == "" })
	}
	var forgotten *kernel.Socket
	act(t, func() { forgotten = spots[0].leak() })
	arrived(1)

	receiver.kill(t)
	act(t, func() {
		for _, s := range spots[1:4] {
			s.leak()
		}
		forgotten.Close()
	})
	sent.hear(t, agent, 1+3+1)
	waitFor(t, agent, "webhook "+address+": is tried again, and events wait: no answer: ")
	until(t, func() string { return get("/metrics") }, func() bool {
		return strings.Contains(get("/metrics"), "\ntcpleak_output_up{output=\"webhook\"} 0\n")
	})
	receiver = h.launch(t, "ready", "webhook-receiver", address, file, "last")
	select {
	case <-receiver.ended:
	case <-time.After(hang):
		t.Fatalf("nothing is posted to who is back: %s", agent.stderr())
	}
	h.launch(t, "ready", "webhook-receiver", address, file)
	act(t, func() { spots[4].leak() })
	arrived(6)
	waitFor(t, agent, "takes events again")
	until(t, func() string { return get("/metrics") }, func() bool {
		all := get("/metrics")
		return strings.Contains(all, "\ntcpleak_output_up{output=\"webhook\"} 1\n") && strings.Contains(all, "\ntcpleak_output_sent_findings_total{output=\"webhook\"} 6\n")
	})
	if got := posted(t, file); len(got.ids) < len(sent.ids)+1 {
		t.Errorf("%d events arrived for %d, though an answer was lost: %q", len(got.ids), len(sent.ids), got.ids)
	}
}

// collectorProgram builds the collector, which the Makefile has done before where it calls the tests.
var collectorProgram = sync.OnceValues(func() (string, error) {
	const module = "../../internal/deployment/collector"
	program, err := filepath.Abs("../../bin/collector")
	if err != nil {
		return "", err
	}
	if built, err := os.Stat(program); err == nil {
		current := true
		for _, name := range []string{"main.go", "go.mod", "go.sum"} {
			source, err := os.Stat(filepath.Join(module, name))
			current = current && err == nil && built.ModTime().After(source.ModTime())
		}
		if current {
			return program, nil
		}
	}
	out, err := exec.Command("go", "build", "-C", module, "-buildvcs=false", "-o", program, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

// collector starts an OpenTelemetry collector on the server, which appends to the file. It takes OTLP over HTTP at port 4318,
// and over gRPC at 4317.
func (h *hosts) collector(t *testing.T, file string) *process {
	t.Helper()
	program, err := collectorProgram()
	if err != nil {
		t.Skipf("there is no OpenTelemetry collector: tools/install-deps.sh test builds it, with modules from the Go proxy (%v)", err)
	}
	configuration := filepath.Join(t.TempDir(), "collector.yaml")
	text := fmt.Sprintf(`
receivers: {otlp: {protocols: {http: {endpoint: "%[1]s:4318"}, grpc: {endpoint: "%[1]s:4317"}}}}
exporters: {file: {path: %[2]s, append: true, flush_interval: 50ms}}
service:
  pipelines:
    logs: {receivers: [otlp], exporters: [file]}
    metrics: {receivers: [otlp], exporters: [file]}
`, h.Server.V4, file)
	if err := os.WriteFile(configuration, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h.launch(t, "Everything is ready", program, "--config="+configuration)
}

// attribute is one of OTLP in JSON.
type attribute struct {
	Key   string
	Value map[string]any
}

// values are the attributes by name, as text.
func values(attributes []attribute) map[string]string {
	all := make(map[string]string)
	for _, a := range attributes {
		for _, v := range a.Value {
			all[a.Key] = fmt.Sprint(v)
		}
	}
	return all
}

// collected is what a collector's file has.
type collected struct {
	resources []map[string]string
	records   []record
	metrics   map[string]bool // by name and attributes
}

type record struct {
	EventName, SeverityText string
	SeverityNumber          int
	Body                    struct{ StringValue string }
	Attributes              []attribute
}

func collectedIn(t *testing.T, file string) collected {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := collected{metrics: make(map[string]bool)}
	type resource struct{ Attributes []attribute }
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var line struct {
			ResourceLogs []struct {
				Resource  resource
				ScopeLogs []struct{ LogRecords []record }
			}
			ResourceMetrics []struct {
				Resource     resource
				ScopeMetrics []struct {
					Metrics []struct {
						Name  string
						Gauge struct {
							DataPoints []struct{ Attributes []attribute }
						}
					}
				}
			}
		}
		if d.Decode(&line) != nil {
			return c // the end, or what is being written
		}
		for _, r := range line.ResourceLogs {
			c.resources = append(c.resources, values(r.Resource.Attributes))
			for _, scope := range r.ScopeLogs {
				c.records = append(c.records, scope.LogRecords...)
			}
		}
		for _, r := range line.ResourceMetrics {
			c.resources = append(c.resources, values(r.Resource.Attributes))
			for _, scope := range r.ScopeMetrics {
				for _, m := range scope.Metrics {
					c.metrics[m.Name] = true
					for _, point := range m.Gauge.DataPoints {
						c.metrics[m.Name+" "+fmt.Sprint(values(point.Attributes))] = true
					}
				}
			}
		}
	}
}

// arrivals are the records as those of a webhook.
func (c collected) arrivals() (a arrivals) {
	for _, r := range c.records {
		a.ids, a.texts = append(a.ids, values(r.Attributes)["log.record.uid"]), append(a.texts, fmt.Sprint(r))
	}
	return a
}

// protocols are how a collector can be spoken to.
var protocols = map[string]string{"http": "4318", "grpc": "4317"}

// otlp is what an agent is told of a collector on its own host.
func (h *hosts) otlp(protocol string) string {
	return fmt.Sprintf("thresholds: {stuck_close_wait: 200ms}\noutputs: {otlp: {endpoint: \"%s:%s\", insecure: true, protocol: %s}}\n", h.Server.V4, protocols[protocol], protocol)
}

func TestACollectorTakesFindingsAndMetrics(t *testing.T) {
	for _, protocol := range slices.Sorted(maps.Keys(protocols)) {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			h := newHosts(t)
			file := filepath.Join(t.TempDir(), "collected")
			h.collector(t, file)
			agent, _ := h.agent(t, h.otlp(protocol))
			var sent told
			var forgotten *kernel.Socket
			act(t, func() { forgotten = h.leak(h.Client) })
			sent.hear(t, agent, 1)
			act(t, forgotten.Close)
			sent.hear(t, agent, 2)
			// In the end, it sends what is left, and its metrics.
			if lines, status := agent.interrupt(t); status != statusOK || len(lines) > 0 {
				t.Errorf("exit status %d, and more lines %s: %s", status, lines, agent.stderr())
			}
			until(t, func() string { return "no metrics came" }, func() bool { return len(collectedIn(t, file).metrics) > 0 })

			c := collectedIn(t, file)
			if wrong := c.arrivals().missing(&sent); wrong != "" {
				t.Fatal(wrong)
			}
			var got []string
			for i, r := range c.records {
				a := values(r.Attributes)
				got = append(got, fmt.Sprint(r.EventName, " ", r.SeverityNumber, " ", r.SeverityText, " ", a["tcpleak.event"], " ", a["tcpleak.kind"], " ",
					a["tcpleak.severity"], " ", a["tcpleak.role"], " ", a["tcpleak.culprit"], " ", a["tcpleak.service"]))
				if i == 0 && (!strings.HasPrefix(r.Body.StringValue, "The server 10.77.0.2:80 has not closed its end") || !strings.Contains(a["tcpleak.next"], "ss -tnp")) {
					t.Errorf("the first record is %+v", r)
				}
			}
			want := []string{
				"tcpleak.finding 13 warning raised stuck_close_wait warning server 10.77.0.2:80 10.77.0.2:80",
				"tcpleak.finding 9 info cleared stuck_close_wait warning server 10.77.0.2:80 10.77.0.2:80",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			host, err := os.Hostname()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range c.resources {
				if r["service.name"] != "tcpleak" || r["host.name"] != host || r["service.version"] != version || r["service.instance.id"] == "" ||
					r["service.instance.id"] != c.resources[0]["service.instance.id"] {
					t.Errorf("a resource is %v", r)
				}
			}
			for _, name := range []string{
				"tcpleak_capture_packets_total", "tcpleak_service_handshake_seconds", "process_cpu_seconds_total",
				"tcpleak_findings_active " + fmt.Sprint(map[string]string{"service": "10.77.0.2:80", "kind": "stuck_close_wait", "severity": "warning"}),
			} {
				if !c.metrics[name] {
					t.Errorf("there is no %s among %d metrics", name, len(c.metrics))
				}
			}
		})
	}
}

// An agent that sends nothing is told of a collector by a reload.
func TestACollectorThatIsNamedLater(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	file := filepath.Join(t.TempDir(), "collected")
	h.collector(t, file)
	agent, _ := h.agent(t, "thresholds: {stuck_close_wait: 200ms}\n")
	path := agent.cmd.Args[3]
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(string(old)+"outputs: {otlp: {endpoint: \""+h.Server.V4.String()+":4317\", insecure: true, protocol: grpc}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := agent.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, agent, "the configuration was read again")
	act(t, func() { h.leak(h.Client) })
	var sent told
	sent.hear(t, agent, 1)
	if _, status := agent.interrupt(t); status != statusOK {
		t.Errorf("exit status %d: %s", status, agent.stderr())
	}
	until(t, func() string { return "not all came: " + agent.stderr() }, func() bool {
		c := collectedIn(t, file)
		return len(c.metrics) > 0 && c.arrivals().missing(&sent) == ""
	})
}

// The collector is killed while findings are raised, and comes back.
func TestACollectorThatIsKilledMissesNothing(t *testing.T) {
	for _, protocol := range slices.Sorted(maps.Keys(protocols)) {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			h := newHosts(t)
			spots := h.spots(t, 5)
			file := filepath.Join(t.TempDir(), "collected")
			collector := h.collector(t, file)
			agent, _ := h.agent(t, h.otlp(protocol))
			var sent told
			arrived := func(n int) {
				t.Helper()
				sent.hear(t, agent, n)
				missing := func() string { return collectedIn(t, file).arrivals().missing(&sent) }
				until(t, func() string { return missing() + agent.stderr() }, func() bool { return missing() == "" })
			}
			var forgotten *kernel.Socket
			act(t, func() { forgotten = spots[0].leak() })
			arrived(1) // what it has taken and not yet written, it would lose

			collector.kill(t)
			act(t, func() {
				for _, s := range spots[1:4] {
					s.leak()
				}
				forgotten.Close()
			})
			sent.hear(t, agent, 1+3+1)
			waitFor(t, agent, "is tried again, and events wait: ")
			h.collector(t, file)
			act(t, func() { spots[4].leak() })
			arrived(6)
			waitFor(t, agent, "takes events again")
		})
	}
}

// seriesOf are the names and labels of a page of metrics.
func seriesOf(page string) map[string]bool {
	all := make(map[string]bool)
	for line := range strings.Lines(page) {
		if end := strings.LastIndexByte(line, ' '); end > 0 && strings.HasPrefix(line, "tcpleak_") {
			all[line[:end]] = true
		}
	}
	return all
}

var (
	capturedPackets = regexp.MustCompile(`(?m)^tcpleak_capture_packets_total (\S+)$`)
	countedServices = regexp.MustCompile(`(?m)^tcpleak_services_counted_timestamp_seconds (\S+)$`)
)

// 10,000 addresses ask for as many ports, one of them for a hundred, and a thousand for the one that is open.
func TestTenThousandAddressesAndPortsMakeNoSeries(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	agent, get := h.agent(t, "filter: tcp and not port 9777\n")
	act(t, h.healthy)
	const service = `tcpleak_service_endpoints{role="server",service="10.77.0.2:80",state="LISTEN"}`
	until(t, func() string { return "the service is not counted: " + get("/metrics") }, func() bool { return seriesOf(get("/metrics"))[service] })
	before := seriesOf(get("/metrics"))

	packets := func() int {
		found := capturedPackets.FindStringSubmatch(get("/metrics"))
		if found == nil {
			return 0
		}
		n, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	sent := packets()
	act(t, func() {
		// The client stands for them all: its kernel resets what the open port accepts, as that of a scanner does.
		h.Client.Command("", "ip", "route", "add", "local", "10.99.0.0/16", "dev", "lo")
		h.Server.Command("", "ip", "route", "add", "10.99.0.0/16", "via", h.Client.V4.String(), "dev", kernel.Device)
		var all []kernel.Tuple
		ask := func(source int, port uint16) {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, byte(source >> 8), byte(source)}), uint16(20000+source))
			all = append(all, kernel.Tuple{Src: from, Dst: netip.AddrPortFrom(h.Server.V4, port)})
		}
		for i := range 10_000 {
			ask(i, uint16(10000+i))
			if i%10 == 0 {
				ask(i, 80)
			}
			if i%100 == 0 {
				ask(10_000, uint16(1000+i))
			}
		}
		h.Client.InjectEach(all)
		sent += len(all)
	})
	until(t, func() string {
		return fmt.Sprint(packets(), " packets captured of ", sent, ": ", agent.stderr(), get("/metrics"))
	}, func() bool { return packets() >= sent })
	findings := func() string { return get("/api/v1/findings") }
	until(t, findings, func() bool { return strings.Contains(findings(), `"kind":"port_scan"`) })
	// What has been counted by service at least once more has all that there is.
	counted := func() string {
		page := get("/metrics")
		if !strings.HasPrefix(page, "200 ") {
			t.Fatalf("no metrics: %.500s", page)
		}
		return countedServices.FindString(page)
	}
	last := counted()
	until(t, func() string { return "services are not counted again" }, func() bool { return counted() != last })

	if diff := cmp.Diff(before, seriesOf(get("/metrics"))); diff != "" {
		t.Errorf("series before and after (-before +after):\n%s", diff)
	}
	if len(before) < 100 {
		t.Errorf("not the page that is meant: %v", before)
	}
}
