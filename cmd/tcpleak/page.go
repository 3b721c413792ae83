package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/report/page"
	"tcpleak/tracker"
)

const reportHelp = `Writes what tcpleak finds in captures as one HTML file, to be looked at in a
browser and handed on: the verdict on the capture, the findings with cause, next
step and evidence, each with an example step by step and its growth, the states
of the connections over time, and the connections that did not end cleanly.

The file needs nothing else: no network, and no script to be read.`

func reportCommand(stdout, stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:     "report -r FILE -o REPORT.html [flags] [FILTER]",
		Short:   "Write a report as one HTML file",
		Long:    reportHelp,
		Example: "  tcpleak report -r dump.pcap -o report.html\n  tcpleak report -r 'dump*.pcap.gz' -o report.html port 8080",

		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(o.files) == 0:
				return fmt.Errorf("nothing to read: give a capture file with -r, as in: tcpleak report -r dump.pcap -o report.html")
			case o.page == "":
				return fmt.Errorf("say where to write the report: -o report.html, or -o - for standard output")
			}
			j := &job{stdout: stdout, stderr: stderr, page: o.page, again: true, quiet: true}
			if err := o.setFailOn(j); err != nil {
				return err
			}
			if err := o.prepare(j, args); err != nil {
				return err
			}
			return j.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	o.addFiles(f)
	f.StringVarP(&o.page, "output", "o", "", "write the report to `FILE`; - is standard output")
	o.addFailOn(cmd)
	o.addJudgement(f)
	return cmd
}

// writePage writes the report as HTML, with what stood when it was judged.
func (j *job) writePage(ctx context.Context, source capture.Source, analysis *diagnosis.Analysis) error {
	r := j.reportOn(analysis, source.Stats())
	p := page.Page{Report: r, Zone: time.UTC}
	// Live, the packets are gone: the page tells outlines.
	if ids := page.Wanted(&r); len(ids) > 0 && !j.live {
		connections := make([]tracker.Connection, 0, len(ids))
		for _, id := range ids {
			var c tracker.Connection
			if analysis.Connection(id, &c) {
				connections = append(connections, c)
			}
		}
		var err error
		if p.Ladders, err = j.tell(ctx, source, connections, source.Last()); err != nil {
			return err
		}
	}
	// As a whole: it is less than 2 MB, and a report that was there before is not replaced by half of one.
	var html bytes.Buffer
	if err := page.Write(&html, p); err != nil {
		return err
	}
	if j.page == "-" {
		_, err := cmp.Or(j.pageTo, j.stdout).Write(html.Bytes())
		return err
	}
	if err := os.WriteFile(j.page, html.Bytes(), 0o644); err != nil {
		return fmt.Errorf("%w: the report was not written", err)
	}
	fmt.Fprintf(j.stderr, "tcpleak: %s: %s\n", oneLine(j.page), found(analysis))
	return nil
}

// found counts what was found, in a line.
func found(a *diagnosis.Analysis) string {
	if len(a.Findings) == 1 {
		return fmt.Sprintf("1 finding in %d connections", a.Counts.Connections)
	}
	return fmt.Sprintf("%d findings in %d connections", len(a.Findings), a.Counts.Connections)
}
