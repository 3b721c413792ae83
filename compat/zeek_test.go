package compat_test

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"tcpleak/compat"
	"tcpleak/tcp"
)

func zeekOf(t testing.TB, ports [2]uint16, trace string) *compat.Zeek {
	t.Helper()
	var z compat.Zeek
	for _, step := range parseTrace(t, ports, trace) {
		z.Segment(&step.segment, step.dir, step.seen)
	}
	return &z
}

type summary struct{ ConnState, History string }

func TestZeekSummaries(t *testing.T) {
	for _, c := range []struct {
		name, trace string
		want        summary
	}{
		{"SYN unanswered", ">S >S*", summary{"S0", "S"}},
		{"established after the SYN-ACK, before the last ACK", ">S <SA", summary{"S1", "Sh"}},
		{"request and reply, still open", ">S <SA >A >PA:10 <A <PA:20 >A", summary{"S1", "ShADad"}},
		{"both close", ">S <SA >A >PA:10 <A <PA:20 >A >FA <FA >A", summary{"SF", "ShADadFf"}},
		{"originator closed, responder has not", ">S <SA >A >FA <A", summary{"S2", "ShAFa"}},
		{"responder closed, originator has not", ">S <SA >A <FA >A", summary{"S3", "ShAf"}},
		{"refused", ">S <RA", summary{"REJ", "Sr"}},
		{"refused, then reset in turn without any payload", ">S <RA >R", summary{"REJ", "SrR"}},
		{"originator aborts", ">S <SA >A >PA:5 >R", summary{"RSTO", "ShADR"}},
		{"responder aborts", ">S <SA >A >PA:5 <R", summary{"RSTR", "ShADr"}},
		{"SYN then RST without an answer", ">S >R~", summary{"RSTOS0", "SR"}},
		{"SYN then FIN without an answer", ">S >F", summary{"SH", "SF"}},
		{"RST alone", ">R", summary{"OTH", "R"}},
		{"SYN-ACK then RST from the same end", ">SA >R", summary{"OTH", "HR"}},
		{"middle of a connection", ">PA:10 <A >PA:10 <PA:3", summary{"OTH", "Dad"}},
		{"RST after both FINs changes nothing", ">S <SA >A >FA <FA >R", summary{"SF", "ShAFfR"}},
		{"FIN, RST, then the other end's FIN", ">S <SA >A >FA >R <FA", summary{"SF", "ShAFRf"}},
		{"RST in answer to the peer's FIN", ">S <SA >A <FA >R", summary{"RSTO", "ShAfR"}},
		{"simultaneous open", ">S <S >SA <SA", summary{"S1", "Ss"}},
		{"ACK ahead of the SYN-ACK", ">S <A", summary{"S0", "Sa"}},
		{"only the originator captured", ">S >A >PA:9", summary{"S0", "SAD"}},
		{"data on a FIN gives no D", ">S <SA >A >FA:10", summary{"S2", "ShAF"}},
		{"FIN and RST in one segment", ">S <SA >A >FRA", summary{"RSTO", "ShAI"}},
		{"SYN and FIN in one segment", ">SF", summary{"SH", "Q"}},
		{"SYN and RST in one segment", ">SR", summary{"OTH", "Q"}},
		{"fast open: Zeek takes the SYN's payload for a retransmission", ">S:100 <SA >A", summary{"S1", "SThA"}},
	} {
		z := zeekOf(t, unregistered, c.trace)
		if diff := cmp.Diff(c.want, summary{z.ConnState(), z.History().String()}); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", c.name, c.trace, diff)
		}
	}
}

func TestZeekRepeatsSomeLetters(t *testing.T) {
	for _, c := range []struct{ name, trace, history string }{
		{"a FIN sent again is the same FIN", ">S <SA >A >FA >FA* >FA*", "ShAF"},
		{"a FIN elsewhere is another", ">S <SA >A >FA >FA~", "ShAFF"},
		{"a RST elsewhere is another", ">S <SA >A >R >R >R~", "ShARR"},
		{"a SYN sent again is the same SYN", ">S >S* >S*", "S"},
		{"a SYN elsewhere after the close is another", ">S <SA >A >FA <FA >A >S~", "ShAFfS"},
		{"retransmissions: the 1st and the 10th", ">S <SA >A >PA:5" + strings.Repeat(" >PA:5*", 10), "ShADTT"},
		{"zero windows, also of a SYN-ACK", ">S <SAw >A <Aw", "ShwAa"},
		{"no zero window once the peer has closed", ">S <SA >A >FA <Aw", "ShAFa"},
		{"no zero window on a RST", ">S <SA >A >Rw", "ShAR"},
		{"a gap is the letter of the end whose octets are missing", ">S <SA >A >A!", "ShAg"},
		{"no gap without both SYNs", ">PA:5 <A!", "Da"},
	} {
		if diff := cmp.Diff(c.history, zeekOf(t, unregistered, c.trace).History().String()); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", c.name, c.trace, diff)
		}
	}
}

func TestZeekFlipsTheOriginator(t *testing.T) {
	for _, c := range []struct {
		name  string
		ports [2]uint16
		trace string
		want  summary
	}{
		{"first segment from a server's port", [2]uint16{80, 50000}, ">PA:10 <A", summary{"OTH", "^dA"}},
		{"SYN-ACK from a server's port", [2]uint16{443, 50000}, ">SA <A", summary{"S1", "^hA"}},
		{"SYN-ACK from a server's port, then its RST", [2]uint16{443, 50000}, ">SA >R", summary{"RSTRH", "^hr"}},
		{"SYN-ACK from a server's port, then its FIN", [2]uint16{443, 50000}, ">SA >FA", summary{"SHR", "^hf"}},
		{"two server ports: the lower one serves", [2]uint16{22, 8080}, ">A <A", summary{"OTH", "^aA"}},
		{"two server ports: a SYN-ACK is left alone", [2]uint16{22, 8080}, ">SA", summary{"OTH", "H"}},
		{"SYN-ACK from an unknown port, then an ACK", unregistered, ">SA <A >PA:3", summary{"S1", "^hAd"}},
		{"SYN-ACK from an unknown port, then data", unregistered, ">SA <PA:3", summary{"S1", "^hD"}},
		{"SYN-ACK captured before the SYN", unregistered, ">SA <S <A", summary{"S1", "Hs^A"}},
	} {
		z := zeekOf(t, c.ports, c.trace)
		if diff := cmp.Diff(c.want, summary{z.ConnState(), z.History().String()}); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", c.name, c.trace, diff)
		}
	}
	if history := zeekOf(t, [2]uint16{80, 50000}, ">S <SA").History().String(); strings.HasPrefix(history, "^") {
		t.Errorf("%s: a SYN from a server's port was flipped", history)
	}
}

func TestZeekHistoryIsBounded(t *testing.T) {
	z := zeekOf(t, unregistered, ">S <SA >A >FA"+strings.Repeat(" >FA~ >FA", 40)+" <FA")
	if got := len(z.History().String()); got != compat.MaxHistory {
		t.Errorf("history has %d letters, want %d", got, compat.MaxHistory)
	}
	if got := z.ConnState(); got != "SF" {
		t.Errorf("conn_state %s beyond the history's end, want SF", got)
	}
}

func TestHistoryOfItsLetters(t *testing.T) {
	for letters, want := range map[string]string{
		"":                             "",
		"ShADadFfRrIiQqWwTtGg^":        "ShADadFfRrIiQqWwTtGg^",
		"S-h x":                        "Sh",
		strings.Repeat("^gG", 9):       strings.Repeat("^gG", 8),
		strings.Repeat("S", 11) + "hA": strings.Repeat("S", 11) + "hA",
	} {
		if got := compat.HistoryOf(letters).String(); got != want {
			t.Errorf("%q: got %q, want %q", letters, got, want)
		}
	}
}

func TestZeekIsSmallAndDoesNotAllocate(t *testing.T) {
	if got := unsafe.Sizeof(compat.Zeek{}); got > 48 {
		t.Errorf("a Zeek takes %d bytes, want at most 48", got)
	}
	steps := parseTrace(t, unregistered, ">S <SA >A >PA:10 <A <PA:20 >A >FA <FA >A")
	history := make([]byte, 0, compat.MaxHistory)
	if got := testing.AllocsPerRun(100, func() {
		var z compat.Zeek
		var c compat.Completeness
		for i := range steps {
			z.Segment(&steps[i].segment, steps[i].dir, steps[i].seen)
			c.Segment(&steps[i].segment)
		}
		history = z.History().AppendTo(history[:0])
	}); got != 0 {
		t.Errorf("%v allocations for a connection, want none", got)
	}
}

func FuzzZeekTakesAnySegments(f *testing.F) {
	f.Add([]byte{2, 0x12, 0x90, 0x80})
	f.Fuzz(func(t *testing.T, segments []byte) {
		var z compat.Zeek
		for i, b := range segments {
			s := tcp.Segment{Flags: tcp.Flags(b & 0x17), Seq: tcp.Seq(i * 1000), Len: uint32(b >> 5 & 1), Window: uint16(b & 8)}
			z.Segment(&s, b>>7, compat.Seen{Behind: b&0x40 != 0, Gap: i%7 == 0})
		}
		if z.ConnState() == "" || len(z.History().String()) > compat.MaxHistory {
			t.Errorf("conn_state %q, history %q", z.ConnState(), z.History().String())
		}
	})
}

func BenchmarkSegment(b *testing.B) {
	for name, trace := range map[string]string{
		"short connection": ">S <SA >A >PA:10 <A <PA:20 >A >FA <FA >A",
		"bulk":             ">S <SA" + strings.Repeat(" >A >PA:1000 >PA:1000 <A <PA:20", 50) + " >FA <FA >A",
	} {
		b.Run(name, func(b *testing.B) {
			steps := parseTrace(b, unregistered, trace)
			var z compat.Zeek
			var c compat.Completeness
			i := 0
			for b.Loop() {
				step := &steps[i]
				z.Segment(&step.segment, step.dir, step.seen)
				c.Segment(&step.segment)
				if i++; i == len(steps) {
					i, z, c = 0, compat.Zeek{}, 0
				}
			}
		})
	}
}
