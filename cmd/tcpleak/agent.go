package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"github.com/spf13/cobra"

	"tcpleak/capture"
	"tcpleak/config"
	"tcpleak/deliver"
	"tcpleak/diagnosis"
	"tcpleak/livepage"
	"tcpleak/metrics"
	"tcpleak/screen"
	"tcpleak/tracker"
)

const agentHelp = `Watches this host's connections all the time, and says when something is wrong:
as JSON lines on standard output, to a webhook or an OpenTelemetry collector, to
Prometheus under /metrics, and on a page for browsers, by default at
http://127.0.0.1:9777/.

Every key of the configuration file has a variable and a flag: filter,
TCPLEAK_FILTER, --filter. Without a file it starts with the defaults, which
--example prints. SIGHUP reads the file again: what is captured, what is a finding and
where it is sent change at once, the rest with the next start.`

func agentCommand(stdout, stderr io.Writer) *cobra.Command {
	var path string
	var check, example bool
	cmd := &cobra.Command{
		Use:     "agent [-c FILE] [flags]",
		Short:   "Watch this host all the time, and say when something is wrong",
		Long:    agentHelp,
		Example: "  sudo tcpleak agent\n  sudo tcpleak agent -c /etc/tcpleak/tcpleak.yaml\n  tcpleak agent -c tcpleak.yaml --check\n  tcpleak agent --example >tcpleak.yaml",
		Args:    cobra.NoArgs,

		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if example {
				_, err := stdout.Write(config.Example())
				return err
			}
			if path == "" {
				path = os.Getenv("TCPLEAK_CONFIG")
			}
			load := func() (config.Agent, error) { return config.Load(path, os.Environ(), cmd.Flags()) }
			settings, err := load()
			if err != nil {
				return err
			}
			for _, warning := range settings.Warnings() {
				fmt.Fprintln(stderr, "tcpleak: "+oneLine(warning))
			}
			if check {
				_, err := fmt.Fprintln(stdout, "the configuration is valid")
				return err
			}
			a := &agent{path: path, settings: settings, load: load, stdout: stdout, asks: make(chan func()), questions: newQuestions()}
			return a.run(cmd.Context(), stderr)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&path, "config", "c", "", "read the configuration from `FILE`")
	f.BoolVar(&check, "check", false, "say what is wrong with the configuration, and end")
	f.BoolVar(&example, "example", false, "print a configuration file with all keys and their defaults, and end")
	config.AddFlags(f)
	return cmd
}

// agent is the audience of a capture that nobody looks at.
type agent struct {
	*watcher
	path       string // of the configuration; "" is none
	settings   config.Agent
	load       func() (config.Agent, error)
	stdout     io.Writer
	metrics    *metrics.Metrics
	out        *deliver.Dispatcher
	sent       *deliver.Metrics // nil without a collector
	composer   *screen.Composer
	analysis   *diagnosis.Analysis       // the last
	asked      screen.Query              // what the composer was asked last
	livePage   *livepage.Page            // nil if nothing is served
	judged     atomic.Pointer[time.Time] // when that was; nil before the first
	asks       chan func()               // what others want to know of the table
	questions  questions
	lastReport written
	orders     []order // of reports
	reload     chan os.Signal

	// What changes while the agent runs, and belongs to the goroutine that captures.
	current     config.Agent // the settings as last read
	governor    governor
	lean        bool   // whether payload is left to the kernel: by the settings or the governor
	leanChanges uint64 // by the governor
	forgiven    int64  // connections that began before may lack payload, ns since 1970
	leaving     []leaving
	refused     trouble // of changes of the filter by the governor
}

const (
	// late is how long after a judgement the agent counts as stuck. There is one every lookAtLeast, if not sooner.
	late = 30 * time.Second
	// drain is how long outputs have at the end to take what is queued.
	drain = 5 * time.Second
	// rest is how long packets may wait in the kernel's buffer: nobody looks at the agent as they come.
	rest = 50 * time.Millisecond
	// maxEnded is how many connections that are over are kept: enough for what is found by their number, few enough to be judged
	// often on a host that makes thousands a second.
	maxEnded = 50_000
)

func (a *agent) run(ctx context.Context, stderr io.Writer) error {
	s := &a.settings
	o := options{
		interfaces: s.Interfaces, snapLen: s.SnapLen, bufferMiB: s.BufferMiB, promiscuous: s.Promiscuous,
		timeWait: s.TimeWait, maxConnections: s.MaxConnections, noNames: !s.Names, rest: rest,
	}
	if s.MaxMemory > 0 {
		o.maxMemory = fmt.Sprint(int64(s.MaxMemory))
	}
	j := &job{stdout: io.Discard, stderr: stderr, live: true, quiet: true, user: s.User, noProcess: !s.Process, format: "json"}
	a.current, a.lean, a.governor.limit = *s, s.Lean, float64(s.MaxCPU)
	if err := o.prepare(j, []string{filterOf(s, s.Lean)}); err != nil {
		return err
	}
	j.limits.MaxEnded = maxEnded
	j.table = tracker.New(j.limits)
	var err error
	if j.rules, err = rulesOf(s); err != nil {
		return err
	}
	outputs, err := a.outputs(s)
	if err != nil {
		return err
	}
	j.network = true // a reload may name a webhook or a collector, and what is forbidden once stays so
	j.reads = append([]string{a.path, s.Outputs.Webhook.TokenFile, "/etc/ssl", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}, config.WebDirs(s.WebConfig)...)
	j.writes = []string{s.Outputs.LinesFile}
	// Before privileges are given up: a port below 1024 takes some.
	if s.Listen != "" {
		listener, err := net.Listen("tcp", s.Listen)
		if err != nil {
			return fmt.Errorf("listen %s: %w: choose another address, or none with --listen ''", s.Listen, err)
		}
		defer listener.Close()
		if err := web.Validate(s.WebConfig); err != nil {
			return fmt.Errorf("%s: %w", s.WebConfig, err)
		}
		a.livePage = livepage.New(livepage.Config{Host: hostName(), Version: version, Zone: time.Local, Ask: func(ctx context.Context, q screen.Query) (screen.Frame, error) {
			return a.compose(ctx, q, nil)
		}})
		defer a.livePage.Close()
		server := &http.Server{
			Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 16,
		}
		go web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &s.WebConfig}, slog.New(slog.DiscardHandler)) // it ends with the server
		defer server.Close()
		fmt.Fprintf(stderr, "tcpleak: serving %s\n", listener.Addr())
	}
	a.metrics = metrics.New(metrics.Config{MaxServices: s.MaxServices, ByRemote: s.LabelRemote, ByProcess: s.LabelProcess, Version: version})
	j.begin = func(w *watcher) (audience, error) {
		a.watcher, a.composer = w, screen.NewComposer(w.table)
		if w.host != nil {
			a.composer.Process = w.process
		}
		var err error
		// Once privileges are given up: files are opened as whoever the agent runs as.
		if a.out, err = deliver.New(outputs...); err != nil {
			return a, err
		}
		a.sent, err = a.metricsTo(s)
		return a, err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // the table has no pointers: to collect is cheap, and memory is not
	}
	a.reload = make(chan os.Signal, 1)
	signal.Notify(a.reload, syscall.SIGHUP)
	defer signal.Stop(a.reload)
	err = j.run(ctx)
	if a.out != nil {
		ctx, stop := context.WithTimeout(context.Background(), drain)
		defer stop()
		err = errors.Join(err, a.out.Close(ctx))
		if a.sent != nil {
			err = errors.Join(err, a.sent.Close(ctx))
		}
	}
	return err
}

// rulesOf is what is a finding. That a lean capture misses what it leaves out is none.
func rulesOf(s *config.Agent) (*diagnosis.Rules, error) {
	rules, err := s.Rules()
	if err == nil && s.Lean {
		rules.ForgiveGaps(math.MaxInt64)
	}
	return rules, err
}

// filterOf is what the kernel lets pass.
func filterOf(s *config.Agent, lean bool) string {
	if lean {
		return capture.Lean(s.Filter)
	}
	return s.Filter
}

func (a *agent) hear(j *judgement) error {
	a.composer.Judge(j.Analysis, j.events, j.more...)
	skipped := make(map[string]uint64)
	for reason, n := range j.stats.Skipped {
		skipped[capture.Reason(reason).String()] = n
	}
	a.metrics.Observe(metrics.Observation{
		Analysis: j.Analysis, Events: j.events, Standing: a.monitor.Standing(), Now: j.now, Outputs: a.outputsFare(),
		Capture: metrics.Capture{
			Packets: j.stats.Packets, DroppedKernel: j.stats.DroppedKernel, DroppedInterface: j.stats.DroppedInterface, Skipped: skipped,
			Table: a.table.Stats(), Connections: a.table.Len(), Bytes: a.table.Bytes(), Lean: a.lean, LeanChanges: a.leanChanges,
		},
	})
	if a.livePage != nil {
		a.showJudgement(j)
	}
	a.deliverReports(j)
	a.out.Put(j.events)
	judged := time.Now()
	a.judged.Store(&judged)
	a.govern()
	a.between()
	return nil
}

// between answers what is asked, and reads the configuration again if it is told to.
func (a *agent) between() {
	a.forgetLate()
	for range 4 { // no more at a time: packets wait
		select {
		case ask := <-a.asks:
			ask()
		case <-a.reload:
			a.readAgain()
		default:
			return
		}
	}
}

func (a *agent) report() error { return nil }

// readAgain goes over to what the configuration says now, as far as that is possible without a new start.
func (a *agent) readAgain() {
	say := func(format string, args ...any) {
		fmt.Fprintln(a.stderr, "tcpleak: "+oneLine(fmt.Sprintf(format, args...)))
	}
	settings, err := a.load()
	if err != nil {
		say("the configuration stays as it was: %v", err)
		return
	}
	rules, err := rulesOf(&settings)
	if err == nil {
		err = a.redirect(&settings)
	}
	if half := (*halfway)(nil); errors.As(err, &half) {
		say("the configuration stays as it was, but for %s; the reason to go back was: %v", half.but, half.error)
		return
	}
	if err != nil {
		say("the configuration stays as it was: %v", err)
		return
	}
	a.rules = rules
	a.forgive()
	a.reselect(settings.Filter)
	if a.governor.limit = float64(settings.MaxCPU); settings.Lean {
		a.governor = governor{limit: a.governor.limit} // there is nothing for it to decide
	}
	a.current = settings
	if ok, keys := config.Reloadable(a.settings, settings); !ok {
		say("the configuration was read again; these keys change with the next start: %s", strings.Join(keys, ", "))
		return
	}
	say("the configuration was read again")
}

// redirect captures what s says and sends where s says, or else does as before.
func (a *agent) redirect(s *config.Agent) error {
	outputs, err := a.outputs(s)
	if err != nil {
		return err
	}
	if err := a.pass(s, a.governor.lean); err != nil {
		return err
	}
	sent, err := a.metricsTo(s)
	if err == nil {
		if err = a.out.Reload(outputs...); err == nil {
			a.sendMetrics(sent)
			return nil
		}
		leave(sent, 0)
	}
	if back := a.pass(&a.current, a.governor.lean); back != nil {
		return &halfway{err, fmt.Sprintf("the filter, which is %q now: %v", a.source.Stats().Filter, back)}
	}
	return err
}

// halfway is why settings were not gone over to, where not all of those before could be gone back to.
type halfway struct {
	error
	but string // for what
}

// ask runs f where the table may be looked at, which lasts until f returns.
func (a *agent) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case a.asks <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(late):
		return errors.New("the capture does not answer")
	}
}

// healthy reports whether the capture is alive.
func (a *agent) healthy() bool {
	judged := a.judged.Load()
	return judged != nil && time.Since(*judged) < late // wherever this host's clock is set to
}
