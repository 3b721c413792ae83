package diagnosis

import (
	"strconv"
	"strings"
	"time"
)

// The kinds of findings.
const (
	StuckCloseWait     Kind = "stuck_close_wait"
	StuckFinWait1      Kind = "stuck_fin_wait_1"
	StuckClosing       Kind = "stuck_closing"
	StuckLastAck       Kind = "stuck_last_ack"
	StuckFinWait2      Kind = "stuck_fin_wait_2"
	HalfOpenHandshake  Kind = "half_open_handshake"
	UnansweredSYN      Kind = "unanswered_syn"
	Refused            Kind = "refused"
	AcceptQueueFull    Kind = "accept_queue_full"
	SlowHandshake      Kind = "slow_handshake"
	HalfOpen           Kind = "half_open"
	ResetAfterIdle     Kind = "reset_after_idle"
	ClosedWhileSending Kind = "closed_while_sending"
	Aborted            Kind = "aborted"
	ZeroWindow         Kind = "zero_window"
	Idle               Kind = "idle"
	PathLoss           Kind = "path_loss"
	SYNFlood           Kind = "syn_flood"
	PortScan           Kind = "port_scan"
	HostScan           Kind = "host_scan"
	TimeWaitPressure   Kind = "time_wait_pressure"
	Churn              Kind = "churn"
	Leak               Kind = "leak"
	BlindReset         Kind = "blind_reset"
	ChallengeACK       Kind = "challenge_ack"
	InvalidFlags       Kind = "invalid_flags"
	SYNInside          Kind = "syn_inside"
	DataAfterFIN       Kind = "data_after_fin"
	PortReused         Kind = "port_reused"
	CaptureGap         Kind = "capture_gap"
	OldCloseWait       Kind = "old_close_wait"
	KernelDisagrees    Kind = "kernel_disagrees"
)

// About describes a kind.
type About struct {
	Kind     Kind
	Severity Severity
	Worst    Severity // what it may rise to, as a group or above a second threshold
	// Age and Count are the default threshold: how long the condition lasts, or how many there are. Zero is none.
	Age   time.Duration
	Count int
	// Kernel: it rests on what this host's kernel says, and arises only while it is asked.
	Kernel bool

	// The rest is for an engineer who does not remember RFC 9293.
	Raised  string // when it is raised, to be completed by the threshold: see Condition
	AtFault string
	Meaning string   // what the two ends believe, and what it costs
	Causes  []string // what usually leads to it, the most frequent first
	Advice  []string // what to do, step by step: see Step
}

// Step splits a step of an Advice into what to do and the command for a shell that does it, which may be empty. In the
// advice, the command comes last, in backticks. PORT stands for the server's port, ADDRESS for the other host.
func Step(advice string) (text, command string) {
	text, command, _ = strings.Cut(advice, " `")
	return text, strings.TrimSuffix(command, "`.")
}

// Threshold writes the default threshold: "60s", "100", "60s, 10"; "–" if there is none.
func (a About) Threshold() string {
	switch {
	case a.Age > 0 && a.Count > 0:
		return thresholdAge(a.Age) + ", " + strconv.Itoa(a.Count)
	case a.Age > 0:
		return thresholdAge(a.Age)
	case a.Count > 0:
		return strconv.Itoa(a.Count)
	}
	return "–"
}

// Takes names what sets the threshold: "DURATION", "COUNT", "DURATION|COUNT"; nothing if there is no threshold.
func (a About) Takes() string {
	switch {
	case a.Age > 0 && a.Count > 0:
		return "DURATION|COUNT"
	case a.Age > 0:
		return "DURATION"
	case a.Count > 0:
		return "COUNT"
	}
	return ""
}

// Condition says when a finding is raised by default: "an end is in CLOSE_WAIT for 60s".
func (a About) Condition() string {
	switch {
	case a.Age > 0 && a.Count > 0:
		return a.Raised + " " + thresholdAge(a.Age) + " and by " + strconv.Itoa(a.Count)
	case a.Age > 0 || a.Count > 0:
		return a.Raised + " " + a.Threshold()
	}
	return a.Raised
}

// Severities names the severity and, where it may rise, the worst: "warning", "info, warning".
func (a About) Severities() string {
	if a.Worst > a.Severity {
		return a.Severity.String() + ", " + a.Worst.String()
	}
	return a.Severity.String()
}

// thresholdAge writes a duration as one would give it: in seconds up to two minutes, and without zeros at the end beyond.
func thresholdAge(d time.Duration) string {
	if time.Second <= d && d <= 2*time.Minute {
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Kinds returns all kinds, in the order of the contract between cause and symptom: how connections end, how they open, what
// happens in between, crowds, oddities, the capture.
func Kinds() []About { return kinds }

// Explain returns what there is to say about a kind.
func Explain(kind Kind) (About, bool) {
	for i := range kinds {
		if kinds[i].Kind == kind {
			return kinds[i], true
		}
	}
	return About{}, false
}

var kinds = []About{
	{
		Kind: StuckCloseWait, Severity: Warning, Worst: Warning, Age: 60 * time.Second,
		Raised:  "an end is in CLOSE_WAIT for",
		AtFault: "that end: its application has not closed",
		Meaning: "The peer has closed, and this end's kernel has acknowledged that: since then read() returns " +
			"the end of the stream. The application has not called close(), so the socket and its descriptor " +
			"stay until it does or the process ends, as CLOSE_WAIT has no timeout. A process that leaves many of " +
			"them runs out of descriptors. The time counts from the last data that this end has sent, as " +
			"half-closed it may still be at work.",
		Causes: []string{
			"A code path forgets to close: an error return, an exception, in Go a response whose body is not " +
				"closed.",
			"A pool keeps the connection and does not notice that the other end has gone.",
			"The thread that would close is blocked: by a lock, a full queue, another service that does not " +
				"answer.",
			"A child process has inherited the descriptor, so that the parent's close() is not the last.",
		},
		Advice: []string{
			"On the end at fault, name the process: `ss -tnp state close-wait '( sport = :PORT or dport = :PORT " +
				")'`.",
			"See how many it has, and whether they grow: `lsof -nP -a -p PID -iTCP -sTCP:CLOSE_WAIT`.",
			"Take a stack dump of the process (a goroutine profile, jstack, py-spy), and look for the path that " +
				"handles this peer and returns without closing.",
			"A restart frees the sockets and leaves the cause. No sysctl ends CLOSE_WAIT.",
		},
	},
	{
		Kind: StuckFinWait1, Severity: Warning, Worst: Warning, Age: 10 * time.Second,
		Raised:  "an end is in FIN_WAIT_1, its FIN not acknowledged, for",
		AtFault: "the silent peer, or the path to it; the end itself if it does not repeat its FIN",
		Meaning: "This end has closed first and sends its FIN again and again, but no acknowledgment comes back. " +
			"The peer, if it still exists, may believe that the connection is open. After close(), the socket " +
			"takes kernel memory but no descriptor, and Linux gives it up after a minute or two of repetitions " +
			"(net.ipv4.tcp_orphan_retries).",
		Causes: []string{
			"The peer's host crashed, was switched off or lost its network.",
			"A firewall or NAT on the way has forgotten the connection and drops the FIN, or its ACK.",
			"A container or virtual machine was removed while connections to it were open.",
		},
		Advice: []string{
			"On the end that repeats its FIN, see the timer and the number of repetitions: `ss -tno state " +
				"fin-wait-1 '( sport = :PORT or dport = :PORT )'`.",
			"On the peer, see whether the FIN arrives and an ACK leaves: `tcpdump -ni any 'tcp and host ADDRESS " +
				"and port PORT'`.",
			"On a Linux firewall in between, see whether it still knows the connection, and what it counts as " +
				"invalid: `conntrack -L -p tcp --dport PORT; conntrack -S`.",
		},
	},
	{
		Kind: StuckClosing, Severity: Warning, Worst: Warning, Age: 10 * time.Second,
		Raised:  "an end is in CLOSING, its FIN not acknowledged, for",
		AtFault: "the silent peer, or the path to it",
		Meaning: "Both ends closed at the same moment and their FINs crossed. This end has acknowledged the " +
			"peer's FIN, but waits for the acknowledgment of its own and repeats it. It costs kernel memory " +
			"until Linux gives up, after a minute or two of repetitions.",
		Causes: []string{
			"The path lost this end's FIN or the peer's ACK and goes on losing them.",
			"The peer's host went away right after it closed.",
			"A firewall on the way took the first FIN for the end of the connection and drops the rest.",
		},
		Advice: []string{
			"On the end that repeats its FIN, see the timer and the number of repetitions: `ss -tno state " +
				"closing '( sport = :PORT or dport = :PORT )'`.",
			"On the peer, see whether the FIN arrives and an ACK leaves: `tcpdump -ni any 'tcp and host ADDRESS " +
				"and port PORT'`.",
			"On a Linux firewall in between, see what it counts as invalid: `conntrack -S`.",
		},
	},
	{
		Kind: StuckLastAck, Severity: Warning, Worst: Warning, Age: 10 * time.Second,
		Raised:  "an end is in LAST_ACK, its FIN not acknowledged, for",
		AtFault: "the silent peer, or the path to it",
		Meaning: "The peer closed first, this end has closed as well, and its FIN, repeated, is not " +
			"acknowledged. The application is done, so it costs kernel memory but no descriptor, for a minute or " +
			"two of repetitions. Many of them tell that something on the way forgets connections that are half " +
			"closed, or that peers vanish.",
		Causes: []string{
			"This end took its time to close, and a firewall or NAT no longer knows the connection: Linux " +
				"conntrack keeps one with a single FIN for 60 s (nf_conntrack_tcp_timeout_close_wait).",
			"The peer's host went away after it closed: a laptop, a phone, an instance that was scaled in.",
			"The path loses one direction.",
		},
		Advice: []string{
			"On the end that repeats its FIN, see the timer and the number of repetitions: `ss -tno state " +
				"last-ack '( sport = :PORT or dport = :PORT )'`.",
			"On the peer, see whether the FIN arrives: `tcpdump -ni any 'tcp and host ADDRESS and port PORT'`.",
			"On a Linux firewall in between, compare its timeouts with the time that this end took to close: " +
				"`sysctl -a --pattern nf_conntrack_tcp_timeout`.",
			"Close sooner after the peer has closed. If stuck_close_wait is raised for the same port, begin " +
				"there.",
		},
	},
	{
		Kind: StuckFinWait2, Severity: Warning, Worst: Warning, Age: 120 * time.Second,
		Raised:  "an end is in FIN_WAIT_2, and its peer not seen in CLOSE_WAIT, for",
		AtFault: "the peer, which neither closes nor answers, or the path from it",
		Meaning: "This end has closed its side and the peer's kernel has acknowledged that, but neither the " +
			"peer's FIN nor a RST that counts has come since. Were the peer in CLOSE_WAIT, the finding would be " +
			"stuck_close_wait at the peer: here it is gone, or what it sends gets lost. After close(), Linux " +
			"drops the socket without a packet after net.ipv4.tcp_fin_timeout (60 s); after shutdown(), it and " +
			"its descriptor stay for as long as the application waits.",
		Causes: []string{
			"The peer aborted, and its RST was lost or not exact enough to be accepted.",
			"The peer's host vanished after it had acknowledged the FIN.",
			"A firewall or NAT forgot the connection, now half closed, and drops what the peer sends.",
		},
		Advice: []string{
			"On the waiting end, see who holds the socket; one without a process is dropped after " +
				"tcp_fin_timeout: `ss -tnpo state fin-wait-2 '( sport = :PORT or dport = :PORT )'`.",
			"On the peer, see whether it still has the connection: `ss -tanp 'dst ADDRESS'`.",
			"In the application, read with a deadline after shutdown(), or set SO_KEEPALIVE, so that a peer that " +
				"is gone is noticed.",
		},
	},
	{
		Kind: HalfOpenHandshake, Severity: Warning, Worst: Warning, Age: 3 * time.Second,
		Raised:  "a server is in SYN_RCVD, its SYN-ACK not answered, for",
		AtFault: "the client, or the path back to it; the server if the client's ACK has passed",
		Meaning: "The server has answered the SYN, but the ACK that completes the handshake does not come, and " +
			"it repeats its SYN-ACK for about a minute (net.ipv4.tcp_synack_retries). The client, if there is " +
			"one, still waits in connect(). A few cost nothing; many fill the queue of half-open connections, " +
			"and then Linux resorts to SYN cookies or drops SYNs.",
		Causes: []string{
			"The SYN-ACK does not get back: a firewall, an asymmetric route, a load balancer that answers from " +
				"another address.",
			"The client went away in the middle of the handshake.",
			"The source address of the SYN was forged, or a scanner never meant to complete it.",
		},
		Advice: []string{
			"On the client, see whether the SYN-ACK arrives: `tcpdump -ni any 'tcp and host ADDRESS and port " +
				"PORT'`.",
			"On the server, see which way the SYN-ACK leaves: `ip route get ADDRESS`.",
			"On the server, count the half-open ones: `ss -Htn state syn-recv '( sport = :PORT )' | wc -l`.",
			"See whether their queue was ever full: `nstat -az TcpExtTCPReqQFullDoCookies TcpExtTCPReqQFullDrop`.",
		},
	},
	{
		Kind: UnansweredSYN, Severity: Warning, Worst: Warning, Age: 3 * time.Second,
		Raised:  "a client repeats its SYN, and nothing answers, for",
		AtFault: "the server or the path: the finding says whether the port answers others",
		Meaning: "The client waits in connect(), and neither a SYN-ACK nor a RST comes. Linux tries for about " +
			"two minutes (net.ipv4.tcp_syn_retries) before connect() fails with a timeout, which is longer than " +
			"most callers wait. If the port answers other clients, something treats this one differently; if it " +
			"answers nobody, it is the server or what stands before it.",
		Causes: []string{
			"A firewall or security group drops the SYN without a word.",
			"The address is wrong or out of date, or its host is down.",
			"The server's accept queue is full: Linux then ignores new SYNs.",
			"The SYN-ACK takes another way back and is lost there.",
		},
		Advice: []string{
			"On the server, see whether the SYN arrives, and what leaves: `tcpdump -ni any 'tcp and host ADDRESS " +
				"and port PORT'`.",
			"If it arrives and nothing leaves, look for a full queue (Recv-Q above Send-Q): `ss -ltn '( sport = " +
				":PORT )'; nstat -az TcpExtListenOverflows TcpExtListenDrops`.",
			"Look for a rule that drops it, on both hosts and in the security groups of the cloud: `nft list " +
				"ruleset`.",
			"If it does not arrive, see from the client how far it gets: `traceroute -T -p PORT ADDRESS`.",
		},
	},
	{
		Kind: Refused, Severity: Info, Worst: Warning, Count: 5,
		Raised:  "a RST answers a SYN; a warning where a group counts at least",
		AtFault: "the server: nothing listens on the port",
		Meaning: "The server's host says at once that nobody listens on the port, and connect() fails with " +
			"\"connection refused\". A single one is often intended: a client tries IPv6 before IPv4, or a probe " +
			"asks whether the service is up. Repeated, it is a service that its clients expect and that is not " +
			"there.",
		Causes: []string{
			"The service is not running: it crashed, restarts, or is not ready yet.",
			"It listens on another port, on 127.0.0.1 only, or on one address family only.",
			"Clients use an old address: of an instance that is gone, from a cache or a configuration.",
			"A firewall rejects with a RST instead of dropping.",
		},
		Advice: []string{
			"On the server, see what listens, and on which address: `ss -ltnp '( sport = :PORT )'`.",
			"If nothing does, see why: `systemctl status SERVICE; journalctl -u SERVICE`.",
			"If the service listens, look for a rule that rejects: `nft list ruleset | grep -i reset`.",
			"On the client, see where the address comes from, and retry with growing pauses: `getent ahosts " +
				"NAME`.",
		},
	},
	{
		Kind: AcceptQueueFull, Severity: Critical, Worst: Critical,
		Raised:  "a server repeats its SYN-ACK although the client's ACK or data has passed",
		AtFault: "the server: its application does not accept() fast enough",
		Meaning: "For the client the connection is open and it may have sent its request, but the server's " +
			"kernel has no room for it in the queue of connections that wait for accept(). It throws the ACK " +
			"away, repeats the SYN-ACK, and ignores new SYNs while the queue is full. Every client of this port " +
			"sees connections that hang, and connects that take seconds.",
		Causes: []string{
			"All workers are busy or blocked, by a lock, a slow database or garbage collection, and nobody calls " +
				"accept().",
			"The backlog is too small for a burst: the smaller of what the application gives to listen() and " +
				"net.core.somaxconn (4096, and 128 before Linux 5.4).",
			"The process has no descriptors left, so that accept() fails with EMFILE.",
			"The process is stopped, or throttled by the CPU limit of its container.",
		},
		Advice: []string{
			"On the server, compare Recv-Q, what waits, with Send-Q, the limit: `ss -ltnp '( sport = :PORT )'`.",
			"See whether it goes on: `nstat -az TcpExtListenOverflows TcpExtListenDrops`.",
			"Find what the accepting thread waits for, with a stack dump, and whether descriptors are left: " +
				"`grep 'open files' /proc/PID/limits; ls /proc/PID/fd | wc -l`.",
			"Where only bursts overflow it, raise the backlog in the application and the system's limit, then " +
				"restart the application, as listen() fixes it: `sysctl -w net.core.somaxconn=8192`.",
		},
	},
	{
		Kind: SlowHandshake, Severity: Info, Worst: Info,
		Raised:  "a handshake completes, but only after a SYN or a SYN-ACK was repeated",
		AtFault: "the path, or the server's backlog: the finding says which segment was repeated",
		Meaning: "The connection works, but opening it took a second or more instead of one round trip, as that " +
			"is how long the first repetition waits. Callers see it as latencies that cluster just above 1 s or " +
			"3 s. Single ones are ordinary loss.",
		Causes: []string{
			"The SYN was lost on the way, or the server ignored it while its accept queue was full.",
			"The SYN-ACK was lost on the way back.",
			"The connection table of a firewall or NAT was full for a moment.",
		},
		Advice: []string{
			"On the server, see whether it drops SYNs: `nstat -az TcpExtListenOverflows TcpExtListenDrops " +
				"TcpExtTCPReqQFullDrop`.",
			"On both, see how often it happens; this counts repeated SYNs and SYN-ACKs: `nstat -az " +
				"TcpExtTCPSynRetrans`.",
			"Look for loss at the interfaces, and for a full table at a Linux firewall: `ip -s link show dev " +
				"INTERFACE; dmesg | grep 'nf_conntrack: table full'`.",
		},
	},
	{
		Kind: HalfOpen, Severity: Warning, Worst: Warning, Age: 5 * time.Second,
		Raised:  "an end repeats data or keep-alive probes, at least 3 times, and nothing answers for",
		AtFault: "the end that is gone, or the path to it; nobody where it may be the path's MTU",
		Meaning: "One end has lost the connection without a word, and the other does not know. Whoever writes " +
			"waits until its kernel gives up, some 15 minutes of repetitions (net.ipv4.tcp_retries2); whoever " +
			"only reads waits for ever, unless SO_KEEPALIVE is set, which asks after 2 hours by default. " +
			"Meanwhile requests hang on a connection that looks healthy.",
		Causes: []string{
			"The host crashed or was switched off, or its virtual machine or container was removed with the " +
				"address.",
			"A NAT or firewall on the way lost its state and drops what it does not know.",
			"Only what is large is lost, so that a connection opens and then hangs: a tunnel's MTU is too small, and a " +
				"firewall filters the ICMP errors that say so. The finding tells where nothing large has ever arrived.",
			"The network between them is down: a link, a tunnel, a route.",
		},
		Advice: []string{
			"On the end that is left, see the timer and the number of repetitions: `ss -tnpo 'dst ADDRESS'`.",
			"See whether the other host is there. If it were, and had lost only the socket, its kernel would " +
				"answer with a RST: `ping -c 3 ADDRESS`.",
			"In the application, set TCP_USER_TIMEOUT to what a request may take, and deadlines for reads.",
			"For programs that set SO_KEEPALIVE and no times of their own, ask sooner: `sysctl -w " +
				"net.ipv4.tcp_keepalive_time=120 net.ipv4.tcp_keepalive_intvl=10`.",
		},
	},
	{
		Kind: ResetAfterIdle, Severity: Warning, Worst: Warning, Age: 60 * time.Second,
		Raised:  "data or a keep-alive probe is answered by RST after a silence of at least",
		AtFault: "the peer, or a middlebox that forgot the connection",
		Meaning: "The connection was open and silent. The next thing sent on it was answered by a RST, as " +
			"whoever got it no longer knew the connection, and the request on it failed with \"connection reset " +
			"by peer\". The finding gives the idle time: if it is always the same or a little more, it is a " +
			"timeout.",
		Causes: []string{
			"A load balancer, NAT or firewall forgets idle connections: after 350 s with AWS NLB and NAT " +
				"gateway, after 4 minutes with Azure Load Balancer, unless configured otherwise.",
			"The peer was restarted or replaced while the connection was idle.",
			"The peer has an idle timeout of its own, and its FIN or RST did not arrive.",
		},
		Advice: []string{
			"Compare the idle time with the timeouts of everything in between, and with the time of the last " +
				"deployment: `systemctl show -p ActiveEnterTimestamp SERVICE`.",
			"See who sent the RST: the TTL of a middlebox's differs from that of the peer's other packets: " +
				"`tcpdump -vni any 'host ADDRESS and tcp port PORT'`.",
			"Let the pool close idle connections sooner than that timeout, or test them before use.",
			"Or keep them in use: SO_KEEPALIVE in the application, with a time below the timeout: `sysctl -w " +
				"net.ipv4.tcp_keepalive_time=120`.",
		},
	},
	{
		Kind: ClosedWhileSending, Severity: Warning, Worst: Warning,
		Raised:  "a request crosses the peer's FIN, or follows it, and is answered by RST",
		AtFault: "both configurations: keep-alive timeouts that do not match",
		Meaning: "The server closed a connection that it took for idle while the client's next request was under " +
			"way, and answered that request with a RST. It was not processed, but the client cannot be sure of " +
			"that: it sees \"connection reset by peer\", and a proxy turns it into a 502. It happens rarely and " +
			"at random, at the rate at which requests meet the end of the server's timeout.",
		Causes: []string{
			"The client or proxy keeps idle connections for longer than the server. By default nginx closes " +
				"after 75 s, gunicorn after 2 s; Go's client keeps them for 90 s, AWS ALB for 60 s.",
			"The server closes after a number of requests: nginx after 1,000 by default.",
			"The server closes its idle connections as it shuts down, in a deployment.",
			"The client does not look for the server's FIN before it takes a connection from its pool.",
		},
		Advice: []string{
			"Make the client's idle timeout shorter than the server's, by some seconds, at every hop: browser, " +
				"load balancer, proxy, service.",
			"Where the server is yours and the client is not, raise the server's: keepalive_timeout in nginx, " +
				"--keep-alive in gunicorn, IdleTimeout in Go.",
			"Let clients retry on a new connection what is safe to repeat.",
			"See whether it has ended: `tcpdump -ni any 'tcp port PORT and tcp[tcpflags] & (tcp-fin|tcp-rst) != " +
				"0'`.",
		},
	},
	{
		Kind: Aborted, Severity: Info, Worst: Info,
		Raised:  "a RST ends an established connection",
		AtFault: "the sender of the RST; its peer where that has not answered any more",
		Meaning: "Its sender has thrown the connection away instead of closing it with a FIN. What was under way " +
			"or unread is lost, and the other end's next read or write fails with \"connection reset by peer\". " +
			"The finding says which kind it is, as far as the wire tells: an abortive close (linger 0 or unread " +
			"data), data after close, or a segment that no socket was there for. Some programs do so on purpose.",
		Causes: []string{
			"The application closed before it had read all that had arrived: Linux then sends a RST.",
			"It closed while the peer was still sending, as with a cancelled download, and its kernel answers " +
				"the rest with RST.",
			"It set SO_LINGER to 0, as load balancers, health checks and load generators do.",
			"The process or its host was restarted, and the kernel does not know the connection any more.",
		},
		Advice: []string{
			"On the sender, see which kind it counts, OnClose for unread data, OnData for linger 0 and for data " +
				"after close: `nstat -az 'TcpExtTCPAbort*'`.",
			"See whether the process died at that time: `journalctl -u SERVICE; dmesg | grep -i 'killed " +
				"process'`.",
			"If the code is yours, read to the end of the stream before close(), or shut down the writing side " +
				"first.",
			"If neither explains it, catch who sends it: `perf record -a -g -e tcp:tcp_send_reset sleep 30`.",
		},
	},
	{
		Kind: ZeroWindow, Severity: Warning, Worst: Warning, Age: 5 * time.Second,
		Raised:  "an end advertises a zero window for",
		AtFault: "that end: its application does not read",
		Meaning: "The receive buffer of this end is full, and its kernel has told the peer to stop. The peer " +
			"sends only probes, its own writes block, and the stall travels back to whoever waits for it. The " +
			"network is not slow: the reader is.",
		Causes: []string{
			"The application is busy or blocked between two reads: by a lock, a slow disk, a database.",
			"It has stopped reading on purpose, for it passes the data on to somebody who is slower.",
			"It has forgotten the connection, and the data of a peer that still sends piles up.",
			"The receive buffer is small (SO_RCVBUF), so that every pause shows.",
		},
		Advice: []string{
			"On the end at fault, see what is unread (Recv-Q) and in which process: `ss -tnpm '( sport = :PORT " +
				"or dport = :PORT )'`.",
			"Take a stack dump of that process and look for what the reading thread waits for.",
			"See how often windows open and close on this host: `nstat -az TcpExtTCPToZeroWindowAdv " +
				"TcpExtTCPFromZeroWindowAdv`.",
			"A larger buffer (net.ipv4.tcp_rmem) helps against bursts only, not against a reader that is too " +
				"slow.",
		},
	},
	{
		Kind: Idle, Severity: Info, Worst: Info, Age: 30 * time.Minute,
		Raised:  "a connection is in ESTABLISHED and silent for",
		AtFault: "nobody: whether it is wanted, only its application knows",
		Meaning: "Both ends hold the connection open and neither has said anything. That is what a pool, a " +
			"console or a subscription looks like, and also a connection that was forgotten or whose other end " +
			"is gone. It costs a descriptor at each end, and an entry in every firewall and NAT on the way, " +
			"which may drop it. Where their number keeps growing, it becomes a leak.",
		Causes: []string{
			"A pool keeps spare connections, without an upper limit to their age.",
			"A protocol waits for events and has no heartbeat.",
			"A connection was taken from a pool and never given back.",
			"The peer vanished, and no keep-alive probes ask for it.",
		},
		Advice: []string{
			"On either end, see the process, and the time since it last sent and received (lastsnd and lastrcv, " +
				"in ms): `ss -tnpoi state established '( sport = :PORT or dport = :PORT )'`.",
			"See whether keep-alive is on: the line then has timer:(keepalive,…).",
			"Give pools an idle timeout and a maximum lifetime, and protocols a heartbeat, below the shortest " +
				"timeout on the way.",
		},
	},
	{
		Kind: PathLoss, Severity: Info, Worst: Info, Count: 50,
		Raised:  "a direction repeats 5 % of its data segments or more, and has sent at least",
		AtFault: "the path, in the direction of the data",
		Meaning: "One data segment in twenty or more was sent again. Each costs a round trip or, at the end of a " +
			"burst, a timeout of 200 ms and more, and makes the sender slow down: at such rates throughput falls " +
			"to a fraction of the link. A part of the repetitions may have been needless, as where a delay " +
			"jumped.",
		Causes: []string{
			"A link or queue on the way is overloaded, or a policer drops what exceeds a rate.",
			"A host drops: a full receive ring, a busy CPU, a limit of the virtual machine.",
			"A cable, an optic or a radio link is bad.",
			"Packets of full size do not fit a tunnel, and the ICMP message that says so is filtered.",
		},
		Advice: []string{
			"On the sender, see which connections lose, by retrans and cwnd: `ss -tni 'dst ADDRESS'`.",
			"Look for drops and errors at the interfaces of both hosts: `ip -s link show dev INTERFACE; ethtool " +
				"-S INTERFACE | grep -iE 'drop|err|miss'`.",
			"See where on the way it is lost: `mtr --tcp --port PORT ADDRESS`.",
			"If only large packets are lost, test the MTU, with 28 bytes less than it: `ping -M do -s 1472 " +
				"ADDRESS`.",
		},
	},
	{
		Kind: SYNFlood, Severity: Critical, Worst: Critical, Count: 100,
		Raised: "half-open handshakes at one server port outnumber those that completed, and are at one time at " +
			"least this many; or where it leaves SYNs without an answer that are not repeated, within 10 s, " +
			"from addresses that hardly ever ask twice: ten times as many, and three times those that were " +
			"repeated or completed. This many are",
		AtFault: "the sources; their addresses may be forged",
		Meaning: "Many more handshakes are begun at this port than completed. Each takes a place in the queue of " +
			"half-open connections, and the server repeats its SYN-ACKs for about a minute. With SYN cookies, " +
			"which Linux uses by default when the queue is full, other clients are still served; without them, " +
			"they are turned away. Where the queue is full without them, or somebody drops SYNs on the way, most " +
			"get no answer: clients would repeat theirs after a second, and forged senders do not.",
		Causes: []string{
			"An attack, with source addresses that are forged or taken from many hosts.",
			"The way back is broken for many clients: their handshakes are real, and the SYN-ACKs do not arrive.",
			"A scanner or a load generator that never completes its handshakes.",
		},
		Advice: []string{
			"On the server, count the half-open ones: `ss -Htn state syn-recv '( sport = :PORT )' | wc -l`.",
			"See whether cookies are on and in use, and whether SYNs are dropped: `sysctl " +
				"net.ipv4.tcp_syncookies; nstat -az TcpExtSyncookiesSent TcpExtTCPReqQFullDrop`.",
			"If the addresses are those of your own clients, check the way back from the server: `ip route get " +
				"ADDRESS`.",
			"Against an attack, have it filtered upstream, by the provider or a load balancer: the link fills " +
				"before the server does.",
		},
	},
	{
		Kind: PortScan, Severity: Warning, Worst: Warning, Count: 20,
		Raised:  "one source tries ports of one host that refuse or do not answer, within 60 s at least",
		AtFault: "the source",
		Meaning: "One address asks for one port after the other on the same host, and is mostly refused or left " +
			"without an answer. Healthy clients know their ports: this is somebody who looks for what is there. " +
			"It does little harm by itself; what matters is who it is, and which ports did answer.",
		Causes: []string{
			"A security scanner or an inventory, your own or from outside.",
			"An attacker or malware that looks for services, from inside the network too.",
			"A client with a list of ports that is out of date, or one that cannot find its service.",
		},
		Advice: []string{
			"Find out who it is, with whois where the address is not yours: `getent hosts ADDRESS`.",
			"See which ports answered: `tcpleak -r FILE --all host ADDRESS`.",
			"If the source is yours, name the process there: `ss -tnp state syn-sent`.",
			"If it is not wanted, drop it at the firewall, and close what need not be open: `ss -ltnp`.",
		},
	},
	{
		Kind: HostScan, Severity: Warning, Worst: Warning, Count: 20,
		Raised:  "one source tries hosts that refuse or do not answer, within 60 s at least",
		AtFault: "the source",
		Meaning: "One address asks many hosts, mostly for the same port, and is refused or left without an " +
			"answer by most. Healthy clients know their servers: this is somebody who looks for hosts with a " +
			"certain service. From inside the network it is how malware spreads.",
		Causes: []string{
			"A security scanner, an inventory or a monitoring system that searches its targets.",
			"Malware or an attacker that looks for a service to break into.",
			"A client, or a cluster, whose list of peers is out of date.",
		},
		Advice: []string{
			"Find out who it is, with whois where the address is not yours: `getent hosts ADDRESS`.",
			"See which hosts answered: `tcpleak -r FILE --all host ADDRESS`.",
			"If the source is yours, name the process there: `ss -tnp state syn-sent`.",
			"If you do not know that process, isolate the host before you look further.",
		},
	},
	{
		Kind: TimeWaitPressure, Severity: Warning, Worst: Critical, Count: 14116,
		Raised:  "the ends in TIME_WAIT of one client address towards one server port are at least",
		AtFault: "the client: it does not reuse its connections",
		Meaning: "The end that closes first keeps its port in TIME_WAIT for 60 s, which no sysctl changes. " +
			"Towards one server port, an address has 28,232 ephemeral ports (32768 to 60999), of which the " +
			"default threshold is a half; at nine tenths, 1.8 times the threshold, it is critical. When all are " +
			"taken, connect() fails with \"cannot assign requested address\".",
		Causes: []string{
			"The client opens a connection for each request and closes it.",
			"Its pool is too small for the load, and connections beyond it are closed after use.",
			"Many clients share an address behind a NAT or a proxy.",
		},
		Advice: []string{
			"On the client, count them: `ss -Htan state time-wait 'dst ADDRESS:PORT' | wc -l`.",
			"Reuse connections: HTTP keep-alive, a pool as large as the number of parallel requests (Go's client " +
				"keeps only 2 idle ones per host by default).",
			"Until then, widen the range, keeping clear of ports that are listened on: `sysctl -w " +
				"net.ipv4.ip_local_port_range='15000 60999'`.",
			"Or let Linux reuse such ports for new connections, which needs TCP timestamps at both ends: `sysctl " +
				"-w net.ipv4.tcp_tw_reuse=1`.",
		},
	},
	{
		Kind: Churn, Severity: Info, Worst: Info, Count: 50,
		Raised:  "one client opens short connections to one server port, per second over 10 s at least",
		AtFault: "the client: it does not pool its connections",
		Meaning: "The client opens and closes connections all the time instead of keeping some. Each costs a " +
			"round trip for TCP and one or two for TLS, with the CPU time of its handshake at both ends, before " +
			"the first byte of a request. It adds latency now, and leads to time_wait_pressure as the load grows.",
		Causes: []string{
			"A new client object, and with it a new pool, is made for each request.",
			"The response is not read to its end, so that the connection cannot be used again.",
			"The pool keeps fewer idle connections than there are parallel requests.",
			"One of the ends switches keep-alive off: HTTP/1.0, \"Connection: close\", a proxy's default.",
		},
		Advice: []string{
			"On the client, name the process: `ss -tnp 'dst ADDRESS:PORT'`.",
			"Use one client object for the whole process, read responses to their end, and let the pool keep as " +
				"many idle connections as run in parallel.",
			"See whether a proxy in between keeps its connections to the server; in nginx, the directives " +
				"keepalive and proxy_http_version say so.",
		},
	},
	{
		Kind: Leak, Severity: Critical, Worst: Critical, Age: 60 * time.Second, Count: 10,
		Raised:  "the number of connections that an end leaves in CLOSE_WAIT, or idle, grows for at least",
		AtFault: "that end: it opens or keeps what it never closes",
		Meaning: "Of one service and at one end, the number of connections left in CLOSE_WAIT, or idle in " +
			"ESTABLISHED, rises steadily: by more than the threshold, and by a trend that chance explains in " +
			"less than 1 case of 100 (Mann-Kendall). It ends when the process runs out of descriptors, and then " +
			"it can neither accept nor connect nor open a file. The finding gives the growth per minute, the " +
			"oldest connection, and when 1,024 and 65,536 descriptors are reached.",
		Causes: []string{
			"A code path forgets to close, often the one for errors: in Go, a response whose body is not closed.",
			"A pool without an upper limit, or one that connections are taken from and not given back to.",
			"Threads that would close are blocked, more of them as time goes by.",
			"The peers vanish without closing, and nothing asks for them: no keep-alive, no idle timeout.",
		},
		Advice: []string{
			"On the end at fault, name the process: `ss -tnp '( sport = :PORT or dport = :PORT )'`.",
			"See how many descriptors are left: `grep 'open files' /proc/PID/limits; ls /proc/PID/fd | wc -l`.",
			"Gain time by raising the limit of the running process, or restart it before it is reached: `prlimit " +
				"--pid PID --nofile=65536:65536`.",
			"Take a stack dump, and read the code that handles this peer: who owns the connection, and on which " +
				"path does nobody close it.",
		},
	},
	{
		Kind: BlindReset, Severity: Info, Worst: Info,
		Raised:  "a RST does not have the number that its receiver expects, and the connection goes on",
		AtFault: "the sender of the RST, who may not be the host that its address names",
		Meaning: "A RST must have exactly the next sequence number (RFC 5961); this one did not, was ignored, " +
			"and the connection goes on. Somebody who does not see the connection has guessed, or a device has " +
			"lost track of it. A single one is harmless, but it tells that somebody tries to end this connection.",
		Causes: []string{
			"A firewall or an intrusion prevention system ends connections, with numbers that are out of date.",
			"The peer did abort, but data that it sent before the RST was lost.",
			"An attacker forges RSTs.",
		},
		Advice: []string{
			"Compare the TTL of the RST with that of the supposed sender's other packets: `tcpdump -vni any " +
				"'host ADDRESS and tcp port PORT'`.",
			"On the receiver, see how often it had to ask back: `nstat -az TcpExtTCPChallengeACK`.",
			"Ask who runs the firewalls in between for a rule that resets connections.",
		},
	},
	{
		Kind: ChallengeACK, Severity: Info, Worst: Info,
		Raised:  "an ACK asks whether a SYN or a RST was meant (RFC 5961)",
		AtFault: "whoever sent the SYN or the RST; the sender of the ACK only asks",
		Meaning: "An end got, within a connection that it has open, a SYN or a RST that was not exact. It does " +
			"not believe it, and asks the peer with an ACK. If the peer has really left, it answers that with an " +
			"exact RST and the connection ends; if not, the connection goes on as if nothing had happened.",
		Causes: []string{
			"The peer lost the connection and opens a new one from the same port, see syn_inside.",
			"A RST with a wrong number arrived, see blind_reset.",
			"A RST overtook data, or that data was lost.",
		},
		Advice: []string{
			"Look at what the other end sent just before it, in the capture.",
			"See how often this host asks back: `nstat -az TcpExtTCPChallengeACK TcpExtTCPSYNChallenge`.",
		},
	},
	{
		Kind: InvalidFlags, Severity: Info, Worst: Info,
		Raised:  "a segment has flags that no state allows, such as SYN with FIN, or none",
		AtFault: "its sender",
		Meaning: "No TCP sends such a segment: without any flag, with SYN and FIN or RST, with FIN and RST, or " +
			"with FIN but without ACK. Programs make them, to see how a host reacts or to slip past a filter. An " +
			"open connection hardly ever suffers from them.",
		Causes: []string{
			"A scan: nmap -sN, -sF and -sX send no flags, FIN, or FIN with PSH and URG.",
			"A test tool that makes packets of its own.",
			"A device on the way, or a driver, damages headers.",
		},
		Advice: []string{
			"Find out who it is, and what else it sent: `getent hosts ADDRESS; tcpleak -r FILE --all host " +
				"ADDRESS`.",
			"Let a Linux firewall drop them, in a table and chain of yours: `nft add rule inet filter input ct " +
				"state invalid drop`.",
			"If they come from a host that you trust, capture on that host as well: what differs was changed on " +
				"the way.",
		},
	},
	{
		Kind: SYNInside, Severity: Info, Worst: Info,
		Raised:  "a SYN with another number comes while its receiver has the connection open",
		AtFault: "the sender of the SYN",
		Meaning: "For the receiver the connection is open; for the sender of the SYN there is none, and it " +
			"begins a new one with the same ports. The receiver answers with an ACK that asks back. If the " +
			"sender means it, it resets the old connection and repeats its SYN, so that opening takes a second " +
			"longer; if the SYN was forged, nothing happens.",
		Causes: []string{
			"The client's host crashed or was restarted, and takes the same port again.",
			"A NAT gave the port of a flow that it had forgotten to a new one.",
			"The client binds a fixed local port.",
			"The SYN was forged.",
		},
		Advice: []string{
			"On the receiver, look for connections that its peer no longer has: `ss -tnpo 'dst ADDRESS'`.",
			"Set SO_KEEPALIVE or an idle timeout there, so that they do not stay until their port comes up again.",
			"On a NAT, compare the time after which it reuses a port with the idle timeouts of the servers " +
				"behind it: `sysctl net.netfilter.nf_conntrack_tcp_timeout_established`.",
		},
	},
	{
		Kind: DataAfterFIN, Severity: Info, Worst: Info,
		Raised:  "an end sends data beyond its own FIN",
		AtFault: "its sender, who may not be the host that its address names",
		Meaning: "A FIN says that nothing follows. Its sender's kernel cannot send more on this connection, so " +
			"what follows was made by somebody else, and the receiver drops it.",
		Causes: []string{
			"Somebody forges segments in the name of this end.",
			"A proxy or firewall that rewrites the stream has lost count.",
			"Two hosts have the same address.",
		},
		Advice: []string{
			"Compare TTL, IP id and MAC address of these segments with the end's others: `tcpdump -evni any " +
				"'host ADDRESS and tcp port PORT'`.",
			"Capture on the sending host as well: what is missing there was not sent by it.",
			"Look for a second host with the address, from one in the same network: `arping -D -I INTERFACE " +
				"ADDRESS`.",
		},
	},
	{
		Kind: PortReused, Severity: Info, Worst: Info,
		Raised:  "a SYN has the addresses and ports of a connection that has ended",
		AtFault: "the sender of the SYN",
		Meaning: "The client uses a local port again soon after an earlier connection from it. That works where " +
			"the server can tell the two apart: Linux takes the SYN even in TIME_WAIT if its sequence number or " +
			"timestamp is newer. Others, firewalls among them, may take it for a part of the old connection and " +
			"drop it.",
		Causes: []string{
			"The client opens connections so fast that its ports come round again.",
			"Many clients share the ports of a NAT.",
			"The client binds a fixed local port.",
		},
		Advice: []string{
			"On the client, see how many ports there are, and how many are taken: `sysctl " +
				"net.ipv4.ip_local_port_range; ss -Htan state time-wait 'dst ADDRESS:PORT' | wc -l`.",
			"See whether handshakes suffer: slow_handshake and unanswered_syn at the same server tell.",
			"Reuse connections, and do not bind a local port where none is asked for.",
		},
	},
	{
		Kind: CaptureGap, Severity: Info, Worst: Info,
		Raised:  "the capture misses bytes that were acknowledged, or the kernel dropped packets",
		AtFault: "the capture: neither end, nor the network",
		Meaning: "Packets passed that are not in the capture: an end acknowledged bytes that the capture does " +
			"not hold, or the kernel counted packets that it could not hand over in time. What follows from " +
			"silence is less sure then: findings that depend on it are presumed, or left out.",
		Causes: []string{
			"The buffer of the capture was too small for the rate, or the disk too slow.",
			"A mirror port or tap carries more than its link holds, or only one of several paths.",
			"The capture's filter leaves out a part: fragments, another VLAN, a tunnel.",
		},
		Advice: []string{
			"Capture less of each packet into a larger buffer (with tcpleak -i, by --snapshot-length and " +
				"--buffer-size): `tcpdump -ni INTERFACE -s 128 -B 65536 -w FILE 'tcp port PORT'`.",
			"Read tcpdump's last lines: packets dropped by kernel should be 0.",
			"On a mirror port, look for drops at the switch and at the receiving interface: `ethtool -S " +
				"INTERFACE | grep -iE 'drop|miss'`.",
			"Capture at the host at fault rather than in between, where nothing else can lose a packet.",
		},
	},
	{
		Kind: OldCloseWait, Severity: Warning, Worst: Warning, Kernel: true,
		Raised:  "with -i, the kernel has sockets in CLOSE_WAIT whose FIN passed before the capture began",
		AtFault: "the end in CLOSE_WAIT, on this host: its application has not closed",
		Meaning: "The peer closed before anybody looked. The kernel lists such a socket and who holds it, but not since when; so " +
			"one that stays is a leak that began earlier, and one that goes was only late. It is not in the report of the packets.",
		Causes: []string{
			"A code path of the application forgets to close: an unread response body, an error return, a pool that does not notice.",
			"Nobody has accepted the connection: the application does not call accept() any more.",
			"The application is still at work on its answer.",
		},
		Advice: []string{
			"See which process holds them, and whether the number grows: `ss -tnp state close-wait '( sport = :PORT )'`.",
			"Look at the process: `ls -l /proc/PID/fd | grep -c socket`.",
		},
	},
	{
		Kind: KernelDisagrees, Severity: Warning, Worst: Warning, Kernel: true,
		Raised:  "with -i, the kernel has a connection open whose peer is gone by its packets, or no socket for one that is open by its packets",
		AtFault: "this host, or what drops packets in it",
		Meaning: "The capture shows what passed the interface; the kernel says what it made of it. Where the two differ for longer than a packet " +
			"takes, a packet was dropped in between, or the connection went without one. The peer believes what was sent.",
		Causes: []string{
			"The host's own firewall drops the FIN or the RST behind the point of capture.",
			"The socket was killed (ss -K), or its process or namespace removed, and the RST was dropped.",
			"A RST had a sequence number that the kernel does not take.",
		},
		Advice: []string{
			"Look at the socket, with its timers: `ss -tnpoie 'dst ADDRESS'`.",
			"Look for rules that drop, and count: `nft list ruleset; iptables-save -c`.",
		},
	},
}
