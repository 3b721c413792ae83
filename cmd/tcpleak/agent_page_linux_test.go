package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"tcpleak/internal/browser"
	"tcpleak/internal/kernel"
)

// near makes the agent's address on the server one that is reached from here.
func (h *hosts) near(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	// The hosts go after this.
	t.Cleanup(func() {
		listener.Close()
		accepting.Wait()
	})
	accepting.Go(func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			var there net.Conn
			h.Server.Run(func() { there, err = net.Dial("tcp", h.Server.V4.String()+":9777") })
			if err != nil {
				here.Close()
				continue
			}
			forward := func(to, from net.Conn) {
				defer to.Close()
				io.Copy(to, from)
			}
			go forward(there, here)
			go forward(here, there)
		}
	})
	return "http://" + listener.Addr().String()
}

func TestABrowserWatchesALeak(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	h := newHosts(t)
	chromium := browser.Start(t)
	h.agent(t, "thresholds: {stuck_close_wait: 500ms, stuck_fin_wait_2: 1h}\noutputs: {lines: false}\n")
	url := h.near(t)
	b := browser.Open(t, chromium, url+"/")
	b.Eventually(`document.getElementById("live").textContent === "live"`)
	browser.Is(b, `document.getElementById("no-findings").hidden`, false)
	browser.Eval[bool](b, `window.sameAsBefore = true`)

	var forgotten []*kernel.Socket
	act(t, func() {
		h.healthy()
		forgotten = append(forgotten, h.leak(h.Client))
	})
	const finding = `document.querySelector("#finding-list article.warning")`
	b.Eventually(finding + ` !== null`)
	browser.Is(b, finding+`.querySelector(".label code").textContent`, "stuck_close_wait")
	browser.Is(b, finding+`.querySelector("h3").textContent.startsWith("The server 10.77.0.2:80 has not closed its end")`, true)
	browser.Is(b, finding+`.querySelector(".holders").textContent.includes("pid ")`, true)
	browser.Is(b, `document.getElementById("log").textContent.includes("raised stuck_close_wait")`, true)

	act(t, func() {
		for range 2 {
			forgotten = append(forgotten, h.leak(h.Client))
		}
	})
	count := func(n int) string {
		return fmt.Sprintf(`Array.from(%s.querySelectorAll(".facts div")).some(f => f.textContent === "Connections%d")`, finding, n)
	}
	b.Eventually(count(3))
	b.Eventually(`Array.from(document.querySelectorAll("#rows tr")).filter(r => r.textContent.includes("CLOSE_WAIT")).length === 3`)
	b.Eventually(`Array.from(document.querySelectorAll("#states tr"), r => r.textContent).includes("CLOSE_WAIT03")`)
	b.Eventually(`document.getElementById("chart-d").textContent.includes("CLOSE_WAIT 3 now")`)

	b.Do(chromedp.Click(chromedp.CSS("#finding-list article.warning .links a")))
	b.Eventually(`document.querySelectorAll("#opened svg .box").length > 8`)
	browser.Is(b, `document.querySelector("#opened svg").textContent.includes("teardown 3/4 is missing")`, true)

	act(t, func() {
		for _, s := range forgotten {
			s.Close()
		}
	})
	// What is open goes on, too.
	b.Eventually(`document.querySelector("#opened .settled") !== null`)
	b.Do(chromedp.KeyEvent("\x1b"))
	b.Eventually(finding + ` === null`)
	b.Eventually(`document.getElementById("log").textContent.includes("cleared stuck_close_wait")`)
	browser.Is(b, `window.sameAsBefore`, true)
	messages, requests := b.Noted()
	for _, request := range requests {
		if !strings.HasPrefix(request, url+"/") {
			t.Errorf("the page asks for %s", request)
		}
	}
	if len(messages) > 0 {
		t.Errorf("%q", messages)
	}
}

func TestTheAgentTellsAConnectionStepByStep(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	agent, get := h.agent(t, "thresholds: {stuck_close_wait: 500ms}\n")
	act(t, func() {
		h.healthy()
		h.leak(h.Client)
	})
	agent.next(t)
	type connection struct {
		ID       int
		Findings []int
	}
	ask := func(path string, to any) {
		t.Helper()
		text := get(path)
		body, ok := strings.CutPrefix(text, "200 ")
		if !ok {
			t.Fatalf("%s: %s", path, text)
		}
		if err := json.NewDecoder(strings.NewReader(body)).Decode(to); err != nil {
			t.Fatalf("%s: %v: %.600s", path, err, text)
		}
	}
	var list struct{ Connections []connection }
	ask("/api/v1/connections?sort=id&reverse=true&limit=1", &list)
	if len(list.Connections) != 1 || list.Connections[0].ID != 2 || len(list.Connections[0].Findings) != 1 {
		t.Fatalf("the newest is %+v", list)
	}
	var standing struct{ Findings []struct{ ID int } }
	ask("/api/v1/findings", &standing)
	if len(standing.Findings) != 1 || standing.Findings[0].ID != list.Connections[0].Findings[0] {
		t.Errorf("the findings are %+v, that of the connection %+v", standing, list)
	}
	var told struct {
		Connection connection
		Steps      []struct{ Type, Phase string }
		Missing    struct{ Type, Phase string }
		Findings   []struct {
			Type, Kind string
			ID         int
		}
	}
	ask("/api/v1/connections/2", &told)
	if told.Connection.ID != 2 || len(told.Steps) < 5 || told.Steps[0].Phase != "handshake 1/3" || told.Missing.Phase != "teardown 3/4" ||
		len(told.Findings) != 1 || told.Findings[0].Kind != "stuck_close_wait" || told.Findings[0].ID != standing.Findings[0].ID {
		t.Errorf("it is told as %+v", told)
	}
	for path, want := range map[string]string{
		"/api/v1/connections/99":          "404 there is no connection 99 now",
		"/api/v1/connections/x":           "404 ",
		"/api/v1/connections?sort=colour": "400 sort: no column has the name",
		"/connections/2":                  "teardown 3/4 is missing",
		"/report":                         "<title>" + kernel.Device + ": tcpleak report</title>",
		"/page.js":                        "EventSource",
	} {
		if got := get(path); !strings.Contains(got, want) {
			t.Errorf("%s has not %q: %.600s", path, want, got)
		}
	}
}

// A password that is asked for is asked for everywhere, and a stream ends when the agent does.
func TestTheStreamAsksForThePassword(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	const hash = "$2a$04$varyZmr0Ifyjx15RmM8rZeFln9fKW9HoYL.iMID8Sc6cWhruDM05C" // of "secret", by bcrypt
	config := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "basic_auth_users:\n  reader: %s\n", hash), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tcpleak.yaml")
	text := "interfaces: [" + kernel.Device + "]\nfilter: tcp port 80\nlisten: " + h.Server.V4.String() + ":9777\nuser: root\nweb_config: " + config + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	agent := h.launch(t, "serving ", "tcpleak", "agent", "-c", path)
	url := h.near(t)
	ask := func(path, password string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			r.SetBasicAuth("reader", password)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	for _, path := range []string{"/", "/events", "/view/connections", "/api/v1/findings", "/api/v1/connections/1", "/metrics", "/healthz", "/page.js", "/report"} {
		for _, password := range []string{"", "guess"} {
			if got := ask(path, password).StatusCode; got != http.StatusUnauthorized {
				t.Errorf("%s with the password %q: %d", path, password, got)
			}
		}
	}
	stream := ask("/events", "secret")
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && lines.Text() != "event: head" {
	}
	if lines.Text() != "event: head" {
		t.Errorf("the stream with the password: %s", stream.Status)
	}
	began := time.Now()
	if _, status := agent.interrupt(t); status != statusOK {
		t.Errorf("exit status %d: %s", status, agent.stderr())
	}
	for lines.Scan() {
	}
	if took := time.Since(began); took > hang {
		t.Errorf("the stream goes on for %v", took)
	}
}
