package ladder_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tcpleak/ladder"
	"tcpleak/tcp"
)

func TestDataIsARunUntilSilence(t *testing.T) {
	tell(t, opening+`
		0.100 client PSH,ACK seq=101 ack=301 len=10
		0.101 server ACK     seq=301 ack=111
		0.900 server PSH,ACK seq=301 ack=111 len=5
		0.901 client ACK     seq=111 ack=306
		1.901 client PSH,ACK seq=111 ack=306 len=10
		2.900 server ACK     seq=306 ack=121
		3.900 server PSH,ACK seq=306 ack=121 len=1
	`, 1, opened+`
		4 run 2+2 packets 10+5 octets
		8 run 1+1 packets 10+0 octets
		10 server PSH,ACK len=1
		= Nothing is owed: both ends are open; the capture ends here.
	`)
}

func TestTheSameAgainIsOneStep(t *testing.T) {
	tell(t, opening+`
		0.100 client PSH,ACK seq=101 ack=301 len=10
		0.300 client PSH,ACK seq=101 ack=301 len=10
		0.700 client PSH,ACK seq=101 ack=301 len=10
		1.500 client PSH,ACK seq=101 ack=301 len=10
		3.100 client PSH,ACK seq=101 ack=301 len=10
	`, 1, opened+`
		4 client PSH,ACK len=10
		5 client PSH,ACK ×4 len=40 | sent again: it, or its ACK, was lost or late
		= Waiting 3s for the server to answer packet 4, which was sent 5 times.
	`)
}

func TestProbesAndTheirAnswersAreOneExchange(t *testing.T) {
	script := opening + `
		0.100 client PSH,ACK seq=101 ack=301 len=10
		0.101 server ACK     seq=301 ack=111 win=0
	`
	for i := range 50 {
		script += fmt.Sprintf("\n%d.5 client ACK seq=110 ack=301\n%d.501 server ACK seq=301 ack=111 win=0", i, i)
	}
	tell(t, script, 1, opened+`
		4 client PSH,ACK len=10
		5 server ACK | window 0: its receive buffer is full, as the application does not read
		6 client ACK ×50 | window probe: may I send again?
		7 server ACK ×50 | answers: not yet
		= Waiting 49s for the server to read: its receive buffer has been full since packet 5.
	`)
}

func TestKeepAlivesAndTheirAnswersAreOneExchange(t *testing.T) {
	script := opening + `
		0.100 client PSH,ACK seq=101 ack=301 len=10
		0.101 server ACK     seq=301 ack=111
	`
	for i := 1; i <= 100; i++ {
		script += fmt.Sprintf("\n%d client ACK seq=110 ack=301\n%d.001 server ACK seq=301 ack=111", i*15, i*15)
	}
	tell(t, script, 1, opened+`
		4 run 1+1 packets 10+0 octets
		6 client ACK ×100 | keep-alive: are you still there?
		7 server ACK ×100 | answers: still here
		= Nothing is owed: both ends are open; the capture ends here.
	`)
}

// TestALongStoryIsFolded: requests a second apart are runs of their own, and of a thousand most are left out.
func TestALongStoryIsFolded(t *testing.T) {
	script := opening
	for i := range 1000 {
		script += fmt.Sprintf("\n%d client PSH,ACK seq=%d ack=301 len=10\n%d.001 server ACK seq=301 ack=%d", 2+2*i, 101+10*i, 2+2*i, 111+10*i)
	}
	segments, now := parse(t, script)
	l := told(segments, now)[0]
	if len(l.Steps) > 200 || len(l.Steps) < 100 {
		t.Errorf("%d steps", len(l.Steps))
	}
	accounts(t, &l)
	if last := l.Steps[len(l.Steps)-1]; last.Packet != 2002 {
		t.Errorf("the last step begins with packet %d, want 2002", last.Packet)
	}
}

// accounts checks that the steps hold all packets of the connection, in order.
func accounts(t *testing.T, l *ladder.Ladder) {
	t.Helper()
	var got uint64
	for i := range l.Steps {
		got += l.Steps[i].Count()
	}
	if want := l.Connection.Ends[0].Packets + l.Connection.Ends[1].Packets; got != want {
		t.Errorf("connection %d: the steps hold %d packets, the connection %d", l.Connection.ID, got, want)
	}
}

// senseless returns segments between two ends, of several connections with the same addresses and ports, in an order that no
// stacks give.
func senseless(random *rand.Rand) (segments []tcp.Segment) {
	at := epoch
	iss := [2]uint32{random.Uint32(), random.Uint32()}
	for i := range 20 + random.IntN(1500) {
		s := tcp.Segment{Packet: uint64(i + 1), Window: 1000, SrcPort: 40000, DstPort: 80, IPID: uint16(i), Src: addr("10.0.0.1"), Dst: addr("10.0.0.2")}
		if random.IntN(100) == 0 {
			iss = [2]uint32{random.Uint32(), random.Uint32()}
		}
		own, peer := iss[0], iss[1]
		if random.IntN(2) == 0 {
			own, peer = peer, own
			s.Src, s.Dst, s.SrcPort, s.DstPort = s.Dst, s.Src, s.DstPort, s.SrcPort
		}
		at += random.Int64N(1 << (10 + random.IntN(22)))
		s.Time = at
		s.Seq, s.Ack = tcp.Seq(own+1+random.Uint32N(30)), tcp.Seq(peer+1+random.Uint32N(30))
		s.Flags = tcp.ACK
		switch random.IntN(12) {
		case 0:
			s.Flags, s.Seq = tcp.SYN, tcp.Seq(own)
		case 1:
			s.Flags, s.Seq = tcp.SYN|tcp.ACK, tcp.Seq(own)
		case 2:
			s.Flags |= tcp.FIN
		case 3:
			s.Flags |= tcp.RST
		case 4:
			s.Flags = tcp.Flags(random.Uint32N(64)) &^ tcp.SYN
		case 5:
			s.Window = 0
		case 6, 7, 8:
			s.Len = random.Uint32N(10)
		}
		segments = append(segments, s)
		if random.IntN(10) == 0 {
			s.Time += 1000
			segments = append(segments, s)
		}
	}
	for i := range segments {
		segments[i].Packet = uint64(i + 1)
	}
	return segments
}

// TestNoPacketIsForgotten: the steps hold each packet of a connection once, and are few, whatever the packets are.
func TestNoPacketIsForgotten(t *testing.T) {
	for seed := range uint64(25) {
		segments := senseless(rand.New(rand.NewPCG(seed, 1)))
		all := told(segments, segments[len(segments)-1].Time)
		var packets uint64
		for i := range all {
			l := &all[i]
			accounts(t, l)
			if len(l.Steps) > 200 {
				t.Errorf("connection %d: %d steps", l.Connection.ID, len(l.Steps))
			}
			for j := range l.Steps {
				packets += l.Steps[j].Count()
			}
			packets += l.Copies
		}
		if packets > uint64(len(segments)) {
			t.Errorf("%d packets in all the steps, of %d", packets, len(segments))
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
