package main

import "testing"

func TestParseMemory(t *testing.T) {
	for s, want := range map[string]int64{
		"64MiB": 64 << 20, "64M": 64 << 20, "64mb": 64 << 20, "1.5G": 3 << 29, "2GiB": 2 << 30, "1T": 1 << 40, "100000000": 100_000_000, "65536K": 64 << 20,
	} {
		if got, err := parseMemory(s); err != nil || got != want {
			t.Errorf("parseMemory(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "G", "1X", "1GG", "-1G", "63M", "NaN", "1e30", "1 G", "64iM", "0x7fffffffM"} {
		if got, err := parseMemory(s); err == nil {
			t.Errorf("parseMemory(%q) = %d, no error", s, got)
		}
	}
}
