package tracker_test

import "testing"

func TestNewDataDoesNotHideWhatWasNotAnswered(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301
		1.00  server  PSH,ACK  seq=301 ack=101 len=10   # the client is gone
		1.10  = ESTABLISHED! ESTABLISHED?
		3.00  server  PSH,ACK  seq=311 ack=101 len=10
		3.01  = ESTABLISHED? ESTABLISHED?
	`)
}

// Equal packets within 3 ms count once, but each of two RSTs may answer a segment of its own.
func TestASecondRSTLikeTheFirstMayHaveArrived(t *testing.T) {
	play(t, `
		0.0000  client  SYN      seq=100
		0.0001  server  SYN,ACK  seq=300 ack=101
		0.0002  client  ACK      seq=101 ack=301
		1.0000  client  FIN,ACK  seq=101 ack=301
		1.0001  server  RST      seq=301 id=7           # lost behind the capture
		1.0025  client  FIN,ACK  seq=101 ack=301
		1.0026  server  RST      seq=301 id=7
		= CLOSED? CLOSED?
		1.2000  client  FIN,ACK  seq=101 ack=301        # that was lost, too
		= FIN_WAIT_1! CLOSED?
	`)
}

// RFC 9293 3.10.7.1: the number of such a RST is the acknowledgment of the segment that it answers.
func TestARSTAnswersASegmentThatWasLate(t *testing.T) {
	tell(t, []story{
		{"the acknowledgment before the last", `
			0.00  client  SYN      seq=100
			0.01  server  SYN,ACK  seq=300 ack=101
			0.02  client  ACK      seq=101 ack=301
			1.00  client  PSH,ACK  seq=101 ack=301 len=10
			1.00  client  FIN,ACK  seq=111 ack=301
			1.01  server  ACK      seq=301 ack=111         # arrives late
			1.01  server  ACK      seq=301 ack=112
			1.02  server  PSH,ACK  seq=301 ack=112 len=10  # the RST that answers this is lost before the capture
			1.50  client  RST      seq=111
			= CLOSED? CLOSED?         # Linux takes the number of the FIN
		`},
		{"that of the FIN", `
			0.00  client  SYN      seq=100
			0.01  server  SYN,ACK  seq=300 ack=101
			0.02  client  ACK      seq=101 ack=301
			1.00  client  FIN,ACK  seq=101 ack=301         # arrives late
			1.01  server  PSH,ACK  seq=301 ack=101 len=10
			1.02  client  ACK      seq=102 ack=311
			1.03  server  FIN,ACK  seq=311 ack=101
			1.04  client  ACK      seq=102 ack=312
			1.50  server  RST      seq=301
			= CLOSING? CLOSED?
		`},
		{"that of the FIN, of an end that has not closed", `
			0.00  client  SYN      seq=100
			0.01  server  SYN,ACK  seq=300 ack=101
			0.02  client  ACK      seq=101 ack=301
			1.00  client  FIN,ACK  seq=101 ack=301         # arrives late
			1.01  server  PSH,ACK  seq=301 ack=101 len=10
			1.02  client  ACK      seq=102 ack=311
			1.03  server  PSH,ACK  seq=311 ack=101 len=10
			1.04  client  ACK      seq=102 ack=321
			1.50  server  RST      seq=301
			= FIN_WAIT_1? CLOSED?
		`},
		{"none", `
			0.00  client  SYN      seq=100
			0.01  server  SYN,ACK  seq=300 ack=101
			0.02  client  ACK      seq=101 ack=301
			1.00  client  PSH,ACK  seq=101 ack=301 len=10
			1.01  server  ACK      seq=301 ack=111
			1.50  client  RST      seq=105
			= ESTABLISHED? ESTABLISHED?
		`},
	})
}

// RFC 9293 3.10.7.4: what does not fit into the window is dropped, so that a RST behind it is not the next.
func TestARSTBehindWhatAClosedWindowDroppedIsNotTaken(t *testing.T) {
	play(t, `
		0.000  client  SYN      seq=100
		0.001  server  SYN,ACK  seq=300 ack=101
		0.002  client  ACK      seq=101 ack=301
		1.000  client  ACK      seq=101 ack=301 len=100
		1.001  server  ACK      seq=301 ack=201 win=0
		1.200  client  PSH,ACK  seq=201 ack=301 len=50
		1.201  server  ACK      seq=301 ack=201 win=0
		1.300  client  RST,ACK  seq=251 ack=301
		= CLOSED? ESTABLISHED?
	`)
}

func TestAnACKBeforeTheSYNACKDoesNotAnswerIt(t *testing.T) {
	play(t, `
		0.000  client  SYN      seq=100
		1.000  client  ACK      seq=101 ack=301         # it challenges a SYN of the server that the capture missed
		1.001  server  SYN,ACK  seq=300 ack=101
		= ESTABLISHED? ESTABLISHED?
	`)
}

func TestTheLastSYNBeforeTheAnswerTellsTheRoundTrip(t *testing.T) {
	tell(t, []story{
		{"a SYN-ACK that was repeated, also later", `
			0.0000   client  SYN      seq=100
			0.0001   server  SYN,ACK  seq=300 ack=101       # lost behind the capture
			1.0001   server  SYN,ACK  seq=300 ack=101
			1.0002   client  ACK      seq=101 ack=301
			3.0001   server  SYN,ACK  seq=300 ack=101
			3.0002   client  ACK      seq=101 ack=301
			10.0000  server  RST,ACK  seq=301 ack=101       # lost behind the capture
			= CLOSED? CLOSED?
			10.0200  client  PSH,ACK  seq=101 ack=301 len=10
			= ESTABLISHED? CLOSED?
		`},
		{"a SYN-ACK after a SYN that crossed", `
			0.0000   client  SYN      seq=100                # lost behind the capture
			0.0001   server  SYN      seq=300                # lost behind the capture
			1.0000   client  SYN      seq=100                # lost behind the capture
			1.0001   server  SYN      seq=300
			1.0002   client  SYN,ACK  seq=100 ack=301
			1.0003   server  ACK      seq=301 ack=101
			10.0000  client  RST,ACK  seq=101 ack=301        # lost behind the capture
			= CLOSED? CLOSED?
			10.0065  server  PSH,ACK  seq=301 ack=101 len=10
			= CLOSED? ESTABLISHED?
		`},
		{"the first of two SYN-ACKs, although the second has another ISS", `
			0.0000   client  SYN      seq=100                # and a copy of it on a longer way
			0.0001   server  SYN,ACK  seq=300 ack=101
			0.0002   client  RST      seq=101
			= CLOSED? CLOSED?
			0.4000   server  SYN,ACK  seq=9000 ack=101       # it was listening again when the copy came
			= CLOSED? SYN_RCVD?
		`},
	})
}

func TestAServerThatCeasesToRepeatItsSYNACKHasGivenUp(t *testing.T) {
	tell(t, []story{
		{"after its retries", `
			0.00    client  SYN      seq=100
			0.01    server  SYN,ACK  seq=300 ack=101
			1.01    server  SYN,ACK  seq=300 ack=101
			3.01    server  SYN,ACK  seq=300 ack=101
			9.89625 = CLOSED? SYN_RCVD?
			9.897   = CLOSED? CLOSED?
			@ server 9.89625
		`},
		{"as SYN cookies do", `
			0.00    client  SYN      seq=100
			0.01    server  SYN,ACK  seq=300 ack=101
			3.00    = SYN_SENT? SYN_RCVD?
			4.00    = CLOSED? CLOSED?
		`},
		{"not when the first were lost before the capture", `
			0.00    client  SYN      seq=100
			3.01    server  SYN,ACK  seq=300 ack=101
			7.00    = CLOSED? SYN_RCVD?
			11.00   = CLOSED? CLOSED?
		`},
		{"not for a connection before of which no SYN was captured", `
			0.00    client  ACK      seq=1000000000 ack=1000000000 len=10
			0.01    server  ACK      seq=1000000000 ack=1000000010
			5.00    client  SYN      seq=100
			5.01    server  SYN,ACK  seq=0 ack=101
			= SYN_SENT? SYN_RCVD?
		`},
		{"not when it only answers a SYN in between", `
			0.00    client  SYN      seq=100
			0.01    server  SYN,ACK  seq=300 ack=101      # lost behind the capture, as are all that follow
			1.00    client  SYN      seq=100
			1.0001  server  SYN,ACK  seq=300 ack=101
			1.01    server  SYN,ACK  seq=300 ack=101
			3.00    client  SYN      seq=100
			3.01    server  SYN,ACK  seq=300 ack=101
			3.02    server  SYN,ACK  seq=300 ack=101
			6.90    = SYN_SENT? SYN_RCVD?
			7.01    server  SYN,ACK  seq=300 ack=101
			= SYN_SENT? SYN_RCVD!
		`},
	})
}

// RFC 9293 3.10.7.1: a RST without ACK answers a segment with ACK, so it is not about an attempt that only a RST answered.
func TestARSTIsAboutTheConnectionThatItCanAnswer(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  RST,ACK  seq=0 ack=101            # lost behind the capture
		0.80  server  SYN      seq=300
		0.81  client  SYN,ACK  seq=100 ack=301
		0.82  server  ACK      seq=301 ack=101
		2.00  client  FIN,ACK  seq=101 ack=301          # lost behind the capture; then it starts anew
		5.00  server  ACK      seq=300 ack=101          # a keep-alive
		5.01  client  RST      seq=101
		=2 CLOSED? CLOSED?
	`)
}

func TestASYNThatWasRefusedMayCrossAnotherWhenItComesAgain(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  RST,ACK  seq=0 ack=101            # lost behind the capture
		0.50  server  SYN      seq=300                  # lost behind the capture
		1.00  client  SYN      seq=100
		1.01  server  SYN,ACK  seq=300 ack=101
		1.02  client  ACK      seq=101 ack=301
		=2 ESTABLISHED? ESTABLISHED?
		| simultaneous - - both
	`)
}

func TestTheTimerOfASYNThatWasRefusedGoesOnWhereItCrossesAnother(t *testing.T) {
	refused := `
		0.00   server  SYN      seq=300
		0.01   client  RST,ACK  seq=0 ack=301           # lost behind the capture, as are the others
		1.00   server  SYN      seq=300
		1.01   client  RST,ACK  seq=0 ack=301
		3.00   server  SYN      seq=300
		3.01   client  RST,ACK  seq=0 ack=301
		7.00   server  SYN      seq=300
		7.01   client  RST,ACK  seq=0 ack=301
		9.00   client  SYN      seq=100                 # then its application closes
	`
	tell(t, []story{
		{"in SYN_SENT", refused + `
		15.00  server  SYN      seq=300
		32.00  = CLOSED? SYN_SENT?                      # the next comes after 16 s
		34.00  = CLOSED? CLOSED?
		:2 server it has long ceased to repeat its SYN, first sent in packet 10: it gave up
		`},
		{"in SYN_SENT, where it comes again", refused + `
		15.00  server  SYN      seq=300
		31.00  server  SYN      seq=300
		66.00  = CLOSED? SYN_SENT?                      # the next comes after 32 s
		68.00  = CLOSED? CLOSED?
		`},
		{"in SYN_SENT, where it has hardly begun", `
		0.00   server  SYN      seq=300
		0.01   client  RST,ACK  seq=0 ack=301           # lost behind the capture
		0.50   client  SYN      seq=100
		1.00   server  SYN      seq=300
		4.40   = CLOSED? SYN_SENT?
		4.60   = CLOSED? CLOSED?
		`},
		{"in SYN_RCVD", refused + `
		9.01   server  SYN,ACK  seq=300 ack=101
		16.00  = CLOSED? SYN_RCVD?
		23.00  = CLOSED? CLOSED?
		`},
	})
}

func TestASYNIsRefusedInTheConnectionThatItCrossesLast(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  RST,ACK  seq=0 ack=101            # lost behind the capture
		0.50  server  SYN      seq=300                  # lost behind the capture; then its application closes
		1.00  client  SYN      seq=100
		1.01  server  RST,ACK  seq=0 ack=101
		=2 CLOSED? CLOSED?
	`)
}

func TestEveryUnansweredSYNMakesTheConnectionBeforeDoubtful(t *testing.T) {
	play(t, `
		0.00   client  SYN      seq=100
		0.01   server  SYN,ACK  seq=300 ack=101
		0.02   client  ACK      seq=101 ack=301
		1.00   client  FIN,ACK  seq=101 ack=301
		1.01   server  ACK      seq=301 ack=102
		10.00  client  SYN      seq=5000                # after a restart
		10.01  server  ACK      seq=301 ack=102         # challenges it, and is lost behind the capture
		=1 CLOSED? CLOSE_WAIT!
		17.00  client  SYN      seq=9000                # another attempt, which nobody answers
		18.00  client  SYN      seq=9000
		=1 FIN_WAIT_2? CLOSE_WAIT?
	`)
}

// Linux with TCP_DEFER_ACCEPT takes the handshake's ACK, waits for data, and repeats its SYN-ACK once in the end: the answer to
// that opens the connection. Who ignores the ACK repeats it after a second, or three.
func TestASYNACKThatComesAgainLateWasDeferred(t *testing.T) {
	tell(t, []story{
		{"once, after 15 s", `
			0.00   client  SYN      seq=100
			0.01   server  SYN,ACK  seq=300 ack=101
			0.02   client  ACK      seq=101 ack=301
			15.30  server  SYN,ACK  seq=300 ack=101
			15.30  = ESTABLISHED! SYN_RCVD!
			15.31  client  ACK      seq=101 ack=301
			15.32  = ESTABLISHED! ESTABLISHED?
		`},
		{"after a second: the ACK was ignored, or lost", `
			0.00   client  SYN      seq=100
			0.01   server  SYN,ACK  seq=300 ack=101
			0.02   client  ACK      seq=101 ack=301
			1.02   server  SYN,ACK  seq=300 ack=101
			1.03   client  ACK      seq=101 ack=301
			1.04   = ESTABLISHED! SYN_RCVD?
			4.00   = ESTABLISHED! ESTABLISHED?
		`},
	})
}
