package ladder_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpleak/ladder"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

func TestFourSegmentsCloseAndTIME_WAITPasses(t *testing.T) {
	l := tell(t, opening+`
		1.000 client FIN,ACK seq=101 ack=301
		1.001 server ACK     seq=301 ack=102
		2.000 server FIN,ACK seq=301 ack=102
		2.001 client ACK     seq=102 ack=302
		90.00 end
	`, 1, opened+`
		4 client FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
		5 server ACK | teardown 2/4: acknowledges the FIN | FIN_WAIT_2 CLOSE_WAIT
		6 server FIN,ACK | teardown 3/4: closes its direction, too | FIN_WAIT_2 LAST_ACK
		7 client ACK | teardown 4/4: acknowledges the FIN | TIME_WAIT CLOSED
		pause at 62.000 | the client: both FINs are acknowledged, the last in packet 7, and TIME_WAIT has passed | CLOSED CLOSED
		= Nothing is missing: both ends have closed.
	`)
	if want := [2]tcp.State{tcp.Closed, tcp.Listen}; l.Begin != want {
		t.Errorf("it begins in %v, want %v", l.Begin, want)
	}
}

func TestTheAnswerToAFINClosesTheOtherDirection(t *testing.T) {
	tell(t, opening+`
		1.000 server FIN,ACK seq=301 ack=101
		1.001 client FIN,ACK seq=101 ack=302
		1.002 server ACK     seq=302 ack=102
	`, 1, opened+`
		4 server FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | ESTABLISHED FIN_WAIT_1
		5 client FIN,ACK | teardown 2/4 and 3/4: acknowledges the FIN, and closes its direction, too | LAST_ACK FIN_WAIT_2
		6 server ACK | teardown 4/4: acknowledges the FIN | CLOSED TIME_WAIT
		= Nothing is missing: both ends have closed. In TIME_WAIT an end keeps the port for a while, as it must.
	`)
}

func TestFINsThatCross(t *testing.T) {
	tell(t, opening+`
		1.000 client FIN,ACK seq=101 ack=301
		1.001 server FIN,ACK seq=301 ack=101
		1.002 client ACK     seq=102 ack=302
		1.003 server ACK     seq=302 ack=102
	`, 1, opened+`
		4 client FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
		5 server FIN,ACK | teardown 3/4: closes, too, before it has had the client's FIN: both close at once | FIN_WAIT_1 FIN_WAIT_1
		6 client ACK | teardown 4/4: acknowledges the FIN | CLOSING FIN_WAIT_2
		7 server ACK | teardown 2/4: acknowledges the FIN | TIME_WAIT TIME_WAIT
		= Nothing is missing: both ends have closed. In TIME_WAIT an end keeps the port for a while, as it must.
	`)
}

func TestAnAcknowledgmentThatWasLost(t *testing.T) {
	tell(t, opening+`
		1.000 client FIN,ACK seq=101 ack=301
		1.001 server ACK     seq=301 ack=102
		1.300 client FIN,ACK seq=101 ack=301
		1.301 server ACK     seq=301 ack=102
		1.900 client FIN,ACK seq=101 ack=301
		1.901 server ACK     seq=301 ack=102
		3.100 client FIN,ACK seq=101 ack=301
		3.101 server ACK     seq=301 ack=102
	`, 1, opened+`
		4 client FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
		5 server ACK | teardown 2/4: acknowledges the FIN | FIN_WAIT_2 CLOSE_WAIT
		6 client FIN,ACK | teardown 1/4: again: the ACK has passed here, but has not reached it; so the client is still in FIN_WAIT_1 | FIN_WAIT_1 CLOSE_WAIT
		7 server ACK | acknowledges that again
		8 client FIN,ACK ×2 | teardown 1/4: again: the ACK has passed here, but has not reached it
		9 server ACK ×2 | acknowledges that again
		= Waiting 2.1s for the server's FIN (teardown 3/4): its application has not closed the connection. The server's ACK (teardown 2/4) has passed here, but not reached the client.
	`)
}

func TestWhatARSTAnswers(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"a SYN", `
			0.000 client SYN     seq=100
			0.001 server RST,ACK seq=0 ack=101
		`, `
			1 client SYN | handshake 1/3: asks to open a connection | SYN_SENT UNKNOWN
			2 server RST,ACK | refuses: nothing listens on port 80, or a firewall answers for it | CLOSED CLOSED
			= Nothing is missing: the server refused.
		`},
		{"data, at a host that has rebooted", opening + `
			0.300 client PSH,ACK seq=101 ack=301 len=50
			0.301 server RST     seq=301
		`, opened + `
			4 client PSH,ACK len=50
			5 server RST | answers packet 4: the server has no such connection (any more); that ends it at the client, too | CLOSED CLOSED
			= Nothing is missing: a RST ends a connection at both ends, if it arrives, and nobody owes an answer.
		`},
		{"data, after the end of the reader", opening + `
			0.300 client FIN,ACK seq=101 ack=301
			0.301 server ACK     seq=301 ack=102
			0.400 server PSH,ACK seq=301 ack=102 len=50
			0.401 client RST     seq=102
		`, opened + `
			4 client FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
			5 server ACK | teardown 2/4: acknowledges the FIN | FIN_WAIT_2 CLOSE_WAIT
			6 server PSH,ACK len=50
			7 client RST | answers packet 6: the client has closed, and takes no more data; that ends it at the server, too | CLOSED CLOSED
			= Nothing is missing: a RST ends a connection at both ends, if it arrives, and nobody owes an answer.
		`},
		{"nothing", opening + `
			0.300 server RST,ACK seq=301 ack=101
		`, opened + `
			4 server RST,ACK | aborts: this ends the connection at both ends at once, without a teardown | CLOSED CLOSED
			= Nothing is missing: a RST ends a connection at both ends, if it arrives, and nobody owes an answer.
		`},
	} {
		t.Run(c.name, func(t *testing.T) { tell(t, c.script, 1, c.want) })
	}
}

func TestAForgedRSTIsTakenBack(t *testing.T) {
	tell(t, opening+`
		0.100 client PSH,ACK seq=101 ack=301 len=10
		0.101 server ACK     seq=301 ack=111
		0.300 client RST     seq=150
		0.301 server ACK     seq=301 ack=111
		0.500 client PSH,ACK seq=111 ack=301 len=10
		0.501 server ACK     seq=301 ack=121
	`, 1, opened+`
		4 run 1+1 packets 10+0 octets
		6 client RST | aborts; but this is not the number that the server expects, which goes on | CLOSED ESTABLISHED
		7 server ACK | a challenge: was that really meant?; so the client is still there: the RST was hardly its own | ESTABLISHED ESTABLISHED
		8 run 1+1 packets 10+0 octets
		= Nothing is owed: both ends are open; the capture ends here.
	`)
}

func TestAForeignSegment(t *testing.T) {
	tell(t, `
		0.000 client SYN     seq=100 ts=10/0
		0.001 server SYN,ACK seq=300 ack=101 ts=50/10
		0.002 client ACK     seq=101 ack=301 ts=10/50
		0.300 client FIN,ACK seq=150 ack=301
		0.400 client PSH,ACK seq=101 ack=301 len=5 ts=11/50
	`, 1, opened+`
		4 client FIN,ACK | not believed: it lacks the timestamps that both ends agreed on
		5 client PSH,ACK len=5
		= Nothing is owed: both ends are open; the capture ends here.
	`)
}

func TestCopiesAreLeftOut(t *testing.T) {
	l := tell(t, opening+`
		0.1000 client PSH,ACK seq=101 ack=301 len=10 id=77
		0.1005 client PSH,ACK seq=101 ack=301 len=10 id=77
		0.1010 server ACK     seq=301 ack=111 id=78
		0.1015 server ACK     seq=301 ack=111 id=78
	`, 1, opened+`
		4 run 1+1 packets 10+0 octets
		= Nothing is owed: both ends are open; the capture ends here.
	`)
	if l.Copies != 2 {
		t.Errorf("%d copies, want 2", l.Copies)
	}
}

// TestTheServerSpeaksFirst: what is seen first comes from the port that turns out to accept connections.
func TestTheServerSpeaksFirst(t *testing.T) {
	l := tell(t, `
		0.000 server PSH,ACK seq=300 ack=101 len=10
		0.001 client ACK     seq=101 ack=310
		1.000 client FIN,ACK seq=101 ack=310
	`, 1, `
		1 server PSH,ACK len=10 | so the client is in ESTABLISHED: not captured; inferred from what the peer sent up to packet 1; so the server is in ESTABLISHED: inferred from what it sent up to packet 1; the peer was not captured | ESTABLISHED ESTABLISHED
		2 client ACK
		3 client FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
		= Waiting for the server's ACK of the client's FIN (teardown 2/4); the FIN was sent once.
	`)
	if !l.Connection.RolesGuessed || l.Connection.FirstFrom != tracker.Server {
		t.Errorf("guessed %v, first from the %v", l.Connection.RolesGuessed, l.Connection.FirstFrom)
	}
}

// TestGuessedRolesAreCorrected: while the first packets pass, the lower port seems to be the server's; later a SYN-ACK from the
// other one shows that it is not. The story has the roles that hold in the end from its beginning.
func TestGuessedRolesAreCorrected(t *testing.T) {
	segments, now := parse(t, `
		0.000 client PSH,ACK seq=100 ack=301 len=10
		0.100 server PSH,ACK seq=301 ack=110 len=20
		1.000 server SYN     seq=900
		1.001 client SYN,ACK seq=500 ack=901
		1.002 server ACK     seq=901 ack=501
	`)
	for i := range segments { // ports above 1023, of which the lower is taken for the server's
		for _, port := range []*uint16{&segments[i].SrcPort, &segments[i].DstPort} {
			if *port == 80 {
				*port = 30000
				if i >= 2 {
					*port = 30001
				}
			}
		}
	}
	compare(t, told(segments, now), 1, `
		1 server PSH,ACK len=10 | so the client is in ESTABLISHED: not captured; inferred from what the peer sent up to packet 1; so the server is in ESTABLISHED: inferred from what it sent up to packet 1; the peer was not captured | ESTABLISHED ESTABLISHED
		2 client PSH,ACK len=20
		= Nothing is owed: both ends are open; the capture ends here.
	`)
}

// TestSeveralConnectionsWithTheSameAddressesAndPorts are followed at once, each by its own steps.
func TestSeveralConnectionsWithTheSameAddressesAndPorts(t *testing.T) {
	const script = opening + `
		1.000 client SYN     seq=7000000
		1.001 server ACK     seq=301 ack=101
		1.002 client RST     seq=101
		1.100 client SYN     seq=7000000
		1.101 server SYN,ACK seq=9000000 ack=7000001
		1.102 client ACK     seq=7000001 ack=9000001
	`
	tell(t, script, 1, opened+`
		pause at 1.000 | the client: it opened a new connection with the same addresses and ports in packet 4 | CLOSED ESTABLISHED
		5 server ACK | answers the SYN in packet 4, which asks for a new connection: the server still has this one
		6 client RST | answers packet 5: the client has no such connection (any more); that ends it at the server, too | CLOSED CLOSED
		= Nothing is missing: both ends have left the connection.
	`)
	tell(t, script, 2, `
		4 client SYN | handshake 1/3: asks to open a connection | SYN_SENT LISTEN
		7 client SYN | handshake 1/3: again: no SYN-ACK has come
		8 server SYN,ACK | handshake 2/3: agrees, and asks to open its own direction | SYN_SENT SYN_RCVD
		9 client ACK | handshake 3/3: agrees: the connection is open | ESTABLISHED ESTABLISHED
		= Nothing is owed: both ends are open; the capture ends here.
	`)
}

func TestAConnectionOverIPv6(t *testing.T) {
	segments, now := parseBetween(t, "2001:db8:1:2:3:4:5:6", "2001:db8::80", opening+"0.1 client RST,ACK seq=101 ack=301")
	compare(t, told(segments, now), 1, opened+`
		4 client RST,ACK | aborts: this ends the connection at both ends at once, without a teardown | CLOSED CLOSED
		= Nothing is missing: a RST ends a connection at both ends, if it arrives, and nobody owes an answer.
	`)
}

func TestNumbersThatWrap(t *testing.T) {
	l := tell(t, `
		0.000 client SYN     seq=4294967290
		0.001 server SYN,ACK seq=4294967295 ack=4294967291
		0.002 client ACK     seq=4294967291 ack=0
		0.100 client PSH,ACK seq=4294967291 ack=0 len=100
		0.101 server ACK     seq=0 ack=95
		0.300 client PSH,ACK seq=4294967291 ack=0 len=100
		1.000 client FIN,ACK seq=95 ack=0
		1.001 server ACK     seq=0 ack=96
	`, 1, opened+`
		4 run 1+1 packets 100+0 octets
		6 client PSH,ACK len=100 | sent again, although the ACK has passed here: that was lost or late
		7 client FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
		8 server ACK | teardown 2/4: acknowledges the FIN | FIN_WAIT_2 CLOSE_WAIT
		= Waiting for the server's FIN (teardown 3/4): its application has not closed the connection. The client has closed its direction and can only wait.
	`)
	if fin := l.Steps[5]; fin.Seq != 101 || fin.Ack != 1 {
		t.Errorf("the FIN has seq %d ack %d, want 101 and 1", fin.Seq, fin.Ack)
	}
}

// TestMoreThan4GiB goes around the sequence space once.
func TestMoreThan4GiB(t *testing.T) {
	const octets, packets = uint64(1) << 26, 80
	script := `
		0.000 client SYN     seq=100 win=65535 scale=14
		0.001 server SYN,ACK seq=300 ack=101 win=65535 scale=14
		0.002 client ACK     seq=101 ack=301 win=65535
	`
	for i := range uint64(packets) {
		script += fmt.Sprintf("\n0.%03d server ACK seq=%d ack=101 len=%d\n0.%03d client ACK seq=101 ack=%d win=65535",
			100+i, uint32(301+i*octets), octets, 100+i, uint32(301+(i+1)*octets))
	}
	tell(t, script, 1, opened+`
		4 run 80+80 packets 0+5368709120 octets
		= Nothing is owed: both ends are open; the capture ends here.
	`)
}

// TestTimeRunsBackwards in a capture from several processors.
func TestTimeRunsBackwards(t *testing.T) {
	l := tell(t, `
		5.0000 client SYN     seq=100
		4.9995 server SYN,ACK seq=300 ack=101
		5.0010 client ACK     seq=101 ack=301
		5.0040 client PSH,ACK seq=101 ack=301 len=10
		5.0020 server ACK     seq=301 ack=111
		5.0030 client PSH,ACK seq=111 ack=301 len=10
	`, 1, opened+`
		4 run 2+1 packets 20+0 octets
		= Nothing is owed: both ends are open; the capture ends here.
	`)
	for i := range l.Steps {
		if s := &l.Steps[i]; s.Last < s.Time {
			t.Errorf("step %d ends before it begins", i+1)
		}
	}
}

func TestATellerOfNothing(t *testing.T) {
	segments, now := parse(t, opening)
	teller := ladder.NewTeller(tracker.New(tracker.Config{}), nil)
	teller.Add(segments)
	teller.Add(nil)
	if got := teller.Ladders(now); len(got) != 0 {
		t.Errorf("%d ladders, want none", len(got))
	}
}

// TestAForgottenConnection is told as far as it goes: its end, where it was kept by another table with more room.
func TestAForgottenConnection(t *testing.T) {
	segments, now := parse(t, opening)
	table := tracker.New(tracker.Config{})
	table.Add(segments)
	var connections []tracker.Connection
	for c := range table.Connections(now) {
		connections = append(connections, *c)
	}
	teller := ladder.NewTeller(tracker.New(tracker.Config{}), connections)
	got := teller.Ladders(now)
	if diff := cmp.Diff(1, len(got)); diff != "" || len(got[0].Steps) != 0 {
		t.Fatalf("of a connection whose packets were not seen again: %+v", got)
	}
}
