package tracker_test

import "testing"

// What shows, or fails to show, that an end has received the ACK of its SYN.
func TestProofOfTheHandshakeACK(t *testing.T) {
	tell(t, []story{
		{"a SYN-ACK repeated into silence is not acknowledged", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	= SYN_SENT? SYN_RCVD?
	1.010  server  SYN,ACK  seq=300 ack=101
	= SYN_SENT? SYN_RCVD!
	1.500  =       SYN_SENT? SYN_RCVD!
	2.100  =       SYN_SENT? SYN_RCVD?   # the next is overdue
		`},
		{"the SYN-ACK of a simultaneous open repeats no SYN-ACK", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.010  client  SYN,ACK  seq=100 ack=301
	= SYN_RCVD? SYN_SENT?
	1.010  client  SYN,ACK  seq=100 ack=301
	= SYN_RCVD! SYN_SENT?
		`},
		{"nor does a SYN that was repeated before one that was missed", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	1.000  client  SYN      seq=100               # and its SYN-ACK was missed
	1.010  client  ACK      seq=101 ack=301
	= SYN_RCVD? SYN_SENT?
		`},
		{"in a simultaneous open a pure ACK proves nothing", `
	0.000  client  SYN      seq=100
	0.010  client  SYN,ACK  seq=100 ack=301   # the server's SYN was missed
	0.011  server  SYN,ACK  seq=300 ack=101
	0.020  client  ACK      seq=101 ack=301
	= ESTABLISHED? ESTABLISHED?
		`},
		{"nor does it where this end's SYN-ACK was missed", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.011  server  SYN,ACK  seq=300 ack=101
	0.020  client  ACK      seq=101 ack=301
	= ESTABLISHED? ESTABLISHED?
		`},
		{"who opened at the same time and repeats its SYN-ACK has not received the other's", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.010  client  SYN,ACK  seq=100 ack=301
	0.011  server  SYN,ACK  seq=300 ack=101
	1.010  client  SYN,ACK  seq=100 ack=301
	= SYN_RCVD! ESTABLISHED?
		`},
		{"until it goes on without SYN", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.010  client  SYN,ACK  seq=100 ack=301
	0.011  server  SYN,ACK  seq=300 ack=101
	1.010  client  SYN,ACK  seq=100 ack=301
	1.200  client  ACK      seq=101 ack=301
	= ESTABLISHED? ESTABLISHED?
		`},
		{"which must come after the last SYN-ACK", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.010  client  SYN,ACK  seq=100 ack=301
	0.011  server  SYN,ACK  seq=300 ack=101
	0.012  client  ACK      seq=101 ack=301
	1.010  client  SYN,ACK  seq=100 ack=301
	= SYN_RCVD! ESTABLISHED?
		`},
		{"not at the same time", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.010  client  SYN,ACK  seq=100 ack=301
	0.011  server  SYN,ACK  seq=300 ack=101
	1.010  client  SYN,ACK  seq=100 ack=301
	1.010  client  ACK      seq=101 ack=301
	= SYN_RCVD! ESTABLISHED?
		`},
		{"or without a SYN-ACK ever: it was not in SYN_RCVD", `
	0.000  server  SYN      seq=300               # lost behind the capture
	0.001  client  SYN      seq=100
	0.002  server  SYN,ACK  seq=300 ack=101       # lost behind the capture
	1.000  server  SYN,ACK  seq=300 ack=101
	1.001  client  SYN      seq=100               # its timer ran out just before
	1.001  client  ACK      seq=101 ack=301
	= ESTABLISHED? ESTABLISHED?
		`},
		{"a server in SYN_RCVD may answer data without taking it", handshake + `
	1.010  server  SYN,ACK  seq=300 ack=101
	1.200  client  ACK      seq=101 ack=301 len=5
	1.210  server  ACK      seq=301 ack=101
	= ESTABLISHED? SYN_RCVD?
		`},
		{"of a client whose SYN was missed nothing is compared with its ISS", `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.011  client  ACK      seq=101 ack=301
	1.010  server  SYN,ACK  seq=300 ack=101
	= ESTABLISHED? SYN_RCVD?
		`},
		{"an active opener that goes on is proof, whatever the capture's clock can tell apart", `
	0.000  client  SYN      seq=100
	0.000  server  SYN,ACK  seq=300 ack=101
	0.000  client  ACK      seq=101 ack=301
	0.600  =       ESTABLISHED! ESTABLISHED?
		`},
		{"nor is anything repeated where the SYN-ACK was missed", `
	0.000  client  SYN      seq=100
	0.020  server  ACK      seq=301 ack=101
	= SYN_SENT? ESTABLISHED?
		`},
		{"to acknowledge data is proof", established},
		{"also where the SYN was captured last", `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.011  client  ACK      seq=101 ack=301
	0.020  client  ACK      seq=101 ack=301 len=10
	0.030  server  ACK      seq=301 ack=111
	0.000  client  SYN      seq=100
	= ESTABLISHED! ESTABLISHED!
		`},
		{"and remains so beyond 2³¹ octets", handshake + `
	1.000  client  ACK      seq=101 ack=301 len=1000000000
	1.010  server  ACK      seq=301 ack=1000000101
	= ESTABLISHED! ESTABLISHED!
	2.000  client  ACK      seq=1000000101 ack=301 len=1000000000
	2.010  server  ACK      seq=301 ack=2000000101
	3.000  client  ACK      seq=2000000101 ack=301 len=1000000000
	3.010  server  ACK      seq=301 ack=3000000101
	= ESTABLISHED! ESTABLISHED!
		`},
		{"to acknowledge data selectively is proof", handshake + `
	0.020  client  ACK      seq=101 ack=301 len=10   # lost behind the capture
	0.021  client  ACK      seq=111 ack=301 len=10
	0.031  server  ACK      seq=301 ack=101 sack=111-121
	= ESTABLISHED? ESTABLISHED!
		`},
		{"the echo of the SYN's own timestamp is none", `
	0.000  client  SYN      seq=100 ts=1000/0
	0.010  server  SYN,ACK  seq=300 ack=101 ts=5000/1000
	0.011  client  ACK      seq=101 ack=301 ts=1011/5000
	0.200  server  ACK      seq=301 ack=101 ts=5190/1000
	= ESTABLISHED! ESTABLISHED?
		`},
		{"nor is the timestamp of a client whose server uses none", `
	0.000  client  SYN      seq=100 ts=3000000000/0
	0.010  server  SYN,ACK  seq=300 ack=101
	0.011  client  ACK      seq=101 ack=301
	= ESTABLISHED! ESTABLISHED?
		`},
		{"nor is the echo of a timestamp that was cut off", `
	0.000  client  SYN      seq=100 cut=1
	0.010  server  SYN,ACK  seq=300 ack=101 ts=5000/1000
	0.011  client  ACK      seq=101 ack=301 ts=1011/5000
	0.200  server  ACK      seq=301 ack=101 ts=5190/1000
	= ESTABLISHED! ESTABLISHED?
		`},
		{"an echo where there is nothing to echo shows nothing that was missed", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101 ts=5000/0
	0.011  client  ACK      seq=101 ack=301 len=10
	0.020  server  ACK      seq=301 ack=111 ts=5010/1000
	= ESTABLISHED! ESTABLISHED!
		`},
		{"the echo of a repeated SYN is none", `
	0.000  client  SYN      seq=100 ts=1000/0
	1.000  client  SYN      seq=100 ts=2000/0
	1.010  server  SYN,ACK  seq=300 ack=101 ts=5000/2000
	1.011  client  ACK      seq=101 ack=301 ts=2011/5000
	1.200  server  ACK      seq=301 ack=101 ts=5190/2000
	= ESTABLISHED! ESTABLISHED?
		`},
		{"with Fast Open a server speaks before the handshake is complete", `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=111
	0.011  server  ACK      seq=301 ack=111 len=5
	0.012  client  ACK      seq=111 ack=301
	1.010  server  SYN,ACK  seq=300 ack=111
	= ESTABLISHED? SYN_RCVD!
	| fast_open - - both
		`},
		{"and may close before it", `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=111
	0.011  server  FIN,ACK  seq=301 ack=111
	= SYN_SENT? FIN_WAIT_1?
	0.211  server  FIN,ACK  seq=301 ack=111
	= SYN_SENT? FIN_WAIT_1!
		`},
		{"a keep-alive from before the SYN's end completes no handshake, but data from the server shows that it is complete", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101   # the ACK of this was missed
	2.000  client  ACK      seq=100 ack=301
	= ESTABLISHED! SYN_RCVD?
	2.020  server  ACK      seq=301 ack=101 len=5
	= ESTABLISHED! ESTABLISHED?
		`},
	})
}

// What shows, or fails to show, that an end has received the ACK of its FIN.
func TestProofOfTheACKOfTheFIN(t *testing.T) {
	const disputed = established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	1.300  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
	1.310  server  ACK      seq=301 ack=112
	= FIN_WAIT_1? CLOSE_WAIT!
	`
	const disputedStamped = stamped + `
	1.000  client  FIN,ACK  seq=111 ack=301 ts=2000/5030
	1.010  server  ACK      seq=301 ack=112 ts=6010/2000
	1.300  client  FIN,ACK  seq=111 ack=301 ts=2300/5030
	= FIN_WAIT_1! CLOSE_WAIT!
	`
	tell(t, []story{
		{"to acknowledge data sent with it is proof", disputed + `
	1.400  server  ACK      seq=301 ack=112 len=5
	= FIN_WAIT_1? CLOSE_WAIT?
	1.401  client  ACK      seq=112 ack=306
	= FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"to acknowledge such data selectively is proof", disputed + `
	1.400  server  ACK      seq=301 ack=112 len=5   # lost behind the capture
	1.401  server  ACK      seq=306 ack=112 len=5
	1.402  client  ACK      seq=112 ack=301 sack=306-311
	= FIN_WAIT_2? CLOSE_WAIT?
		`},
		{"to acknowledge data selectively that was sent before it is none", established + `
	0.900  server  ACK      seq=301 ack=111 len=5   # lost behind the capture
	0.901  server  ACK      seq=306 ack=111 len=5
	1.000  client  FIN,ACK  seq=111 ack=301 sack=306-311
	1.010  server  ACK      seq=311 ack=112
	1.300  client  FIN,ACK  seq=111 ack=301 sack=306-311
	= FIN_WAIT_1! CLOSE_WAIT?
		`},
		{"to acknowledge data that was sent before it is none", established + `
	0.900  server  ACK      seq=301 ack=111 len=5
	1.000  client  FIN,ACK  seq=111 ack=306
	1.010  server  ACK      seq=306 ack=112
	1.300  client  FIN,ACK  seq=111 ack=306
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"an ACK that is the peer's first in this capture has nothing before it to compare", `
	0.000  client  FIN,ACK  seq=111 ack=301
	0.010  server  ACK      seq=301 ack=112
	0.300  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1?? CLOSE_WAIT??
		`},
		{"whatever its own first acknowledgments were", `
	0.000  client  ACK      seq=111 ack=301
	0.001  client  FIN,ACK  seq=111 ack=306
	0.010  server  ACK      seq=306 ack=112
	0.300  client  FIN,ACK  seq=111 ack=306
	= FIN_WAIT_1?? CLOSE_WAIT??
		`},
		{"what echoes nothing proves nothing", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101 ts=5000/0
	0.011  client  ACK      seq=101 ack=301
	0.500  server  ACK      seq=301 ack=101 ts=5490/0
	1.000  client  FIN,ACK  seq=101 ack=301
	1.010  server  ACK      seq=301 ack=102 ts=6010/0
	1.300  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"nor does an echo where the timestamps before it were cut off", `
	0.000  client  SYN      seq=100 ts=1000/0
	0.010  server  SYN,ACK  seq=300 ack=101 cut=1
	0.011  client  ACK      seq=101 ack=301 ts=1011/5000
	1.000  client  FIN,ACK  seq=101 ack=301 ts=2000/5000
	1.010  server  ACK      seq=301 ack=102 ts=5000/2000
	1.300  client  FIN,ACK  seq=101 ack=301 ts=2300/5000
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"to echo its timestamp is proof", disputedStamped + `
	1.500  client  ACK      seq=112 ack=301 ts=2500/6010
	= FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"to echo a timestamp from before it is none, though nothing that the capture holds carried it", stamped + `
	1.000  client  FIN,ACK  seq=111 ack=301 ts=2000/5030
	1.010  server  ACK      seq=301 ack=112 ts=6010/2000
	1.300  client  FIN,ACK  seq=111 ack=301 ts=2300/5500
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"to echo a timestamp that the segment before it carried as well is none", stamped + `
	1.000  client  FIN,ACK  seq=111 ack=301 ts=2000/5030
	1.010  server  ACK      seq=301 ack=111 len=5 ts=6010/1020
	1.0101 server  ACK      seq=306 ack=112 ts=6010/2000
	1.300  client  FIN,ACK  seq=111 ack=306 ts=2300/6010
	= FIN_WAIT_1! CLOSE_WAIT!
		`},
		{"a repetition that crossed the ACK disputes nothing", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	1.012  client  FIN,ACK  seq=111 ack=301   # the client is 1 ms from the capture
	= FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"a repetition that crossed the second ACK does not dispute that one", disputed + `
	1.3135 client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1? CLOSE_WAIT!
	1.8135 =       FIN_WAIT_1? CLOSE_WAIT!   # Linux waits 200 ms and more, whatever the last interval was
	1.900  =       FIN_WAIT_2? CLOSE_WAIT?
		`},
		{"after a dispute silence for two and a quarter intervals counts", disputed + `
	1.900  server  ACK      seq=301 ack=112
	2.500  client  FIN,ACK  seq=111 ack=301
	2.510  server  ACK      seq=301 ack=112
	4.500  =       FIN_WAIT_1? CLOSE_WAIT!
	5.300  =       FIN_WAIT_2? CLOSE_WAIT!
		`},
		{"of a peer that was not captured: a FIN that is repeated has not been acknowledged", `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	1.000  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_2? CLOSE_WAIT??
	1.300  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1? ESTABLISHED??
		`},
		{"a FIN behind data that is not acknowledged has not been acknowledged either", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.001  client  FIN,ACK  seq=121 ack=301
	1.020  server  ACK      seq=301 ack=121
	= FIN_WAIT_1? ESTABLISHED?
		`},
	})
}

// A state is confirmed only if it is the same whatever becomes of what is in flight.
func TestWhatIsInFlightLeavesAStatePresumed(t *testing.T) {
	tell(t, []story{
		{"data in flight may have a FIN behind it", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	= ESTABLISHED? ESTABLISHED!
	1.010  server  ACK      seq=301 ack=121
	= ESTABLISHED! ESTABLISHED!
		`},
		{"so may data that a closed window holds up", established + `
	1.000  server  ACK      seq=301 ack=111 win=0
	= ESTABLISHED? ESTABLISHED!
	1.500  server  ACK      seq=301 ack=111 win=500
	= ESTABLISHED! ESTABLISHED!
		`},
		{"so may data that was sent again after its ACK passed, until something shows that the ACK arrived", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.010  server  ACK      seq=301 ack=121
	1.300  client  ACK      seq=111 ack=301 len=10
	1.310  server  ACK      seq=301 ack=121
	= ESTABLISHED? ESTABLISHED!
	2.000  server  ACK      seq=301 ack=121 len=5
	2.001  client  ACK      seq=121 ack=306
	= ESTABLISHED! ESTABLISHED!
		`},
		{"data sent again within the round trip crossed its ACK", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.010  server  ACK      seq=301 ack=121
	1.0135 client  ACK      seq=111 ack=301 len=10
	1.022  server  ACK      seq=301 ack=121
	= ESTABLISHED! ESTABLISHED!
		`},
		{"the peer's FIN may or may not arrive", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	= ESTABLISHED? FIN_WAIT_1?
	1.200  server  FIN,ACK  seq=301 ack=111
	= ESTABLISHED? FIN_WAIT_1!
		`},
		{"in FIN_WAIT_1 too", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.200  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1! ESTABLISHED?
	1.210  server  FIN,ACK  seq=301 ack=111
	= FIN_WAIT_1? FIN_WAIT_1?
		`},
		{"a FIN that crosses the peer's and is repeated shows CLOSING", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.001  server  FIN,ACK  seq=301 ack=111
	1.002  client  ACK      seq=112 ack=302
	= CLOSING? FIN_WAIT_2?
	1.200  client  FIN,ACK  seq=111 ack=302
	= CLOSING! FIN_WAIT_2?
		`},
		{"also behind data", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.001  client  FIN,ACK  seq=121 ack=301
	1.002  server  FIN,ACK  seq=301 ack=111
	1.003  client  ACK      seq=122 ack=302
	1.010  server  ACK      seq=302 ack=121
	1.200  client  FIN,ACK  seq=121 ack=302
	= CLOSING! FIN_WAIT_2?
		`},
		{"nothing is confirmed of an end whose SYN was missed", `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.011  client  ACK      seq=101 ack=301
	1.000  client  FIN,ACK  seq=101 ack=301
	1.200  client  FIN,ACK  seq=101 ack=301
	= FIN_WAIT_1? ESTABLISHED?
		`},
		{"a FIN that is due to be repeated and is not may have been acknowledged behind the capture", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.200  client  FIN,ACK  seq=111 ack=301
	1.400  =       FIN_WAIT_1! ESTABLISHED?
	1.401  =       FIN_WAIT_1? ESTABLISHED?
		`},
		{"whose interval does not shrink where the capture's clock cannot tell two apart", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.200  client  FIN,ACK  seq=111 ack=301
	1.200  client  FIN,ACK  seq=111 ack=301
	1.400  =       FIN_WAIT_1! ESTABLISHED?
		`},
	})
}

// LAST_ACK is confirmed only if the FIN was sent after the peer's had been acknowledged.
func TestWhoClosedSecond(t *testing.T) {
	tell(t, []story{
		{"an ACK of its own before the FIN shows it", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	2.000  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? LAST_ACK?
	2.200  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? LAST_ACK!
		`},
		{"an ACK in the FIN itself does not: the first may have been missed", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	1.210  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? LAST_ACK?
		`},
		{"a FIN behind data that was not acknowledged may have waited since before", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	1.500  server  ACK      seq=301 ack=112 len=10
	1.501  server  FIN,ACK  seq=311 ack=112
	1.502  client  ACK      seq=112 ack=311
	1.701  server  FIN,ACK  seq=311 ack=112
	= FIN_WAIT_2? LAST_ACK?
		`},
		{"a FIN first seen behind what was sent later is not its first transmission", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112   # the FIN that followed was missed
	2.100  server  ACK      seq=302 ack=112
	2.200  server  FIN,ACK  seq=301 ack=112
	2.400  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? LAST_ACK?
		`},
		{"a FIN sent again with a later ACK keeps its first", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.001  server  FIN,ACK  seq=301 ack=111
	1.201  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? CLOSING!
		`},
		{"what is sent beyond a FIN shows what the FIN had not yet acknowledged", established + `
	1.000  client  FIN,ACK  seq=111 ack=301   # the server's FIN, at the same time, was missed
	1.005  server  ACK      seq=302 ack=111   # it answers an earlier segment
	1.201  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? CLOSING?
		`},
	})
}

// An end that owes an answer may be gone.
func TestWhoOwesAnAnswerIsPresumed(t *testing.T) {
	tell(t, []story{
		{"a keep-alive", established + `
	10.000 client  ACK      seq=110 ack=301
	10.500 =       ESTABLISHED! ESTABLISHED!
	10.510 =       ESTABLISHED? ESTABLISHED?
		`},
		{"a keep-alive that was answered owes nothing", established + `
	10.000 client  ACK      seq=110 ack=301
	10.010 server  ACK      seq=301 ack=111
	10.600 =       ESTABLISHED? ESTABLISHED!
	20.000 client  ACK      seq=111 ack=301 len=5
	20.010 server  ACK      seq=301 ack=116
	21.000 =       ESTABLISHED! ESTABLISHED!
		`},
		{"a keep-alive and an answer at the same time", established + `
	10.000 client  ACK      seq=110 ack=301
	10.000 server  ACK      seq=301 ack=111
	10.600 =       ESTABLISHED? ESTABLISHED!
		`},
		{"a second keep-alive", established + `
	10.000 client  ACK      seq=110 ack=301
	10.300 client  ACK      seq=110 ack=301
	= ESTABLISHED! ESTABLISHED?
		`},
		{"a keep-alive long after one that was answered is the first", established + `
	10.000 client  ACK      seq=110 ack=301
	10.010 server  ACK      seq=301 ack=111
	20.000 client  ACK      seq=110 ack=301
	= ESTABLISHED! ESTABLISHED!
		`},
		{"or after one that was answered at the same time", established + `
	10.000 client  ACK      seq=110 ack=301
	10.000 server  ACK      seq=301 ack=111
	20.000 client  ACK      seq=110 ack=301
	= ESTABLISHED! ESTABLISHED!
		`},
		{"a keep-alive that came twice out of order", established + `
	10.000 client  ACK      seq=110 ack=301
	10.010 server  ACK      seq=301 ack=111
	20.000 client  ACK      seq=110 ack=301
	10.500 client  ACK      seq=110 ack=301   # captured late
	20.100 =       ESTABLISHED! ESTABLISHED?
		`},
		{"data", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.517  =       ESTABLISHED? ESTABLISHED!   # half a second, and the way there and back
	1.518  =       ESTABLISHED? ESTABLISHED?
		`},
		{"data and an answer at the same time", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.000  server  ACK      seq=301 ack=121
	2.000  =       ESTABLISHED! ESTABLISHED!
		`},
		{"data, though it sends something else", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.200  server  ACK      seq=301 ack=111 len=5
	1.201  client  ACK      seq=121 ack=306
	1.500  =       ESTABLISHED? ESTABLISHED!
	1.900  =       ESTABLISHED? ESTABLISHED?
		`},
		{"data that it has acknowledged, and that comes again", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.010  server  ACK      seq=301 ack=121
	1.300  client  ACK      seq=111 ack=301 len=10
	= ESTABLISHED? ESTABLISHED!
	1.900  =       ESTABLISHED? ESTABLISHED?
		`},
		{"data that comes twice, before an answer to the first is due", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	= ESTABLISHED? ESTABLISHED!
	1.250  client  ACK      seq=111 ack=301 len=10
	= ESTABLISHED? ESTABLISHED?
		`},
		{"data that comes again although it has sent something since", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.100  server  ACK      seq=301 ack=111 len=5
	1.101  client  ACK      seq=121 ack=306
	1.250  client  ACK      seq=111 ack=306 len=10
	= ESTABLISHED? ESTABLISHED?
		`},
		{"data that comes again while something from it is on its way owes nothing yet", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.235  server  ACK      seq=301 ack=111 len=5
	1.236  client  ACK      seq=121 ack=306
	1.252  client  ACK      seq=111 ack=306 len=10
	= ESTABLISHED? ESTABLISHED!
		`},
		{"acknowledged data that comes a third time", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.010  server  ACK      seq=301 ack=121
	1.300  client  ACK      seq=111 ack=301 len=10
	= ESTABLISHED? ESTABLISHED!
	1.900  client  ACK      seq=111 ack=301 len=10
	= ESTABLISHED? ESTABLISHED?
		`},
	})
}
