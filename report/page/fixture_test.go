package page_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"tcpleak/capture"
	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report"
	"tcpleak/report/page"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// read gives all segments of a capture in testdata to take.
func read(t testing.TB, file string, encaps *tcp.EncapTable, take func([]tcp.Segment)) capture.Source {
	t.Helper()
	source, err := capture.OpenFiles([]string{filepath.Join("..", "..", "testdata", file)}, capture.Config{Encaps: encaps})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	batch := make([]tcp.Segment, 512)
	for {
		n, err := source.Read(batch)
		if errors.Is(err, io.EOF) {
			return source
		}
		if err != nil {
			t.Fatal(err)
		}
		take(batch[:n])
	}
}

// load makes the page of a capture in testdata, as the command does.
func load(t testing.TB, file string) page.Page {
	t.Helper()
	encaps := new(tcp.EncapTable)
	table := tracker.New(tracker.Config{})
	source := read(t, file, encaps, table.Add)
	stats := source.Stats()
	rules := diagnosis.NewRules()
	a := rules.Analyze(table, source.Last(), diagnosis.Capture{})
	p := page.Page{Report: report.Report{
		Counts: a.Counts, Rows: a.Connections, Notable: a.Notable(), Findings: a.Findings, Quality: a.Quality, Threshold: rules.Threshold, Encap: encaps.Get,
		Capture: report.Capture{
			First: stats.First, Last: stats.Last, Packets: stats.Packets, Segments: table.Stats().Segments, Duplicates: table.Stats().Duplicates,
			MissedBytes: a.Quality.MissedBytes, Sources: []report.Source{{Name: filepath.Base(file), Format: "pcap", LinkTypes: []string{"ETHERNET"}, Packets: stats.Packets}},
		},
	}}
	var connections []tracker.Connection
	for _, id := range page.Wanted(&p.Report) {
		for c := range table.Connections(source.Last()) {
			if c.ID == id {
				connections = append(connections, *c)
			}
		}
	}
	teller := ladder.NewTeller(tracker.New(tracker.Config{}), connections)
	read(t, file, new(tcp.EncapTable), teller.Add)
	p.Ladders = teller.Ladders(source.Last())
	return p
}

func write(t testing.TB, p page.Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parse(t testing.TB, text string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// all returns the elements below n for which is holds, in the order of the document.
func all(n *html.Node, is func(*html.Node) bool) (found []*html.Node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && is(d) {
			found = append(found, d)
		}
	}
	return found
}

func named(a atom.Atom) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.DataAtom == a }
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func byID(t testing.TB, n *html.Node, id string) *html.Node {
	t.Helper()
	found := all(n, func(n *html.Node) bool { return attribute(n, "id") == id })
	if len(found) != 1 {
		t.Fatalf("%d elements with id %q, want one", len(found), id)
	}
	return found[0]
}

// text is what n says, its white space folded.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// wants checks that what n says contains each of the parts.
func wants(t testing.TB, n *html.Node, parts ...string) {
	t.Helper()
	got := text(n)
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in %q", part, got)
		}
	}
}

var start = time.Date(2026, 3, 1, 3, 4, 5, 0, time.UTC).UnixNano()

// after is d after the start of a capture.
func after(d time.Duration) int64 { return start + int64(d) }

// stuck is a connection that the client has closed 2 s after its start, and the server has not.
func stuck(id uint64) tracker.Connection {
	at := func(d time.Duration, packet uint64, flags tcp.Flags) tracker.Mark {
		return tracker.Mark{Time: after(d), Packet: packet, Flags: flags}
	}
	end := func(address string, port uint16, state tcp.State, certainty tracker.Certainty) tracker.Endpoint {
		return tracker.Endpoint{
			Addr: tcp.AddrFromNetip(netip.MustParseAddr(address)), Port: port, State: state, Certainty: certainty,
			Since: after(2*time.Second + 40*time.Millisecond), Packets: 1_234_567, PayloadBytes: 98_765_432_109,
		}
	}
	c := tracker.Connection{
		ID: id, Opened: tracker.Handshake, ClosedFirst: tracker.ClientClosed, Start: after(0), Last: after(2040 * time.Millisecond),
		Ends: [2]tracker.Endpoint{
			end("2001:db8:1111:2222:3333:4444:5555:6666", 40000, tcp.FinWait2, tracker.Presumed),
			end("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 443, tcp.CloseWait, tracker.Confirmed),
		},
	}
	x, y := &c.Ends[tracker.Client].Facts, &c.Ends[tracker.Server].Facts
	x.SYN, x.FirstACK, x.FIN = at(0, 1, tcp.SYN), at(20*time.Microsecond, 3, tcp.ACK), at(2*time.Second, 6, tcp.FIN|tcp.ACK)
	y.SYN, y.FirstACK, y.AckReached, y.AcksFIN = at(10*time.Microsecond, 2, tcp.SYN|tcp.ACK), at(2040*time.Millisecond, 7, tcp.ACK), at(2040*time.Millisecond, 7, tcp.ACK), true
	x.Last, y.Last = x.FIN, y.AckReached
	return c
}

// repeated is a report on n connections like c, each with the findings.
func repeated(n int, c tracker.Connection, findings ...int) report.Report {
	r := report.Report{
		Capture: report.Capture{
			Sources: []report.Source{{Name: "x.pcap", Format: "pcap", LinkTypes: []string{"ETHERNET"}, Packets: uint64(7 * n)}},
			First:   after(0), Last: after(5 * time.Minute), Packets: uint64(7 * n), Segments: uint64(7 * n),
		},
		Quality:   diagnosis.Quality{Connections: n},
		Threshold: func(kind diagnosis.Kind) diagnosis.Threshold { return diagnosis.NewRules().Threshold(kind) },
		Rows: func(from, to int) report.Rows {
			return func(yield func(*tracker.Connection, []int) bool) {
				own := c
				for i := from; i < to; i++ {
					own.ID = uint64(i + 1)
					if !yield(&own, findings) {
						return
					}
				}
			}
		},
	}
	r.Counts.Connections = n
	for role := range c.Ends {
		r.Counts.States[c.Ends[role].State][role] = n
	}
	r.Counts.Standings[diagnosis.StandingOf(&c, len(findings) > 0)] = n
	return r
}

// stuckFinding is about connections 1 to n of a report, at most as many as a finding lists.
func stuckFinding(id, n int) diagnosis.Finding {
	f := diagnosis.Finding{
		ID: id, Kind: diagnosis.StuckCloseWait, Severity: diagnosis.Warning, Certainty: tracker.Confirmed, Count: n, Example: 1,
		Culprit:  diagnosis.Culprit{Role: tracker.Server, Addr: tcp.AddrFromNetip(netip.MustParseAddr("10.0.0.2")), Port: 443},
		Culprits: 1, Service: netip.MustParseAddrPort("10.0.0.2:443"), Since: after(2040 * time.Millisecond), For: 4*time.Minute + 57*time.Second,
		Summary: "The server 10.0.0.2:443 has not closed its end. It should have.", Cause: "A code path forgets it.", Next: "On 10.0.0.2, name the process",
		Command: "ss -tnp state close-wait '( sport = :443 )'",
		Evidence: []diagnosis.Evidence{
			{Mark: tracker.Mark{Time: after(2 * time.Second), Packet: 6, Flags: tcp.FIN | tcp.ACK}, From: tracker.Client, Meaning: "closes its end"},
		},
	}
	for i := range min(n, diagnosis.MaxListed) {
		f.Connections = append(f.Connections, uint64(i+1))
		f.Begins = append(f.Begins, after(time.Duration(i)*200*time.Second/time.Duration(n)))
	}
	return f
}
