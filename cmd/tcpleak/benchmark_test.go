package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"tcpleak/internal/traffic"
)

// BenchmarkWhole runs the program on captures of a busy server, cut off at 96 octets, every finding on.
func BenchmarkWhole(b *testing.B) {
	for _, c := range []struct {
		name       string
		concurrent int
	}{{"1000 open", 1000}, {"100000 open", 100_000}} {
		path := filepath.Join(b.TempDir(), "x.pcap")
		file, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		written, err := traffic.Write(file, traffic.Config{
			Packets: 1_000_000, Concurrent: c.concurrent, Payload: 500, SnapLen: 96, IPv6: 0.1, Broken: 0.05, Seed: 1,
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
		for _, format := range []string{"table", "json"} {
			b.Run(c.name+" "+format, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if code := run(b.Context(), []string{"-r", path, "--format", format}, io.Discard, io.Discard); code != 0 {
						b.Fatalf("exit status %d", code)
					}
				}
				perPacket := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(written.Packets)
				b.ReportMetric(perPacket, "ns/packet")
				b.ReportMetric(1e9/perPacket, "packets/s")
			})
		}
	}
}
