package page_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"tcpleak/diagnosis"
	"tcpleak/ladder"
	"tcpleak/report/page"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// drawn is what a ladder says, from the top: by the height of what is written, and from the left.
func drawn(t *testing.T, n *html.Node) (lines []string) {
	t.Helper()
	svg := all(n, named(atom.Svg))[0]
	for _, e := range all(svg, func(n *html.Node) bool { return n.Data == "text" }) {
		class := strings.Fields(attribute(e, "class"))[0]
		if class == "in" || class == "flags" || class == "silence" {
			lines = append(lines, text(e))
		}
	}
	return lines
}

// table is the cells of the only table below n that has the headers.
func table(t *testing.T, n *html.Node, headers ...string) (rows [][]string) {
	t.Helper()
	for _, table := range all(n, named(atom.Table)) {
		rows = nil
		for _, tr := range all(table, named(atom.Tr)) {
			var cells []string
			for _, cell := range all(tr, func(n *html.Node) bool { return n.DataAtom == atom.Td || n.DataAtom == atom.Th }) {
				cells = append(cells, text(cell))
			}
			rows = append(rows, cells)
		}
		if strings.HasPrefix(strings.Join(rows[0], "|"), strings.Join(headers, "|")) {
			return rows[1:]
		}
	}
	t.Fatalf("no table with %q", headers)
	return nil
}

func TestALadder(t *testing.T) {
	root := parse(t, write(t, load(t, "demo.pcap")))
	figure := byID(t, root, "l4")
	want := []string{ // the boxes lie below all else
		"CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "FIN_WAIT_2?", "CLOSE_WAIT",
		"SYN handshake 1/3", "SYN,ACK handshake 2/3", "ACK handshake 3/3", "5s of silence", "FIN,ACK teardown 1/4", "ACK teardown 2/4", "3m13s of silence",
		"teardown 3/4 is missing",
	}
	if diff := cmp.Diff(want, drawn(t, figure)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wants(t, figure, "Waiting 3m13s for the server's FIN (teardown 3/4)", "The server is in CLOSE_WAIT (confirmed)", "The same in a terminal:")
	rows := table(t, figure, "Time", "Packet", "From", "What")
	first, last := rows[0], rows[len(rows)-1]
	if diff := cmp.Diff([]string{"13:21:00.520345", "18", "client", "SYN", "handshake 1/3", "asks to open a connection", "SYN_SENT", ""}, first); diff != "" {
		t.Errorf("first step (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"13:21:05.561552", "57", "server", "ACK", "teardown 2/4", "acknowledges the FIN", "FIN_WAIT_2", "CLOSE_WAIT"}, last); diff != "" {
		t.Errorf("last step (-want +got):\n%s", diff)
	}
}

// What was not told from packets is told from what is remembered.
func TestALadderThatIsNotGiven(t *testing.T) {
	r := repeated(3, stuck(1), 1)
	r.Findings = []diagnosis.Finding{stuckFinding(1, 3)}
	figure := byID(t, parse(t, write(t, page.Page{Report: r})), "l1")
	wants(t, figure, "Told from what is remembered of it", "handshake 1/3", "teardown 2/4", "teardown 3/4 is missing")
}

// long is a ladder of n steps, each of which is told apart by its packet.
func long(n int) ladder.Ladder {
	l := ladder.Ladder{Connection: stuck(1), Now: after(time.Minute), Missing: ladder.Missing{Text: "Nothing is missing."}}
	for i := range n {
		l.Steps = append(l.Steps, ladder.Step{
			From: tracker.Role(i % 2), Time: after(time.Duration(i) * time.Millisecond), Last: after(time.Duration(i) * time.Millisecond),
			Packet: uint64(1000 + i), Segments: [2]uint64{1, 0}, Flags: tcp.ACK, Note: "step",
			States: [2]tcp.State{tcp.Established, tcp.Established}, Certainty: [2]tracker.Certainty{tracker.Confirmed, tracker.Confirmed},
		})
	}
	// It is where the drawing leaves out steps that the end closes.
	for i := n / 2; i < n; i++ {
		l.Steps[i].States[0] = tcp.FinWait1
	}
	l.Steps[n/2].Changed[0] = true
	return l
}

func TestALongLadderIsFolded(t *testing.T) {
	for _, c := range []struct {
		steps, left int
	}{{40, 0}, {41, 2}, {200, 161}} {
		t.Run(strconv.Itoa(c.steps), func(t *testing.T) {
			r := repeated(3, stuck(1), 1)
			r.Findings = []diagnosis.Finding{stuckFinding(1, 3)}
			figure := byID(t, parse(t, write(t, page.Page{Report: r, Ladders: []ladder.Ladder{long(c.steps)}})), "l1")
			rows := table(t, figure, "Time", "Packet")
			if len(rows) != 40 {
				t.Errorf("%d lines, want 40", len(rows))
			}
			if first, last := rows[0][1], rows[39][1]; first != "1000" || last != strconv.Itoa(999+c.steps) {
				t.Errorf("from packet %s to %s", first, last)
			}
			left := ""
			for _, row := range rows {
				if row[1] == "" {
					left += row[3]
				}
			}
			want, terminal := "", "The same in a terminal:"
			if c.left > 0 {
				want, terminal = fmt.Sprintf("… %d more steps", c.left), "All of its steps, in a terminal: tcpleak explain -r x.pcap 1"
			}
			if left != want {
				t.Errorf("%q, want %q", left, want)
			}
			wants(t, figure, terminal, want)
			entered := strings.Count(strings.Join(drawn(t, figure), "|"), "FIN_WAIT_1")
			if entered != 1 {
				t.Errorf("the client enters FIN_WAIT_1 %d times", entered)
			}
		})
	}
}

// The worst findings have all the room that they need, and those that come after them have some.
func TestRoomForLadders(t *testing.T) {
	r := repeated(100, stuck(1), 1)
	p := page.Page{}
	for id := range uint64(40) {
		f := stuckFinding(int(id+1), 3)
		f.Example = id + 1
		r.Findings = append(r.Findings, f)
		l := long(200)
		l.Connection.ID = id + 1
		p.Ladders = append(p.Ladders, l)
	}
	p.Report = r
	root := parse(t, write(t, p))
	for id, want := range map[int]int{1: 40, 4: 40, 40: 8} {
		if got := len(table(t, byID(t, root, fmt.Sprintf("l%d", id)), "Time", "Packet")); got != want {
			t.Errorf("%d steps of connection %d, want %d", got, id, want)
		}
	}
}
