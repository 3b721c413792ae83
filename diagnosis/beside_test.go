package diagnosis_test

import (
	"fmt"
	"strings"
	"testing"
)

// transfer is n data segments of 100 octets from the client, 10 ms apart, of which the first few are sent again.
func transfer(n, again int) string {
	var b strings.Builder
	b.WriteString(opened)
	at, packet := 1.0, 0
	send := func(seq int) {
		fmt.Fprintf(&b, "%.3f client ACK seq=%d ack=301 len=100\n", at, seq)
		at += 0.01
		packet++
	}
	for i := range n - again {
		send(101 + 100*i)
		if i < again {
			at += 0.2
			send(101 + 100*i)
		}
		fmt.Fprintf(&b, "%.3f server ACK seq=301 ack=%d\n", at-0.005, 201+100*i)
	}
	return b.String()
}

func TestPathLoss(t *testing.T) {
	tell(t, []story{
		{"3 of 60 are 5 %", transfer(60, 3) + `
		5.000  =  info path_loss client nobody ×1 since 0.000
		summary:  Of 60 data segments from 10.0.0.1:40000 to 10.0.0.2:80, 3 were sent again (5 %).
		cause:    The path from the client to the server loses packets, or its ACKs
		`},
		{"3 of 61 are less", transfer(61, 3) + `
		5.000  =  nothing
		`},
		{"25 of 50", transfer(50, 25) + `
		9.000  =  info path_loss client nobody ×1 since 0.000
		`},
		{"of 49 nothing is said", transfer(49, 24) + `
		9.000  =  nothing
		`},
		{"but where it is set", transfer(49, 24) + `
		set path_loss=49
		9.000  =  info path_loss client nobody ×1 since 0.000
		`},
	})
}

func TestOddOnes(t *testing.T) {
	tell(t, []story{
		{"a blind reset, ignored", answered + `
		1.000  server  RST      seq=700
		2.000  client  ACK,PSH  seq=111 ack=321 len=10
		2.010  server  ACK      seq=321 ack=121
		2.010  =  info blind_reset server 10.0.0.2:80 ×1 since 1.000
		summary:  A RST in the name of the server 10.0.0.2:80 had no effect: both ends go on.
		`},
		{"and challenged", answered + `
		1.000  server  RST      seq=700
		1.010  client  ACK      seq=111 ack=321
		2.000  server  ACK,PSH  seq=321 ack=111 len=10
		2.010  client  ACK      seq=111 ack=331
		2.010  =  info blind_reset server 10.0.0.2:80 ×1 since 1.000
		       =  info challenge_ack client 10.0.0.1:40000 ×1 since 1.010
		`},
		{"flags that no state allows", opened + `
		1.000  client  SYN,FIN  seq=500 port=4001
		1.000  =  info invalid_flags client 10.0.0.1:4001 ×1 since 1.000
		summary:  The client 10.0.0.1:4001 sent segments with flags that no TCP sends.
		`},
		{"a SYN into an open connection", answered + `
		100.000  client  SYN      seq=9000
		100.010  server  ACK      seq=321 ack=111
		100.020  client  RST      seq=111
		101.000  client  SYN      seq=9000
		101.010  server  SYN,ACK  seq=7000 ack=9001
		101.020  client  ACK      seq=9001 ack=7001
		101.020  =  info slow_handshake client nobody ×1 since 100.000
		         =  info syn_inside client 10.0.0.1:40000 ×1 since 100.000
		         =  info challenge_ack server 10.0.0.2:80 ×1 since 100.010
		`},
		{"a SYN that is accepted at once: the close of the older connection was missed", answered + `
		100.000  client  SYN      seq=9000
		100.010  server  SYN,ACK  seq=7000 ack=9001
		100.020  client  ACK      seq=9001 ack=7001
		100.020  =  nothing
		`},
		{"a SYN into a connection of which packets were dropped", answered + `
		dropped 7
		100.000  client  SYN      seq=9000
		100.010  =  info capture_gap client nobody ×0 since 0.000
		`},
		{"data beyond the FIN", answered + `
		1.000  client  FIN,ACK  seq=111 ack=321
		1.010  server  FIN,ACK  seq=321 ack=112
		1.020  client  ACK      seq=112 ack=322
		1.030  client  ACK,PSH  seq=112 ack=322 len=10
		1.030  =  info data_after_fin client 10.0.0.1:40000 ×1 since 1.030
		`},
		{"a port used again", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  FIN,ACK  seq=301 ack=102
		1.020  client  ACK      seq=102 ack=302
		2.000  client  SYN      seq=5000000
		2.010  server  SYN,ACK  seq=6000000 ack=5000001
		2.020  client  ACK      seq=5000001 ack=6000001
		2.020  =  info port_reused client 10.0.0.1:40000 ×1 since 2.000
		`},
	})
}

func TestCaptureGap(t *testing.T) {
	tell(t, []story{
		{"octets were acknowledged that the capture does not hold", opened + `
		1.000  server  ACK  seq=301 ack=201
		1.000  =  info capture_gap client nobody ×1 since 0.000
		summary:  it does not hold 100 of the bytes that were acknowledged.
		`},
		{"the kernel dropped packets", opened + `
		dropped 7
		1.000  =  info capture_gap client nobody ×0 since 0.000
		summary:  the kernel or the interface dropped 7.
		`},
		{"of a connection that began while payload was left out, on purpose, none is missing", opened + `
		forgive 1ms
		1.000  server  ACK  seq=301 ack=201
		1.000  =  nothing
		forgive 0s
		1.000  =  info capture_gap client nobody ×1 since 0.000
		`},
		{"the kernel dropped packets then, too", opened + `
		forgive 1ms
		dropped 7
		1.000  server  ACK  seq=301 ack=201
		1.000  =  info capture_gap client nobody ×0 since 0.000
		summary:  the kernel or the interface dropped 7.
		`},
		{"what rests on silence is less sure then", opened + `
		dropped 7
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		61.010  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 60.0
		        =  info capture_gap client nobody ×0 since 0.000
		certainty: presumed
		`},
	})
}

// from leaves in script what one role sends.
func from(role, script string) string {
	var kept []string
	for line := range strings.SplitSeq(script, "\n") {
		if fields := strings.Fields(line); len(fields) < 2 || fields[1] == role {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// Of an end whose segments are not in the capture, nothing is said that its segments might refute.
func TestOneSidedCaptures(t *testing.T) {
	const asked = answered + `
		10.000  client  ACK,PSH  seq=111 ack=321 len=10
		10.200  client  ACK,PSH  seq=111 ack=321 len=10
		10.600  client  ACK,PSH  seq=111 ack=321 len=10
		11.400  client  ACK,PSH  seq=111 ack=321 len=10
`
	const left = opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		1.200  client  FIN,ACK  seq=101 ack=301
		1.600  client  FIN,ACK  seq=101 ack=301
`
	const repeated = opened + `
		1.010  server  SYN,ACK  seq=300 ack=101
		3.010  server  SYN,ACK  seq=300 ack=101
`
	const full = answered + `
		1.000  server  ACK  seq=321 ack=111 len=1000
		1.010  client  ACK  seq=111 ack=1321 win=0
`
	tell(t, []story{
		{"a FIN whose ACK is not captured", from("client", left) + `
		11.000  =  nothing
		1000.0  =  nothing
		`},
		{"an end in CLOSE_WAIT, of a peer that is not captured", from("server", left) + `
		61.010  =  nothing
		1000.0  =  nothing
		`},
		{"a SYN-ACK that comes again", from("server", repeated) + `
		3.500  =  nothing
		1000.0  =  nothing
		`},
		{"data without an answer", from("client", asked) + `
		20.000  =  nothing
		1000.0  =  nothing
		`},
		{"silence", from("client", answered) + `
		2000.0  =  nothing
		`},
		{"silence of the server", from("server", answered) + `
		2000.0  =  nothing
		`},
		{"a window that its own end closes is seen", from("client", full) + `
		6.009  =  nothing
		6.010  =  warning zero_window client 10.0.0.1:40000 ×1 since 1.010 for 5.0
		certainty: presumed
		`},
		{"and that data is repeated", from("client", transfer(50, 25)) + `
		9.000  =  info path_loss client nobody ×1 since 0.000
		certainty: presumed
		`},
	})
}
