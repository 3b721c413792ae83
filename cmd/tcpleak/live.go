package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/host"
	"tcpleak/privilege"
	"tcpleak/report"
	"tcpleak/sockets"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// liveConnections are remembered of an interface, unless --max-connections says otherwise: all of a busy hour's would be judged
// again and again, and hardly any of them is open.
const liveConnections = 200_000

const (
	// batchSize is how many segments are read at a time from interfaces: few enough to stay in the cache, many enough to
	// hide the call.
	batchSize = 256
	// againEvery is how often the last judgement is told again, older, where nothing can have changed; againShare bounds what that
	// takes: a 200th of a core. Which processes have sockets open is looked up again every namedEvery.
	againEvery = lookEvery
	againShare = 200
	namedEvery = 10 * time.Second
	// few is how many segments between two looks are looked at one by one; mostAwaited, how many connections are remembered of them,
	// at most.
	few         = restRate
	mostAwaited = 4096
	// dropsEvery is how often dropped packets are told of at most.
	dropsEvery = 10 * time.Second
)

// watcher follows a live source.
type watcher struct {
	*job
	source  capture.Source
	host    *host.Host // nil if the kernel cannot be asked
	monitor *diagnosis.Monitor
	now     int64     // on the capture's clock, ns since 1970
	heard   time.Time // when the packet that gave now its value was taken in
	moved   int64     // what was told of capture.Stats.Moved
	due     time.Time // when to look next whether there is something to judge
	pace    pace
	cores   *processors // nil until follow
	again   time.Time   // when to tell the last judgement again, if nothing has changed
	named   time.Time   // when processes were last looked for
	changes uint64      // of the table or the rules, by others than the source
	wanted  bool        // somebody waits for a judgement, and bears what it costs

	analysis *diagnosis.Analysis // the last
	judged   judged              // what it rests on
	heeded   int                 // segments since the last look
	awaited  map[uint64]int64    // when findings about connections that were heard since are due, by ID, ns since 1970

	lost    uint64    // packets that were told of
	tell    time.Time // when to tell of the next
	unsaved string    // why packets are not saved any more

	audience audience
}

// audience is who is told what happens: a terminal, or whoever reads lines.
type audience interface {
	// hear is told of each judgement, before the table takes in more.
	hear(*judgement) error
	// between is called often in between, when the table may be looked at.
	between()
	// report is asked for by a signal.
	report() error
}

// judgement is what is wrong at a moment, and what has changed with it.
type judgement struct {
	*diagnosis.Analysis
	more   []diagnosis.Finding // beside those of the analysis
	events []diagnosis.Event
	stats  capture.Stats
	now    int64 // ns since 1970
}

// watch follows a live source until ctx ends, it is closed or fails, or its time is over, and writes a line for each finding
// that is raised, grows or clears.
func (j *job) watch(ctx context.Context, source capture.Source) error {
	if j.duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, j.duration)
		defer stop()
	}
	defer closeAfter(ctx, source)()
	w := &watcher{job: j, source: source, monitor: diagnosis.NewMonitor(), pace: pace{unwatched: j.begin != nil}}
	defer w.askKernel()()
	if err := w.giveUpPrivileges(); err != nil {
		return err
	}
	if w.begin != nil {
		var err error
		if w.audience, err = w.begin(w); err != nil {
			return err
		}
		return w.follow()
	}
	if w.onTerminal() {
		return w.withScreen(ctx)
	}
	w.greet()
	w.audience = lines{w}
	return w.follow()
}

// follow takes in what the source delivers until it ends.
func (w *watcher) follow() error {
	outliveReader()
	w.cores = new(processors)
	defer w.cores.giveBack()
	asked := make(chan os.Signal, 1)
	defer onSnapshotSignal(asked)()
	batch := make([]tcp.Segment, batchSize)
	for {
		n, err := w.source.Read(batch)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			w.bid()
			return nil
		case err != nil:
			return err
		}
		w.table.Add(batch[:n])
		w.heed(batch[:n])
		if err := w.tick(n == 0); err != nil {
			return err
		}
		select {
		case <-asked:
			if err := w.audience.report(); err != nil {
				return err
			}
		default:
		}
	}
}

// tick judges what the table holds, if it is time. silent says that nothing has arrived for a while.
func (w *watcher) tick(silent bool) error {
	clock := time.Now()
	w.tellTime(clock, silent)
	if clock.Before(w.due) {
		w.audience.between()
		return nil
	}
	w.due, w.heeded = clock.Add(lookEvery), 0
	stats := w.source.Stats()
	w.noteDrops(stats)
	w.tellDrops(stats, clock)
	w.tellMoved(stats)
	w.tellSaving(stats)
	w.cores.look(clock, stats.Packets)
	changed := w.analysis == nil || w.judged != w.judgedOf(stats) || w.now >= w.analysis.NextChange()
	urgent := w.analysis != nil && w.now-int64(w.pace.gather()) >= w.nextFinding()
	switch {
	case (changed || urgent) && (w.wanted || w.pace.may(clock, stats.Packets, urgent)):
		cost, err := w.take(stats, true)
		w.pace.spend(clock, stats.Packets, cost)
		w.again = clock.Add(againEvery)
		return err
	case !changed && (w.wanted || !clock.Before(w.again)):
		cost, err := w.take(stats, false)
		w.again = clock.Add(min(max(againShare*cost, againEvery), lookAtLeast))
		return err
	}
	w.audience.between()
	return nil
}

// take tells what is wrong by an analysis, a fresh one or an old one, and returns the processor time that it took.
func (w *watcher) take(stats capture.Stats, fresh bool) (time.Duration, error) {
	began, _ := ownCPU()
	w.wanted = false
	if fresh {
		w.analysis, w.judged = w.analyze(w.now, stats), w.judgedOf(stats)
		clear(w.awaited)
	} else {
		w.analysis = w.analysis.Later(w.now)
	}
	more := w.askHost(w.analysis, fresh)
	err := w.audience.hear(&judgement{w.analysis, more, w.monitor.Update(w.analysis, more...), stats, w.now})
	ended, _ := ownCPU()
	return ended - began, err
}

// judged is what an analysis rests on, but for time.
type judged struct {
	segments uint64
	dropped  uint64
	changes  uint64 // see watcher.changes
}

func (w *watcher) judgedOf(stats capture.Stats) judged {
	return judged{w.table.Stats().Segments, stats.DroppedKernel + stats.DroppedInterface, w.changes}
}

// heed notes when findings about the connections of a few segments will be due, which the table has just taken in. To wait for the
// next judgement would be too late for some. Where there are many segments, judgements are not far apart.
func (w *watcher) heed(batch []tcp.Segment) {
	if w.heeded += len(batch); w.analysis == nil || w.heeded > few {
		return
	}
	now := max(w.now, w.source.Last())
	var c tracker.Connection
	for i := range batch {
		s := &batch[i]
		ref, ok := w.table.Find(s.Src, s.SrcPort, s.Dst, s.DstPort, s.Encap)
		if !ok || !w.table.Get(ref, now, &c) {
			continue
		}
		if at := w.analysis.NextFindingOf(&c, now); at == tracker.Never {
			delete(w.awaited, c.ID)
		} else if len(w.awaited) < mostAwaited {
			if w.awaited == nil {
				w.awaited = make(map[uint64]int64)
			}
			w.awaited[c.ID] = at
		}
	}
}

// nextFinding returns when a connection reaches a threshold, ns since 1970.
func (w *watcher) nextFinding() int64 {
	next := w.analysis.NextFinding()
	for _, at := range w.awaited {
		next = min(next, at)
	}
	return next
}

// tellTime brings w.now up to date.
func (w *watcher) tellTime(clock time.Time, silent bool) {
	switch last := w.source.Last(); {
	case last > w.now:
		w.now, w.heard = last, clock
	case silent && w.heard.IsZero():
		w.now, w.heard = clock.UnixNano(), clock // there never was one
	case silent:
		// The packets do not tell the time then. This host's clock may be set meanwhile, so what counts is how long ago the last was.
		w.now += int64(clock.Sub(w.heard))
		w.heard = clock
	}
}

// findings judges the table, and asks the kernel what it has to say.
func (w *watcher) findings(stats capture.Stats) *diagnosis.Analysis {
	analysis := w.analyze(w.now, stats)
	w.askHost(analysis, true)
	return analysis
}

// askHost asks the kernel what it has to say of the sockets that are this host's, and returns what is wrong with them. In analysis
// it names the processes that have them open, unless it is an old one in which it has just done so.
func (w *watcher) askHost(analysis *diagnosis.Analysis, fresh bool) []diagnosis.Finding {
	if w.host == nil {
		return nil
	}
	privilege.ReadProcesses(func() {
		// What could not be asked is not news each time: Limited says so in the report.
		if err := w.host.Sample(time.Now()); err == nil {
			w.fromKernel = w.host.Findings(w.rules, w.table, w.now)
		}
	})
	if clock := time.Now(); fresh || clock.Sub(w.named) >= namedEvery {
		w.named = clock
		for i := range analysis.Findings {
			analysis.Findings[i].Holders = nil
		}
		w.annotate(analysis)
	}
	if w.names != nil {
		analysis.NameServices(w.fromKernel, w.names.Server)
	}
	return w.fromKernel
}

// askKernel begins to ask this host's kernel for its sockets. A capture goes on without.
func (w *watcher) askKernel() (stop func()) {
	h, err := host.Open(host.Config{
		Sockets:    sockets.Config{AllNamespaces: os.Geteuid() == 0, NoProcess: w.noProcess},
		Interfaces: w.interfaces, Selects: func(local, remote netip.AddrPort) bool { return w.selects(local, remote) }, // it may change
	})
	if err == nil {
		err = h.Sample(time.Now())
	}
	if err != nil {
		fmt.Fprintln(w.stderr, "tcpleak: without the kernel's view of sockets: "+oneLine(err.Error()))
		return func() {}
	}
	w.host, w.socket = h, h.Socket
	w.annotate = func(a *diagnosis.Analysis) { privilege.ReadProcesses(func() { h.Annotate(a) }) }
	if limited := h.Limited(); limited != "" && !w.noProcess && os.Geteuid() != 0 {
		fmt.Fprintln(w.stderr, "tcpleak: "+oneLine(limited))
	}
	return func() { h.Close() }
}

// giveUpPrivileges keeps nothing but what is needed from now on.
func (w *watcher) giveUpPrivileges() error {
	user := w.user
	if user == "" && w.begin == nil && privilege.ByRootItself() {
		user = "root" // without capabilities; another could not write the files that root names
	}
	var write []string
	for _, name := range append([]string{w.saved, w.page}, w.writes...) {
		if name != "" && name != "-" {
			write = append(write, filepath.Dir(name))
		}
	}
	dropped, err := privilege.Drop(privilege.Config{User: user, Processes: !w.noProcess && w.host != nil, Read: w.reads, Write: write, Network: w.network})
	if err != nil {
		return err
	}
	// Now, and not when the capture ends or a file is rotated.
	for _, dir := range write {
		if err := dropped.CheckWritable(dir); err != nil {
			return err
		}
	}
	return nil
}

// greet says on stderr what a live capture does, as nothing may happen for long.
func (w *watcher) greet() {
	var names []string
	for _, s := range w.source.Stats().Sources {
		names = append(names, report.Clean(s.Name)+" ("+strings.Join(s.LinkTypes, ", ")+")")
	}
	until := "the report at Ctrl-C"
	if w.duration > 0 {
		until = "the report at Ctrl-C or after " + w.duration.String()
	}
	fmt.Fprintf(w.stderr, "tcpleak: capturing on %s; a line for each finding, %s\n", strings.Join(names, ", "), until)
}

// tellDrops says on stderr that packets are being lost on their way into the capture.
func (w *watcher) tellDrops(stats capture.Stats, clock time.Time) {
	dropped := stats.DroppedKernel + stats.DroppedInterface
	if dropped == w.lost || clock.Before(w.tell) {
		return
	}
	fmt.Fprintf(w.stderr, "tcpleak: dropped before they could be read: %d packets by the kernel, %d by the interface; a filter or a larger -B helps\n",
		stats.DroppedKernel, stats.DroppedInterface)
	w.lost, w.tell = dropped, clock.Add(dropsEvery)
}

// tellMoved says on stderr that somebody has set this host's clock.
func (w *watcher) tellMoved(stats capture.Stats) {
	by := time.Duration(w.moved - stats.Moved).Round(time.Millisecond)
	if by == 0 {
		return
	}
	w.moved = stats.Moved
	how := "ahead by "
	if by < 0 {
		how = "back by "
	}
	fmt.Fprintf(w.stderr, "tcpleak: this host's clock was set %s%v: the capture goes on by its own, so that no connection gets older or younger\n", how, by.Abs())
}

// tellSaving says once on stderr that packets are not saved any more.
func (w *watcher) tellSaving(stats capture.Stats) {
	if stats.SaveError != w.unsaved {
		w.unsaved = stats.SaveError
		fmt.Fprintf(w.stderr, "tcpleak: packets are not saved any more, after %d: %s; the capture goes on\n", stats.Saved, oneLine(stats.SaveError))
	}
}

// bid collects the findings that only the silence after the last packet bears out: the report, which -r would give for the
// same packets, judges at the last packet.
func (w *watcher) bid() {
	final := diagnosis.NewMonitor()
	final.Update(w.analyze(w.source.Last(), w.source.Stats()))
	w.later = w.monitor.Beyond(final)
	if w.format == "table" {
		return
	}
	for _, summary := range w.later {
		fmt.Fprintf(w.stderr, "tcpleak: not in the report, as it became clear only after the last packet: %s\n", report.Clean(summary))
	}
}

// lines are written for each finding that is raised, grows or clears.
type lines struct{ *watcher }

func (l lines) hear(j *judgement) error {
	// Events may be hours apart, and whoever reads them has left, as head does, when it had what it wanted.
	if out, ok := l.stdout.(*os.File); ok && readerLeft(out) {
		return syscall.EPIPE
	}
	for i := range j.events {
		var err error
		switch l.format {
		case "json":
			err = report.EventJSON(l.stdout, &j.events[i])
		case "csv":
			err = report.EventText(l.stderr, &j.events[i], time.Local) // stdout is for one table of connections
		default:
			err = report.EventText(l.stdout, &j.events[i], time.Local)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (lines) between() {}

// report writes what stands now: of a capture that goes on, silence counts up to this moment.
func (l lines) report() error {
	l.findings(l.source.Stats())
	_, _, err := l.reportAt(l.source, l.now)
	return err
}
