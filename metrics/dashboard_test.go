package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dashboard is what the tests need to know of Grafana's format.
type dashboard struct {
	Annotations struct{ List []struct{ Expr string } }
	Templating  struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage // of a data source, a string
		}
	}
	Panels []struct {
		ID         int
		Type       string
		Title      string
		Datasource struct{ UID string }
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct {
			Expr, RefID string
			Datasource  struct{ UID string }
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/tcpleak.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions returns the PromQL of the dashboard, by where it stands.
func (d *dashboard) expressions() map[string]string {
	all := make(map[string]string)
	for i, a := range d.Annotations.List {
		all[fmt.Sprintf("annotation %d", i)] = a.Expr
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[p.Title+" "+target.RefID] = target.Expr
		}
	}
	return all
}

func TestDashboardNamesMetricsThatExist(t *testing.T) {
	names, d := exposed(t), readDashboard(t)
	all := d.expressions()
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			all["variable "+v.Name] = string(v.Query)
		}
	}
	for where, expr := range all {
		used := metricName.FindAllString(expr, -1)
		if len(used) == 0 {
			t.Errorf("%s uses no metric", where)
		}
		for _, name := range used {
			if !names[name] {
				t.Errorf("%s uses %s, which does not exist", where, name)
			}
		}
	}
}

// The other way round: what nobody looks at needs no series.
func TestEveryMetricIsOnTheDashboard(t *testing.T) {
	d := readDashboard(t)
	var all strings.Builder
	for _, expr := range d.expressions() {
		all.WriteString(expr + "\n")
	}
	used := make(map[string]bool)
	for _, name := range metricName.FindAllString(all.String(), -1) {
		used[name] = true
	}
	// The first is the same without services; the two in the middle are there only if asked for.
	for _, name := range []string{
		"tcpleak_endpoints", "tcpleak_service_client_connections", "tcpleak_process_findings", "tcpleak_build_info",
		"tcpleak_services", "tcpleak_services_counting_duration_seconds",
	} {
		used[name] = true
	}
	for name := range exposed(t) {
		if base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count"), "_bucket"); strings.HasPrefix(name, "tcpleak_") &&
			!used[name] && !used[base+"_bucket"] {
			t.Errorf("nobody looks at %s", name)
		}
	}
}

func TestDashboardAsksTheDataSourceThatIsChosen(t *testing.T) {
	d := readDashboard(t)
	if v := d.Templating.List[0]; v.Name != "datasource" || v.Type != "datasource" || string(v.Query) != `"prometheus"` {
		t.Errorf("the first variable is %s of type %s", v.Name, v.Type)
	}
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: %d queries, of %s", p.Title, len(p.Targets), p.Datasource.UID)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("%s %s asks %s", p.Title, target.RefID, target.Datasource.UID)
			}
		}
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	d := readDashboard(t)
	taken, ids := make(map[[2]int]string), make(map[int]string)
	for _, p := range d.Panels {
		if other, ok := ids[p.ID]; ok {
			t.Errorf("%s and %s are both panel %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s is wider than the page", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// promtool checks expressions as parts of rules only.
func TestPromtoolAcceptsTheDashboard(t *testing.T) {
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", "tcpleak", "$instance", "a", "$service", "b")
	var b strings.Builder
	b.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	n, d := 0, readDashboard(t)
	for where, expr := range d.expressions() {
		expr = variables.Replace(expr)
		if strings.Contains(expr, "$") {
			t.Errorf("%s has an unknown variable: %s", where, expr)
		}
		n++
		fmt.Fprintf(&b, "      - record: dashboard:%d\n        expr: %q\n", n, expr)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}
