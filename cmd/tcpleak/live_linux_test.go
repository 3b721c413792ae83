package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/internal/kernel"
)

const (
	// settle is how long the link is silent before a capture is ended: longer than any timeout between the kernel and
	// the report.
	settle = time.Second
	// promptly is how soon after its threshold a finding is announced.
	promptly = 2 * time.Second
)

// hosts are two hosts on a link; the server listens and runs tcpleak.
type hosts struct {
	*kernel.Pair
	listener *kernel.Socket
}

func newHosts(t *testing.T) *hosts {
	t.Helper()
	if err := kernel.Available(); err != nil {
		t.Skipf("%v, or run sudo make test-root", err)
	}
	pair, err := kernel.NewPair(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pair.Close)
	h := &hosts{Pair: pair}
	act(t, func() { h.listener = pair.Server.Listen(h.service(), 16) })
	return h
}

func (h *hosts) service() netip.AddrPort { return netip.AddrPortFrom(h.Server.V4, 80) }

// act runs socket calls, which panic when the system refuses them.
func act(t *testing.T, f func()) {
	t.Helper()
	if err := kernel.Try(f); err != nil {
		t.Fatal(err)
	}
}

// launch starts a command on the server.
func (h *hosts) launch(t *testing.T, ready, name string, args ...string) *process {
	t.Helper()
	return launch(t, func(cmd *exec.Cmd) error {
		return kernel.Try(func() { h.Server.Start(cmd) })
	}, ready, name, args...)
}

// capture starts tcpleak on the server and waits until it captures.
func (h *hosts) capture(t *testing.T, args ...string) *process {
	t.Helper()
	return h.launch(t, "capturing on", "tcpleak", args...)
}

// request opens a connection, which carries a request and an answer.
func (h *hosts) request(from *kernel.Host) (client, server *kernel.Socket) {
	client = from.Dial(h.service())
	server = h.listener.Accept()
	client.Send(100)
	server.Recv(100)
	server.Send(1000)
	client.Recv(1000)
	return client, server
}

// healthy is a connection that both ends close.
func (h *hosts) healthy() {
	client, server := h.request(h.Client)
	client.Close()
	server.RecvEOF()
	server.Close()
}

// leak is a connection that the client closes and the server does not. It returns the server's end.
func (h *hosts) leak(from *kernel.Host) *kernel.Socket {
	client, server := h.request(from)
	client.Close()
	server.RecvEOF()
	return server
}

// event is a line of --format json.
type event struct {
	Type, Event string
	Finding     struct {
		Kind        string
		Connections []int
		Culprit     struct {
			Role, Address string
			Port          int
		}
		Since time.Time
	}
}

func parseEvent(t *testing.T, l line) event {
	t.Helper()
	if _, err := checkShape(l.text); err != nil {
		t.Errorf("%v in %s", err, l.text)
	}
	var e event
	if err := json.Unmarshal([]byte(l.text), &e); err != nil {
		t.Fatalf("%v: %s", err, l.text)
	}
	if e.Type != "event" {
		t.Fatalf("not an event: %s", l.text)
	}
	return e
}

func TestLiveLeak(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	file := filepath.Join(t.TempDir(), "traffic.pcap")
	const threshold = 3 * time.Second
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=3s", "--format", "json", "tcp")
	dump := h.launch(t, "listening on", "tcpdump", "-i", kernel.Device, "-w", file, "-s", "256", "-U", "--immediate-mode",
		"-Z", "root", "tcp")
	act(t, func() {
		for range 3 {
			h.healthy()
		}
		h.leak(h.Client)
		h.healthy()
	})

	raised := live.next(t)
	e := parseEvent(t, raised)
	if e.Event != "raised" || e.Finding.Kind != "stuck_close_wait" || e.Finding.Culprit.Role != "server" ||
		e.Finding.Culprit.Address != h.Server.V4.String() || e.Finding.Culprit.Port != 80 {
		t.Errorf("announced as %s", raised.text)
	}
	// The finding begins with the ACK of the FIN.
	if after := raised.at.Sub(e.Finding.Since); after < threshold || after > threshold+promptly {
		t.Errorf("announced %v after the server's ACK of the FIN, want %v and at most %v more", after, threshold, promptly)
	}

	// The report judges at the last packet, which must come after the threshold for it to have the finding.
	act(t, h.healthy)
	time.Sleep(settle)
	got, status := live.interrupt(t)
	if status != statusOK {
		t.Errorf("exit status %d: %s", status, live.stderr())
	}
	if _, status := dump.interrupt(t); status != 0 {
		t.Fatalf("tcpdump: %s", dump.stderr())
	}
	out, talk, status := tcpleak("-r", file, "--threshold", "stuck_close_wait=3s", "--format", "json", "tcp")
	if status != statusOK {
		t.Fatalf("exit status %d: %s", status, talk)
	}
	want := strings.Split(strings.TrimSpace(out), "\n")
	if diff := cmp.Diff(parseReport(t, want), parseReport(t, got), sameTime, sameDuration); diff != "" {
		t.Errorf("the live report is not that of -r (-file +live):\n%s", diff)
	}
	if !strings.Contains(out, `"kind":"stuck_close_wait"`) || strings.Count(out, `"type":"connection"`) != 6 {
		t.Errorf("not the traffic that there was: %s", out)
	}
}

// Each capturing socket reads the clock for itself, some 100 ns apart or, where the machine is taken away in between, some
// milliseconds; and tcpdump writes microseconds.
const clockDifference = 100 * time.Millisecond

var (
	sameTime = cmp.Comparer(func(a, b string) bool {
		at, err1 := time.Parse(time.RFC3339Nano, a)
		bt, err2 := time.Parse(time.RFC3339Nano, b)
		if err1 != nil || err2 != nil {
			return a == b
		}
		return at.Sub(bt).Abs() < clockDifference
	})
	// Counts are numbers as well, but whole ones.
	sameDuration = cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < clockDifference.Seconds() })
)

// parseReport leaves out the events, what the kernel says, and what tells a file from an interface.
func parseReport(t *testing.T, report []string) []map[string]any {
	t.Helper()
	var records []map[string]any
	for _, text := range report {
		if _, err := checkShape(text); err != nil {
			t.Errorf("%v in %s", err, text)
		}
		var record map[string]any
		if err := json.Unmarshal([]byte(text), &record); err != nil {
			t.Fatal(err)
		}
		switch record["type"] {
		case "event", "kernel_finding":
			continue
		case "connection":
			for _, role := range []string{"client", "server"} {
				for _, key := range []string{"kernel_state", "receive_queue", "send_queue", "unaccepted", "process"} {
					delete(record[role].(map[string]any), key)
				}
			}
		case "finding":
			delete(record, "processes")
		case "capture":
			delete(record, "live")
			for _, source := range record["sources"].([]any) {
				delete(source.(map[string]any), "name")
				delete(source.(map[string]any), "format")
			}
		}
		records = append(records, record)
	}
	return records
}

func TestLiveClears(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=500ms", "--format", "json")
	var forgotten *kernel.Socket
	act(t, func() { forgotten = h.leak(h.Client) })
	raised := live.next(t)
	if e := parseEvent(t, raised); e.Event != "raised" {
		t.Errorf("first came %s", raised.text)
	}
	act(t, forgotten.Close)
	closed := time.Now()
	cleared := live.next(t)
	e := parseEvent(t, cleared)
	if e.Event != "cleared" || e.Finding.Kind != "stuck_close_wait" || len(e.Finding.Connections) != 1 {
		t.Errorf("then came %s", cleared.text)
	}
	if after := cleared.at.Sub(closed); after > promptly {
		t.Errorf("cleared %v after the server closed", after)
	}
}

func TestLiveText(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=500ms", "port", "80")
	var forgotten *kernel.Socket
	act(t, func() { forgotten = h.leak(h.Client) })
	want := regexp.MustCompile(fmt.Sprintf(`^\d\d:\d\d:\d\d warning stuck_close_wait raised: server 10\.77\.0\.2:80 \(connection 1\): .* `+
		`Held by pid %d tcpleak\.test, fd \d+\. Next: .*\bss\b`, os.Getpid()))
	if l := live.next(t); !want.MatchString(l.text) {
		t.Errorf("raised: %s", l.text)
	}
	act(t, forgotten.Close)
	want = regexp.MustCompile(`^\d\d:\d\d:\d\d warning stuck_close_wait cleared: server 10\.77\.0\.2:80 \(connection 1\) after \S+$`)
	if l := live.next(t); !want.MatchString(l.text) {
		t.Errorf("cleared: %s", l.text)
	}
	report, status := live.interrupt(t)
	if status != statusOK || len(report) == 0 || !strings.HasPrefix(report[0], kernel.Device+": ") {
		t.Errorf("exit status %d, report %q", status, report)
	}
}

// With CSV, stdout is one table: the announcements go to stderr.
func TestLiveCSV(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=200ms", "--format", "csv")
	act(t, func() { h.leak(h.Client) })
	waitFor(t, live, "stuck_close_wait raised")
	report, status := live.interrupt(t)
	if status != statusOK || len(report) != 2 || !strings.HasPrefix(report[0], "id,") || !strings.HasPrefix(report[1], "1,") {
		t.Errorf("exit status %d, stdout %q", status, report)
	}
}

// What only silence has shown is in no report, as -r would not have it either; nobody should wonder where it is.
func TestLiveSilence(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=500ms", "--fail-on", "warning", "--format", "json", "tcp")
	act(t, func() { h.leak(h.Client) })
	live.next(t)
	report, status := live.interrupt(t)
	if status != statusOK || strings.Contains(strings.Join(report, "\n"), `"type":"finding"`) {
		t.Errorf("exit status %d, report %q", status, report)
	}
	if want := "not in the report, as it became clear only after the last packet: The server 10.77.0.2:80 "; !strings.Contains(live.stderr(), want) {
		t.Errorf("stderr: %s, want %q in it", live.stderr(), want)
	}
}

func TestLiveInterfaces(t *testing.T) {
	for _, c := range []struct {
		name       string
		interfaces []string
		elsewhere  bool // the client is on the other host, and not on the server itself
		linkTypes  string
	}{
		{"any", []string{"-i", "any"}, true, `\["LINUX_SLL2?"\]`},
		{"any, its lo", []string{"-i", "any"}, false, `\["LINUX_SLL2?"\]`},
		{"lo", []string{"-i", "lo"}, false, `\["ETHERNET"\]`},
		{"two, the first", []string{"-i", kernel.Device, "-i", "lo"}, true, `\["ETHERNET"\].*\["ETHERNET"\]`},
		{"two, the second", []string{"-i", kernel.Device, "-i", "lo"}, false, `\["ETHERNET"\].*\["ETHERNET"\]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHosts(t)
			live := h.capture(t, append(c.interfaces, "--threshold", "stuck_close_wait=200ms", "--format", "json", "tcp")...)
			from := h.Server
			if c.elsewhere {
				from = h.Client
			}
			act(t, func() { h.leak(from) })
			if e := parseEvent(t, live.next(t)); e.Event != "raised" || e.Finding.Culprit.Address != h.Server.V4.String() {
				t.Errorf("announced as %+v", e)
			}
			lines, status := live.interrupt(t)
			if status != statusOK {
				t.Errorf("exit status %d: %s", status, live.stderr())
			}
			report := strings.Join(lines, "\n")
			for _, want := range []string{
				`"live":true`, `"link_types":` + c.linkTypes, `"dropped":\{"kernel":0,"interface":0\}`,
				fmt.Sprintf(`"client":\{"address":"%s","port":\d+,"state":"FIN_WAIT_2"`, from.V4),
				`"server":\{"address":"10.77.0.2","port":80,"state":"CLOSE_WAIT"`,
				`"type":"summary","connections":1,`,
			} {
				if !regexp.MustCompile(want).MatchString(report) {
					t.Errorf("no %s in\n%s", want, report)
				}
			}
		})
	}
}

// An interface that goes away is an error; what it saw before is still worth reporting.
func TestLiveInterfaceGoes(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--format", "json", "tcp")
	act(t, func() {
		h.healthy()
		h.Sleep(settle)
		h.Server.Command("", "ip", "link", "delete", kernel.Device)
	})
	report, status := live.wait(t)
	if status != statusError {
		t.Errorf("exit status %d", status)
	}
	if want := regexp.MustCompile(`(?m)^tcpleak: veth0: .*: see ip link show veth0$`); !want.MatchString(live.stderr()) {
		t.Errorf("stderr: %s", live.stderr())
	}
	if len(report) != 3 || !strings.HasPrefix(report[1], `{"type":"connection","id":1,`) {
		t.Errorf("report: %q", report)
	}
}

func TestLiveInterfaceIsDown(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	act(t, func() { h.Server.Command("", "ip", "link", "set", kernel.Device, "down") })
	p := h.launch(t, "", "tcpleak", "-i", kernel.Device)
	lines, status := p.wait(t)
	want := "tcpleak: veth0: the interface is down: bring it up with sudo ip link set veth0 up\n"
	if status != statusError || len(lines) > 0 || p.stderr() != want {
		t.Errorf("exit status %d, stdout %q, stderr %q, want %q", status, lines, p.stderr(), want)
	}
}

func waitFor(t *testing.T, p *process, text string) {
	t.Helper()
	for end := time.Now().Add(hang); !strings.Contains(p.stderr(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q on stderr: %s", text, p.stderr())
		}
	}
}

func TestASnapshotIsReportedInBetween(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=500ms", "--format", "json", "port", "80")
	act(t, func() { h.leak(h.Client) })
	live.next(t)
	if err := live.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for len(kinds) == 0 || kinds[len(kinds)-1] != "summary" {
		var record struct{ Type string }
		if err := json.Unmarshal([]byte(live.next(t).text), &record); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, record.Type)
	}
	if diff := cmp.Diff([]string{"capture", "connection", "finding", "summary"}, kinds); diff != "" {
		t.Errorf("the snapshot (-want +got):\n%s", diff)
	}
	act(t, h.healthy)
	time.Sleep(settle)
	lines, status := live.interrupt(t)
	if n := strings.Count(strings.Join(lines, "\n"), `"type":"connection"`); status != statusOK || n != 2 {
		t.Errorf("exit status %d, and %d connections in the report, want 2: %s", status, n, lines)
	}
}

func TestADurationEndsTheCapture(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--duration", "1s", "--format", "json", "port", "80")
	act(t, h.healthy)
	lines, status := live.wait(t)
	if n := strings.Count(strings.Join(lines, "\n"), `"type":"connection"`); status != statusOK || n != 1 {
		t.Errorf("exit status %d, and %d connections in the report, want 1: %s", status, n, lines)
	}
}

// Whatever was in CLOSE_WAIT before is in no packet; the kernel has it.
func TestSocketsLeftBeforeTheCapture(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	var forgotten *kernel.Socket
	act(t, func() { forgotten = h.leak(h.Client) })
	live := h.capture(t, "-i", kernel.Device, "--format", "json", "port", "80")
	began := time.Now()
	raised := live.next(t)
	e := parseEvent(t, raised)
	if e.Event != "raised" || e.Finding.Kind != "old_close_wait" || e.Finding.Culprit.Port != 80 ||
		!strings.Contains(raised.text, fmt.Sprintf(`"processes":[{"pid":%d,`, os.Getpid())) {
		t.Errorf("announced as %s", raised.text)
	}
	if after := raised.at.Sub(began); after > promptly {
		t.Errorf("announced after %v, want %v at most", after, promptly)
	}
	act(t, forgotten.Close)
	if e := parseEvent(t, live.next(t)); e.Event != "cleared" || e.Finding.Kind != "old_close_wait" {
		t.Errorf("then %v", e)
	}
}

func TestSocketsThatTheFilterLeavesOutAreNoFindings(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	act(t, func() { h.leak(h.Client) })
	live := h.capture(t, "-i", kernel.Device, "--format", "json", "--duration", "2s", "port", "81")
	lines, status := live.wait(t)
	if text := strings.Join(lines, "\n"); status != statusOK || strings.Contains(text, "old_close_wait") && strings.Contains(text, `"event"`) {
		t.Errorf("exit status %d: %s", status, text)
	}
}

func TestTheKernelDisagrees(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--format", "json", "--only", "kernel_disagrees", "port", "80")
	act(t, func() {
		client, _ := h.request(h.Client)
		h.Server.Drop("tcp flags rst")
		client.Abort()
	})
	raised := live.next(t)
	if e := parseEvent(t, raised); e.Event != "raised" || e.Finding.Kind != "kernel_disagrees" || e.Finding.Culprit.Role != "server" {
		t.Errorf("announced as %s", raised.text)
	}
}

// What is saved in the same run gives the same report.
func TestSavedPacketsGiveTheLiveReport(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	dir := t.TempDir()
	file, page := filepath.Join(dir, "saved.pcap"), filepath.Join(dir, "report.html")
	live := h.capture(t, "-i", kernel.Device, "-w", file, "--report", page, "--threshold", "stuck_close_wait=500ms", "--format", "json", "tcp")
	act(t, func() {
		h.leak(h.Client)
		h.healthy()
	})
	live.next(t)
	act(t, h.healthy)
	time.Sleep(settle)
	got, status := live.interrupt(t)
	if status != statusOK {
		t.Errorf("exit status %d: %s", status, live.stderr())
	}
	out, talk, status := tcpleak("-r", file, "--threshold", "stuck_close_wait=500ms", "--format", "json", "tcp")
	if status != statusOK {
		t.Fatalf("exit status %d: %s", status, talk)
	}
	want := strings.Split(strings.TrimSpace(out), "\n")
	if diff := cmp.Diff(parseReport(t, want), parseReport(t, got)); diff != "" {
		t.Errorf("the live report is not that of -r (-file +live):\n%s", diff)
	}
	if !strings.Contains(out, `"kind":"stuck_close_wait"`) {
		t.Errorf("no finding: %s", out)
	}
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "stuck_close_wait") {
		t.Errorf("the page: %v, %.100s", err, html)
	}
}

func TestACountEndsTheCapture(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "-c", "5", "--format", "json", "port", "80")
	act(t, h.healthy)
	lines, status := live.wait(t)
	if status != statusOK || len(lines) == 0 || !strings.Contains(lines[0], `"packets":5,`) {
		t.Errorf("exit status %d: %s", status, lines)
	}
}

func TestAFullDiskEndsSavingNotCapturing(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.launch(t, "capturing on", "sh", "-c", `ulimit -f 16; trap "" XFSZ; exec tcpleak "$@"`, "sh",
		"-i", kernel.Device, "-w", filepath.Join(t.TempDir(), "saved.pcap"), "--format", "json", "port", "80")
	act(t, func() {
		for range 30 {
			h.healthy()
		}
	})
	const want = "tcpleak: packets are not saved any more, after "
	for began := time.Now(); !strings.Contains(live.stderr(), want) && time.Since(began) < hang; {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(settle)
	lines, status := live.interrupt(t)
	if n := strings.Count(strings.Join(lines, "\n"), `"type":"connection"`); status != statusOK || n != 30 {
		t.Errorf("exit status %d, and %d connections in the report, want 30: %s", status, n, live.stderr())
	}
	if strings.Count(live.stderr(), want) != 1 {
		t.Errorf("stderr has not %q once: %s", want, live.stderr())
	}
}
