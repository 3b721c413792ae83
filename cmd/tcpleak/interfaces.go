package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tcpleak/capture"
	"tcpleak/report"
)

func interfacesCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "interfaces", Short: "List the network interfaces that -i can capture on", Args: cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			all, err := capture.Interfaces()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tLINK\tADDRESSES\tDESCRIPTION")
			for _, i := range all {
				var addresses []string
				for _, a := range i.Addresses {
					addresses = append(addresses, a.String())
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", report.Clean(i.Name), state(&i), i.LinkType, strings.Join(addresses, " "), report.Clean(i.Description))
			}
			return w.Flush()
		},
	}
}

func state(i *capture.Interface) string {
	switch {
	case !i.Up:
		return "down"
	case !i.Running:
		return "no carrier"
	}
	return "up"
}
