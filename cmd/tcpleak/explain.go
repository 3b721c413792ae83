package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// maxExplained is how many connections are explained at once, if an address stands for more.
const maxExplained = 5

const explainHelp = `Tells connections step by step: what each end sent, the state in which that left
both ends, the three steps of the handshake and the four of the teardown, what
was lost or sent again, and what is missing in the end.

CONNECTION is a number from the report, several of them with commas in between,
or an address, with or without a port. Without it, the oldest connection of the
worst finding is told, or of the one that --finding names.

FILTER is a tcpdump expression. The numbers are those that tcpleak -r gives with
the same files and filter.`

func explainCommand(stdout, stderr io.Writer) *cobra.Command {
	var o options
	var finding int
	cmd := &cobra.Command{
		Use:   "explain -r FILE [flags] [CONNECTION] [FILTER]",
		Short: "Tell a connection step by step, and what it waits for",
		Long:  explainHelp,
		Example: `  tcpleak explain -r dump.pcap 12
  tcpleak explain -r dump.pcap 10.0.0.7:40312
  tcpleak explain -r dump.pcap --finding 3`,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(o.files) == 0 {
				return fmt.Errorf("nothing to read: give a capture file with -r, as in: tcpleak explain -r dump.pcap 12")
			}
			var choice choice
			if cmd.Flags().Changed("finding") {
				if finding <= 0 {
					return fmt.Errorf("--finding %d: findings are numbered from 1, the worst first", finding)
				}
				choice.finding = finding
			} else if len(args) > 0 {
				var ok bool
				if choice, ok = parseChoice(args[0]); !ok {
					return fmt.Errorf("%s: not a connection: give its number, as 12, or an address, as 10.0.0.7:40312", args[0])
				}
				args = args[1:]
			}
			j := &job{stdout: stdout, stderr: stderr, format: o.format, again: true}
			if j.format != "table" && j.format != "json" {
				return fmt.Errorf("--format %s: explain has table and json", o.format)
			}
			if err := o.prepare(j, args); err != nil {
				return err
			}
			return j.explain(cmd.Context(), choice)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	o.addFiles(f)
	f.IntVar(&finding, "finding", 0, "tell the oldest connection of finding `N` of the report, the worst being 1")
	f.StringVar(&o.format, "format", "table", "write a `table`, the ladder, or json (one object per line)")
	o.addJudgement(f)
	// The error is for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// choice says which connections are to be explained: those with the numbers, those at the address, or that of a finding. The
// zero value is that of the worst finding.
type choice struct {
	ids     []uint64
	addr    tcp.Addr
	port    uint16 // 0 is any
	finding int
}

func parseChoice(text string) (c choice, ok bool) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return choice{addr: tcp.AddrFromNetip(at.Addr()), port: at.Port()}, true
	}
	if at, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return choice{addr: tcp.AddrFromNetip(at)}, true
	}
	for number := range strings.SplitSeq(text, ",") {
		id, err := strconv.ParseUint(number, 10, 64)
		if err != nil || id == 0 {
			return choice{}, false
		}
		c.ids = append(c.ids, id)
	}
	return c, true
}

// matches reports whether c is meant.
func (ch *choice) matches(c *tracker.Connection) bool {
	if ch.ids != nil {
		return slices.Contains(ch.ids, c.ID)
	}
	for role := range c.Ends {
		if e := &c.Ends[role]; e.Addr == ch.addr && (ch.port == 0 || e.Port == ch.port) {
			return true
		}
	}
	return false
}

// explain reads the capture, picks connections, and reads it again to tell them.
func (j *job) explain(ctx context.Context, ch choice) error {
	source, err := j.open()
	if err != nil {
		return err
	}
	defer source.Close()
	if err := j.read(ctx, source); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted before the capture was read")
	}
	stats, now := source.Stats(), source.Last()
	analysis := j.analyze(now, stats)
	connections, more, err := pick(analysis, ch)
	if err != nil {
		return err
	}
	ladders, err := j.tell(ctx, source, connections, now)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(j.stdout)
	r := j.reportOn(analysis, stats)
	for i := range ladders {
		e := report.Explanation{Ladder: ladders[i], Name: r.ServerName(&ladders[i].Connection)}
		for _, id := range analysis.Of(&ladders[i].Connection) {
			e.Findings = append(e.Findings, analysis.Findings[id-1])
		}
		if j.format == "json" {
			err = report.ExplainJSON(w, &e, &r)
		} else {
			if i > 0 {
				fmt.Fprint(w, "\n\n")
			}
			err = report.ExplainText(w, &e, j.tableOptions())
		}
		if err != nil {
			return err
		}
	}
	if len(more) > 0 && j.format == "table" {
		fmt.Fprintf(w, "\n%d more match, the first of them %d: give their numbers, with commas in between.\n", len(more), more[0])
	}
	return w.Flush()
}

// pick returns the connections that are meant, at most maxExplained of those at an address, the ones with findings first;
// and the numbers of the others.
func pick(a *diagnosis.Analysis, ch choice) (connections []tracker.Connection, more []uint64, err error) {
	switch {
	case ch.ids != nil || ch.addr != tcp.Addr{}:
	case len(a.Findings) == 0:
		return nil, nil, errors.New("there are no findings: say which connection, as in: tcpleak explain -r FILE 12; tcpleak -r FILE --all lists them")
	default:
		ch.finding = max(ch.finding, 1)
		if ch.finding > len(a.Findings) {
			return nil, nil, fmt.Errorf("--finding %d: there are %d findings; tcpleak -r FILE --all lists them", ch.finding, len(a.Findings))
		}
		f := &a.Findings[ch.finding-1]
		example := f.Example
		if example == 0 && len(f.Connections) > 0 {
			example = f.Connections[0]
		}
		if example == 0 {
			return nil, nil, fmt.Errorf("finding %d, %s, is about the capture, not about a connection", ch.finding, f.Kind)
		}
		ch.ids = []uint64{example}
	}
	type match struct {
		c     tracker.Connection
		worst int // number of its worst finding
	}
	var found []match
	for c, findings := range a.Connections(0, a.Counts.Connections) {
		if !ch.matches(c) {
			continue
		}
		m := match{*c, len(a.Findings) + 1}
		for _, id := range findings {
			m.worst = min(m.worst, id)
		}
		found = append(found, m)
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("no such connection among %d: tcpleak -r FILE --all lists them", a.Counts.Connections)
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.worst, b.worst) })
	for i := range found {
		if ch.ids == nil && i >= maxExplained {
			more = append(more, found[i].c.ID)
			continue
		}
		connections = append(connections, found[i].c)
	}
	return connections, more, nil
}

// tell reads the capture once more, and returns the ladders of the connections.
func (j *job) tell(ctx context.Context, source capture.Source, connections []tracker.Connection, now int64) ([]ladder.Ladder, error) {
	again, err := capture.Reopen(source, j.encaps)
	if err != nil {
		return nil, err
	}
	defer again.Close()
	defer closeAfter(ctx, again)()
	teller := ladder.NewTeller(tracker.New(j.limits), connections)
	if err := eachBatch(again, teller.Add); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, errors.New("interrupted while the capture was read again")
	}
	return teller.Ladders(now), nil
}

// eachBatch reads all of a source.
func eachBatch(source capture.Source, take func([]tcp.Segment)) error {
	batch := make([]tcp.Segment, fileBatch)
	for {
		n, err := source.Read(batch)
		if err != nil {
			return ended(err)
		}
		take(batch[:n])
	}
}
