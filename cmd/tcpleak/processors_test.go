package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"tcpleak/internal/traffic"
)

// TestTheReportDoesNotDependOnTheProcessors reads a capture with one goroutine and with several, with room for
// all connections and without: the report is the same, octet by octet.
func TestTheReportDoesNotDependOnTheProcessors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = traffic.Write(file, traffic.Config{Packets: 600_000, Concurrent: 70_000, Payload: 500, SnapLen: 160, IPv6: 0.1, Broken: 0.1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	named := []byte(`"name":"traffic.test"`) // which the payloads hold
	for _, limit := range []string{"1000000", "65536"} {
		for _, format := range []string{"json", "table"} {
			var want []byte
			for _, processors := range []int{1, 2, 5} {
				runtime.GOMAXPROCS(processors)
				var got, stderr bytes.Buffer
				if code := run(t.Context(), []string{"-r", path, "--format", format, "--max-connections", limit}, &got, &stderr); code != 0 {
					t.Fatalf("exit status %d: %s", code, &stderr)
				}
				if format == "json" && !bytes.Contains(got.Bytes(), named) {
					t.Errorf("no server is named, with %d processors", processors)
				}
				if want == nil {
					want = got.Bytes()
				} else if !bytes.Equal(want, got.Bytes()) {
					t.Errorf("%s, %s connections: %d processors give another report than one", format, limit, processors)
				}
			}
		}
	}
}
