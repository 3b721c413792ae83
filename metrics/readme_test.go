package metrics

import (
	"os"
	"strings"
	"testing"
)

func TestReadmeHasEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../deploy/prometheus/README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := exposed(t)
	for name := range names {
		own := strings.HasPrefix(name, "tcpleak_") && !strings.HasPrefix(name, "tcpleak_service_handshake_seconds_")
		// In one row, the beginning of a name may be left out.
		short := "`…_" + strings.TrimPrefix(name, "tcpleak_capture_") + "`"
		if own && !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), short) {
			t.Errorf("nothing about %s", name)
		}
	}
	for _, name := range metricName.FindAllString(string(text), -1) {
		if strings.HasPrefix(name, "tcpleak_") && !names[name] {
			t.Errorf("%s does not exist", name)
		}
	}
}
