package tracker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRFC9293Figures plays the examples of RFC 9293 3.5 and 3.6.
func TestRFC9293Figures(t *testing.T) {
	paths, err := filepath.Glob("testdata/rfc9293/*.trace")
	if err != nil || len(paths) != 8 {
		t.Fatalf("%d figures, want 8: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".trace"), func(t *testing.T) {
			script, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			play(t, string(script))
		})
	}
}
