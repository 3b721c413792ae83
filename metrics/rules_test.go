package metrics

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

var update = flag.Bool("update", false, "write deploy/prometheus/rules.yml instead of comparing with it")

const rulesFile = "../deploy/prometheus/rules.yml"

// An alert is a rule, and what makes it fire.
type alert struct {
	name, expr, wait, severity string
	summary                    string
	kind                       diagnosis.Kind // that says what it means and what to do
	description                string         // where no kind does, or in front of it
	next                       []string       // where no kind does

	// A series a line, as promtool takes them, 5 s apart: with the first it fires after a while, and not with the second.
	fires, quiet string
	labels       string // of the one that fires, but for its name and severity
}

// What is found on each host is told for it: instance stays.
func standing(kind diagnosis.Kind) string {
	return fmt.Sprintf("sum by (job, instance, service) (tcpleak_findings_active{kind=%q}) > 0", kind)
}

func active(kind diagnosis.Kind, severity, values string) string {
	return fmt.Sprintf(`tcpleak_findings_active{job="tcpleak",instance="a:9777",kind=%q,service="10.0.0.2:80",severity=%q} %s`, kind, severity, values)
}

const (
	onService = ` instance="a:9777", job="tcpleak", service="10.0.0.2:80"`
	onHost    = ` instance="a:9777", job="tcpleak"`
)

var alerts = []alert{
	{
		name: "TcpleakLeak", kind: diagnosis.Leak, severity: "critical", expr: standing(diagnosis.Leak),
		summary: "Connections of {{ $labels.service }} leak, as seen on {{ $labels.instance }}",
		fires:   active(diagnosis.Leak, "critical", "0x3 1x100"), quiet: active(diagnosis.Leak, "critical", "0x100"), labels: onService,
	},
	{
		name: "TcpleakCloseWaitStuck", kind: diagnosis.StuckCloseWait, severity: "warning", wait: "1m",
		expr:    "max by (job, instance, service, role) (tcpleak_service_oldest_close_wait_seconds) > 300",
		summary: "The {{ $labels.role }} of {{ $labels.service }} has not closed for {{ $value | humanizeDuration }}, as seen on {{ $labels.instance }}",
		fires:   `tcpleak_service_oldest_close_wait_seconds{job="tcpleak",instance="a:9777",service="10.0.0.2:80",role="server"} 0+5x100`,
		quiet:   `tcpleak_service_oldest_close_wait_seconds{job="tcpleak",instance="a:9777",service="10.0.0.2:80",role="server"} 200x100`,
		labels:  onService + `, role="server"`,
	},
	{
		name: "TcpleakAcceptQueueFull", kind: diagnosis.AcceptQueueFull, severity: "critical", expr: standing(diagnosis.AcceptQueueFull),
		summary: "The accept queue of {{ $labels.service }} overflows, as seen on {{ $labels.instance }}",
		fires:   active(diagnosis.AcceptQueueFull, "critical", "0x3 1x100"), quiet: active(diagnosis.AcceptQueueFull, "critical", "0x100"), labels: onService,
	},
	{
		name: "TcpleakSYNFlood", kind: diagnosis.SYNFlood, severity: "critical", expr: standing(diagnosis.SYNFlood),
		summary: "{{ $labels.service }} is flooded with SYNs, as seen on {{ $labels.instance }}",
		fires:   active(diagnosis.SYNFlood, "critical", "0x3 2x100"), quiet: active(diagnosis.SYNFlood, "critical", "0x100"), labels: onService,
	},
	{
		name: "TcpleakSYNUnanswered", kind: diagnosis.UnansweredSYN, severity: "warning", wait: "15s",
		expr:    fmt.Sprintf("sum by (job, instance, service) (tcpleak_finding_connections{kind=%q}) >= 10", diagnosis.UnansweredSYN),
		summary: "{{ $value }} connections to {{ $labels.service }} get no answer, as seen on {{ $labels.instance }}",
		description: "With service=\"other\", these are servers that have never answered in this capture: the agent's log of findings " +
			"has their addresses.",
		fires:  `tcpleak_finding_connections{job="tcpleak",instance="a:9777",kind="unanswered_syn",service="10.0.0.2:80",severity="warning"} 0x3 12x100`,
		quiet:  `tcpleak_finding_connections{job="tcpleak",instance="a:9777",kind="unanswered_syn",service="10.0.0.2:80",severity="warning"} 9x100`,
		labels: onService,
	},
	{
		name: "TcpleakCaptureDrops", kind: diagnosis.CaptureGap, severity: "warning", wait: "1m",
		expr: "sum by (job, instance) (rate(tcpleak_capture_dropped_packets_total[2m])) > " +
			"0.001 * sum by (job, instance) (rate(tcpleak_capture_packets_total[2m]))",
		summary: "More than one packet in a thousand is lost on its way into the capture of {{ $labels.instance }}",
		fires: `tcpleak_capture_dropped_packets_total{job="tcpleak",instance="a:9777",by="kernel"} 0+10x100
tcpleak_capture_packets_total{job="tcpleak",instance="a:9777"} 0+1000x100`,
		quiet: `tcpleak_capture_dropped_packets_total{job="tcpleak",instance="a:9777",by="kernel"} 5x100
tcpleak_capture_packets_total{job="tcpleak",instance="a:9777"} 0+1000x100`,
		labels: onHost,
	},
	{
		name: "TcpleakForgets", severity: "warning", wait: "1m",
		expr:    `sum by (job, instance) (rate(tcpleak_table_evicted_connections_total{kind=~"established|half_closed"}[2m])) > 0`,
		summary: "tcpleak on {{ $labels.instance }} forgets connections that are open, to keep within its limits",
		description: "More connections are open at once than tcpleak may hold. Those that it forgets it cannot judge, so leaks may be " +
			"missed, and the counts by service are too low.",
		next: []string{
			"See how many there are, and of which service: `curl -s http://127.0.0.1:9777/metrics | grep tcpleak_service_endpoints`.",
			"Raise --max-connections, if the host has the memory: at most 400 octets for each.",
			"Or capture less, with a filter for the services that matter.",
		},
		fires:  `tcpleak_table_evicted_connections_total{job="tcpleak",instance="a:9777",kind="half_closed"} 0+1x100`,
		quiet:  `tcpleak_table_evicted_connections_total{job="tcpleak",instance="a:9777",kind="finished"} 0+1x100`,
		labels: onHost,
	},
	{
		name: "TcpleakFindingsLost", severity: "warning",
		expr:    "sum by (job, instance, output) (increase(tcpleak_output_lost_findings_total[10m])) > 0",
		summary: "Findings of {{ $labels.instance }} do not arrive at its output {{ $labels.output }}",
		description: "The output was away for longer than its queue could hold what was found, or it refuses what it is sent. Findings still " +
			"show in these metrics and on the agent's page.",
		next: []string{
			"See what the output says: `journalctl -u tcpleak | grep -E 'is tried again|refuses'`.",
			"Where it refuses (reason=\"refused\"), check its URL, path and token in /etc/tcpleak/tcpleak.yaml, and reload: `systemctl reload tcpleak`.",
			"Where there is no room, bring it back, or raise outputs.webhook.queue.",
		},
		fires:  `tcpleak_output_lost_findings_total{job="tcpleak",instance="a:9777",output="webhook",reason="no_room"} 0x3 0+1x100`,
		quiet:  `tcpleak_output_lost_findings_total{job="tcpleak",instance="a:9777",output="webhook",reason="no_room"} 7x100`,
		labels: onHost + `, output="webhook"`,
	},
	{
		name: "TcpleakOutputDown", severity: "warning", wait: "5m",
		expr:        "min by (job, instance, output) (tcpleak_output_up) == 0",
		summary:     "The output {{ $labels.output }} of {{ $labels.instance }} takes nothing",
		description: "What is found waits in a queue in memory, and is lost beyond what that holds, or when the agent ends.",
		next: []string{
			"See why: `journalctl -u tcpleak | grep -E 'is tried again|refuses|does not take'`.",
			"See whether its server is reached from that host: `curl -sv -o /dev/null URL`.",
		},
		fires:  `tcpleak_output_up{job="tcpleak",instance="a:9777",output="webhook"} 1x3 0x100`,
		quiet:  `tcpleak_output_up{job="tcpleak",instance="a:9777",output="webhook"} 0x40 1x60`,
		labels: onHost + `, output="webhook"`,
	},
	{
		name: "TcpleakStalled", severity: "critical", wait: "30s",
		expr:        "time() - max by (job, instance) (tcpleak_judged_timestamp_seconds) > 60",
		summary:     "tcpleak on {{ $labels.instance }} has not judged its connections for {{ $value | humanizeDuration }}",
		description: "The process answers Prometheus, and what it says is old: its capture stands still. The clocks of both hosts must agree.",
		next: []string{
			"See whether it is starved or stuck, and what it last said: `systemctl status tcpleak; journalctl -u tcpleak -n 50`.",
			"Compare the clocks of this host and of Prometheus: `timedatectl`.",
			"Restart it: `systemctl restart tcpleak`.",
		},
		fires:  `tcpleak_judged_timestamp_seconds{job="tcpleak",instance="a:9777"} 0x200`,
		quiet:  `tcpleak_judged_timestamp_seconds{job="tcpleak",instance="a:9777"} 0+5x200`,
		labels: onHost,
	},
	{
		name: "TcpleakDown", severity: "warning", wait: "1m",
		expr:        `up{job="tcpleak"} == 0`,
		summary:     "tcpleak on {{ $labels.instance }} does not answer",
		description: "Prometheus cannot scrape the agent. Nobody looks for leaks on that host meanwhile.",
		next: []string{
			"On that host, see whether it runs, and what it last said: `systemctl status tcpleak; journalctl -u tcpleak -n 50`.",
			"See whether it listens where Prometheus asks; by default that is loopback only: `ss -ltnp '( sport = :9777 )'`.",
			"See what Prometheus was told, on its page /targets.",
		},
		fires: `up{job="tcpleak",instance="a:9777"} 1x3 0x100`, quiet: `up{job="tcpleak",instance="a:9777"} 1x100`, labels: onHost,
	},
}

// wrapped breaks text into lines for YAML's folded style.
func wrapped(text, indent string) string {
	var b strings.Builder
	width := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case width == 0:
			b.WriteString(indent)
		case width+1+len(word) > 100:
			b.WriteString("\n" + indent)
			width = 0
		default:
			b.WriteString(" ")
			width++
		}
		b.WriteString(word)
		width += len(word)
	}
	return b.String() + "\n"
}

// rules writes deploy/prometheus/rules.yml.
func rules() string {
	var b strings.Builder
	b.WriteString(`# Alerts of tcpleak, for the job "tcpleak". What they say is what "tcpleak findings KIND" says: this file is written by
# go test ./metrics -run TestRules -update
groups:
  - name: tcpleak
    interval: 5s
    rules:
`)
	for _, a := range alerts {
		description, next := a.description, a.next
		about, known := diagnosis.Explain(a.kind)
		if known {
			description = strings.TrimSpace(about.Meaning + " " + a.description)
			next = append(append([]string{}, about.Advice...), fmt.Sprintf("More: `tcpleak findings %s`.", a.kind))
		}
		fmt.Fprintf(&b, "      - alert: %s\n        expr: >-\n%s", a.name, wrapped(a.expr, "          "))
		if a.wait != "" {
			fmt.Fprintf(&b, "        for: %s\n", a.wait)
		}
		fmt.Fprintf(&b, "        labels:\n          severity: %s\n        annotations:\n", a.severity)
		fmt.Fprintf(&b, "          summary: >-\n%s", wrapped(a.summary, "            "))
		fmt.Fprintf(&b, "          description: >-\n%s", wrapped(description, "            "))
		b.WriteString("          next: |-\n")
		for i, step := range next {
			fmt.Fprintf(&b, "            %d. %s\n", i+1, step)
		}
	}
	return b.String()
}

func TestRulesSayWhatFindingsSay(t *testing.T) {
	want := rules()
	if *update {
		if err := os.WriteFile(rulesFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("write it again with -update (-want +got)\n%s", diff)
	}
}

// An alert that was milder or worse than its finding would contradict what the agent logs.
func TestRulesAreAsSevereAsTheirFindings(t *testing.T) {
	for _, a := range alerts {
		about, known := diagnosis.Explain(a.kind)
		if known && a.kind != diagnosis.CaptureGap && a.severity != about.Worst.String() {
			t.Errorf("%s is %s, its findings are %s", a.name, a.severity, about.Worst)
		}
	}
}

var metricName = regexp.MustCompile(`\b(tcpleak|process|go)_[a-z0-9_]+`)

// exposed returns the names in a scrape of a capture of which all is exposed, those of a histogram's parts among them.
func exposed(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	gathered, err := everything(t).m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gathered {
		names[f.GetName()] = true
		if f.GetMetric()[0].Histogram != nil {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				names[f.GetName()+part] = true
			}
		}
	}
	return names
}

// everything is a capture that has a bit of everything.
func everything(t testing.TB) *world {
	w := newWorld(t, Config{ByRemote: true, ByProcess: true, Version: "test"}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open().half()
	w.capture.Skipped = map[string]uint64{"not_tcp": 1}
	w.more = []diagnosis.Finding{{Kind: diagnosis.OldCloseWait, Severity: diagnosis.Warning, Count: 3, Holders: []diagnosis.Holder{{PID: 1, FD: 3, Name: "java"}}}}
	w.outputs = []Output{{Kind: "webhook", Events: true, Queued: 2, Sent: 5, Lost: 4, Refused: 1, Failed: 3}, {Kind: "otlp_metrics", Up: true}}
	w.judge(61 * time.Second)
	return w
}

func TestRulesNameMetricsThatExist(t *testing.T) {
	names := exposed(t)
	for _, a := range alerts {
		used := metricName.FindAllString(a.expr, -1)
		if len(used) == 0 && !strings.Contains(a.expr, "up{") {
			t.Errorf("%s uses no metric", a.name)
		}
		for _, name := range used {
			if !names[name] {
				t.Errorf("%s uses %s, which does not exist", a.name, name)
			}
		}
		for _, kind := range regexp.MustCompile(`kind="(\w+)"`).FindAllStringSubmatch(a.expr, -1) {
			if _, err := diagnosis.ParseKind(kind[1]); err != nil {
				t.Errorf("%s: %v", a.name, err)
			}
		}
	}
}

// promtool runs Prometheus's own checks.
func promtool(t *testing.T, stdin string, arguments ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing; tools/install-deps.sh test installs it, or the package prometheus of Debian")
	}
	command := exec.CommandContext(t.Context(), path, arguments...)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool(t, "", "check", "rules", "--lint-fatal", rulesFile)
}

func TestPromtoolAcceptsAScrape(t *testing.T) {
	promtool(t, scrape(t, everything(t)), "check", "metrics")
}

// TestAlertsFire has promtool feed each rule with series that make it fire, and with some that must not.
func TestAlertsFire(t *testing.T) {
	rulesPath, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%q]\nevaluation_interval: 5s\ntests:\n", rulesPath)
	for _, a := range alerts {
		for _, c := range []struct{ series, firing string }{
			{a.fires, fmt.Sprintf("            exp_samples:\n              - {labels: 'ALERTS{alertname=%q, alertstate=\"firing\", severity=%q,%s}', value: 1}\n", a.name, a.severity, a.labels)},
			{a.quiet, "            exp_samples: []\n"},
		} {
			b.WriteString("  - interval: 5s\n    input_series:\n")
			for line := range strings.Lines(c.series) {
				line = strings.TrimSpace(line)
				end := strings.LastIndex(line, "}") + 1
				fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", line[:end], strings.TrimSpace(line[end:]))
			}
			fmt.Fprintf(&b, "    promql_expr_test:\n          - expr: ALERTS{alertstate=\"firing\"}\n            eval_time: 400s\n%s", c.firing)
		}
	}
	file := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "test", "rules", file)
}
