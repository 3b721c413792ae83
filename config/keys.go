package config

import "strings"

// A key is one thing that can be configured: the one place that knows its names and what it means.
type key struct {
	name    string            // in the file, sections before dots
	flag    string            // without dashes, where it is not the name's: as capturing with -i calls it
	short   string            // one letter, as capturing with -i has it
	value   func(*Agent) any  // a pointer to the field
	takes   string            // what stands for the value in the help of the flag
	help    string            // as help of the flag, comment in the file and row in the documentation
	example string            // a value for the example file, where the default is nothing
	reload  bool              // may change while the agent runs
	secret  func(string) bool // whether this entry of a map may be secret, and is not taken from the file or a flag
}

// flagName returns the name of the flag.
func (k *key) flagName() string {
	if k.flag != "" {
		return k.flag
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(k.name)
}

const variablePrefix = "TCPLEAK_"

// variable returns the name of the environment variable.
func (k *key) variable() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// findKey returns the key of that name, or nil.
func findKey(name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

// isSection reports whether there are keys below name.
func isSection(name string) bool {
	for i := range keys {
		if strings.HasPrefix(keys[i].name, name+".") {
			return true
		}
	}
	return false
}

// keys are in the order of the example file; those of a section stand together.
var keys = []key{
	{
		name: "interfaces", flag: "interface", short: "i", takes: "INTERFACE",
		value: func(a *Agent) any { return &a.Interfaces },
		help:  "the network interfaces to capture on, any or lo among them",
	},
	{
		name: "filter", takes: "FILTER", reload: true,
		value: func(a *Agent) any { return &a.Filter },
		help:  "a tcpdump expression: the packets to look at, as tcp port 8080; what it leaves out is not even copied from the kernel",
	},
	{
		name: "snapshot_length", short: "s", takes: "N",
		value: func(a *Agent) any { return &a.SnapLen },
		help:  "keep this many octets of each packet, from 64 to 262144; the headers are enough",
	},
	{
		name: "buffer_size", short: "B", takes: "MIB",
		value: func(a *Agent) any { return (*mebibytes)(&a.BufferMiB) },
		help:  "the kernel's buffer for each interface, in MiB, from 1 to 2047",
	},
	{
		name: "promiscuous", short: "p",
		value: func(a *Agent) any { return &a.Promiscuous },
		help:  "capture packets for other hosts too",
	},
	{
		name: "lean", reload: true,
		value: func(a *Agent) any { return &a.Lean },
		help:  "let the kernel pass only segments with SYN, FIN or RST, or without payload: cheaper, and less certain",
	},
	{
		name: "max_cpu", takes: "SHARE", reload: true,
		value: func(a *Agent) any { return &a.MaxCPU },
		help:  "go lean for a while where the agent takes more than this share of one processor, as 5%, from 0.1% to 1000%; off is never",
	},
	{
		name: "max_connections", takes: "N",
		value: func(a *Agent) any { return &a.MaxConnections },
		help:  "remember at most this many connections; the least telling are forgotten first",
	},
	{
		name: "max_memory", takes: "SIZE", example: "512MiB",
		value: func(a *Agent) any { return &a.MaxMemory },
		help:  "stay below this much memory, at least 64MiB, by remembering fewer connections; 0 is no bound",
	},
	{
		name: "time_wait", takes: "TIME",
		value: func(a *Agent) any { return &a.TimeWait },
		help:  "how long an endpoint stays in TIME_WAIT",
	},
	{
		name: "thresholds", flag: "threshold", takes: "KIND=DURATION|COUNT", reload: true,
		example: "{stuck_close_wait: 30s, leak: \"60s, 20\"}",
		value:   func(a *Agent) any { return &a.Thresholds },
		help:    "how long a condition lasts, or how many there are, before it is a finding, by kind; tcpleak findings lists the defaults",
	},
	{
		name: "only", takes: "KIND", reload: true, example: "[leak, stuck_close_wait]",
		value: func(a *Agent) any { return &a.Only },
		help:  "report only findings of these kinds",
	},
	{
		name: "ignore", takes: "KIND", reload: true, example: "[aborted, churn]",
		value: func(a *Agent) any { return &a.Ignore },
		help:  "do not report findings of these kinds",
	},
	{
		name: "user", takes: "USER", example: "tcpleak",
		value: func(a *Agent) any { return &a.User },
		help:  "as root, become this user, by name or number, once the capture is open; not given, it is who called sudo, else nobody",
	},
	{
		name:  "process",
		value: func(a *Agent) any { return &a.Process },
		help:  "look for the processes that hold sockets, and keep the capabilities for it",
	},
	{
		name:  "names",
		value: func(a *Agent) any { return &a.Names },
		help:  "read the names of servers from TLS, HTTP and DNS as they pass; this needs some of the payload: a greater snapshot_length, and not lean",
	},
	{
		name: "listen", takes: "HOST:PORT",
		value: func(a *Agent) any { return &a.Listen },
		help:  "serve metrics, the page and the API at this address; port 0 is any that is free, :9777 is every address of the host, \"\" is none",
	},
	{
		name: "web_config", takes: "FILE", example: "/etc/tcpleak/web.yaml",
		value: func(a *Agent) any { return &a.WebConfig },
		help:  "a file of the Prometheus exporter-toolkit that says how to serve: TLS, passwords",
	},
	{
		name:  "pprof",
		value: func(a *Agent) any { return &a.Pprof },
		help:  "serve profiles of the agent itself below /debug/pprof",
	},
	{
		name: "max_services", takes: "N",
		value: func(a *Agent) any { return &a.MaxServices },
		help:  "give this many services metrics of their own, from 1 to 10000; the others share the one named other",
	},
	{
		name:  "label_remote",
		value: func(a *Agent) any { return &a.LabelRemote },
		help:  "label metrics with remote addresses too: there may be very many",
	},
	{
		name:  "label_process",
		value: func(a *Agent) any { return &a.LabelProcess },
		help:  "label metrics with the names of processes too",
	},
	{
		name: "outputs.lines", reload: true,
		value: func(a *Agent) any { return &a.Outputs.Lines },
		help:  "write each finding as a line of JSON",
	},
	{
		name: "outputs.lines_file", takes: "FILE", reload: true, example: "/var/log/tcpleak/findings.json",
		value: func(a *Agent) any { return &a.Outputs.LinesFile },
		help:  "append the lines to this file; not given, they go to standard output",
	},
	{
		name: "outputs.webhook.url", takes: "URL", reload: true, example: "https://alerts.example.net/tcpleak",
		value: func(a *Agent) any { return &a.Outputs.Webhook.URL },
		help:  "post findings as JSON to this http or https address; where it is itself a secret, give it in the environment",
	},
	{
		name: "outputs.webhook.token_file", takes: "FILE", reload: true, example: "/etc/tcpleak/webhook-token",
		value: func(a *Agent) any { return &a.Outputs.Webhook.TokenFile },
		help:  "send the bearer token that this file holds",
	},
	{
		name: "outputs.webhook.headers", takes: "NAME=VALUE", reload: true, example: "{X-Cluster: production}",
		value:  func(a *Agent) any { return &a.Outputs.Webhook.Headers },
		help:   "send these headers too; one that is a secret is taken only from the environment",
		secret: isSecretHeader,
	},
	{
		name: "outputs.webhook.timeout", takes: "TIME", reload: true,
		value: func(a *Agent) any { return &a.Outputs.Webhook.Timeout },
		help:  "give a request this long, at most 5m",
	},
	{
		name: "outputs.webhook.queue", takes: "N", reload: true,
		value: func(a *Agent) any { return &a.Outputs.Webhook.Queue },
		help:  "keep this many findings while it is down, from 1 to 1000000; beyond that the oldest are lost, and counted",
	},
	{
		name: "outputs.otlp.endpoint", takes: "HOST:PORT|URL", reload: true, example: "collector.example.net:4318",
		value: func(a *Agent) any { return &a.Outputs.OTLP.Endpoint },
		help:  "send findings and metrics to this OpenTelemetry collector, usually at port 4318, or 4317 for gRPC: HOST:PORT, or a base URL, to which /v1/logs and /v1/metrics are added over HTTP",
	},
	{
		name: "outputs.otlp.protocol", takes: "http|grpc", reload: true,
		value: func(a *Agent) any { return &a.Outputs.OTLP.Protocol },
		help:  "speak OTLP over http, with protobuf, or over grpc",
	},
	{
		name: "outputs.otlp.headers", takes: "NAME=VALUE", reload: true, example: "{X-Scope-OrgID: network}",
		value:  func(a *Agent) any { return &a.Outputs.OTLP.Headers },
		help:   "send these headers too; one that is a secret is taken only from the environment",
		secret: isSecretHeader,
	},
	{
		name: "outputs.otlp.insecure", reload: true,
		value: func(a *Agent) any { return &a.Outputs.OTLP.Insecure },
		help:  "do without TLS, where the endpoint is HOST:PORT; of a URL, http or https says so",
	},
}

// isSecretHeader reports whether a header of this name is likely to hold what nobody else may know.
func isSecretHeader(name string) bool {
	for word := range strings.SplitSeq(strings.ToLower(name), "-") {
		switch word {
		case "authorization", "auth", "cookie", "token", "secret", "key", "apikey", "password", "credential", "credentials", "signature":
			return true
		}
	}
	return false
}
