package ladder_test

import (
	"testing"

	"tcpleak/ladder"
	"tcpleak/tracker"
)

// outline tells the only connection of script from what the tracker remembers.
func outline(t *testing.T, script, want string) {
	t.Helper()
	segments, now := parse(t, script)
	table := tracker.New(tracker.Config{})
	table.Add(segments)
	for c := range table.Connections(now) {
		compare(t, []ladder.Ladder{ladder.Outline(c, now)}, c.ID, want)
	}
}

func TestOutlineOfAFullLife(t *testing.T) {
	outline(t, opening+`
		0.100 client PSH,ACK seq=101 ack=301 len=10
		0.101 server PSH,ACK seq=301 ack=111 len=20
		0.102 client ACK     seq=111 ack=321
		1.000 client FIN,ACK seq=111 ack=321
		1.001 server ACK     seq=321 ack=112
		2.000 server FIN,ACK seq=321 ack=112
		2.001 client ACK     seq=112 ack=322
		90.00 end
	`, opened+`
		0 run 2+1 packets 10+20 octets
		7 client FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
		8 server ACK | teardown 2/4: acknowledges the FIN | FIN_WAIT_2 CLOSE_WAIT
		9 server FIN,ACK | teardown 3/4: closes its direction, too | FIN_WAIT_2 LAST_ACK
		10 client ACK | teardown 4/4: acknowledges the FIN | TIME_WAIT CLOSED
		pause at 62.000 | the client: both FINs are acknowledged, the last in packet 10, and TIME_WAIT has passed | CLOSED CLOSED
		= Nothing is missing: both ends have closed.
	`)
}

func TestOutlineOfThreeSegmentsThatClose(t *testing.T) {
	outline(t, opening+`
		1.000 server FIN,ACK seq=301 ack=101
		1.001 client FIN,ACK seq=101 ack=302
		1.002 server ACK     seq=302 ack=102
	`, opened+`
		4 server FIN,ACK | teardown 1/4: has nothing more to send, and closes its direction | ESTABLISHED FIN_WAIT_1
		5 client FIN,ACK | teardown 2/4 and 3/4: closes its direction, too; acknowledges the FIN | LAST_ACK FIN_WAIT_2
		6 server ACK | teardown 4/4: acknowledges the FIN | CLOSED TIME_WAIT
		= Nothing is missing: both ends have closed. In TIME_WAIT an end keeps the port for a while, as it must.
	`)
}

// TestOutlineOfAFINWithData: where only the SYN and the FIN are left to have carried the data, it was the FIN.
func TestOutlineOfAFINWithData(t *testing.T) {
	outline(t, opening+`
		1.000 client FIN,PSH,ACK seq=101 ack=301 len=300
		1.001 server ACK         seq=301 ack=402
	`, opened+`
		4 client FIN,PSH,ACK len=300 | teardown 1/4: has nothing more to send, and closes its direction | FIN_WAIT_1 ESTABLISHED
		5 server ACK | teardown 2/4: acknowledges the FIN | FIN_WAIT_2 CLOSE_WAIT
		= Waiting for the server's FIN (teardown 3/4): its application has not closed the connection. The client has closed its direction and can only wait.
	`)
}

func TestOutlineOfWhatIsNotAnswered(t *testing.T) {
	outline(t, opening+`
		1.000 client PSH,ACK seq=101 ack=301 len=10
		1.200 client PSH,ACK seq=101 ack=301 len=10
		1.600 client PSH,ACK seq=101 ack=301 len=10
	`, opened+`
		0 run 2+0 packets 10+0 octets
		4 client PSH,ACK | no answer has come, although it asked again twice
		= Waiting 600ms for the server to answer packet 4, which was sent 3 times.
	`)
}

func TestOutlineOfARefusal(t *testing.T) {
	outline(t, `
		0.000 client SYN     seq=100
		0.001 server RST,ACK seq=0 ack=101
	`, `
		1 client SYN | handshake 1/3: asks to open a connection | SYN_SENT UNKNOWN
		2 server RST,ACK | refuses | CLOSED CLOSED
		= Nothing is missing: the server refused.
	`)
}

func TestOutlineOfSYNsThatAreNotAnswered(t *testing.T) {
	outline(t, `
		0.000 client SYN seq=100
		1.000 client SYN seq=100
		3.000 client SYN seq=100
		4.000 end
	`, `
		1 client SYN ×3 | handshake 1/3: asks to open a connection; sent 3 times | SYN_SENT UNKNOWN
		= Waiting 4s for the server's SYN-ACK (handshake 2/3); the SYN was sent 3 times.
	`)
}

func TestOutlineOfAMidstreamConnection(t *testing.T) {
	outline(t, `
		0.000 client PSH,ACK seq=100 ack=300 len=10
		0.001 server ACK     seq=300 ack=110
		9.001 end
	`, `
		0 run 1+1 packets 10+0 octets | ESTABLISHED ESTABLISHED
		= Nothing is owed: both ends are open; silent for 9s.
	`)
}
