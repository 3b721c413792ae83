package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tcpleak/internal/kernel"
	"tcpleak/internal/tmux"
)

// needs skips a test whose programs are not here.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here: run make deps-test, or install it", program)
		}
	}
}

const nginxPort = 8080

// nginx serves on the server of h: a short answer, and at /file one of many segments.
func (h *hosts) nginx(t *testing.T) (url string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	// One process, which ends with the test. It stays root: nobody else may enter dir.
	text := fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr notice;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[1]s;
	proxy_temp_path %[1]s;
	fastcgi_temp_path %[1]s;
	uwsgi_temp_path %[1]s;
	scgi_temp_path %[1]s;
	keepalive_requests 1000000;
	server {
		listen %[2]s:%[3]d backlog=4096;
		root %[1]s;
		location = / { return 200 "well\n"; }
	}
}
`, dir, h.Server.V4, nginxPort)
	for name, content := range map[string]string{config: text, filepath.Join(dir, "file"): strings.Repeat("all work and no play\n", 20_000)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.Server.Sysctl("net.core.somaxconn", "4096")
	h.launch(t, "getrlimit", "nginx", "-p", dir, "-e", "stderr", "-c", config)
	return fmt.Sprintf("http://%s:%d/", h.Server.V4, nginxPort)
}

// ends are what the report of a capture tells of a connection.
type ends struct {
	Type           string
	Client, Server struct {
		State string
		Port  int
	}
}

// recordsOf splits the lines of a JSON report: the connections, and the kinds of findings, raised or in the report, each with one of
// its lines.
func recordsOf(t *testing.T, lines []string) (connections []ends, findings map[string]string) {
	t.Helper()
	findings = make(map[string]string)
	for _, text := range lines {
		var record struct {
			Type, Kind string
			Finding    struct{ Kind string }
		}
		if err := json.Unmarshal([]byte(text), &record); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		switch record.Type {
		case "connection":
			var c ends
			if err := json.Unmarshal([]byte(text), &c); err != nil {
				t.Fatal(err)
			}
			connections = append(connections, c)
		case "finding":
			findings[record.Kind] = text
		case "event":
			findings[record.Finding.Kind] = text
		}
	}
	return connections, findings
}

// over reports whether neither application has anything left to do for a connection.
func (e *ends) over() bool {
	for _, state := range []string{e.Client.State, e.Server.State} {
		if state != "TIME_WAIT" && state != "CLOSED" {
			return false
		}
	}
	return true
}

var requestsMade = regexp.MustCompile(`(\d+) requests in`)

// load lets wrk ask for a second, on so many connections, and returns how many answers it has had.
func (h *hosts) load(t *testing.T, url string, connections int, args ...string) (requests int) {
	t.Helper()
	p := launch(t, func(cmd *exec.Cmd) error {
		return kernel.Try(func() { h.Client.Start(cmd) })
	}, "", "wrk", append([]string{"-t", "1", "-d", "1s", "-c", strconv.Itoa(connections)}, append(args, url)...)...)
	lines, status := p.wait(t)
	text := strings.Join(lines, "\n")
	m := requestsMade.FindStringSubmatch(text)
	if status != 0 || m == nil || strings.Contains(text, "Socket errors") || strings.Contains(text, "Non-2xx") {
		t.Fatalf("wrk: %s%s", text, p.stderr())
	}
	requests, _ = strconv.Atoi(m[1]) // digits
	return requests
}

func TestLiveCurlFromNginx(t *testing.T) {
	needs(t, "nginx", "curl")
	t.Parallel()
	h := newHosts(t)
	url := h.nginx(t)
	live := h.capture(t, "-i", kernel.Device, "--format", "json")
	act(t, func() {
		for range 5 {
			h.Client.Command("", "curl", "-sf", "-o", "/dev/null", url, url+"file")
			h.Client.Command("", "curl", "-sf", "-o", "/dev/null", "-H", "Connection: close", url+"file")
		}
	})
	time.Sleep(settle)
	lines, status := live.interrupt(t)
	connections, findings := recordsOf(t, lines)
	if status != statusOK || len(findings) > 0 || len(connections) != 10 {
		t.Errorf("exit status %d, %d connections, want 10, and findings %v: %s", status, len(connections), findings, live.stderr())
	}
	for _, c := range connections {
		if !c.over() {
			t.Errorf("not over: %+v", c)
		}
	}
}

func TestLiveLoadOnNginx(t *testing.T) {
	needs(t, "nginx", "wrk")
	for _, c := range []struct {
		name        string
		connections int
		args        []string
		true        []string // findings that wrk does give cause for
	}{
		{"keep-alive", 300, nil, []string{"aborted"}},
		{"a connection for each request", 100, []string{"-H", "Connection: close"}, []string{"aborted", "churn", "port_reused", "time_wait_pressure"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHosts(t)
			url := h.nginx(t)
			live := h.capture(t, "-i", kernel.Device, "--format", "json")
			requests := h.load(t, url, c.connections, c.args...)
			time.Sleep(settle)
			lines, status := live.interrupt(t)
			connections, findings := recordsOf(t, lines)
			if status != statusOK {
				t.Errorf("exit status %d: %s", status, live.stderr())
			}
			// wrk looks whether anybody listens, then opens its connections. In the end it cuts off what it has open.
			least, most := c.connections+1, c.connections+1
			if c.args != nil {
				least, most = requests+1, requests+1+c.connections
			}
			if n := len(connections); n < least || n > most {
				t.Errorf("%d connections for %d requests, want %d to %d", n, requests, least, most)
			}
			for _, c := range connections {
				if !c.over() {
					t.Errorf("not over: %+v", c)
				}
			}
			for kind, text := range findings {
				if !slices.Contains(c.true, kind) || !strings.Contains(text, `"culprit":{"role":"client",`) {
					t.Errorf("a false accusation: %.2000s", text)
				}
			}
		})
	}
}

// leaky runs a server that forgets every third of its connections on the server of h.
func (h *hosts) leaky(t *testing.T) (server *process, url string) {
	t.Helper()
	address := netip.AddrPortFrom(h.Server.V4, 8081).String()
	return h.launch(t, "serving", "leakyserver", address), "http://" + address + "/"
}

// fetch lets curl ask n times, on a connection each.
func (h *hosts) fetch(t *testing.T, url string, n int) {
	t.Helper()
	act(t, func() {
		for range n {
			h.Client.Command("", "curl", "-sf", "-o", "/dev/null", url)
		}
	})
}

// namedWithin is how long after the connection was left a finding with this threshold may be told.
const (
	forgottenFor = time.Second
	namedWithin  = forgottenFor + promptly
)

func TestALeakIsNamedInJSON(t *testing.T) {
	needs(t, "curl")
	t.Parallel()
	h := newHosts(t)
	server, url := h.leaky(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=1s", "--format", "json", "port", "8081")
	h.fetch(t, url, 3)
	l := live.next(t)
	var event struct {
		Event   string
		Time    time.Time
		Finding struct {
			Kind        string
			Connections []int
			Since       time.Time
			Culprit     struct {
				Role, Address string
				Port          int
			}
			Processes []struct {
				PID, FD       int
				Name, Command string
			}
		}
	}
	if err := json.Unmarshal([]byte(l.text), &event); err != nil {
		t.Fatalf("%v: %s", err, l.text)
	}
	f := &event.Finding
	if event.Event != "raised" || f.Kind != "stuck_close_wait" || f.Culprit.Role != "server" || f.Culprit.Address != h.Server.V4.String() ||
		f.Culprit.Port != 8081 || len(f.Connections) != 1 || f.Connections[0] != 3 {
		t.Errorf("told of another: %s", l.text)
	}
	// By the capture's clock, and by that of whoever reads.
	for what, after := range map[string]time.Duration{"raised": event.Time.Sub(f.Since), "told": l.at.Sub(f.Since)} {
		if after < forgottenFor || after > namedWithin {
			t.Errorf("%s %v after the FIN was acknowledged, want %v to %v", what, after, forgottenFor, namedWithin)
		}
	}
	if len(f.Processes) != 1 || f.Processes[0].PID != server.cmd.Process.Pid || f.Processes[0].Name != "leakyserver" || f.Processes[0].FD == 0 ||
		!strings.Contains(f.Processes[0].Command, "leakyserver") {
		t.Errorf("want pid %d leakyserver: %s", server.cmd.Process.Pid, l.text)
	}
	// Three more are left; the server's end closes them.
	h.fetch(t, url, 9)
	_ = server.cmd.Process.Kill()
	for {
		if e := parseEvent(t, live.next(t)); e.Event == "cleared" && e.Finding.Kind == "stuck_close_wait" {
			break
		}
	}
	time.Sleep(settle)
	lines, status := live.interrupt(t)
	connections, _ := recordsOf(t, lines)
	if status != statusOK || len(connections) != 12 {
		t.Errorf("exit status %d, %d connections, want 12: %s", status, len(connections), live.stderr())
	}
	for _, c := range connections {
		if !c.over() {
			t.Errorf("not over: %+v", c)
		}
	}
}

func TestALeakIsNamedInLines(t *testing.T) {
	needs(t, "curl")
	t.Parallel()
	h := newHosts(t)
	server, url := h.leaky(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=1s", "port", "8081")
	h.fetch(t, url, 2)
	left := time.Now()
	h.fetch(t, url, 1)
	l := live.next(t)
	want := regexp.MustCompile(fmt.Sprintf(`^\d\d:\d\d:\d\d warning stuck_close_wait raised: server 10\.77\.0\.2:8081 \(connection 3\): .* `+
		`Held by pid %d leakyserver, fd \d+\. Next: `, server.cmd.Process.Pid))
	if !want.MatchString(l.text) {
		t.Errorf("told: %s", l.text)
	}
	if after := l.at.Sub(left); after < forgottenFor || after > namedWithin {
		t.Errorf("told %v after the connection was left, want %v to %v", after, forgottenFor, namedWithin)
	}
	report, status := live.interrupt(t)
	if text := strings.Join(report, "\n"); status != statusOK || !strings.Contains(text, "Clear only from the silence after the last packet") ||
		!strings.Contains(text, "10.77.0.2:8081") {
		t.Errorf("exit status %d, report %s", status, text)
	}
}

func TestALeakIsNamedOnTheScreen(t *testing.T) {
	needs(t, "curl")
	t.Parallel()
	h := newHosts(t)
	server, url := h.leaky(t)
	m := tmux.New(t, func(cmd *exec.Cmd) error { return kernel.Try(func() { h.Server.Start(cmd) }) })
	m.Play("tcpleak -i " + kernel.Device + " --threshold stuck_close_wait=1s port 8081")
	m.Shows(kernel.Device+"  port 8081", "Connections", "q quit")
	h.fetch(t, url, 2)
	left := time.Now()
	h.fetch(t, url, 1)
	m.Shows("Findings 1 warning", "server 10.77.0.2:8081", fmt.Sprintf("Held by pid %d leakyserver, fd ", server.cmd.Process.Pid),
		fmt.Sprintf("leakyserver[%d]", server.cmd.Process.Pid))
	if after := time.Since(left); after < forgottenFor || after > namedWithin {
		t.Errorf("shown %v after the connection was left, want %v to %v", after, forgottenFor, namedWithin)
	}
	m.Press("Tab", "Enter")
	m.Shows("Finding stuck_close_wait", fmt.Sprintf("Who    pid %d leakyserver, fd ", server.cmd.Process.Pid),
		fmt.Sprintf("pid %d is ", server.cmd.Process.Pid), "handshake 1/3")
	// What follows makes the report tell it, which judges at the last packet.
	h.fetch(t, url, 1)
	time.Sleep(settle)
	m.Press("C-c")
	screen := m.Over(statusOK)
	for _, want := range []string{"warning stuck_close_wait: server 10.77.0.2:8081", "Who:   pid", "FIN_WAIT_2?"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in the report after Ctrl-C:\n%s", want, screen)
		}
	}
	if text := m.File("stderr"); text != "" {
		t.Errorf("stderr has %q", text)
	}
}
