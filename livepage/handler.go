package livepage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"tcpleak/screen"
)

// answerWithin is how long the page waits for the connections.
const answerWithin = 5 * time.Second

// policy forbids a browser all but this page's own files and what it asks of its own server: whatever got in, it could neither
// run nor be told to anyone.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'self'; frame-ancestors 'none'"

// Register has mux serve the page: at /, its files beside it, each connection at /connections/{id}, and at /events what
// changes.
func (p *Page) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.index)
	mux.HandleFunc("GET /connections/{id}", p.connection)
	mux.HandleFunc("GET /events", p.events)
	// What the script asks for beside the events. It is no API: the texts are those that the page shows.
	mux.HandleFunc("GET /view/connections", p.viewConnections)
	mux.HandleFunc("GET /view/connections/{id}", p.viewConnection)
	for name, kind := range map[string]string{"page.js": "text/javascript", "icon.svg": "image/svg+xml"} {
		mux.HandleFunc("GET /"+name, constant(kind, file(name)))
	}
	mux.HandleFunc("GET /page.css", constant("text/css; charset=utf-8", sheet))
}

func constant(kind string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Write(content) // who has gone does not read it
	}
}

// view is what the template shows.
type view struct {
	Host, Version string
	Title         string
	Head          head
	Findings      findings
	Chart         chart
	Table         table
	Open          *opened
	Ladder        template.HTML // of Open
}

func (p *Page) index(w http.ResponseWriter, r *http.Request) {
	q, wrong := QueryOf(r, screen.Query{Sort: screen.Findings, Rows: pageRows})
	v, ok := p.view(w)
	if !ok {
		return
	}
	v.Title = "tcpleak"
	if p.cfg.Host != "" {
		v.Title = p.cfg.Host + ": tcpleak"
	}
	q.Rows = min(q.Rows, pageRows)
	v.Table, _ = p.table(r.Context(), q, wrong)
	p.write(w, http.StatusOK, "index", v)
}

func (p *Page) connection(w http.ResponseWriter, r *http.Request) {
	id, ok := idOf(w, r)
	if !ok {
		return
	}
	v, ok := p.view(w)
	if !ok {
		return
	}
	open, err := p.open(r.Context(), id)
	if err != nil {
		busy(w, err)
		return
	}
	v.Title, v.Open = open.Title, &open
	status := http.StatusOK
	if open.Ladder == nil {
		status = http.StatusNotFound
	} else if v.Ladder, err = open.Ladder.HTML(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.write(w, status, "connection", v)
}

// view is what all pages show. It answers itself if there is nothing yet.
func (p *Page) view(w http.ResponseWriter) (*view, bool) {
	m, ok := p.now()
	if !ok {
		busy(w, fmt.Errorf("the capture has not begun"))
		return nil, false
	}
	return &view{Host: p.cfg.Host, Version: p.cfg.Version, Head: p.head(&m), Findings: p.findings(&m), Chart: p.chart(&m)}, true
}

func (p *Page) write(w http.ResponseWriter, status int, name string, v *view) {
	var b bytes.Buffer
	if err := layout.ExecuteTemplate(&b, name, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

func (p *Page) viewConnections(w http.ResponseWriter, r *http.Request) {
	q, wrong := QueryOf(r, screen.Query{Sort: screen.Findings, Rows: pageRows})
	q.Rows = min(q.Rows, pageRows)
	t, status := p.table(r.Context(), q, wrong)
	writeJSON(w, status, t)
}

func (p *Page) viewConnection(w http.ResponseWriter, r *http.Request) {
	id, ok := idOf(w, r)
	if !ok {
		return
	}
	open, err := p.open(r.Context(), id)
	if err != nil {
		busy(w, err)
		return
	}
	writeJSON(w, http.StatusOK, open)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}

// table is what q asks for; wrong says what is wrong with it.
func (p *Page) table(ctx context.Context, q screen.Query, wrong error) (table, int) {
	var f screen.Frame
	status := http.StatusOK
	if wrong != nil {
		status = http.StatusBadRequest
	} else {
		ctx, stop := context.WithTimeout(ctx, answerWithin)
		defer stop()
		if f, wrong = p.cfg.Ask(ctx, q); wrong != nil {
			status, wrong = http.StatusServiceUnavailable, fmt.Errorf("the capture is too busy to answer: try again")
		}
	}
	q.Filter = clip(q.Filter)
	t := tableOf(q, &f)
	if wrong != nil {
		t.Heading, t.Wrong = "Connections", wrong.Error()
	}
	return cleaned(t), status
}

func (p *Page) open(ctx context.Context, id uint64) (opened, error) {
	ctx, stop := context.WithTimeout(ctx, answerWithin)
	defer stop()
	f, err := p.cfg.Ask(ctx, screen.Query{Sort: screen.Findings, Open: id})
	if err != nil {
		return opened{}, err
	}
	return p.openedOf(id, &f), nil
}

// MaxRows is how many connections a request gets at most.
const MaxRows = 1000

// QueryOf reads filter, sort, reverse, offset and limit from a request into q, which holds what is not given. With an error,
// which says what is wanted, it returns what could be read.
func QueryOf(r *http.Request, q screen.Query) (_ screen.Query, err error) {
	q.Filter = r.FormValue("filter")
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	if len(q.Filter) > 4*maxLength {
		q.Filter = ""
		keep(fmt.Errorf("filter: at most %d characters are wanted", maxLength))
	} else if _, e := screen.ParseFilter(q.Filter); e != nil {
		keep(fmt.Errorf("filter: %w", e))
	}
	if text := r.FormValue("sort"); text != "" {
		column, e := screen.ParseColumn(text)
		if e != nil {
			keep(fmt.Errorf("sort: %w", e))
		} else {
			q.Sort = column
		}
	}
	if text := r.FormValue("reverse"); text != "" {
		reverse, e := strconv.ParseBool(text)
		if e != nil {
			keep(fmt.Errorf("reverse: true or false is wanted"))
		}
		q.Reverse = reverse
	}
	for _, part := range []struct {
		name string
		to   *int
		most int
	}{{"offset", &q.Offset, 1 << 30}, {"limit", &q.Rows, MaxRows}} {
		text := r.FormValue(part.name)
		if text == "" {
			continue
		}
		n, e := strconv.Atoi(text)
		if e != nil || n < 0 || n > part.most {
			keep(fmt.Errorf("%s: a number from 0 to %d is wanted", part.name, part.most))
			continue
		}
		*part.to = n
	}
	return q, err
}

// idOf is the connection that a request is about. It answers itself if there is none.
func idOf(w http.ResponseWriter, r *http.Request) (uint64, bool) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil || id == 0 {
		http.Error(w, "connections have numbers from 1 on", http.StatusNotFound)
		return 0, false
	}
	return id, true
}

func busy(w http.ResponseWriter, err error) {
	w.Header().Set("Retry-After", "2")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}
