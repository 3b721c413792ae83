package report

import (
	"io"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"tcpleak/diagnosis"
	"tcpleak/printable"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Version is the version of the JSON lines. Fields may be added within a version; none changes its name or meaning.
const Version = 1

// JSON writes r as one JSON object per line: the capture, each connection, each finding, a summary.
func JSON(w io.Writer, r Report) error {
	var lines jsonLines
	write := func() error {
		_, err := w.Write(lines.b)
		lines.b = lines.b[:0]
		return err
	}
	lines.capture(&r)
	if err := write(); err != nil {
		return err
	}
	if err := writeRows(w, &r, appendConnections); err != nil {
		return err
	}
	for i := range len(r.Findings) + len(r.FromKernel) {
		if i < len(r.Findings) {
			lines.open("finding")
			lines.finding(&r.Findings[i], r.Threshold)
		} else {
			lines.open("kernel_finding")
			lines.finding(&r.FromKernel[i-len(r.Findings)], r.Threshold)
		}
		lines.end()
		if len(lines.b) > 1<<16 {
			if err := write(); err != nil {
				return err
			}
		}
	}
	lines.summary(&r)
	return write()
}

// ConnectionsJSON writes some of a report's connections as one JSON object: {"matches":2,"connections":[…]}, of which each is
// as in JSON; matches is how many there are in all.
func ConnectionsJSON(w io.Writer, r *Report, rows Rows, matches int) error {
	lines := jsonLines{b: []byte{'{'}}
	lines.uint("matches", uint64(matches))
	lines.begin("connections", '[')
	for c, findings := range rows {
		lines.comma()
		lines.connection(r, c, findings)
		lines.b = lines.b[:len(lines.b)-1] // the end of the line
	}
	lines.b = append(lines.b, ']', '}', '\n')
	_, err := w.Write(lines.b)
	return err
}

// FindingsJSON writes findings as one JSON object: {"findings":[…]}, of which each is as in JSON.
func FindingsJSON(w io.Writer, findings []diagnosis.Finding) error {
	lines := jsonLines{b: []byte{'{'}}
	lines.begin("findings", '[')
	for i := range findings {
		lines.beginElement()
		lines.finding(&findings[i], nil)
		lines.close('}')
	}
	lines.b = append(lines.b, ']', '}', '\n')
	_, err := w.Write(lines.b)
	return err
}

func appendConnections(b []byte, r *Report, rows Rows) []byte {
	lines := jsonLines{b: b}
	for c, findings := range rows {
		lines.connection(r, c, findings)
	}
	return lines.b
}

// jsonLines appends one JSON object at a time. A million connections, 944 MB, take 2.1 s of CPU time this way, to look at them
// included; with encoding/json it was about three times as much.
type jsonLines struct {
	b     []byte
	clock clock
	text  []byte // for what is yet to be escaped
}

// open begins a line with its type.
func (l *jsonLines) open(kind string) {
	l.b = append(l.b, '{')
	l.string("type", kind)
}

func (l *jsonLines) end() { l.b = append(l.b, '}', '\n') }

// key begins a member of the innermost object.
func (l *jsonLines) key(name string) {
	l.comma()
	l.b = append(l.b, '"')
	l.b = append(l.b, name...)
	l.b = append(l.b, '"', ':')
}

// comma separates from the member or element before, if there is one.
func (l *jsonLines) comma() {
	if last := l.b[len(l.b)-1]; last != '{' && last != '[' {
		l.b = append(l.b, ',')
	}
}

func (l *jsonLines) begin(name string, bracket byte) {
	l.key(name)
	l.b = append(l.b, bracket)
}

func (l *jsonLines) beginElement() {
	l.comma()
	l.b = append(l.b, '{')
}

func (l *jsonLines) close(bracket byte) { l.b = append(l.b, bracket) }

func (l *jsonLines) string(name, value string) {
	l.key(name)
	l.b = appendJSONString(l.b, value)
}

// nonempty is a string that is absent when it is empty.
func (l *jsonLines) nonempty(name, value string) {
	if value != "" {
		l.string(name, value)
	}
}

func (l *jsonLines) uint(name string, value uint64) {
	l.key(name)
	l.b = strconv.AppendUint(l.b, value, 10)
}

func (l *jsonLines) uintElement(value uint64) {
	l.comma()
	l.b = strconv.AppendUint(l.b, value, 10)
}

func (l *jsonLines) bool(name string, value bool) {
	l.key(name)
	l.b = strconv.AppendBool(l.b, value)
}

// flag is a bool that is absent when it is false.
func (l *jsonLines) flag(name string, value bool) {
	if value {
		l.bool(name, true)
	}
}

// time is absent when it is 0, which is unknown.
func (l *jsonLines) time(name string, ns int64) {
	if ns != 0 {
		l.key(name)
		l.b = append(l.b, '"')
		l.b = l.clock.append(l.b, ns)
		l.b = append(l.b, '"')
	}
}

func (l *jsonLines) seconds(name string, d time.Duration) {
	l.key(name)
	l.b = appendSeconds(l.b, d)
}

// float is rounded to what a reader can use.
func (l *jsonLines) float(name string, value float64) {
	l.key(name)
	l.b = strconv.AppendFloat(l.b, value, 'f', 2, 64)
}

func (l *jsonLines) address(a tcp.Addr) {
	l.key("address")
	l.b = append(l.b, '"')
	l.b = appendAddress(l.b, a)
	l.b = append(l.b, '"')
}

func (l *jsonLines) capture(r *Report) {
	c := &r.Capture
	l.open("capture")
	l.uint("version", Version)
	l.begin("sources", '[')
	for i := range c.Sources {
		s := &c.Sources[i]
		l.beginElement()
		l.string("name", s.Name)
		l.string("format", s.Format)
		l.begin("link_types", '[')
		for _, name := range s.LinkTypes {
			l.comma()
			l.b = appendJSONString(l.b, name)
		}
		l.close(']')
		l.uint("packets", s.Packets)
		l.bool("truncated", s.Truncated)
		l.nonempty("detail", s.Detail)
		l.close('}')
	}
	l.close(']')
	l.flag("live", c.Live)
	l.string("filter", c.Filter)
	l.time("first", c.First)
	l.time("last", c.Last)
	l.uint("packets", c.Packets)
	l.uint("segments", c.Segments)
	l.uint("duplicates", c.Duplicates)
	l.begin("skipped", '{')
	for _, skipped := range c.Skipped {
		l.comma()
		l.b = append(appendJSONString(l.b, skipped.Reason), ':')
		l.b = strconv.AppendUint(l.b, skipped.N, 10)
	}
	l.close('}')
	l.begin("dropped", '{')
	l.uint("kernel", c.DroppedKernel)
	l.uint("interface", c.DroppedInterface)
	l.close('}')
	l.uint("missed_bytes", c.MissedBytes)
	l.uint("evicted", c.Evicted.Total())
	if r.Threshold != nil {
		l.begin("thresholds", '{')
		for _, about := range diagnosis.Kinds() {
			l.threshold(string(about.Kind), r.Threshold(about.Kind))
		}
		l.close('}')
	}
	if c.Evicted.Total() > 0 {
		l.begin("evicted_by_kind", '{')
		for _, kind := range evictions(c.Evicted) {
			if kind.N > 0 {
				l.uint(kind.Reason, kind.N)
			}
		}
		l.close('}')
	}
	l.end()
}

// threshold is a number of seconds, a count, or both of them in that order; absent where there is none.
func (l *jsonLines) threshold(name string, t diagnosis.Threshold) {
	switch {
	case t.Age != 0 && t.Count != 0:
		l.begin(name, '[')
		l.b = append(appendSeconds(l.b, t.Age), ',')
		l.b = strconv.AppendInt(l.b, int64(t.Count), 10)
		l.close(']')
	case t.Age != 0:
		l.seconds(name, t.Age)
	case t.Count != 0:
		l.uint(name, uint64(t.Count))
	}
}

// connection is a line. As there may be millions, it writes the names together with what surrounds them, and takes the
// names of states and the like as they are: there is nothing in them to escape.
func (l *jsonLines) connection(r *Report, c *tracker.Connection, findings []int) {
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	l.b = strconv.AppendUint(append(l.b, `{"type":"connection","id":`...), c.ID, 10)
	l.b = appendCommunityID(append(l.b, `,"community_id":"`...), client.Addr, client.Port, server.Addr, server.Port)
	l.b = append(append(l.b, `","opened":"`...), c.Opened.String()...)
	l.b = append(append(l.b, `","visibility":"`...), c.Visibility.String()...)
	l.b = append(l.b, '"')
	l.flag("roles_guessed", c.RolesGuessed)
	l.time("start", c.Start)
	l.time("last", c.Last)
	if c.HandshakeRTT != 0 {
		l.seconds("handshake_rtt", time.Duration(c.HandshakeRTT))
	}
	l.nonempty("closed_first", c.ClosedFirst.String())
	l.nonempty("ended_by", c.EndedBy.String())
	if c.Encap != 0 {
		l.encapsulation(r.encapsulation(c.Encap))
	}
	l.b = append(l.b, `,"client":{"address":"`...)
	l.endpoint(client)
	if r.Socket != nil {
		l.socket(r.Socket(c, tracker.Client))
	}
	l.b = append(l.b, `},"server":{"address":"`...)
	l.endpoint(server)
	if r.Socket != nil {
		l.socket(r.Socket(c, tracker.Server))
	}
	l.nonempty("name", r.ServerName(c))
	l.b = append(append(l.b, `},"zeek":{"conn_state":"`...), c.ZeekState...)
	l.b = c.ZeekHistory.AppendTo(append(l.b, `","history":"`...))
	l.b = strconv.AppendUint(append(l.b, `"},"wireshark_completeness":`...), uint64(c.WiresharkCompleteness), 10)
	if len(findings) > 0 {
		l.begin("findings", '[')
		for _, id := range findings {
			l.uintElement(uint64(id))
		}
		l.close(']')
	}
	l.end()
}

func (l *jsonLines) encapsulation(e tcp.Encapsulation) {
	if e.VLANs > 0 {
		l.begin("vlan", '[')
		for _, id := range e.VLAN[:e.VLANs] {
			l.uintElement(uint64(id))
		}
		l.close(']')
	}
	if e.Tunnels > 0 {
		l.begin("tunnels", '[')
		for _, tunnel := range e.Tunnel[:e.Tunnels] {
			l.beginElement()
			l.string("type", tunnel.Type.String())
			l.uint("id", uint64(tunnel.ID))
			l.close('}')
		}
		l.close(']')
	}
}

// endpoint is the members of an end, from the text of its address on.
func (l *jsonLines) endpoint(e *tracker.Endpoint) {
	l.b = appendAddress(l.b, e.Addr)
	l.b = strconv.AppendUint(append(l.b, `","port":`...), uint64(e.Port), 10)
	l.b = append(append(l.b, `,"state":"`...), e.State.String()...)
	l.b = append(append(l.b, `","certainty":"`...), e.Certainty.String()...)
	l.b = append(l.b, '"')
	l.time("since", e.Since)
	l.flag("since_at_least", e.SinceAtLeast)
	if l.text = e.AppendWhy(l.text[:0]); len(l.text) > 0 {
		l.b = appendJSONString(append(l.b, `,"why":`...), l.text)
	}
	l.b = strconv.AppendUint(append(l.b, `,"packets":`...), e.Packets, 10)
	l.b = strconv.AppendUint(append(l.b, `,"payload_bytes":`...), e.PayloadBytes, 10)
	l.b = strconv.AppendUint(append(l.b, `,"retransmitted":`...), e.Retransmitted, 10)
	l.b = strconv.AppendUint(append(l.b, `,"out_of_order":`...), e.OutOfOrder, 10)
	l.b = strconv.AppendUint(append(l.b, `,"missed_bytes":`...), e.MissedBytes, 10)
	l.b = strconv.AppendUint(append(l.b, `,"zero_windows":`...), e.ZeroWindows, 10)
}

// socket is the members that the kernel tells of an end.
func (l *jsonLines) socket(s diagnosis.Socket, known bool) {
	if !known {
		return
	}
	l.string("kernel_state", s.State.String())
	l.uint("receive_queue", uint64(s.RecvQueue))
	l.uint("send_queue", uint64(s.SendQueue))
	l.flag("unaccepted", s.Unaccepted)
	if len(s.Holders) > 0 {
		l.begin("process", '{')
		l.holder(&s.Holders[0])
		l.close('}')
	}
}

func (l *jsonLines) holder(h *diagnosis.Holder) {
	l.uint("pid", uint64(h.PID))
	l.uint("fd", uint64(h.FD))
	l.string("name", h.Name)
	l.nonempty("command", h.Command)
	l.nonempty("container", h.Container)
}

func (l *jsonLines) finding(f *diagnosis.Finding, threshold func(diagnosis.Kind) diagnosis.Threshold) {
	l.uint("id", uint64(f.ID))
	l.string("kind", string(f.Kind))
	l.string("severity", f.Severity.String())
	l.string("certainty", f.Certainty.String())
	l.begin("connections", '[')
	for _, id := range f.Connections {
		l.uintElement(id)
	}
	l.close(']')
	if f.Culprits > 0 {
		l.begin("culprit", '{')
		l.string("role", f.Culprit.Role.String())
		if named(f.Culprit) {
			l.address(f.Culprit.Addr)
		}
		if f.Culprit.Port != 0 {
			l.uint("port", uint64(f.Culprit.Port))
		}
		if f.Culprit.Role == tracker.Server && f.Service.IsValid() && f.Culprit.Addr == tcp.AddrFromNetip(f.Service.Addr()) {
			l.nonempty("name", f.ServiceName)
		}
		l.close('}')
	}
	l.time("since", f.Since)
	if f.For != 0 {
		l.seconds("for", f.For)
	}
	l.flag("for_at_least", f.ForAtLeast)
	l.string("summary", f.Summary)
	l.nonempty("cause", f.Cause)
	l.nonempty("next", f.NextStep())
	l.begin("evidence", '[')
	for i := range f.Evidence {
		e := &f.Evidence[i]
		l.beginElement()
		l.uint("packet", e.Packet)
		l.time("time", e.Time)
		l.string("from", e.From.String())
		l.string("flags", e.Flags.String())
		l.nonempty("meaning", e.Meaning)
		l.close('}')
	}
	l.close(']')
	l.uint("count", uint64(f.Count))
	if f.Culprits > 1 {
		l.uint("culprits", uint64(f.Culprits))
	}
	if len(f.Holders) > 0 {
		l.begin("processes", '[')
		for i := range f.Holders {
			l.beginElement()
			l.holder(&f.Holders[i])
			l.close('}')
		}
		l.close(']')
	}
	if f.Service.IsValid() {
		l.begin("service", '{')
		l.string("address", f.Service.Addr().String())
		if f.Service.Port() != 0 {
			l.uint("port", uint64(f.Service.Port()))
		}
		l.nonempty("name", f.ServiceName)
		l.close('}')
	}
	if threshold != nil {
		l.threshold("threshold", threshold(f.Kind))
	}
	if g := f.Growth; g != nil {
		l.begin("growth", '{')
		l.float("per_minute", g.PerMinute)
		l.uint("from", uint64(g.From))
		l.uint("to", uint64(g.To))
		l.seconds("over", g.Over)
		for _, limit := range g.Limits {
			l.seconds("until_"+strconv.Itoa(limit.Descriptors), limit.In.Truncate(time.Second))
		}
		l.close('}')
	}
}

func (l *jsonLines) summary(r *Report) {
	l.open("summary")
	l.uint("connections", uint64(r.Counts.Connections))
	l.begin("states", '{')
	for state, n := range r.Counts.States {
		if sum := n[tracker.Client] + n[tracker.Server]; sum > 0 {
			l.uint(tcp.State(state).String(), uint64(sum))
		}
	}
	l.close('}')
	l.begin("findings", '{')
	for severity, n := range severities(r.Findings) {
		if n > 0 {
			l.uint(diagnosis.Severity(severity).String(), uint64(n))
		}
	}
	l.close('}')
	l.bool("silence_trusted", r.Quality.Trusted())
	l.string("verdict", r.Quality.Verdict())
	l.end()
}

// named reports whether a culprit is an end, not the capture or the path.
func named(c diagnosis.Culprit) bool { return c.Addr != tcp.Addr{} }

func addrPort(a tcp.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Netip(), port) }

// appendTime appends ns since 1970 as RFC 3339 in UTC, always with nine digits, so that text sorts as time does.
func appendTime(b []byte, ns int64) []byte {
	return time.Unix(0, ns).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
}

// clock writes times as appendTime does, but remembers the second that it has written last: 33 ns against 357 where times
// are close to each other.
type clock struct {
	second int64
	text   [len("2006-01-02T15:04:05.")]byte
}

func (c *clock) append(b []byte, ns int64) []byte {
	second, fraction := ns/1e9, ns%1e9
	if fraction < 0 {
		second, fraction = second-1, fraction+1e9
	}
	if second != c.second || c.text[0] == 0 {
		c.second = second
		time.Unix(second, 0).UTC().AppendFormat(c.text[:0], "2006-01-02T15:04:05.")
	}
	b = append(b, c.text[:]...)
	var digits [10]byte
	for i := len(digits) - 2; i >= 0; i-- {
		digits[i] = byte('0' + fraction%10)
		fraction /= 10
	}
	digits[len(digits)-1] = 'Z'
	return append(b, digits[:]...)
}

// appendAddress appends the text of an address.
func appendAddress(b []byte, a tcp.Addr) []byte {
	if !a.Is4() {
		return a.Netip().AppendTo(b)
	}
	for shift := 24; shift >= 0; shift -= 8 {
		b = append(strconv.AppendUint(b, a.Lo>>shift&0xff, 10), '.')
	}
	return b[:len(b)-1]
}

// appendSeconds appends d as a decimal number of seconds, exactly.
func appendSeconds(b []byte, d time.Duration) []byte {
	if d < 0 {
		b = append(b, '-')
	}
	magnitude := uint64(d.Abs())
	b = strconv.AppendUint(b, magnitude/1e9, 10)
	fraction := magnitude % 1e9
	if fraction == 0 {
		return b
	}
	b = append(b, '.')
	for digit := uint64(1e8); fraction > 0; digit /= 10 {
		b = append(b, byte('0'+fraction/digit))
		fraction %= digit
	}
	return b
}

// appendJSONString appends s in quotes. Beyond what JSON demands, it escapes every character that a terminal could obey or
// a reader could not see, because JSON lines are read on terminals too.
func appendJSONString[text string | []byte](b []byte, s text) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		b = append(b, s[start:i]...)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == utf8.RuneError && size == 1 || printable.Hidden(r):
			b = appendEscapedRune(b, r)
		default:
			b = append(b, s[i:i+size]...)
		}
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscapedRune(b []byte, r rune) []byte {
	units := [2]rune{r}
	n := 1
	if r > 0xffff {
		r -= 0x10000
		units, n = [2]rune{0xd800 + r>>10, 0xdc00 + r&0x3ff}, 2
	}
	for _, unit := range units[:n] {
		b = append(b, '\\', 'u')
		for shift := 12; shift >= 0; shift -= 4 {
			b = append(b, "0123456789abcdef"[unit>>shift&0xf])
		}
	}
	return b
}
