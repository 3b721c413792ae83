package privilege

import (
	"os/user"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhomToBecome(t *testing.T) {
	nobody := account{name: "65534", uid: 65534, gid: 65534}
	if u, err := user.Lookup("nobody"); err == nil {
		a, err := listed(u)
		if err != nil {
			t.Fatal(err)
		}
		nobody = *a
	}
	for name, tt := range map[string]struct {
		wanted    string
		uid, euid int
		env       map[string]string
		want      *account // nil: nobody else
	}{
		"root":                      {"", 0, 0, nil, &nobody},
		"root by sudo":              {"", 0, 0, map[string]string{"SUDO_UID": "4242", "SUDO_GID": "4343"}, &account{name: "4242", uid: 4242, gid: 4343}},
		"root by sudo of root":      {"", 0, 0, map[string]string{"SUDO_UID": "0", "SUDO_GID": "0"}, &nobody},
		"root by pkexec":            {"", 0, 0, map[string]string{"PKEXEC_UID": "4242"}, &account{name: "4242", uid: 4242, gid: 4242}},
		"root by doas":              {"", 0, 0, map[string]string{"DOAS_USER": nobody.name}, &nobody},
		"a user":                    {"", 4242, 4242, map[string]string{"SUDO_UID": "4343"}, nil},
		"a user of a setuid file":   {"", 4242, 0, map[string]string{"SUDO_UID": "4343"}, &account{name: "4242", uid: 4242, gid: 77}},
		"root for a number":         {"4242", 0, 0, map[string]string{"SUDO_UID": "4343"}, &account{name: "4242", uid: 4242, gid: 4242}},
		"root for root":             {"0", 0, 0, map[string]string{"SUDO_UID": "4343"}, nil},
		"a user for the same":       {"4242", 4242, 4242, nil, nil},
		"a user for another":        {"4343", 4242, 4242, nil, &account{name: "4343", uid: 4343, gid: 4343}},
		"a setuid file for oneself": {"4242", 4242, 0, nil, &account{name: "4242", uid: 4242, gid: 4242}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(tt.wanted, caller{uid: tt.uid, euid: tt.euid, gid: 77, getenv: func(name string) string { return tt.env[name] }})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(account{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestAUserWhoDoesNotExistIsAnError(t *testing.T) {
	for _, name := range []string{"no such user", "-1", "4294967295", "99999999999999999999", "\x1b[31m"} {
		a, err := choose(name, caller{getenv: func(string) string { return "" }})
		if err == nil {
			t.Errorf("%q: %+v", name, a)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "there is no user ") || strings.ContainsRune(text, '\x1b') {
			t.Errorf("%q: %q", name, text)
		}
	}
	_, err := choose("", caller{getenv: func(name string) string { return map[string]string{"SUDO_UID": "x"}[name] }})
	want := `SUDO_UID: there is no user "x": name one of getent passwd, or a number`
	if err == nil || err.Error() != want {
		t.Errorf("want %s, got %v", want, err)
	}
}
