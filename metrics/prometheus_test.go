package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/tracker"
)

// A real Prometheus scrapes a capture in which a leak grows, takes native histograms, and fires the alert that is shipped.
func TestPrometheusFiresTheAlertForALeak(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is missing; tools/install-deps.sh test installs it, or the package prometheus of Debian")
	}
	if testing.Short() {
		t.Skip("it takes some seconds; run without -short")
	}
	w := newWorld(t, Config{}, tracker.Config{})
	for i := range 40 {
		w.talk(1, uint16(40001+i), 2, 80).open().half()
		w.judge(5 * time.Second)
	}
	target := httptest.NewServer(w.m.Handler())
	defer target.Close()

	rulesPath, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: tcpleak\n    static_configs: [{targets: [%q]}]\n",
		rulesPath, strings.TrimPrefix(target.URL, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// Prometheus does not say which port it got for port 0.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()

	var log bytes.Buffer
	server := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address,
		"--enable-feature=native-histograms")
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	stop := func() {
		server.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			server.Process.Kill()
			<-ended
		}
	}

	// ask answers a question of the HTTP API, as JSON.
	ask := func(path string) string {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			return err.Error() // it does not listen yet
		}
		defer answer.Body.Close()
		var body struct{ Data json.RawMessage }
		if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
			return err.Error()
		}
		return string(body.Data)
	}
	// await asks until the answer has all of the words.
	await := func(path string, words ...string) {
		t.Helper()
		var answer string
		for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			answer = ask(path)
			missing := false
			for _, word := range words {
				missing = missing || !strings.Contains(answer, word)
			}
			if !missing {
				return
			}
		}
		t.Errorf("after a minute, %s answers\n%s\nwithout all of %q", path, answer, words)
	}
	await("/api/v1/alerts", `"alertname":"TcpleakLeak"`, `"state":"firing"`, `"service":"10.0.0.2:80"`, "Connections of 10.0.0.2:80 leak")
	await("/api/v1/query?query=histogram_count(tcpleak_service_handshake_seconds%7Bservice%3D%2210.0.0.2:80%22%7D)", `"40"`)
	stop()
	if t.Failed() {
		t.Logf("Prometheus said\n%s", log.String())
	}
}
