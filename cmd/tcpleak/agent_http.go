package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"sync"
	"time"

	"tcpleak/livepage"
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
	mux.HandleFunc("GET /api/v1/connections/{id}", a.connection)
	mux.HandleFunc("GET /report", a.wholeReport)
	a.livePage.Register(mux)
	if a.settings.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return guard(mux, a.settings.WebConfig != "", ownNames(a.settings.Listen, hostName()))
}

const (
	// answerWithin is how long a question about the connections may wait.
	answerWithin = 5 * time.Second
	// questionShare bounds what questions cost the capture: less than a tenth of the time, however many are asked.
	questionShare = 10
	// orderPause is how long a question waits for its turn to look at all connections.
	orderPause = 100 * time.Millisecond
)

// questions come one after the other, as far apart as what they cost asks for.
type questions struct{ turn chan struct{} }

func newQuestions() questions { return questions{make(chan struct{}, 1)} }

// take waits for a turn, and give ends it, once what it has cost the capture is made up for.
func (q questions) take(ctx context.Context) error {
	select {
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q questions) give(cost time.Duration) {
	time.AfterFunc((questionShare-1)*cost, func() { <-q.turn })
}

// ask has f called by do, when it is its turn.
func (q questions) ask(ctx context.Context, do func(context.Context, func()) error, f func()) error {
	if err := q.take(ctx); err != nil {
		return err
	}
	var cost time.Duration
	err := do(ctx, func() {
		began := time.Now()
		f()
		cost = time.Since(began)
	})
	q.give(cost)
	return err
}

// look runs f where the table may be looked at, when it is its turn.
func (a *agent) look(ctx context.Context, f func()) error {
	if !a.healthy() {
		return errors.New("the capture does not answer")
	}
	return a.questions.ask(ctx, a.ask, f)
}

// compose answers q. Where it asks for another order than the last question, that may take a while: see screen.Composer.
func (a *agent) compose(ctx context.Context, q screen.Query, then func(*screen.Frame)) (f screen.Frame, err error) {
	ctx, stop := context.WithTimeout(ctx, answerWithin)
	defer stop()
	for {
		done := false
		err = a.look(ctx, func() {
			if q.Open != 0 { // the order is of no account
				q.Sort, q.Reverse, q.Filter = a.asked.Sort, a.asked.Reverse, a.asked.Filter
			}
			a.asked = q
			f = a.composer.Compose(screen.Capture{Now: a.now}, q)
			if done = f.Query.SameOrder(&q); done && then != nil {
				then(&f)
			}
		})
		if err != nil || done {
			return f, err
		}
		select {
		case <-time.After(orderPause):
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
}

// showJudgement tells the page of a judgement.
func (a *agent) showJudgement(j *judgement) {
	c := screen.Capture{Now: j.now, Filter: j.stats.Filter, Packets: j.stats.Packets, Dropped: j.stats.DroppedKernel + j.stats.DroppedInterface}
	for _, source := range j.stats.Sources {
		c.Sources = append(c.Sources, source.Name)
	}
	a.analysis = j.Analysis
	a.livePage.Judge(livepage.Judgement{
		Capture: c, Quality: j.Quality, Counts: j.Counts, Bytes: a.table.Bytes(), Evicted: a.evicted(),
		Findings: a.monitor.Standing(), Events: j.events,
	})
}

// answer has make fill b, where the table may be looked at, and sends it.
func (a *agent) answer(w http.ResponseWriter, r *http.Request, kind string, b *bytes.Buffer, make func() error) {
	ctx, stop := context.WithTimeout(r.Context(), answerWithin)
	defer stop()
	var err error
	if asked := a.look(ctx, func() { err = make() }); asked != nil || err != nil {
		busy(w)
		return
	}
	send(w, kind, b.Bytes())
}

func send(w http.ResponseWriter, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	w.Write(b) // who has gone does not read it
}

func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "2")
	http.Error(w, "the capture does not answer", http.StatusServiceUnavailable)
}

const defaultRows = 100

// connections answers with a part of the connections that pass a filter, as the screen has it.
func (a *agent) connections(w http.ResponseWriter, r *http.Request) {
	q, err := livepage.QueryOf(r, screen.Query{Sort: screen.ID, Rows: defaultRows})
	if err != nil {
		http.Error(w, oneLine(err.Error()), http.StatusBadRequest)
		return
	}
	var b bytes.Buffer
	var wrong error
	_, err = a.compose(r.Context(), q, func(f *screen.Frame) {
		rep := a.reportOn(a.analysis, a.source.Stats())
		list := a.table.List()
		rows := func(yield func(*tracker.Connection, []int) bool) {
			var c tracker.Connection
			for i := range f.Rows {
				at, ok := list.Find(f.Rows[i].ID)
				if !ok {
					continue
				}
				list.View(at, a.now, &c)
				if !yield(&c, a.standing(&c)) {
					return
				}
			}
		}
		wrong = report.ConnectionsJSON(&b, &rep, rows, f.Matches)
	})
	if err != nil || wrong != nil {
		busy(w)
		return
	}
	send(w, "application/json", b.Bytes())
}

// standing returns the IDs under which the findings about c stand. Those of an analysis are numbered anew each time.
func (a *agent) standing(c *tracker.Connection) (ids []int) {
	for _, id := range a.analysis.Of(c) {
		if id := a.monitor.ID(&a.analysis.Findings[id-1]); id != 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// connection answers with one connection, step by step.
func (a *agent) connection(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil || id == 0 {
		http.Error(w, "connections have numbers from 1 on", http.StatusNotFound)
		return
	}
	var b bytes.Buffer
	var wrong error
	gone := false
	_, err = a.compose(r.Context(), screen.Query{Open: id}, func(f *screen.Frame) {
		if gone = f.Detail == nil || f.Detail.Gone; gone {
			return
		}
		rep := a.reportOn(a.analysis, a.source.Stats())
		e := report.Explanation{Ladder: f.Detail.Ladder, Name: rep.ServerName(&f.Detail.Ladder.Connection)}
		for _, finding := range f.Detail.Findings {
			if finding.ID = a.monitor.ID(&finding); finding.ID != 0 {
				e.Findings = append(e.Findings, finding)
			}
		}
		wrong = report.ConnectionJSON(&b, &e, &rep)
	})
	switch {
	case err != nil || wrong != nil:
		busy(w)
	case gone:
		http.Error(w, fmt.Sprintf("there is no connection %d now", id), http.StatusNotFound)
	default:
		send(w, "application/json", b.Bytes())
	}
}

// reportEvery is how old a report may be, at least: to make one takes microseconds for each connection.
const reportEvery = 2 * time.Second

// written is the last report.
type written struct {
	mu   sync.Mutex
	html []byte
	at   time.Time
}

// order is a report that somebody waits for.
type order chan ordered // which has room for it

type ordered struct {
	draft *page.Draft
	cost  time.Duration // that the capture waited
}

// wholeReport answers with the page that tcpleak report writes.
func (a *agent) wholeReport(w http.ResponseWriter, r *http.Request) {
	l := &a.lastReport
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) > reportEvery {
		ctx, stop := context.WithTimeout(r.Context(), answerWithin)
		defer stop()
		draft, err := a.draft(ctx)
		var b bytes.Buffer
		if err == nil {
			err = draft.Write(&b)
		}
		if err != nil {
			busy(w)
			return
		}
		l.html, l.at = b.Bytes(), time.Now()
	}
	send(w, "text/html; charset=utf-8", l.html)
}

// draft has the connections judged, and looked at for a report. The capture waits for that, and not for the page to be written.
func (a *agent) draft(ctx context.Context) (*page.Draft, error) {
	if !a.healthy() {
		return nil, errors.New("the capture does not answer")
	}
	if err := a.questions.take(ctx); err != nil {
		return nil, err
	}
	var got ordered
	defer func() { a.questions.give(got.cost) }()
	o := make(order, 1)
	err := a.ask(ctx, func() {
		a.orders = append(a.orders, o)
		a.wanted, a.due = true, time.Time{}
	})
	if err != nil {
		return nil, err
	}
	select {
	case got = <-o:
		return got.draft, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// deliverReports hands out what is ordered, after a judgement.
func (a *agent) deliverReports(j *judgement) {
	if len(a.orders) == 0 {
		return
	}
	began := time.Now()
	r := a.reportOn(j.Analysis, j.stats)
	r.FromKernel = slices.Clone(r.FromKernel) // what follows is no business of the report's
	draft := page.Look(page.Page{Report: r, Zone: time.Local})
	cost := time.Since(began) + slices.Max(a.pace.costs[:])
	for _, o := range a.orders {
		o <- ordered{draft, cost}
	}
	a.orders = nil
}
