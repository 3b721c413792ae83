package config

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write deploy/tcpleak.yaml, the table in docs/agent.md and the golden files instead of comparing with them")

// TestExampleFile keeps deploy/tcpleak.yaml as the keys have it.
func TestExampleFile(t *testing.T) {
	inStep(t, "../deploy/tcpleak.yaml", func(string) string { return string(Example()) })
}

const (
	tableBegins = "<!-- Keys: written by go test ./config -run TestTable -update, from config/keys.go. -->\n"
	tableEnds   = "<!-- End of keys. -->\n"
)

// TestTable keeps the table in docs/agent.md as the keys have it, and leaves alone what stands around it.
func TestTable(t *testing.T) {
	inStep(t, "../docs/agent.md", func(file string) string {
		before, rest, begins := strings.Cut(file, tableBegins)
		_, after, ends := strings.Cut(rest, tableEnds)
		if !begins || !ends {
			t.Fatalf("docs/agent.md has lost the lines that the table stands between:\n%s%s", tableBegins, tableEnds)
		}
		return before + tableBegins + "\n" + Table() + "\n" + tableEnds + after
	})
}

func inStep(t *testing.T, name string, make func(file string) string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil && !*update {
		t.Fatal(err)
	}
	want := make(string(got))
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("%s is out of date; go test ./config -update writes it (-file +keys):\n%s", name, diff)
	}
}

func TestExampleIsTheDefaults(t *testing.T) {
	got, err := Load("../deploy/tcpleak.yaml", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got, cmpopts.IgnoreUnexported(Agent{})); diff != "" {
		t.Errorf("the example file is not the defaults (-default +file):\n%s", diff)
	}
}

// What the example comments out can be used as it stands, but for files and users that are not there.
func TestExamplesAreKeys(t *testing.T) {
	text := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`).ReplaceAllString(string(Example()), "$1$2")
	var wrong problems
	settings := parse("example", []byte(text), &wrong)
	a := Default()
	a.from = make(map[string]origin)
	a.take(settings, &wrong)
	if err := wrong.err(); err != nil {
		t.Error(err)
	}
	if len(settings) != len(keys) {
		t.Errorf("the example has %d keys, there are %d", len(settings), len(keys))
	}
	a.check(&wrong)
	for _, one := range wrong.all {
		if !regexp.MustCompile(`is to be in a directory|no such file|there is no user`).MatchString(one.err.Error()) {
			t.Error(one.err)
		}
	}
	for i := range keys {
		defaults := Default()
		if k := &keys[i]; k.example != "" && same(k.value(&a), k.value(&defaults)) {
			t.Errorf("the example for %s is the default", k.name)
		}
	}
}

func TestShippedFilesAreValid(t *testing.T) {
	paths, err := filepath.Glob("../deploy/*/tcpleak.yaml")
	if err != nil || len(paths) < 2 {
		t.Fatalf("%v, %v: want those of systemd and Kubernetes", paths, err)
	}
	for _, path := range paths {
		if _, err := Load(path, nil, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
