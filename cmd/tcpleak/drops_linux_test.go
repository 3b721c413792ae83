package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/internal/kernel"
	"tcpleak/internal/traffic"
)

var (
	tcpdumpCaptured = regexp.MustCompile(`(\d+) packets? captured`)
	tcpdumpDropped  = regexp.MustCompile(`(\d+) packets? dropped by kernel`)
)

// At a rate that any machine can make, tcpleak loses no more packets than tcpdump, which only copies them. tools/drops.sh goes on to
// where both may.
func TestLiveDropsNoMoreThanTcpdump(t *testing.T) {
	needs(t, "tcpreplay")
	const packets, rate = 60_000, "20000"
	file := filepath.Join(t.TempDir(), "traffic.pcap")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = traffic.Write(out, traffic.Config{Packets: packets, Concurrent: 1000, Payload: 200, Broken: 0.05, Seed: 1})
	if err != nil || out.Close() != nil {
		t.Fatal(err)
	}
	// Somebody else may have had the processors for longer than a buffer holds out; not each time.
	const tries = 3
	for try := 1; ; try++ {
		h := newHosts(t)
		for _, host := range h.Hosts() {
			host.Rules("ip saddr != 10.77.0.0/24 drop", "ip daddr != 10.77.0.0/24 drop") // nobody answers what is replayed
		}
		live := h.capture(t, "-i", kernel.Device, "--no-process", "--format", "json")
		dump := h.launch(t, "listening on", "tcpdump", "-i", kernel.Device, "-s", "256", "-B", "32768", "-Z", "root", "-w", os.DevNull)
		replay := launch(t, func(cmd *exec.Cmd) error {
			return kernel.Try(func() { h.Client.Start(cmd) })
		}, "", "tcpreplay", "--quiet", "--preload-pcap", "--pps="+rate, "-i", kernel.Device, file)
		if _, status := replay.wait(t); status != 0 {
			t.Fatalf("tcpreplay: %s", replay.stderr())
		}
		time.Sleep(settle)
		if err := dump.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		dump.wait(t)
		lines, status := live.interrupt(t)
		if status != statusOK {
			t.Fatalf("exit status %d: %s", status, live.stderr())
		}
		var capture struct {
			Packets int
			Dropped struct{ Kernel, Interface int }
		}
		for _, line := range lines {
			if strings.HasPrefix(line, `{"type":"capture"`) {
				if err := json.Unmarshal([]byte(line), &capture); err != nil {
					t.Fatal(err)
				}
			}
		}
		captured, dropped := figure(t, tcpdumpCaptured, dump.stderr()), figure(t, tcpdumpDropped, dump.stderr())
		if capture.Packets+capture.Dropped.Kernel < packets {
			t.Errorf("%d packets and %d drops of %d that were sent", capture.Packets, capture.Dropped.Kernel, packets)
		}
		if capture.Dropped.Kernel <= dropped && capture.Packets >= captured {
			return
		}
		t.Logf("tcpdump captured %d and lost %d; tcpleak %d and %d", captured, dropped, capture.Packets, capture.Dropped.Kernel)
		if try == tries {
			t.Fatalf("tcpleak lost more each of %d times", tries)
		}
	}
}

// figure returns the number that a text has.
func figure(t *testing.T, pattern *regexp.Regexp, text string) int {
	t.Helper()
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %v in %s", pattern, text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
