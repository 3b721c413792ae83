package deployment

import (
	"os/exec"
	"testing"
)

// What checks the manifests is a module of its own, which `go test ./...` does not enter.
func TestManifestsFitTheAPI(t *testing.T) {
	run := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = "kubernetes"
		return cmd.CombinedOutput()
	}
	if out, err := run("mod", "download"); err != nil {
		t.Skipf("the types of the Kubernetes API are not here: `go -C internal/deployment/kubernetes mod download` failed (%v): %s", err, out)
	}
	for _, args := range [][]string{{"vet", "./..."}, {"test", "./..."}} {
		if out, err := run(args...); err != nil {
			t.Errorf("go %s in internal/deployment/kubernetes: %v\n%s", args[0], err, out)
		}
	}
}
