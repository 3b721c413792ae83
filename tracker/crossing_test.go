package tracker_test

import "testing"

// How long what an end sends may still ignore an ACK that has passed the capture: the time between capture and end, as the
// handshake shows it, half as much again, and 2 ms. A FIN that comes again later disputes its ACK.
func TestHowLongASegmentMayIgnoreTheACK(t *testing.T) {
	tell(t, []story{
		{"the client answered after 1 ms: within 3.5 ms", established + `
	1.0000  client  FIN,ACK  seq=111 ack=301
	1.0100  server  ACK      seq=301 ack=112
	1.0135  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"the client answered after 1 ms: not later", established + `
	1.0000  client  FIN,ACK  seq=111 ack=301
	1.0100  server  ACK      seq=301 ack=112
	1.0145  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"nor if the server was captured first", `
	0.0100  server  SYN,ACK  seq=300 ack=101
	0.0000  client  SYN      seq=100
	0.0110  client  ACK      seq=101 ack=301
	1.0000  client  FIN,ACK  seq=101 ack=301
	1.0100  server  ACK      seq=301 ack=102
	1.0145  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"the server answered after 10 ms: within 17 ms", established + `
	1.0000  server  FIN,ACK  seq=301 ack=111
	1.0010  client  ACK      seq=111 ack=302
	1.0170  server  FIN,ACK  seq=301 ack=111
	= CLOSE_WAIT! FIN_WAIT_2?
		`},
		{"the server answered after 10 ms: not later", established + `
	1.0000  server  FIN,ACK  seq=301 ack=111
	1.0010  client  ACK      seq=111 ack=302
	1.0190  server  FIN,ACK  seq=301 ack=111
	= CLOSE_WAIT! FIN_WAIT_1!
		`},
		{"the client answered after 2 s: within 1 s, as no path is longer", `
	0.0000  client  SYN      seq=100
	0.0100  server  SYN,ACK  seq=300 ack=101
	2.0100  client  ACK      seq=101 ack=301
	3.0000  client  FIN,ACK  seq=101 ack=301
	3.0100  server  ACK      seq=301 ack=102
	4.5000  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"the client answered after 100 ms: within 152 ms", `
	0.0000  client  SYN      seq=100
	0.0100  server  SYN,ACK  seq=300 ack=101
	0.1100  client  ACK      seq=101 ack=301
	1.0000  client  FIN,ACK  seq=101 ack=301
	1.0100  server  ACK      seq=301 ack=102
	1.1100  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"the server answered after 100 ms: within 152 ms", `
	0.0000  client  SYN      seq=100
	0.1000  server  SYN,ACK  seq=300 ack=101
	0.1010  client  ACK      seq=101 ack=301
	1.0000  server  FIN,ACK  seq=301 ack=101
	1.0010  client  ACK      seq=101 ack=302
	1.1000  server  FIN,ACK  seq=301 ack=101
	= CLOSE_WAIT! FIN_WAIT_2?
		`},
		{"a SYN-ACK that was answered when it came again", `
	0.0000  client  SYN      seq=100
	0.0100  server  SYN,ACK  seq=300 ack=101
	1.0100  server  SYN,ACK  seq=300 ack=101
	1.0120  client  ACK      seq=101 ack=301
	2.0000  client  FIN,ACK  seq=101 ack=301
	2.0100  server  ACK      seq=301 ack=102
	2.0300  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"a SYN-ACK that was answered before it came again", `
	0.0000  client  SYN      seq=100
	0.0100  server  SYN,ACK  seq=300 ack=101
	0.1100  client  ACK      seq=101 ack=301
	1.0100  server  SYN,ACK  seq=300 ack=101
	2.0000  client  FIN,ACK  seq=101 ack=301
	2.0100  server  ACK      seq=301 ack=102
	2.1100  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"a SYN-ACK sent three times was last answered after 100 ms", `
	0.0000  client  SYN      seq=100
	0.0100  server  SYN,ACK  seq=300 ack=101
	1.0100  server  SYN,ACK  seq=300 ack=101
	1.1100  client  ACK      seq=101 ack=301
	3.0100  server  SYN,ACK  seq=300 ack=101
	4.0000  client  FIN,ACK  seq=101 ack=301
	4.0100  server  ACK      seq=301 ack=102
	4.1100  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"a SYN-ACK whose first transmission was missed shows nothing", `
	0.0000  client  SYN      seq=100
	0.0110  client  ACK      seq=101 ack=301
	1.0100  server  SYN,ACK  seq=300 ack=101
	1.0110  client  ACK      seq=101 ack=301
	2.0000  client  FIN,ACK  seq=101 ack=301
	2.0100  server  ACK      seq=301 ack=102
	= FIN_WAIT_2? CLOSE_WAIT!
	2.0700  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"SYNs that crossed: not longer than from the first", `
	0.0000  client  SYN      seq=100
	0.0010  server  SYN      seq=300
	0.0030  client  SYN,ACK  seq=100 ack=301
	0.0040  server  SYN,ACK  seq=300 ack=101
	1.0000  client  FIN,ACK  seq=101 ack=301
	1.0100  server  ACK      seq=301 ack=102
	1.0400  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"SYNs that crossed, from afar: within 50 ms", `
	0.0000  client  SYN      seq=100
	0.0010  server  SYN      seq=300
	0.1000  client  SYN,ACK  seq=100 ack=301
	0.1010  server  SYN,ACK  seq=300 ack=101
	1.0000  client  FIN,ACK  seq=101 ack=301
	1.0100  server  ACK      seq=301 ack=102
	1.0700  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"no handshake: within 50 ms", `
	0.0000  client  FIN,ACK  seq=111 ack=301
	0.0100  server  ACK      seq=301 ack=112
	0.0500  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_2?? CLOSE_WAIT??
		`},
		{"no handshake: not later", `
	0.0000  client  FIN,ACK  seq=111 ack=301
	0.0100  server  ACK      seq=301 ack=112
	0.0700  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1?? CLOSE_WAIT??
		`},
	})
}
