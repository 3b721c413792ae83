package privilege

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReportIsOneLine(t *testing.T) {
	for want, r := range map[string]Report{
		"runs as alice (uid 1000) without capabilities; confined by Landlock, ABI 7": {User: "alice", UID: 1000, Landlock: 7},
		"runs as uid 4242 with cap_dac_read_search, cap_sys_ptrace, only while it reads processes; without Landlock, which would hide processes": {
			User: "4242", UID: 4242, Kept: []string{"cap_dac_read_search", "cap_sys_ptrace"},
			Notes: []string{"without Landlock, which would hide processes"},
		},
	} {
		if d := cmp.Diff(want, r.String()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func TestOnlyRefusalsAreExplained(t *testing.T) {
	r := Report{User: "alice", UID: 1000, Landlock: 7}
	refused := &fs.PathError{Op: "open", Path: "x.pcap", Err: fs.ErrPermission}
	err := r.Denied(refused)
	want := "open x.pcap: permission denied: once it captures, tcpleak runs as alice (uid 1000) and may write nowhere: " +
		"choose a directory of that user, or the user with --user"
	if d := cmp.Diff(want, err.Error()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if !errors.Is(err, refused) {
		t.Error("not wrapped")
	}
	if err := r.Denied(nil); err != nil {
		t.Error(err)
	}
	full := &fs.PathError{Op: "write", Path: "x.pcap", Err: errors.New("no space left on device")}
	if err := r.Denied(full); err != error(full) {
		t.Error(err)
	}
}
