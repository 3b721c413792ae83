package tracker_test

import "testing"

// RFC 9293 3.10.7.4: a segment that is not acceptable is answered with an ACK and dropped; its own ACK is not processed.
func TestAKeepAliveDoesNotCompleteTheHandshake(t *testing.T) {
	play(t, `
		0.00   client  SYN      seq=100
		0.01   server  SYN,ACK  seq=300 ack=101       # the ACK of this is lost before the capture
		1.01   server  SYN,ACK  seq=300 ack=101
		3.01   server  SYN,ACK  seq=300 ack=101
		7.01   server  SYN,ACK  seq=300 ack=101
		9.00   client  ACK      seq=100 ack=301       # a keep-alive, one before the next
		9.01   server  ACK      seq=301 ack=101       # says so
		= ESTABLISHED! SYN_RCVD!
		10.00  client  ACK      seq=101 ack=301 len=5
		= ESTABLISHED? ESTABLISHED?
	`)
}

func TestADuplicateOfAnOldSYNOpensNothingAtItsSender(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301
		1.00  client  RST,ACK  seq=101 ack=301
		1.50  server  SYN,ACK  seq=900 ack=101        # the SYN came again, late, behind the capture
		=2 UNKNOWN?? SYN_RCVD?
		:2 client packet 5 answers the SYN of its older connection, which came again: it has not opened another
		1.52  client  RST      seq=101
		=2 CLOSED? CLOSED?
	`)
}

func TestOnlyASYNACKAnswersAnOldSYN(t *testing.T) {
	tell(t, []story{
		{"not an ACK", `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301 len=1000000
		0.03  server  ACK      seq=301 ack=1000101
		1.50  server  ACK      seq=1000000000 ack=101
		=2 ESTABLISHED?? ESTABLISHED??
		`},
		{"not of a connection whose SYN was missed", `
		0.00  client  ACK      seq=1000000 ack=301 len=10
		0.01  server  ACK      seq=301 ack=1000010
		1.50  server  SYN,ACK  seq=900000 ack=1
		=2 ESTABLISHED?? SYN_RCVD?
		`},
	})
}

func TestAnOldSYNCrossesNoNewOne(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301
		1.00  server  RST      seq=301
		2.00  server  SYN      seq=900
		2.01  client  SYN      seq=100            # an old duplicate
		| unanswered - - both
	`)
}

// A stack answers late duplicates with RSTs of their own numbers, after the one that counts.
func TestTheExactOneOfSeveralResetsCounts(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301
		1.00  client  PSH,ACK  seq=101 ack=301 len=10
		1.01  server  RST      seq=301                 # lost behind the capture
		1.30  client  PSH,ACK  seq=101 ack=301 len=10
		1.31  server  RST      seq=301
		1.32  server  RST      seq=250
		= CLOSED? CLOSED?
	`)
}

func TestTheLastOfSeveralResetsCountsWhereNoneIsExact(t *testing.T) {
	play(t, established+`
		1.00  client  RST      seq=50                 # somebody else's
		1.20  client  ACK      seq=111 ack=301 len=10
		1.21  server  ACK      seq=301 ack=121
		2.00  client  RST      seq=111                # the answer to a segment that was late
		= CLOSED? ESTABLISHED?
	`)
}

// What is exact is what its sender would send next, or what the receiver waits for.
func TestEitherEndMakesAResetExact(t *testing.T) {
	tell(t, []story{
		{"the sender's next", `
		0.00   client  SYN      seq=100
		0.01   server  SYN,ACK  seq=300 ack=101
		0.02   client  ACK      seq=101 ack=301
		1.00   client  PSH,ACK  seq=101 ack=301 len=10
		1.01   server  RST      seq=301                 # lost behind the capture
		1.295  server  PSH,ACK  seq=301 ack=101 len=10
		1.30   client  PSH,ACK  seq=101 ack=301 len=10
		1.31   server  RST      seq=311
		1.32   server  RST      seq=250
		= CLOSED? CLOSED?
		`},
		{"what the receiver waits for", `
		0.00   client  SYN      seq=100
		0.01   server  SYN,ACK  seq=300 ack=101
		0.02   client  ACK      seq=101 ack=301
		1.00   client  PSH,ACK  seq=101 ack=311 len=10  # the data that it acknowledges was missed
		1.01   server  RST      seq=311                 # lost behind the capture
		1.30   client  PSH,ACK  seq=101 ack=311 len=10
		1.31   server  RST      seq=311
		1.32   server  RST      seq=250
		= CLOSED? CLOSED?
		`},
	})
}

func TestAFINThatIsNotAnsweredDoesNotProlongTimeWait(t *testing.T) {
	play(t, `
		0.00   client  SYN      seq=100
		0.01   server  SYN,ACK  seq=300 ack=101
		0.02   client  ACK      seq=101 ack=301
		1.00   client  FIN,ACK  seq=101 ack=301
		1.01   server  ACK      seq=301 ack=102
		2.00   server  FIN,ACK  seq=301 ack=102
		2.01   client  ACK      seq=102 ack=302        # lost behind the capture
		8.00   server  FIN,ACK  seq=301 ack=102
		8.01   client  ACK      seq=102 ack=302        # lost, too
		20.00  server  FIN,ACK  seq=301 ack=102        # lost on its way to the client, which does not answer
		67.00  = TIME_WAIT? LAST_ACK?
		69.00  = CLOSED? LAST_ACK?
	`)
}

func TestAnOldSYNRepeatsNoFIN(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301
		1.00  client  FIN,ACK  seq=101 ack=301
		1.01  server  ACK      seq=301 ack=102
		3.00  client  SYN      seq=100            # an old duplicate
		= FIN_WAIT_2? CLOSE_WAIT!
	`)
}

func TestDataBeyondAFINRepeatsNoFIN(t *testing.T) {
	play(t, established+`
		1.00  client  FIN,ACK  seq=111 ack=301
		1.01  server  ACK      seq=301 ack=112
		3.00  client  ACK      seq=112 ack=301 len=5
		= FIN_WAIT_2? CLOSE_WAIT?
	`)
}

// A RST behind what the receiver has acknowledged is not the next, whether or not the capture holds what was acknowledged.
func TestAResetBehindMissedDataIsNotExact(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301
		1.00  client  ACK      seq=101 ack=401    # of data that the capture missed
		1.01  server  RST      seq=301
		= ESTABLISHED? CLOSED?
	`)
}

func TestAServerThatSpeaksHasTheACKThatTheCaptureMissed(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.03  server  PSH,ACK  seq=301 ack=101 len=20
		= SYN_SENT? ESTABLISHED?
	`)
}

// The result must not depend on how the numbers happen to compare.
func TestAResetWithoutANumberAnswersASYNOnly(t *testing.T) {
	play(t, `
		0.00  client  SYN      seq=100
		0.01  server  SYN,ACK  seq=300 ack=101
		0.02  client  ACK      seq=101 ack=301
		1.00  server  RST,ACK  seq=0 ack=5000
		= ESTABLISHED? ESTABLISHED?
	`)
}
