package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"tcpleak/diagnosis"
)

// inFile puts text into a file, and makes its directory the working directory, so that errors have a short name.
func inFile(t *testing.T, text string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("tcpleak.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "tcpleak.yaml"
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	f := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	AddFlags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

var ignoreOrigins = cmpopts.IgnoreUnexported(Agent{})

// TestEveryFieldHasAKey holds for Agent and the table of keys, in both directions.
func TestEveryFieldHasAKey(t *testing.T) {
	var a Agent
	pointers := make(map[uintptr]string)
	for i := range keys {
		p := reflect.ValueOf(keys[i].value(&a)).Pointer()
		if other, twice := pointers[p]; twice {
			t.Errorf("%s and %s are the same field", other, keys[i].name)
		}
		pointers[p] = keys[i].name
	}
	var fields func(v reflect.Value, path string)
	fields = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			f, at := v.Field(i), path+"."+v.Type().Field(i).Name
			switch {
			case !v.Type().Field(i).IsExported():
			case f.Kind() == reflect.Struct:
				fields(f, at)
			case pointers[f.Addr().Pointer()] == "":
				t.Errorf("%s has no key", at)
			}
		}
	}
	fields(reflect.ValueOf(&a).Elem(), "Agent")
}

func TestNamesAreUnlikeEachOther(t *testing.T) {
	seen := make(map[string]string)
	for i := range keys {
		k := &keys[i]
		for _, name := range []string{k.name, k.variable(), "--" + k.flagName(), "-" + k.short} {
			if other, twice := seen[name]; twice && name != "-" {
				t.Errorf("%s is of both %s and %s", name, other, k.name)
			}
			seen[name] = k.name
		}
		// A variable of Kubernetes is not to be taken for a key's.
		if ofKubernetes.MatchString(k.variable()) {
			t.Errorf("%s is what Kubernetes sets for a service", k.variable())
		}
		if (k.takes == "") != (reflect.TypeOf(k.value(new(Agent))).Elem().Kind() == reflect.Bool) {
			t.Errorf("%s: takes is for all that is not true or false", k.name)
		}
	}
}

func TestStartsWithoutAFile(t *testing.T) {
	got, err := Load("", []string{"PATH=/bin"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, ignoreOrigins); diff != "" {
		t.Errorf("(-default +loaded):\n%s", diff)
	}
}

func TestCommentsAloneAreTheDefaults(t *testing.T) {
	for _, text := range []string{"# nothing yet\n", "{}\n", "---\n", "outputs:\n  webhook:\n    #url: x\n", "filter:\nonly:\nthresholds:\n"} {
		got, err := Load(inFile(t, text), nil, nil)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(Default(), got, ignoreOrigins); diff != "" {
			t.Errorf("%q (-default +loaded):\n%s", text, diff)
		}
	}
}

const everything = `
interfaces: [eth0, lo]
filter: "tcp port 8080"
snapshot_length: 512
buffer_size: 64MiB
promiscuous: true
max_cpu: 2.5%
max_connections: 5000
max_memory: 1.5GiB
time_wait: 2m
thresholds:
  stuck_close_wait: 30s
  syn_flood: 500
  leak: 90s, 20
only: [leak, stuck_close_wait, syn_flood]
ignore:
  - syn_flood
user: root
process: true
names: true
listen: "[::1]:9000"
pprof: true
max_services: 10
label_remote: true
label_process: true
outputs:
  lines: false
  webhook: {url: "https://example.net/hook?a=b", headers: {x-cluster: a}, timeout: 3s, queue: 5}
  otlp:
    endpoint: http://collector:4318
    insecure: true
`

func TestFile(t *testing.T) {
	got, err := Load(inFile(t, everything), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Agent{
		Interfaces: []string{"eth0", "lo"}, Filter: "tcp port 8080", SnapLen: 512, BufferMiB: 64, Promiscuous: true,
		MaxCPU: 0.025, MaxConnections: 5000, MaxMemory: 3 << 29, TimeWait: 2 * time.Minute,
		Thresholds: map[diagnosis.Kind]string{"stuck_close_wait": "30s", "syn_flood": "500", "leak": "90s, 20"},
		Only:       []diagnosis.Kind{"leak", "stuck_close_wait", "syn_flood"}, Ignore: []diagnosis.Kind{"syn_flood"},
		User: "root", Process: true, Names: true,
		Listen: "[::1]:9000", Pprof: true, MaxServices: 10, LabelRemote: true, LabelProcess: true,
		Outputs: Outputs{
			Webhook: Webhook{URL: "https://example.net/hook?a=b", Headers: Headers{"X-Cluster": "a"}, Timeout: 3 * time.Second, Queue: 5},
			OTLP:    OTLP{Endpoint: "http://collector:4318", Protocol: "http", Insecure: true},
		},
	}
	if diff := cmp.Diff(want, got, ignoreOrigins); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRules(t *testing.T) {
	a := Default()
	a.Thresholds = map[diagnosis.Kind]string{"leak": "90s, 20", "stuck_close_wait": "7s"}
	a.Only = []diagnosis.Kind{"leak"}
	got, err := a.Rules()
	if err != nil {
		t.Fatal(err)
	}
	want := diagnosis.NewRules()
	for _, text := range []string{"leak=90s", "leak=20", "stuck_close_wait=7s"} {
		threshold, err := diagnosis.ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		want.Set(threshold)
	}
	for _, about := range diagnosis.Kinds() {
		if about.Kind != "leak" {
			want.Mute(about.Kind)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	a.Ignore = []diagnosis.Kind{"nonsense"}
	if _, err := a.Rules(); err == nil {
		t.Error("an unknown kind is no error")
	}
}

// TestPrecedence gives each key something else in each place.
func TestPrecedence(t *testing.T) {
	file := "filter: tcp port 1\nonly: [leak]\nmax_connections: 1\nsnapshot_length: 100\nthresholds: {leak: 1s, churn: 1, syn_flood: 1}\noutputs: {lines: false}\n"
	environ := []string{
		"TCPLEAK_FILTER=tcp port 2", "TCPLEAK_ONLY=idle, churn,", "TCPLEAK_MAX_CONNECTIONS=2", "TCPLEAK_THRESHOLDS=leak=2s,3,churn=2",
		"TCPLEAK_SNAPSHOT_LENGTH=", "HOME=/", "TCPLEAK_CONFIG=elsewhere.yaml",
	}
	args := []string{"--filter=tcp port 3", "--only=idle", "--only", "refused,churn", "--threshold=leak=3s", "--threshold=leak=5", "-p", "--lean=false"}

	got, err := Load(inFile(t, file), environ, flags(t, args...))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Filter = "tcp port 3"
	want.Only = []diagnosis.Kind{"idle", "refused", "churn"}
	want.MaxConnections = 2
	want.SnapLen = 100 // an empty variable is none
	want.Thresholds = map[diagnosis.Kind]string{"leak": "3s, 5", "churn": "2", "syn_flood": "1"}
	want.Promiscuous = true
	want.Outputs.Lines = false
	if diff := cmp.Diff(want, got, ignoreOrigins); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	got, err = Load("tcpleak.yaml", environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	want.Filter, want.Only, want.Promiscuous = "tcp port 2", []diagnosis.Kind{"idle", "churn"}, false
	want.Thresholds = map[diagnosis.Kind]string{"leak": "2s, 3", "churn": "2", "syn_flood": "1"}
	if diff := cmp.Diff(want, got, ignoreOrigins); diff != "" {
		t.Errorf("without flags (-want +got):\n%s", diff)
	}
}

// Every key can be given in each of the three places, and means the same.
func TestEveryKeyInEveryPlace(t *testing.T) {
	samples := map[string]string{
		"interfaces": "lo", "filter": "udp", "thresholds": "leak=5s", "only": "leak", "ignore": "leak", "time_wait": "7s", "max_memory": "1GiB", "max_cpu": "7%",
		"user": "root", "listen": "localhost:1",
		"outputs.webhook.headers": "X-A=b", "outputs.otlp.headers": "X-A=b", "outputs.webhook.timeout": "7s",
		"outputs.webhook.url": "http://a/", "outputs.otlp.endpoint": "a:1", "outputs.otlp.protocol": "grpc",
	}
	for i := range keys {
		k := &keys[i]
		sample, inYAML := samples[k.name], ""
		defaults := Default()
		switch v := k.value(&defaults).(type) {
		case *bool:
			sample = fmt.Sprint(!*v)
		case *int, *mebibytes:
			sample = "77"
		}
		if sample == "" {
			sample = "some/file"
		}
		switch shapeOf(k.value(&defaults)) {
		case scalar:
			inYAML = fmt.Sprintf("%q", sample)
		case list:
			inYAML = "[" + sample + "]"
		case mapping:
			inYAML = "{" + strings.Replace(sample, "=", ": ", 1) + "}"
		}
		parts := strings.Split(k.name, ".")
		text := strings.Join(parts, ": {") + ": " + inYAML + strings.Repeat("}", len(parts)-1) + "\n"

		// Checks, such as of files that are not there, are not what this is about.
		all := make([]Agent, 3)
		all[0], _ = Load(inFile(t, text), nil, nil)
		all[1], _ = Load("", []string{k.variable() + "=" + sample}, nil)
		all[2], _ = Load("", nil, flags(t, "--"+k.flagName()+"="+sample))
		for place, a := range all {
			if same(k.value(&a), k.value(&defaults)) {
				t.Errorf("%s: %s is as before in place %d", k.name, sample, place)
			}
			if diff := cmp.Diff(all[0], a, ignoreOrigins); diff != "" {
				t.Errorf("%s in file and in place %d:\n%s", k.name, place, diff)
			}
		}
	}
}

func TestReloadable(t *testing.T) {
	old := Default()
	next := Default()
	next.Only = []diagnosis.Kind{"leak"}
	next.Thresholds = map[diagnosis.Kind]string{"leak": "90s"}
	next.Outputs.Webhook.URL = "https://example.net"
	next.Outputs.Lines = false
	next.Filter, next.Lean, next.MaxCPU = "tcp port 80", true, 0
	if ok, names := Reloadable(old, next); !ok || names != nil {
		t.Errorf("thresholds, kinds, outputs, the filter and what it may cost need a restart: %v", names)
	}
	next.Interfaces = []string{"lo"}
	next.SnapLen = 100
	next.Listen = ":9777"
	ok, names := Reloadable(old, next)
	if want := []string{"interfaces", "snapshot_length", "listen"}; ok || !slices.Equal(names, want) {
		t.Errorf("got %v, %v; want %v", ok, names, want)
	}
}

func TestWarnings(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("token", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environ string
		want    []string
	}{
		{"", nil},
		{"TCPLEAK_LISTEN=[::1]:9777", nil},
		{"TCPLEAK_LISTEN=localhost:9777", nil},
		{"TCPLEAK_LISTEN=:9777", []string{"TCPLEAK_LISTEN: addresses and processes of this host can be read by all who reach it; web_config can ask for a password"}},
		{"TCPLEAK_LISTEN=:9777 TCPLEAK_WEB_CONFIG=token", nil},
		{"TCPLEAK_OUTPUTS_WEBHOOK_URL=http://a.example TCPLEAK_OUTPUTS_WEBHOOK_TOKEN_FILE=token",
			[]string{"TCPLEAK_OUTPUTS_WEBHOOK_URL: the token passes in the clear; use https"}},
		{"TCPLEAK_OUTPUTS_WEBHOOK_URL=http://127.0.0.1 TCPLEAK_OUTPUTS_WEBHOOK_TOKEN_FILE=token", nil},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=http://a:1 TCPLEAK_OUTPUTS_OTLP_HEADERS=api-key=1",
			[]string{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT: secret headers pass in the clear; use TLS"}},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=a:4317",
			[]string{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT: port 4317 is usually for gRPC; set outputs.otlp.protocol to grpc, or give the port for HTTP, usually 4318"}},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=https://a:4317/otlp",
			[]string{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT: port 4317 is usually for gRPC; set outputs.otlp.protocol to grpc, or give the port for HTTP, usually 4318"}},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=a:4317 TCPLEAK_OUTPUTS_OTLP_PROTOCOL=grpc", nil},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=a:4318 TCPLEAK_OUTPUTS_OTLP_PROTOCOL=grpc",
			[]string{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT: port 4318 is usually for HTTP; set outputs.otlp.protocol to http, or give the port for gRPC, usually 4317"}},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=a:1 TCPLEAK_OUTPUTS_OTLP_HEADERS=api-key=1 TCPLEAK_OUTPUTS_OTLP_INSECURE=true",
			[]string{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT: secret headers pass in the clear; use TLS"}},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=a:4318 TCPLEAK_OUTPUTS_OTLP_HEADERS=api-key=1", nil},
		{"TCPLEAK_OUTPUTS_OTLP_ENDPOINT=[::1]:4318 TCPLEAK_OUTPUTS_OTLP_HEADERS=api-key=1 TCPLEAK_OUTPUTS_OTLP_INSECURE=true", nil},
	} {
		a, err := Load("", strings.Fields(c.environ), nil)
		if err != nil {
			t.Errorf("%s: %v", c.environ, err)
		}
		if diff := cmp.Diff(c.want, a.Warnings()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.environ, diff)
		}
	}
}

func TestCollectorURL(t *testing.T) {
	for _, c := range []struct {
		endpoint string
		insecure bool
		want     string
	}{
		{"", false, ""},
		{"", true, ""},
		{"collector:4318", false, "https://collector:4318"},
		{"collector:4318", true, "http://collector:4318"},
		{"[2001:db8::1]:4318", true, "http://[2001:db8::1]:4318"},
		{"[fe80::1%eth0]:4318", true, "http://[fe80::1%25eth0]:4318"},
		{"http://collector:4318", false, "http://collector:4318"},
		{"http://collector:4318", true, "http://collector:4318"},
		{"https://example.net/otlp/", false, "https://example.net/otlp/"},
	} {
		a := Default()
		a.Outputs.OTLP.Endpoint, a.Outputs.OTLP.Insecure = c.endpoint, c.insecure
		if got := a.Outputs.OTLP.URL(); got != c.want {
			t.Errorf("%q, insecure %t: got %s, want %s", c.endpoint, c.insecure, got, c.want)
		}
		if err := a.Check(); err != nil && c.endpoint != "" {
			t.Errorf("%q, insecure %t: %v", c.endpoint, c.insecure, err)
		}
	}
}

func TestHelp(t *testing.T) {
	help := flags(t).FlagUsages()
	for _, want := range []string{
		"-i, --interface INTERFACE", "--max-memory SIZE", "--threshold KIND=DURATION|COUNT", "--lean  ", "(default [any])", "(default 127.0.0.1:9777)", "--process ",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("the help lacks %q:\n%s", want, help)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "64MiB": 64 << 20, "64M": 64 << 20, "64mb": 64 << 20, "1.5G": 3 << 29, "2GiB": 2 << 30, "1T": 1 << 40, "65536K": 64 << 20,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%s is written %s, and read as %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "G", "1X", "1GG", "-1G", "NaN", "1e30", "1 G", "64iM", "0x7fffffffM"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, no error", text, got)
		}
	}
}

// FuzzLoad holds that no file, variable or flag makes what Load does panic, or write an error that a terminal obeys.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(everything), "TCPLEAK_THRESHOLDS=leak=60s,10", "leak=5")
	f.Add(Example(), "TCPLEAK_OUTPUTS_OTLP_HEADERS=Authorization=Bearer%20x", "churn=1")
	for _, c := range wrongFiles {
		f.Add([]byte(c.file), "TCPLEAK_X=1", "=")
	}
	f.Fuzz(func(t *testing.T, file []byte, variable, threshold string) {
		a := Default()
		a.from = make(map[string]origin)
		var wrong problems
		a.take(parse("tcpleak.yaml", file, &wrong), &wrong)
		a.take(fromEnvironment([]string{variable}, &wrong), &wrong)
		a.take(fromFlags(flags(t, "--threshold", threshold, "--ignore", threshold), &wrong), &wrong)
		// Looking up the names of users, and of hosts in a filter, takes long, and is not this package's.
		a.User, a.Filter = "", ""
		a.check(&wrong)
		if err := wrong.err(); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) || line == "" {
					t.Errorf("the error %q is not a line", line)
				}
			}
			return
		}
		if _, err := a.Rules(); err != nil {
			t.Errorf("good, but: %v", err)
		}
		a.Warnings()
	})
}
