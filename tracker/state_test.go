package tracker_test

import (
	"testing"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

const handshake = `
	0.000  client  SYN      seq=100
	= SYN_SENT? UNKNOWN??
	0.010  server  SYN,ACK  seq=300 ack=101
	= SYN_SENT? SYN_RCVD?
	0.011  client  ACK      seq=101 ack=301
`

const established = handshake + `
	= ESTABLISHED! ESTABLISHED?
	0.020  client  ACK      seq=101 ack=301 len=10
	0.030  server  ACK      seq=301 ack=111
	= ESTABLISHED! ESTABLISHED!
`

func TestHandshake(t *testing.T) { play(t, established) }

func TestClientClosesFirst(t *testing.T) {
	play(t, established+`
	1.000  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1? ESTABLISHED?
	1.010  server  ACK      seq=301 ack=112
	= FIN_WAIT_2? CLOSE_WAIT!
	2.000  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? LAST_ACK?
	2.001  client  ACK      seq=112 ack=302
	= TIME_WAIT? CLOSED?
	61.999 =       TIME_WAIT? CLOSED?
	62.000 =       CLOSED? CLOSED?
	`)
}

func TestThreeSegmentClose(t *testing.T) {
	play(t, established+`
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  FIN,ACK  seq=301 ack=112
	= FIN_WAIT_2? LAST_ACK?
	1.011  client  ACK      seq=112 ack=302
	= TIME_WAIT? CLOSED?
	`)
}

func TestSimultaneousClose(t *testing.T) {
	play(t, established+`
	1.000  client  FIN,ACK  seq=111 ack=301
	1.001  server  FIN,ACK  seq=301 ack=111
	= FIN_WAIT_1? FIN_WAIT_1?
	1.002  client  ACK      seq=112 ack=302
	= CLOSING? FIN_WAIT_2?
	1.011  server  ACK      seq=302 ack=112
	= TIME_WAIT? TIME_WAIT?
	`)
}

func TestAFINRepeatedAfterItsACKHasNotBeenAcknowledged(t *testing.T) {
	play(t, established+`
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	= FIN_WAIT_2? CLOSE_WAIT!
	1.300  client  FIN,ACK  seq=111 ack=301
	= FIN_WAIT_1! CLOSE_WAIT!
	1.310  server  ACK      seq=301 ack=112
	= FIN_WAIT_1? CLOSE_WAIT!
	3.000 =        FIN_WAIT_2? CLOSE_WAIT!
	`)
}

func TestASYNACKRepeatedAfterTheHandshakeACKMeansSYNRCVD(t *testing.T) {
	play(t, handshake+`
	1.010  server  SYN,ACK  seq=300 ack=101
	= ESTABLISHED! SYN_RCVD!
	1.011  client  ACK      seq=101 ack=301
	= ESTABLISHED! SYN_RCVD?
	4.000 =        ESTABLISHED! ESTABLISHED?
	`)
}

func TestASYNACKRepeatedAfterTheHandshakeACKIntoSilenceMeansSYNRCVDForGood(t *testing.T) {
	play(t, handshake+`
	1.010  server  SYN,ACK  seq=300 ack=101
	60.000 =       ESTABLISHED? SYN_RCVD?
	`)
}

func TestDataProvesThatTheServerHasTheHandshakeACK(t *testing.T) {
	play(t, handshake+`
	1.000  server  PSH,ACK  seq=301 ack=101 len=5
	= ESTABLISHED! ESTABLISHED?
	1.001  client  ACK      seq=101 ack=306
	= ESTABLISHED! ESTABLISHED!
	`)
}

func TestAnEchoedTimestampProvesDelivery(t *testing.T) {
	play(t, `
	0.000  client  SYN      seq=100 ts=1000/0
	0.010  server  SYN,ACK  seq=300 ack=101 ts=5000/1000
	0.011  client  ACK      seq=101 ack=301 ts=1011/5000
	0.012  server  ACK      seq=301 ack=101 ts=5012/1011
	= ESTABLISHED! ESTABLISHED!
	`)
}

func TestSimultaneousOpen(t *testing.T) {
	tr := play(t, `
	0.000  client  SYN      seq=100
	0.001  server  SYN      seq=300
	= SYN_SENT? SYN_SENT?
	0.010  client  SYN,ACK  seq=100 ack=301
	0.011  server  SYN,ACK  seq=300 ack=101
	= ESTABLISHED? ESTABLISHED?
	0.020  client  ACK      seq=101 ack=301
	0.021  server  ACK      seq=301 ack=101
	= ESTABLISHED? ESTABLISHED?
	0.030  client  ACK      seq=101 ack=301 len=10
	0.031  server  ACK      seq=301 ack=111 len=10
	0.032  client  ACK      seq=111 ack=311
	= ESTABLISHED! ESTABLISHED!
	`)
	if n := tr.table.Len(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestRefused(t *testing.T) {
	play(t, `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=101
	= CLOSED? CLOSED?
	`)
}

func TestARSTThatDoesNotAcknowledgeTheSYNIsIgnored(t *testing.T) {
	play(t, `
	0.000  client  SYN      seq=100
	0.001  server  RST,ACK  seq=0 ack=5000
	= SYN_SENT? CLOSED?
	`)
}

func TestAnExactRSTEndsBothEnds(t *testing.T) {
	play(t, established+`
	1.000  server  RST,ACK  seq=301 ack=111
	= CLOSED? CLOSED?
	`)
}

func TestAnInexactRSTIsChallengedAndTheConnectionLives(t *testing.T) {
	play(t, established+`
	1.000  server  RST      seq=400
	1.001  client  ACK      seq=111 ack=301
	= ESTABLISHED? ESTABLISHED?
	3.010  client  ACK      seq=111 ack=301 len=3
	3.020  server  ACK      seq=301 ack=114
	= ESTABLISHED! ESTABLISHED!
	`)
}

func TestHalfOpenDiscovery(t *testing.T) {
	// RFC 9293 3.5.1, figure 9, with a challenge ACK.
	tr := play(t, established+`
	90.000 client  SYN      seq=4000
	= SYN_SENT? LISTEN?
	90.010 server  ACK      seq=301 ack=111
	= SYN_SENT? LISTEN?
	90.011 client  RST      seq=111
	91.000 client  SYN      seq=4000
	91.010 server  SYN,ACK  seq=7000 ack=4001
	91.011 client  ACK      seq=4001 ack=7001
	= ESTABLISHED! ESTABLISHED?
	`)
	if n := tr.table.Len(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	for c := range tr.table.Connections(tr.now) {
		if c.ID == 1 && (c.Ends[0].State.Open() || c.Ends[1].State.Open()) {
			t.Errorf("the old connection is %v %v, want it closed", c.Ends[0].State, c.Ends[1].State)
		}
	}
}

func TestMidstreamIsAssumed(t *testing.T) {
	play(t, `
	0.000  client  ACK      seq=101 ack=301 len=10
	= ESTABLISHED?? ESTABLISHED??
	0.010  server  ACK      seq=301 ack=111
	0.020  client  FIN,ACK  seq=111 ack=301
	0.030  server  ACK      seq=301 ack=112
	= FIN_WAIT_2?? CLOSE_WAIT??
	`)
}

func TestOneSidedCaptureOfAClientThatClosesFirst(t *testing.T) {
	play(t, `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	= ESTABLISHED? ESTABLISHED??
	0.500  client  ACK      seq=101 ack=401
	1.000  client  FIN,ACK  seq=101 ack=401
	= FIN_WAIT_2? CLOSE_WAIT??
	1.100  client  ACK      seq=102 ack=402
	= TIME_WAIT? CLOSED??
	`)
}

func TestOneSidedCaptureOfAServerThatAnswersTheFIN(t *testing.T) {
	play(t, `
	0.010  server  SYN,ACK  seq=300 ack=101
	= ESTABLISHED?? SYN_RCVD?
	0.020  server  ACK      seq=301 ack=151 len=10
	= ESTABLISHED?? ESTABLISHED?
	1.000  server  ACK      seq=311 ack=152
	= FIN_WAIT_2?? CLOSE_WAIT?
	1.100  server  FIN,ACK  seq=311 ack=152
	= TIME_WAIT?? CLOSED?
	`)
}

func TestAMissedFINLeavesNothingConfirmed(t *testing.T) {
	play(t, established+`
	1.010  server  ACK      seq=301 ack=112   # acknowledges an octet that was not captured
	= ESTABLISHED? ESTABLISHED?
	`)
}

func TestSequenceNumbersWrap(t *testing.T) {
	play(t, `
	0.000  client  SYN      seq=4294967295
	0.010  server  SYN,ACK  seq=4294967290 ack=0
	0.011  client  ACK      seq=0 ack=4294967291
	0.020  client  ACK      seq=0 ack=4294967291 len=10
	0.030  server  ACK      seq=4294967291 ack=10 len=20
	0.031  client  ACK      seq=10 ack=15
	= ESTABLISHED! ESTABLISHED!
	0.040  server  FIN,ACK  seq=15 ack=10
	0.041  client  ACK      seq=10 ack=16
	= CLOSE_WAIT! FIN_WAIT_2?
	`)
}

func TestTheSamePacketTwiceIsOneSegment(t *testing.T) {
	tr := play(t, `
	0.000  client  SYN      seq=100 id=1
	0.0001 client  SYN      seq=100 id=1
	1.000  client  SYN      seq=100 id=2
	= SYN_SENT? UNKNOWN??
	`)
	if stats := tr.table.Stats(); stats.Duplicates != 1 || stats.Segments != 2 {
		t.Errorf("%+v, want 1 duplicate of 3", stats)
	}
}

func TestSwappedHandshakeIsOneConnection(t *testing.T) {
	for name, script := range map[string]string{
		"SYN-ACK before SYN": `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	= ESTABLISHED! ESTABLISHED?`,
		"ACK before SYN-ACK": `
	0.000  client  SYN      seq=100
	0.011  client  ACK      seq=101 ack=301
	0.010  server  SYN,ACK  seq=300 ack=101
	= ESTABLISHED! ESTABLISHED?`,
		"backwards": `
	0.011  client  ACK      seq=101 ack=301
	0.010  server  SYN,ACK  seq=300 ack=101
	0.000  client  SYN      seq=100
	= ESTABLISHED! ESTABLISHED?`,
	} {
		t.Run(name, func(t *testing.T) {
			if n := play(t, script).table.Len(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

const stamped = `
	0.000  client  SYN      seq=100 ts=1000/0
	0.010  server  SYN,ACK  seq=300 ack=101 ts=5000/1000
	0.011  client  ACK      seq=101 ack=301 ts=1011/5000
	0.020  client  ACK      seq=101 ack=301 ts=1020/5000 len=10
	0.030  server  ACK      seq=301 ack=111 ts=5030/1020
`

func TestARSTWithTheSendersTimestampIsItsOwn(t *testing.T) {
	play(t, stamped+`
	1.000  server  RST,ACK  seq=301 ack=111 ts=6000/1020
	= CLOSED? CLOSED!
	`)
}

func TestAnOldRSTIsNotBelieved(t *testing.T) {
	play(t, established+`
	1.000  client  RST      seq=105
	= ESTABLISHED? ESTABLISHED?
	`)
}

func TestAFINWithoutTheAgreedTimestampIsNotBelieved(t *testing.T) {
	play(t, stamped+`
	1.000  client  FIN,ACK  seq=211 ack=301
	= ESTABLISHED! ESTABLISHED!
	`)
}

func TestASYNWhoseSenderIgnoresTheChallengeWasForged(t *testing.T) {
	tr := play(t, established+`
	1.000  client  SYN      seq=120
	1.010  server  ACK      seq=301 ack=111
	2.000 =        SYN_SENT? LISTEN?
	5.000 =        UNKNOWN?? LISTEN?
	`)
	for c := range tr.table.Connections(tr.now) {
		if got := stateText(&c.Ends[0]); c.ID == 1 && got != "ESTABLISHED?" {
			t.Errorf("the client is %s, want ESTABLISHED?", got)
		}
	}
}

func TestAConnectionMayCarryMoreThanTheSequenceSpaceHolds(t *testing.T) {
	tr := play(t, established)
	seq := tcp.Seq(301)
	const step = 1 << 25
	now := epoch + 1e9
	for sent := 0; sent < 5<<30; sent += step {
		now += 1e7
		tr.packet++
		data := tcp.Segment{
			Time: now, Packet: tr.packet, Src: addresses["server"], SrcPort: 80, Dst: addresses["client"], DstPort: 40000,
			Flags: tcp.ACK, Seq: seq, Ack: 111, Len: step, Window: 1000,
		}
		seq = seq.Add(step)
		ack := tcp.Segment{
			Time: now + 1e6, Packet: tr.packet, Src: data.Dst, SrcPort: data.DstPort, Dst: data.Src, DstPort: data.SrcPort,
			Flags: tcp.ACK, Seq: 111, Ack: seq, Window: 1000,
		}
		tr.table.Add([]tcp.Segment{data, ack})
		for c := range tr.table.Connections(now) {
			if got := stateText(&c.Ends[0]) + " " + stateText(&c.Ends[1]); got != "ESTABLISHED! ESTABLISHED!" {
				t.Fatalf("after %d octets: %s", sent+step, got)
			}
			if c.Ends[1].MissedBytes != 0 {
				t.Fatalf("after %d octets: %d missed", sent+step, c.Ends[1].MissedBytes)
			}
		}
	}
}

func TestAHalfClosedConnectionMayCarryMoreThanTheSequenceSpaceHolds(t *testing.T) {
	tr := play(t, established+`
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	2.000  server  ACK      seq=301 ack=112 len=1073741824
	2.001  client  ACK      seq=112 ack=1073742125
	3.000  server  ACK      seq=1073742125 ack=112 len=1073741824
	3.001  client  ACK      seq=112 ack=2147483949
	4.000  server  ACK      seq=2147483949 ack=112 len=1073741824
	4.001  client  ACK      seq=112 ack=3221225773
	5.000  server  FIN,ACK  seq=3221225773 ack=112
	5.001  client  ACK      seq=112 ack=3221225774
	= TIME_WAIT? CLOSED?
	`)
	for c := range tr.table.Connections(tr.now) {
		if c.ClosedFirst != tracker.ClientClosed {
			t.Errorf("closed first by %v, want the client", c.ClosedFirst)
		}
	}
}

func TestAReuseWhoseSYNWasMissedLeavesTheOldConnectionToNoOne(t *testing.T) {
	play(t, established+`
	1.000  server  FIN,ACK  seq=301 ack=111
	1.001  client  FIN,ACK  seq=111 ack=302
	1.002  server  ACK      seq=302 ack=112
	=1     CLOSED? TIME_WAIT?
	2.000  server  SYN,ACK  seq=900000 ack=500001   # the SYN was not captured
	2.001  client  ACK      seq=500001 ack=900001
	=1     CLOSED? CLOSED?
	=2     ESTABLISHED? ESTABLISHED?
	`)
}

func TestALaterTimestampShowsThatTheRSTCameLast(t *testing.T) {
	play(t, stamped+`
	1.000  client  RST,ACK  seq=111 ack=301 ts=1990/5030
	1.006  client  ACK      seq=111 ack=301 ts=1980/5030   # captured late
	= CLOSED! CLOSED?
	`)
}

func TestTheSameTimestampDoesNotShowThatTheRSTCameLast(t *testing.T) {
	play(t, stamped+`
	1.000  client  RST,ACK  seq=111 ack=301 ts=1990/5030
	1.006  client  ACK      seq=111 ack=301 ts=1990/5030
	= ESTABLISHED? CLOSED?
	`)
}

func TestLinuxTakesARSTAtTheEndOfWhatIsSACKed(t *testing.T) {
	play(t, established+`
	1.000  server  ACK      seq=301 ack=111 len=100
	1.010  server  ACK      seq=401 ack=111 len=100
	1.020  client  ACK      seq=111 ack=301 sack=401/501
	2.000  server  RST,ACK  seq=501 ack=111
	= CLOSED? CLOSED?
	`)
}

func TestARSTBehindLostDataIsNotTaken(t *testing.T) {
	play(t, established+`
	1.000  server  ACK      seq=301 ack=111 len=100
	1.200  client  ACK      seq=111 ack=301 len=10   # 200 ms later it still lacks the data
	1.300  server  RST,ACK  seq=401 ack=121
	= ESTABLISHED? CLOSED?
	`)
}

func TestARSTWithTheNumberOfTheAcknowledgedFINIsTaken(t *testing.T) {
	play(t, established+`
	1.000  server  FIN,ACK  seq=301 ack=111
	1.010  client  ACK      seq=111 ack=302
	2.000  server  RST      seq=301
	= CLOSED? CLOSED?
	`)
}

func TestAnOrphanInFINWAIT2TakesAnyRSTInTheWindow(t *testing.T) {
	play(t, established+`
	1.000  client  FIN,ACK  seq=111 ack=301
	1.010  server  ACK      seq=301 ack=112
	2.000  server  RST,ACK  seq=401 ack=112
	= CLOSED? CLOSED?
	`)
}

func TestAClientThatCeasesToRepeatItsSYNHasGivenUp(t *testing.T) {
	play(t, `
	0.000  client  SYN      seq=100
	1.000  client  SYN      seq=100
	3.000  client  SYN      seq=100
	7.500  =       SYN_SENT? UNKNOWN??
	7.501  =       CLOSED? UNKNOWN??
	`)
}

func TestASegmentWithoutSYNAndACKAnswersNoSYN(t *testing.T) {
	play(t, `
	0.010  server  SYN,ACK  seq=300 ack=101
	0.020  client  FIN      seq=101
	= SYN_SENT? SYN_RCVD?
	`)
}

func TestAProbeWithoutSYNIsNoAttempt(t *testing.T) {
	tr := play(t, `
	0.000  client  FIN      seq=100
	0.001  server  RST,ACK  seq=0 ack=101
	= UNKNOWN?? CLOSED??
	`)
	for c := range tr.table.Connections(tr.now) {
		if got, want := c.Ends[1].Why(), "it sent a RST in packet 2"; got != want {
			t.Errorf("why: %s; want %s", got, want)
		}
	}
}
