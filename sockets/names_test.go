package sockets

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"nginx", 64, "nginx"},
		{"\x1b[31mred\x1b[0m", 64, "�[31mred�[0m"},
		{"two\nlines", 64, "two�lines"},
		{"invoice\u202etxt.exe", 64, "invoice�txt.exe"},
		{"\xff\xfe", 64, "�"},
		{"12345", 5, "12345"},
		{"123456", 5, "1234…"},
		{"ääääää", 5, "ääää…"},
		{"", 5, ""},
	} {
		if got := clean(tt.in, tt.n); got != tt.want {
			t.Errorf("clean(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		args    string // separated by |
		program string
		all     string
	}{
		{"nginx", "nginx", "nginx"},
		{"/usr/bin/mysql|-uroot|-psecret|shop", "/usr/bin/mysql …", "/usr/bin/mysql -uroot -psecret shop"},
		{"java|-Xmx2g|-Dpassword=secret|-jar|/srv/app.jar|--token|secret", "java … /srv/app.jar …",
			"java -Xmx2g -Dpassword=secret -jar /srv/app.jar --token secret"},
		{"python3|server.py", "python3 server.py", "python3 server.py"},
		{"python3|server.py|extra.py", "python3 server.py …", "python3 server.py extra.py"},
		{"node|--key=secret.js", "node …", "node --key=secret.js"},
		{"postgres: shop shop 10.0.0.7(53124) idle", "postgres: shop shop 10.0.0.7(53124) idle", "postgres: shop shop 10.0.0.7(53124) idle"},
		{"\x1b]0;title\a|x", "�]0;title� …", "�]0;title� x"},
		{"", "", ""},
		{"|x", " …", " x"},
	} {
		cmdline := []byte(strings.ReplaceAll(tt.args, "|", "\x00") + "\x00")
		for detail, want := range map[CommandDetail]string{ProgramOnly: tt.program, WithArguments: tt.all, NoCommand: ""} {
			if got := command(cmdline, detail); got != want {
				t.Errorf("command(%q, %d) = %q, want %q", cmdline, detail, got, want)
			}
		}
	}
}

func TestOwner(t *testing.T) {
	id := strings.Repeat("3f2a9c1b", 8)
	for _, tt := range []struct{ name, cgroup, container, unit string }{
		{"service", "0::/system.slice/nginx.service\n", "", "nginx.service"},
		{"service of a user", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n", "", "shop.service"},
		{"session", "0::/user.slice/user-0.slice/session-3.scope\n", "", "session-3.scope"},
		{"below a service", "0::/system.slice/shop.service/worker\n", "", "shop.service"},
		{"docker", "0::/system.slice/docker-" + id + ".scope\n", "docker 3f2a9c1b3f2a", ""},
		{"docker without systemd", "0::/docker/" + id + "\n", "docker 3f2a9c1b3f2a", ""},
		{"systemd in docker", "0::/system.slice/docker-" + id + ".scope/system.slice/nginx.service\n", "docker 3f2a9c1b3f2a", "nginx.service"},
		{"containerd under Kubernetes", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + id + ".scope\n",
			"containerd 3f2a9c1b3f2a", ""},
		{"Kubernetes without systemd", "0::/kubepods/besteffort/pod1/" + id + "\n", "kubernetes 3f2a9c1b3f2a", ""},
		{"cri-o", "0::/kubepods.slice/crio-" + id + ".scope\n", "cri-o 3f2a9c1b3f2a", ""},
		{"the monitor of cri-o's container", "0::/system.slice/crio-conmon-" + id + ".scope\n", "", "crio-conmon-" + id + ".scope"},
		{"podman", "0::/machine.slice/libpod-" + id + ".scope/container\n", "podman 3f2a9c1b3f2a", ""},
		{"podman of a user", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope\n", "podman 3f2a9c1b3f2a", "user@1000.service"},
		{"lxc", "0::/lxc.payload.web1/system.slice/nginx.service\n", "lxc web1", "nginx.service"},
		{"lxc, version 1", "4:memory:/lxc/web1\n1:name=systemd:/lxc/web1\n", "lxc web1", ""},
		{"unknown runtime", "0::/ecs/task/" + id + "\n", "container 3f2a9c1b3f2a", ""},
		{"version 1", "9:memory:/docker/" + id + "\n1:name=systemd:/system.slice/ssh.service\n", "docker 3f2a9c1b3f2a", "ssh.service"},
		{"other hierarchies name no unit", "9:memory:/system.slice/ssh.service\n", "", ""},
		{"root", "0::/\n", "", ""},
		{"hostile", "0::/\x1b[2J.service\n", "", "�[2J.service"},
		{"malformed", "0\n::\n:::\n0::\n", "", ""},
	} {
		container, unit := owner([]byte(tt.cgroup))
		if container != tt.container || unit != tt.unit {
			t.Errorf("%s: container %q, unit %q, want %q, %q", tt.name, container, unit, tt.container, tt.unit)
		}
	}
}

func TestStartTicks(t *testing.T) {
	const rest = " S 1 42 42 0 -1 4194560 1 0 0 0 7 2 0 0 20 0 3 0 918273 1 2 3"
	for _, name := range []string{"nginx", "a b", ") S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 5 (", "(((", "\n"} {
		if got, err := startTicks([]byte("42 (" + name + ")" + rest)); err != nil || got != 918273 {
			t.Errorf("named %q: %d, %v, want 918273", name, got, err)
		}
	}
	for _, bad := range []string{"", "42", "42 (x)", "42 (x) S 1 2", "42 (x S" + rest, strings.Replace("42 (x)"+rest, "918273", "soon", 1)} {
		if got, err := startTicks([]byte(bad)); err == nil {
			t.Errorf("startTicks(%q) = %d, want an error", bad, got)
		}
	}
}

func TestLinkInode(t *testing.T) {
	for link, want := range map[string]uint64{
		"socket:[4711]": 4711, "socket:[0]": 0, "socket:[4294967295]": 1<<32 - 1,
	} {
		if got, ok := linkInode([]byte(link), "socket"); !ok || got != want {
			t.Errorf("linkInode(%q) = %d, %v, want %d", link, got, ok, want)
		}
	}
	for _, link := range []string{"", "socket", "socket:", "socket:[", "socket:[]", "socket:[1", "socket:1]", "socket:[x]", "pipe:[1]",
		"/tmp/socket:[1]", "socket:[-1]", "socket:[1] (deleted)", "socket:[99999999999999999999999999]"} {
		if got, ok := linkInode([]byte(link), "socket"); ok {
			t.Errorf("linkInode(%q) = %d, want none", link, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add([]byte("java\x00-jar\x00app.jar\x00"))
	f.Add([]byte("0::/system.slice/docker-" + strings.Repeat("0", 64) + ".scope\n"))
	f.Add([]byte("42 (x) S 1 42 42 0 -1 4194560 1 0 0 0 7 2 0 0 20 0 3 0 918273 1 2 3"))
	f.Add([]byte("socket:[4711]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(s string, n int) {
			if !utf8.ValidString(s) || utf8.RuneCountInString(s) > n || strings.ContainsAny(s, "\x00\x1b\n\r\u202e\u0085") {
				t.Errorf("%q is not fit to be shown in %d characters", s, n)
			}
		}
		check(command(b, ProgramOnly), maxCommand)
		check(command(b, WithArguments), maxCommand)
		container, unit := owner(b)
		check(container, maxCgroup)
		check(unit, maxCgroup)
		check(clean(string(b), maxName), maxName)
		startTicks(b)
		linkInode(b, "socket")
	})
}
