package diagnosis_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

func socketAt(local, remote string) diagnosis.Socket {
	return diagnosis.Socket{Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote), State: tcp.CloseWait}
}

func TestOldSocketsOfAServiceAreOneFinding(t *testing.T) {
	old := []diagnosis.Socket{
		socketAt("10.0.0.2:8080", "10.0.0.1:40001"), socketAt("10.0.0.2:8080", "10.0.0.3:40001"), socketAt("10.0.0.2:40002", "192.0.2.1:443"),
	}
	old[0].Holders = []diagnosis.Holder{{PID: 4242, FD: 87, Name: "java"}}
	const now = int64(time.Hour)
	findings := diagnosis.NewRules().FromKernel(old, nil, now, func(s *diagnosis.Socket) int64 {
		return now - int64(s.Remote.Addr().As4()[3])*int64(time.Second)
	})
	var got []string
	for i := range findings {
		f := &findings[i]
		got = append(got, strings.Join([]string{string(f.Kind), f.Culprit.Role.String(), f.Service.String(), f.For.String(), f.Summary}, " | "))
	}
	want := []string{
		"old_close_wait | server | 10.0.0.2:8080 | 3s | 2 sockets of the server 10.0.0.2:8080 in CLOSE_WAIT since before the capture began.",
		"old_close_wait | client | 192.0.2.1:443 | 1s | 1 socket of the client 10.0.0.2 to 192.0.2.1:443 in CLOSE_WAIT since before the capture began.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(old[0].Holders, findings[0].Holders); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
}

func TestWhatTheKernelSaysCanBeMuted(t *testing.T) {
	rules := diagnosis.NewRules()
	rules.Mute(diagnosis.OldCloseWait)
	old := []diagnosis.Socket{socketAt("10.0.0.2:8080", "10.0.0.1:40001")}
	if got := rules.FromKernel(old, nil, 1, func(*diagnosis.Socket) int64 { return 1 }); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}

func TestFindingsFromTheKernelAreRaisedAndClear(t *testing.T) {
	rules, table, monitor := diagnosis.NewRules(), tracker.New(tracker.Config{}), diagnosis.NewMonitor()
	old := []diagnosis.Socket{socketAt("10.0.0.2:8080", "10.0.0.1:40001")}
	var got []string
	for now := range int64(4) {
		sockets := old
		if now == 3 {
			sockets = nil
		}
		for _, e := range monitor.Update(rules.Analyze(table, now+1, diagnosis.Capture{}), rules.FromKernel(sockets, nil, now+1, func(*diagnosis.Socket) int64 { return 1 })...) {
			got = append(got, e.Change.String()+" "+string(e.Finding.Kind))
		}
	}
	if diff := cmp.Diff([]string{"raised old_close_wait", "cleared old_close_wait"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
