package agreement

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"tcpleak/internal/kernel"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

const captures = "../../testdata/kernel"

// eachCapture runs a test for each recorded scenario.
func eachCapture(t *testing.T, test func(t *testing.T, truth *kernel.Truth, packets []packet)) {
	paths, err := filepath.Glob(filepath.Join(captures, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no captures in %s: run make captures", captures)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			truth, err := kernel.ReadTruth(path)
			if err != nil {
				t.Fatal(err)
			}
			test(t, truth, readPackets(t, name+".pcap"))
		})
	}
}

// inferred is what the tracker says about an endpoint: in the newest connection that it takes part in. A SYN that an open
// connection gets in its way is a connection of its own, in which the other end is not yet.
type inferred struct {
	tracker.Endpoint
	connection uint64
}

func endpoints(table *tracker.Table, now int64) map[kernel.Tuple]inferred {
	all := make(map[kernel.Tuple]inferred)
	for c := range table.Connections(now) {
		for role := range c.Ends {
			e, peer := c.Ends[role], c.Ends[1-role]
			key := kernel.Tuple{
				Src: netip.AddrPortFrom(e.Addr.Netip(), e.Port), Dst: netip.AddrPortFrom(peer.Addr.Netip(), peer.Port),
			}
			if _, known := all[key]; !known || e.State != tcp.Listen && e.State != tcp.Unknown {
				all[key] = inferred{e, c.ID}
			}
		}
	}
	return all
}

// agrees holds one endpoint against ss. A socket that ss does not list is closed, or where the port listens not open yet;
// an end that has sent nothing cannot be known.
func agrees(truth *kernel.Endpoint, got tcp.State) bool {
	switch {
	case got.String() == truth.State:
		return true
	case truth.State != tcp.Closed.String():
		return false
	case got == tcp.Listen:
		return truth.Listening
	}
	return got == tcp.Unknown && truth.Packets == 0
}

func TestEveryStateIsWhatTheKernelSaid(t *testing.T) {
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			eachCapture(t, func(t *testing.T, truth *kernel.Truth, packets []packet) {
				holdAgainst(t, truth, packets, form.write)
			})
		})
	}
}

// holdAgainst holds every endpoint of truth against what the packets show, written in some form.
func holdAgainst(t *testing.T, truth *kernel.Truth, packets []packet, write func(io.Writer, []packet) error) {
	t.Helper()
	for _, wrong := range compare(t, truth, packets, write).wrong {
		t.Error(wrong)
	}
}

// comparison is how the endpoints of a capture fared.
type comparison struct {
	agreed, undecidable int
	wrong               []string
}

func compare(t *testing.T, truth *kernel.Truth, packets []packet, write func(io.Writer, []packet) error) (c comparison) {
	t.Helper()
	got := endpoints(analyseAs(t, packets, write))
	for i := range truth.Endpoints {
		want := &truth.Endpoints[i]
		e, ok := got[want.Tuple()]
		switch {
		case !ok:
			c.wrong = append(c.wrong, fmt.Sprintf("%v is not reported", want.Tuple()))
		case agrees(want, e.State):
			c.agreed++
		case want.Undecidable != "" && e.Certainty != tracker.Confirmed:
			c.undecidable++
		default:
			c.wrong = append(c.wrong, describe(want, e))
		}
	}
	return c
}

func describe(want *kernel.Endpoint, e inferred) string {
	return fmt.Sprintf("connection %d, %s %v: the kernel says %s, we say %v %v: %s",
		e.connection, want.Host, want.Tuple().Src, want.State, e.Certainty, e.State, e.Why())
}

// TestNothingConfirmedIsWrongWhenTheCaptureMissesPackets takes packets away, which leaves a trace of most but not of all:
// whoever loses the last word of a connection cannot know that there was one.
func TestNothingConfirmedIsWrongWhenTheCaptureMissesPackets(t *testing.T) {
	const seeds = 10
	eachCapture(t, func(t *testing.T, truth *kernel.Truth, packets []packet) {
		check := func(how string, left []packet) {
			gone := unheard(t, packets, left)
			for key, e := range endpoints(analyseAs(t, left, writePcap)) {
				want := truthOf(truth, key)
				if want == nil || e.Certainty != tracker.Confirmed || agrees(want, e.State) || gone[key] || gone[key.Reverse()] {
					continue
				}
				t.Errorf("%s: %s", how, describe(want, e))
			}
		}
		for seed := range uint64(seeds) {
			check(fmt.Sprintf("1 %% lost, seed %d", seed), lost(packets, 0.01, rand.New(rand.NewPCG(seed, 1))))
			check(fmt.Sprintf("10 %% lost, seed %d", seed), lost(packets, 0.1, rand.New(rand.NewPCG(seed, 10))))
		}
		check("the first third cut off", packets[len(packets)/3:])
		check("only the client's packets", from(t, packets, 0))
		check("only the server's packets", from(t, packets, 1))
	})
}

func truthOf(truth *kernel.Truth, key kernel.Tuple) *kernel.Endpoint {
	for i := range truth.Endpoints {
		if truth.Endpoints[i].Tuple() == key {
			return &truth.Endpoints[i]
		}
	}
	return nil
}

func tupleOf(s *tcp.Segment) kernel.Tuple {
	return kernel.Tuple{
		Src: netip.AddrPortFrom(s.Src.Netip(), s.SrcPort), Dst: netip.AddrPortFrom(s.Dst.Netip(), s.DstPort),
	}
}

// unheard names the directions whose RST or last segment is among all but not among left: they leave no trace.
func unheard(t *testing.T, all, left []packet) map[kernel.Tuple]bool {
	kept := make(map[*byte]bool)
	for _, p := range left {
		kept[&p.data[0]] = true
	}
	gone := make(map[kernel.Tuple]bool)
	last := make(map[kernel.Tuple]int)
	segments := segmentsOf(t, all)
	for i, s := range segments {
		if s == nil {
			continue
		}
		last[tupleOf(s)] = i
		if s.Flags.Any(tcp.RST) && !kept[&all[i].data[0]] {
			gone[tupleOf(s)] = true
		}
	}
	for tuple, i := range last {
		if !kept[&all[i].data[0]] {
			gone[tuple] = true
		}
	}
	return gone
}

// from keeps the packets sent by the end that sent the first segment of each connection (0), or by the other (1).
func from(t *testing.T, packets []packet, side int) []packet {
	first := make(map[kernel.Tuple]bool)
	var left []packet
	for i, s := range segmentsOf(t, packets) {
		if s == nil {
			continue
		}
		tuple := tupleOf(s)
		if !first[tuple.Reverse()] {
			first[tuple] = true
		}
		if first[tuple] == (side == 0) {
			left = append(left, packets[i])
		}
	}
	return left
}
