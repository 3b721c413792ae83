package diagnosis_test

import "testing"

func TestStuckCloseWait(t *testing.T) {
	tell(t, []story{
		{"after a minute, not before", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		61.009  =  nothing
		61.010  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 60.0
		summary:   The server 10.0.0.2:80 has not closed its end, 1m00s after the client 10.0.0.1:40000 closed.
		cause:     the application on the server never called close()
		next:      On 10.0.0.2, name the process: ss -tnp state close-wait '( sport = :80 )'
		certainty: confirmed
		evidence:  4 client closes its end | 5 server acknowledges the FIN; its own never follows
		`},
		{"the client's, found by the server's port", opened + `
		1.000  server  FIN,ACK  seq=301 ack=101
		1.010  client  ACK      seq=101 ack=302
		61.009  =  nothing
		61.010  =  warning stuck_close_wait client 10.0.0.1:40000 ×1 since 1.010 for 60.0
		next:      On 10.0.0.1, name the process: ss -tnp state close-wait 'dst 10.0.0.2:80'
		`},
		{"closed late is closed", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		90.000 server  FIN,ACK  seq=301 ack=102
		90.010 client  ACK      seq=102 ack=302
		90.010  =  nothing
		900.00  =  nothing
		`},
		{"a half-closed end that still sends is at work", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		30.000 server  ACK,PSH  seq=301 ack=102 len=1000
		30.010 client  ACK      seq=102 ack=1301
		89.999  =  nothing
		90.000  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 89.0
		`},
		{"the threshold can be set", opened + `
		set stuck_close_wait=5s
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		6.009   =  nothing
		6.010   =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 5.0
		`},
		{"at least as long as the capture, where it began before", `
		1.000  client  ACK      seq=102 ack=301
		1.010  server  ACK      seq=301 ack=102 len=10
		2.000  client  FIN,ACK  seq=102 ack=311
		2.010  server  ACK      seq=311 ack=103
		62.009  =  nothing
		62.010  =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 2.010 for 60.0
		certainty: assumed
		`},
		{"whose last packets the capture may have missed", opened + `
		1.000  client  FIN,ACK  seq=151 ack=301
		1.010  server  ACK      seq=301 ack=152
		61.010 =  warning stuck_close_wait server 10.0.0.2:80 ×1 since 1.010 for 60.0
		       =  info capture_gap client nobody ×1 since 0.000
		cause:    Unless the capture has missed its FIN, as it misses other packets of this connection: The client sent its FIN
		`},
		{"a server that may have closed before the capture began", `
		2.000  client  FIN,ACK  seq=102 ack=301
		2.010  server  ACK      seq=301 ack=103
		90.000 =  nothing
		`},
	})
}

func TestStuckFinWait1(t *testing.T) {
	tell(t, []story{
		{"repeated without an answer: the peer", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.200  client  FIN,ACK  seq=101 ack=301
		1.600  client  FIN,ACK  seq=101 ack=301
		2.400  client  FIN,ACK  seq=101 ack=301
		4.000  client  FIN,ACK  seq=101 ack=301
		7.200  client  FIN,ACK  seq=101 ack=301
		10.999  =  nothing
		11.000  =  warning stuck_fin_wait_1 server 10.0.0.2:80 ×1 since 1.000 for 10.0
		summary:   The client 10.0.0.1:40000 closed first, and its FIN, sent 6 times, has not been acknowledged for 10s.
		cause:     The server does not answer any more
		next:      On 10.0.0.2, see whether the FIN arrives, and whether an answer leaves: tcpdump -ni any 'tcp and host 10.0.0.1 and port 80'
		evidence:  2 server last sign of life | 4 client closes its end; sent 6 times
		`},
		{"not repeated: the end itself has gone", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		10.999  =  nothing
		11.000  =  warning stuck_fin_wait_1 client 10.0.0.1:40000 ×1 since 1.000 for 10.0
		cause:     The client has not repeated its FIN, as a host that still has the connection does
		next:      On 10.0.0.1, see whether the socket is still there
		`},
		{"acknowledged each time, and repeated: nobody but the path", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		1.200  client  FIN,ACK  seq=101 ack=301
		1.210  server  ACK      seq=301 ack=102
		1.600  client  FIN,ACK  seq=101 ack=301
		1.610  server  ACK      seq=301 ack=102
		2.400  client  FIN,ACK  seq=101 ack=301
		2.410  server  ACK      seq=301 ack=102
		4.000  client  FIN,ACK  seq=101 ack=301
		4.010  server  ACK      seq=301 ack=102
		7.200  client  FIN,ACK  seq=101 ack=301
		7.210  server  ACK      seq=301 ack=102
		10.999  =  nothing
		11.000  =  warning stuck_fin_wait_1 client nobody ×1 since 1.000 for 10.0
		cause:     The server has acknowledged the FIN, and its ACKs do not arrive
		next:      On 10.0.0.1, see whether the ACKs arrive
		`},
		{"acknowledged at last", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		4.000  client  FIN,ACK  seq=101 ack=301
		10.000 client  FIN,ACK  seq=101 ack=301
		10.010 server  FIN,ACK  seq=301 ack=102
		10.020 client  ACK      seq=102 ack=302
		11.000  =  nothing
		300.00  =  nothing
		`},
		{"the server's", opened + `
		1.000  server  FIN,ACK  seq=301 ack=101
		1.200  server  FIN,ACK  seq=301 ack=101
		11.000  =  warning stuck_fin_wait_1 client 10.0.0.1:40000 ×1 since 1.000 for 10.0
		`},
	})
}

func TestStuckClosing(t *testing.T) {
	tell(t, []story{
		{"the FINs crossed, and one end has gone since", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.005  server  FIN,ACK  seq=301 ack=101
		1.010  client  ACK      seq=102 ack=302
		1.200  client  FIN,ACK  seq=101 ack=302
		1.600  client  FIN,ACK  seq=101 ack=302
		2.400  client  FIN,ACK  seq=101 ack=302
		4.000  client  FIN,ACK  seq=101 ack=302
		7.200  client  FIN,ACK  seq=101 ack=302
		10.999  =  nothing
		11.000  =  warning stuck_closing server 10.0.0.2:80 ×1 since 1.000 for 10.0
		summary:   The client 10.0.0.1:40000 closed at the same time as its peer
		cause:     The server does not answer any more
		`},
		{"a simultaneous close that succeeds", opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.005  server  FIN,ACK  seq=301 ack=101
		1.010  client  ACK      seq=102 ack=302
		1.015  server  ACK      seq=302 ack=102
		11.000  =  nothing
		100.00  =  nothing
		`},
	})
}

func TestStuckLastAck(t *testing.T) {
	tell(t, []story{
		{"the end that closed first has gone", opened + `
		1.000  server  FIN,ACK  seq=301 ack=101
		1.010  client  ACK      seq=101 ack=302
		1.100  client  FIN,ACK  seq=101 ack=302
		1.300  client  FIN,ACK  seq=101 ack=302
		1.700  client  FIN,ACK  seq=101 ack=302
		2.500  client  FIN,ACK  seq=101 ack=302
		4.100  client  FIN,ACK  seq=101 ack=302
		7.300  client  FIN,ACK  seq=101 ack=302
		11.099  =  nothing
		11.100  =  warning stuck_last_ack server 10.0.0.2:80 ×1 since 1.100 for 10.0
		summary:   The client 10.0.0.1:40000 closed after its peer, and its FIN, sent 6 times
		# The server's FIN_WAIT_2, of which it is the other half, is not told as well.
		300.00  =  warning stuck_last_ack server 10.0.0.2:80 ×1 since 1.100 for 298.9
		`},
		{"not repeated: it is the capture that misses the last ACK", opened + `
		1.000  server  FIN,ACK  seq=301 ack=101
		1.010  client  ACK      seq=101 ack=302
		1.100  client  FIN,ACK  seq=101 ack=302
		11.100  =  nothing
		# Nor has the server waited for a FIN that will not come.
		300.00  =  nothing
		`},
		{"the last ACK does not arrive, however often", opened + `
		1.000  server  FIN,ACK  seq=301 ack=101
		1.010  client  FIN,ACK  seq=101 ack=302
		1.020  server  ACK      seq=302 ack=102
		1.210  client  FIN,ACK  seq=101 ack=302
		1.220  server  ACK      seq=302 ack=102
		1.610  client  FIN,ACK  seq=101 ack=302
		1.620  server  ACK      seq=302 ack=102
		2.410  client  FIN,ACK  seq=101 ack=302
		2.420  server  ACK      seq=302 ack=102
		4.010  client  FIN,ACK  seq=101 ack=302
		4.020  server  ACK      seq=302 ack=102
		7.210  client  FIN,ACK  seq=101 ack=302
		7.220  server  ACK      seq=302 ack=102
		11.009  =  nothing
		11.010  =  warning stuck_last_ack client nobody ×1 since 1.010 for 10.0
		# Silence for twice the last interval shows that it did.
		20.000  =  nothing
		`},
	})
}

func TestStuckFinWait2(t *testing.T) {
	// The server answers the FIN, sends what is lost behind the capture, and aborts: the client, with a hole before the RST,
	// asks back, and hears no more.
	const left = opened + `
		1.000  client  FIN,ACK  seq=101 ack=301
		1.010  server  ACK      seq=301 ack=102
		2.000  server  ACK,PSH  seq=301 ack=102 len=100
		2.010  server  RST,ACK  seq=401 ack=102
		2.200  client  ACK      seq=102 ack=301
`
	tell(t, []story{
		{"the peer's RST was not exact, and it has gone", left + `
		121.999  =  info challenge_ack client 10.0.0.1:40000 ×1 since 2.200
		122.000  =  warning stuck_fin_wait_2 server 10.0.0.2:80 ×1 since 1.010 for 121.0
		         =  info challenge_ack client 10.0.0.1:40000 ×1 since 2.200
		summary:    The client 10.0.0.1:40000 has waited 2m00s for the FIN of 10.0.0.2:80
		cause:      The server acknowledged the FIN and then left without one of its own that arrived
		next:       On 10.0.0.1, name the process that still holds its end: ss -tnp state fin-wait-2 'dst 10.0.0.2:80'
		`},
		{"an exact RST ends it", left + `
		2.210  server  RST  seq=301
		122.000  =  info aborted server 10.0.0.2:80 ×1 since 2.010
		         =  info challenge_ack client 10.0.0.1:40000 ×1 since 2.200
		`},
	})
}

func TestHalfOpenHandshake(t *testing.T) {
	tell(t, []story{
		{"the client is silent", `
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		1.010  server  SYN,ACK  seq=300 ack=101
		3.009  =  nothing
		3.010  =  warning half_open_handshake client 10.0.0.1:40000 ×1 since 0.010 for 3.0
		summary:  The server 10.0.0.2:80 waited 3s for the ACK that completes the handshake with 10.0.0.1:40000.
		cause:    the client has been silent since
		next:     On 10.0.0.1, see whether the SYN-ACK arrives: tcpdump -ni any 'tcp and host 10.0.0.2 and port 80'
		evidence: 1 client asks for the connection | 2 server answers; sent 2 times
		`},
		{"packets were dropped, and the ACK may be one: nobody repeats anything", `
		dropped 1
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		3.010  =  info capture_gap client nobody ×0 since 0.000
		`},
		{"packets were dropped, but not that: the answer comes again", `
		dropped 1
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		1.010  server  SYN,ACK  seq=300 ack=101
		3.010  =  warning half_open_handshake client 10.0.0.1:40000 ×1 since 0.010 for 3.0
		       =  info capture_gap client nobody ×0 since 0.000
		`},
		{"the client repeats its SYN: the answer does not reach it", `
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		1.000  client  SYN      seq=100
		1.010  server  SYN,ACK  seq=300 ack=101
		3.009  =  nothing
		3.010  =  warning half_open_handshake client 10.0.0.1:40000 ×1 since 0.010 for 3.0
		cause:    the client goes on repeating it: the SYN-ACK does not reach it
		`},
		{"the client's ACK has passed: the server does not take it", opened + `
		1.010  server  SYN,ACK  seq=300 ack=101
		3.009  =  nothing
		3.010  =  warning half_open_handshake server 10.0.0.2:80 ×1 since 0.010 for 3.0
		summary:  The server 10.0.0.2:80 does not take the ACK that completes the handshake, 3s after it answered the SYN.
		cause:    The client's ACK passed the capture, yet the server goes on repeating its SYN-ACK
		next:     On 10.0.0.2, see whether the ACK arrives
		evidence: 1 client asks for the connection | 2 server answers; sent 2 times | 3 client completes the handshake, to no effect
		`},
		{"completed just in time", `
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		3.000  client  ACK      seq=101 ack=301
		3.010  =  nothing
		`},
		{"reset by the client, as by who has not asked", `
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		0.020  client  RST      seq=101
		3.010  =  nothing
		`},
		{"of many clients, told once", `
		0.000  client   SYN      seq=100
		0.010  server   SYN,ACK  seq=300 ack=101 to=client
		0.020  client2  SYN      seq=100
		0.030  server   SYN,ACK  seq=300 ack=101 to=client2
		1.010  server   SYN,ACK  seq=300 ack=101 to=client
		1.030  server   SYN,ACK  seq=300 ack=101 to=client2
		3.030  =  warning half_open_handshake client 2 addresses ×2 since 0.010 for 3.0
		`},
	})
}

func TestUnansweredSYN(t *testing.T) {
	const asked = `
		0.000  client  SYN  seq=100
		1.000  client  SYN  seq=100
`
	tell(t, []story{
		{"repeated, for three seconds", asked + `
		2.999  =  nothing
		3.000  =  warning unanswered_syn server 10.0.0.2:80 ×1 since 0.000 for 3.0
		summary:  The server 10.0.0.2:80 has not answered the SYN of 10.0.0.1:40000, sent 2 times.
		cause:    The port answers nobody in this capture
		next:     On 10.0.0.2, see whether the SYN arrives, and whether an answer leaves: tcpdump -ni any 'tcp and host 10.0.0.1 and port 80'
		evidence: 1 client asks for the connection; sent 2 times
		`},
		{"a SYN that is not repeated may have been a probe", `
		0.000  client  SYN  seq=100
		3.000   =  nothing
		100.00  =  nothing
		`},
		{"the port has answered others, and nobody since", `
		0.000  client2  SYN      seq=100
		0.010  server   SYN,ACK  seq=300 ack=101 to=client2
		0.020  client2  ACK      seq=101 ack=301
		1.000  client   SYN      seq=100
		2.000  client   SYN      seq=100
		4.000  =  warning unanswered_syn server 10.0.0.2:80 ×1 since 1.000 for 3.0
		cause:    and no more since: its accept queue is full
		`},
		{"the port answers others", `
		0.000  client   SYN      seq=100
		0.500  client2  SYN      seq=100
		0.510  server   SYN,ACK  seq=300 ack=101 to=client2
		0.520  client2  ACK      seq=101 ack=301
		1.000  client   SYN      seq=100
		3.000  =  warning unanswered_syn server 10.0.0.2:80 ×1 since 0.000 for 3.0
		cause:    The same port answers others at this time: it listens. A firewall or a route drops what comes from 10.0.0.1
		`},
		{"another port of the host does not count", `
		0.000  client2  SYN      seq=100 service=443
		0.010  server   SYN,ACK  seq=300 ack=101 to=client2 service=443
		0.020  client2  ACK      seq=101 ack=301 service=443
` + asked + `
		3.000  =  warning unanswered_syn server 10.0.0.2:80 ×1 since 0.000 for 3.0
		cause:    The port answers nobody in this capture
		`},
		{"answered late", asked + `
		2.500  server  SYN,ACK  seq=300 ack=101
		2.510  client  ACK      seq=101 ack=301
		3.000  =  info slow_handshake client nobody ×1 since 0.000
		`},
	})
}

func TestRefused(t *testing.T) {
	const four = `
		0.000  client  SYN      seq=100 port=4001
		0.001  server  RST,ACK  seq=0 ack=101 port=4001
		1.000  client  SYN      seq=100 port=4002
		1.001  server  RST,ACK  seq=0 ack=101 port=4002
		2.000  client  SYN      seq=100 port=4003
		2.001  server  RST,ACK  seq=0 ack=101 port=4003
		3.000  client  SYN      seq=100 port=4004
		3.001  server  RST,ACK  seq=0 ack=101 port=4004
`
	tell(t, []story{
		{"four are worth knowing", four + `
		3.001  =  info refused server 10.0.0.2:80 ×4 since 0.001
		summary:  The server 10.0.0.2:80 refused the connection of 10.0.0.1.
		cause:    Nothing listens on this port
		next:     On 10.0.0.2, see what listens: ss -tlnp '( sport = :80 )'
		evidence: 1 client asks for the connection | 2 server refuses
		`},
		{"five are a service that is missed", four + `
		4.000  client  SYN      seq=100 port=4005
		4.001  server  RST,ACK  seq=0 ack=101 port=4005
		4.001  =  warning refused server 10.0.0.2:80 ×5 since 0.001
		`},
		{"as many as one has set", four + `
		set refused=4
		3.001  =  warning refused server 10.0.0.2:80 ×4 since 0.001
		`},
		{"five of two services are not five of one", four + `
		4.000  client  SYN      seq=100 port=4005 service=443
		4.001  server  RST,ACK  seq=0 ack=101 port=4005 service=443
		4.001  =  info refused server 10.0.0.2:80 ×4 since 0.001
		       =  info refused server 10.0.0.2:443 ×1 since 4.001
		`},
		{"a port that took others", opened + `
		5.000  client  SYN      seq=900 port=4005
		5.001  server  RST,ACK  seq=0 ack=901 port=4005
		5.001  =  info refused server 10.0.0.2:80 ×1 since 5.001
		cause:    The port took other connections in this capture
		`},
	})
}

func TestAcceptQueueFull(t *testing.T) {
	tell(t, []story{
		{"the SYN-ACK comes again 2.5 s after the ACK", opened + `
		1.010  server  SYN,ACK  seq=300 ack=101
		2.521  server  SYN,ACK  seq=300 ack=101
		2.521  =  critical accept_queue_full server 10.0.0.2:80 ×1 since 0.020 for 2.5
		summary:  The server 10.0.0.2:80 does not take up connections: it repeats its SYN-ACK, sent 3 times, although the ACK of 10.0.0.1:40000 has passed.
		cause:    The accept queue of the listening socket is full
		next:     ss -ltn '( sport = :80 )'; nstat -az TcpExtListenOverflows TcpExtListenDrops
		evidence: 1 client asks for the connection | 2 server answers; sent 3 times | 3 client completes the handshake, to no effect
		`},
		{"sooner, it may be one ACK that was lost", opened + `
		1.010  server  SYN,ACK  seq=300 ack=101
		2.520  server  SYN,ACK  seq=300 ack=101
		2.520  =  nothing
		`},
		{"a single one, late: the server has waited for data (TCP_DEFER_ACCEPT)", opened + `
		15.300  server  SYN,ACK  seq=300 ack=101
		15.310  client  ACK      seq=101 ack=301
		22.000  =  info slow_handshake client nobody ×1 since 0.000
		`},
		{"two segments with data that it does not take either", opened + `
		0.100  client  ACK,PSH  seq=101 ack=301 len=10
		0.300  client  ACK,PSH  seq=101 ack=301 len=10
		1.010  server  SYN,ACK  seq=300 ack=101
		1.010  =  critical accept_queue_full server 10.0.0.2:80 ×1 since 0.020 for 1.0
		`},
		{"one of them may be lost", opened + `
		0.100  client  ACK,PSH  seq=101 ack=301 len=10
		1.010  server  SYN,ACK  seq=300 ack=101
		1.010  =  nothing
		`},
		{"the server turns away SYNs, too", opened + `
		1.010  server   SYN,ACK  seq=300 ack=101
		1.500  client2  SYN      seq=100
		2.500  client2  SYN      seq=100
		3.010  server   SYN,ACK  seq=300 ack=101
		4.499  =  critical accept_queue_full server 10.0.0.2:80 ×2 since 0.020 for 4.5
		`},
	})
}

func TestSlowHandshake(t *testing.T) {
	tell(t, []story{
		{"the SYN was lost, or dropped", `
		0.000  client  SYN      seq=100
		1.000  client  SYN      seq=100
		1.010  server  SYN,ACK  seq=300 ack=101
		1.020  client  ACK      seq=101 ack=301
		1.020  =  info slow_handshake client nobody ×1 since 0.000
		summary:  The handshake of 10.0.0.1:40000 with 10.0.0.2:80 took 1s: SYN sent 2 times, SYN-ACK once.
		cause:    The first SYN was not answered
		`},
		{"the SYN-ACK was lost", `
		0.000  client  SYN      seq=100
		0.010  server  SYN,ACK  seq=300 ack=101
		1.000  client  SYN      seq=100
		1.010  server  SYN,ACK  seq=300 ack=101
		1.020  client  ACK      seq=101 ack=301
		1.020  =  info slow_handshake client nobody ×1 since 0.000
		cause:    The SYN-ACK was lost on its way to the client, or late.
		`},
		{"the ACK was lost behind the capture", opened + `
		1.010  server  SYN,ACK  seq=300 ack=101
		1.020  client  ACK      seq=101 ack=301
		1.100  server  ACK,PSH  seq=301 ack=101 len=10
		1.110  client  ACK      seq=101 ack=311
		1.110  =  info slow_handshake client nobody ×1 since 0.000
		cause:    The server repeated its SYN-ACK after the client's ACK had passed
		`},
		{"the SYN is not in the capture", `
		0.010  server  SYN,ACK  seq=300 ack=101
		1.010  server  SYN,ACK  seq=300 ack=101
		1.020  client  ACK      seq=101 ack=301
		1.020  =  nothing
		`},
		{"a round trip of two seconds is not slow in this sense", `
		0.000  client  SYN      seq=100
		2.000  server  SYN,ACK  seq=300 ack=101
		2.010  client  ACK      seq=101 ack=301
		2.010  =  nothing
		`},
	})
}

func TestHalfOpen(t *testing.T) {
	const asking = answered + `
		10.000  client  ACK,PSH  seq=111 ack=321 len=10
		10.200  client  ACK,PSH  seq=111 ack=321 len=10
		10.600  client  ACK,PSH  seq=111 ack=321 len=10
`
	tell(t, []story{
		{"data asks three times more, for five seconds", asking + `
		11.400  client  ACK,PSH  seq=111 ack=321 len=10
		14.999  =  nothing
		15.000  =  warning half_open server 10.0.0.2:80 ×1 since 10.000 for 5.0
		summary:   The server 10.0.0.2:80 no longer answers, and the client 10.0.0.1:40000 does not know: it has asked 4 times in 5s.
		cause:     The host of the server crashed or lost its network
		next:      On 10.0.0.2, see whether its packets arrive at all: tcpdump -ni any 'tcp and host 10.0.0.1 and port 80'
		evidence:  5 server last sign of life | 7 client asks; again 3 times since, without an answer
		`},
		{"twice more is not enough", asking + `
		15.000  =  nothing
		60.000  =  nothing
		`},
		{"the first thing that is large asks: a path that takes only small packets looks like that", answered + `
		10.000  client  ACK      seq=111  ack=321 len=1448
		10.001  client  ACK,PSH  seq=1559 ack=321 len=552
		10.200  client  ACK      seq=111  ack=321 len=1448
		10.600  client  ACK      seq=111  ack=321 len=1448
		11.400  client  ACK      seq=111  ack=321 len=1448
		15.000  =  warning half_open client nobody ×1 since 10.000 for 5.0
		summary:   The client 10.0.0.1:40000 does not get an answer to the first large thing that it sent to 10.0.0.2:80, 2000 octets: it has asked 4 times in 5s.
		cause:     What is small has passed, and nothing large
		next:      On 10.0.0.1, see up to which size packets get through to 10.0.0.2: tracepath -n 10.0.0.2
		`},
		{"large packets have passed before", answered + `
		5.000   client  ACK      seq=111  ack=321 len=1448
		5.010   server  ACK      seq=321  ack=1559
		10.000  client  ACK      seq=1559 ack=321 len=1448
		10.200  client  ACK      seq=1559 ack=321 len=1448
		10.600  client  ACK      seq=1559 ack=321 len=1448
		11.400  client  ACK      seq=1559 ack=321 len=1448
		15.000  =  warning half_open server 10.0.0.2:80 ×1 since 10.000 for 5.0
		`},
		{"ended by an answer", asking + `
		11.400  client  ACK,PSH  seq=111 ack=321 len=10
		13.000  client  ACK,PSH  seq=111 ack=321 len=10
		15.000  =  warning half_open server 10.0.0.2:80 ×1 since 10.000 for 5.0
		15.100  server  ACK      seq=321 ack=121
		15.100  =  nothing
		60.000  =  nothing
		`},
		{"keep-alives of a server", answered + `
		100.000  server  ACK  seq=320 ack=111
		110.000  server  ACK  seq=320 ack=111
		120.000  server  ACK  seq=320 ack=111
		129.999  =  nothing
		130.000  server  ACK  seq=320 ack=111
		130.000  =  warning half_open client 10.0.0.1:40000 ×1 since 100.000 for 30.0
		`},
		{"keep-alives that are answered", answered + `
		100.000  server  ACK  seq=320 ack=111
		100.010  client  ACK  seq=111 ack=321
		110.000  server  ACK  seq=320 ack=111
		110.010  client  ACK  seq=111 ack=321
		120.000  server  ACK  seq=320 ack=111
		120.010  client  ACK  seq=111 ack=321
		130.000  server  ACK  seq=320 ack=111
		130.010  client  ACK  seq=111 ack=321
		136.000  =  nothing
		`},
		{"who asks gives up with a RST", answered + `
		100.000  server  ACK      seq=320 ack=111
		110.000  server  ACK      seq=320 ack=111
		120.000  server  ACK      seq=320 ack=111
		130.000  server  ACK      seq=320 ack=111
		140.000  server  RST,ACK  seq=321 ack=111
		140.000  =  warning half_open client 10.0.0.1:40000 ×1 since 100.000 for 40.0
		evidence:   6 client last sign of life | 7 server asks; again 3 times since, without an answer | 11 server gives up
		`},
	})
}

func TestResetAfterIdle(t *testing.T) {
	tell(t, []story{
		{"a minute of silence", answered + `
		60.050  client  ACK,PSH  seq=111 ack=321 len=10
		60.060  server  RST      seq=321
		60.060  =  warning reset_after_idle server 10.0.0.2:80 ×1 since 60.050
		summary:   The client 10.0.0.1:40000 was answered by RST when it spoke to 10.0.0.2:80 again after 1m00s of silence.
		cause:     The server no longer knew the connection, and nobody had told the client
		next:      Send keep-alives more often than every 1m00s
		evidence:  5 server last sign of life | 7 client speaks again after 1m00s | 8 server knows no such connection
		`},
		{"a little less is an abort", answered + `
		60.049  client  ACK,PSH  seq=111 ack=321 len=10
		60.060  server  RST      seq=321
		60.060  =  info aborted server 10.0.0.2:80 ×1 since 60.060
		`},
		{"a keep-alive of the server", answered + `
		300.000  server  ACK  seq=320 ack=111
		300.010  client  RST  seq=111
		300.010  =  warning reset_after_idle client 10.0.0.1:40000 ×1 since 300.000
		summary:   after 4m59s of silence
		next:      ss -tnop '( sport = :80 )'
		`},
		{"keep-alives that were answered are no silence", answered + `
		30.000  server  ACK      seq=320 ack=111
		30.010  client  ACK      seq=111 ack=321
		60.000  server  ACK      seq=320 ack=111
		60.010  client  ACK      seq=111 ack=321
		90.000  client  ACK,PSH  seq=111 ack=321 len=10
		90.010  server  RST      seq=321
		90.010  =  info aborted server 10.0.0.2:80 ×1 since 90.010
		`},
		{"answered before it was reset", answered + `
		90.000  client  ACK,PSH  seq=111 ack=321 len=10
		90.010  server  ACK      seq=321 ack=121
		90.020  server  RST,ACK  seq=321 ack=121
		90.020  =  info aborted server 10.0.0.2:80 ×1 since 90.020
		`},
	})
}

func TestClosedWhileSending(t *testing.T) {
	tell(t, []story{
		{"the request crosses the server's FIN", answered + `
		60.000  server  FIN,ACK  seq=321 ack=111
		60.005  client  ACK,PSH  seq=111 ack=321 len=10
		60.010  client  ACK      seq=121 ack=322
		60.015  server  RST      seq=322
		60.015  =  warning closed_while_sending client nobody ×1 since 60.000
		summary:   The server 10.0.0.2:80 closed the connection while the client 10.0.0.1:40000 was sending, and answered with RST: the request is lost.
		cause:     The keep-alive timeouts do not match
		next:      on 10.0.0.2, find the timeout of the process: ss -tlnp '( sport = :80 )'
		evidence:  7 server closes its end | 8 client sends, not knowing | 10 server has no socket any more
		`},
		{"a goodbye in answer to the server's, as TLS says it, is no request", answered + `
		60.000  server  ACK,PSH  seq=321 ack=111 len=24
		60.000  server  FIN,ACK  seq=345 ack=111
		60.001  client  ACK,PSH  seq=111 ack=345 len=24
		60.002  server  RST      seq=345
		60.002  =  info aborted server 10.0.0.2:80 ×1 since 60.002
		`},
		{"nor is one with a block cipher", answered + `
		60.000  server  FIN,ACK  seq=321 ack=111
		60.001  client  ACK,PSH  seq=111 ack=322 len=53
		60.002  server  RST      seq=322
		60.002  =  info aborted server 10.0.0.2:80 ×1 since 60.002
		`},
		{"the client sends and then aborts by itself: it waits for no answer", answered + `
		60.000  server  FIN,ACK  seq=321 ack=111
		60.001  client  ACK,PSH  seq=111 ack=322 len=200
		60.002  client  RST,ACK  seq=311 ack=322
		60.010  server  RST      seq=322
		60.010  =  info aborted client 10.0.0.1:40000 ×1 since 60.002
		`},
		{"the request follows it: the client has not looked", answered + `
		60.000  server  FIN,ACK  seq=321 ack=111
		60.010  client  ACK      seq=111 ack=322
		70.000  client  ACK,PSH  seq=111 ack=322 len=10
		70.010  server  RST      seq=322
		70.010  =  warning closed_while_sending client nobody ×1 since 60.000
		`},
		{"the server closes before it has read all of the request", opened + `
		0.030  client  ACK      seq=101  ack=301 len=1000
		0.031  client  ACK      seq=1101 ack=301 len=1000
		0.032  server  ACK,PSH  seq=301 ack=1101 len=50
		0.033  server  FIN,ACK  seq=351 ack=1101
		0.040  client  ACK      seq=2101 ack=301 len=1000
		0.041  server  RST      seq=352
		0.041  =  warning closed_while_sending client nobody ×1 since 0.033
		cause:    The server closed before it had read all of the request
		`},
		{"TLS: the client's close_notify crosses, and it closes", answered + `
		60.000  server  FIN,ACK  seq=321 ack=111
		60.005  client  ACK,PSH  seq=111 ack=322 len=31
		60.006  client  FIN,ACK  seq=142 ack=322
		60.010  server  RST      seq=322
		60.011  server  RST      seq=322
		60.011  =  info aborted server 10.0.0.2:80 ×1 since 60.010
		`},
		{"the server answers what crossed its FIN", answered + `
		60.000  server  FIN,ACK  seq=321 ack=111
		60.005  client  ACK,PSH  seq=111 ack=321 len=10
		60.010  server  ACK      seq=322 ack=121
		60.015  client  FIN,ACK  seq=121 ack=322
		60.020  server  ACK      seq=322 ack=122
		60.020  =  nothing
		`},
		{"what a server sends after the client has closed is an abort", answered + `
		60.000  client  FIN,ACK  seq=111 ack=321
		60.005  server  ACK,PSH  seq=321 ack=112 len=10
		60.010  client  RST      seq=112
		60.010  =  info aborted client 10.0.0.1:40000 ×1 since 60.010
		`},
	})
}

func TestAborted(t *testing.T) {
	tell(t, []story{
		{"with data unread", answered + `
		1.000  server  ACK,PSH  seq=321 ack=111 len=100
		1.010  client  RST,ACK  seq=111 ack=421
		1.010  =  info aborted client 10.0.0.1:40000 ×1 since 1.010
		summary:  The client 10.0.0.1:40000 ended the connection with 10.0.0.2:80 by RST: an abortive close, perhaps with data unread.
		next:     Ask the log of the process on 10.0.0.1
		`},
		{"with nothing that could be unread", opened + `
		1.010  client  RST,ACK  seq=101 ack=301
		1.010  =  info aborted client 10.0.0.1:40000 ×1 since 1.010
		summary:  by RST: an abortive close, with nothing unread.
		`},
		{"after questions that nobody answered", answered + `
		10.000  client  ACK  seq=110 ack=321
		11.000  client  ACK  seq=110 ack=321
		12.000  client  ACK  seq=110 ack=321
		13.000  client  RST,ACK  seq=111 ack=321
		13.000  =  info aborted server 10.0.0.2:80 ×1 since 13.000
		summary:   by RST: it had asked 3 times, and nothing answered.
		cause:     The client's keep-alive probes ran out
		next:      On 10.0.0.2, see whether its packets arrive at all: tcpdump -ni any 'tcp and host 10.0.0.1 and port 80'
		`},
		{"in reply to a segment that nobody knows", answered + `
		10.000  client  ACK,PSH  seq=111 ack=321 len=10
		10.010  server  RST      seq=321
		10.010  =  info aborted server 10.0.0.2:80 ×1 since 10.010
		summary:   by RST: it knew no such connection when a segment came.
		cause:     The server's host answered a segment for which it has no socket
		evidence:  7 client sends | 8 server resets
		`},
		{"in reply to data after close", answered + `
		10.000  client  FIN,ACK  seq=111 ack=321
		10.010  server  ACK      seq=321 ack=112
		10.020  server  ACK,PSH  seq=321 ack=112 len=10
		10.030  client  RST      seq=112
		10.030  =  info aborted client 10.0.0.1:40000 ×1 since 10.030
		summary:   by RST: data came after it had closed.
		cause:     The application on the client had closed its socket, and the server sent more
		`},
		{"a RST instead of the last ACK of a close is none", answered + `
		10.000  client  FIN,ACK  seq=111 ack=321
		10.010  server  FIN,ACK  seq=321 ack=112
		10.020  client  ACK      seq=112 ack=322
		10.030  client  RST      seq=112
		10.030  =  nothing
		`},
	})
}

func TestZeroWindow(t *testing.T) {
	const closed = answered + `
		1.000  client  ACK  seq=111 ack=321 len=1000
		1.010  server  ACK  seq=321 ack=1111 win=0
`
	tell(t, []story{
		{"for five seconds", closed + `
		1.300  client  ACK  seq=1110 ack=321
		1.310  server  ACK  seq=321 ack=1111 win=0
		6.009  =  nothing
		6.010  =  warning zero_window server 10.0.0.2:80 ×1 since 1.010 for 5.0
		summary:  The server 10.0.0.2:80 has kept its receive window closed for 5s: 10.0.0.1:40000 may not send.
		cause:    The application on the server does not read
		next:     On 10.0.0.2, find the process whose Recv-Q is full, and look at what its threads wait for: ss -tnpm '( sport = :80 )'
		`},
		{"reopened in time, and closed again", closed + `
		5.000  server  ACK  seq=321 ack=1111 win=500
		5.010  client  ACK  seq=1111 ack=321 len=500
		5.020  server  ACK  seq=321 ack=1611 win=0
		10.019  =  nothing
		10.020  =  warning zero_window server 10.0.0.2:80 ×1 since 5.020 for 5.0
		`},
		{"reopened", closed + `
		6.010  =  warning zero_window server 10.0.0.2:80 ×1 since 1.010 for 5.0
		7.000  server  ACK  seq=321 ack=1111 win=500
		7.000  =  nothing
		60.00  =  nothing
		`},
		{"the client's", answered + `
		1.000  server  ACK  seq=321 ack=111 len=1000
		1.010  client  ACK  seq=111 ack=1321 win=0
		6.010  =  warning zero_window client 10.0.0.1:40000 ×1 since 1.010 for 5.0
		next:     ss -tnpm 'dst 10.0.0.2:80'
		`},
		{"over with the connection", closed + `
		2.000  server  RST,ACK  seq=321 ack=1111
		7.000  =  info aborted server 10.0.0.2:80 ×1 since 2.000
		`},
	})
}

func TestIdle(t *testing.T) {
	tell(t, []story{
		{"half an hour of silence", answered + `
		1800.049  =  nothing
		1800.050  =  info idle client nobody ×1 since 0.050 for 1800.0
		summary:     10.0.0.1:40000 and 10.0.0.2:80 have been silent for 30m00s, connected.
		next:        On 10.0.0.1, see which process holds it: ss -tnop state established 'dst 10.0.0.2:80'
		`},
		{"a keep-alive is no silence", answered + `
		1000.000  client  ACK  seq=110 ack=321
		1000.010  server  ACK  seq=321 ack=111
		1800.050  =  nothing
		2800.009  =  nothing
		2800.010  =  info idle client nobody ×1 since 1000.010 for 1800.0
		`},
		{"of two, one finding, since the older", answered + `
		5.000  client  SYN      seq=100 port=4005
		5.010  server  SYN,ACK  seq=300 ack=101 port=4005
		5.020  client  ACK      seq=101 ack=301 port=4005
		1900.000  =  info idle client nobody ×2 since 0.050 for 1900.0
		`},
	})
}
