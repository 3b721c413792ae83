package tracker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/tracker"
)

// odd tells what is odd about the newest connection: which end sent what, how often, and first in which packet.
func (tr *trace) odd() string {
	var told []string
	c := tr.connection(0)
	for role, e := range c.Ends {
		for what, o := range e.Odd {
			if o.Count > 0 {
				name := [...]string{"invalid flags", "SYN inside", "port reused", "challenge ACK", "data after FIN"}[what]
				told = append(told, fmt.Sprintf("%s: %s ×%d, %d", [...]string{"client", "server"}[role], name, o.Count, o.First.Packet))
			}
		}
	}
	return strings.Join(told, "; ")
}

func TestOddities(t *testing.T) {
	const closed = established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	1.011  client  ACK      seq=112 ack=302
	`
	const into = `
	2.000  client  SYN      seq=4000000
	`
	for _, c := range []struct{ name, script, want string }{
		{"nothing", established, ""},
		{"SYN with FIN", `
	0.000  client  SYN,FIN  seq=100
	0.001  client  SYN,FIN  seq=100
		`, "client: invalid flags ×2, 1"},

		{"data beyond the FIN, not what lies before it, nor an ACK", closed + `
	1.100  client  ACK      seq=112 ack=302 len=5
	1.200  client  ACK      seq=101 ack=302 len=10
	1.300  client  FIN,ACK  seq=101 ack=302 len=10
	1.400  client  ACK      seq=117 ack=302
		`, "client: data after FIN ×1, 9"},

		{"an ACK that answers a RST in the window", established + `
	1.000  server  RST      seq=700
	2.000  client  ACK      seq=111 ack=301
	2.000  client  ACK      seq=111 ack=301
		`, "client: challenge ACK ×1, 7"},
		{"not later than a second", established + `
	1.000  server  RST      seq=700
	2.001  client  ACK      seq=111 ack=301
		`, ""},
		{"not of a RST that is exact", established + `
	1.000  server  RST      seq=301
	1.010  client  ACK      seq=111 ack=301
		`, ""},
		{"not the ACK that completes the handshake", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	0.011  server  RST      seq=700
	0.012  client  ACK      seq=101 ack=301
		`, ""},
		{"not a RST", established + `
	1.000  server  RST      seq=700
	1.010  client  RST,ACK  seq=111 ack=301
		`, ""},
		{"not a keep-alive", established + `
	1.000  server  RST      seq=700
	1.010  client  ACK      seq=110 ack=301
		`, ""},

		{"a SYN into ESTABLISHED", established + into, "client: SYN inside ×1, 6"},
		{"a SYN into FIN_WAIT_1", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	` + into, "client: SYN inside ×1, 7"},
		{"a SYN into FIN_WAIT_2", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.010  client  ACK      seq=111 ack=302
	` + into, "client: SYN inside ×1, 8"},
		{"a SYN into CLOSE_WAIT", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	` + into, "client: SYN inside ×1, 8"},
		{"a SYN into CLOSING", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.001  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=302 ack=112
	` + into, "client: SYN inside ×1, 9"},
		{"a SYN into LAST_ACK", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	` + into, "client: SYN inside ×1, 8"},
		{"a SYN where all is closed", closed + into, "client: port reused ×1, 9"},
		{"a SYN after one that nobody answered", `
	0.000  client  SYN      seq=100
	` + into, ""},
		{"a SYN-ACK is another's answer", closed + `
	2.000  server  SYN,ACK  seq=7000000 ack=4000001
		`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, play(t, c.script).odd()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheConnectionThatASYNComesIntoChallengesIt(t *testing.T) {
	tr := play(t, established+`
	2.000  client  SYN      seq=4000000
	2.010  server  ACK      seq=301 ack=111
	`)
	old := tr.connection(1)
	if got := old.Ends[tracker.Server].Odd[tracker.ChallengeACK]; got.Count != 1 || got.First.Packet != 7 {
		t.Errorf("%+v, want one challenge in packet 7", got)
	}
}
