package report_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/report"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// named names one server for one of its clients.
func named(client tcp.Addr, clientPort uint16, server tcp.Addr, port uint16) string {
	if client == addr("10.77.0.1") && clientPort == 50034 && server == addr("10.77.0.2") && port == 80 {
		return "api.example.com"
	}
	return ""
}

func TestAFindingIsHeadedByTheName(t *testing.T) {
	server := diagnosis.Culprit{Role: tracker.Server, Addr: addr("10.77.0.2"), Port: 80}
	client := diagnosis.Culprit{Role: tracker.Client, Addr: addr("10.77.0.1")}
	oneClient := client
	oneClient.Port = 50034
	for _, c := range []struct {
		name     string
		culprit  diagnosis.Culprit
		culprits int
		want     string
	}{
		{"api.example.com", server, 1, "server api.example.com (10.77.0.2:80), "},
		{"", server, 1, "server 10.77.0.2:80, "},
		{"api.example.com", client, 1, "client 10.77.0.1 towards api.example.com (10.77.0.2:80), "},
		{"", client, 1, "client 10.77.0.1 towards 10.77.0.2:80, "},
		{"api.example.com", oneClient, 1, "client 10.77.0.1:50034 towards api.example.com (10.77.0.2:80), "},
		{"", oneClient, 1, "client 10.77.0.1:50034, "},
		{"api.example.com", diagnosis.Culprit{Role: tracker.Client}, 3, "3 clients of api.example.com (10.77.0.2:80), "},
		{"api.example.com", diagnosis.Culprit{}, 0, "api.example.com (10.77.0.2:80), "},
	} {
		f := stuckFinding(1, 2)
		f.Culprit, f.Culprits, f.ServiceName = c.culprit, c.culprits, c.name
		r := mixed()
		r.Findings = []diagnosis.Finding{f}
		if got := render(t, table(report.TableOptions{Width: 200}), r); !strings.Contains(got, "\nwarning stuck_close_wait: "+c.want) {
			t.Errorf("want %q in\n%s", c.want, got)
		}
		if c.culprits != 1 {
			continue
		}
		var b strings.Builder
		if err := report.EventText(&b, &diagnosis.Event{Change: diagnosis.Raised, Finding: f}, time.UTC); err != nil {
			t.Fatal(err)
		}
		if want := " raised: " + strings.TrimSuffix(c.want, ", ") + " (connection 2): "; !strings.Contains(b.String(), want) {
			t.Errorf("want %q in %q", want, b.String())
		}
	}
}

// Names are shown where they cost no line.
func TestTheListShowsNamesWhereTheyFit(t *testing.T) {
	r := mixed()
	r.Name = named
	for width, want := range map[int]string{
		200: "10.77.0.1:50034 api.example.com (10.77.0.2:80) FIN_WAIT_2? CLOSE_WAIT",
		130: "10.77.0.1:50034 10.77.0.2:80 FIN_WAIT_2? CLOSE_WAIT",
		100: "server api.example.com (10.77.0.2:80) CLOSE_WAIT",
		60:  "server 10.77.0.2:80 CLOSE_WAIT",
	} {
		got := strings.Join(strings.Fields(render(t, table(report.TableOptions{Width: width}), r)), " ")
		if !strings.Contains(got, want) {
			t.Errorf("width %d: want %q in\n%s", width, want, got)
		}
	}
}

func TestJSONAndCSVHaveTheName(t *testing.T) {
	r := mixed()
	r.Name = named
	r.Findings[1].ServiceName = "api.example.com"
	got := render(t, report.JSON, r)
	for want, times := range map[string]int{
		`"zero_windows":0,"name":"api.example.com"},"zeek"`:                                    1,
		`"culprit":{"role":"server","address":"10.77.0.2","port":80,"name":"api.example.com"}`: 1,
		`"service":{"address":"10.77.0.2","port":80,"name":"api.example.com"}`:                 1,
		`"name":"api.example.com"`: 3,
	} {
		if n := strings.Count(got, want); n != times {
			t.Errorf("%d times, not %d: %s in\n%s", n, times, want, got)
		}
	}
	var names []string
	for line := range strings.Lines(render(t, report.CSV, r)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		names = append(names, fields[len(fields)-1])
	}
	if diff := cmp.Diff([]string{"server_name", "", "api.example.com", "", "", ""}, names); diff != "" {
		t.Errorf("CSV (-want +got):\n%s", diff)
	}
}

func TestALadderIsHeadedByTheName(t *testing.T) {
	e := explained("10.77.0.1:50034", "10.77.0.2:80", 1, time.Second)
	e.Name = "api.example.com"
	lines := explain(t, &e, report.TableOptions{Width: 100})
	if want := "Connection 7: client 10.77.0.1:50034 to server api.example.com (10.77.0.2:80)"; !strings.HasSuffix(lines[0], want[13:]) {
		t.Errorf("%q, want %q", lines[0], want)
	}
	if !slices.ContainsFunc(lines, func(line string) bool {
		return strings.HasSuffix(line, " api.example.com (10.77.0.2:80)") && strings.HasPrefix(line, "   ")
	}) {
		t.Errorf("no name over the rail:\n%s", strings.Join(lines, "\n"))
	}
	e.Name = strings.Repeat("long.", 20) + "example"
	for _, line := range explain(t, &e, report.TableOptions{Width: 100}) {
		if len([]rune(line)) > 100 {
			t.Errorf("too wide: %s", line)
		}
	}
}

func TestServiceText(t *testing.T) {
	for _, c := range []struct {
		service    netip.AddrPort
		name, want string
	}{
		{netip.MustParseAddrPort("203.0.113.7:443"), "api.example.com", "api.example.com (203.0.113.7:443)"},
		{netip.MustParseAddrPort("[2001:db8::7]:443"), "api.example.com", "api.example.com ([2001:db8::7]:443)"},
		{netip.MustParseAddrPort("203.0.113.7:443"), "", "203.0.113.7:443"},
		{netip.MustParseAddrPort("203.0.113.7:0"), "api.example.com", "api.example.com (203.0.113.7)"},
		{netip.AddrPort{}, "", ""},
	} {
		f := diagnosis.Finding{Service: c.service, ServiceName: c.name}
		if got := f.ServiceText(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
