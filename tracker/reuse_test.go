package tracker_test

import (
	"testing"

	"tcpleak/tracker"
)

// count tells how many connections script makes.
func count(t *testing.T, want int, script string) {
	t.Helper()
	if got := play(t, script).table.Len(); got != want {
		t.Errorf("%d connections, want %d", got, want)
	}
}

// A SYN into a connection in a synchronized state is answered with a challenge ACK, whatever its number (RFC 5961 4.2). Its
// sender has left the old connection; the receiver has not.
func TestASYNIntoAConnectionIsChallenged(t *testing.T) {
	for _, state := range []struct{ name, script, server string }{
		{"ESTABLISHED", established, "ESTABLISHED!"},
		{"FIN_WAIT_1", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.200  server  FIN,ACK  seq=301 ack=111`, "FIN_WAIT_1?"},
		{"FIN_WAIT_2", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.001  client  ACK      seq=111 ack=302`, "FIN_WAIT_2?"},
		{"CLOSE_WAIT", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112`, "CLOSE_WAIT!"},
		{"LAST_ACK", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	1.500  server  FIN,ACK  seq=301 ack=112`, "LAST_ACK?"},
	} {
		t.Run(state.name, func(t *testing.T) {
			for _, syn := range []string{"111", "112", "600", "1200", "1000000000", "50"} {
				play(t, state.script+`
	2.000  client  SYN      seq=`+syn+`
	=1     CLOSED? `+state.server+`
	=2     SYN_SENT? LISTEN?
				`)
			}
		})
	}
	tell(t, []story{
		{"the challenge is of the old connection, which lives", established + `
	2.000  client  SYN      seq=600
	2.010  server  ACK      seq=301 ack=111
	=1     CLOSED? ESTABLISHED!
	:1     client it opened a new connection with the same addresses and ports in packet 6
	=2     SYN_SENT? LISTEN?
		`},
		{"also where its ACK lies at the end of the SYN", established + `
	2.000  client  SYN      seq=110
	2.010  server  ACK      seq=301 ack=111
	=1     CLOSED? ESTABLISHED!
	=2     SYN_SENT? LISTEN?
		`},
		{"the sender resets what it does not know; its attempt goes on", established + `
	2.000  client  SYN      seq=600
	2.010  server  ACK      seq=301 ack=111
	2.011  client  RST      seq=111
	=1     CLOSED? CLOSED?
	7.000  =       CLOSED? LISTEN?
	:2     client it has long ceased to repeat its SYN, first sent in packet 6: it gave up
		`},
		{"the sender repeats its SYN: the RST was lost", established + `
	2.000  client  SYN      seq=600
	2.010  server  ACK      seq=301 ack=111
	3.000  client  SYN      seq=600
	3.010  server  ACK      seq=301 ack=111
	=1     CLOSED! ESTABLISHED?
	6.000  =       SYN_SENT? LISTEN?
	=1     CLOSED! ESTABLISHED?
		`},
		{"the supposed sender does neither: somebody else sent the SYN", established + `
	2.000  client  SYN      seq=600
	2.010  server  ACK      seq=301 ack=111
	5.499  =       SYN_SENT? LISTEN?
	5.500  =       UNKNOWN?? LISTEN?
	=1     ESTABLISHED? ESTABLISHED!
	:2     client the SYN in packet 6 is hardly its own: it ignored the answer, and lives on in an older connection
		`},
		{"whichever end the capture showed first", `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	2.000  client  SYN      seq=600
	2.010  server  ACK      seq=301 ack=101
	6.000  =       UNKNOWN?? LISTEN?
	=1     ESTABLISHED? ESTABLISHED?
		`},
		{"the supposed sender goes on", established + `
	2.000  client  SYN      seq=600
	2.500  client  ACK      seq=111 ack=301 len=5
	2.510  server  ACK      seq=301 ack=116
	=1     ESTABLISHED! ESTABLISHED!
		`},
		{"what a capture shows just behind the SYN was sent before", established + `
	2.000  client  SYN      seq=600
	2.005  client  ACK      seq=111 ack=301
	=1     CLOSED? ESTABLISHED!
		`},
		{"no challenge: the receiver may be gone, or have lost the SYN", established + `
	2.000  client  SYN      seq=600
	=1     CLOSED? ESTABLISHED!
	2.517  =       SYN_SENT? LISTEN?   # half a second, and the way there and back
	=1     CLOSED? ESTABLISHED!
	2.600  =       SYN_SENT? LISTEN?
	=1     CLOSED? ESTABLISHED?
	6.000  =       CLOSED? LISTEN?
	=1     CLOSED? ESTABLISHED?
		`},
		{"nor is what it sent at the same time a challenge", established + `
	2.000  client  SYN      seq=600
	2.000  server  ACK      seq=301 ack=111 len=10
	2.600  =       SYN_SENT? LISTEN?
	=1     CLOSED? ESTABLISHED?
	6.000  =       CLOSED? LISTEN?
	=1     CLOSED? ESTABLISHED?
		`},
		{"nor does it answer", established + `
	2.000  server  ACK      seq=301 ack=111
	2.000  client  SYN      seq=600
	2.600  =       SYN_SENT? LISTEN?
	=1     CLOSED? ESTABLISHED?
		`},
		{"a challenge that is answered at once", established + `
	2.000  client  SYN      seq=600
	2.010  server  ACK      seq=301 ack=111
	2.010  client  RST      seq=111
	6.000  =       CLOSED? LISTEN?
	=1     CLOSED? CLOSED?
		`},
		{"a challenge: it is there", established + `
	2.000  client  SYN      seq=600
	2.010  server  ACK      seq=301 ack=111
	3.000  =       SYN_SENT? LISTEN?
	=1     CLOSED? ESTABLISHED!
		`},
		{"a RST instead: it is not", established + `
	2.000  client  SYN      seq=600
	2.001  server  RST,ACK  seq=0 ack=601
	=1     CLOSED? CLOSED?
	:1     server packet 7 belongs to a new connection with the same addresses and ports
	=2     CLOSED? CLOSED?
	| refused - rst both
		`},
		{"a RST for the old connection says nothing about the new", established + `
	2.000  client  SYN      seq=600
	2.001  server  RST      seq=301
	=1     CLOSED? CLOSED?
	=2     SYN_SENT? LISTEN?
		`},
		{"not even with an ACK", established + `
	2.000  client  SYN      seq=600
	2.001  server  RST,ACK  seq=301 ack=111
	=1     CLOSED? CLOSED?
	=2     SYN_SENT? LISTEN?
		`},
		{"a RST of neither leaves the old one alone", established + `
	2.000  client  SYN      seq=600
	2.001  server  RST      seq=2000000000
	=1     CLOSED? ESTABLISHED!
		`},
	})
}

// An ACK of what was never sent, or of what was acknowledged long ago, changes nothing (RFC 5961 5.2).
func TestAnUnacceptableACKChangesNothing(t *testing.T) {
	tell(t, []story{
		{"too old", established + `
	1.000  client  ACK      seq=111 ack=301 len=100000
	1.010  server  ACK      seq=301 ack=100111
	2.000  server  ACK      seq=301 ack=111
	= ESTABLISHED! ESTABLISHED!
		`},
		{"of data never sent: the capture may have missed it", established + `
	1.000  client  ACK      seq=111 ack=5000
	= ESTABLISHED? ESTABLISHED?
		`},
		{"of data never sent, far away: it is of another connection", established + `
	1.000  server  ACK      seq=1000000000 ack=1000000000
	=1     ESTABLISHED! CLOSED?
	=2     ESTABLISHED?? ESTABLISHED??
	| midstream - - server guessed
		`},
		{"of the peer's FIN before it was sent: the capture has missed the first FIN", established + `
	1.000  server  ACK      seq=301 ack=112
	1.500  client  FIN,ACK  seq=111 ack=301
	1.510  server  ACK      seq=301 ack=112
	= FIN_WAIT_1? CLOSE_WAIT?
		`},
	})
}

// RFC 9293 3.6.1 and RFC 6191: TIME_WAIT gives way to a SYN with a higher timestamp or ISS. What shows it is the SYN-ACK.
func TestReuseInTIMEWAIT(t *testing.T) {
	const closed = established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.001  client  FIN,ACK  seq=111 ack=302
	1.002  server  ACK      seq=302 ack=112
	= CLOSED? TIME_WAIT?
	`
	const closedStamped = stamped + `
	1.000  server  FIN,ACK  seq=301 ack=111 ts=6000/1020
	1.001  client  FIN,ACK  seq=111 ack=302 ts=2001/6000
	1.002  server  ACK      seq=302 ack=112 ts=6002/2001
	= CLOSED? TIME_WAIT?
	`
	tell(t, []story{
		{"a higher ISS, taken", closed + `
	5.000  client  SYN      seq=5000
	=1     CLOSED? TIME_WAIT?
	=2     SYN_SENT? LISTEN?
	5.010  server  SYN,ACK  seq=7000 ack=5001
	=1     CLOSED? CLOSED?
	=2     SYN_SENT? SYN_RCVD?
	5.011  client  ACK      seq=5001 ack=7001
	=1     CLOSED? CLOSED?
	=2     ESTABLISHED! ESTABLISHED?
	:1     server it opened a new connection with the same addresses and ports in packet 10
		`},
		{"a higher timestamp and a lower ISS, taken", closedStamped + `
	5.000  client  SYN      seq=50 ts=6000/0
	5.010  server  SYN,ACK  seq=7000 ack=51 ts=10010/6000
	=1     CLOSED? CLOSED?
	5.011  client  ACK      seq=51 ack=7001 ts=6011/10010
	=2     ESTABLISHED! ESTABLISHED?
		`},
		{"a lower ISS, refused with an ACK: the old one stays, the attempt is another", closed + `
	5.000  client  SYN      seq=50
	5.010  server  ACK      seq=302 ack=112
	=1     CLOSED? TIME_WAIT?
	=2     SYN_SENT? LISTEN?
	5.011  client  RST      seq=112
	=1     CLOSED? CLOSED?
	:1     server it must have taken the peer's RST in packet 11
	6.000  client  SYN      seq=50
	6.010  server  SYN,ACK  seq=7000 ack=51
	6.011  client  ACK      seq=51 ack=7001
	=2     ESTABLISHED! ESTABLISHED?
		`},
		{"the new client was there, but the old server goes on", established + `
	2.000  client  ACK      seq=1000000000 ack=1000000000
	2.500  server  ACK      seq=301 ack=111 len=5
	6.000  =       ESTABLISHED?? ESTABLISHED??
	=1     CLOSED? ESTABLISHED?
		`},
		{"a RST that follows the FINs", closed + `
	2.000  client  RST      seq=112
	= CLOSED? CLOSED?
	:1     client it sent a RST in packet 9
	| handshake server fin both
		`},
		{"a RST to TIME_WAIT from who has closed", closed + `
	2.000  server  RST      seq=302
	= CLOSED? CLOSED?
	: client packet 8 acknowledged its FIN, which answered the peer's
	| handshake server fin both
		`},
		{"a SYN that was captured after the ACK that completes its handshake", closed + `
	5.010  server  SYN,ACK  seq=7000 ack=5001
	5.011  client  ACK      seq=5001 ack=7001
	5.000  client  SYN      seq=5000
	=1     CLOSED? CLOSED?
	=2     ESTABLISHED! ESTABLISHED?
		`},
		{"a second ISS of the same server, whose SYN was missed", closed + `
	5.000  server  SYN,ACK  seq=7000 ack=5001
	=1     CLOSED? CLOSED?
	=2     ESTABLISHED?? SYN_RCVD?
	5.011  client  ACK      seq=5001 ack=7001
	=2     ESTABLISHED? ESTABLISHED?
	:1     client packet 10 belongs to a new connection with the same addresses and ports
		`},
	})
}

// Which SYN, SYN-ACK or RST belongs to which connection with the same addresses and ports.
func TestIncarnations(t *testing.T) {
	for _, c := range []struct {
		name   string
		want   int
		script string
	}{
		{"a SYN and its repetition", 1, `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=100
		`},
		{"a SYN with another ISS", 2, `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=99
		`},
		{"a SYN overtaken by the ACK that completes its handshake", 1, `
	0.011  client  ACK      seq=101 ack=301
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	= ESTABLISHED! ESTABLISHED?
		`},
		{"a SYN into a connection whose opening was missed", 2, `
	0.000  client  ACK      seq=101 ack=301 len=5
	5.000  client  SYN      seq=5000
	=2     SYN_SENT? UNKNOWN??
		`},
		{"a SYN overtaken by its SYN-ACK", 1, `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.000  client  SYN      seq=100
		`},
		{"a SYN with data, overtaken by a SYN-ACK that takes it", 1, `
	0.010  server  SYN,ACK  seq=300 ack=111
	0.000  client  SYN      seq=100 len=10
		`},
		{"a SYN with data, overtaken by a SYN-ACK that does not take it", 1, `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.000  client  SYN      seq=100 len=10
		`},
		{"a SYN after the SYN-ACK to another", 2, `
	0.010  server  SYN,ACK  seq=300 ack=101
	5.000  client  SYN      seq=5000
		`},
		{"a SYN overtaken by the RST that refuses it", 1, `
	0.001  server  RST,ACK  seq=0 ack=101
	0.000  client  SYN      seq=100
	= CLOSED? CLOSED?
		`},
		{"a SYN with data, overtaken by the RST that refuses all of it", 1, `
	0.001  server  RST,ACK  seq=0 ack=111
	0.000  client  SYN      seq=100 len=10
		`},
		{"a SYN with data, overtaken by a RST that acknowledges the SYN alone", 1, `
	0.001  server  RST,ACK  seq=0 ack=101
	0.000  client  SYN      seq=100 len=10
		`},
		{"a SYN after the RST that refused another", 2, `
	0.001  server  RST,ACK  seq=0 ack=101
	5.000  client  SYN      seq=5000
		`},
		{"a SYN that crosses another", 1, `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
		`},
		{"a SYN from who has refused the other's", 2, `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=101
	1.000  server  SYN      seq=300
		`},
		{"a SYN from who has refused the last of two", 3, `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=5000
	1.001  server  RST,ACK  seq=0 ack=5001
	2.000  server  SYN      seq=300
		`},
		{"a SYN that comes again after the other end has tried", 2, `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=101
	1.000  server  SYN      seq=900
	2.000  client  SYN      seq=100
	=2     SYN_SENT? SYN_SENT?
		`},
		{"a SYN-ACK overtaken by the RST that answers it", 1, `
	0.001  client  RST      seq=101
	0.000  server  SYN,ACK  seq=300 ack=101   # of a SYN that somebody sent in the client's name
	= CLOSED? CLOSED?
		`},
		{"a SYN-ACK after a RST that answers something else", 2, `
	0.001  client  RST      seq=555
	1.000  server  SYN,ACK  seq=300 ack=101
		`},
		{"a SYN-ACK after a RST into a connection whose opening was missed", 2, `
	0.000  server  ACK      seq=301 ack=101 len=5
	0.010  client  RST      seq=101
	5.000  server  SYN,ACK  seq=9000 ack=101
		`},
		{"a SYN-ACK to more than the SYN", 2, `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=102
		`},
		{"a SYN-ACK to the ISS", 2, `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=100
		`},
		{"a SYN-ACK to an older SYN", 2, `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=51
		`},
		{"a SYN-ACK to a part of the SYN's data", 1, `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=105
		`},
		{"a SYN-ACK with another ISS, before the first took effect", 1, `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101    # a SYN cookie is not the same a minute later
	1.010  server  SYN,ACK  seq=9000 ack=101
	1.011  client  ACK      seq=101 ack=9001
	= ESTABLISHED! ESTABLISHED?
		`},
		{"a SYN-ACK with another ISS, after the first was acknowledged", 2, handshake + `
	1.010  server  SYN,ACK  seq=9000 ack=101
		`},
		{"a SYN-ACK with another ISS than the SYN that crossed", 2, `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	0.010  server  SYN,ACK  seq=900 ack=101
		`},
		{"a SYN-ACK overtaken by the ACK that answers it, its SYN missed", 1, `
	0.011  client  ACK      seq=101 ack=301
	0.010  server  SYN,ACK  seq=300 ack=101
	= ESTABLISHED? ESTABLISHED?
		`},
		{"a SYN-ACK overtaken by what followed on both sides, its SYN missed", 1, `
	0.011  client  ACK      seq=101 ack=301
	0.012  server  ACK      seq=301 ack=101 len=5
	0.010  server  SYN,ACK  seq=300 ack=101
		`},
		{"a SYN-ACK with another ISS, its SYN missed, into a connection whose opening was missed", 2, `
	0.011  client  ACK      seq=101 ack=301
	0.012  server  ACK      seq=301 ack=101 len=5
	5.000  server  SYN,ACK  seq=9000 ack=101
		`},
		{"a SYN-ACK to another SYN, into a connection whose opening was missed", 2, `
	0.011  client  ACK      seq=101 ack=301
	5.000  server  SYN,ACK  seq=9000 ack=5001
		`},
		{"a SYN-ACK overtaken by its server's data", 1, `
	0.000  client  SYN      seq=100
	0.012  server  ACK      seq=301 ack=101 len=5
	0.010  server  SYN,ACK  seq=300 ack=101
		`},
		{"a SYN-ACK with an ISS that does not go with its server's data", 2, `
	0.000  client  SYN      seq=100
	0.012  server  ACK      seq=301 ack=101 len=5
	1.000  server  SYN,ACK  seq=9000 ack=101
		`},
		{"an ACK that answers no SYN of this capture", 2, `
	0.000  client  SYN      seq=100
	0.010  server  ACK      seq=7000 ack=900    # a challenge, of a connection that was not captured
	=1     SYN_SENT? UNKNOWN??
		`},
		{"an ACK that answers an older SYN than this capture's", 2, `
	0.000  client  SYN      seq=100
	0.010  server  ACK      seq=7000 ack=50
		`},
		{"an ACK of the ISS", 2, `
	0.000  client  SYN      seq=100
	0.010  server  ACK      seq=7000 ack=100
		`},
		{"data from a server whose SYN-ACK was missed", 1, `
	0.000  client  SYN      seq=100
	0.020  server  ACK      seq=301 ack=101 len=5
		`},
		{"a RST that answers nothing", 1, established + `
	1.000  client  RST,ACK  seq=2000000000 ack=2000000000
		`},
		{"a SYN with RST opens nothing", 1, established + `
	1.000  client  SYN,RST  seq=111
		`},
		{"segments beyond a megabyte that was missed on both sides", 1, established + `
	5.000  client  ACK      seq=1000111 ack=1000301 len=5
		`},
		{"segments behind a download that was missed", 1, established + `
	5.000  client  ACK      seq=111 ack=500000000
		`},
		{"segments behind an upload that was missed", 1, established + `
	5.000  client  ACK      seq=500000000 ack=301
		`},
		{"old duplicates from a megabyte ago", 1, established + `
	1.000  client  ACK      seq=111 ack=301 len=1000000
	1.010  server  ACK      seq=301 ack=1000111 len=1000000
	1.011  client  ACK      seq=1000111 ack=1000301
	2.000  client  ACK      seq=111 ack=301 len=10
		`},
		{"segments far away in both spaces", 2, established + `
	5.000  client  ACK      seq=1000000000 ack=1000000000
	=1     CLOSED? ESTABLISHED!
	:1     client packet 6 belongs to a new connection with the same addresses and ports
		`},
		{"segments far away in one space and a megabyte in the other", 2, established + `
	5.000  client  ACK      seq=1000000000 ack=1000301
		`},
		{"segments far away in the other space and a megabyte in the one", 2, established + `
	5.000  client  ACK      seq=1000111 ack=1000000000
		`},
	} {
		t.Run(c.name, func(t *testing.T) { count(t, c.want, c.script) })
	}
}

// What the newest incarnation says about those before it.
func TestWhatANewAttemptSaysAboutTheOld(t *testing.T) {
	tell(t, []story{
		{"a RST to the second of two attempts says nothing about the first one's server", `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=5000
	1.001  server  RST,ACK  seq=0 ack=5001
	=1     CLOSED? UNKNOWN??
	=2     CLOSED? CLOSED?
		`},
		{"a RST to the first of two attempts says that there is nothing for the second", `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=5000
	1.001  server  RST,ACK  seq=0 ack=101
	=1     CLOSED? CLOSED?
	=2     SYN_SENT? CLOSED??
		`},
		{"a RST with a number that a firewall made up says the same", `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=5000
	1.001  server  RST,ACK  seq=77 ack=101
	=1     CLOSED? CLOSED?
	=2     SYN_SENT? CLOSED??
		`},
		{"a SYN-ACK to the second of two attempts", `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=5000
	1.010  server  SYN,ACK  seq=300 ack=5001
	1.011  client  ACK      seq=5001 ack=301
	=1     CLOSED? CLOSED??
	=2     ESTABLISHED! ESTABLISHED?
		`},
		{"a RST as a closed port answers is of the attempt that it acknowledges", established + `
	1.000  client  SYN      seq=5000
	1.010  server  SYN,ACK  seq=2000000000 ack=5001   # lost behind the capture
	2.000  client  SYN      seq=5000
	2.001  server  RST,ACK  seq=0 ack=5001
	=2     CLOSED? CLOSED?
		`},
		{"an end that only reset has not started", `
	0.000  client  SYN      seq=100
	0.500  client  RST      seq=101
	= CLOSED? UNKNOWN??
	| unanswered - rst both
		`},
		{"an old SYN with Fast Open data that comes again opens nothing", `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=111
	0.011  client  ACK      seq=111 ack=301
	1.000  client  RST,ACK  seq=111 ack=301
	1.500  server  SYN,ACK  seq=900 ack=111
	=2     UNKNOWN?? SYN_RCVD?
		`},
		{"nor if the server now takes no data with it", `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=111
	0.011  client  ACK      seq=111 ack=301
	1.000  client  RST,ACK  seq=111 ack=301
	1.500  server  SYN,ACK  seq=900 ack=101
	=2     UNKNOWN?? SYN_RCVD?
		`},
	})
}

func TestOnlyTheNewestIncarnationsAreRemembered(t *testing.T) {
	var script string
	for _, iss := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		script += "\n" + iss + ".0 client SYN seq=" + iss + "00000"
	}
	count(t, 9, script+"\n20 client SYN seq=200000")
	count(t, 10, script+"\n20 client SYN seq=100000")
}

// How a connection opened, who closed first, what ended it, and who was seen.
func TestSummary(t *testing.T) {
	tell(t, []story{
		{"unanswered", `
	0.000  client  SYN      seq=100
	| unanswered - - both
		`},
		{"refused", `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=101
	| refused - rst both
		`},
		{"handshake", handshake + `
	| handshake - - both
		`},
		{"handshake of which only the server was captured", `
	0.010  server  SYN,ACK  seq=300 ack=101
	| handshake - - server
		`},
		{"handshake of which only the client was captured", `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	| handshake - - client
		`},
		{"handshake whose SYN-ACK was missed", `
	0.000  client  SYN      seq=100
	0.020  server  ACK      seq=301 ack=101
	| handshake - - both
		`},
		{"simultaneous", `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	| simultaneous - - both
		`},
		{"simultaneous, captured in the other order", `
	0.001  server  SYN      seq=300
	0.000  client  SYN      seq=100
	0.010  client  SYN,ACK  seq=100 ack=301
	= SYN_RCVD? SYN_SENT?
		`},
		{"fast open", `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=111
	| fast_open - - both
		`},
		{"fast open that was not taken", `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=101
	| handshake - - both
		`},
		{"fast open whose data was sent again", `
	0.000  client  SYN      seq=100 len=10
	0.010  server  SYN,ACK  seq=300 ack=101
	0.011  client  ACK      seq=101 ack=301 len=10
	0.020  server  ACK      seq=301 ack=111
	| handshake - - both
		`},
		{"midstream", `
	0.000  client  ACK      seq=101 ack=301 len=10
	0.010  server  ACK      seq=301 ack=111
	| midstream - - both guessed
		`},
		{"the SYN-ACK tells the roles", `
	0.011  client  ACK      seq=101 ack=301 port=50
	0.010  server  SYN,ACK  seq=300 ack=101 port=50
	0.012  client  FIN,ACK  seq=101 ack=301 port=50
	= FIN_WAIT_1? ESTABLISHED?
	| handshake client - both
		`},
		{"also where the server was seen first", `
	0.010  server  SYN,ACK  seq=300 ack=101 port=50
	0.011  client  ACK      seq=101 ack=301 port=50
	0.012  client  FIN,ACK  seq=101 ack=301 port=50
	= FIN_WAIT_1? ESTABLISHED?
	| handshake client - both
		`},
		{"the client closed first", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	| handshake client - both
	1.010  server  FIN,ACK  seq=301 ack=112
	| handshake client - both
	1.011  client  ACK      seq=112 ack=302
	| handshake client fin both
		`},
		{"the server closed first", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	| handshake server - both
	1.001  client  FIN,ACK  seq=111 ack=302
	| handshake server - both
	1.010  server  ACK      seq=302 ack=112
	| handshake server fin both
		`},
		{"both closed at the same time", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.001  server  FIN,ACK  seq=301 ack=111
	| handshake both - both
		`},
		{"one FIN, then a RST", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	1.020  server  RST,ACK  seq=301 ack=112
	= CLOSED? CLOSED?
	| handshake client rst both
		`},
		{"two FINs, one not acknowledged, then a RST", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	1.011  client  RST      seq=112
	= CLOSED? CLOSED?
	| handshake client rst both
		`},
		{"two FINs, the other not acknowledged, then a RST", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.001  client  FIN,ACK  seq=111 ack=302
	1.010  server  RST      seq=302
	= CLOSED? CLOSED?
	| handshake server rst both
		`},
		{"FINs of which only the client's was captured", `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	1.000  client  FIN,ACK  seq=101 ack=401
	1.100  client  ACK      seq=102 ack=402
	= TIME_WAIT? CLOSED??
	| handshake client fin client
		`},
		{"FINs of which only the server's was captured", `
	0.010  server  SYN,ACK  seq=300 ack=101
	1.000  server  ACK      seq=301 ack=102
	1.100  server  FIN,ACK  seq=301 ack=102
	= TIME_WAIT?? CLOSED?
	| handshake server fin server
		`},
		{"a RST of which only the client's side was captured", `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	1.000  client  FIN,ACK  seq=101 ack=301
	1.100  client  RST      seq=102
	= CLOSED? CLOSED??
	| handshake client rst client
		`},
		{"a RST that the client does not take, and gives up", `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=5000
	9.000  =       CLOSED? CLOSED?
	| refused - rst both
		`},
		{"both ends use the same port", `
	0.000  client  SYN      seq=100 port=80
	0.010  server  SYN,ACK  seq=300 ack=101 port=80
	0.011  client  ACK      seq=101 ack=301 port=80
	= ESTABLISHED! ESTABLISHED?
		`},
		{"the SYN tells the roles where the server was seen first", `
	0.012  server  ACK      seq=301 ack=101 len=5 port=50
	0.000  client  SYN      seq=100 port=50
	| handshake - - both
		`},
		{"an attempt that was given up has not ended", `
	0.000  client  SYN      seq=100
	9.000  =       CLOSED? UNKNOWN??
	| unanswered - - both
		`},
	})
}

func TestACaptureThatDroppedPacketsConfirmsNothing(t *testing.T) {
	tr := play(t, established)
	tr.table.CaptureDropped()
	tr.expect(0, 0, "ESTABLISHED?", "ESTABLISHED?")
}

func TestASegmentThatIsNotBelievedIsCounted(t *testing.T) {
	tr := play(t, stamped+`
	1.000  client  FIN,ACK  seq=211 ack=301
	`)
	if got := tr.connection(0).Ends[tracker.Client].Packets; got != 4 {
		t.Errorf("%d packets from the client, want 4", got)
	}
}
