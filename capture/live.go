package capture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcap"

	"tcpleak/tcp"
)

// anyInterface is libpcap's name for all interfaces of a host at once.
const anyInterface = "any"

// liveBatch is how many segments an interface's goroutine collects before it hands them over, and liveDelay how long the
// first of them may wait.
const (
	liveBatch = 512
	liveDelay = 50 * time.Millisecond
)

// OpenLive captures on interfaces; "any" and "lo" are among their names. Packets of several interfaces are delivered
// about in the order of their arrival. If one of them fails, as one that is removed does, Read delivers what it captured
// before and then returns the error, and the source is at its end. An interface that is only taken down is silent until
// it is up again.
func OpenLive(interfaces []string, cfg Config) (Source, error) {
	if len(interfaces) == 0 {
		return nil, fmt.Errorf("no interface given: name one of %s", interfaceNames())
	}
	for i, name := range interfaces {
		if name == "" || slices.Contains(interfaces[:i], name) {
			return nil, fmt.Errorf("interface %q is given twice or has no name: name each of them once, of %s", name, interfaceNames())
		}
	}
	if err := CheckFilter(cfg.Filter); err != nil {
		return nil, err
	}
	if err := cfg.Save.check(); err != nil {
		return nil, err
	}
	if cfg.SnapLen == 0 {
		cfg.SnapLen = DefaultSnapLen
	}
	if cfg.BufferBytes == 0 {
		cfg.BufferBytes = DefaultBufferBytes
	}
	if cfg.Timeout < time.Millisecond {
		cfg.Timeout = DefaultTimeout
	}
	s := &liveSource{
		timeout: cfg.Timeout,
		most:    cfg.MaxPackets,
		loads:   make(chan *load, 4*len(interfaces)),
		done:    make(chan struct{}),
	}
	s.stats.Filter = cfg.Filter
	var listeners []*listener
	fail := func(err error) (Source, error) {
		for _, l := range listeners {
			l.handle.Close()
		}
		return nil, err
	}
	for i, name := range interfaces {
		var handle *pcap.Handle
		var link linkType
		socket, err := withSocket(func() (err error) {
			handle, link, err = listen(name, cfg)
			return err
		})
		if err != nil {
			return fail(fmt.Errorf("%s: %w", name, err))
		}
		listeners = append(listeners, &listener{
			name: name, index: i, handle: handle, link: link, socket: socket.filtering(handle, link, cfg.Filter),
			steady:  newSteady(clocks),
			decoder: decoder{encaps: cfg.Encaps, learner: cfg.Names},
			loads:   s.loads, done: s.done, spent: make(chan *load, 8),
			rest: cfg.Rest, room: cfg.BufferBytes / roomShare,
			asks: make(chan func()), ended: make(chan struct{}),
		})
		s.stats.Sources = append(s.stats.Sources, SourceStats{Name: name, Format: "live", LinkTypes: []string{link.String()}})
	}
	s.listeners, s.drops = listeners, make([]drops, len(listeners))
	if cfg.Save.Name != "" {
		var taps []tapWritten
		for _, l := range listeners {
			taps = append(taps, tapWritten{uint32(l.link.inFiles()), l.name})
		}
		layout := newFileLayout(taps, true)
		s.saver = &saver{Save: cfg.Save, layout: layout}
		for _, l := range listeners {
			l.layout = layout
		}
	}
	for _, l := range listeners {
		s.running.Go(func() { l.run(s) })
	}
	return s, nil
}

// listen opens one interface.
func listen(name string, cfg Config) (*pcap.Handle, linkType, error) {
	if name != anyInterface {
		if _, err := net.InterfaceByName(name); err != nil {
			return nil, 0, fmt.Errorf("no such interface: there are %s", interfaceNames())
		}
	}
	inactive, err := pcap.NewInactiveHandle(name)
	if err != nil {
		return nil, 0, err
	}
	defer inactive.CleanUp()
	err = errors.Join(
		inactive.SetSnapLen(cfg.SnapLen),
		inactive.SetBufferSize(cfg.BufferBytes),
		inactive.SetTimeout(cfg.Timeout),
		// Asked for it on "any", libpcap answers with a warning that gopacket takes for a failure.
		inactive.SetPromisc(cfg.Promiscuous && name != anyInterface),
	)
	if err != nil {
		return nil, 0, err
	}
	handle, err := inactive.Activate()
	if err != nil && err.Error() == notPromiscuous {
		// For libpcap this is a warning. gopacket has given up the handle.
		cfg.Promiscuous = false
		return listen(name, cfg)
	}
	if err != nil {
		return nil, 0, activationError(name, err)
	}
	link := linkType(handle.LinkType())
	if link == linkSLL2&0xff {
		link = linkSLL2 // gopacket's link types have eight bits, and 20 is no other's number
	}
	if !link.supported() {
		handle.Close()
		return nil, 0, fmt.Errorf("link type %v is not supported: choose another interface of %s", link, interfaceNames())
	}
	// Also one that lets everything pass: it is what tells the kernel to copy no more than the snap length.
	if err := handle.SetBPFFilter(cfg.Filter); err != nil {
		handle.Close()
		return nil, 0, fmt.Errorf("filter %q: %v on link type %v: man pcap-filter describes the language", cfg.Filter, err, link)
	}
	return handle, link, nil
}

// What Activate answers. gopacket does not export its codes, only their texts.
const (
	denied         = "Permission Denied"
	notUp          = "Interface Not Up"
	noSuchDevice   = "No Such Device"
	notPromiscuous = "Cannot set as promisc"
)

// activationError says what to do about an interface that could not be opened.
func activationError(name string, err error) error {
	switch err.Error() {
	case denied:
		return deniedError(os.Geteuid() == 0)
	case notUp:
		return fmt.Errorf("the interface is down: bring it up with sudo ip link set %s up", name)
	case noSuchDevice:
		return fmt.Errorf("no such interface: there are %s", interfaceNames())
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// deniedError says how to get the right to capture. CAP_NET_RAW is all that Linux asks for: also for promiscuous mode and a
// large buffer.
func deniedError(root bool) error {
	if root {
		return errors.New("no right to capture, even for root, without the capability CAP_NET_RAW: a container gets it with --cap-add NET_RAW")
	}
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return fmt.Errorf("no right to capture: run sudo tcpleak, or give it the right once with sudo setcap cap_net_raw+ep %s", shellQuoted(program))
}

// shellQuoted returns s as a shell takes it for one word.
func shellQuoted(s string) string {
	plain := func(r rune) bool {
		return r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-+", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// interfaceNames lists what can be captured on.
func interfaceNames() string {
	names := []string{anyInterface}
	if all, err := net.Interfaces(); err == nil {
		for _, i := range all {
			names = append(names, i.Name)
		}
	}
	return strings.Join(names, ", ")
}

// liveSource gathers what the listeners send.
type liveSource struct {
	ledger
	timeout time.Duration
	most    uint64        // packets to read; 0 is without end
	taken   atomic.Uint64 // packets that listeners took, up to most
	saver   *saver        // nil unless packets are saved
	saving  bool          // it has been started
	loads   chan *load
	done    chan struct{}
	once    sync.Once
	running sync.WaitGroup

	listeners   []*listener
	refiltering sync.Mutex

	// Of the goroutine that reads.
	totals  totals
	current *load // its first given segments have been delivered
	given   int
	err     error

	drops []drops // guarded by ledger.mu, by listener
	moved int64   // guarded by ledger.mu; see Stats
}

type drops struct{ kernel, device uint64 }

// load is what a listener captured within a short time.
type load struct {
	segments []tcp.Segment // Packet counts from the load's first packet
	totals   totals
	newest   int64  // time of the packet that came last
	moved    int64  // what times are moved by, at the end
	octets   int    // about what its packets took of the kernel's buffer
	laidOut  []byte // the packets as they are saved
	from     *listener
	err      error // the listener has ended
}

// listener reads one interface in a goroutine of its own, which is also the one that closes it: libpcap's handles must
// not be closed, nor asked for their counters, while another goroutine reads.
type listener struct {
	decoder
	steady
	name   string
	index  int
	handle *pcap.Handle
	socket packetSocket
	link   linkType
	layout *fileLayout // of the packets that are saved; nil if they are not
	loads  chan<- *load
	spent  chan *load // loads to use again
	done   <-chan struct{}
	rest   time.Duration
	room   int         // octets of the kernel's buffer that may fill meanwhile
	asks   chan func() // to be run between two reads
	ended  chan struct{}
	lost   drops
	raw    [2]uint32 // libpcap's counters, which wrap
}

// run captures until the source is closed or the interface fails.
func (l *listener) run(s *liveSource) {
	defer l.handle.Close()
	defer close(l.ended)
	defer l.countDrops(s)
	at := l.newLoad()
	var failed error
	var over <-chan time.Time
	for at != nil {
		// Two that each look at one channel cost next to nothing; one that looks at both would take its locks for each packet.
		select {
		case <-l.done:
			return
		default:
		}
		select {
		case ask := <-l.asks:
			ask()
		default:
		}
		data, info, err := l.handle.ZeroCopyReadPacketData()
		if err == nil {
			last := false
			if s.most > 0 {
				n := s.taken.Add(1)
				if n > s.most {
					l.send(at)
					return
				}
				last = n == s.most
			}
			l.enter(at, data, info)
			if at.full() || last {
				l.countDrops(s)
				pause := at.pause(l)
				if at = l.send(at); pause > 0 {
					l.pause(pause)
				}
			}
			continue
		}
		if err != pcap.NextErrorTimeoutExpired && failed == nil {
			// What the kernel has kept is still to come: libpcap reports the failure first, and the kernel hands over an
			// unfinished block only when its time is up.
			failed, over = l.failure(err), time.After(2*s.timeout)
		}
		l.countDrops(s)
		if failed == nil {
			at = l.send(at)
			continue
		}
		select {
		case <-over:
			at.err = failed
			l.send(at)
			return
		case <-time.After(time.Millisecond): // errors do not wait
		}
	}
}

// enter puts a packet into a load, which is not full.
func (l *listener) enter(at *load, data []byte, info gopacket.CaptureInfo) {
	t := l.at(info.Timestamp.UnixNano())
	at.totals.seen(t)
	if l.layout != nil {
		at.laidOut = l.layout.appendPacket(at.laidOut, l.index, t, data[:min(len(data), maxPacket)], info.Length)
	}
	at.newest, at.moved = t, l.move
	at.octets += len(data) + inBuffer
	at.segments = at.segments[:len(at.segments)+1]
	seg := &at.segments[len(at.segments)-1]
	seg.Time, seg.Packet = t, at.totals.packets
	r := l.decode(seg, l.link, data, info.Length)
	at.totals.count(r)
	if r != decoded {
		at.segments = at.segments[:len(at.segments)-1]
	}
}

// full reports whether a load has waited long enough or holds enough.
func (at *load) full() bool {
	return len(at.segments) == cap(at.segments) || len(at.laidOut) >= writeAhead || at.newest-at.totals.first > int64(liveDelay)
}

const (
	// roomShare is which part of the kernel's buffer may fill while a listener rests: what comes may be many times as much as
	// what came.
	roomShare = 8
	// inBuffer is what a packet takes there beside what is kept of it.
	inBuffer = 128
)

// pause is how long its listener may rest after a load: not at all if it is behind.
func (at *load) pause(l *listener) time.Duration {
	lasted := at.newest - at.totals.first
	if l.rest == 0 || lasted <= 0 || time.Now().UnixNano()+at.moved-at.newest > int64(l.rest) {
		return 0
	}
	return min(l.rest, time.Duration(float64(l.room)/float64(at.octets)*float64(lasted)))
}

// pause leaves what comes to the kernel for a while. Waiting for the next packet instead wakes the process many times as
// often, which costs more than the packets.
func (l *listener) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case ask := <-l.asks:
			ask()
		case <-l.done:
			return
		}
	}
}

// failure says why an interface cannot be read any more.
func (l *listener) failure(err error) error {
	if err == pcap.NextErrorReadError {
		err = l.handle.Error()
	}
	if err == io.EOF {
		err = errors.New("libpcap ended the capture")
	}
	return fmt.Errorf("%s: %w: see ip link show %s", l.name, err, l.name)
}

func (l *listener) newLoad() *load {
	select {
	case spent := <-l.spent:
		*spent = load{segments: spent.segments[:0], laidOut: spent.laidOut[:0], from: l}
		return spent
	default:
		return &load{segments: make([]tcp.Segment, 0, liveBatch), from: l}
	}
}

// send hands a load over if there is anything in it, and returns one to fill next; nil when the source is closed.
func (l *listener) send(at *load) *load {
	if at.totals.packets == 0 && at.err == nil {
		return at
	}
	for {
		select {
		case l.loads <- at:
			return l.newLoad()
		case ask := <-l.asks: // perhaps by who reads, and takes no load meanwhile
			ask()
		case <-l.done:
			return nil
		}
	}
}

// countDrops asks libpcap what was lost.
func (l *listener) countDrops(s *liveSource) {
	stats, err := l.handle.Stats()
	if err != nil {
		return
	}
	raw := [2]uint32{uint32(stats.PacketsDropped), uint32(stats.PacketsIfDropped)}
	l.lost.kernel += uint64(raw[0] - l.raw[0])
	l.lost.device += uint64(raw[1] - l.raw[1])
	l.raw = raw
	s.mu.Lock()
	s.drops[l.index] = l.lost
	s.mu.Unlock()
}

// Read implements Source.
func (s *liveSource) Read(batch []tcp.Segment) (int, error) {
	if s.saver != nil && !s.saving {
		// Not before: who captures may give up rights in between, and the file is to be the user's.
		if s.saving = true; s.err == nil {
			s.err = s.saver.start()
		}
	}
	var timeout <-chan time.Time
	for {
		if s.current != nil {
			if n := s.deliver(batch); n > 0 {
				return n, nil
			}
		}
		if s.err != nil {
			return 0, s.err
		}
		if timeout == nil {
			timer := time.NewTimer(s.timeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case s.current = <-s.loads:
			s.receive()
		case <-timeout:
			return 0, nil
		case <-s.done:
			s.err = os.ErrClosed
		}
	}
}

// receive enters a load in the books and numbers its packets.
func (s *liveSource) receive() {
	s.given = 0
	at := s.current
	for i := range at.segments {
		at.segments[i].Packet += s.totals.packets
	}
	s.totals.add(&at.totals)
	s.post(&s.totals)
	s.mu.Lock()
	s.stats.Sources[at.from.index].Packets += at.totals.packets
	s.moved = at.moved
	s.mu.Unlock()
	if s.saver != nil {
		s.saver.add(at.laidOut)
	}
}

// deliver copies out of the current load; 0 when it is used up.
func (s *liveSource) deliver(batch []tcp.Segment) int {
	n := copy(batch, s.current.segments[s.given:])
	s.given += n
	if s.given == len(s.current.segments) {
		if s.current.err != nil {
			s.err = s.current.err
		} else if s.most > 0 && s.totals.packets == s.most {
			s.err = io.EOF
		}
		select {
		case s.current.from.spent <- s.current:
		default:
		}
		s.current = nil
	}
	return n
}

// Stats implements Source.
func (s *liveSource) Stats() Stats {
	stats := s.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Moved = s.moved
	for _, d := range s.drops {
		stats.DroppedKernel += d.kernel
		stats.DroppedInterface += d.device
	}
	if s.saver != nil {
		s.saver.enter(&stats)
	}
	return stats
}

// Close implements Source. It returns when every interface is released, which takes up to Config.Timeout.
func (s *liveSource) Close() error {
	s.once.Do(func() { close(s.done) })
	s.running.Wait()
	if s.saver != nil {
		s.saver.close()
	}
	return nil
}
