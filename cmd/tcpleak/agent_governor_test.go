package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Each line of a trace is for how long the agent takes how much of a processor, in full and lean; what the governor says
// stands below it, with the time since the beginning. It is asked twice a second and may take 5 %.
func TestGovernor(t *testing.T) {
	for name, trace := range map[string]string{
		"what stays below is left alone": `
			1h0m0s  full 4.9 lean 1
			`,
		"too much for the length of a window": `
			1m0s    full 4 lean 1
			30s     full 8 lean 2
			        1m3s lean at 5.2
			`,
		"a burst is no reason": `
			1m0s    full 1 lean 1
			2s      full 20 lean 20
			5m0s    full 1 lean 1
			`,
		"it goes back where full would be well below, and not before a minute": `
			20s     full 10 lean 4
			        10s lean at 10.0
			10m0s   full 3 lean 1.2
			        1m10s full at 1.2
			`,
		"not where full would be just below": `
			20s     full 10 lean 4
			        10s lean at 10.0
			1h0m0s  full 4.5 lean 1.8
			`,
		"where lean saves nothing, full is the better": `
			30m0s   full 6 lean 6
			        10s lean at 6.0
			        20s full, in vain at 6.0
			`,
		"until full takes much more": `
			20m0s   full 6 lean 7
			        10s lean at 6.0
			        20s full, in vain at 7.0
			30s     full 12 lean 4
			        20m5s lean at 9.0
			`,
		"or an hour later": `
			1h1m0s  full 6 lean 6
			        10s lean at 6.0
			        20s full, in vain at 6.0
			        1h0m20s lean at 6.0
			        1h0m30s full, in vain at 6.0
			`,
		"where lean saves too little it stays, and says so": `
			30m0s   full 9 lean 6
			        10s lean at 9.0
			        20s futile at 6.0
			`,
		"less traffic just after the change is not taken for savings for ever": `
			10s     full 10 lean 4
			        10s lean at 10.0
			10m0s   full 0.5 lean 0.2
			        1m10s full at 0.2
			`,
		"each time it has to go lean again soon it stays longer": `
			10s     full 10 lean 1
			        10s lean at 10.0
			1m0s    full 2 lean 0.5
			        1m10s full at 0.5
			20s     full 10 lean 1
			        1m20s lean at 10.0
			10m0s   full 2 lean 0.5
			        3m20s full at 0.5
			20s     full 10 lean 1
			        11m34s lean at 5.2
			10m0s   full 2 lean 0.5
			        15m34s full at 0.5
			`,
		"after a while it begins anew": `
			10s     full 10 lean 1
			        10s lean at 10.0
			1m0s    full 2 lean 0.5
			        1m10s full at 0.5
			1h0m0s  full 2 lean 0.5
			20s     full 10 lean 1
			        1h1m14s lean at 5.2
			2m0s    full 2 lean 0.5
			        1h2m14s full at 0.5
			`,
	} {
		t.Run(name, func(t *testing.T) { govern(t, trace) })
	}
}

func govern(t *testing.T, trace string) {
	g := governor{limit: 0.05}
	began := time.Unix(0, 0)
	now := usage{at: began}
	g.take(now)
	var got []string
	for line := range strings.Lines(trace) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		lasts, err := time.ParseDuration(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(fields) != 5 {
			continue // what the governor says
		}
		got = append(got, strings.Join(fields, " "))
		var full, lean float64
		if _, err := fmt.Sscan(fields[2], &full); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(fields[4], &lean); err != nil {
			t.Fatal(err)
		}
		const every = 500 * time.Millisecond
		for end := now.at.Add(lasts); now.at.Before(end); {
			share := full
			if g.lean {
				share = lean
			}
			now.at, now.cpu = now.at.Add(every), now.cpu+time.Duration(share/100*float64(every))
			d := g.take(now)
			said := map[bool]string{true: "lean", false: "full"}[d.lean]
			switch {
			case d.futile && d.changed:
				said += ", in vain"
			case d.futile:
				said = "futile"
			}
			if d.changed || d.futile {
				got = append(got, fmt.Sprintf("%v %s at %.1f", now.at.Sub(began), said, 100*d.share))
			}
		}
	}
	var want []string
	for line := range strings.Lines(trace) {
		if fields := strings.Fields(line); len(fields) > 0 {
			want = append(want, strings.Join(fields, " "))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGovernorThatIsSwitchedOffGoesBackAtOnce(t *testing.T) {
	g := governor{limit: 0.05}
	for i := range 15 {
		g.take(usage{time.Unix(int64(i), 0), time.Duration(i) * time.Second})
	}
	if !g.lean {
		t.Fatal("not lean")
	}
	g.limit = 0
	if d := g.take(usage{time.Unix(15, 0), 15 * time.Second}); !d.changed || d.lean || g.lean {
		t.Errorf("%+v", d)
	}
	if d := g.take(usage{time.Unix(16, 0), 16 * time.Second}); d.changed || d.lean {
		t.Errorf("then %+v", d)
	}
}

func TestTheAgentSaysWhyItIsNoLongerLean(t *testing.T) {
	w, _, _ := newWatcher(t, options{timeWait: time.Minute, maxConnections: 1000})
	var said strings.Builder
	w.stderr = &said
	a := &agent{watcher: w, lean: true, governor: governor{lean: true}}
	a.govern()
	if diff := cmp.Diff("tcpleak: no longer lean, as max_cpu is off\n", said.String()); diff != "" || a.lean {
		t.Errorf("lean: %v (-want +got):\n%s", a.lean, diff)
	}
}
