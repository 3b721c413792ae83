package deployment

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	unitFile   = "../../deploy/systemd/tcpleak.service"
	configFile = "/etc/tcpleak/tcpleak.yaml"
)

// maxExposure is what `systemd-analyze security` makes of the unit, in tenths of its scale from 0 (safe) to 10: 2.2. What
// remains is what the agent is for: capturing (AF_PACKET, CAP_NET_RAW, the host's network), naming processes (the other
// two capabilities, /proc), serving and sending.
const maxExposure = "22"

// capabilities are all that the agent may ever have.
var capabilities = []string{"CAP_DAC_READ_SEARCH", "CAP_NET_RAW", "CAP_SYS_PTRACE"}

// systemdAnalyze runs it on files, without the services of this machine.
func systemdAnalyze(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing: tools/install-deps.sh test installs it, with systemd, which does no harm where it is not the init already")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// unitThatRuns is a copy of the unit that starts a program which exists here: where tcpleak is not installed, verifying
// finds fault with that.
func unitThatRuns(t *testing.T) string {
	t.Helper()
	text := read(t, unitFile)
	stub := filepath.Join(t.TempDir(), "tcpleak")
	if err := os.WriteFile(stub, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// After "=" only: descriptions and directories have the name, too.
	text = strings.ReplaceAll(text, "=tcpleak agent", "="+stub+" agent")
	unit := filepath.Join(t.TempDir(), "tcpleak.service")
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return unit
}

// sortedWords takes each line apart: systemd does not mind the order.
func sortedWords(lines []string) [][]string {
	var words [][]string
	for _, line := range lines {
		words = append(words, slices.Sorted(strings.FieldsSeq(line)))
	}
	return words
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestSystemdUnderstandsTheUnit(t *testing.T) {
	output, err := systemdAnalyze(t, "verify", "--man=no", unitThatRuns(t))
	// What it cannot read, it leaves out with a warning, and still calls the unit good. Other units of this machine are
	// not ours to judge.
	for line := range strings.Lines(output) {
		if strings.Contains(line, "tcpleak") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, output)
	}
}

func TestSystemdFindsFaultInABrokenUnit(t *testing.T) {
	unit := unitThatRuns(t)
	text := strings.Replace(read(t, unit), "ProtectSystem=strict", "ProtectSystem=very", 1)
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if output, _ := systemdAnalyze(t, "verify", "--man=no", unit); !strings.Contains(output, "tcpleak.service") {
		t.Errorf("a value that does not exist goes unnoticed; output: %q", output)
	}
}

func TestUnitIsAsClosedAsItsComments(t *testing.T) {
	output, err := systemdAnalyze(t, "security", "--offline=true", "--no-pager", "--threshold="+maxExposure, unitThatRuns(t))
	if err != nil {
		t.Errorf("exposure above %s tenths (%v):\n%s", maxExposure, err, output)
	}
}

// settings are the values of a unit's lines, in order, by the name before "=".
func settings(unit string) map[string][]string {
	values := map[string][]string{}
	for line := range strings.Lines(unit) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(name, "#") {
			values[name] = append(values[name], value)
		}
	}
	return values
}

func TestUnitHasTheCapabilitiesOfTheAgentOnly(t *testing.T) {
	s := settings(read(t, unitFile))
	for _, name := range []string{"AmbientCapabilities", "CapabilityBoundingSet"} {
		if diff := cmp.Diff([][]string{capabilities}, sortedWords(s[name])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The unit and the package install and read one place.
func TestConfigurationStandsInOnePlace(t *testing.T) {
	s := settings(read(t, unitFile))
	for _, command := range []string{s["ExecStart"][0], s["ExecReload"][0]} {
		if !strings.HasSuffix(command, " -c "+configFile) {
			t.Errorf("%q does not read %s", command, configFile)
		}
	}
	if !strings.Contains(read(t, "../../deploy/README.md"), configFile) {
		t.Errorf("deploy/README.md does not say that the configuration is %s", configFile)
	}
}
