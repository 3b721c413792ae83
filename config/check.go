package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

const (
	leastSnapLen = 64      // Ethernet, IPv4 and TCP without options, and some to spare
	mostSnapLen  = 1 << 18 // what libpcap takes

	mostBufferMiB = 2047 // libpcap takes octets in 31 bits

	// LeastMemory is what the program must be allowed: with less there is hardly room for a table.
	LeastMemory = 64 << 20

	leastShare Share = 0.001
	mostShare  Share = 10

	mostServices = 10_000
	mostTimeout  = 5 * time.Minute
	mostQueue    = 1_000_000
)

// Check reports everything that is wrong and can be known without starting, a line for each, joined. Files that are named must
// be there and readable; network interfaces need not be there yet. Load has checked already.
func (a Agent) Check() error {
	var wrong problems
	a.check(&wrong)
	return wrong.err()
}

// Warnings says what is not wrong, but likely not meant, a line for each.
func (a Agent) Warnings() []string {
	var all []string
	warn := func(name, text string) {
		all = append(all, findKey(name).label(a.from[name], "")+": "+text)
	}
	if host, _, err := net.SplitHostPort(a.Listen); err == nil && !isLoopback(host) && a.WebConfig == "" {
		what := "addresses and processes of this host"
		if a.Pprof {
			what += ", and profiles of the agent"
		}
		warn("listen", what+" can be read by all who reach it; web_config can ask for a password")
	}
	w, c := a.Outputs.Webhook, a.Outputs.OTLP
	if u, err := url.Parse(w.URL); err == nil && strings.EqualFold(u.Scheme, "http") && !isLoopback(u.Hostname()) && (w.TokenFile != "" || holdsSecret(w.Headers)) {
		warn("outputs.webhook.url", "the token passes in the clear; use https")
	}
	if u, err := url.Parse(c.URL()); err == nil {
		if u.Scheme == "http" && !isLoopback(u.Hostname()) && holdsSecret(c.Headers) {
			warn("outputs.otlp.endpoint", "secret headers pass in the clear; use TLS")
		}
		switch {
		case u.Port() == "4317" && c.Protocol == OverHTTP:
			warn("outputs.otlp.endpoint", "port 4317 is usually for gRPC; set outputs.otlp.protocol to grpc, or give the port for HTTP, usually 4318")
		case u.Port() == "4318" && c.Protocol == OverGRPC:
			warn("outputs.otlp.endpoint", "port 4318 is usually for HTTP; set outputs.otlp.protocol to http, or give the port for gRPC, usually 4317")
		}
	}
	return all
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}

func holdsSecret(headers Headers) bool {
	return slices.ContainsFunc(sortedNames(headers), isSecretHeader)
}

// A judge holds the fields of an Agent against what they may be.
type judge struct {
	a     *Agent
	wrong *problems
}

func (a *Agent) check(wrong *problems) {
	j := judge{a, wrong}
	j.capturing()
	j.finding()
	j.serving()
	j.outputs()
}

// failf reports what is wrong with a key.
func (j judge) failf(name string, format string, args ...any) {
	j.entryFailf(name, "", format, args...)
}

// entryFailf reports what is wrong with an entry of a map.
func (j judge) entryFailf(name, entry string, format string, args ...any) {
	from, ok := j.a.from[name+"."+entry]
	if !ok {
		from = j.a.from[name]
	}
	j.wrong.addf(from.line, "%s: %w", findKey(name).label(from, entry), fmt.Errorf(format, args...))
}

// between checks a number.
func (j judge) between(name string, value, least, most int) {
	if value < least || value > most {
		j.failf(name, "%d is not from %d to %d", value, least, most)
	}
}

func (j judge) capturing() {
	a := j.a
	if len(a.Interfaces) == 0 {
		j.failf("interfaces", "there is none; give one, or [any]")
	}
	for i, name := range a.Interfaces {
		switch {
		case name == "":
			j.listed("interfaces", i, "an empty name; tcpleak interfaces lists what there is")
		case slices.Index(a.Interfaces, name) < i:
			j.listed("interfaces", i, "%s is there twice; its packets would count twice", quote(name))
		}
	}
	if err := capture.CheckFilter(a.Filter); err != nil {
		j.failf("filter", "%s", strings.TrimPrefix(oneLine(err), "filter "))
	}
	j.between("snapshot_length", a.SnapLen, leastSnapLen, mostSnapLen)
	j.between("buffer_size", a.BufferMiB, 1, mostBufferMiB)
	if a.MaxCPU != 0 && (a.MaxCPU < leastShare || a.MaxCPU > mostShare) {
		j.failf("max_cpu", "%s is not from %s to %s; off is no bound", a.MaxCPU, leastShare, mostShare)
	}
	j.between("max_connections", a.MaxConnections, 1, tracker.MaxMaxConnections)
	if a.MaxMemory != 0 && a.MaxMemory < LeastMemory {
		j.failf("max_memory", "%s is too little; give at least %s, or 0 for no bound", a.MaxMemory, Size(LeastMemory))
	}
	if a.TimeWait <= 0 {
		j.failf("time_wait", "%s is not more than 0", a.TimeWait)
	}
	if a.Names && a.Lean {
		j.failf("names", "names stand in payload, and lean does without; switch one of them off")
	}
	if a.User != "" {
		_, numberErr := strconv.ParseUint(a.User, 10, 31)
		if _, err := user.Lookup(a.User); err != nil && numberErr != nil {
			j.failf("user", "there is no user %s; getent passwd lists them", quote(a.User))
		}
	}
}

// listed reports what is wrong with an entry of a list.
func (j judge) listed(name string, i int, format string, args ...any) {
	from, ok := j.a.from[fmt.Sprint(name, ".", i)]
	if !ok {
		from = j.a.from[name]
	}
	j.wrong.addf(from.line, "%s: %w", findKey(name).label(from, ""), fmt.Errorf(format, args...))
}

func (j judge) finding() {
	a := j.a
	for _, kind := range sortedNames(a.Thresholds) {
		if problem := unknown(kind); problem != "" {
			j.entryFailf("thresholds", string(kind), "%s", problem)
		} else if _, err := thresholds(kind, a.Thresholds[kind]); err != nil {
			j.entryFailf("thresholds", string(kind), "%s", oneLine(err))
		}
	}
	for _, chosen := range []struct {
		name  string
		kinds []diagnosis.Kind
	}{{"only", a.Only}, {"ignore", a.Ignore}} {
		for i, kind := range chosen.kinds {
			if problem := unknown(kind); problem != "" {
				j.listed(chosen.name, i, "%s", problem)
			}
		}
	}
	if len(a.Only) > 0 && !slices.ContainsFunc(a.Only, func(k diagnosis.Kind) bool { return !slices.Contains(a.Ignore, k) }) {
		j.failf("ignore", "with only, this leaves no kind of finding; remove one of them")
	}
}

// unknown says that there is no such kind, with those that may be meant: all of them would be a long line.
func unknown(kind diagnosis.Kind) string {
	if _, err := diagnosis.ParseKind(string(kind)); err == nil {
		return ""
	}
	var names []string
	for _, about := range diagnosis.Kinds() {
		names = append(names, string(about.Kind))
	}
	guess := "tcpleak findings lists the kinds"
	if best := closest(string(kind), names); best != "" {
		guess = "did you mean " + best + "?"
	}
	return fmt.Sprintf("there is no finding of kind %s; %s", quote(string(kind)), guess)
}

func (j judge) serving() {
	a := j.a
	if a.Listen != "" {
		if problem := address(a.Listen, 0); problem != "" {
			j.failf("listen", "%s %s", quote(a.Listen), problem)
		}
	} else {
		if a.Pprof {
			j.failf("pprof", "nothing is served, since listen is empty; give an address, or switch it off")
		}
		if a.WebConfig != "" {
			j.failf("web_config", "nothing is served, since listen is empty; give an address, or leave it out")
		}
	}
	j.readable("web_config", a.WebConfig)
	j.between("max_services", a.MaxServices, 1, mostServices)
	if a.LabelProcess && !a.Process {
		j.failf("label_process", "process is off, so that no names are known; switch it on")
	}
}

func (j judge) outputs() {
	o := &j.a.Outputs
	if o.LinesFile != "" {
		switch about, err := os.Stat(o.LinesFile); {
		case !o.Lines:
			j.failf("outputs.lines_file", "outputs.lines is off; switch it on, or leave out the file")
		case err == nil && about.IsDir():
			j.failf("outputs.lines_file", "%s is a directory; name a file in it", quote(o.LinesFile))
		case errors.Is(err, fs.ErrNotExist):
			if about, err := os.Stat(filepath.Dir(o.LinesFile)); err != nil || !about.IsDir() {
				j.failf("outputs.lines_file", "%s is to be in a directory that is not there; make it", quote(o.LinesFile))
			}
		case err != nil:
			j.failf("outputs.lines_file", "%s: %w", quote(o.LinesFile), cause(err))
		}
	}

	w := &o.Webhook
	if w.URL != "" {
		if problem := j.url("outputs.webhook.url", w.URL); problem != "" {
			j.failf("outputs.webhook.url", "%s", problem)
		}
	}
	if w.URL == "" && w.TokenFile != "" {
		j.failf("outputs.webhook.token_file", "outputs.webhook.url is not given; give it, or leave this out")
	}
	if w.URL == "" && len(w.Headers) > 0 {
		j.failf("outputs.webhook.headers", "outputs.webhook.url is not given; give it, or leave this out")
	}
	j.readable("outputs.webhook.token_file", w.TokenFile)
	j.headers("outputs.webhook.headers", w.Headers)
	if _, twice := w.Headers["Authorization"]; twice && w.TokenFile != "" {
		j.entryFailf("outputs.webhook.headers", "Authorization", "outputs.webhook.token_file makes one, too; leave one of them")
	}
	if w.Timeout <= 0 || w.Timeout > mostTimeout {
		j.failf("outputs.webhook.timeout", "%s is not from 1ms to 5m", w.Timeout)
	}
	j.between("outputs.webhook.queue", w.Queue, 1, mostQueue)

	c := &o.OTLP
	switch c.Protocol {
	case OverHTTP, OverGRPC:
	case "http/protobuf":
		j.failf("outputs.otlp.protocol", "%s is called %s here", quote(c.Protocol), OverHTTP)
	default:
		j.failf("outputs.otlp.protocol", "%s is neither %s nor %s", quote(c.Protocol), OverHTTP, OverGRPC)
	}
	switch {
	case c.Endpoint == "" && len(c.Headers) > 0:
		j.failf("outputs.otlp.headers", "outputs.otlp.endpoint is not given; give it, or leave this out")
	case c.Endpoint == "" && c.Insecure:
		j.failf("outputs.otlp.insecure", "outputs.otlp.endpoint is not given; give it, or leave this out")
	case c.Endpoint == "":
	case strings.Contains(c.Endpoint, "://"):
		if problem := j.baseURL("outputs.otlp.endpoint", c.Endpoint); problem != "" {
			j.failf("outputs.otlp.endpoint", "%s", problem)
		} else if c.Insecure && strings.HasPrefix(strings.ToLower(c.Endpoint), "https:") {
			j.failf("outputs.otlp.insecure", "outputs.otlp.endpoint says https; write http there, or leave this out")
		}
	default:
		if address(c.Endpoint, 1) != "" || j.url("outputs.otlp.endpoint", c.URL()) != "" {
			// It may be a URL without its scheme, with a secret in it.
			j.failf("outputs.otlp.endpoint", "is neither HOST:PORT nor a URL; write it as collector.example.net:4318")
		}
	}
	j.headers("outputs.otlp.headers", c.Headers)
}

// readable checks a file that is to be read, if one is named.
func (j judge) readable(name, file string) {
	if file == "" {
		return
	}
	about, err := os.Stat(file)
	if err == nil && about.IsDir() {
		j.failf(name, "%s is a directory; name the file in it", quote(file))
		return
	}
	// Opening a pipe would wait for its other end.
	if err == nil && about.Mode().IsRegular() {
		var f *os.File
		if f, err = os.Open(file); err == nil {
			f.Close()
		}
	}
	if err != nil {
		j.failf(name, "%s cannot be read: %w", quote(file), cause(err))
	}
}

// headers checks the fields of requests. It does not repeat values.
func (j judge) headers(name string, headers Headers) {
	for _, header := range sortedNames(headers) {
		switch {
		case header == "" || strings.ContainsFunc(header, func(r rune) bool { return !isTokenChar(r) }):
			j.entryFailf(name, header, "is not the name of a header")
		case slices.Contains([]string{"Host", "Connection", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding"}, header):
			j.entryFailf(name, header, "the agent sets this header itself; leave it out")
		case strings.ContainsFunc(headers[header], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			j.entryFailf(name, header, "its value has characters that a header cannot have")
		}
	}
}

// isTokenChar is RFC 9110, section 5.6.2.
func isTokenChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// url says what is wrong with a URL, without repeating it: some are secrets.
func (j judge) url(name, text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https":
		return "is not a URL that begins with http:// or https://"
	case u.Hostname() == "":
		return "is a URL without a host"
	case u.Fragment != "":
		return "is a URL with a #, which is never sent; leave it out"
	case u.User != nil:
		section := name[:strings.LastIndexByte(name, '.')]
		return "has a user or password in it, which is not sent; give an Authorization header in the environment, as " +
			findKey(section+".headers").variable() + "='Authorization=Basic%20…'"
	}
	if port := u.Port(); port != "" {
		return address("host:"+port, 1)
	}
	return ""
}

// baseURL says what is wrong with a URL to which OTLP adds the path of a signal, without repeating it.
func (j judge) baseURL(name, text string) string {
	if problem := j.url(name, text); problem != "" {
		return problem
	}
	u, err := url.Parse(text)
	if err != nil || u.RawQuery != "" {
		return "is a URL with a ?, which OTLP does not know; leave out what follows, or use a header"
	}
	if j.a.Outputs.OTLP.Protocol == OverGRPC {
		if strings.Trim(u.Path, "/") != "" {
			return "is a URL with a path, which gRPC does not know; leave it out, or set outputs.otlp.protocol to http"
		}
		return ""
	}
	for _, signal := range []string{"/v1/logs", "/v1/metrics", "/v1/traces"} {
		if strings.HasSuffix(strings.TrimRight(u.Path, "/"), signal) {
			return "ends in " + signal + ", which the agent adds itself; leave it out"
		}
	}
	return ""
}

// address says what is wrong with HOST:PORT. Port 0, where it is allowed, is any that is free.
func address(text string, leastPort int) string {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "is not HOST:PORT; write it as 127.0.0.1:9777 or [::1]:9777"
	}
	if n, err := strconv.Atoi(port); err != nil || n < leastPort || n > 65535 {
		return fmt.Sprintf("does not end in a port from %d to 65535", leastPort)
	}
	if _, err := netip.ParseAddr(host); host == "" || err == nil {
		return ""
	}
	for _, r := range host {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r)) {
			return "does not begin with a host's name or address"
		}
	}
	return ""
}

// maxMessage is how many octets of another package's error are shown: it may repeat a value.
const maxMessage = 400

// oneLine is what an error says, fit for a line of its own.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
