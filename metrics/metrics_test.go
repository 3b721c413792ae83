package metrics

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

func TestNamesFollowPrometheus(t *testing.T) {
	w := newWorld(t, Config{ByRemote: true, ByProcess: true}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open()
	w.judge(time.Second)
	problems, err := testutil.GatherAndLint(w.m.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestBeforeTheFirstJudgementThereIsNothingButTheProcess(t *testing.T) {
	w := newWorld(t, Config{Version: "v1.2"}, tracker.Config{})
	for name := range w.series() {
		if !strings.HasPrefix(name, "tcpleak_build_info{") && name != `tcpleak_service_handshake_seconds{service="other"}` {
			t.Errorf("%s", name)
		}
	}
}

func TestEndpointsByServiceStateAndRole(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open()
	w.talk(1, 40002, 2, 80).open().half()
	w.talk(1, 40003, 2, 443).open().close()
	w.judge(10 * time.Second)
	w.expect(map[string]float64{
		`tcpleak_service_endpoints{role="client",service="10.0.0.2:80",state="ESTABLISHED"}`: 1,
		`tcpleak_service_endpoints{role="server",service="10.0.0.2:80",state="ESTABLISHED"}`: 1,
		`tcpleak_service_endpoints{role="client",service="10.0.0.2:80",state="FIN_WAIT_2"}`:  1,
		`tcpleak_service_endpoints{role="server",service="10.0.0.2:80",state="CLOSE_WAIT"}`:  1,
		`tcpleak_service_endpoints{role="client",service="10.0.0.2:443",state="TIME_WAIT"}`:  1,
		`tcpleak_service_endpoints{role="server",service="10.0.0.2:443",state="CLOSED"}`:     1,
		`tcpleak_endpoints{role="server",state="CLOSE_WAIT"}`:                                1,
		`tcpleak_service_oldest_close_wait_seconds{role="server",service="10.0.0.2:80"}`:     10.007, // when the FIN was acknowledged, 7 ms before the last segment
		`tcpleak_service_oldest_close_wait_seconds{role="client",service="10.0.0.2:80"}`:     0,
		`tcpleak_services{}`:          2,
		`tcpleak_table_connections{}`: 3,
	})
}

func TestFindingsAreRaisedAndClear(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	k := w.talk(1, 40001, 2, 80).open().half()
	w.judge(61 * time.Second)
	const labels = `{kind="stuck_close_wait",service="10.0.0.2:80",severity="warning"}`
	w.expect(map[string]float64{"tcpleak_findings_active" + labels: 1, "tcpleak_finding_connections" + labels: 1, "tcpleak_findings_raised_total" + labels: 1})
	k.say(server, tcp.FIN|tcp.ACK, 0).say(client, tcp.ACK, 0)
	w.judge(time.Second)
	w.expect(map[string]float64{"tcpleak_findings_active" + labels: 0, "tcpleak_finding_connections" + labels: 0, "tcpleak_findings_raised_total" + labels: 1})
}

func TestGrowthOfALeakIsPerMinute(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	for i := range 40 { // 12 a minute
		w.talk(1, uint16(40001+i), 2, 80).open().half()
		w.judge(5 * time.Second)
	}
	w.expect(map[string]float64{
		`tcpleak_findings_active{kind="leak",service="10.0.0.2:80",severity="critical"}`:     1,
		`tcpleak_finding_connections{kind="leak",service="10.0.0.2:80",severity="critical"}`: 40,
	})
	growth := w.series()[`tcpleak_service_leak_growth_connections_per_minute{service="10.0.0.2:80"}`]
	if growth < 11 || growth > 13 {
		t.Errorf("growth %v, want about 12", growth)
	}
}

func TestHandshakesAreTimedOnce(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open() // 2 ms
	slow := w.talk(1, 40002, 2, 80).say(client, tcp.SYN, 0)
	w.judge(time.Second)
	w.judge(time.Second)
	slow.say(server, tcp.SYN|tcp.ACK, 0).say(client, tcp.ACK, 0) // 2.002 s
	w.judge(time.Second)
	w.talk(1, 40003, 2, 80).open().ask().close()
	w.judge(time.Second)
	w.judge(time.Second)
	var got []string
	gathered, err := w.m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gathered {
		for _, one := range f.GetMetric() {
			h := one.GetHistogram()
			if f.GetName() != "tcpleak_service_handshake_seconds" || one.GetLabel()[0].GetValue() == "other" {
				continue
			}
			for _, b := range h.GetBucket() {
				got = append(got, fmt.Sprintf("%v:%d", b.GetUpperBound(), b.GetCumulativeCount()))
			}
			got = append(got, fmt.Sprintf("sum %.3f", h.GetSampleSum()))
			if len(h.GetPositiveDelta()) == 0 {
				t.Error("no native histogram")
			}
		}
	}
	want := strings.Fields("0.0001:0 0.00025:0 0.0005:0 0.001:0 0.0025:2 0.005:2 0.01:2 0.025:2 0.05:2 0.1:2 0.25:2 0.5:2 1:2 3:3 7:3")
	if diff := cmp.Diff(append(want, "sum 2.006"), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Packets may arrive with stamps from before the last judgement, as the kernel hands them over in blocks.
func TestWhatIsHandedOverLateCounts(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	stamp := w.now
	w.judge(time.Second)
	w.talk(1, 40001, 2, 80).at(stamp+1, client, tcp.SYN, 0).at(stamp+2, server, tcp.SYN|tcp.ACK, 0).at(stamp+3, client, tcp.ACK, 0).
		at(stamp+4, client, tcp.RST, 0)
	w.judge(time.Second)
	w.expect(map[string]float64{
		`tcpleak_service_handshake_seconds{service="10.0.0.2:80"}`:          1,
		`tcpleak_service_resets_total{role="client",service="10.0.0.2:80"}`: 1,
	})
}

func TestResetsAndRetransmissionsByRole(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	a := w.talk(1, 40001, 2, 80).open().resend(server, 3)
	w.talk(1, 40002, 2, 80).open().ask().say(client, tcp.RST|tcp.ACK, 0).say(client, tcp.RST|tcp.ACK, 0)
	want := map[string]float64{
		`tcpleak_service_retransmitted_segments_total{role="server",service="10.0.0.2:80"}`: 2,
		`tcpleak_service_retransmitted_segments_total{role="client",service="10.0.0.2:80"}`: 0,
		`tcpleak_service_resets_total{role="client",service="10.0.0.2:80"}`:                 1,
		`tcpleak_service_resets_total{role="server",service="10.0.0.2:80"}`:                 0,
	}
	w.judge(time.Second)
	w.expect(want)
	w.judge(time.Second)
	w.expect(want)
	a.resend(server, 2)
	w.judge(time.Second)
	want[`tcpleak_service_retransmitted_segments_total{role="server",service="10.0.0.2:80"}`] = 3
	w.expect(want)
}

func TestCountersOutliveTheirConnections(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{MaxConnections: 64})
	for i := range 1000 {
		w.talk(1, uint16(10000+i), 2, 80).open().resend(client, 2).say(server, tcp.RST|tcp.ACK, 0)
		w.judge(time.Millisecond)
	}
	if evicted := w.table.Stats().Evicted.Total(); evicted < 900 {
		t.Fatalf("%d evicted: the test does not test", evicted)
	}
	w.expect(map[string]float64{
		`tcpleak_service_retransmitted_segments_total{role="client",service="10.0.0.2:80"}`: 1000,
		`tcpleak_service_resets_total{role="server",service="10.0.0.2:80"}`:                 1000,
		`tcpleak_service_handshake_seconds{service="10.0.0.2:80"}`:                          1000,
	})
	if n := len(w.m.resent); n > w.table.Len() {
		t.Errorf("remembers %d connections of %d", n, w.table.Len())
	}
}

func TestCountersGoOnWhenTheCaptureBeginsAnew(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open().resend(client, 3).say(client, tcp.RST|tcp.ACK, 0)
	w.judge(time.Second)
	w.table, w.packets = tracker.New(tracker.Config{}), 0
	w.talk(1, 40002, 2, 80).open().resend(client, 2)
	w.judge(time.Second)
	w.expect(map[string]float64{
		`tcpleak_service_handshake_seconds{service="10.0.0.2:80"}`:                          2,
		`tcpleak_service_retransmitted_segments_total{role="client",service="10.0.0.2:80"}`: 3,
		`tcpleak_service_resets_total{role="client",service="10.0.0.2:80"}`:                 1,
		`tcpleak_capture_packets_total{}`:                                                   12,
	})
}

func TestAScanMakesNoSeries(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open().ask()
	w.judge(time.Second)
	w.judge(time.Second)
	before := w.series()
	for i := range 10_000 {
		w.talk(i+1000, 50000, 2, uint16(10000+i)).refuse() // from 10,000 addresses to 10,000 ports
		if i%2 == 0 {
			w.talk(9, 50001, i+100_000, 22).say(client, tcp.SYN, 0)
		}
		if i%10 == 0 {
			w.talk(9, 50002, 2, uint16(10000+i)).say(client, tcp.ACK, 0).say(server, tcp.RST, 0) // nmap -sA
			w.talk(9, 50003, 2, uint16(10000+i)).say(client, tcp.FIN, 0)                         // nmap -sF
			// What a flood with our address as its source makes others send.
			w.talk(9, 50004, i+200_000, 80).say(server, tcp.SYN|tcp.ACK, 0).say(client, tcp.RST, 0)
		}
		if i%5000 == 0 {
			w.judge(time.Second)
		}
	}
	w.judge(5 * time.Second)
	after := w.series()
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("new: %s = %v", name, after[name])
		}
	}
	var others float64
	for state := range tcp.NumStates {
		others += after[fmt.Sprintf(`tcpleak_service_endpoints{role="client",service="other",state=%q}`, tcp.State(state))]
	}
	if want := float64(w.table.Len() - 1); others != want {
		t.Errorf("%v of %v attempts are counted", others, want)
	}
	var scans float64
	for _, kind := range []string{"port_scan", "host_scan"} {
		scans += after[`tcpleak_findings_active{kind="`+kind+`",service="none",severity="warning"}`]
	}
	if scans == 0 {
		t.Error("no scan is told of")
	}
}

func TestServicesBeyondTheLimitAreOther(t *testing.T) {
	w := newWorld(t, Config{MaxServices: 3}, tracker.Config{})
	for i := range 5 {
		w.talk(1, 40001, 2, uint16(8001+i)).open().half()
	}
	w.judge(61 * time.Second)
	w.expect(map[string]float64{
		`tcpleak_services{}`: 3,
		`tcpleak_service_endpoints{role="server",service="10.0.0.2:8003",state="CLOSE_WAIT"}`:       1,
		`tcpleak_service_endpoints{role="server",service="other",state="CLOSE_WAIT"}`:               2,
		`tcpleak_service_oldest_close_wait_seconds{role="server",service="other"}`:                  61.005,
		`tcpleak_service_handshake_seconds{service="other"}`:                                        2,
		`tcpleak_findings_active{kind="stuck_close_wait",service="other",severity="warning"}`:       2,
		`tcpleak_findings_raised_total{kind="stuck_close_wait",service="other",severity="warning"}`: 2,
	})
}

func TestAServiceHasAboutFiftySeries(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	lines := func() int {
		w.judge(time.Second)
		return strings.Count(scrape(t, w), "\ntcpleak_")
	}
	before := lines()
	w.talk(1, 40001, 2, 80).open()
	if n := lines() - before; n < 45 || n > 55 {
		t.Errorf("%d series", n)
	}
}

func TestAPlaceIsKeptForAnIdleHour(t *testing.T) {
	w := newWorld(t, Config{MaxServices: 1}, tracker.Config{MaxConnections: 64})
	w.talk(1, 40001, 2, 80).open().ask().close()
	w.judge(2 * time.Second)
	late := w.talk(1, 40002, 2, 443).open().ask()
	w.judge(50 * time.Minute)
	const first, second = `tcpleak_service_handshake_seconds{service="10.0.0.2:80"}`, `tcpleak_service_handshake_seconds{service="10.0.0.2:443"}`
	if all := w.series(); all[first] != 1 || all[second] != 0 {
		t.Fatalf("%v and %v handshakes", all[first], all[second])
	}
	w.judge(11 * time.Minute)
	late.ask()
	w.judge(time.Second)
	all := w.series()
	if _, ok := all[first]; ok {
		t.Error("the first has not left")
	}
	if _, ok := all[second]; !ok {
		t.Error("the second has not come")
	}
	for name := range all {
		if strings.Contains(name, "10.0.0.2:80\"") {
			t.Errorf("left behind: %s", name)
		}
	}
}

func TestAPlaceIsKeptWhileThereAreOpenConnections(t *testing.T) {
	w := newWorld(t, Config{MaxServices: 1}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open().half()
	w.judge(24 * time.Hour)
	w.talk(1, 40001, 2, 443).open()
	w.judge(24 * time.Hour)
	w.expect(map[string]float64{`tcpleak_service_endpoints{role="server",service="10.0.0.2:80",state="CLOSE_WAIT"}`: 1})
}

func TestClientsOnlyIfAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		w := newWorld(t, Config{ByRemote: asked, MaxServices: 2}, tracker.Config{})
		for i := range 4 {
			w.talk(10+i, 40001, 2, 80).open()
			w.talk(10+i, 40002, 2, 80).open()
		}
		w.judge(time.Second)
		w.judge(time.Second)
		if asked {
			w.expect(map[string]float64{
				`tcpleak_service_client_connections{client="10.0.0.10",service="10.0.0.2:80"}`: 2,
				`tcpleak_service_client_connections{client="10.0.0.11",service="10.0.0.2:80"}`: 2,
				`tcpleak_service_client_connections{client="other",service="other"}`:           4,
			})
			continue
		}
		for name := range w.series() {
			if strings.Contains(name, "10.0.0.1") {
				t.Errorf("not asked for: %s", name)
			}
		}
	}
}

func TestProcessesOnlyIfAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		w := newWorld(t, Config{ByProcess: asked}, tracker.Config{})
		w.more = []diagnosis.Finding{{
			Kind: diagnosis.OldCloseWait, Severity: diagnosis.Warning, Count: 3, Service: netip.MustParseAddrPort("10.0.0.2:80"), Since: w.now,
			Holders: []diagnosis.Holder{{PID: 1, FD: 3, Name: "java"}, {PID: 1, FD: 4, Name: "java"}, {PID: 2, FD: 3, Name: "\xff" + strings.Repeat("x", 1000)}},
		}}
		w.judge(time.Second)
		const of = `{kind="old_close_wait",process="java"}`
		if n, ok := w.series()["tcpleak_process_findings"+of]; ok != asked || asked && n != 1 {
			t.Errorf("asked %v: %v %v", asked, n, ok)
		}
		w.expect(map[string]float64{`tcpleak_findings_active{kind="old_close_wait",service="10.0.0.2:80",severity="warning"}`: 1})
	}
}

func TestTheCaptureIsCounted(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	w.talk(1, 40001, 2, 80).open()
	w.capture = Capture{DroppedKernel: 5, DroppedInterface: 2, Skipped: map[string]uint64{"not_tcp": 7, "fragment": 0}}
	w.judge(time.Second)
	w.expect(map[string]float64{
		`tcpleak_capture_packets_total{}`:                          3,
		`tcpleak_capture_segments_total{}`:                         3,
		`tcpleak_capture_duplicate_segments_total{}`:               0,
		`tcpleak_capture_dropped_packets_total{by="kernel"}`:       5,
		`tcpleak_capture_dropped_packets_total{by="interface"}`:    2,
		`tcpleak_capture_skipped_packets_total{reason="not_tcp"}`:  7,
		`tcpleak_capture_skipped_packets_total{reason="fragment"}`: 0,
		`tcpleak_table_evicted_connections_total{kind="reset"}`:    0,
		`tcpleak_table_bytes{}`:                                    float64(w.table.Bytes()),
		`tcpleak_judged_timestamp_seconds{}`:                       float64(epoch)/1e9 + 1,
	})
	w.capture.DroppedKernel = 1 // a capture that was opened anew
	w.judge(time.Second)
	w.expect(map[string]float64{`tcpleak_capture_dropped_packets_total{by="kernel"}`: 6})
}

// A pass takes as long as the table is large. The clock of this test goes on by a second each time it is read.
func TestAPassTakesAFiftiethOfTheTime(t *testing.T) {
	w := newWorld(t, Config{Every: 5 * time.Second}, tracker.Config{})
	w.m.cfg.Clock = func() time.Time {
		w.clock = w.clock.Add(time.Second)
		return w.clock
	}
	w.talk(1, 40001, 2, 80).open()
	w.judge(0)
	w.expect(map[string]float64{`tcpleak_services_counting_duration_seconds{}`: 1})
	counted := w.m.counted
	w.judge(40 * time.Second)
	if w.m.counted != counted {
		t.Error("counted again before its time")
	}
	w.judge(10 * time.Second)
	if w.m.counted == counted {
		t.Error("not counted again")
	}
}

// The work is shared where there are many connections. That must not show.
func TestManyConnectionsCountLikeFew(t *testing.T) {
	w := newWorld(t, Config{MaxServices: 10}, tracker.Config{})
	const n = countAlone + 2000
	for i := range n {
		k := w.talk(1+i%7, uint16(1024+i/7), 1000+i%20, 80).open()
		if i%100 == 0 {
			k.resend(client, 2)
		}
	}
	for range 2 {
		w.judge(time.Second)
		w.expect(map[string]float64{
			`tcpleak_service_endpoints{role="client",service="10.0.3.232:80",state="ESTABLISHED"}`: n / 20,
			`tcpleak_service_endpoints{role="client",service="10.0.3.241:80",state="ESTABLISHED"}`: n / 20,
			`tcpleak_service_endpoints{role="client",service="other",state="ESTABLISHED"}`:         n / 2,
			`tcpleak_service_handshake_seconds{service="10.0.3.232:80"}`:                           n / 20,
			`tcpleak_service_handshake_seconds{service="other"}`:                                   n / 2,
			// Each hundredth is of the first of 20 services.
			`tcpleak_service_retransmitted_segments_total{role="client",service="10.0.3.232:80"}`: n / 100,
			`tcpleak_service_retransmitted_segments_total{role="client",service="other"}`:         0,
		})
	}
}

func TestScrapesWhileTheCaptureGoesOn(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	s := httptest.NewServer(w.m.Handler())
	defer s.Close()
	done := make(chan struct{})
	var scrapers sync.WaitGroup
	for range 4 {
		scrapers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				answer, err := http.Get(s.URL)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
					t.Error(answer.Status, err)
				}
				answer.Body.Close()
			}
		})
	}
	for i := range 40 {
		w.talk(1, uint16(40001+i), 2, uint16(80+i)).open().half()
		w.judge(10 * time.Second)
	}
	close(done)
	scrapers.Wait()
}

func TestOpenMetricsIfAskedFor(t *testing.T) {
	w := newWorld(t, Config{}, tracker.Config{})
	w.judge(time.Second)
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer := httptest.NewRecorder()
	w.m.Handler().ServeHTTP(answer, r)
	if kind := answer.Header().Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text") {
		t.Errorf("Content-Type %q", kind)
	}
	if body := answer.Body.String(); !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("ends with %q", body[max(0, len(body)-20):])
	}
}

func TestPlaces(t *testing.T) {
	p := newPlaces[string](2)
	var got []int
	for _, k := range []string{"a", "b", "c", "a"} {
		got = append(got, p.take(k, 10))
	}
	p.take("a", 20)
	p.clear(15, func(at int, k string) { got = append(got, 100+at) })
	got = append(got, p.take("c", 20), p.find("b"), p.find("a"))
	if diff := cmp.Diff([]int{0, 1, 2, 0, 101, 1, 2, 0}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
