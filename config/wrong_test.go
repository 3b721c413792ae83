package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wrongFiles are files with mistakes, and all that is said about them.
var wrongFiles = []struct {
	name string
	file string
	want string
}{
	{"unknown key", "filter: tcp\nfiltr: udp\n", `
tcpleak.yaml:2: filtr: there is no such key; did you mean filter?
`},
	{"flag's name as key", "interface: [lo]\n", `
tcpleak.yaml:1: interface: there is no such key; did you mean interfaces?
`},
	{"dashes", "snapshot-length: 100\n", `
tcpleak.yaml:1: snapshot-length: there is no such key; did you mean snapshot_length?
`},
	{"nothing like it", "colour: red\n", `
tcpleak.yaml:1: colour: there is no such key; the example file has all there are
`},
	{"in the wrong section", "webhook:\n  url: https://example.net\n", `
tcpleak.yaml:1: webhook: there is no such key; did you mean outputs.webhook?
`},
	{"out of its section", "outputs:\n  listen: :9777\n", `
tcpleak.yaml:2: outputs.listen: there is no such key; did you mean listen, which is in no section?
`},
	{"unknown in a section", "outputs:\n  webhook:\n    token: abc\n    adress: x\n", `
tcpleak.yaml:3: outputs.webhook.token: there is no such key; did you mean token_file?
tcpleak.yaml:4: outputs.webhook.adress: there is no such key; in this section there are url, token_file, headers, timeout, queue
`},
	{"given twice", "lean: true\nfilter: tcp\nlean: false\n", `
tcpleak.yaml:3: lean: given in line 1 already; leave one of them
`},
	{"section twice", "outputs: {lines: true}\noutputs: {lines: false}\n", `
tcpleak.yaml:2: outputs: given in line 1 already; leave one of them
`},
	{"list for a value", "filter: [tcp]\n", `
tcpleak.yaml:1: filter: is a list; it should be a single value, after the colon
`},
	{"value for a list", "interfaces: eth0\n", `
tcpleak.yaml:1: interfaces: is a single value; it should be a list, as [A, B]
`},
	{"value for a section", "outputs: stdout\n", `
tcpleak.yaml:1: outputs: is a single value; it should be a section, with lines of KEY: VALUE below it
`},
	{"list for a map", "thresholds:\n  - leak=30s\n", `
tcpleak.yaml:2: thresholds: is a list; it should be a map, as {A: B}
`},
	{"list in a list", "only:\n  - leak\n  - [churn]\n  -\n", `
tcpleak.yaml:3: only, entry 2: is a list; it should be a single value
tcpleak.yaml:4: only, entry 3: has no value; give one, or remove the line
`},
	{"map key that is a list", "? [a, b]\n: c\n", `
tcpleak.yaml:1: a list as a key; a key is a word
`},
	{"list as the file", "- filter: tcp\n", `
tcpleak.yaml:1: the file holds a list; it should be lines of KEY: VALUE
`},
	{"text as the file", "tcp port 80\n", `
tcpleak.yaml:1: the file holds a single value; it should be lines of KEY: VALUE
`},
	{"wrong types", "lean: perhaps\nsnapshot_length: 1.5\ntime_wait: 60\nmax_memory: much\nbuffer_size: 5KiB\npprof: yes\nmax_cpu: 5\n", `
tcpleak.yaml:1: lean: "perhaps" is neither true nor false
tcpleak.yaml:2: snapshot_length: "1.5" is not a whole number; write its digits alone
tcpleak.yaml:3: time_wait: "60" is not a duration; write it with a unit, as 30s or 5m
tcpleak.yaml:4: max_memory: "much" is not a size; write it as 512MiB or 2GiB
tcpleak.yaml:5: buffer_size: "5KiB" is not a number of MiB; write it as 32 or 32MiB
tcpleak.yaml:6: pprof: "yes" is neither true nor false
tcpleak.yaml:7: max_cpu: "5" is not a percentage; write it as 5%, or off
`},
	{"out of range", "snapshot_length: 10\nbuffer_size: 5000\nmax_connections: 0\nmax_memory: 5MiB\ntime_wait: 0s\nmax_services: -1\nmax_cpu: 0.01%\n", `
tcpleak.yaml:1: snapshot_length: 10 is not from 64 to 262144
tcpleak.yaml:2: buffer_size: 5000 is not from 1 to 2047
tcpleak.yaml:3: max_connections: 0 is not from 1 to 60000000
tcpleak.yaml:4: max_memory: 5MiB is too little; give at least 64MiB, or 0 for no bound
tcpleak.yaml:5: time_wait: 0s is not more than 0
tcpleak.yaml:6: max_services: -1 is not from 1 to 10000
tcpleak.yaml:7: max_cpu: 0.01% is not from 0.1% to 1000%; off is no bound
`},
	{"a tab", "outputs:\n\tlines: true\n", `
tcpleak.yaml:2: a tab before the text; YAML is indented with spaces
`},
	{"a tab deeper", "outputs:\n  webhook:\n  \turl: https://example.net\n    queue: 5\n", `
tcpleak.yaml:3: a tab before the text; YAML is indented with spaces
`},
	{"open quotes", "filter: \"tcp\nlean: true\n", `
tcpleak.yaml:1: not YAML: found unexpected end of stream; close the quotes
`},
	{"open list", "interfaces: [eth0\nlean: true\n", `
tcpleak.yaml:2: not YAML: did not find expected ',' or ']', while parsing a flow sequence from line 1 on; close the list with ]
`},
	{"colon in a value", "filter: tcp: port\n", `
tcpleak.yaml:1: not YAML: mapping values are not allowed in this context; a value with ": " in it needs quotes; or a line before lacks its colon
`},
	{"no colon", "lean\nfilter: tcp\n", `
tcpleak.yaml:2: not YAML: mapping values are not allowed in this context; a value with ": " in it needs quotes; or a line before lacks its colon
`},
	{"uneven columns", "outputs:\n    lines: true\n  webhook:\n", `
tcpleak.yaml:3: not YAML: did not find expected key, while parsing a block mapping from line 1 on; the keys of a section begin in one column
`},
	{"sign that YAML keeps", "filter: @tcp\n", `
tcpleak.yaml:1: not YAML: found character that cannot start any token; put the value in quotes
`},
	{"another document", "lean: true\n---\nlean: false\n", `
tcpleak.yaml:2: another document begins, after ---; the agent takes one
`},
	{"alias", "filter: &f tcp\nuser: *f\n", `
tcpleak.yaml:2: user: an alias, with *; write out what is meant
`},
	{"alias of nothing", "user: *s3cret\n", `
tcpleak.yaml:1: an alias, with *; write out what is meant
`},
	{"merge", "outputs: &o {lines: true}\n<<: *o\n", `
tcpleak.yaml:2: an alias or merge, with * or <<; write out what is meant
`},
	{"alias bomb", "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nonly: *c\n", `
tcpleak.yaml:1: a: there is no such key; the example file has all there are
tcpleak.yaml:2: b: there is no such key; the example file has all there are
tcpleak.yaml:3: c: there is no such key; the example file has all there are
tcpleak.yaml:4: only: an alias, with *; write out what is meant
`},
	{"tag", "filter: !!binary dGNw\n", `
tcpleak.yaml:1: filter: a tag, with !; leave it out
`},
	{"empty", "", `
tcpleak.yaml:1: the file is empty; write {} for the defaults
`},
	{"spaces", " \n\n", `
tcpleak.yaml:1: the file is empty; write {} for the defaults
`},
	{"not UTF-8", "# caf\xe9\nlean: true\n", `
tcpleak.yaml:1: not UTF-8; save the file in this encoding
`},
	{"UTF-16", "\xff\xfel\x00e\x00a\x00n\x00", `
tcpleak.yaml:1: not UTF-8; save the file in this encoding
`},
	{"control character", "lean: true\nfilter: \"\x1b[2J\"\n", `
tcpleak.yaml:2: the control character U+001B; remove it
`},
	{"escaped control character", "filter: \"\\e[2J\"\n\"\\e[2J\": 1\n", `
tcpleak.yaml:1: filter: "\x1b[2J": can't parse filter expression: syntax error on link type ETHERNET: man pcap-filter describes the language
tcpleak.yaml:2: "\x1b[2J": there is no such key; the example file has all there are
`},
	{"filter", "filter: tcp prot 80\n", `
tcpleak.yaml:1: filter: "tcp prot 80": can't parse filter expression: syntax error on link type ETHERNET: man pcap-filter describes the language
`},
	{"kinds", "thresholds:\n  stuck_closewait: 30s\n  refused: 5s\n  churn: 5s\n  leak: soon\nonly: [leek]\nignore:\n  - churn\n  - everything\n", `
tcpleak.yaml:2: thresholds.stuck_closewait: there is no finding of kind "stuck_closewait"; did you mean stuck_close_wait?
tcpleak.yaml:3: thresholds.refused: "5s" is no number above 0
tcpleak.yaml:4: thresholds.churn: "5s" is no number above 0
tcpleak.yaml:5: thresholds.leak: "soon" is neither a duration nor a number above 0
tcpleak.yaml:6: only: there is no finding of kind "leek"; did you mean leak?
tcpleak.yaml:9: ignore: there is no finding of kind "everything"; tcpleak findings lists the kinds
`},
	{"nothing left", "only: [leak]\nignore: [leak]\n", `
tcpleak.yaml:2: ignore: with only, this leaves no kind of finding; remove one of them
`},
	{"interfaces", "interfaces: [eth0, lo, eth0]\n", `
tcpleak.yaml:1: interfaces: "eth0" is there twice; its packets would count twice
`},
	{"no interface", "interfaces: []\n", `
tcpleak.yaml:1: interfaces: there is none; give one, or [any]
`},
	{"user", "user: nobody-of-this-name\n", `
tcpleak.yaml:1: user: there is no user "nobody-of-this-name"; getent passwd lists them
`},
	{"names and lean", "names: true\nlean: true\n", `
tcpleak.yaml:1: names: names stand in payload, and lean does without; switch one of them off
`},
	{"addresses", "listen: localhost\noutputs: {otlp: {endpoint: collector}}\n", `
tcpleak.yaml:1: listen: "localhost" is not HOST:PORT; write it as 127.0.0.1:9777 or [::1]:9777
tcpleak.yaml:2: outputs.otlp.endpoint: is neither HOST:PORT nor a URL; write it as collector.example.net:4318
`},
	{"port", "listen: 127.0.0.1:99999\n", `
tcpleak.yaml:1: listen: "127.0.0.1:99999" does not end in a port from 0 to 65535
`},
	{"nothing served", "listen: \"\"\npprof: true\nweb_config: nowhere.yaml\n", `
tcpleak.yaml:2: pprof: nothing is served, since listen is empty; give an address, or switch it off
tcpleak.yaml:3: web_config: nothing is served, since listen is empty; give an address, or leave it out
tcpleak.yaml:3: web_config: "nowhere.yaml" cannot be read: no such file or directory
`},
	{"files", "web_config: nowhere.yaml\noutputs:\n  lines_file: no/such/file\n  webhook:\n    url: https://example.net\n    token_file: .\n", `
tcpleak.yaml:1: web_config: "nowhere.yaml" cannot be read: no such file or directory
tcpleak.yaml:3: outputs.lines_file: "no/such/file" is to be in a directory that is not there; make it
tcpleak.yaml:6: outputs.webhook.token_file: "." is a directory; name the file in it
`},
	{"names of processes", "process: false\nlabel_process: true\n", `
tcpleak.yaml:2: label_process: process is off, so that no names are known; switch it on
`},
	{"webhook without address", "outputs:\n  webhook:\n    token_file: tcpleak.yaml\n    headers: {X-A: b}\n    timeout: 1h\n    queue: 0\n", `
tcpleak.yaml:3: outputs.webhook.token_file: outputs.webhook.url is not given; give it, or leave this out
tcpleak.yaml:4: outputs.webhook.headers: outputs.webhook.url is not given; give it, or leave this out
tcpleak.yaml:5: outputs.webhook.timeout: 1h0m0s is not from 1ms to 5m
tcpleak.yaml:6: outputs.webhook.queue: 0 is not from 1 to 1000000
`},
	{"collector", "outputs:\n  otlp:\n    endpoint: https://example.net\n    insecure: true\n", `
tcpleak.yaml:4: outputs.otlp.insecure: outputs.otlp.endpoint says https; write http there, or leave this out
`},
	{"collector's path", "outputs: {otlp: {endpoint: \"http://collector:4318/s3cret/v1/logs/\"}}\n", `
tcpleak.yaml:1: outputs.otlp.endpoint: ends in /v1/logs, which the agent adds itself; leave it out
`},
	{"collector's query", "outputs: {otlp: {endpoint: \"http://collector:4318/?key=s3cret\"}}\n", `
tcpleak.yaml:1: outputs.otlp.endpoint: is a URL with a ?, which OTLP does not know; leave out what follows, or use a header
`},
	{"collector's path by gRPC", "outputs: {otlp: {endpoint: \"http://collector:4317/s3cret\", protocol: grpc}}\n", `
tcpleak.yaml:1: outputs.otlp.endpoint: is a URL with a path, which gRPC does not know; leave it out, or set outputs.otlp.protocol to http
`},
	{"collector's password", "outputs:\n  otlp:\n    endpoint: http://me:s3cret@collector:4318\n", `
tcpleak.yaml:3: outputs.otlp.endpoint: has a user or password in it, which is not sent; give an Authorization header in the environment, as TCPLEAK_OUTPUTS_OTLP_HEADERS='Authorization=Basic%20…'
`},
	{"protocol", "outputs:\n  otlp:\n    protocol: https\n", `
tcpleak.yaml:3: outputs.otlp.protocol: "https" is neither http nor grpc
`},
	{"protocol as OpenTelemetry calls it", "outputs:\n  otlp:\n    protocol: http/protobuf\n", `
tcpleak.yaml:3: outputs.otlp.protocol: "http/protobuf" is called http here
`},
	{"collector without host", "outputs: {otlp: {endpoint: \"[]:4318\"}}\n", `
tcpleak.yaml:1: outputs.otlp.endpoint: is neither HOST:PORT nor a URL; write it as collector.example.net:4318
`},
	{"collector of a port", "outputs: {otlp: {endpoint: \":4318\"}}\n", `
tcpleak.yaml:1: outputs.otlp.endpoint: is neither HOST:PORT nor a URL; write it as collector.example.net:4318
`},
	{"URLs", "outputs:\n  webhook: {url: ftp://example.net/T0P-s3cret}\n  otlp: {endpoint: \"http://\"}\n", `
tcpleak.yaml:2: outputs.webhook.url: is not a URL that begins with http:// or https://
tcpleak.yaml:3: outputs.otlp.endpoint: is a URL without a host
`},
	{"headers", "outputs:\n  webhook:\n    url: https://example.net\n    headers:\n      content-type: text/plain\n      \"X A\": b\n      X-B: \"a\\nb\"\n      Authorization: Bearer s3cret\n", `
tcpleak.yaml:5: outputs.webhook.headers.Content-Type: the agent sets this header itself; leave it out
tcpleak.yaml:6: outputs.webhook.headers.X A: is not the name of a header
tcpleak.yaml:7: outputs.webhook.headers.X-B: its value has characters that a header cannot have
tcpleak.yaml:8: outputs.webhook.headers.Authorization: it may be a secret that others can read here; give it in the environment, as TCPLEAK_OUTPUTS_WEBHOOK_HEADERS='Authorization=…'
`},
	{"password in a URL", "outputs:\n  webhook:\n    url: https://me:s3cret@example.net\n", `
tcpleak.yaml:3: outputs.webhook.url: has a user or password in it, which is not sent; give an Authorization header in the environment, as TCPLEAK_OUTPUTS_WEBHOOK_HEADERS='Authorization=Basic%20…'
`},
}

func TestWrongFiles(t *testing.T) {
	for _, c := range wrongFiles {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(inFile(t, c.file), nil, nil)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), err.Error()+"\n"); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Error("the error repeats a secret")
			}
		})
	}
}

func TestWrongPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("large", make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"nowhere.yaml": "nowhere.yaml: there is no such file; the agent starts without one, too",
		".":            ".: is a directory; name the file in it",
		"large":        "large: is larger than 1024 KiB; this is hardly a configuration",
		"\x1b[2J":      `"\x1b[2J": there is no such file; the agent starts without one, too`,
	} {
		_, err := Load(path, nil, nil)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", path, err, want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything; run the tests as another user")
	}
	path := inFile(t, "lean: true\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, nil, nil)
	if want := "tcpleak.yaml: may not be read: permission denied; let the agent's user read it"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWrongEnvironment(t *testing.T) {
	for variable, want := range map[string]string{
		"TCPLEAK_LISTN=:9777":                                     "TCPLEAK_LISTN: there is no such variable; did you mean TCPLEAK_LISTEN?",
		"TCPLEAK_COLOUR=red":                                      "TCPLEAK_COLOUR: there is no such variable; the documentation has all there are",
		"TCPLEAK_LEAN=perhaps":                                    `TCPLEAK_LEAN: "perhaps" is neither true nor false`,
		"TCPLEAK_THRESHOLDS=leak=soon":                            `TCPLEAK_THRESHOLDS: leak: "soon" is neither a duration nor a number above 0`,
		"TCPLEAK_THRESHOLDS=30s":                                  "TCPLEAK_THRESHOLDS: an entry without a name; write NAME=VALUE",
		"TCPLEAK_ONLY=leak,leek":                                  `TCPLEAK_ONLY: there is no finding of kind "leek"; did you mean leak?`,
		"TCPLEAK_OUTPUTS_WEBHOOK_HEADERS=s3cret":                  "TCPLEAK_OUTPUTS_WEBHOOK_HEADERS: an entry without a name; write NAME=VALUE",
		"TCPLEAK_OUTPUTS_WEBHOOK_HEADERS=Authorization=s3cret%zz": "TCPLEAK_OUTPUTS_WEBHOOK_HEADERS: Authorization: % is not followed by two hexadecimal digits; write it as %25",
		"TCPLEAK_OUTPUTS_WEBHOOK_URL=https://:s3cret@a/":          "TCPLEAK_OUTPUTS_WEBHOOK_URL: has a user or password in it, which is not sent; give an Authorization header in the environment, as TCPLEAK_OUTPUTS_WEBHOOK_HEADERS='Authorization=Basic%20…'",
		"TCPLEAK_OUTPUTS_WEBHOOK_URL=s3cret":                      "TCPLEAK_OUTPUTS_WEBHOOK_URL: is not a URL that begins with http:// or https://",
	} {
		_, err := Load("", []string{variable}, nil)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", variable, err, want)
		}
	}
}

// What is likely to be secret is taken from the environment, and printed nowhere.
func TestSecretsInTheEnvironment(t *testing.T) {
	a, err := Load("", []string{
		"TCPLEAK_OUTPUTS_WEBHOOK_URL=https://example.net/s3cret", "TCPLEAK_OUTPUTS_WEBHOOK_HEADERS=authorization=Bearer%20s3cret%2C=,X-A=b",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"Authorization": "Bearer s3cret,=", "X-A": "b"}, map[string]string(a.Outputs.Webhook.Headers)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := a.Outputs.Webhook.Headers.String(); got != "Authorization,X-A" {
		t.Errorf("printed as %s", got)
	}
}

func TestSecretsInFlags(t *testing.T) {
	_, err := Load("", nil, flags(t, "--outputs-webhook-url=https://example.net", "--outputs-webhook-headers=X-Api-Key=s3cret", "--outputs-webhook-headers=X-A=b, c"))
	want := "--outputs-webhook-headers: X-Api-Key: it may be a secret that others can read here; give it in the environment, as TCPLEAK_OUTPUTS_WEBHOOK_HEADERS='X-Api-Key=…'"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWrongFlags(t *testing.T) {
	_, err := Load("", nil, flags(t, "-s", "10", "--time-wait=lots", "--threshold", "30s", "-i", ""))
	want := `--threshold: an entry without a name; write NAME=VALUE
--time-wait: "lots" is not a duration; write it with a unit, as 30s or 5m
--interface: there is none; give one, or [any]
--snapshot-length: 10 is not from 64 to 262144`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A value that cannot be read leaves what the place below has, and is told of once.
func TestWrongOverRight(t *testing.T) {
	a, err := Load(inFile(t, "snapshot_length: 100\ntime_wait: 90s\n"), []string{"TCPLEAK_SNAPSHOT_LENGTH=many"}, flags(t, "--time-wait=x"))
	want := `TCPLEAK_SNAPSHOT_LENGTH: "many" is not a whole number; write its digits alone
--time-wait: "x" is not a duration; write it with a unit, as 30s or 5m`
	if err == nil || err.Error() != want || a.SnapLen != 100 || a.TimeWait != 90*time.Second {
		t.Errorf("got %d, %s, %v", a.SnapLen, a.TimeWait, err)
	}
}

// Kubernetes sets these in every pod beside a service called tcpleak, and they mean nothing to the agent.
func TestVariablesOfKubernetes(t *testing.T) {
	_, err := Load("", []string{
		"TCPLEAK_SERVICE_HOST=10.0.0.1", "TCPLEAK_SERVICE_PORT=9777", "TCPLEAK_SERVICE_PORT_HTTP_METRICS=9777", "TCPLEAK_PORT=tcp://10.0.0.1:9777",
		"TCPLEAK_PORT_9777_TCP=tcp://10.0.0.1:9777", "TCPLEAK_PORT_9777_TCP_PROTO=tcp", "TCPLEAK_PORT_9777_TCP_PORT=9777",
		"TCPLEAK_PORT_9777_TCP_ADDR=10.0.0.1", "TCPLEAK_METRICS_SERVICE_HOST=10.0.0.1",
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestManyEntries(t *testing.T) {
	path := inFile(t, "interfaces: ["+strings.Repeat("a,", maxEntries+1)+"]\nonly: ["+strings.Repeat("\n  leak,", maxEntries+1)+"]\n")
	_, err := Load(path, nil, nil)
	want := `tcpleak.yaml:1: interfaces: has 1001 entries; 1000 are the most
tcpleak.yaml:2: only: has 1001 entries; 1000 are the most`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestManyErrors(t *testing.T) {
	_, err := Load(inFile(t, strings.Repeat("- x\n", 3)+strings.Repeat("", 1)), nil, nil)
	if err == nil || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("got %v", err)
	}
	var file strings.Builder
	for c := 'a'; c <= 'z'; c++ {
		file.WriteString("zzzzzzzz" + string(c) + ": 1\n")
	}
	_, err = Load(inFile(t, file.String()), nil, nil)
	if err == nil || strings.Count(err.Error(), "\n") != maxProblems || !strings.HasSuffix(err.Error(), "\nand 6 errors more") {
		t.Errorf("got %v", err)
	}
}
