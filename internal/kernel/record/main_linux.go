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
	"strings"
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
	findings := flag.Bool("findings", false, "play the scenarios of testdata/findings instead, which takes about three minutes")
	list := flag.Bool("list", false, "list the scenarios as a Markdown table from the files in -out")
	flag.Parse()
	if *findings && !isSet("out") {
		*out = "testdata/findings"
	}
	switch {
	case *list && *findings:
		return findingsTable(*out)
	case *list:
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
		return record(ctx, *demo, "demo", play(kernel.Demo(), "server"))
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	type job struct {
		name string
		play player
	}
	var jobs []job
	if *findings {
		for _, f := range kernel.Findings() {
			jobs = append(jobs, job{f.Name, func(ctx context.Context, dir string) (*kernel.Truth, error) {
				return kernel.RecordFinding(ctx, dir, f)
			}})
		}
	} else {
		for i, sc := range append(kernel.Mixed(), kernel.Scenarios()...) {
			jobs = append(jobs, job{sc.Name, play(sc, [...]string{"client", "server"}[i%2])})
		}
	}
	var failed []error
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, *parallel)
	for _, j := range jobs {
		if !match.MatchString(j.name) {
			continue
		}
		slots <- struct{}{} // in their order: the long ones come first
		wg.Go(func() {
			defer func() { <-slots }()
			if err := record(ctx, *out, j.name, j.play); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// isSet reports whether a flag was given.
func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// player plays a scenario and leaves its capture in a directory.
type player func(ctx context.Context, dir string) (*kernel.Truth, error)

func play(sc kernel.Scenario, side string) player {
	return func(ctx context.Context, dir string) (*kernel.Truth, error) { return kernel.Record(ctx, dir, sc, side) }
}

// record plays a scenario, again if the machine was too busy to keep its timing.
func record(ctx context.Context, dir, name string, play player) error {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		start := time.Now()
		truth, err := play(ctx, dir)
		if err == nil {
			fmt.Printf("%-32s %5.1f s  %5d packets  %s\n", name, time.Since(start).Seconds(), truth.Packets, truth.Summary())
			return nil
		}
		err = fmt.Errorf("%s: %w", name, err)
		if attempt == attempts || ctx.Err() != nil {
			return errors.Join(err, kernel.Remove(dir, name))
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

// findingsTable prints the table of testdata/README.md about what is to be found.
func findingsTable(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	fmt.Println("| capture | what it shows | connections | to be found |")
	fmt.Println("|---|---|---|---|")
	for _, path := range paths {
		t, err := kernel.ReadTruth(path)
		if err != nil {
			return err
		}
		var found []string
		for _, e := range t.Expect {
			found = append(found, e.String())
		}
		for kind, value := range t.Thresholds {
			found = append(found, fmt.Sprintf("(with `--threshold %s=%s`)", kind, value))
		}
		if t.Healthy {
			found = append(found, "nothing above info")
		}
		fmt.Printf("| `%s` | %s | %d | %s |\n", t.Scenario, t.Description, t.Connections, strings.Join(found, "; "))
	}
	return nil
}
