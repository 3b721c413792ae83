package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/names"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// job is one run: read all there is, then report.
type job struct {
	stdout, stderr io.Writer
	open           func() (capture.Source, error)
	encaps         *tcp.EncapTable
	limits         tracker.Config
	table          *tracker.Table
	rules          *diagnosis.Rules
	names          *names.Book // nil if they are not wanted
	live           bool
	duration       time.Duration // of a live capture; 0 is until it is ended
	format         string
	all            bool
	failOn         *diagnosis.Severity
	again          bool      // the files are read more than once
	page           string    // a file for the report as HTML; "" is none
	quiet          bool      // nothing but the page
	pageTo         io.Writer // where a page named "-" goes, if not to stdout
	flagged        string    // a file for the packets of connections with findings; "" is none
	later          []string  // see bid

	// For a live capture.
	interfaces    []string
	selects       func(a, b netip.AddrPort) bool   // what the filter lets pass
	begin         func(*watcher) (audience, error) // who is told, if not a terminal or lines; once privileges are given up
	network       bool                             // connections are made
	reads, writes []string                         // files that are opened later
	user          string                           // to become; "" is whoever called sudo
	noProcess     bool
	lines         bool   // also on a terminal: no screen
	saved         string // the file that packets are saved to; "" is none
	socket        func(*tracker.Connection, tracker.Role) (diagnosis.Socket, bool)
	fromKernel    []diagnosis.Finding
	annotate      func(*diagnosis.Analysis) // names processes in findings; nil where none are known
}

func (j *job) run(ctx context.Context) error {
	source, err := j.open()
	if err != nil {
		return err
	}
	defer source.Close()
	var readErr error
	if j.live {
		readErr = j.watch(ctx, source)
	} else {
		readErr = j.read(ctx, source)
	}
	if j.live && errors.Is(readErr, syscall.EPIPE) {
		fmt.Fprintln(j.stderr, "tcpleak: nobody reads the output any more, so the capture ends")
		j.quiet = true // but for the page
	}
	if readErr != nil && source.Stats().Packets == 0 {
		return readErr // a report on nothing would look like one without findings
	}
	if readErr == nil && j.format == "csv" {
		j.warn(source.Stats())
	}
	worst, err := j.report(ctx, source)
	if err := errors.Join(readErr, err); err != nil {
		return err
	}
	if j.failOn != nil && worst >= int(*j.failOn) {
		return errFound
	}
	return nil
}

// closeAfter closes the source when ctx is done: that ends a Read that waits for a pipe or an interface. What has been read
// is then reported.
func closeAfter(ctx context.Context, source capture.Source) (stop func() bool) {
	return context.AfterFunc(ctx, func() { source.Close() })
}

// read takes in all of a file source.
func (j *job) read(ctx context.Context, source capture.Source) error {
	bar := newProgress(j.stderr, source)
	defer bar.clear()
	// More than eight would mostly read what is another's.
	shares := j.table.Shares(min(runtime.GOMAXPROCS(0), 8), func(before uint64) bool {
		if j.names != nil {
			j.names.Settle(before)
		}
		return ctx.Err() == nil
	})
	var wants []tcp.Parts
	for _, share := range shares {
		wants = append(wants, share.Wants())
	}
	sources, err := capture.Divide(source, wants)
	switch {
	case err != nil:
		return err
	case sources == nil:
		defer closeAfter(ctx, source)()
		return j.readAhead(source, bar)
	}
	for _, another := range sources[1:] {
		defer another.Close()
	}
	return j.share(ctx, shares, sources, bar)
}

// share lets several goroutines take in a share of the connections each, from sources of their own.
func (j *job) share(ctx context.Context, shares []*tracker.Share, sources []capture.Source, bar *progress) error {
	// All stop at the same packet, at the next that they wait for each other at; where hardly a packet is TCP, at any.
	defer context.AfterFunc(ctx, func() {
		time.Sleep(interruptGrace)
		for _, source := range sources {
			source.Close()
		}
	})()
	defer debug.SetGCPercent(debug.SetGCPercent(readingGC))
	if j.names != nil {
		j.names.Hold()
		defer j.names.Release()
	}
	var all sync.WaitGroup
	errs := make([]error, len(sources))
	for i, share := range shares {
		all.Go(func() {
			defer share.Close()
			batch := make([]tcp.Segment, fileBatch)
			for {
				n, err := sources[i].Read(batch)
				if err != nil {
					errs[i] = ended(err)
					return
				}
				if !share.Add(batch[:n]) {
					return
				}
				if i == 0 {
					bar.update()
				}
			}
		})
	}
	all.Wait()
	return cmp.Or(errs...)
}

// readAhead takes in a source that another goroutine reads.
func (j *job) readAhead(source capture.Source, bar *progress) error {
	type read struct {
		batch []tcp.Segment
		err   error
	}
	full, empty := make(chan read, batchesAhead), make(chan []tcp.Segment, batchesAhead)
	for range batchesAhead {
		empty <- make([]tcp.Segment, fileBatch)
	}
	go func() {
		for batch := range empty {
			n, err := source.Read(batch)
			full <- read{batch[:n], err}
			if err != nil {
				return
			}
		}
	}()
	defer close(empty)
	for r := range full {
		if r.err != nil {
			return ended(r.err)
		}
		j.table.Add(r.batch)
		empty <- r.batch[:fileBatch]
		bar.update()
	}
	return nil
}

// ended returns err unless it only says that there is no more to read.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

const (
	interruptGrace = 500 * time.Millisecond

	// readingGC is by how much the heap may grow between collections while files are read, in percent: nearly all of it is
	// connections, which stay. At the usual 100, a capture of 5 million packets takes a tenth longer. A pipe may go on for days.
	readingGC = 400

	fileBatch    = 128 // segments read at a time from files: 16 KiB, half of the first cache
	batchesAhead = 8   // on their way from the goroutine that reads
)

// learner is who learns names from what is read; nil if they are not wanted.
func (j *job) learner() capture.Names {
	if j.names == nil {
		return nil // and not a capture.Names with a nil *names.Book in it
	}
	return j.names
}

// analyze judges what the table holds at now.
func (j *job) analyze(now int64, stats capture.Stats) *diagnosis.Analysis {
	c := diagnosis.Capture{Dropped: stats.DroppedKernel + stats.DroppedInterface, Evicted: j.evicted()}
	for _, s := range stats.Sources {
		c.Truncated = c.Truncated || s.Truncated
	}
	analysis := j.rules.Analyze(j.table, now, c)
	if j.names != nil {
		analysis.NameServices(analysis.Findings, j.names.Server)
	}
	return analysis
}

// evicted is how many connections were forgotten that were to be kept.
func (j *job) evicted() uint64 {
	e := j.table.Stats().Evicted
	if j.limits.MaxEnded > 0 {
		return e.Attempts + e.Established + e.HalfClosed // of those that are over, few are wanted
	}
	return e.Total()
}

// noteDrops tells the table if packets were lost on their way into the capture.
func (j *job) noteDrops(stats capture.Stats) {
	if stats.DroppedKernel+stats.DroppedInterface > 0 {
		j.table.CaptureDropped()
	}
}

// report writes the report, as of the last packet, and returns the worst severity in it, -1 without findings.
func (j *job) report(ctx context.Context, source capture.Source) (worst int, err error) {
	analysis, worst, err := j.reportAt(source, source.Last())
	if err == nil && j.page != "" {
		err = j.writePage(ctx, source, analysis)
	}
	if err == nil && j.flagged != "" {
		err = j.writeFlagged(ctx, source, analysis)
	}
	return worst, err
}

func (j *job) reportAt(source capture.Source, now int64) (analysis *diagnosis.Analysis, worst int, err error) {
	stats := source.Stats()
	j.noteDrops(stats)
	worst = -1
	analysis = j.analyze(now, stats)
	if j.annotate != nil {
		j.annotate(analysis)
	}
	for i := range analysis.Findings {
		worst = max(worst, int(analysis.Findings[i].Severity))
	}
	if j.quiet {
		return analysis, worst, nil
	}
	r := j.reportOn(analysis, stats)
	w := bufio.NewWriterSize(j.stdout, 1<<16)
	switch j.format {
	case "json":
		err = report.JSON(w, r)
	case "csv":
		err = report.CSV(w, r)
	default:
		err = report.Table(w, r, j.tableOptions())
	}
	return analysis, worst, errors.Join(err, w.Flush())
}

func (j *job) reportOn(analysis *diagnosis.Analysis, stats capture.Stats) report.Report {
	r := report.Report{
		Capture: j.captureRecord(stats, analysis.Quality.MissedBytes), Quality: analysis.Quality, Findings: analysis.Findings, Threshold: j.rules.Threshold,
		Counts: analysis.Counts, Rows: analysis.Connections, Notable: analysis.Notable(), Encap: j.encaps.Get,
		Socket: j.socket, FromKernel: j.fromKernel,
	}
	if j.names != nil {
		r.Name = j.names.Server
	}
	return r
}

// tableOptions fit a table to where it is written.
func (j *job) tableOptions() report.TableOptions {
	width, terminal := terminalWidth(j.stdout)
	return report.TableOptions{Width: width, Color: terminal && os.Getenv("NO_COLOR") == "", All: j.all}
}

// warn names on stderr the sources that are cut off, for which the table of connections has no place.
func (j *job) warn(stats capture.Stats) {
	for _, s := range stats.Sources {
		if s.Truncated {
			fmt.Fprintf(j.stderr, "tcpleak: %s is cut off: %s\n", report.Clean(s.Name), report.Clean(s.Truncation))
		}
	}
}

// terminalWidth returns the columns of the terminal that w is; 0 and false if it is none.
func terminalWidth(w io.Writer) (int, bool) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0, true
	}
	return width, true
}

func (j *job) captureRecord(stats capture.Stats, missed uint64) report.Capture {
	table := j.table.Stats()
	c := report.Capture{
		Filter: stats.Filter, First: stats.First, Last: stats.Last,
		Packets: stats.Packets, Segments: table.Segments, Duplicates: table.Duplicates,
		DroppedKernel: stats.DroppedKernel, DroppedInterface: stats.DroppedInterface,
		MissedBytes: missed, Evicted: table.Evicted, Live: j.live, Later: j.later,
	}
	for _, s := range stats.Sources {
		c.Sources = append(c.Sources, report.Source{
			Name: s.Name, Format: s.Format, LinkTypes: s.LinkTypes, Packets: s.Packets, Truncated: s.Truncated, Detail: s.Truncation,
		})
	}
	for reason, n := range stats.Skipped {
		if n > 0 {
			c.Skipped = append(c.Skipped, report.Count{Reason: capture.Reason(reason).String(), N: n})
		}
	}
	slices.SortFunc(c.Skipped, func(a, b report.Count) int { return strings.Compare(a.Reason, b.Reason) })
	return c
}
