package report_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/compat"
	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with testdata/name; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

var start = time.Date(2026, 3, 1, 3, 4, 5, 60708, time.UTC).UnixNano()

// after is d after the start of the capture.
func after(d time.Duration) int64 { return start + int64(d) }

func addr(text string) tcp.Addr { return tcp.AddrFromNetip(netip.MustParseAddr(text)) }

// connection is one that both ends have closed.
func connection(id uint64, client, server string) tracker.Connection {
	c, s := netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)
	return tracker.Connection{
		ID: id, Opened: tracker.Handshake, ClosedFirst: tracker.ClientClosed, EndedBy: tracker.EndedByFIN,
		Start: after(0), Last: after(2 * time.Second), HandshakeRTT: 51_000,
		Ends: [2]tracker.Endpoint{
			{Addr: tcp.AddrFromNetip(c.Addr()), Port: c.Port(), State: tcp.TimeWait, Certainty: tracker.Presumed,
				Since: after(2 * time.Second), Packets: 7, PayloadBytes: 3000},
			{Addr: tcp.AddrFromNetip(s.Addr()), Port: s.Port(), State: tcp.Closed, Certainty: tracker.Confirmed,
				Since: after(2 * time.Second), Packets: 6, PayloadBytes: 120},
		},
		ZeekState: "SF", ZeekHistory: compat.HistoryOf("ShADadFf"), WiresharkCompleteness: 31,
	}
}

// stuck is a connection that the client has closed and the server has not.
func stuck(id uint64, client, server string) tracker.Connection {
	c := connection(id, client, server)
	c.EndedBy = tracker.NotEnded
	c.Ends[0].State = tcp.FinWait2
	c.Ends[1].State = tcp.CloseWait
	c.ZeekState, c.ZeekHistory, c.WiresharkCompleteness = "S2", compat.HistoryOf("ShADaF"), 31
	return c
}

func stuckFinding(id int, connections ...uint64) diagnosis.Finding {
	return diagnosis.Finding{
		ID: id, Kind: "stuck_close_wait", Severity: diagnosis.Warning, Certainty: tracker.Confirmed,
		Connections: connections, Count: len(connections), Service: netip.MustParseAddrPort("10.77.0.2:80"),
		Culprit: diagnosis.Culprit{Role: tracker.Server, Addr: addr("10.77.0.2"), Port: 80}, Culprits: 1,
		Since: after(2 * time.Second), For: 299*time.Second + 200*time.Millisecond,
		Summary: "The server 10.77.0.2:80 has known for 4m59s that the client 10.77.0.1:50034 is done, and has not closed.",
		Cause: "The client closed its side (FIN) and the server's kernel acknowledged that at once. Only the server's " +
			"application can close the other side, and it has not: CLOSE_WAIT, which lasts until the process ends.",
		Next: "on 10.77.0.2: ss -tanpo state close-wait '( sport = :80 )'",
		Evidence: []diagnosis.Evidence{
			{Mark: tracker.Mark{Time: after(2 * time.Second), Packet: 8, Flags: tcp.FIN | tcp.ACK}, From: tracker.Client,
				Meaning: "closes its side"},
			{Mark: tracker.Mark{Time: after(2*time.Second + 40_000), Packet: 9, Flags: tcp.ACK}, From: tracker.Server,
				Meaning: "acknowledges the FIN"},
		},
	}
}

// rows iterates as an analysis does: with one Connection that every step overwrites.
func rows(connections []tracker.Connection, findings map[uint64][]int) report.Rows {
	return func(yield func(*tracker.Connection, []int) bool) {
		var reused tracker.Connection
		for i := range connections {
			reused = connections[i]
			if !yield(&reused, findings[reused.ID]) {
				return
			}
		}
	}
}

// put makes r one about connections, with the findings by ID.
func put(r *report.Report, connections []tracker.Connection, findings map[uint64][]int) {
	r.Counts = diagnosis.Counts{}
	var byStanding [diagnosis.NumStandings][]tracker.Connection
	for _, c := range connections {
		found := len(findings[c.ID]) > 0
		r.Counts.Add(&c, found)
		standing := diagnosis.StandingOf(&c, found)
		byStanding[standing] = append(byStanding[standing], c)
	}
	notable := slices.Concat(byStanding[:diagnosis.Clean]...)
	r.Notable = rows(notable[:min(len(notable), diagnosis.MaxNotable)], findings)
	r.Rows = func(from, to int) report.Rows { return rows(connections[from:to], findings) }
}

func encap(uint32) tcp.Encapsulation {
	var e tcp.Encapsulation
	e.AddVLAN(10)
	e.AddVLAN(20)
	e.AddTunnel(tcp.VXLAN, 7)
	return e
}

// mixed is a report with something of everything.
func mixed() report.Report {
	closed := connection(1, "10.77.0.1:50030", "10.77.0.2:80")
	stuck1, stuck2 := stuck(2, "10.77.0.1:50034", "10.77.0.2:80"), stuck(3, "10.77.0.1:50035", "10.77.0.2:80")
	stuck2.Encap = 1

	refused := connection(4, "[2001:db8:0:1:1111:2222:3333:4444]:50040", "[2001:db8::2]:443")
	refused.Opened, refused.EndedBy, refused.ClosedFirst = tracker.Refused, tracker.EndedByRST, tracker.NoneClosed
	refused.HandshakeRTT = 0
	refused.Ends[0].State, refused.Ends[1].State = tcp.Closed, tcp.Closed

	middle := connection(5, "10.77.0.1:50050", "10.77.0.3:5432")
	middle.Opened, middle.RolesGuessed, middle.Visibility = tracker.Midstream, true, tracker.ClientOnly
	middle.EndedBy, middle.ClosedFirst, middle.HandshakeRTT = tracker.NotEnded, tracker.NoneClosed, 0
	for i := range middle.Ends {
		e := &middle.Ends[i]
		e.State, e.Certainty, e.Since, e.SinceAtLeast = tcp.Established, tracker.Assumed, after(0), true
	}
	middle.Ends[1].Since, middle.Ends[1].SinceAtLeast = 0, false

	scan := diagnosis.Finding{
		ID: 1, Kind: "port_scan", Severity: diagnosis.Critical, Certainty: tracker.Presumed, Connections: []uint64{4}, Count: 1, Culprits: 1,
		Culprit: diagnosis.Culprit{Role: tracker.Client, Addr: addr("2001:db8:0:1:1111:2222:3333:4444")},
		Since:   after(time.Second), For: time.Minute, ForAtLeast: true,
		Summary: "2001:db8:0:1:1111:2222:3333:4444 tried 22 ports of 2001:db8::2 within a minute.",
	}
	gap := diagnosis.Finding{
		ID: 3, Kind: "capture_gap", Severity: diagnosis.Info, Certainty: tracker.Confirmed,
		Summary: "The capture lacks 1460 bytes that were acknowledged.",
	}
	r := report.Report{
		Capture: report.Capture{
			Sources: []report.Source{{
				Name: "x.pcap", Format: "pcap", LinkTypes: []string{"ETHERNET"}, Packets: 41, Truncated: true,
				Detail: "it ends 20 bytes into packet 42",
			}},
			Filter: "port 80 or port 443", First: after(0), Last: after(301*time.Second + 200*time.Millisecond),
			Packets: 41, Segments: 36, Duplicates: 2, Skipped: []report.Count{{Reason: "fragment", N: 1}, {Reason: "not_tcp", N: 2}},
			DroppedKernel: 3, MissedBytes: 1460, Evicted: tracker.Evictions{Finished: 1200, Attempts: 34},
		},
		Quality:   diagnosis.Quality{Capture: diagnosis.Capture{Dropped: 3, Truncated: true}, Connections: 5, OneSided: 1, MissedBytes: 1460},
		Threshold: func(kind diagnosis.Kind) diagnosis.Threshold { return diagnosis.NewRules().Threshold(kind) },
		Findings:  []diagnosis.Finding{scan, stuckFinding(2, 2, 3), gap},
		Encap:     encap,
	}
	put(&r, []tracker.Connection{closed, stuck1, stuck2, refused, middle}, map[uint64][]int{2: {2}, 3: {2}, 4: {1}})
	return r
}
