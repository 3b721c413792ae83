package sockets

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tcpleak/printable"
)

// Bounds on the texts of a process, in characters.
const (
	maxName    = 64
	maxCommand = 256
	maxCgroup  = 128
)

// clean returns s in at most n characters, fit for a terminal.
func clean(s string, n int) string {
	s = printable.Clean(s)
	count := 0
	for i := range s {
		if count++; count == n && utf8.RuneCountInString(s[i:]) > 1 {
			return s[:i] + "…"
		}
	}
	return s
}

// command shows what /proc/PID/cmdline holds: arguments that end in NUL, or one text if the program wrote its own title.
func command(cmdline []byte, detail CommandDetail) string {
	args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	switch detail {
	case NoCommand:
		return ""
	case WithArguments:
		return clean(strings.Join(args, " "), maxCommand)
	}
	shown := []string{args[0]}
	omit := func() {
		if shown[len(shown)-1] != "…" {
			shown = append(shown, "…")
		}
	}
	script := false
	for _, arg := range args[1:] {
		// The first only: what follows are its own arguments.
		if !script && isScript(arg) {
			script = true
			shown = append(shown, arg)
			continue
		}
		omit()
	}
	return clean(strings.Join(shown, " "), maxCommand)
}

// scriptSuffixes end the names of files that an interpreter runs. A secret hardly does.
var scriptSuffixes = []string{
	".jar", ".war", ".py", ".pyz", ".js", ".mjs", ".cjs", ".ts", ".rb", ".ru", ".pl", ".psgi", ".php", ".sh", ".dll", ".lua", ".tcl",
	".exs", ".R",
}

func isScript(arg string) bool {
	return !strings.HasPrefix(arg, "-") && !strings.ContainsAny(arg, "=@: ") && slices.Contains(scriptSuffixes, path.Ext(arg))
}

// runtimes are the prefixes that container runtimes give to the name of a container's cgroup, before 64 hexadecimal digits.
var runtimes = []struct{ prefix, name string }{
	{"docker-", "docker"},
	{"cri-containerd-", "containerd"},
	{"containerd-", "containerd"},
	{"crio-", "cri-o"},
	{"libpod-", "podman"},
}

// owner reads /proc/PID/cgroup, of version 1, 2 or both: the container that the process is in, and systemd's unit. Each line
// is "number:controllers:path".
func owner(cgroup []byte) (container, unit string) {
	for line := range bytes.Lines(cgroup) {
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		parts := strings.Split(fields[2], "/")
		for i, part := range slices.Backward(parts) {
			above := parts[:i]
			name, isContainer := containerName(above, part)
			if isContainer && container == "" {
				container = clean(name, maxCgroup)
			}
			systemd := fields[1] == "" || fields[1] == "name=systemd"
			if systemd && unit == "" && !isContainer && (strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope")) {
				unit = clean(part, maxCgroup)
			}
		}
	}
	return container, unit
}

// containerName tells from a part of a cgroup's path, and those above it, whether it is a container's.
func containerName(above []string, part string) (string, bool) {
	if name, ok := strings.CutPrefix(part, "lxc.payload."); ok && name != "" {
		return "lxc " + name, true
	}
	if len(above) > 0 && above[len(above)-1] == "lxc" && part != "" {
		return "lxc " + part, true
	}
	id := strings.TrimSuffix(part, ".scope")
	for _, r := range runtimes {
		if rest, ok := strings.CutPrefix(id, r.prefix); ok && isContainerID(rest) {
			return r.name + " " + rest[:12], true
		}
	}
	if !isContainerID(id) {
		return "", false
	}
	// The runtime's own driver names the cgroup by the digits alone, and what is above says whose it is.
	for _, parent := range above {
		switch {
		case parent == "docker":
			return "docker " + id[:12], true
		case strings.HasPrefix(parent, "kubepods"):
			return "kubernetes " + id[:12], true
		case strings.HasPrefix(parent, "libpod"):
			return "podman " + id[:12], true
		}
	}
	return "container " + id[:12], true
}

func isContainerID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// startTicks reads /proc/PID/stat: when the process started, in hundredths of a second since the host did. With its PID it
// names a process for good. The second field is the name in parentheses, and may hold any octet, parentheses too.
func startTicks(stat []byte) (uint64, error) {
	const startTime = 22 // the field's number, from 1
	end := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	if end < 0 || len(fields) <= startTime-3 {
		return 0, errors.New("not what /proc/PID/stat looks like")
	}
	return strconv.ParseUint(string(fields[startTime-3]), 10, 64)
}

// linkInode reads where a link in /proc leads: "socket:[4711]" for kind "socket".
func linkInode(link []byte, kind string) (uint64, bool) {
	rest, ok := bytes.CutPrefix(link, []byte(kind))
	if !ok || len(rest) < 4 || rest[0] != ':' || rest[1] != '[' || rest[len(rest)-1] != ']' {
		return 0, false
	}
	var n uint64
	for _, c := range rest[2 : len(rest)-1] {
		if c < '0' || c > '9' || n > 1<<59 {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	return n, true
}
