// Package layering holds the rule of which package may import which, as a test.
//
//	cmd/tcpleak → livepage → screen, report/page → report → ladder → diagnosis → tracker → reassembly, compat → tcp
//	            → deliver → report
//	            → host → diagnosis, sockets → tcp
//	            → metrics → diagnosis
//	            → config → capture, diagnosis, tracker
//	            → capture → tcp
//	            → privilege
//	report, sockets → printable
package layering

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "tcpleak"

// rules is the whole of it: the packages that make up the program, and all that each may import outside its tests, the
// standard library apart. A path stands for the packages below it, too.
//
// A package under internal/ supports tests and may import what it likes but gopacket. Nothing but tests, and other
// packages under internal/, may import it. Test files are free as well, but for what forbiddenInTests says.
var rules = map[string][]string{
	"tcp":        {},
	"printable":  {},
	"reassembly": {"tcp"},
	"compat":     {"tcp"},
	"tracker":    {"reassembly", "compat", "tcp"},
	"diagnosis":  {"diagnosis/trend", "tracker", "tcp"},
	"ladder":     {"diagnosis", "tracker", "reassembly", "tcp"},
	"report":     {"ladder", "diagnosis", "tracker", "tcp", "printable", "github.com/olekukonko/tablewriter"},

	"report/page": {"report", "ladder", "diagnosis", "tracker", "tcp", "github.com/go-analyze/charts/chartdraw"},
	"screen": {
		"report", "ladder", "diagnosis", "tracker", "tcp",
		"charm.land/bubbletea", "charm.land/bubbles", "charm.land/lipgloss", "github.com/charmbracelet/x/ansi", "github.com/charmbracelet/colorprofile",
		"golang.org/x/term",
	},

	"livepage": {"screen", "report", "report/page", "ladder", "diagnosis", "tracker", "tcp"},

	"metrics": {"diagnosis", "tracker", "tcp", "github.com/prometheus/client_golang"},
	"deliver": {
		"report", "diagnosis", "tcp", "golang.org/x/net/http/httpguts", "google.golang.org/protobuf/proto",
		"google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc/errdetails",
		"go.opentelemetry.io/otel", "go.opentelemetry.io/proto/otlp", "go.opentelemetry.io/contrib/bridges/prometheus",
		"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_model/go",
	},

	"diagnosis/trend": {},

	"host": {"diagnosis", "tracker", "sockets", "tcp"},

	"names": {"tcp"},

	"sockets": {"tcp", "printable", "github.com/vishvananda/netlink", "golang.org/x/sys"},

	"capture": {"tcp", "github.com/google/gopacket", "github.com/klauspost/compress", "golang.org/x/sys/unix"},

	"config": {"capture", "diagnosis", "tracker", "github.com/spf13/pflag", "go.yaml.in/yaml"},

	"privilege": {
		"kernel.org/pub/linux/libs/security/libcap/cap", "github.com/landlock-lsm/go-landlock", "golang.org/x/sys/unix",
	},

	"cmd/tcpleak": {
		"config", "deliver", "livepage", "metrics", "screen", "report", "report/page", "ladder", "diagnosis", "tracker",
		"capture", "host", "sockets", "names", "privilege", "tcp",
		"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "github.com/prometheus/exporter-toolkit/web", "golang.org/x/sys/unix",
	},
}

// gopacket stays behind capture, so that replacing it, or working around its defects, is one package's business.
const gopacket = "github.com/google/gopacket"

// forbiddenInTests: the inference never sees where segments come from, not even in its tests, and reading packets never
// depends on what is made of them. A test that wants both belongs to cmd/tcpleak or internal/.
var forbiddenInTests = map[string]string{
	"capture": "tracker",
	"tracker": "capture",
}

// emptyNames say nothing about what is inside, so that anything ends up there.
var emptyNames = []string{"base", "common", "helper", "helpers", "misc", "shared", "types", "util", "utils"}

// A sourceFile is what the rules need to know of one Go file.
type sourceFile struct {
	path    string   // within the module: "tracker/table.go"
	name    string   // of its package clause
	imports []string // as written
}

func (f sourceFile) dir() string  { return path.Dir(f.path) }
func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// violations says what is wrong with the imports of f, a line for each.
func violations(f sourceFile) []string {
	var found []string
	report := func(imported, why string) {
		found = append(found, fmt.Sprintf("%s imports %s: %s", f.path, imported, why))
	}

	allowed, known := rules[f.dir()]
	internal := within(f.dir(), "internal")
	if !known && !internal && !f.isTest() {
		return []string{fmt.Sprintf("%s: package %s has no rule; add one to rules in internal/layering", f.path, f.dir())}
	}
	for _, imported := range f.imports {
		own, isOwn := strings.CutPrefix(imported, module+"/")
		switch {
		case f.isTest():
			if other := forbiddenInTests[f.dir()]; other != "" && isOwn && within(own, other) {
				report(imported, fmt.Sprintf("tests of %s do without %s; one that joins them belongs to cmd/tcpleak or internal/", f.dir(), other))
			}
		case internal:
			if within(imported, gopacket) {
				report(imported, "outside tests, only capture imports gopacket")
			}
		case isOwn && within(own, "internal"):
			report(imported, "internal/ is for tests")
		case isOwn && !slices.ContainsFunc(allowed, func(a string) bool { return within(own, a) }):
			report(imported, fmt.Sprintf("of this module, %s may import %s", f.dir(), only(allowed, false)))
		case isThirdParty(imported) && !slices.ContainsFunc(allowed, func(a string) bool { return within(imported, a) }):
			report(imported, fmt.Sprintf("of other modules, %s may import %s", f.dir(), only(allowed, true)))
		}
	}
	return found
}

// within reports whether path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

// isThirdParty relies on what the go command requires: the path of a module that can be fetched starts with a domain name.
func isThirdParty(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// only lists those of the allowed paths that are, or are not, of other modules.
func only(allowed []string, thirdParty bool) string {
	var kept []string
	for _, p := range allowed {
		if isThirdParty(p) == thirdParty {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return "nothing"
	}
	return "only " + strings.Join(kept, ", ")
}

// sourceFiles parses the imports of every Go file of the module, whatever its build constraints: the rule holds on every
// operating system.
func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	root := os.DirFS("../..")
	if _, err := fs.Stat(root, "go.mod"); err != nil {
		t.Fatalf("this test reads the module two directories up: %v", err)
	}
	var files []sourceFile
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// What the go command leaves out, and what `make build` makes.
		base := d.Name()
		if d.IsDir() && name != "." && (base == "testdata" || name == "bin" || base[0] == '.' || base[0] == '_') {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := sourceFile{path: name, name: parsed.Name.Name}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestEveryImportFollowsTheRules(t *testing.T) {
	for _, f := range sourceFiles(t) {
		for _, v := range violations(f) {
			t.Error(v)
		}
	}
}

func TestEveryPackageNameSaysWhatIsInside(t *testing.T) {
	for _, f := range sourceFiles(t) {
		if bad := emptyName(f); bad != "" {
			t.Errorf("%s: %q says nothing about what is inside; name the package after its subject", f.path, bad)
		}
	}
}

// emptyName returns the part of the file's directory, or its package clause, that says nothing.
func emptyName(f sourceFile) string {
	for _, part := range append(strings.Split(f.dir(), "/"), strings.TrimSuffix(f.name, "_test")) {
		if slices.Contains(emptyNames, part) {
			return part
		}
	}
	return ""
}

// A rule in a circle would be no layering.
func TestRulesRunOneWay(t *testing.T) {
	for pkg := range rules {
		var visit func(at string, way []string)
		visit = func(at string, way []string) {
			if at == pkg && len(way) > 0 {
				t.Errorf("rules lead from %s back to it: %s", pkg, strings.Join(append(way, at), " → "))
				return
			}
			if slices.Contains(way, at) {
				return // a circle that pkg is not on; reported where it is
			}
			for _, next := range rules[at] {
				visit(next, append(slices.Clone(way), at))
			}
		}
		visit(pkg, nil)
	}
}

func TestViolations(t *testing.T) {
	tests := []struct {
		name    string
		path    string
		imports []string
		want    string // part of the only violation; "" for none
	}{
		{"standard library", "tcp/seq.go", []string{"fmt", "net/netip"}, ""},
		{"cgo", "capture/live_linux.go", []string{"C", "unsafe"}, ""},
		{"down one layer", "tracker/table.go", []string{"tcpleak/reassembly", "tcpleak/tcp"}, ""},
		{"up a layer", "tracker/table.go", []string{"tcpleak/report"},
			"tracker/table.go imports tcpleak/report: of this module, tracker may import only reassembly, compat, tcp"},
		{"from the bottom", "tcp/seq.go", []string{"tcpleak/tracker"}, "of this module, tcp may import nothing"},
		{"across", "capture/file.go", []string{"tcpleak/tracker"}, "capture may import only tcp"},
		{"name that only starts alike", "report/table.go", []string{"tcpleak/tcpdump"}, "report may import only"},

		{"a package of an allowed module", "capture/file.go", []string{"github.com/klauspost/compress/zstd"}, ""},
		{"module that only starts alike", "capture/file.go", []string{"github.com/klauspost/compressor"}, "of other modules, capture may import only"},
		{"gopacket outside capture", "tracker/table.go", []string{"github.com/google/gopacket/layers"}, "of other modules, tracker may import nothing"},
		{"gopacket in test support", "internal/kernel/run.go", []string{"github.com/google/gopacket"}, "only capture imports gopacket"},
		{"gopacket in a test", "tracker/table_test.go", []string{"github.com/google/gopacket"}, ""},
		{"tables outside report", "cmd/tcpleak/run.go", []string{"github.com/olekukonko/tablewriter"}, "of other modules, cmd/tcpleak may import only"},

		{"test support in the program", "cmd/tcpleak/main.go", []string{"tcpleak/internal/kernel"}, "internal/ is for tests"},
		{"test support in a test", "tracker/table_test.go", []string{"tcpleak/internal/kernel"}, ""},
		{"test support uses anything", "internal/kernel/run.go", []string{"tcpleak/capture", "tcpleak/tracker", "golang.org/x/sys/unix"}, ""},

		{"capture in a tracker test", "tracker/table_test.go", []string{"tcpleak/capture"}, "tests of tracker do without capture"},
		{"tracker in a capture test", "capture/file_test.go", []string{"tcpleak/tracker"}, "tests of capture do without tracker"},
		{"both in a test above", "cmd/tcpleak/run_test.go", []string{"tcpleak/capture", "tcpleak/tracker"}, ""},

		{"new package", "scoring/score.go", []string{"tcpleak/tcp"}, "package scoring has no rule"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations(sourceFile{path: tt.path, imports: tt.imports})
			if tt.want == "" {
				if len(got) > 0 {
					t.Fatalf("want no violation, got %q", got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Fatalf("want one violation with %q, got %q", tt.want, got)
			}
		})
	}
}

func TestEmptyName(t *testing.T) {
	for f, want := range map[*sourceFile]string{
		{path: "tracker/table.go", name: "tracker"}:           "",
		{path: "tracker/table_test.go", name: "tracker_test"}: "",
		{path: "util/bytes.go", name: "bytes"}:                "util",
		{path: "internal/helpers/net.go", name: "net"}:        "helpers",
		{path: "tracker/key.go", name: "common"}:              "common",
		{path: "tcp/x_test.go", name: "types_test"}:           "types",
	} {
		if got := emptyName(*f); got != want {
			t.Errorf("emptyName(%s, package %s) = %q, want %q", f.path, f.name, got, want)
		}
	}
}
