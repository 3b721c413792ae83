package deliver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/deliver"
	"tcpleak/diagnosis"
)

// receiver is a webhook's server on connections in memory, so that a test's clock can be a fake one. Each request is
// answered by the next of script; when that has run out, by 204.
type receiver struct {
	script []func(http.ResponseWriter, *http.Request)
	down   int // so many connections are refused first

	mu       sync.Mutex
	when     []time.Time
	accepted []string // IDs, of requests that were answered with success, or whose answer was lost
	order    []string // "raised 1", without what arrived again
	bodies   []envelope
	conns    chan net.Conn
	closed   chan struct{}
}

type envelope struct {
	Version int
	Host    string
	Events  []struct {
		ID, Event string
		Finding   struct{ ID int }
	}
}

func (r *receiver) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

func (r *receiver) Close() error   { close(r.closed); return nil }
func (r *receiver) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (r *receiver) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	r.mu.Lock()
	r.when = append(r.when, time.Now())
	refuse := r.down > 0
	r.down--
	r.mu.Unlock()
	if refuse {
		return nil, errors.New("connection refused")
	}
	server, client := net.Pipe()
	select {
	case r.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	var answer func(http.ResponseWriter, *http.Request)
	if len(r.script) > 0 {
		answer, r.script = r.script[0], r.script[1:]
	}
	r.mu.Unlock()
	if answer == nil {
		answer = status(http.StatusNoContent)
	}
	kept := &keeper{ResponseWriter: w}
	answer(kept, request)
	if kept.status/100 != 2 {
		return
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(map[string]bool)
	for _, id := range r.accepted {
		seen[id] = true
	}
	for _, event := range e.Events {
		r.accepted = append(r.accepted, event.ID)
		if !seen[event.ID] {
			r.order = append(r.order, fmt.Sprint(event.Event, " ", event.Finding.ID))
		}
	}
	r.bodies = append(r.bodies, e)
}

// keeper notes the status that a handler gives.
type keeper struct {
	http.ResponseWriter
	status int
}

func (k *keeper) WriteHeader(status int) { k.status = status; k.ResponseWriter.WriteHeader(status) }

func (k *keeper) Unwrap() http.ResponseWriter { return k.ResponseWriter }

func status(code int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// cutOff takes the events, and closes the connection before it says so.
func cutOff(w http.ResponseWriter, _ *http.Request) {
	k := w.(*keeper)
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	c.Close()
	k.status = 200
}

// never answers only when nobody listens any more.
func never(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }

// hook is a webhook to r, which is served until the test ends.
func hook(t *testing.T, r *receiver) *deliver.Webhook {
	t.Helper()
	r.conns, r.closed = make(chan net.Conn), make(chan struct{})
	w, err := deliver.NewWebhook(deliver.WebhookConfig{Endpoint: deliver.Endpoint{URL: "http://alerts.example/secret-path"}, Host: "web\"1"})
	if err != nil {
		t.Fatal(err)
	}
	w.DialBy(r.dial)
	server := &http.Server{Handler: r}
	go server.Serve(r)
	t.Cleanup(func() { server.Close() })
	return w
}

func wantOrder(t *testing.T, r *receiver, want []string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.order); diff != "" {
		t.Errorf("received (-want +got):\n%s", diff)
	}
}

func TestWebhookPostsAnEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		w := hook(t, r)
		if w.Name() != "webhook alerts.example" {
			t.Errorf("name %q", w.Name())
		}
		d := start(t, deliver.Config{Output: w})
		d.Put([]diagnosis.Event{event(1, diagnosis.Raised), event(1, diagnosis.Cleared)})
		finish(t, d)
		if len(r.bodies) != 1 || r.bodies[0].Version != 1 || r.bodies[0].Host != `web"1` || len(r.bodies[0].Events) != 2 {
			t.Errorf("received %+v", r.bodies)
		}
		wantOrder(t, r, []string{"raised 1", "cleared 1"})
	})
}

// Whatever befalls it on the way, all events arrive, in order, and once but for those whose answer was lost.
func TestWebhookThroughEveryKindOfTrouble(t *testing.T) {
	for _, tt := range []struct {
		name    string
		down    int
		answer  func(http.ResponseWriter, *http.Request)
		failure string
		twice   bool
	}{
		{name: "down", down: 5, failure: "no answer: connection refused"},
		{name: "slow beyond its time", answer: never, failure: "no answer within 10s"},
		{name: "500", answer: status(500), failure: "the answer is 500 Internal Server Error"},
		{name: "503", answer: status(503), failure: "the answer is 503 Service Unavailable"},
		{name: "408", answer: status(408), failure: "the answer is 408 Request Timeout"},
		{name: "429", answer: status(429), failure: "the answer is 429 Too Many Requests"},
		{name: "redirection", answer: status(302, "Location", "http://login.example/"),
			failure: "the answer is 302 Found; redirections are not followed, configure where it leads"},
		{name: "closes in the middle", answer: cutOff, failure: "no answer: EOF", twice: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{down: tt.down}
				if tt.answer != nil {
					r.script = []func(http.ResponseWriter, *http.Request){status(200), tt.answer, tt.answer}
				}
				d := start(t, deliver.Config{Output: hook(t, r), Batch: 2})
				d.Put(raised(1, 6))
				time.Sleep(time.Hour)
				wantOrder(t, r, names(diagnosis.Raised, 1, 6))
				if got, want := len(r.accepted), 6; !tt.twice && got != want {
					t.Errorf("%d events arrived for %d", got, want)
				}
				if tt.twice && len(r.accepted) != 6+2*2 {
					t.Errorf("%d events arrived, want two of them twice more", len(r.accepted))
				}
				s := d.Stats()[0]
				if s.Sent != 6 || s.Lost != 0 || s.LastError != tt.failure {
					t.Errorf("stats %+v\nwant last error %q", s, tt.failure)
				}
				finish(t, d)
			})
		})
	}
}

func TestWebhookComesBackWhenItIsAskedTo(t *testing.T) {
	for name, header := range map[string]func() string{
		"seconds": func() string { return "90" },
		"a date":  func() string { return time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var when []time.Time
				note := func(then func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) {
					return func(w http.ResponseWriter, q *http.Request) { when = append(when, time.Now()); then(w, q) }
				}
				r := &receiver{script: []func(http.ResponseWriter, *http.Request){
					note(status(429, "Retry-After", header())), note(status(200)),
				}}
				d := start(t, deliver.Config{Output: hook(t, r)})
				d.Put(raised(1, 2))
				time.Sleep(time.Hour)
				wantOrder(t, r, names(diagnosis.Raised, 1, 2))
				if pause := when[1].Sub(when[0]); pause != 90*time.Second {
					t.Errorf("back after %s", pause)
				}
				finish(t, d)
			})
		})
	}
}

func TestWebhookIsNotPutOffForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{script: []func(http.ResponseWriter, *http.Request){status(503, "Retry-After", "9223372036854775807")}}
		d := start(t, deliver.Config{Output: hook(t, r)})
		d.Put(raised(1, 1))
		time.Sleep(time.Hour + time.Second)
		wantOrder(t, r, names(diagnosis.Raised, 1, 1))
		finish(t, d)
	})
}

func TestWebhookRefusalIsCountedAndTheRestGoesOn(t *testing.T) {
	for code, lost := range map[int]uint64{401: 2, 404: 2, 410: 2} {
		synctest.Test(t, func(t *testing.T) {
			r := &receiver{script: []func(http.ResponseWriter, *http.Request){status(code)}}
			d := start(t, deliver.Config{Output: hook(t, r), Batch: 2})
			d.Put(raised(1, 4))
			finish(t, d)
			wantOrder(t, r, names(diagnosis.Raised, 3, 4))
			wantStats(t, d, deliver.Stats{Sent: 2, Lost: lost, Refused: lost, Failed: 1})
		})
	}
}

// 400, 413 and 422 may be about one event, or about their number.
func TestWebhookDividesWhatIsRefusedForItsContent(t *testing.T) {
	for _, code := range []int{400, 413, 422} {
		synctest.Test(t, func(t *testing.T) {
			r := &receiver{script: []func(http.ResponseWriter, *http.Request){status(code), status(200), status(code)}}
			d := start(t, deliver.Config{Output: hook(t, r), Batch: 2})
			d.Put(raised(1, 4))
			finish(t, d)
			// 1 and 2 refused, 1 taken, 2 and 3 refused, 2 taken, …
			wantOrder(t, r, names(diagnosis.Raised, 1, 4))
			wantStats(t, d, deliver.Stats{Sent: 4, Retried: 4, Failed: 2})
		})
	}
}

// Over TLS on loopback: the token is read anew for each request, and no secret shows in what is told of an error.
func TestWebhookOverTLSWithAToken(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Get("Authorization")+" "+r.Header.Get("X-Key")+" "+r.URL.Path)
		if len(seen) == 1 {
			w.WriteHeader(503)
			fmt.Fprintf(w, "no: you sent %s and %s\x1b[2J", r.Header.Get("Authorization"), r.Header.Get("X-Key"))
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // one handshake is to fail
	server.StartTLS()
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token, "first-token\n")
	w, err := deliver.NewWebhook(deliver.WebhookConfig{Endpoint: deliver.Endpoint{
		URL: server.URL + "/services/T0/B0", Headers: map[string]string{"x-key": "very-secret"}, TokenFile: token, TLS: deliver.TLS{CAFile: trusting(t, server)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	batch := itemsOf(t, raised(1, 1))
	err = w.Send(t.Context(), batch)
	if want := "the answer is 503 Service Unavailable: no: you sent Bearer … and …�[2J"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	write(token, "second-token")
	if err := w.Send(t.Context(), batch); err != nil {
		t.Error(err)
	}
	os.Remove(token)
	if err := w.Send(t.Context(), batch); err == nil || !strings.HasPrefix(err.Error(), "token: open ") {
		t.Errorf("without its file: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{"Bearer first-token very-secret /services/T0/B0", "Bearer second-token very-secret /services/T0/B0"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}

	untrusted, err := deliver.NewWebhook(deliver.WebhookConfig{Endpoint: deliver.Endpoint{URL: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if err := untrusted.Send(t.Context(), batch); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
}

// itemsOf are events as a Dispatcher hands them to outputs.
func itemsOf(t *testing.T, events []diagnosis.Event) (items []*deliver.Item) {
	t.Helper()
	out := &fake{name: "out", answer: func(_ int, _ context.Context, batch []*deliver.Item) error {
		items = append(items, batch...)
		return nil
	}}
	d := start(t, deliver.Config{Output: out})
	d.Put(events)
	finish(t, d)
	return items
}

func TestWebhookConfigErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TCPLEAK_TEST_TOKEN", "two words")
	const url = "https://hooks.example/T0/secret"
	for want, e := range map[string]deliver.Endpoint{
		"webhook: no URL: give one such as https://alerts.example.net/hook":                                                {},
		"webhook: the URL cannot be read: net/url: invalid control character in URL":                                       {URL: url + "\n"},
		"webhook: the URL must begin with http:// or https://":                                                             {URL: "hooks.example/secret"},
		"webhook: the URL names no host":                                                                                   {URL: "https:///secret"},
		"webhook: the URL holds a user or a password: use a header or a token instead":                                     {URL: "https://me:secret@hooks.example/"},
		"webhook: the URL has a fragment, which servers never see: leave out the part from # on":                           {URL: url + "#x"},
		"webhook: port 99999: 1 to 65535":                                                                                  {URL: "http://hooks.example:99999/"},
		`webhook: "X Key" is no name for a header`:                                                                         {URL: url, Headers: map[string]string{"X Key": "secret"}},
		"webhook: header X-Key: its value holds a line break or another control character":                                 {URL: url, Headers: map[string]string{"X-Key": "secret\r\nX-Other: 1"}},
		"webhook: header X-Key: given twice":                                                                               {URL: url, Headers: map[string]string{"X-Key": "secret", "x-key": "secret"}},
		"webhook: header Content-Length: it follows from what is sent, and cannot be set":                                  {URL: url, Headers: map[string]string{"content-length": "1"}},
		"webhook: header Authorization: there is a token as well, choose one":                                              {URL: url, Headers: map[string]string{"authorization": "secret"}, TokenFile: empty},
		"webhook: a token from a file and one from the environment: choose one":                                            {URL: url, TokenEnv: "X", TokenFile: empty},
		"webhook: token: " + empty + " is empty":                                                                           {URL: url, TokenFile: empty},
		"webhook: token: open " + dir + "/none: no such file or directory":                                                 {URL: url, TokenFile: dir + "/none"},
		"webhook: token: $TCPLEAK_TEST_NONE is empty":                                                                      {URL: url, TokenEnv: "TCPLEAK_TEST_NONE"},
		"webhook: token: $TCPLEAK_TEST_TOKEN holds more than one word":                                                     {URL: url, TokenEnv: "TCPLEAK_TEST_TOKEN"},
		"webhook: settings for TLS, and a URL that begins with http://: use https://":                                      {URL: "http://hooks.example/", TLS: deliver.TLS{CAFile: empty}},
		"webhook: certificate authorities: " + empty + " holds no certificate in PEM":                                      {URL: url, TLS: deliver.TLS{CAFile: empty}},
		"webhook: a certificate and its key go together: give both or none":                                                {URL: url, TLS: deliver.TLS{CertFile: empty}},
		"webhook: certificate " + empty + " with key " + empty + ": tls: failed to find any PEM data in certificate input": {URL: url, TLS: deliver.TLS{CertFile: empty, KeyFile: empty}},
	} {
		_, err := deliver.NewWebhook(deliver.WebhookConfig{Endpoint: e})
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}
