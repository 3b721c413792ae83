package kernel

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"tcpleak/tcp"
)

// Finding is a scenario in which something goes wrong that tcpleak has a name for, or its healthy twin: one that looks
// alike although nothing is wrong.
type Finding struct {
	Scenario
	At         string // "client" or "server": where the capture is taken; the server if empty
	Thresholds map[string]string
	Expect     []Expected
	Healthy    bool
	Crowd      bool                // too many connections, or hosts, to list
	Edit       func([]byte) []byte // what is left of the capture file
}

// Findings returns the scenarios of testdata/findings, the long ones first: they can be played at the same time.
func Findings() []Finding {
	return slices.Concat(leaks, forgotten, idlers, crowds, deaf, keepAliveTimeouts, oddities)
}

// compressed is the size from which a capture is stored with gzip.
const compressed = 200 << 10

// RecordFinding plays a scenario and writes NAME.pcap, or NAME.pcap.gz if it is large, and NAME.json into dir.
func RecordFinding(ctx context.Context, dir string, f Finding) (*Truth, error) {
	pair, err := NewPair(ctx, f.Offload)
	if err != nil {
		return nil, err
	}
	defer pair.Close()
	at := pair.Server
	if f.At == pair.Client.Name {
		at = pair.Client
	}
	if err := Remove(dir, f.Name); err != nil {
		return nil, err
	}
	base := filepath.Join(dir, f.Name)
	s := &Scene{
		Pair:        pair,
		service:     cmp.Or(f.Service, 80),
		undecidable: make(map[Tuple]string),
		vanished:    make(map[Tuple]time.Time),
	}
	defer s.cleanUp()
	var truth *Truth
	err = Try(func() {
		s.capture = at.Capture(base + ".pcap")
		f.Run(s)
		truth = s.finish()
		if f.Edit != nil {
			check("edit", edit(s.capture.Path, f.Edit))
		}
		packets, err := ReadPackets(s.capture.Path)
		check("capture", err)
		truth.Scenario, truth.Description = f.Name, f.About
		truth.Thresholds, truth.Healthy = f.Thresholds, f.Healthy
		truth.Expect = append(slices.Clone(f.Expect), s.expect...)
		truth.Connections = len(packets.Clients())
		truth.Packets, truth.First, truth.Last = packets.Total, packets.First, packets.Last
		if f.Crowd {
			truth.Endpoints = nil
		} else {
			truth.recount(packets)
			truth.doubt(packets)
			check("truth", truth.Check(packets))
		}
		check("truth", truth.Write(base+".json"))
		if got := truth.Summary(); f.States != "" && got != f.States {
			check("states", fmt.Errorf("%s; want %s", got, f.States))
		}
		if f.History != "" {
			check("history", matchHistory(s.capture.Path, f.History))
		}
		check("compress", compress(s.capture.Path))
	})
	return truth, err
}

// later runs f when the capture has ended.
func (s *Scene) later(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// cleanUp ends what belongs to no pair.
func (s *Scene) cleanUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.cleanups {
		f()
	}
}

// found notes what only the run of the scene tells.
func (s *Scene) found(e Expected) { s.expect = append(s.expect, e) }

// recount sets what each endpoint sent, after packets were taken out of the capture.
func (t *Truth) recount(packets *Packets) {
	sent := make(map[Tuple]int)
	for i := range packets.TCP {
		sent[packets.TCP[i].Tuple]++
	}
	for i := range t.Endpoints {
		t.Endpoints[i].Packets = sent[t.Endpoints[i].Tuple()]
	}
}

// doubt marks the ends that Linux gives up in silence after a minute: whether it has done so is not on the wire.
func (t *Truth) doubt(packets *Packets) {
	const (
		orphan       = 58 * time.Second // tcp_fin_timeout is a minute
		timeWait     = 58 * time.Second // TIME_WAIT ends after 60 s,
		timeWaitOver = 70 * time.Second // or a few seconds later
	)
	type direction struct {
		fin, last time.Time // the first FIN, and the last segment of any kind
		reset     bool
	}
	by := make(map[Tuple]direction)
	for i := range packets.TCP {
		p := &packets.TCP[i]
		d := by[p.Tuple]
		if p.Flags.Has(tcp.FIN) && d.fin.IsZero() {
			d.fin = p.Time
		}
		d.last, d.reset = p.Time, d.reset || p.Flags.Has(tcp.RST)
		by[p.Tuple] = d
	}
	for i := range t.Endpoints {
		e := &t.Endpoints[i]
		own, peer := by[e.Tuple()], by[e.Tuple().Reverse()]
		last := own.last
		if peer.last.After(last) {
			last = peer.last
		}
		silent := t.End.Sub(last)
		switch {
		case e.Undecidable != "" || own.fin.IsZero() || own.reset || peer.reset:
		case peer.fin.IsZero() && e.State == tcp.Closed.String() && silent > orphan:
			e.Undecidable = "Linux gives up an orphan in FIN_WAIT_2 after tcp_fin_timeout and sends nothing"
		case !peer.fin.IsZero() && !own.fin.After(peer.fin) && timeWait < silent && silent < timeWaitOver:
			e.Undecidable = "Linux ends TIME_WAIT some time after a minute"
		}
	}
}

// edit replaces a file by what f makes of it.
func edit(path string, f func([]byte) []byte) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, f(b), 0o644)
}

// compress replaces a large file by a compressed one.
func compress(path string) error {
	b, err := os.ReadFile(path)
	if err != nil || len(b) <= compressed {
		return err
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path+".gz", out.Bytes(), 0o644), os.Remove(path))
}

// snap shortens the packets of a capture file.
func snap(octets int) func([]byte) []byte {
	return func(b []byte) []byte {
		le := binary.LittleEndian
		out := slices.Clone(b[:pcapFileHeader])
		le.PutUint32(out[16:], uint32(octets))
		for at := pcapFileHeader; at < len(b); {
			_, frame, err := packetAt(b, at)
			check("snap", err)
			header := slices.Clone(b[at : at+pcapPacketHeader])
			le.PutUint32(header[8:], uint32(min(len(frame), octets)))
			out = append(append(out, header...), frame[:min(len(frame), octets)]...)
			at += pcapPacketHeader + len(frame)
		}
		return out
	}
}

// without removes the packets that drop chooses, as a capture does that cannot keep up. Drop is told a segment and how
// many of its kind, payload or none, came before.
func without(drop func(p *Packet, before int) bool) func([]byte) []byte {
	return func(b []byte) []byte {
		out := slices.Clone(b[:pcapFileHeader])
		count := make(map[bool]int)
		for at := pcapFileHeader; at < len(b); {
			_, frame, err := packetAt(b, at)
			check("edit", err)
			end := at + pcapPacketHeader + len(frame)
			p, ok := parseFrame(frame)
			if !ok || !drop(&p, count[p.Payload > 0]) {
				out = append(out, b[at:end]...)
			}
			if ok {
				count[p.Payload > 0]++
			}
			at = end
		}
		return out
	}
}

// firstHalf cuts a capture short.
func firstHalf(b []byte) []byte {
	at := pcapFileHeader
	for at < len(b)/2 {
		_, frame, err := packetAt(b, at)
		check("edit", err)
		at += pcapPacketHeader + len(frame)
	}
	return b[:at]
}

// need fails with the name of the package to install where a command is missing.
func need(command, pkg string) {
	if _, err := exec.LookPath(command); err != nil {
		check(command, fmt.Errorf("not installed: install the package %s", pkg))
	}
}

// crew is what happens at the same time in a scene.
type crew struct {
	s     *Scene
	begin time.Time
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error // the first
}

func (s *Scene) crew() *crew { return &crew{s: s, begin: time.Now()} }

// at runs f at a time after the crew's beginning.
func (c *crew) at(start time.Duration, f func()) {
	c.wg.Go(func() {
		err := Try(func() { c.until(start); f() })
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = cmp.Or(c.err, err)
	})
}

// every runs f at each interval from start until end.
func (c *crew) every(interval, start, end time.Duration, f func()) {
	for at := start; at < end; at += interval {
		c.at(at, f)
	}
}

// until waits for a time after the crew's beginning.
func (c *crew) until(d time.Duration) { c.s.Sleep(time.Until(c.begin.Add(d))) }

// wait returns when all have done what they had to.
func (c *crew) wait() {
	c.wg.Wait()
	check("scene", c.err)
}

// The ends of most scenes.
var (
	clientAddr = netip.MustParseAddr("10.77.0.1")
	serverAddr = netip.MustParseAddr("10.77.0.2")
	web        = netip.AddrPortFrom(serverAddr, 80)
	app        = netip.AddrPortFrom(serverAddr, 8080)
)

const (
	info     = "info"
	warning  = "warning"
	critical = "critical"
)

// byServer is a group of findings for which a server is at fault.
func byServer(kind, severity string, service netip.AddrPort, connections int, why string) Expected {
	return Expected{Kind: kind, Severity: severity, Culprit: &Culprit{"server", service.Addr(), service.Port()}, Service: service,
		Connections: connections, Why: why}
}

// byClient is a group of findings for which the clients at an address are at fault, or all clients if it is none.
func byClient(kind, severity string, client netip.Addr, service netip.AddrPort, connections int, why string) Expected {
	return Expected{Kind: kind, Severity: severity, Culprit: &Culprit{Role: "client", Address: client}, Service: service,
		Connections: connections, Why: why}
}

// byNeither is a group of findings for which neither end is at fault.
func byNeither(kind, severity string, service netip.AddrPort, connections int, why string) Expected {
	return Expected{Kind: kind, Severity: severity, Service: service, Connections: connections, Why: why}
}

// upTo lets the group name more connections.
func (e Expected) upTo(connections int) Expected {
	e.ConnectionsMax = connections
	return e
}
