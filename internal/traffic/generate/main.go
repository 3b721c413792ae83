// Command generate writes a capture of made-up TCP traffic: go run ./internal/traffic/generate -packets 1000000 -o big.pcap.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"tcpleak/internal/traffic"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg := traffic.Config{}
	flag.Uint64Var(&cfg.Packets, "packets", 0, "write so many packets; 0 plays all of -connections to their ends")
	flag.Uint64Var(&cfg.Connections, "connections", 0, "begin no more connections than these; 0 is no limit")
	flag.IntVar(&cfg.Concurrent, "concurrent", 10_000, "connections open at once")
	flag.IntVar(&cfg.Payload, "payload", 600, "mean octets of a segment with data")
	flag.IntVar(&cfg.SnapLen, "snaplen", 96, "octets kept of each packet; 0 is all")
	flag.Float64Var(&cfg.IPv6, "ipv6", 0.1, "share of the connections over IPv6")
	flag.Float64Var(&cfg.Broken, "broken", 0.05, "share of the connections that do not go well")
	flag.Uint64Var(&cfg.Flood, "flood", 0, "write so many SYNs of forged senders instead, over 1,000 established and 100 half-closed connections")
	flag.Uint64Var(&cfg.Seed, "seed", 1, "the same seed, the same file")
	out := flag.String("o", "", "the pcap file to write; - is standard output")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		return errors.New("give -o FILE, and nothing but flags")
	}
	summary, err := write(*out, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, describe(summary))
	return nil
}

func write(name string, cfg traffic.Config) (summary traffic.Summary, err error) {
	var w io.WriteCloser = os.Stdout
	if name != "-" {
		if w, err = os.Create(name); err != nil {
			return summary, err
		}
	}
	summary, err = traffic.Write(w, cfg)
	return summary, errors.Join(err, w.Close())
}

func describe(s traffic.Summary) string {
	var fates []string
	for fate, n := range s.Fates {
		if n > 0 {
			fates = append(fates, fmt.Sprintf("%d %v", n, traffic.Fate(fate)))
		}
	}
	return fmt.Sprintf("%d packets, %d connections: %s; %d of them cut short by the end",
		s.Packets, s.Connections, strings.Join(fates, ", "), s.Unfinished)
}
