// Package config reads what the agent is to do from a file, the environment and flags.
//
// Every key of the file has a variable and a flag of the same name: outputs.webhook.url, TCPLEAK_OUTPUTS_WEBHOOK_URL and
// --outputs-webhook-url; only --interface and --threshold are in the singular. What is given in several places is taken
// from the flags, then the environment, then the file, then the defaults. A list replaces the one below it; a map, of
// thresholds or headers, is added to it entry by entry. An empty variable counts as not set.
//
// What may be secret comes from a file of its own or the environment, and no error repeats it.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

// Agent is what the agent is to do. The table of keys says what each field means, and its unit and range. It is not to be
// changed once loaded; copies share their maps and lists.
type Agent struct {
	// What is captured.
	Interfaces  []string // at least one
	Filter      string   // a tcpdump expression
	SnapLen     int      // octets
	BufferMiB   int
	Promiscuous bool
	Lean        bool
	MaxCPU      Share // 0 is no bound

	// What is remembered.
	MaxConnections int
	MaxMemory      Size // 0 is no bound
	TimeWait       time.Duration

	// What is a finding: see Rules.
	Thresholds map[diagnosis.Kind]string
	Only       []diagnosis.Kind
	Ignore     []diagnosis.Kind

	// As whom, and what else is looked for.
	User    string // empty: see privilege.Config
	Process bool
	Names   bool

	// What is served.
	Listen       string // host:port; empty is nothing
	WebConfig    string // a file
	Pprof        bool
	MaxServices  int
	LabelRemote  bool
	LabelProcess bool

	Outputs Outputs

	from map[string]origin // where a key, or an entry of a map or list, was given: "filter", "thresholds.leak", "only.0"
}

// Outputs are where findings go, besides metrics and the page.
type Outputs struct {
	Lines     bool
	LinesFile string // empty is standard output
	Webhook   Webhook
	OTLP      OTLP
}

// Webhook is an address that events are posted to.
type Webhook struct {
	URL       string // empty is none
	TokenFile string // holds a bearer token; to be read for each request, so that the token may change
	Headers   Headers
	Timeout   time.Duration // of a request
	Queue     int           // events
}

// OTLP is an OpenTelemetry collector.
type OTLP struct {
	Endpoint string // host:port, or a base URL; empty is none: see URL
	Protocol string // OverHTTP or OverGRPC
	Headers  Headers
	Insecure bool // of an endpoint that is no URL: without TLS
}

// The protocols of OTLP.
const (
	OverHTTP = "http" // with protobuf
	OverGRPC = "grpc"
)

// URL is the base URL of the collector, to which /v1/logs and /v1/metrics are to be added over HTTP; it is empty where there is none.
// An endpoint that is host:port is reached by https, or, if Insecure, by http.
func (o OTLP) URL() string {
	if o.Endpoint == "" || strings.Contains(o.Endpoint, "://") {
		return o.Endpoint
	}
	u := url.URL{Scheme: "https", Host: o.Endpoint}
	if o.Insecure {
		u.Scheme = "http"
	}
	return u.String()
}

// Headers are header fields of requests, by canonical name. Their values may be secret: printing shows the names alone.
type Headers map[string]string

// String names the headers without their values.
func (h Headers) String() string {
	return strings.Join(slices.Sorted(maps.Keys(h)), ",")
}

// GoString is String, for %#v.
func (h Headers) GoString() string { return fmt.Sprintf("config.Headers(%q)", h.String()) }

// Default is what the agent does when it is told nothing.
func Default() Agent {
	return Agent{
		Interfaces: []string{"any"},
		Filter:     "tcp",
		SnapLen:    capture.DefaultSnapLen,
		BufferMiB:  capture.DefaultBufferBytes >> 20,
		MaxCPU:     0.05,
		// About 80 MB; a host that has more connections at once can spare more.
		MaxConnections: 200_000,
		TimeWait:       tracker.DefaultTimeWait,
		Process:        true,
		Listen:         "127.0.0.1:9777",
		MaxServices:    200,
		Outputs: Outputs{
			Lines:   true,
			Webhook: Webhook{Timeout: 10 * time.Second, Queue: 1000},
			OTLP:    OTLP{Protocol: OverHTTP},
		},
	}
}

// Load reads the file at path, none if path is empty, the variables of environ, as os.Environ returns them, and flags, which
// may be nil, and checks the outcome. The error, if any, joins an error of one line for everything that is wrong, each with
// file and line, variable or flag; the Agent is then not to be used.
//
// Variables that begin with TCPLEAK_ and are no key's are wrong, but for TCPLEAK_CONFIG, which may name the file, and those
// that Kubernetes sets for a service by the name of tcpleak.
func Load(path string, environ []string, flags *pflag.FlagSet) (Agent, error) {
	a := Default()
	a.from = make(map[string]origin)
	var wrong problems
	if path != "" {
		data, err := read(path)
		if err != nil {
			wrong.addf(0, "%w", err)
		} else {
			a.take(parse(path, data, &wrong), &wrong)
		}
	}
	a.take(fromEnvironment(environ, &wrong), &wrong)
	a.take(fromFlags(flags, &wrong), &wrong)
	a.check(&wrong)
	return a, wrong.err()
}

// Rules are the rules that Thresholds, Only and Ignore make. It fails where Check does.
func (a Agent) Rules() (*diagnosis.Rules, error) {
	rules := diagnosis.NewRules()
	for _, kind := range slices.Sorted(maps.Keys(a.Thresholds)) {
		all, err := thresholds(kind, a.Thresholds[kind])
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			rules.Set(t)
		}
	}
	for _, kind := range slices.Concat(a.Only, a.Ignore) {
		if _, err := diagnosis.ParseKind(string(kind)); err != nil {
			return nil, err
		}
	}
	rules.Mute(a.Ignore...)
	for _, about := range diagnosis.Kinds() {
		if len(a.Only) > 0 && !slices.Contains(a.Only, about.Kind) {
			rules.Mute(about.Kind)
		}
	}
	return rules, nil
}

// thresholds reads a threshold as the file has it: "30s", "100", or, for a leak, "60s, 10".
func thresholds(kind diagnosis.Kind, text string) ([]diagnosis.Threshold, error) {
	var all []diagnosis.Threshold
	for part := range strings.SplitSeq(text, ",") {
		t, err := diagnosis.ParseThreshold(string(kind) + "=" + strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// Reloadable reports whether a running agent can go over from old to new. If not, needsRestart are the keys that it cannot
// change while it runs.
func Reloadable(old, new Agent) (ok bool, needsRestart []string) {
	for i := range keys {
		k := &keys[i]
		if !k.reload && !same(k.value(&old), k.value(&new)) {
			needsRestart = append(needsRestart, k.name)
		}
	}
	return len(needsRestart) == 0, needsRestart
}

// same compares what two pointers point to; an empty map or list is the same as none.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	if (x.Kind() == reflect.Slice || x.Kind() == reflect.Map) && x.Len() == 0 && y.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(x.Interface(), y.Interface())
}

// maxProblems is how many errors are told of at once: a file that is something else altogether is wrong in every line.
const maxProblems = 20

// problems are the errors so far. The zero value is ready.
type problems struct {
	all  []problem
	more int
}

// A problem is an error of one line, which says where.
type problem struct {
	line int // in the file; 0 if it is not there
	err  error
}

func (p *problems) addf(line int, format string, args ...any) {
	if p.full() {
		p.more++
		return
	}
	p.all = append(p.all, problem{line, fmt.Errorf(format, args...)})
}

// full reports whether further errors are only counted.
func (p *problems) full() bool { return len(p.all) == maxProblems }

// err joins the errors, those in the file first, from its top down.
func (p *problems) err() error {
	slices.SortStableFunc(p.all, func(a, b problem) int {
		return cmp.Compare(uint(a.line)-1, uint(b.line)-1) // 0 is the greatest
	})
	var errs []error
	for _, one := range p.all {
		errs = append(errs, one.err)
	}
	if p.more > 0 {
		errs = append(errs, fmt.Errorf("and %d errors more", p.more))
	}
	return errors.Join(errs...)
}
