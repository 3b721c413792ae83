package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// example is in testdata, with what is expected of it in each format.
var example = []string{"-r", "example.pcap", "--threshold", "stuck_close_wait=1ms"}

func TestExample(t *testing.T) {
	t.Chdir("testdata")
	for _, format := range []string{"json", "csv", "table"} {
		t.Run(format, func(t *testing.T) {
			got, talk, status := tcpleak(append(example, "--format", format)...)
			if status != statusOK || talk != "" {
				t.Fatalf("exit status %d, stderr %q", status, talk)
			}
			name := "example." + format
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("after a look at the difference, write it with -update (-want +got):\n%s", diff)
			}
		})
	}
}

// shapes are the keys of each JSON object in their order, which is part of what a version of the format promises. Those
// with a question mark are absent where there is nothing to say. An object within another is named by their keys.
var shapes = map[string]string{
	"capture": "type version sources live? filter first? last? packets segments duplicates skipped dropped missed_bytes evicted thresholds",
	"sources": "name format link_types packets truncated detail?",
	"dropped": "kernel interface",
	"connection": "type id community_id opened visibility roles_guessed? start last handshake_rtt? closed_first? ended_by? vlan? tunnels? " +
		"client server zeek wireshark_completeness findings?",
	"tunnels": "type id",
	"client":  endpointShape,
	"server":  endpointShape + " name?",
	"zeek":    "conn_state history",
	"event":   "type event time finding",
	"finding": "type? id kind severity certainty connections culprit? since? for? for_at_least? summary cause? next? evidence " +
		"count culprits? processes? service? threshold? growth?",
	"process":   "pid fd name command? container?",
	"processes": "pid fd name command? container?",
	"culprit":   "role address? port? name?",
	"service":   "address port? name?",
	"growth":    "per_minute from to over until_1024? until_65536?",
	"evidence":  "packet time from flags meaning",
	"summary":   "type connections states findings silence_trusted verdict",
}

const endpointShape = "address port state certainty since? since_at_least? why packets payload_bytes retransmitted out_of_order " +
	"missed_bytes zero_windows " +
	"kernel_state? receive_queue? send_queue? unaccepted? process?"

// counters are objects whose keys depend on what was counted.
var counters = []string{"skipped", "states", "findings", "thresholds"}

func TestJSONShape(t *testing.T) {
	t.Chdir("testdata")
	got, _, _ := tcpleak(append(example, "--format", "json")...)
	var types []string
	for line := range strings.Lines(got) {
		typ, err := checkShape(line)
		if err != nil {
			t.Errorf("%v in %s", err, line)
		}
		types = append(types, typ)
	}
	if want := []string{"capture", "connection", "finding", "summary"}; !slices.Equal(types, want) {
		t.Errorf("lines of the types %q, want %q", types, want)
	}
}

func TestJSONShapeOfAllCaptures(t *testing.T) {
	files, err := filepath.Glob("../../testdata/*/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d captures (%v)", len(files), err)
	}
	for _, file := range files {
		got, talk, status := tcpleak("-r", file, "--format", "json", "--threshold", "half_open_handshake=100ms", "--threshold", "stuck_close_wait=1ms")
		if status != statusOK {
			t.Errorf("exit status %d: %s", status, talk)
		}
		for line := range strings.Lines(got) {
			if _, err := checkShape(line); err != nil {
				t.Errorf("%s: %v in %s", file, err, line)
			}
		}
	}
}

// checkShape holds a line against shapes and returns its type.
func checkShape(line string) (string, error) {
	var head struct{ Type string }
	if err := json.Unmarshal([]byte(line), &head); err != nil {
		return "", err
	}
	return head.Type, checkObject(head.Type, []byte(line))
}

func checkObject(name string, object []byte) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return err
	}
	keys := make(map[string]json.RawMessage)
	var got []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if string(value) == "null" {
			return fmt.Errorf("%s: %s is null", name, key)
		}
		got = append(got, key.(string))
		keys[key.(string)] = value
	}
	var want []string
	for field := range strings.FieldsSeq(shapes[name]) {
		key, optional := strings.CutSuffix(field, "?")
		if _, ok := keys[key]; ok || !optional {
			want = append(want, key)
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s has the keys %q, want %q", name, got, want)
	}
	for key, value := range keys {
		if err := checkValue(key, value); err != nil {
			return err
		}
	}
	return nil
}

// checkValue checks the objects in a value.
func checkValue(key string, value json.RawMessage) error {
	switch {
	case value[0] == '{' && !slices.Contains(counters, key):
		return checkObject(key, value)
	case value[0] == '[':
		var elements []json.RawMessage
		if err := json.Unmarshal(value, &elements); err != nil {
			return err
		}
		for _, element := range elements {
			if err := checkValue(key, element); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestREADMEShowsWhatTheDemoPrints(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"-r", "../../testdata/demo.pcap"}, &stdout, &stderr); status != statusOK {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	_, session, _ := strings.Cut(string(readme), "```console\n")
	session, _, _ = strings.Cut(session, "\n…\n```")
	_, session, _ = strings.Cut(session, "\n") // the command
	want := strings.ReplaceAll(stdout.String(), "../../testdata/", "testdata/")
	_, want, _ = strings.Cut(want, "TCP segments") // where the line breaks depends on the file's name
	_, session, _ = strings.Cut(session, "TCP segments")
	if want = strings.Join(strings.Fields(want), " "); !strings.HasPrefix(want, strings.Join(strings.Fields(session), " ")) {
		t.Error("README.md shows something else; make demo prints what it should")
	}
}
