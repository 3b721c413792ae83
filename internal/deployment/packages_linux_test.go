package deployment

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// packaged are the files, with their modes, that both packages must have; each has more of the same kinds.
var packaged = map[string]string{
	"/etc/tcpleak/tcpleak.yaml":                         "-rw-r--r--",
	"/usr/bin/tcpleak":                                  "-rwxr-xr-x",
	"/usr/lib/systemd/system/tcpleak.service":           "-rw-r--r--",
	"/usr/share/bash-completion/completions/tcpleak":    "-rw-r--r--",
	"/usr/share/doc/tcpleak/copyright":                  "-rw-r--r--",
	"/usr/share/fish/vendor_completions.d/tcpleak.fish": "-rw-r--r--",
	"/usr/share/man/man1/tcpleak.1.gz":                  "-rw-r--r--",
}

var makePackages = sync.OnceValues(func() (output []byte, err error) {
	cmd := exec.Command("tools/release-packages.sh", "v1.2.3-5-g0abcdef", releaseDir)
	cmd.Dir = top
	return cmd.CombinedOutput()
})

// onePackage makes the packages, and returns the file that the pattern matches.
func onePackage(t *testing.T, pattern string) string {
	t.Helper()
	dir := released(t)
	if out, err := makePackages(); err != nil {
		if strings.Contains(string(out), "dial tcp") || strings.Contains(string(out), "module lookup disabled") {
			t.Skipf("nfpm is not here, and cannot be fetched: let Go reach its module proxy\n%s", out)
		}
		t.Fatalf("tools/release-packages.sh: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q (%v)", pattern, found, err)
	}
	return found[0]
}

func ask(t *testing.T, program, remedy string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is missing: %s", program, remedy)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// modes reads listings in the manner of ls -l, keeping what packaged has.
func modes(listing string) map[string]string {
	got := map[string]string{}
	for line := range strings.Lines(listing) {
		words := strings.Fields(line)
		name := strings.TrimPrefix(words[len(words)-1], ".")
		if _, wanted := packaged[name]; wanted {
			got[name] = words[0]
			if !slices.Contains(words, "root/root") && !(slices.Index(words, "root") == 2 && words[3] == "root") {
				got[name] += ", not root's"
			}
		}
	}
	return got
}

func TestDebHoldsEverything(t *testing.T) {
	file := onePackage(t, "tcpleak_1.2.3+5.g0abcdef_*.deb")
	const remedy = "install dpkg"
	if diff := cmp.Diff(packaged, modes(ask(t, "dpkg-deb", remedy, "-c", file))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got := ask(t, "dpkg-deb", remedy, "-I", file, "conffiles"); got != configFile+"\n" {
		t.Errorf("of the files, dpkg keeps those that a user has changed: %q, want %s", got, configFile)
	}
}

func TestRpmHoldsEverything(t *testing.T) {
	file := onePackage(t, "tcpleak-1.2.3+5.g0abcdef-1.*.rpm")
	const remedy = "install rpm (Debian has it, too)"
	if diff := cmp.Diff(packaged, modes(ask(t, "rpm", remedy, "-qplv", file))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got := ask(t, "rpm", remedy, "-qpc", file); got != configFile+"\n" {
		t.Errorf("of the files, rpm keeps those that a user has changed: %q, want %s", got, configFile)
	}
}

// Into a directory of its own, with the scripts, and away again.
func TestDebInstallsAndGoes(t *testing.T) {
	file := onePackage(t, "*.deb")
	needRoot(t, "for dpkg")
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg := func(args ...string) {
		t.Helper()
		// The directory has no shell that the scripts could run in. They run in this system's, and leave its services alone,
		// since dpkg tells them DPKG_ROOT.
		ask(t, "dpkg", "install dpkg", append([]string{"--root=" + root, "--force-script-chrootless", "--force-not-root", "--log=" + filepath.Join(root, "log")}, args...)...)
	}
	dpkg("--install", file)
	out, err := exec.Command(filepath.Join(root, "usr/bin/tcpleak"), "--version").CombinedOutput()
	if err != nil {
		t.Errorf("the installed program: %v, %s", err, out)
	}
	changed := filepath.Join(root, configFile)
	if err := os.WriteFile(changed, []byte("max_memory: 64MiB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg("--remove", "tcpleak")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/tcpleak")); !os.IsNotExist(err) {
		t.Errorf("removed, the program is still there (%v)", err)
	}
	if got := read(t, changed); got != "max_memory: 64MiB\n" {
		t.Errorf("removed, the user's configuration is %q", got)
	}
}
