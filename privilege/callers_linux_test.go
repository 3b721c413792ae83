package privilege

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWithoutRootDropIsHarmless(t *testing.T) {
	asRoot(t) // to become somebody else
	setpriv := program(t, "setpriv", "util-linux")
	got := inChild(t, start{
		wrap: []string{setpriv, "--reuid=4242", "--regid=4242", "--clear-groups", "--inh-caps=-all"},
		env:  []string{"SUDO_UID=4343"},
	}, func() Report {
		r := dropped(Config{Processes: true})
		if _, err := os.ReadFile("/proc/self/status"); err != nil {
			r.Notes = append(r.Notes, err.Error())
		}
		return r
	})
	diff(t, "line", "runs as uid 4242 without capabilities; without cap_dac_read_search and cap_sys_ptrace, sees only its "+
		"own user's processes; without Landlock, which would hide processes", got.String())
	diff(t, "dropped", []string(nil), got.Dropped)
}

func TestWithoutRootOneStaysWhoOneIs(t *testing.T) {
	asRoot(t)
	setpriv := program(t, "setpriv", "util-linux")
	got := inChild(t, start{wrap: []string{setpriv, "--reuid=4242", "--regid=4242", "--clear-groups", "--inh-caps=-all"}}, func() string {
		_, err := Drop(Config{User: "nobody"})
		return err.Error()
	})
	diff(t, "error", "giving up privileges: cannot become nobody: operation not permitted: it takes root, or cap_setuid and cap_setgid", got)
}

// As systemd starts a service with User= and AmbientCapabilities=, and as a file with capabilities is started.
func TestCapabilitiesWithoutRootAreGivenUp(t *testing.T) {
	asRoot(t)
	setpriv := program(t, "setpriv", "util-linux")
	const caps = "+net_raw,+sys_ptrace,+dac_read_search"
	type result struct {
		Report Report
		Rights map[string]int
	}
	got := inChild(t, start{
		wrap: []string{setpriv, "--reuid=4242", "--regid=4242", "--clear-groups", "--inh-caps=-all," + caps, "--ambient-caps=-all," + caps},
	}, func() result {
		return result{dropped(Config{Processes: true}), rightsOfThreads()}
	})
	diff(t, "dropped", []string{"cap_net_raw"}, got.Report.Dropped)
	diff(t, "kept", []string{"cap_dac_read_search", "cap_sys_ptrace"}, got.Report.Kept)
	if len(got.Rights) != 1 {
		t.Errorf("%d kinds of threads", len(got.Rights))
	}
	for rights := range got.Rights {
		for _, part := range []string{"Uid 4242 4242 4242 4242\n", "CapPrm 0000000000080004\nCapEff 0000000000000000\n", "CapInh 0000000000000000\n", "CapAmb 0000000000000000\n"} {
			if !strings.Contains(rights, part) {
				t.Errorf("no %q in:\n%s", part, rights)
			}
		}
	}
}

// As `make install SETCAP=processes GROUP=…` leaves it.
func TestAFileWithCapabilitiesUsesThemForNothingElse(t *testing.T) {
	asRoot(t)
	setpriv := program(t, "setpriv", "util-linux")
	program(t, "setcap", "libcap2-bin (libcap on Fedora, libcap-setcap on Alpine)")
	path := filepath.Join(directory(t, "setcap", 0, 0o755), "privilege.test")
	if !isChild {
		copyOfThis(t, path)
		said, err := exec.Command("../tools/setcap.sh", path, "processes", "4545").CombinedOutput()
		switch {
		case strings.Contains(string(said), "nosuid") || strings.Contains(string(said), "not supported"):
			t.Skipf("set TMPDIR to another file system: %s", said)
		case err != nil:
			t.Fatalf("%v: %s", err, said)
		}
		stranger := exec.Command(path, "-test.run=^$")
		stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4242, Gid: 4242}}
		diff(t, "for who is not in the group", "permission denied", reason(stranger.Run()))
	}
	parent := os.Getppid()
	type result struct {
		Before, SetAside, Capture, Within, Dropped, Later string
		Rights                                            int
	}
	shadow := func() string {
		f, err := os.Open("/etc/shadow")
		f.Close()
		return reason(err)
	}
	got := inChild(t, start{wrap: []string{setpriv, "--reuid=4242", "--regid=4242", "--groups=4545"}, path: path}, func() result {
		r := result{Before: shadow()}
		if err := SetAside(); err != nil {
			panic(err)
		}
		threads(8)
		r.Rights = len(rightsOfThreads())
		r.SetAside = shadow()
		_, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		r.Capture = reason(err)
		ReadProcesses(func() { r.Within = seen(parent) })
		r.Dropped = strings.Join(dropped(Config{Processes: true}).Dropped, ",")
		ReadProcesses(func() { r.Later = seen(parent) })
		return r
	})
	diff(t, "what happens", result{
		Before: "allowed", SetAside: "permission denied", Capture: "allowed", Within: "seen", Dropped: "cap_net_raw", Later: "seen",
		Rights: 1,
	}, got)
}

func TestSetAsideLeavesRootAlone(t *testing.T) {
	asRoot(t)
	diff(t, "set aside", "allowed, then allowed", inChild(t, start{}, func() string {
		try := func() string {
			f, err := os.Open("/etc/shadow")
			f.Close()
			return reason(err)
		}
		before := try()
		if err := SetAside(); err != nil {
			return err.Error()
		}
		return before + ", then " + try()
	}))
}

// copyOfThis writes this program, for everybody to run.
func copyOfThis(t *testing.T, path string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(path, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Some containers' root, and some user namespaces', is nobody else.
func TestRootThatCannotChangeUsersGivesUpTheRest(t *testing.T) {
	asRoot(t)
	for name, wrap := range map[string][]string{
		"no cap_setuid":  {program(t, "setpriv", "util-linux"), "--bounding-set=-setuid", "--inh-caps=-all"},
		"user namespace": {program(t, "unshare", "util-linux"), "--user", "--map-root-user"},
	} {
		t.Run(name, func(t *testing.T) {
			type result struct {
				Report   Report
				Attempts map[string]string
				Line     string
			}
			if name == "user namespace" && exec.Command(wrap[0], append(wrap[1:], "true")...).Run() != nil {
				t.Skip("this kernel allows no user namespaces: sysctl -w user.max_user_namespaces=10000")
			}
			got := inChild(t, start{wrap: wrap}, func() result {
				r := dropped(Config{})
				return result{r, attempts(), r.String()}
			})
			diff(t, "uid", 0, got.Report.UID)
			if !strings.HasPrefix(got.Line, "runs as root (uid 0) without capabilities; ") || !strings.Contains(got.Line, "; stays root, since this root may not become nobody (") {
				t.Errorf("line: %s", got.Line)
			}
			for what, answer := range got.Attempts {
				if answer == "allowed" && !(what == "open /etc/shadow" && got.Report.Landlock == 0) {
					t.Errorf("%s: allowed", what)
				}
			}
		})
	}
}

// Its environment is its caller's, who must not get at a third user's files through it.
func TestASetUserIDProgramGoesBackToItsCaller(t *testing.T) {
	asRoot(t)
	setpriv := program(t, "setpriv", "util-linux")
	dir := directory(t, "setuid", 0, 0o755)
	path := filepath.Join(dir, "privilege.test")
	if !isChild {
		copyOfThis(t, path)
		if err := os.Chmod(path, 0o755|os.ModeSetuid); err != nil {
			t.Fatal(err)
		}
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0 {
			t.Skip("TMPDIR is mounted nosuid: set it to another directory")
		}
	}
	type result struct {
		Before int
		Rights map[string]int
	}
	got := inChild(t, start{
		wrap: []string{setpriv, "--reuid=4242", "--regid=4242", "--clear-groups", "--inh-caps=-all"},
		path: path,
		env:  []string{"SUDO_UID=4343", "SUDO_GID=4343"},
	}, func() result {
		r := result{Before: os.Geteuid()}
		dropped(Config{})
		r.Rights = rightsOfThreads()
		return r
	})
	diff(t, "effective before", 0, got.Before)
	want := rights("4242", "4242", "", "0000000000000000")
	if len(got.Rights) != 1 || got.Rights[want] == 0 {
		t.Errorf("want\n%s\ngot %v", want, got.Rights)
	}
}

// libpsx would kill the process.
func TestWithoutProcNothingIsTried(t *testing.T) {
	asRoot(t)
	unshare, sh := program(t, "unshare", "util-linux"), program(t, "sh", "a shell")
	dir := directory(t, "noproc", 0, 0o755)
	path := filepath.Join(dir, "privilege.test")
	if !isChild {
		copyOfThis(t, path)
	}
	got := inChild(t, start{
		wrap: []string{unshare, "--mount", sh, "-c", `mount -t tmpfs none /proc && exec "$@"`, "sh"},
		path: path,
	}, func() string {
		_, err := Drop(Config{})
		return err.Error()
	})
	diff(t, "error", "giving up privileges: /proc does not show this process: mount -t proc proc /proc in its namespaces, and try again", got)
}

func TestReportNamesWhatWent(t *testing.T) {
	asRoot(t)
	got := inChild(t, start{}, func() Report { return dropped(Config{Processes: true}) })
	diff(t, "user", "nobody", got.User)
	diff(t, "kept", []string{"cap_dac_read_search", "cap_sys_ptrace"}, got.Kept)
	all := "," + strings.Join(got.Dropped, ",") + ","
	if !strings.Contains(all, ",cap_net_raw,") || strings.Contains(all, ",cap_sys_ptrace,") {
		t.Errorf("dropped: %s", all)
	}
}
