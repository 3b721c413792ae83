package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"tcpleak/capture"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// mixed is some of everything.
var mixed = Config{Connections: 3000, Concurrent: 300, Payload: 600, IPv6: 0.3, Broken: 0.5, Seed: 1}

func TestSameSeedSameOctets(t *testing.T) {
	short, flood := mixed, mixed
	short.Packets, short.SnapLen = 10_000, 96
	flood.Flood = 10_000
	for name, cfg := range map[string]Config{"to the end": mixed, "cut short": short, "flood": flood} {
		first, _ := written(t, cfg)
		second, _ := written(t, cfg)
		if !bytes.Equal(first, second) {
			t.Errorf("%s: the same seed gave different files", name)
		}
		cfg.Seed++
		if other, _ := written(t, cfg); bytes.Equal(first, other) {
			t.Errorf("%s: another seed gave the same file", name)
		}
	}
}

// outcome is what the tracker is to say of a connection of some fate at the end of the capture.
type outcome struct {
	opened         tracker.Opened
	endedBy        tracker.EndedBy
	client, server []tcp.State // any of these
	// also holds whatever else is to be so.
	also func(c *tracker.Connection) bool
}

// gone is what a closed connection is at either end: it depends on who was first, and how long ago.
var gone = []tcp.State{tcp.TimeWait, tcp.Closed}

var outcomes = [NumFates]outcome{
	Complete: {tracker.Handshake, tracker.EndedByFIN, gone, gone, func(c *tracker.Connection) bool {
		return repeated(c) == 0 && c.ClosedFirst != tracker.NoneClosed && c.Ends[0].PayloadBytes > 0
	}},
	Unanswered: {tracker.Unanswered, tracker.NotEnded, []tcp.State{tcp.SynSent, tcp.Closed}, []tcp.State{tcp.Unknown, tcp.Listen}, nil},
	Refused:    {tracker.Refused, tracker.EndedByRST, []tcp.State{tcp.Closed}, []tcp.State{tcp.Closed}, nil},
	// Whether the handshake's last ACK was taken is seen from the silence that follows.
	Stuck: {tracker.Handshake, tracker.NotEnded, []tcp.State{tcp.Established}, []tcp.State{tcp.SynRcvd, tcp.Established},
		func(c *tracker.Connection) bool { return c.Ends[1].Facts.SYNs > 1 && c.Ends[0].PayloadBytes == 0 }},
	HalfClosed: {tracker.Handshake, tracker.NotEnded, []tcp.State{tcp.FinWait2}, []tcp.State{tcp.CloseWait}, nil},
	Reset:      {tracker.Handshake, tracker.EndedByRST, []tcp.State{tcp.Closed}, []tcp.State{tcp.Closed}, nil},
	HalfOpen: {tracker.Handshake, tracker.NotEnded, []tcp.State{tcp.Established}, []tcp.State{tcp.Established},
		func(c *tracker.Connection) bool { return c.Ends[1].Retransmitted == 5 }},
	Retransmitted: {tracker.Handshake, tracker.EndedByFIN, gone, gone,
		func(c *tracker.Connection) bool { return c.Ends[1].Retransmitted == 2 }},
	Lossy: {tracker.Handshake, tracker.EndedByFIN, gone, gone, func(c *tracker.Connection) bool {
		return c.Ends[1].Retransmitted+c.Ends[1].OutOfOrder == 1
	}},
	Held:   {tracker.Handshake, tracker.NotEnded, []tcp.State{tcp.Established}, []tcp.State{tcp.Established}, nil},
	Forged: {tracker.Unanswered, tracker.NotEnded, []tcp.State{tcp.SynSent}, []tcp.State{tcp.Unknown, tcp.Listen}, nil},
}

func repeated(c *tracker.Connection) uint64 { return c.Ends[0].Retransmitted + c.Ends[1].Retransmitted }

func TestTheTrackerSeesWhatWasMeant(t *testing.T) {
	snapped, slow, flood := mixed, mixed, mixed
	snapped.SnapLen = 96 // cuts some selective acknowledgments off, so that the ACKs look the same
	slow.Concurrent = 3000
	flood.Flood = 3000
	for name, cfg := range map[string]Config{"whole": mixed, "snapped": snapped, "all at once": slow, "flood": flood} {
		t.Run(name, func(t *testing.T) {
			fates := make(map[key]Fate)
			file, summary := written(t, cfg, func(c *connection) { fates[keyOf(c)] = c.fate })
			if uint64(len(fates)) != summary.Connections || summary.Unfinished != 0 {
				t.Fatalf("%d connections with different addresses and ports, %+v", len(fates), summary)
			}
			table, now := track(t, file, summary)
			if n := table.Stats().Duplicates; n > 0 && cfg.SnapLen == 0 {
				t.Errorf("%d segments are taken for duplicates", n)
			}
			var seen [NumFates]uint64
			for c := range table.Connections(now) {
				fate, ok := fates[key{c.Ends[0].Addr, c.Ends[1].Addr, c.Ends[0].Port, c.Ends[1].Port}]
				want := &outcomes[fate]
				switch {
				case !ok:
					t.Errorf("connection %d has not been written", c.ID)
				case c.Opened != want.opened || c.EndedBy != want.endedBy || c.Visibility != tracker.BothSides ||
					!slices.Contains(want.client, c.Ends[0].State) || !slices.Contains(want.server, c.Ends[1].State) ||
					want.also != nil && !want.also(c) || c.Ends[0].MissedBytes+c.Ends[1].MissedBytes > 0:
					t.Errorf("%v: opened by %v, ended by %v, %v/%v: %+v", fate, c.Opened, c.EndedBy, c.Ends[0].State, c.Ends[1].State, c)
				}
				seen[fate]++
			}
			if seen != summary.Fates {
				t.Errorf("the tracker counts %v, the summary %v", seen, summary.Fates)
			}
		})
	}
}

func TestPacketsCutsShort(t *testing.T) {
	cfg := Config{Packets: 12_345, Concurrent: 500, Payload: 100, SnapLen: 96, Seed: 1}
	file, summary := written(t, cfg)
	if summary.Packets != cfg.Packets || summary.Unfinished < 490 || summary.Unfinished > 500 {
		t.Fatalf("%+v", summary)
	}
	table, now := track(t, file, summary)
	var ended uint64
	for c := range table.Connections(now) {
		if c.EndedBy == tracker.EndedByFIN {
			ended++
		}
	}
	// All that waits for is the last ACK of a close, in some.
	if finished := summary.Connections - summary.Unfinished; ended < finished || ended > finished+50 {
		t.Errorf("%d of %d connections have ended, and %d were played to their ends", ended, summary.Connections, finished)
	}
}

// A connection that is not broken is as long as the benchmarks count on.
func TestTheMixIsWhatTheDefaultsSay(t *testing.T) {
	cfg := Config{Connections: 6000, Concurrent: 600, Payload: 600, IPv6: 0.1, Broken: 0.05, Seed: 1}
	var v6 int
	file, summary := written(t, cfg, func(c *connection) {
		if c.v6 {
			v6++
		}
	})
	if mean := float64(summary.Packets) / float64(summary.Connections); mean < connectionPackets-1 || mean > connectionPackets+1 {
		t.Errorf("%.1f packets a connection, want about %d", mean, connectionPackets)
	}
	if v6 < 520 || v6 > 680 {
		t.Errorf("%d connections over IPv6, want about 600", v6)
	}
	if broken := summary.Connections - summary.Fates[Complete]; broken < 240 || broken > 360 {
		t.Errorf("%d connections are broken, want about 300", broken)
	}
	var octets, segments int
	for _, s := range segmentsOf(t, file) {
		if s.Len > 0 {
			octets, segments = octets+int(s.Len), segments+1
		}
	}
	if mean := octets / segments; mean < 580 || mean > 620 {
		t.Errorf("%d octets in a segment with data, want about 600", mean)
	}
}

// gVisor checks what hosts would.
func TestLengthsAndChecksumsAreRight(t *testing.T) {
	file, summary := written(t, mixed)
	var packets uint64
	for b := file[fileHeader:]; len(b) > 0; packets++ {
		kept := int(b[8]) | int(b[9])<<8
		ip := b[recordHeader+etherHeader : recordHeader+kept]
		b = b[recordHeader+kept:]
		var src, dst tcpip.Address
		switch header.IPVersion(ip) {
		case header.IPv4Version:
			h := header.IPv4(ip)
			if !h.IsChecksumValid() || int(h.TotalLength()) != len(ip) {
				t.Fatalf("packet %d: bad IPv4 header % x", packets+1, ip)
			}
			src, dst, ip = h.SourceAddress(), h.DestinationAddress(), h.Payload()
		case header.IPv6Version:
			h := header.IPv6(ip)
			if int(h.PayloadLength()) != len(ip)-header.IPv6MinimumSize {
				t.Fatalf("packet %d: bad IPv6 header % x", packets+1, ip)
			}
			src, dst, ip = h.SourceAddress(), h.DestinationAddress(), h.Payload()
		default:
			t.Fatalf("packet %d is not IP: % x", packets+1, ip)
		}
		h := header.TCP(ip)
		payload := h.Payload()
		if !h.IsChecksumValid(src, dst, checksum.Checksum(payload, 0), uint16(len(payload))) {
			t.Fatalf("packet %d: bad TCP checksum % x", packets+1, ip)
		}
	}
	if packets != summary.Packets {
		t.Errorf("%d packets in the file, %d by the summary", packets, summary.Packets)
	}
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	allocations := func(packets uint64) float64 {
		return testing.AllocsPerRun(1, func() {
			cfg := Config{Packets: packets, Concurrent: 100, Payload: 600, Broken: 0.2}
			if _, err := Write(io.Discard, cfg); err != nil {
				t.Fatal(err)
			}
		})
	}
	if short, long := allocations(1000), allocations(200_000); long > short {
		t.Errorf("%v allocations for 200,000 packets, %v for 1,000", long, short)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no end":                       func(c *Config) { c.Connections = 0 },
		"no connections":               func(c *Config) { c.Concurrent = 0 },
		"more than there are ports":    func(c *Config) { c.Concurrent = MaxConcurrent + 1 },
		"segments without data":        func(c *Config) { c.Payload = 0 },
		"segments that do not fit":     func(c *Config) { c.Payload = MaxPayload + 1 },
		"a negative snap length":       func(c *Config) { c.SnapLen = -1 },
		"a share of more than all":     func(c *Config) { c.IPv6 = 1.1 },
		"a share of less than none":    func(c *Config) { c.Broken = -0.1 },
		"a share that is not a number": func(c *Config) { c.Broken = math.NaN() },
	} {
		cfg := mixed
		change(&cfg)
		if _, err := Write(io.Discard, cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteStopsWhereNothingCanBeWritten(t *testing.T) {
	cfg := mixed
	cfg.Connections, cfg.Packets = 0, 1<<60
	if _, err := Write(full{}, cfg); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, concurrent := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(concurrent), func(b *testing.B) {
			const packets = 1_000_000
			for b.Loop() {
				cfg := Config{Packets: packets, Concurrent: concurrent, Payload: 600, SnapLen: 96, IPv6: 0.1, Broken: 0.05}
				if _, err := Write(io.Discard, cfg); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/packet")
		})
	}
}

type key struct {
	client, server         tcp.Addr
	clientPort, serverPort uint16
}

func keyOf(c *connection) key {
	addr := func(host uint32) tcp.Addr {
		if c.v6 {
			return tcp.Addr{Hi: 0x20010db8 << 32, Lo: uint64(host)}
		}
		return tcp.AddrFrom4([4]byte{byte(host >> 24), byte(host >> 16), byte(host >> 8), byte(host)})
	}
	return key{addr(c.ends[0].host), addr(c.ends[1].host), c.ends[0].port, c.ends[1].port}
}

// written returns the file that cfg gives. Those who care are told of each connection.
func written(t *testing.T, cfg Config, begun ...func(*connection)) ([]byte, Summary) {
	t.Helper()
	var file bytes.Buffer
	g := newGenerator(&file, cfg)
	for _, f := range begun {
		g.begun = f
	}
	summary, err := g.run()
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), summary
}

func segmentsOf(t *testing.T, file []byte) []tcp.Segment {
	t.Helper()
	name := filepath.Join(t.TempDir(), "traffic.pcap")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := capture.OpenFiles([]string{name}, capture.Config{Encaps: new(tcp.EncapTable)})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var all []tcp.Segment
	batch := make([]tcp.Segment, 256)
	for {
		n, err := source.Read(batch)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, batch[:n]...)
	}
	if stats := source.Stats(); stats.Skipped.Total() > 0 || stats.Sources[0].Truncated {
		t.Fatalf("not all of it is TCP, or whole: %+v", stats)
	}
	return all
}

// track reads a file and returns the tracker's table and the time of the last packet.
func track(t *testing.T, file []byte, summary Summary) (*tracker.Table, int64) {
	t.Helper()
	segments := segmentsOf(t, file)
	inOrder := slices.IsSortedFunc(segments, func(a, b tcp.Segment) int { return int(a.Time - b.Time) })
	if uint64(len(segments)) != summary.Packets || !inOrder {
		t.Fatalf("%d segments, in order: %v; %d were written", len(segments), inOrder, summary.Packets)
	}
	table := tracker.New(tracker.Config{})
	table.Add(segments)
	return table, segments[len(segments)-1].Time
}
