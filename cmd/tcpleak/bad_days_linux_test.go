package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/internal/kernel"
)

// As with tcpleak -i … | head -1: whoever reads has what it wanted, and nothing more may happen for hours.
func TestLiveReaderLeaves(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	dir := t.TempDir()
	file, page := filepath.Join(dir, "saved.pcap"), filepath.Join(dir, "report.html")
	live := h.launch(t, "capturing on", "sh", "-c", `{ tcpleak "$@"; echo "status $?" >&2; } | head -n 1`, "sh",
		"-i", kernel.Device, "--threshold", "stuck_close_wait=300ms", "-w", file, "--report", page, "--format", "json")
	act(t, func() { h.leak(h.Client) })
	lines, _ := live.wait(t)
	if len(lines) != 1 || !strings.Contains(lines[0], `"event":"raised"`) {
		t.Errorf("stdout %q", lines)
	}
	for _, want := range []string{"\ntcpleak: nobody reads the output any more, so the capture ends\n", "\nstatus 0\n"} {
		if !strings.Contains(live.stderr(), want) {
			t.Errorf("stderr %q, want %q in it", live.stderr(), want)
		}
	}
	// What it writes besides is whole.
	out, talk, status := tcpleak("-r", file)
	if status != statusOK || !strings.Contains(out, "1 of 1 connection did not end cleanly") || strings.Contains(out+talk, "cut off") {
		t.Errorf("exit status %d, what was saved: %s%s", status, out, talk)
	}
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "</html>") {
		t.Errorf("the page: %v, %.100s", err, html)
	}
}

func TestLiveFilterThatMatchesNothing(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	for format, want := range map[string]string{
		"table": "No packets: none passed the filter, or there were none.",
		"json":  `"filter":"port 9999","packets":0,`,
	} {
		live := h.capture(t, "-i", kernel.Device, "--format", format, "port", "9999")
		act(t, h.healthy)
		time.Sleep(settle)
		lines, status := live.interrupt(t)
		if text := strings.Join(lines, "\n"); status != statusOK || !strings.Contains(text, want) {
			t.Errorf("%s: exit status %d, no %q in: %s", format, status, want, text)
		}
	}
}

// Of an interface that was down for a while, what passed before and after is in the report.
func TestLiveInterfaceComesBack(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	live := h.capture(t, "-i", kernel.Device, "--threshold", "stuck_close_wait=300ms", "--format", "json", "tcp port 80")
	act(t, func() {
		h.healthy()
		h.Server.Command("", "ip", "link", "set", kernel.Device, "down")
		h.Sleep(settle)
		h.Server.Command("", "ip", "link", "set", kernel.Device, "up")
		// Taking it down has flushed what is known of the neighbour.
		h.Server.Command("", "ip", "neigh", "replace", h.Client.V4.String(), "lladdr", "02:00:00:00:00:01", "dev", kernel.Device, "nud", "permanent")
		h.leak(h.Client)
	})
	if e := parseEvent(t, live.next(t)); e.Event != "raised" || e.Finding.Kind != "stuck_close_wait" {
		t.Errorf("announced as %+v", e)
	}
	lines, status := live.interrupt(t)
	if connections, _ := recordsOf(t, lines); status != statusOK || len(connections) != 2 {
		t.Errorf("exit status %d, %d connections, want 2: %s", status, len(connections), live.stderr())
	}
}

// A capture that cannot keep up says so, and takes nothing that it has not seen for a fault.
func TestLiveOverrun(t *testing.T) {
	needs(t, "nginx", "wrk")
	t.Parallel()
	h := newHosts(t)
	url := h.nginx(t)
	live := h.capture(t, "-i", kernel.Device, "-B", "1", "--format", "json", "--threshold", "stuck_close_wait=1s", "--threshold", "stuck_fin_wait_1=1s",
		"--threshold", "stuck_last_ack=1s", "--threshold", "half_open_handshake=1s", "--threshold", "unanswered_syn=1s", "--threshold", "half_open=1s")
	for range 2 {
		if err := live.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		requests := h.load(t, url, 50, "-H", "Connection: close")
		if err := live.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if requests < 200 {
			t.Fatalf("only %d requests: too few to overrun a buffer", requests)
		}
		time.Sleep(time.Second) // what is left of the load may look stuck for a threshold
	}
	time.Sleep(settle)
	waitFor(t, live, "tcpleak: dropped before they could be read: ")
	lines, status := live.interrupt(t)
	connections, findings := recordsOf(t, lines)
	var report string
	for _, line := range lines {
		if strings.HasPrefix(line, `{"type":"capture"`) {
			report = line
		}
	}
	m := regexp.MustCompile(`"dropped":\{"kernel":(\d+),"interface":0\}`).FindStringSubmatch(report)
	if status != statusOK || m == nil || m[1] == "0" {
		t.Errorf("exit status %d, the report does not tell of drops: %s", status, report)
	}
	if len(connections) < 20 {
		t.Errorf("only %d connections", len(connections))
	}
	if findings["capture_gap"] == "" {
		t.Error("no capture_gap")
	}
	for kind, text := range findings {
		// These come from what was seen; all others from what was not.
		if !slices.Contains([]string{"capture_gap", "churn", "aborted", "port_reused", "time_wait_pressure"}, kind) {
			t.Errorf("a false accusation: %.2000s", text)
		}
	}
}
