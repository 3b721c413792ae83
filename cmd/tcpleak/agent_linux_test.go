package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpleak/internal/kernel"
)

// agentOf starts an agent on the server, and returns what asks it.
func (h *hosts) agent(t *testing.T, configuration string) (p *process, get func(path string) string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tcpleak.yaml")
	text := "interfaces: [" + kernel.Device + "]\nlisten: " + h.Server.V4.String() + ":9777\nuser: root\n" + configuration
	if !strings.Contains(configuration, "filter: ") {
		text += "filter: tcp port 80\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p = h.launch(t, "serving ", "tcpleak", "agent", "-c", path)
	client := &http.Client{Timeout: hang, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
			h.Server.Run(func() { c, err = net.Dial(network, addr) })
			return c, err
		},
	}}
	get = func(path string) string {
		response, err := client.Get("http://" + h.Server.V4.String() + ":9777" + path)
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return fmt.Sprint(response.StatusCode, " ", string(body), err)
	}
	for began := time.Now(); !strings.HasPrefix(get("/readyz"), "200 "); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > hang {
			t.Fatalf("it is never ready: %s", p.stderr())
		}
	}
	return p, get
}

func TestTheAgentTellsOfALeak(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	agent, get := h.agent(t, "thresholds: {stuck_close_wait: 500ms}\n")
	var forgotten *kernel.Socket
	act(t, func() {
		h.healthy()
		forgotten = h.leak(h.Client)
	})
	raised := agent.next(t)
	if !strings.Contains(raised.text, `"event":"raised"`) || !strings.Contains(raised.text, `"kind":"stuck_close_wait"`) || !strings.HasPrefix(raised.text, `{"id":"`) {
		t.Errorf("the first line is %s", raised.text)
	}
	for path, want := range map[string]string{
		"/metrics":            `tcpleak_findings_active{kind="stuck_close_wait",service="10.77.0.2:80",severity="warning"} 1`,
		"/api/v1/findings":    `{"findings":[{"id":1,"kind":"stuck_close_wait"`,
		"/api/v1/connections": `{"matches":2,"connections":[{"type":"connection"`,
		"/api/v1/connections?filter=state:CLOSE_WAIT&limit=5": `{"matches":1,`,
		"/api/v1/connections?limit=-1":                        `400 limit: a number from 0 to 1000 is wanted`,
		"/api/v1/connections?filter=age%3Esoon":               `400 filter: `,
		"/":                                                   `The server 10.77.0.2:80 has not closed its end`,
		"/healthz":                                            "200 ok",
		"/nothing":                                            "404 ",
	} {
		if got := get(path); !strings.Contains(got, want) {
			t.Errorf("%s has not %q: %.600s", path, want, got)
		}
	}
	act(t, forgotten.Close)
	if cleared := agent.next(t); !strings.Contains(cleared.text, `"event":"cleared"`) {
		t.Errorf("then %s", cleared.text)
	}
	if lines, status := agent.interrupt(t); status != statusOK || len(lines) > 0 {
		t.Errorf("exit status %d, and more lines %s: %s", status, lines, agent.stderr())
	}
}

func TestTheAgentReadsItsConfigurationAgain(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	agent, _ := h.agent(t, "thresholds: {stuck_close_wait: 1h}\n")
	path := agent.cmd.Args[3]
	act(t, func() { h.leak(h.Client) })
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	say := func(text, want string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := agent.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); !strings.Contains(agent.stderr(), want); time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > hang {
				t.Fatalf("it never says %q: %s", want, agent.stderr())
			}
		}
	}
	say("nonsense: 1\n", "the configuration stays as it was: ")
	say(strings.Replace(string(old), "1h", "500ms", 1), "the configuration was read again")
	if raised := agent.next(t); !strings.Contains(raised.text, `"kind":"stuck_close_wait"`) {
		t.Errorf("the first line is %s", raised.text)
	}
	say(strings.Replace(string(old), "user: root", "promiscuous: true", 1), "these keys change with the next start: promiscuous")
}

func TestTheAgentChangesItsFilterWithoutLosingAConnection(t *testing.T) {
	t.Parallel()
	h := newHosts(t)
	agent, get := h.agent(t, "max_cpu: off\nthresholds: {stuck_close_wait: 500ms}\nonly: [stuck_close_wait, capture_gap, aborted]\n")
	path := agent.cmd.Args[3]
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(from, to string) {
		t.Helper()
		reload(t, agent, strings.Replace(string(old), from, to, 1))
	}
	eventually := func(path, want string) {
		t.Helper()
		for began := time.Now(); !strings.Contains(get(path), want); time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > hang {
				t.Fatalf("%s never has %q: %s", path, want, get(path))
			}
		}
	}
	all, open := "/api/v1/connections?filter=port:80", "/api/v1/connections?filter=state:ESTABLISHED"
	var client, server *kernel.Socket
	act(t, func() { client, server = h.request(h.Client) })
	eventually(open, `{"matches":1,`)
	eventually("/metrics", "\ntcpleak_agent_lean 0\n")

	// Lean, it misses payload on purpose: no finding, and the connection goes on.
	reload("user: root", "lean: true\nuser: root")
	eventually("/metrics", "\ntcpleak_agent_lean 1\n")
	act(t, func() {
		server.Send(3000)
		client.Recv(3000)
	})
	eventually(open, `"missed_bytes":3000`)

	// In full again, the leak is seen to its end; what was not captured is no loss.
	reload("", "")
	act(t, func() {
		client.Send(500)
		server.Recv(500)
		client.Close()
		server.RecvEOF()
	})
	if raised := agent.next(t); !strings.Contains(raised.text, `"kind":"stuck_close_wait"`) || !strings.Contains(raised.text, `"connections":[1]`) {
		t.Errorf("the first line is %s", raised.text)
	}
	eventually("/metrics", "\ntcpleak_agent_lean 0\n")

	// What a new filter leaves out is not waited for.
	reload("tcp port 80", "tcp port 81")
	if cleared := agent.next(t); !strings.Contains(cleared.text, `"event":"cleared"`) {
		t.Errorf("then %s", cleared.text)
	}
	eventually(all, `{"matches":0,`)
	reload("", "")
	act(t, server.Close)
	eventually(all, `{"matches":1,`)
	if lines, status := agent.interrupt(t); status != statusOK || len(lines) > 0 {
		t.Errorf("exit status %d, and more lines %s: %s", status, lines, agent.stderr())
	}
}

// reload has the agent go over to another configuration, and waits until it has.
func reload(t *testing.T, agent *process, text string) {
	t.Helper()
	const done = "the configuration was read again\n"
	before := strings.Count(agent.stderr(), done)
	if err := os.WriteFile(agent.cmd.Args[3], []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := agent.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); strings.Count(agent.stderr(), done) == before; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > hang {
			t.Fatalf("it does not read it again: %s", agent.stderr())
		}
	}
}

// From the change on, one end of each connection is not heard: what it does is not known, and nothing is held against it.
func TestWhatANewFilterHearsOneEndOfIsNotAccused(t *testing.T) {
	t.Parallel()
	for _, heard := range []string{"dst", "src"} {
		t.Run(heard, func(t *testing.T) {
			t.Parallel()
			h := newHosts(t)
			const patient, hasty = "{stuck_close_wait: 1h}", "{stuck_close_wait: 1s, stuck_fin_wait_1: 1s, stuck_fin_wait_2: 1s, stuck_last_ack: 1s, half_open: 1s}"
			agent, get := h.agent(t, "max_cpu: off\nprocess: false\nignore: [aborted, old_close_wait]\nthresholds: "+patient+"\n")
			old, err := os.ReadFile(agent.cmd.Args[3])
			if err != nil {
				t.Fatal(err)
			}
			var client, server [5]*kernel.Socket
			act(t, func() {
				for i := range client {
					client[i], server[i] = h.request(h.Client)
				}
				client[3].Close()
				server[3].RecvEOF()
				server[4].Close()
				client[4].RecvEOF()
			})
			until(t, agent.stderr, func() bool {
				return strings.Contains(get("/api/v1/connections?filter=state:CLOSE_WAIT"), `{"matches":2,`)
			})
			reload(t, agent, strings.NewReplacer("tcp port 80", "tcp "+heard+" port 80", patient, hasty).Replace(string(old)))
			act(t, func() {
				client[0].Close()
				server[0].RecvEOF()
				server[1].Close()
				client[1].RecvEOF()
				client[2].Close()
				server[2].RecvEOF()
				server[2].Close()
				server[3].Abort()
				client[4].Abort()
			})
			time.Sleep(3 * time.Second) // well beyond the thresholds
			if lines, status := agent.interrupt(t); status != statusOK || len(lines) > 0 {
				t.Errorf("exit status %d, and %s: %s", status, lines, agent.stderr())
			}
		})
	}
}
