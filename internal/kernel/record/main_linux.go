// Command record makes the captures in testdata again: go run ./internal/kernel/record. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpleak/internal/kernel"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run() error {
	out := flag.String("out", "testdata/kernel", "directory for the captures and what the kernel said of them")
	only := flag.String("only", "", "play only the scenarios whose names match this regular expression")
	parallel := flag.Int("j", 16, "how many scenarios to play at once; they mostly wait")
	demo := flag.String("demo", "", "make the demonstration capture (which takes about four minutes) in this directory, and nothing else")
	list := flag.Bool("list", false, "list the scenarios as a Markdown table from the files in -out")
	flag.Parse()
	if *list {
		return table(*out)
	}
	if err := kernel.Available(); err != nil {
		return err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if *demo != "" {
		return record(ctx, *demo, kernel.Demo(), "server")
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	var failed []error
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, *parallel)
	for i, sc := range append(kernel.Mixed(), kernel.Scenarios()...) {
		if !match.MatchString(sc.Name) {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			side := [...]string{"client", "server"}[i%2]
			if err := record(ctx, *out, sc, side); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// record plays a scenario, again if the machine was too busy to keep its timing.
func record(ctx context.Context, dir string, sc kernel.Scenario, side string) error {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		start := time.Now()
		truth, err := kernel.Record(ctx, dir, sc, side)
		if err == nil {
			fmt.Printf("%-32s %5.1f s  %5d packets  %s\n", sc.Name, time.Since(start).Seconds(), truth.Packets, truth.Summary())
			return nil
		}
		err = fmt.Errorf("%s: %w", sc.Name, err)
		if attempt == attempts || ctx.Err() != nil {
			return errors.Join(err, kernel.Remove(dir, sc.Name))
		}
		fmt.Fprintln(os.Stderr, "record: again:", err)
	}
}

// table prints the table of testdata/README.md.
func table(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	fmt.Println("| capture | what it shows | at | client / server at the end |")
	fmt.Println("|---|---|---|---|")
	for _, path := range paths {
		t, err := kernel.ReadTruth(path)
		if err != nil {
			return err
		}
		fmt.Printf("| `%s` | %s | %s | %s |\n", t.Scenario, t.Description, t.CapturedAt, t.Summary())
	}
	return nil
}
