// Package page writes a report as one HTML file.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report"
)

// Page is a report, and what it takes to show it.
type Page struct {
	Report report.Report
	// Ladders are those of the connections that Wanted names, in any order. One that is not given is told in outline.
	Ladders []ladder.Ladder
	Zone    *time.Location // of the times that are shown; nil is UTC
}

// Limits keep a page below 2 MB whatever was captured, and a reader from what he will not read. It says what it leaves out.
const (
	maxFindings = 40   // the worst first
	maxRows     = 1000 // of the table of connections
	maxSteps    = 40   // of one ladder
	leastSteps  = 8    // of one, where there are many
	allSteps    = 500  // of all ladders
	maxKernel   = 20   // findings of the kernel's
	maxEvidence = 8    // packets of a finding
	maxHolders  = 8    // processes of a finding
	maxLinks    = 24   // connections of a finding
	maxSources  = 24
	maxLater    = 24
	maxNames    = 3   // files in the heading
	maxLength   = 400 // characters of what a person has typed: file names and the filter
)

//go:embed page.html.tmpl
var layout string

//go:embed page.css
var style string

//go:embed page.js
var script string

var page = template.Must(template.New("page").Parse(layout))

// policy forbids the browser all but the style and the script of this page: whatever got in, it could neither run nor be
// told to anyone.
func policy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hash(style), hash(script))
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Write writes p as an HTML page that needs nothing else: no network, no other file, and no script to be read. It takes a
// microsecond or so for each connection, which the processors share.
func Write(w io.Writer, p Page) error { return Look(p).Write(w) }

// Draft is a page of which the connections have been looked at.
type Draft struct {
	page   Page
	survey *survey
}

// Look looks at the connections of p. The Draft needs them no more.
func Look(p Page) *Draft {
	if p.Zone == nil {
		p.Zone = time.UTC
	}
	wanted := Wanted(&p.Report)
	slices.Sort(wanted)
	return &Draft{p, look(&p.Report, wanted)}
}

// Write writes the page, as the function of that name.
func (d *Draft) Write(w io.Writer) error {
	var b bytes.Buffer
	if err := page.Execute(&b, newView(&d.page, d.survey)); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	// Whatever a name or a filter holds was escaped for HTML; here goes what hides in text.
	for line := range strings.Lines(b.String()) {
		text, end := strings.CutSuffix(line, "\n")
		text = report.Clean(text)
		if end {
			text += "\n"
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// Wanted returns the IDs of the connections whose ladders a page on r shows, at most 40: those that its findings are told by.
func Wanted(r *report.Report) []uint64 {
	var ids []uint64
	seen := make(map[uint64]bool)
	for i := range r.Findings[:min(len(r.Findings), maxFindings)] {
		if id := example(&r.Findings[i]); id != 0 && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// example is the connection that tells of f; 0 if it is about none.
func example(f *diagnosis.Finding) uint64 {
	if f.Example == 0 && len(f.Connections) > 0 {
		return f.Connections[0]
	}
	return f.Example
}
