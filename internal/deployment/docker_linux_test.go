package deployment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An instruction is one of a Dockerfile's, "\" at line ends not among the ways in which ours is written.
type instruction struct{ word, rest string }

// stages are the instructions of each FROM, without comments.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	var all [][]instruction
	for line := range strings.Lines(read(t, top+"/deploy/docker/Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasSuffix(line, `\`) {
			t.Fatalf("this test reads one instruction a line, not %s", line)
		}
		word, rest, _ := strings.Cut(line, " ")
		if word == "FROM" {
			all = append(all, nil)
		}
		if len(all) > 0 {
			all[len(all)-1] = append(all[len(all)-1], instruction{word, rest})
		}
	}
	return all
}

func TestImageIsTheProgramAlone(t *testing.T) {
	all := stages(t)
	image := all[len(all)-1]
	if image[0].rest != "scratch" {
		t.Errorf("the image stands on %s", image[0].rest)
	}
	var entry []string
	for _, i := range image {
		switch i.word {
		case "RUN":
			t.Errorf("nothing could run %q in an empty image", i.rest)
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(i.rest), &entry); err != nil {
				t.Errorf("without a shell, ENTRYPOINT has to be a list: %v", err)
			}
		}
	}
	if !slices.ContainsFunc(image, func(i instruction) bool {
		return i.word == "COPY" && len(entry) == 1 && strings.HasSuffix(i.rest, " "+entry[0])
	}) {
		t.Errorf("nothing puts %q, which is to be run, into the image", entry)
	}
}

// The images of Go fetch no other toolchain (GOTOOLCHAIN=local): theirs must be one that go.mod takes.
func TestImageIsBuiltWithTheGoOfTheModule(t *testing.T) {
	var wanted string
	for line := range strings.Lines(read(t, top+"/go.mod")) {
		if v, found := strings.CutPrefix(line, "go "); found {
			wanted = strings.TrimSpace(v)
		}
	}
	major, _, _ := strings.Cut(stages(t)[0][0].rest, "-")
	if version := strings.TrimPrefix(major, "golang:"); !strings.HasPrefix(wanted+".", version+".") {
		t.Errorf("go.mod wants Go %s, the image has %s", wanted, major)
	}
}

// What the image takes from the release is where `make release` leaves it.
func TestImageTakesWhatTheReleaseLeaves(t *testing.T) {
	dir := released(t)
	if !strings.Contains(read(t, top+"/Makefile"), `tools/release.sh "$(VERSION)" bin/release`) {
		t.Error("make release does not write to bin/release")
	}
	all := stages(t)
	taken := 0
	for _, i := range all[len(all)-1] {
		_, from, found := strings.Cut(i.rest, " /src/bin/release/")
		if i.word != "COPY" || !found {
			continue
		}
		taken++
		if _, err := os.Stat(filepath.Join(dir, strings.Fields(from)[0])); err != nil {
			t.Error(err)
		}
	}
	if taken == 0 {
		t.Error("the image takes nothing from the release")
	}
}
