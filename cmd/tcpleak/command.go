package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/names"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// options are the flags, as given.
type options struct {
	files          []string
	interfaces     []string
	format         string
	all            bool
	failOn         string
	thresholds     []string
	only, ignore   []string
	timeWait       time.Duration
	maxConnections int
	maxMemory      string
	snapLen        int
	bufferMiB      int
	promiscuous    bool
	duration       time.Duration
	flagged        string
	user           string
	noProcess      bool
	noNames        bool
	lines          bool
	page           string
	save           string
	saveMillions   int
	saveFiles      int
	count          uint64
	rest           time.Duration
}

const maxBufferMiB = 2047 // libpcap takes octets in 31 bits

const longHelp = `tcpleak reads packets from capture files or a network interface, works out
the TCP state of both ends of every connection, and says which fail to open or
never close, which end is at fault, why, and what to look at next.

FILTER is a tcpdump expression. Files may be pcap or pcapng, plain or compressed
with gzip or zstd; "-" is standard input.

In the table, a state followed by "?" is presumed: it rests on a segment that
was on its way, or on a capture with gaps. "??" is assumed: the start of the
connection, or this end of it, was not captured. Without a mark, it is confirmed.

Exit status: 0 when the capture was read; 1 with --fail-on when there is such a
finding; 2 for wrong usage or an input that could not be read.`

const examples = `  tcpleak -r dump.pcap
  tcpleak -r 'dump*.pcap.gz' --format json port 8080
  tcpdump -w - port 8080 | tcpleak -r -
  sudo tcpleak -i eth0 port 8080
  tcpleak -r dump.pcap --threshold stuck_close_wait=30s --fail-on warning`

func newCommand(stdout, stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:                   "tcpleak {-r FILE | -i INTERFACE}... [flags] [FILTER]",
		Short:                 "Find the TCP connections that fail to open or never close, and the end at fault",
		Long:                  longHelp,
		Example:               examples,
		Version:               version,
		Args:                  cobra.ArbitraryArgs,
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := o.job(cmd, args)
			if err != nil {
				return err
			}
			j.stdout, j.stderr = stdout, stderr
			if o.save == "-" || o.page == "-" {
				j.stdout = stderr // the packets, or the page, are to be alone
				j.pageTo = stdout
			}
			return j.run(cmd.Context())
		},
	}
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; tcpleak --help lists the flags", err)
	})
	f := cmd.Flags()
	f.SortFlags = false
	o.addFiles(f)
	f.StringArrayVarP(&o.interfaces, "interface", "i", nil, "capture on a network `INTERFACE`, any or lo among them; repeatable; needs root or capabilities")
	f.StringVar(&o.format, "format", "table", "write a `table`, json (one object per line) or csv (connections)")
	f.BoolVar(&o.all, "all", false, "list all connections in the table, also those that ended cleanly")
	f.StringVar(&o.flagged, "write-flagged", "", "with -r: write the packets of the connections that have findings to `FILE`, as they were")
	f.StringVar(&o.page, "report", "", "also write the report to `FILE`, as one page of HTML")
	o.addFailOn(cmd)
	o.addJudgement(f)
	f.IntVarP(&o.snapLen, "snapshot-length", "s", capture.DefaultSnapLen, "with -i: keep `N` bytes of each packet")
	f.IntVarP(&o.bufferMiB, "buffer-size", "B", capture.DefaultBufferBytes>>20, "with -i: the kernel's buffer for each interface, in `MiB`")
	f.BoolVarP(&o.promiscuous, "promiscuous", "p", false, "with -i: capture packets for other hosts too")
	f.BoolVar(&o.lines, "lines", false, "with -i on a terminal: a line for each finding, and no screen")
	f.StringVarP(&o.save, "write", "w", "", "with -i: also save the packets to `FILE`, as tcpdump does")
	f.IntVarP(&o.saveMillions, "rotate-size", "C", 0, "with -w: begin another file when one has `N` million bytes")
	f.IntVarP(&o.saveFiles, "rotate-count", "W", 0, "with -C: keep `N` files at most, the newest")
	f.Uint64VarP(&o.count, "count", "c", 0, "with -i: stop after `N` packets")
	f.StringVar(&o.user, "user", "", "with -i, as root: become `USER` once the capture is open (default: who called sudo)")
	f.BoolVar(&o.noProcess, "no-process", false, "with -i: do not look for the processes that hold sockets, and keep no capability for it")
	f.DurationVar(&o.duration, "duration", 0, "with -i: stop after this `TIME`, as 30s or 10m")
	for flag, values := range map[string][]string{
		"format": {"table", "json", "csv"},
	} {
		// The error is for a flag that does not exist.
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	cobra.AddTemplateFunc("wrapped", func(flags *pflag.FlagSet) string { return flags.FlagUsagesWrapped(helpWidth(stdout)) })
	cmd.SetUsageTemplate(strings.NewReplacer(".LocalFlags.FlagUsages", "wrapped .LocalFlags", ".InheritedFlags.FlagUsages", "wrapped .InheritedFlags").
		Replace(cmd.UsageTemplate()))
	cmd.AddCommand(explainCommand(stdout, stderr), reportCommand(stdout, stderr), agentCommand(stdout, stderr), findingsCommand(stdout), interfacesCommand(stdout),
		manCommand())
	return cmd
}

// addFiles adds the flag that names capture files.
func (o *options) addFiles(f *pflag.FlagSet) {
	f.StringArrayVarP(&o.files, "read", "r", nil, "read a capture `FILE`, or those that a quoted pattern matches; repeatable; - is standard input")
	f.BoolVarP(&o.noNames, "no-names", "n", false, "show addresses only, no names of servers as TLS, HTTP and DNS give them")
}

// addJudgement adds the flags that say what is a finding, and how much is remembered.
func (o *options) addJudgement(f *pflag.FlagSet) {
	f.StringArrayVar(&o.thresholds, "threshold", nil, "how long a condition lasts, or how many there are, before it is a finding, as `KIND=DURATION|COUNT`; repeatable; tcpleak findings lists the defaults")
	f.StringSliceVar(&o.only, "only", nil, "report only findings of this `KIND`; repeatable")
	f.StringSliceVar(&o.ignore, "ignore", nil, "do not report findings of this `KIND`; repeatable")
	f.DurationVar(&o.timeWait, "time-wait", tracker.DefaultTimeWait, "how long an endpoint stays in TIME_WAIT")
	f.IntVar(&o.maxConnections, "max-connections", tracker.DefaultMaxConnections, "remember at most `N` connections, with -i 200000 unless given; the least telling are forgotten first")
	f.StringVar(&o.maxMemory, "max-memory", "", "stay below this `SIZE` of memory, as 512MiB or 2GiB, by remembering fewer connections")
}

// helpWidth is the width of the help: the terminal's, within reason.
func helpWidth(w io.Writer) int {
	if width, terminal := terminalWidth(w); terminal && width > 0 {
		return min(max(width, 60), 120)
	}
	return report.DefaultWidth
}

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIRECTORY", Short: "Write the manual page", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "TCPLEAK", Section: "1", Source: "tcpleak " + version}, args[0])
		},
	}
}

// job checks the flags against each other and turns them into what is to be done.
func (o *options) job(cmd *cobra.Command, args []string) (*job, error) {
	live := len(o.interfaces) > 0
	switch {
	case live && len(o.files) > 0:
		return nil, fmt.Errorf("-r reads files and -i captures on an interface: give one of the two")
	case !live && len(o.files) == 0:
		if len(args) > 0 && isFile(args[0]) {
			return nil, fmt.Errorf("nothing to read: give a file with -r, as in: tcpleak -r %s", args[0])
		}
		return nil, fmt.Errorf("nothing to read: give a capture file with -r or an interface with -i; tcpleak --help shows examples")
	}
	if !live && len(args) > 0 && isFile(args[0]) {
		return nil, fmt.Errorf("%s is a file, not a filter: give each file its own -r, or quote the pattern, as in: -r '*%s'", args[0], filepath.Ext(args[0]))
	}
	for _, flag := range []string{"snapshot-length", "buffer-size", "promiscuous", "duration", "user", "no-process", "lines", "write", "rotate-size", "rotate-count", "count"} {
		if !live && cmd.Flags().Changed(flag) {
			return nil, fmt.Errorf("--%s is for capturing with -i; a file has been captured already", flag)
		}
	}
	if cmd.Flags().Changed("duration") && o.duration <= 0 {
		return nil, fmt.Errorf("--duration must be more than 0")
	}
	if live && o.flagged != "" {
		return nil, fmt.Errorf("--write-flagged reads the packets again, and those of an interface are gone: save them with tcpdump -w, then use -r")
	}
	j := &job{live: live, all: o.all, duration: o.duration, flagged: o.flagged, page: o.page, again: o.flagged != "" || o.page != "", user: o.user, noProcess: o.noProcess, lines: o.lines}
	switch o.format {
	case "table", "json", "csv":
		j.format = o.format
	default:
		return nil, fmt.Errorf("--format %s: there are table, json and csv", o.format)
	}
	if err := o.setFailOn(j); err != nil {
		return nil, err
	}
	for _, positive := range []struct {
		flag  string
		value int
	}{{"--snapshot-length", o.snapLen}, {"--buffer-size", o.bufferMiB}} {
		if positive.value <= 0 {
			return nil, fmt.Errorf("%s must be more than 0", positive.flag)
		}
	}
	if o.bufferMiB > maxBufferMiB {
		return nil, fmt.Errorf("--buffer-size must be at most %d MiB", maxBufferMiB)
	}
	if live && !cmd.Flags().Changed("max-connections") {
		o.maxConnections = liveConnections
	}
	return j, o.prepare(j, args)
}

// addFailOn adds the flag that turns findings into an exit status.
func (o *options) addFailOn(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.failOn, "fail-on", "", "exit with status 1 if there is a finding of this `SEVERITY` or worse: info, warning or critical")
	// The error is for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"info", "warning", "critical"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *options) setFailOn(j *job) error {
	if o.failOn == "" {
		return nil
	}
	severities := []diagnosis.Severity{diagnosis.Info, diagnosis.Warning, diagnosis.Critical}
	at := slices.IndexFunc(severities, func(s diagnosis.Severity) bool { return s.String() == o.failOn })
	if at < 0 {
		return fmt.Errorf("--fail-on %s: there are info, warning and critical", o.failOn)
	}
	j.failOn = &severities[at]
	return nil
}

// savedTo checks the flags about saved packets.
func (o *options) savedTo() (capture.Save, error) {
	switch {
	case o.saveMillions < 0 || o.saveFiles < 0:
		return capture.Save{}, fmt.Errorf("-C and -W must be more than 0")
	case o.save == "" && (o.saveMillions > 0 || o.saveFiles > 0):
		return capture.Save{}, fmt.Errorf("-C and -W rotate the files of -w: say where to save, as in: -w dump.pcap")
	case o.saveFiles > 0 && o.saveMillions == 0:
		return capture.Save{}, fmt.Errorf("-W needs -C, which says when another file begins")
	case o.save == "-" && o.page == "-":
		return capture.Save{}, fmt.Errorf("-w - and --report - both write to standard output: give one of them a file")
	}
	return capture.Save{Name: o.save, Bytes: int64(o.saveMillions) * 1_000_000, Files: o.saveFiles}, nil
}

// prepare fills in what reads and judges.
func (o *options) prepare(j *job, filter []string) (err error) {
	if j.rules, err = o.rules(); err != nil {
		return err
	}
	switch {
	case o.timeWait <= 0:
		return fmt.Errorf("--time-wait must be more than 0")
	case o.maxConnections <= 0:
		return fmt.Errorf("--max-connections must be more than 0")
	case o.maxConnections > tracker.MaxMaxConnections:
		return fmt.Errorf("--max-connections must be at most %d", tracker.MaxMaxConnections)
	}
	save, err := o.savedTo()
	if err != nil {
		return err
	}
	j.saved = save.Name
	j.encaps = new(tcp.EncapTable)
	j.open = func() (capture.Source, error) {
		return o.open(capture.Config{
			Names: j.learner(), Save: save, MaxPackets: o.count,
			Filter: strings.Join(filter, " "), Encaps: j.encaps,
			Spool: j.again, SnapLen: o.snapLen, BufferBytes: o.bufferMiB << 20, Promiscuous: o.promiscuous, Rest: o.rest,
		})
	}
	j.interfaces = o.interfaces
	if expression := strings.Join(filter, " "); len(o.interfaces) > 0 {
		// An expression that is not for Ethernet is still good for other links, and selects no sockets.
		if j.selects, err = capture.Selects(expression); err != nil {
			j.selects = func(_, _ netip.AddrPort) bool { return false }
		}
	}
	j.limits = tracker.Config{MaxConnections: o.maxConnections, TimeWait: o.timeWait, Seed: rand.Uint64()}
	mostNames := names.DefaultLimit
	if o.maxMemory != "" {
		size, err := parseMemory(o.maxMemory)
		if err != nil {
			return fmt.Errorf("--max-memory %s: %w", o.maxMemory, err)
		}
		j.limits.MaxBytes = boundMemory(size)
		mostNames = boundNames(size)
	}
	if !o.noNames {
		j.names = names.New(mostNames)
	}
	j.table = tracker.New(j.limits)
	return nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// rules turns the flags about findings into rules.
func (o *options) rules() (*diagnosis.Rules, error) {
	rules := diagnosis.NewRules()
	for _, text := range o.thresholds {
		t, err := diagnosis.ParseThreshold(text)
		if err != nil {
			return nil, fmt.Errorf("--threshold %s: %w", text, err)
		}
		rules.Set(t)
	}
	kinds := func(flag string, names []string) ([]diagnosis.Kind, error) {
		var all []diagnosis.Kind
		for _, name := range names {
			kind, err := diagnosis.ParseKind(name)
			if err != nil {
				return nil, fmt.Errorf("--%s %s: %w", flag, name, err)
			}
			all = append(all, kind)
		}
		return all, nil
	}
	only, err := kinds("only", o.only)
	if err != nil {
		return nil, err
	}
	ignore, err := kinds("ignore", o.ignore)
	if err != nil {
		return nil, err
	}
	rules.Mute(ignore...)
	for _, about := range diagnosis.Kinds() {
		if len(only) > 0 && !slices.Contains(only, about.Kind) {
			rules.Mute(about.Kind)
		}
	}
	return rules, nil
}
