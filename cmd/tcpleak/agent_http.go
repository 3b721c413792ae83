package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"

	"tcpleak/report"
	"tcpleak/report/page"
	"tcpleak/screen"
	"tcpleak/tracker"
)

// handler serves what the agent knows.
func (a *agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if !a.healthy() {
			http.Error(w, "the capture has not begun", http.StatusServiceUnavailable)
			return
		}
		a.metrics.Handler().ServeHTTP(w, r)
	})
	health := func(w http.ResponseWriter, _ *http.Request) {
		if !a.healthy() {
			http.Error(w, "the capture does not answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
	mux.HandleFunc("GET /healthz", health)
	mux.HandleFunc("GET /readyz", health)
	mux.HandleFunc("GET /api/v1/findings", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		a.answer(w, r, "application/json", &b, func() error { return report.FindingsJSON(&b, a.monitor.Standing()) })
	})
	mux.HandleFunc("GET /api/v1/connections", a.connections)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		a.answer(w, r, "text/html; charset=utf-8", &b, func() error {
			stats := a.source.Stats()
			analysis, _ := a.findings(stats)
			return page.Write(&b, page.Page{Report: a.reportOn(analysis, stats)})
		})
	})
	if a.settings.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// answer has make fill b, where the table may be looked at, and sends it.
func (a *agent) answer(w http.ResponseWriter, r *http.Request, kind string, b *bytes.Buffer, make func() error) {
	if !a.healthy() {
		http.Error(w, "the capture does not answer", http.StatusServiceUnavailable)
		return
	}
	var err error
	if asked := a.ask(r.Context(), func() { err = make() }); asked != nil || err != nil {
		http.Error(w, "the capture does not answer", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b.Bytes()) // who has gone does not read it
}

const (
	defaultRows = 100
	maxRows     = 1000
)

// connections answers with a part of the connections that pass a filter, as the screen has it.
func (a *agent) connections(w http.ResponseWriter, r *http.Request) {
	q := screen.Query{Filter: r.FormValue("filter"), Rows: defaultRows}
	for _, part := range []struct {
		name string
		to   *int
		most int
	}{{"offset", &q.Offset, 1 << 30}, {"limit", &q.Rows, maxRows}} {
		text := r.FormValue(part.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > part.most {
			http.Error(w, fmt.Sprintf("%s: a number from 0 to %d is wanted", part.name, part.most), http.StatusBadRequest)
			return
		}
		*part.to = n
	}
	if _, err := screen.ParseFilter(q.Filter); err != nil {
		http.Error(w, "filter: "+oneLine(err.Error()), http.StatusBadRequest)
		return
	}
	var b bytes.Buffer
	a.answer(w, r, "application/json", &b, func() error {
		frame := a.composer.Compose(screen.Capture{Now: a.now}, q)
		stats := a.source.Stats()
		analysis, _ := a.findings(stats)
		rep := a.reportOn(analysis, stats)
		rows := func(yield func(*tracker.Connection, []int) bool) {
			var c tracker.Connection
			for i := range frame.Rows {
				if analysis.Connection(frame.Rows[i].ID, &c) && !yield(&c, analysis.Of(&c)) {
					return
				}
			}
		}
		return report.ConnectionsJSON(&b, &rep, rows, frame.Matches)
	})
}
