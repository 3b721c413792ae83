package tracker_test

import "testing"

// Each state comes with the segment that it rests on, and with the time of its beginning.
func TestWhyAndSince(t *testing.T) {
	tell(t, []story{
		{"SYN_SENT and nothing", `
	0.000  client  SYN      seq=100
	: client its SYN in packet 1 has not been answered by a SYN-ACK that it acknowledged
	: server it sent nothing
	@ client 0.000
	@ server 0.000
		`},
		{"a client that gave up", `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=100
	9.000  =       CLOSED? UNKNOWN??
	: client it has long ceased to repeat its SYN, first sent in packet 1: it gave up
	@ client 4.500
		`},
		{"SYN_RCVD", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	: server its SYN in packet 2 has not been acknowledged
	@ server 0.010
		`},
		{"SYN_RCVD after the ACK has passed", handshake + `
	1.010  server  SYN,ACK  seq=300 ack=101
	: server it repeated its SYN, first sent in packet 2, after the ACK had passed: the ACK has not taken effect
	@ server 0.010
		`},
		{"ESTABLISHED", handshake + `
	: client it acknowledged the peer's SYN in packet 3
	: server packet 3 acknowledged its SYN
	@ client 0.011
	@ server 0.011
		`},
		{"ESTABLISHED, also when it has sent something", established + `
	: client it acknowledged the peer's SYN in packet 3
	: server packet 3 acknowledged its SYN
		`},
		{"neither SYN nor ACK", `
	0.000  client  FIN      seq=100
	: client what it sent, up to packet 1, has neither SYN nor ACK and belongs to no connection
	: server it sent nothing
	@ client 0.000
		`},
		{"ESTABLISHED by a simultaneous open", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.010  client  SYN,ACK  seq=100 ack=301
	0.011  server  SYN,ACK  seq=300 ack=101
	: client packet 4 acknowledged its SYN
	: server packet 3 acknowledged its SYN
		`},
		{"ESTABLISHED since before the capture", `
	0.000  client  ACK      seq=101 ack=301 len=10
	0.010  server  ACK      seq=301 ack=111
	: client the connection was open when it was first seen, in packet 1
	@ client 0.000 at least
	@ server 0.000 at least
		`},
		{"an end that was not captured", `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	0.500  client  ACK      seq=101 ack=401
	: client inferred from what it sent up to packet 3; the peer was not captured
	: server not captured; inferred from what the peer sent up to packet 3
	@ client 0.500 at least
	@ server 0.500 at least
		`},
		{"FIN_WAIT_1 and CLOSE_WAIT", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	: client its FIN in packet 6 has not been acknowledged
	@ client 1.000
	1.010  server  ACK      seq=301 ack=112
	: client packet 7 acknowledged its FIN; the peer has not sent one that it acknowledged
	: server it acknowledged the peer's FIN in packet 7 and has not sent its own
	@ client 1.010
	@ server 1.010
	1.300  client  FIN,ACK  seq=111 ack=301
	: client it repeated its FIN, first sent in packet 6, after the ACK had passed: the ACK did not arrive
	@ client 1.000
		`},
		{"LAST_ACK and TIME_WAIT", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	: server its FIN in packet 7 answered the peer's, and has not been acknowledged
	@ server 1.010
	1.011  client  ACK      seq=112 ack=302
	: client both FINs are acknowledged, the last in packet 8, and it closed first
	: server packet 8 acknowledged its FIN, which answered the peer's
	@ client 1.011
	@ server 1.011
	1.300  server  FIN,ACK  seq=301 ack=112
	: server it repeated its FIN, first sent in packet 7, after the ACK had passed: the ACK did not arrive
	@ server 1.010
		`},
		{"TIME_WAIT that has passed, counted from the last FIN", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	1.013  client  ACK      seq=112 ack=302
	61.009 =       TIME_WAIT? CLOSED?
	61.011 =       CLOSED? CLOSED?
	: client both FINs are acknowledged, the last in packet 8, and TIME_WAIT has passed
	@ client 61.010
		`},
		{"CLOSING", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.001  server  FIN,ACK  seq=301 ack=111
	1.002  client  ACK      seq=112 ack=302
	: client its FIN in packet 6 crossed the peer's, and has not been acknowledged
	@ client 1.002
		`},
	})
}
