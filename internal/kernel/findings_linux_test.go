package kernel

import (
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"tcpleak/tcp"
)

const findingsDir = "../../testdata/findings"

// readFinding returns the packets of a capture that may be compressed, and the size of its file.
func readFinding(t *testing.T, name string) (*Packets, int) {
	t.Helper()
	path := filepath.Join(findingsDir, name+".pcap")
	b, err := os.ReadFile(path)
	if err == nil {
		packets, err := parsePackets(b)
		if err != nil {
			t.Fatal(err)
		}
		return packets, len(b)
	}
	b, err = os.ReadFile(path + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := parsePackets(plain)
	if err != nil {
		t.Fatal(err)
	}
	return packets, len(b)
}

// attempts counts the SYNs that open a connection, repetitions aside: a 4-tuple may be used again.
func attempts(packets *Packets) int {
	type attempt struct {
		Tuple
		iss uint32
	}
	seen := make(map[attempt]bool)
	for i := range packets.TCP {
		if p := &packets.TCP[i]; p.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN {
			seen[attempt{p.Tuple, p.Seq}] = true
		}
	}
	return len(seen)
}

// Each scenario of a finding has its capture, made by the script that bears its name, and the two agree.
func TestFindingsAreRecorded(t *testing.T) {
	const largest, all = 900_000, 6_000_000
	names := make(map[string]bool)
	total := 0
	for _, f := range Findings() {
		if names[f.Name] {
			t.Errorf("two scenarios are called %s", f.Name)
		}
		names[f.Name] = true
		t.Run(f.Name, func(t *testing.T) {
			truth, err := ReadTruth(filepath.Join(findingsDir, f.Name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			packets, size := readFinding(t, f.Name)
			total += size
			if size > largest {
				t.Errorf("%d octets, want at most %d", size, largest)
			}
			if truth.Scenario != f.Name || truth.Description != f.About || truth.Healthy != f.Healthy || !maps.Equal(truth.Thresholds, f.Thresholds) {
				t.Errorf("recorded by an older script: %+v", truth)
			}
			if truth.Packets != packets.Total || truth.Connections != len(packets.Clients()) {
				t.Errorf("%d packets of %d connections; the capture has %d of %d", truth.Packets, truth.Connections, packets.Total, len(packets.Clients()))
			}
			if len(truth.Endpoints) > 0 {
				if err := truth.Check(packets); err != nil {
					t.Error(err)
				}
			}
			if len(truth.Expect) < len(f.Expect) || !slices.EqualFunc(truth.Expect[:len(f.Expect)], f.Expect, func(a, b Expected) bool { return a.String() == b.String() && a.Why == b.Why }) {
				t.Errorf("recorded with %v, now %v", truth.Expect, f.Expect)
			}
			if f.Healthy != (len(truth.Expect) == 0) {
				t.Errorf("healthy: %v, and %d expected findings", f.Healthy, len(truth.Expect))
			}
			most := max(truth.Connections, attempts(packets))
			for _, e := range truth.Expect {
				if e.Connections < 1 || max(e.Connections, e.ConnectionsMax) > most || e.ConnectionsMax != 0 && e.ConnectionsMax < e.Connections {
					t.Errorf("%v: the capture has %d connections", e, most)
				}
				if !slices.Contains([]string{info, warning, critical}, e.Severity) || e.Why == "" {
					t.Errorf("incomplete: %+v", e)
				}
			}
		})
	}
	if total > all {
		t.Errorf("%d octets in all, want at most %d", total, all)
	}
	files, err := os.ReadDir(findingsDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name, _, _ := strings.Cut(file.Name(), "."); !names[name] {
			t.Errorf("%s belongs to no scenario", file.Name())
		}
	}
}
