package main

import (
	"bytes"
	"context"
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the expected output instead of comparing with it")

// TestMain puts tcpleak, a receiver of its findings and a server that leaks, into the PATH of the tests: they are this binary under other names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tcpleak": main, "webhook-receiver": receiver, "leakyserver": leakyServer})
}

// tcpleak runs the command in this process.
func tcpleak(args ...string) (stdout, stderr string, status int) {
	var out, talk bytes.Buffer
	status = run(context.Background(), args, &out, &talk)
	return out.String(), talk.String(), status
}

func TestOneLine(t *testing.T) {
	for _, c := range []struct{ name, message, want string }{
		{"plain", "dump.pcap: no such file", "dump.pcap: no such file"},
		{"beyond ASCII", "größe.pcap: no such file", "größe.pcap: no such file"},
		{"space around", "  dump.pcap: no such file\n", "dump.pcap: no such file"},
		{"line end", "a\nb", "a b"},
		{"carriage return", "harmless\rwrong", "harmless�wrong"},
		{"tab", "a\tb", "a b"},
		{"terminal sequence", "\x1b[2Jdump.pcap", "�[2Jdump.pcap"},
		{"eight-bit terminal sequence", "\u009b2Jdump.pcap", "�2Jdump.pcap"},
		{"bell, backspace, delete", "\a\b\x7f", "���"},
		{"right-to-left override", "\u202epacp.pmud", "�pacp.pmud"},
		{"not UTF-8", "dump\xff.pcap", "dump�.pcap"},
	} {
		if got := oneLine(c.message); got != c.want {
			t.Errorf("%s: oneLine(%q) = %q, want %q", c.name, c.message, got, c.want)
		}
	}
}
