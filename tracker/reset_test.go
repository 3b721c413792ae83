package tracker_test

import (
	"fmt"
	"testing"
)

// TestRSTAcceptability applies RFC 5961 3.2 in every synchronized state. The receiver's window is 1000 octets. A RST inside
// the window is answered with a challenge ACK unless it is exact. One beyond what its sender has sent is believed to be its
// own as long as the window admits it: the capture may have missed data.
func TestRSTAcceptability(t *testing.T) {
	const (
		alive = "lives"
		taken = "CLOSED?"
	)
	for _, state := range []struct {
		name, script     string
		receiver, sender string
		next             int    // the receiver's RCV.NXT
		before, beyond   string // what becomes of the receiver when the RST is one below RCV.NXT, or in the window
	}{
		{"SYN_RCVD", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101`, "server", "client", 101, alive, alive},
		{"ESTABLISHED", established, "client", "server", 301, alive, alive},
		{"FIN_WAIT_1", established + `
	1.000  client  FIN,ACK  seq=111 ack=301`, "client", "server", 301, alive, alive},
		{"FIN_WAIT_2", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112`, "client", "server", 301, alive, taken}, // an orphan takes any in the window
		{"CLOSE_WAIT", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.010  client  ACK      seq=111 ack=302`, "client", "server", 302, taken, alive}, // the number of the FIN
		{"CLOSING", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.001  server  FIN,ACK  seq=301 ack=111
	1.002  client  ACK      seq=112 ack=302`, "client", "server", 302, taken, alive},
		{"LAST_ACK", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.001  client  ACK      seq=111 ack=302
	1.500  client  FIN,ACK  seq=111 ack=302`, "client", "server", 302, taken, alive},
		{"TIME_WAIT", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	1.011  client  ACK      seq=112 ack=302`, "client", "server", 302, taken, alive},
	} {
		for _, rst := range []struct {
			name   string
			offset int
			want   string
		}{
			{"two below RCV.NXT", -2, alive},
			{"one below RCV.NXT", -1, state.before},
			{"RCV.NXT", 0, taken},
			{"the second in the window", 1, state.beyond},
			{"the last in the window", 999, state.beyond},
			{"the end of the window", 1000, state.beyond},
			{"beyond the window", 1001, alive},
			{"far beyond", 1 << 20, alive},
		} {
			t.Run(state.name+"/"+rst.name, func(t *testing.T) {
				want := rst.want
				if want == alive {
					want = state.name + "?"
				}
				line := fmt.Sprintf("\n2.000 %s RST seq=%d", state.sender, state.next+rst.offset)
				tr := play(t, state.script+line)
				c := tr.connection(0)
				got := stateText(&c.Ends[map[string]int{"client": 0, "server": 1}[state.receiver]])
				if got != want {
					t.Errorf("%s: the %s is %s, want %s", line, state.receiver, got, want)
				}
			})
		}
	}
}

// TestWhoseRST tells a RST of the endpoint itself from one that somebody else made.
func TestWhoseRST(t *testing.T) {
	tell(t, []story{
		{"at its own position", established + `
	1.000  client  RST      seq=111
	= CLOSED? CLOSED?
	: client it sent a RST in packet 6
	: server it must have taken the peer's RST in packet 6
	| handshake - rst both
		`},
		{"where the peer last acknowledged", established + `
	1.000  client  ACK      seq=111 ack=301 len=10
	1.100  client  RST      seq=111
	= CLOSED? CLOSED?
		`},
		{"below: an old or a guessed one", established + `
	1.000  client  RST      seq=105
	= ESTABLISHED? ESTABLISHED?
		`},
		{"below, but with its timestamp", stamped + `
	1.000  client  RST      seq=105 ts=2000/5030
	= CLOSED! ESTABLISHED?
		`},
		{"beyond, at the end of the peer's window", established + `
	1.000  client  RST      seq=1111
	= CLOSED? ESTABLISHED?
		`},
		{"beyond the peer's window", established + `
	1.000  client  RST      seq=1112
	= ESTABLISHED? ESTABLISHED?
		`},
		{"beyond, and the peer objects", established + `
	1.000  client  RST      seq=200
	1.010  server  ACK      seq=301 ack=111
	= ESTABLISHED? ESTABLISHED?
		`},
		{"beyond, and the peer has said nothing since", established + `
	1.000  server  ACK      seq=301 ack=111
	1.000  client  RST      seq=200
	= CLOSED? ESTABLISHED?
		`},
		{"the next but one, also if that is 0", established + `
	1.000  server  RST      seq=302
	= ESTABLISHED? CLOSED?
		`},
		{"below, whatever the peer's FIN acknowledged", established + `
	1.000  server  FIN,ACK  seq=301 ack=111
	1.010  client  RST      seq=105
	= ESTABLISHED? FIN_WAIT_1?
		`},
		{"in a window that is scaled", `
	0.000  client  SYN      seq=100 scale=7
	0.010  server  SYN,ACK  seq=300 ack=101 scale=2
	0.011  client  ACK      seq=101 ack=301
	0.020  server  ACK      seq=301 ack=101
	1.000  client  RST      seq=4101
	= CLOSED? ESTABLISHED?
		`},
		{"beyond a window that is scaled", `
	0.000  client  SYN      seq=100 scale=7
	0.010  server  SYN,ACK  seq=300 ack=101 scale=2
	0.011  client  ACK      seq=101 ack=301
	0.020  server  ACK      seq=301 ack=101
	1.000  client  RST      seq=4102
	= ESTABLISHED? ESTABLISHED?
		`},
		{"a window is not scaled where one end did not offer it", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101 scale=2
	0.011  client  ACK      seq=101 ack=301
	0.020  server  ACK      seq=301 ack=101
	1.000  client  RST      seq=1102
	= ESTABLISHED? ESTABLISHED?
		`},
		{"a window whose scale was not captured may be as large as any", `
	0.000  client  SYN      seq=100 cut=1
	0.010  server  SYN,ACK  seq=300 ack=101 cut=1
	0.011  client  ACK      seq=101 ack=301
	0.020  server  ACK      seq=301 ack=101
	1.000  client  RST      seq=16384101
	= CLOSED? ESTABLISHED?
		`},
		{"it goes on: somebody else sent it", established + `
	1.000  client  RST      seq=111
	1.200  client  ACK      seq=111 ack=301 len=5
	1.210  server  ACK      seq=301 ack=116
	= ESTABLISHED? ESTABLISHED!
	3.000  client  ACK      seq=116 ack=301 len=5
	3.010  server  ACK      seq=301 ack=121
	= ESTABLISHED! ESTABLISHED!
		`},
		{"it goes on with a later timestamp", stamped + `
	1.000  client  RST      seq=111 ts=1990/5030
	1.200  client  ACK      seq=111 ack=301 len=5 ts=2190/5030
	1.210  server  ACK      seq=301 ack=116 ts=6210/2190
	= ESTABLISHED? ESTABLISHED!
		`},
		{"it goes on, and the RST had no timestamp", stamped + `
	1.000  client  RST      seq=111
	1.200  client  ACK      seq=111 ack=301 len=5 ts=2190/5030
	1.210  server  ACK      seq=301 ack=116 ts=6210/2190
	= ESTABLISHED? ESTABLISHED!
		`},
		{"what a capture shows just behind it was sent before", established + `
	1.000  client  RST      seq=111
	1.005  client  ACK      seq=111 ack=301
	= CLOSED? CLOSED?
		`},
		{"the first of two", established + `
	1.000  client  RST      seq=111
	1.005  client  ACK      seq=111 ack=301
	1.100  client  RST      seq=111
	= CLOSED? CLOSED?
	: client it sent a RST in packet 6
		`},
		{"the first of two at the same time", established + `
	1.000  client  RST      seq=111
	1.000  client  RST      seq=111
	: client it sent a RST in packet 6
		`},
		{"the second of two at the same time, if the first is not its own", established + `
	1.000  client  RST      seq=105
	1.000  client  RST      seq=111
	= CLOSED? CLOSED?
		`},
		{"the first of two, if the second is not its own", established + `
	1.000  client  RST      seq=111
	1.003  client  ACK      seq=111 ack=301
	1.100  client  RST      seq=105
	= CLOSED? CLOSED?
	: client it sent a RST in packet 6
		`},
		{"neither of two, if it went on after the first and the second is not its own", established + `
	1.000  client  RST      seq=111
	1.200  client  ACK      seq=111 ack=301 len=5
	1.210  server  ACK      seq=301 ack=116
	1.400  client  RST      seq=105
	= ESTABLISHED? ESTABLISHED!
		`},
		{"the second of two, if it went on after the first", established + `
	1.000  client  RST      seq=111
	1.200  client  ACK      seq=111 ack=301 len=5
	1.210  server  ACK      seq=301 ack=116
	1.400  client  RST      seq=116
	= CLOSED? CLOSED?
	: client it sent a RST in packet 9
	: server it must have taken the peer's RST in packet 9
		`},
		{"the second of two, if the first is not its own", established + `
	1.000  client  RST      seq=105
	1.100  client  RST      seq=111
	= CLOSED? CLOSED?
	: client it sent a RST in packet 7
		`},
		{"the first of two that were captured in the other order", established + `
	1.100  client  RST      seq=105
	1.000  client  RST      seq=111
	= CLOSED? CLOSED?
	: client it sent a RST in packet 7
		`},
		{"with a timestamp that its clock cannot show", stamped + `
	1.000  client  RST      seq=105 ts=900000000/5030
	= ESTABLISHED? ESTABLISHED?
		`},
		{"with a timestamp where the connection uses none", established + `
	1.000  client  RST      seq=105 ts=2000/5030
	= ESTABLISHED? ESTABLISHED?
		`},
		{"as a closed port answers the SYN, because the process is gone", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101   # lost behind the capture
	1.000  client  SYN      seq=100
	1.001  server  RST,ACK  seq=0 ack=101
	= CLOSED? CLOSED?
		`},
		{"not as a closed port answers: it has a number", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	1.000  client  SYN      seq=100
	1.001  server  RST,ACK  seq=50 ack=101
	= CLOSED? SYN_RCVD?
		`},
		{"as a closed port answers the SYN, where the SYN-ACK was missed", `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	0.020  server  ACK      seq=301 ack=101
	1.000  server  RST,ACK  seq=0 ack=101
	= ESTABLISHED? CLOSED?
		`},
		{"not as a closed port answers: nobody has sent a SYN", `
	0.000  client  ACK      seq=101 ack=301 len=10
	0.010  server  ACK      seq=301 ack=111
	1.000  server  RST,ACK  seq=0 ack=0
	= ESTABLISHED?? ESTABLISHED??
		`},
		{"without a number, of an end whose peer has acknowledged nothing", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	1.000  server  RST,ACK  seq=0 ack=5000
	= SYN_SENT? SYN_RCVD?
		`},
		{"of number 0, to which the peer objects", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	1.000  server  RST      seq=0
	1.500  client  SYN      seq=100
	=1     SYN_SENT? SYN_RCVD?
		`},
		{"after one of number 0", `
	0.000  client  SYN      seq=100
	0.010  server  SYN,ACK  seq=300 ack=101
	1.000  server  RST      seq=0
	1.100  server  RST      seq=400
	=1     SYN_SENT? CLOSED?
		`},
		{"of number 0, where nothing has that number", established + `
	0.500  client  ACK      seq=111 ack=301 len=7
	0.510  server  ACK      seq=301 ack=118
	1.000  client  RST      seq=0
	=1     ESTABLISHED? ESTABLISHED?
		`},
		{"of an end that had sent nothing, whatever its number", `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=4000000000 ack=101
	= CLOSED? CLOSED?
	: server it answered the SYN with a RST in packet 2
	| refused - rst both
		`},
		{"an end that goes on is presumed for a second, as it may have been captured out of order", established + `
	1.000  client  RST      seq=111
	1.500  client  ACK      seq=111 ack=301 len=5
	1.510  server  ACK      seq=301 ack=116
	= ESTABLISHED? ESTABLISHED!
	2.000  client  ACK      seq=116 ack=301
	= ESTABLISHED! ESTABLISHED!
		`},
		{"both reset", stamped + `
	1.000  client  RST      seq=111 ts=2000/5030
	1.001  server  RST      seq=301 ts=6000/1020
	= CLOSED! CLOSED!
		`},
	})
}

// TestWhoTakesARST follows the receiver through what RFC 5961 3.2 leaves to timing, and what Linux adds.
func TestWhoTakesARST(t *testing.T) {
	tell(t, []story{
		{"exact behind data in flight", established + `
	1.000  server  ACK      seq=301 ack=111 len=100
	1.001  server  RST,ACK  seq=401 ack=111
	= CLOSED? CLOSED?
		`},
		{"exact behind data in flight that crossed an ACK", established + `
	1.000  server  ACK      seq=301 ack=111 len=100
	1.0035 client  ACK      seq=111 ack=301
	1.500  server  RST,ACK  seq=401 ack=111
	= CLOSED? CLOSED?
		`},
		{"exact behind data that fills the window", established + `
	1.000  server  ACK      seq=301 ack=111 len=1000
	1.001  server  RST,ACK  seq=1301 ack=111
	= CLOSED? CLOSED?
		`},
		{"exact behind more than the window holds", established + `
	1.000  server  ACK      seq=301 ack=111 len=1001
	1.001  server  RST,ACK  seq=1302 ack=111
	= ESTABLISHED? CLOSED?
		`},
		{"not exact: more was acknowledged than the capture holds", established + `
	1.000  server  ACK      seq=301 ack=111 len=10
	1.001  client  ACK      seq=111 ack=401
	1.002  server  RST      seq=311
	= ESTABLISHED? CLOSED?
		`},
		{"not exact: the data before it was never acknowledged", established + `
	1.000  server  ACK      seq=301 ack=111 len=100
	3.000  server  RST,ACK  seq=401 ack=111
	= ESTABLISHED? CLOSED?
		`},
		{"a challenge that was captured just after it revokes nothing", established + `
	1.000  server  RST      seq=301
	1.0035 client  ACK      seq=111 ack=301
	= CLOSED? CLOSED?
		`},
		{"whatever comes from the receiver a round trip later revokes it", established + `
	1.000  server  RST      seq=301
	1.100  client  ACK      seq=111 ack=301
	= ESTABLISHED! CLOSED?
		`},
		{"the first of two", established + `
	1.000  server  RST      seq=301
	1.100  server  RST      seq=1000000
	= CLOSED? CLOSED?
	: client it must have taken the peer's RST in packet 6
		`},
		{"the second of two", established + `
	1.000  server  RST      seq=400
	1.001  client  ACK      seq=111 ack=301
	1.010  server  RST      seq=301
	= CLOSED? CLOSED?
	: client it must have taken the peer's RST in packet 8
		`},
		{"within what was acknowledged selectively", established + `
	1.000  server  ACK      seq=301 ack=111 len=100   # lost behind the capture
	1.010  server  ACK      seq=401 ack=111 len=100
	1.020  client  ACK      seq=111 ack=301 sack=401/501
	2.000  server  RST,ACK  seq=450 ack=111
	= ESTABLISHED? ESTABLISHED?
		`},
		{"at the end of what was once acknowledged selectively", established + `
	1.000  server  ACK      seq=301 ack=111 len=100   # lost behind the capture
	1.010  server  ACK      seq=401 ack=111 len=100
	1.020  client  ACK      seq=111 ack=301 sack=401/501
	1.300  server  ACK      seq=301 ack=111 len=100
	1.301  client  ACK      seq=111 ack=501
	1.400  server  ACK      seq=501 ack=111 len=100
	1.401  client  ACK      seq=111 ack=601
	2.000  server  RST,ACK  seq=501 ack=111
	= ESTABLISHED? ESTABLISHED?
		`},
		{"at the end of a duplicate that was reported selectively (RFC 2883)", established + `
	1.000  server  ACK      seq=301 ack=111 len=100
	1.001  client  ACK      seq=111 ack=401
	1.300  server  ACK      seq=301 ack=111 len=50
	1.301  client  ACK      seq=111 ack=401 sack=301/351
	2.000  server  RST,ACK  seq=351 ack=111
	= ESTABLISHED? ESTABLISHED?
		`},
		{"the number of a FIN that is not acknowledged", established + `
	1.000  server  ACK      seq=301 ack=111 len=1    # lost behind the capture
	1.001  server  FIN,ACK  seq=302 ack=111
	1.010  client  ACK      seq=111 ack=301 sack=302/303
	2.000  server  RST,ACK  seq=302 ack=111
	= ESTABLISHED? FIN_WAIT_1?
		`},
		{"in the window of FIN_WAIT_2, but just after a segment that shows a socket", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112 len=5
	1.901  client  ACK      seq=112 ack=306
	1.903  server  RST,ACK  seq=406 ack=112
	= FIN_WAIT_2? CLOSED?
		`},
		{"in TIME_WAIT", established + `
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	1.011  client  ACK      seq=112 ack=302
	2.000  server  RST      seq=302
	= CLOSED? CLOSED?
	: client it must have taken the peer's RST in packet 9
	| handshake client fin both
		`},
		{"by an end that was not captured", `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.020  server  ACK      seq=301 ack=101 len=5
	1.000  server  RST,ACK  seq=400 ack=101
	= CLOSED?? CLOSED?
		`},
		{"by an end that sends no ACK, if it is the next", `
	0.000  client  FIN      seq=100
	0.010  server  ACK      seq=300 ack=101
	= FIN_WAIT_2?? CLOSE_WAIT??
	1.000  server  RST      seq=300
	= CLOSED?? CLOSED??
		`},
		{"by an end that sends no ACK, only if it is the next", `
	0.000  client  FIN      seq=100
	0.010  server  ACK      seq=300 ack=101
	1.000  server  RST      seq=301
	= FIN_WAIT_2?? CLOSED??
		`},
		{"by an end whose opening was missed: not one far from what it has acknowledged", `
	0.000  client  ACK      seq=101 ack=301 len=10
	0.010  server  RST      seq=500
	= ESTABLISHED?? CLOSED??
		`},
	})
}

// TestRSTInSYN_SENT: RFC 9293 3.10.7.3 takes a RST only with an ACK of the SYN.
func TestRSTInSYNSENT(t *testing.T) {
	tell(t, []story{
		{"with an ACK of the SYN", `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=101
	= CLOSED? CLOSED?
		`},
		{"with an ACK of what the SYN carried", `
	0.000  client  SYN      seq=100 len=10
	0.001  server  RST,ACK  seq=0 ack=111
	= CLOSED? CLOSED?
		`},
		{"with an ACK of the SYN alone, whatever it carried", `
	0.000  client  SYN      seq=100 len=10
	0.001  server  RST,ACK  seq=0 ack=101
	= CLOSED? CLOSED?
		`},
		{"with the ISS as its ACK", `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=100
	= SYN_SENT? CLOSED?
		`},
		{"with an ACK of more than was sent", `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=102
	= SYN_SENT? CLOSED?
		`},
		{"without ACK", `
	0.000  client  SYN      seq=100
	0.001  server  RST      seq=0
	= SYN_SENT? CLOSED?
		`},
	})
}
