package agreement

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/internal/kernel"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// TestFindingsOfRealTraffic holds the findings on each capture of real programs against what was done to make it. A healthy
// capture gives none above info.
func TestFindingsOfRealTraffic(t *testing.T) {
	paths, err := filepath.Glob("../../testdata/findings/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no captures in testdata/findings")
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			truth, err := kernel.ReadTruth(path)
			if err != nil {
				t.Fatal(err)
			}
			rules := diagnosis.NewRules()
			for kind, value := range truth.Thresholds {
				threshold, err := diagnosis.ParseThreshold(kind + "=" + value)
				if err != nil {
					t.Fatal(err)
				}
				rules.Set(threshold)
			}
			table, now := track(t, name, nil)
			analysis := rules.Analyze(table, now, diagnosis.Capture{})
			missing, got := slices.Clone(truth.Expect), []string{}
			for i := range analysis.Findings {
				f := &analysis.Findings[i]
				at := slices.IndexFunc(missing, func(e kernel.Expected) bool { return fits(e, f) })
				switch {
				case at >= 0:
					missing = slices.Delete(missing, at, at+1)
				case f.Severity > diagnosis.Info || truth.Expect != nil && slices.ContainsFunc(truth.Expect, func(e kernel.Expected) bool { return e.Kind == string(f.Kind) }):
					got = append(got, fmt.Sprintf("%v %s ×%d: %s", f.Severity, f.Kind, f.Count, f.Summary))
				}
			}
			if diff := cmp.Diff(missing, []kernel.Expected{}, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); len(missing) > 0 {
				t.Errorf("not found:\n%s", diff)
			}
			if len(got) > 0 {
				t.Errorf("not so: %s", strings.Join(got, "\n"))
			}
			onlyRoots(t, analysis, table, now)
		})
	}
}

// fits reports whether f is what was expected. Of a leak and of churn, a capture shows the last few connections too briefly.
func fits(e kernel.Expected, f *diagnosis.Finding) bool {
	if e.Kind != string(f.Kind) || e.Severity != f.Severity.String() {
		return false
	}
	most := max(e.Connections, e.ConnectionsMax)
	least := e.Connections
	if f.Kind == diagnosis.Leak || f.Kind == diagnosis.Churn {
		least = e.Connections * 8 / 10
	}
	if f.Count < least || f.Count > most || e.Service.IsValid() && f.Service.IsValid() && e.Service != f.Service {
		return false
	}
	if e.Culprit == nil {
		return f.Culprits == 0
	}
	address := netip.Addr{}
	if f.Culprit.Addr != (tcp.Addr{}) {
		address = f.Culprit.Addr.Netip()
	}
	return f.Culprits > 0 && e.Culprit.Role == f.Culprit.Role.String() && e.Culprit.Address == address &&
		(e.Culprit.Port == 0 || e.Culprit.Port == f.Culprit.Port)
}

// onlyRoots reports connections with more than one finding above info: one broken connection, one finding.
func onlyRoots(t *testing.T, a *diagnosis.Analysis, table *tracker.Table, now int64) {
	t.Helper()
	for c := range table.Connections(now) {
		if found := aboveInfo(a, c); len(found) > 1 {
			t.Errorf("connection %d has %v", c.ID, found)
		}
	}
}

// aboveInfo returns the kinds of the findings about c that are more than info.
func aboveInfo(a *diagnosis.Analysis, c *tracker.Connection) (kinds []diagnosis.Kind) {
	for _, id := range a.Of(c) {
		if f := &a.Findings[id-1]; f.Severity > diagnosis.Info {
			kinds = append(kinds, f.Kind)
		}
	}
	return kinds
}

// TestOneDirectionAccusesNobody shows each capture as a mirror port would that carries one direction only: what the other
// end did is then a guess.
func TestOneDirectionAccusesNobody(t *testing.T) {
	for _, name := range []string{"leak-server", "leak-client-pool", "leak-client-close-wait", "accept-queue-full-data", "stuck-close-wait-server"} {
		for _, server := range []bool{true, false} {
			table, now := track(t, "../../testdata/findings/"+name, func(s *tcp.Segment) bool {
				return (s.Src.String() == "10.77.0.2") == server
			})
			analysis := diagnosis.NewRules().Analyze(table, now, diagnosis.Capture{})
			for i := range analysis.Findings {
				if f := &analysis.Findings[i]; f.Severity > diagnosis.Info {
					t.Errorf("%s, only the server's packets %v: %v %s: %s", name, server, f.Severity, f.Kind, f.Summary)
				}
			}
		}
	}
}

// track reads name.pcap or name.pcap.gz and returns what the tracker makes of the segments that are kept, and the time of the
// last packet.
func track(t *testing.T, name string, keep func(*tcp.Segment) bool) (*tracker.Table, int64) {
	t.Helper()
	files, err := filepath.Glob(name + ".pcap*")
	if err != nil || len(files) != 1 {
		t.Fatalf("captures of %s: %v", name, files)
	}
	source, err := capture.OpenFiles(files, capture.Config{Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	table, batch := tracker.New(tracker.Config{}), make([]tcp.Segment, 256)
	for {
		n, err := source.Read(batch)
		if errors.Is(err, io.EOF) {
			return table, source.Last()
		}
		if err != nil {
			t.Fatal(err)
		}
		if keep == nil {
			table.Add(batch[:n])
			continue
		}
		for i := range batch[:n] {
			if keep(&batch[i]) {
				table.Add(batch[i : i+1])
			}
		}
	}
}

// done are the states of an end that is through with its connection, or has none.
var done = []string{"CLOSED", "TIME_WAIT", "LISTEN"}

// TestEachBrokenConnectionHasOneFinding lets no time pass before a state is a finding: then each connection of the random
// scripts, which ss shows neither open at both ends nor done at both, has exactly one finding above info.
func TestEachBrokenConnectionHasOneFinding(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(captures, "mixed-*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no mixed captures")
	}
	rules := diagnosis.NewRules()
	for _, about := range diagnosis.Kinds() {
		if about.Age > 0 && about.Kind != diagnosis.Leak && about.Kind != diagnosis.ResetAfterIdle {
			rules.Set(diagnosis.Threshold{Kind: about.Kind, Age: 0, Count: -1})
		}
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			truth, err := kernel.ReadTruth(path)
			if err != nil {
				t.Fatal(err)
			}
			states, doubted := make(map[kernel.Tuple]string), make(map[kernel.Tuple]bool)
			for _, e := range truth.Endpoints {
				states[e.Tuple()], doubted[e.Tuple()] = e.State, e.Undecidable != ""
			}
			table, now := track(t, name, nil)
			now = max(now, truth.End.UnixNano())
			now += int64(time.Millisecond)
			analysis := rules.Analyze(table, now, diagnosis.Capture{})
			counts := make(map[string]int)
			for c := range table.Connections(now) {
				client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
				tuple := kernel.Tuple{Src: netip.AddrPortFrom(client.Addr.Netip(), client.Port), Dst: netip.AddrPortFrom(server.Addr.Netip(), server.Port)}
				if doubted[tuple] || doubted[tuple.Reverse()] {
					continue
				}
				a, b := states[tuple], states[tuple.Reverse()]
				healthy := a == "ESTABLISHED" && b == "ESTABLISHED" || slices.Contains(done, a) && slices.Contains(done, b)
				found := aboveInfo(analysis, c)
				if broken := !healthy; broken && len(found) != 1 {
					t.Errorf("connection %d, %s/%s by ss, %v/%v by us: findings %v", c.ID, a, b, client.State, server.State, found)
				}
				for _, kind := range found {
					counts[fmt.Sprintf("%s/%s %s", a, b, kind)]++
				}
			}
			for _, what := range slices.Sorted(maps.Keys(counts)) {
				t.Logf("%4d %s", counts[what], what)
			}
		})
	}
}
