package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// picture is what scrapes are told until the next Observe. It does not change.
type picture struct {
	connections int
	bytes       int
	totals      totals
	states      [tcp.NumStates][2]int
	judged      time.Time
	lean        bool
	findings    []countedFindings
	growth      map[string]float64 // of leaks, connections per minute by service
	processes   []countedProcess
	counted     *counted
	outputs     []countedOutput
}

// family describes the series of one name.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc("tcpleak_"+name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc("tcpleak_"+name, help, labels, nil), prometheus.GaugeValue}
}

var (
	endpoints         = gauge("endpoints", "Ends of the connections held, by RFC 9293 state and role.", "state", "role")
	serviceEndpoints  = gauge("service_endpoints", "Ends of the connections held, by service, RFC 9293 state and role. Lags: see tcpleak_services_counted_timestamp_seconds.", "service", "state", "role")
	oldestCloseWait   = gauge("service_oldest_close_wait_seconds", "For how long the oldest end in CLOSE_WAIT has been so, at least, by the end's role; 0 if there is none. Lags.", "service", "role")
	leakGrowth        = gauge("service_leak_growth_connections_per_minute", "How many more connections are left behind each minute, of findings of kind leak; 0 if there is none.", "service")
	resentSegments    = counter("service_retransmitted_segments_total", "Segments that were sent again, by the sender's role. Lags.", "service", "role")
	resets            = counter("service_resets_total", "Ends of connections that sent a RST, once each, refusals included. Lags.", "service", "role")
	clientConnections = gauge("service_client_connections", "Open connections by service and address of the client. Lags.", "service", "client")

	findingsActive     = gauge("findings_active", "Findings that stand now.", "kind", "severity", "service")
	findingConnections = gauge("finding_connections", "Connections that the findings that stand now are about; one may have several.", "kind", "severity", "service")
	findingsRaised     = counter("findings_raised_total", "Findings raised, with the severity that they had then.", "kind", "severity", "service")
	processFindings    = gauge("process_findings", "Findings that stand now and whose sockets a process of this host holds, by its name.", "process", "kind")

	capturePackets    = counter("capture_packets_total", "Packets read.")
	captureSegments   = counter("capture_segments_total", "TCP segments taken in, duplicates not counted.")
	captureDuplicates = counter("capture_duplicate_segments_total", "TCP segments that the capture showed more than once.")
	captureDropped    = counter("capture_dropped_packets_total", "Packets that were lost on their way into the capture, by who dropped them.", "by")
	captureSkipped    = counter("capture_skipped_packets_total", "Packets read that gave no TCP segment, by reason.", "reason")

	tableConnections = gauge("table_connections", "Connections held.")
	tableBytes       = gauge("table_bytes", "Memory that the connections take, with what is set aside for more of them.")
	tableEvicted     = counter("table_evicted_connections_total", "Connections forgotten to keep within the limits, by what they were.", "kind")

	agentLean        = gauge("agent_lean", "1 while the kernel keeps payload back, so that the capture costs less; else 0.")
	agentLeanChanges = counter("agent_lean_changes_total", "How often the agent began or ended that by itself, to stay below its share of a processor.")

	outputSent     = counter("output_sent_findings_total", "Findings that were raised, updated or cleared and that the output has taken.", "output")
	outputLost     = counter("output_lost_findings_total", "Findings that do not arrive at the output, by reason: its queue had no room, or it refused them.", "output", "reason")
	outputQueued   = gauge("output_queued_findings", "Findings that wait for the output, or are being sent.", "output")
	outputFailures = counter("output_failures_total", "Attempts to send that failed.", "output")
	outputUp       = gauge("output_up", "1 if the output takes what is sent, 0 since it failed last.", "output")

	servicesHeld    = gauge("services", "Services that have series of their own; all others are \"other\".")
	judgedAt        = gauge("judged_timestamp_seconds", "When the connections were last judged.")
	servicesCounted = gauge("services_counted_timestamp_seconds", "When the connections were last counted by service: how old figures are that lag.")
	servicesTook    = gauge("services_counting_duration_seconds", "How long the last count by service took.")
)

var families = []family{
	endpoints, serviceEndpoints, oldestCloseWait, leakGrowth, resentSegments, resets, clientConnections,
	findingsActive, findingConnections, findingsRaised, processFindings,
	capturePackets, captureSegments, captureDuplicates, captureDropped, captureSkipped,
	tableConnections, tableBytes, tableEvicted, agentLean, agentLeanChanges,
	outputSent, outputLost, outputQueued, outputFailures, outputUp, servicesHeld, judgedAt, servicesCounted, servicesTook,
}

// collector answers scrapes, any number at a time.
type collector struct{ shown *atomic.Pointer[picture] }

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for i := range families {
		ch <- families[i].desc
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	p := c.shown.Load()
	if p == nil {
		return
	}
	send := func(f family, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
	}
	seconds := func(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

	for state := range tcp.NumStates {
		for role := tracker.Client; role <= tracker.Server; role++ {
			send(endpoints, float64(p.states[state][role]), tcp.State(state).String(), role.String())
		}
	}
	for i := range p.findings {
		f := &p.findings[i]
		labels := []string{string(f.kind), f.severity.String(), f.service}
		send(findingsActive, float64(f.active), labels...)
		send(findingConnections, float64(f.connections), labels...)
		send(findingsRaised, float64(f.raised), labels...)
	}
	for _, n := range p.processes {
		send(processFindings, float64(n.active), n.process, string(n.kind))
	}
	t := &p.totals
	send(capturePackets, float64(t.packets.sum))
	send(captureSegments, float64(t.segments.sum))
	send(captureDuplicates, float64(t.duplicates.sum))
	send(captureDropped, float64(t.droppedKernel.sum), "kernel")
	send(captureDropped, float64(t.droppedInterface.sum), "interface")
	for reason, n := range t.skipped {
		send(captureSkipped, float64(n.sum), reason)
	}
	send(tableConnections, float64(p.connections))
	send(tableBytes, float64(p.bytes))
	for i, kind := range evictionKinds {
		send(tableEvicted, float64(t.evicted[i].sum), kind)
	}
	lean := 0.
	if p.lean {
		lean = 1
	}
	send(agentLean, lean)
	send(agentLeanChanges, float64(t.leanChanges.sum))
	for i := range p.outputs {
		o := &p.outputs[i]
		up := 0.
		if o.Up {
			up = 1
		}
		send(outputUp, up, o.Kind)
		send(outputFailures, float64(o.failed), o.Kind)
		if !o.Events {
			continue
		}
		send(outputSent, float64(o.sent), o.Kind)
		send(outputLost, float64(o.noRoom), o.Kind, "no_room")
		send(outputLost, float64(o.refused), o.Kind, "refused")
		send(outputQueued, float64(o.Queued), o.Kind)
	}
	send(judgedAt, seconds(p.judged))

	n := p.counted
	send(servicesHeld, float64(len(n.services)-1)) // not the others
	send(servicesCounted, seconds(n.at))
	send(servicesTook, n.took.Seconds())
	for i := range n.services {
		s := &n.services[i]
		for state := range tcp.NumStates {
			for role := tracker.Client; role <= tracker.Server; role++ {
				send(serviceEndpoints, float64(s.states[state][role]), s.name, tcp.State(state).String(), role.String())
			}
		}
		for role := tracker.Client; role <= tracker.Server; role++ {
			send(oldestCloseWait, s.oldest[role].Seconds(), s.name, role.String())
			send(resentSegments, float64(s.resent[role]), s.name, role.String())
			send(resets, float64(s.resets[role]), s.name, role.String())
		}
	}
	for i := range n.services {
		send(leakGrowth, p.growth[n.services[i].name], n.services[i].name)
	}
	for i := range n.clients {
		send(clientConnections, float64(n.clients[i].connections), n.clients[i].service, n.clients[i].client)
	}
}
