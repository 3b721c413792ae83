package livepage

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/screen"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// world is what a capture of testdata has left, and a page that tells of it.
type world struct {
	*Page
	server *httptest.Server

	mu       sync.Mutex
	table    *tracker.Table
	monitor  *diagnosis.Monitor
	analysis *diagnosis.Analysis
	now      int64
	packets  uint64
	change   func(*Judgement) // before it is told; nil changes nothing
	process  string           // of every connection
}

func newWorld(t testing.TB, file string) *world {
	t.Helper()
	w := &world{table: tracker.New(tracker.Config{}), monitor: diagnosis.NewMonitor()}
	source, err := capture.OpenFiles([]string{filepath.Join("..", "testdata", file)}, capture.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	for batch := make([]tcp.Segment, 512); ; {
		n, err := source.Read(batch)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		w.table.Add(batch[:n])
	}
	w.now, w.packets = source.Last(), source.Stats().Packets
	w.Page = New(Config{Host: "db1", Version: "v1.2.3", Ask: w.ask})
	t.Cleanup(w.Close)
	mux := http.NewServeMux()
	w.Register(mux)
	w.server = httptest.NewUnstartedServer(mux)
	w.server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		c.(*net.TCPConn).SetWriteBuffer(16 << 10) // so that who does not read is soon seen not to
		return ctx
	}
	w.server.Start()
	t.Cleanup(w.server.CloseClientConnections) // before the server waits for them
	t.Cleanup(w.server.Close)
	return w
}

// judge judges the table as it stands after a while, and tells the page.
func (w *world) judge(after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now += int64(after)
	w.analysis = diagnosis.NewRules().Analyze(w.table, w.now, diagnosis.Capture{})
	events := w.monitor.Update(w.analysis)
	j := Judgement{
		Capture: screen.Capture{Now: w.now, Sources: []string{"eth0"}, Filter: "tcp", Packets: w.packets},
		Quality: w.analysis.Quality, Counts: w.analysis.Counts, Bytes: w.table.Bytes(), Findings: w.monitor.Standing(), Events: events,
	}
	if w.change != nil {
		w.change(&j)
	}
	w.Judge(j)
}

func (w *world) ask(_ context.Context, q screen.Query) (screen.Frame, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	composer := screen.NewComposer(w.table)
	composer.Process = func(*tracker.Connection) string { return w.process }
	composer.Judge(w.analysis, nil)
	return composer.Compose(screen.Capture{Now: w.now}, q), nil
}

// get returns the status and the text of an answer.
func (w *world) get(t testing.TB, path string) (int, string, http.Header) {
	t.Helper()
	response, err := http.Get(w.server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), response.Header
}
