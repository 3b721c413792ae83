package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWebDirs(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string][]string{
		"basic_auth_users: {reader: x}\n": {dir},
		"tls_server_config: {cert_file: tls.crt, key_file: private/tls.key, client_ca_file: /etc/ssl/ca.pem}\n": {dir, dir, filepath.Join(dir, "private"), "/etc/ssl"},
		"nonsense: [\n": {dir},
	} {
		path := filepath.Join(dir, "web.yml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, WebDirs(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	if got := WebDirs(filepath.Join(dir, "none", "web.yml")); len(got) != 1 {
		t.Errorf("of a file that is not there: %q", got)
	}
	if got := WebDirs(""); got != nil {
		t.Errorf("of none: %q", got)
	}
}
