package report

import (
	"bufio"
	"io"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"tcpleak/diagnosis"
	"tcpleak/tcp"
	"tcpleak/tracker"
)

// Version is the version of the JSON lines. Fields may be added within a version; none changes its name or meaning.
const Version = 1

// JSON writes r as one JSON object per line: the capture, each connection, each finding, a summary.
func JSON(w io.Writer, r Report) error {
	out := bufio.NewWriterSize(w, 1<<16)
	var line jsonLine
	line.capture(&r)
	if _, err := out.Write(line.end()); err != nil {
		return err
	}
	var counts tally
	for row := range r.Rows {
		counts.add(row.Connection)
		line.connection(&r, row)
		if _, err := out.Write(line.end()); err != nil {
			return err
		}
	}
	for i := range r.Findings {
		line.open("finding")
		line.finding(&r.Findings[i], r.Threshold)
		if _, err := out.Write(line.end()); err != nil {
			return err
		}
	}
	line.summary(&counts, &r)
	if _, err := out.Write(line.end()); err != nil {
		return err
	}
	return out.Flush()
}

// jsonLine appends one JSON object at a time. A million connections take 2.3 s this way and 6.4 s with encoding/json
// (BenchmarkJSON, 2 cores), which would be longer than reading their packets.
type jsonLine struct{ b []byte }

// open begins the line with its type.
func (l *jsonLine) open(kind string) {
	l.b = append(l.b[:0], '{')
	l.string("type", kind)
}

// end finishes the line and returns it; it is valid until the next one begins.
func (l *jsonLine) end() []byte {
	l.b = append(l.b, '}', '\n')
	return l.b
}

// key begins a member of the innermost object.
func (l *jsonLine) key(name string) {
	l.comma()
	l.b = append(l.b, '"')
	l.b = append(l.b, name...)
	l.b = append(l.b, '"', ':')
}

// comma separates from the member or element before, if there is one.
func (l *jsonLine) comma() {
	if last := l.b[len(l.b)-1]; last != '{' && last != '[' {
		l.b = append(l.b, ',')
	}
}

func (l *jsonLine) begin(name string, bracket byte) {
	l.key(name)
	l.b = append(l.b, bracket)
}

func (l *jsonLine) beginElement() {
	l.comma()
	l.b = append(l.b, '{')
}

func (l *jsonLine) close(bracket byte) { l.b = append(l.b, bracket) }

func (l *jsonLine) string(name, value string) {
	l.key(name)
	l.b = appendJSONString(l.b, value)
}

// text is a string that is absent when it is empty.
func (l *jsonLine) text(name, value string) {
	if value != "" {
		l.string(name, value)
	}
}

func (l *jsonLine) uint(name string, value uint64) {
	l.key(name)
	l.b = strconv.AppendUint(l.b, value, 10)
}

func (l *jsonLine) uintElement(value uint64) {
	l.comma()
	l.b = strconv.AppendUint(l.b, value, 10)
}

func (l *jsonLine) bool(name string, value bool) {
	l.key(name)
	l.b = strconv.AppendBool(l.b, value)
}

// flag is a bool that is absent when it is false.
func (l *jsonLine) flag(name string, value bool) {
	if value {
		l.bool(name, true)
	}
}

// time is absent when it is 0, which is unknown.
func (l *jsonLine) time(name string, ns int64) {
	if ns != 0 {
		l.key(name)
		l.b = append(l.b, '"')
		l.b = appendTime(l.b, ns)
		l.b = append(l.b, '"')
	}
}

func (l *jsonLine) seconds(name string, d time.Duration) {
	l.key(name)
	l.b = appendSeconds(l.b, d)
}

// float is rounded to what a reader can use.
func (l *jsonLine) float(name string, value float64) {
	l.key(name)
	l.b = strconv.AppendFloat(l.b, value, 'f', 2, 64)
}

func (l *jsonLine) address(a tcp.Addr) {
	l.key("address")
	l.b = append(l.b, '"')
	l.b = a.Netip().AppendTo(l.b)
	l.b = append(l.b, '"')
}

func (l *jsonLine) capture(r *Report) {
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
		l.text("detail", s.Detail)
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
	l.uint("evicted", c.Evicted)
	if r.Threshold == nil {
		return
	}
	l.begin("thresholds", '{')
	for _, about := range diagnosis.Kinds() {
		l.threshold(string(about.Kind), r.Threshold(about.Kind))
	}
	l.close('}')
}

// threshold is a number of seconds, a count, or both of them in that order; absent where there is none.
func (l *jsonLine) threshold(name string, t diagnosis.Threshold) {
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

func (l *jsonLine) connection(r *Report, row Row) {
	c := row.Connection
	client, server := &c.Ends[tracker.Client], &c.Ends[tracker.Server]
	l.open("connection")
	l.uint("id", c.ID)
	l.key("community_id")
	l.b = append(l.b, '"')
	l.b = appendCommunityID(l.b, client.Addr, client.Port, server.Addr, server.Port)
	l.b = append(l.b, '"')
	l.string("opened", c.Opened.String())
	l.string("visibility", c.Visibility.String())
	l.flag("roles_guessed", c.RolesGuessed)
	l.time("start", c.Start)
	l.time("last", c.Last)
	if c.HandshakeRTT != 0 {
		l.seconds("handshake_rtt", time.Duration(c.HandshakeRTT))
	}
	l.text("closed_first", c.ClosedFirst.String())
	l.text("ended_by", c.EndedBy.String())
	l.encapsulation(r.encapsulation(c.Encap))
	for role := range c.Ends {
		l.begin(tracker.Role(role).String(), '{')
		l.endpoint(&c.Ends[role])
		l.close('}')
	}
	l.begin("zeek", '{')
	l.string("conn_state", c.ZeekState)
	l.key("history")
	l.b = append(l.b, '"')
	l.b = append(c.ZeekHistory.AppendTo(l.b), '"') // letters that need no escape
	l.close('}')
	l.uint("wireshark_completeness", uint64(c.WiresharkCompleteness))
	if len(row.Findings) > 0 {
		l.begin("findings", '[')
		for _, id := range row.Findings {
			l.uintElement(uint64(id))
		}
		l.close(']')
	}
}

func (l *jsonLine) encapsulation(e tcp.Encapsulation) {
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

func (l *jsonLine) endpoint(e *tracker.Endpoint) {
	l.address(e.Addr)
	l.uint("port", uint64(e.Port))
	l.string("state", e.State.String())
	l.string("certainty", e.Certainty.String())
	l.time("since", e.Since)
	l.flag("since_at_least", e.SinceAtLeast)
	l.text("why", e.Why())
	l.uint("packets", e.Packets)
	l.uint("payload_bytes", e.PayloadBytes)
	l.uint("retransmitted", e.Retransmitted)
	l.uint("out_of_order", e.OutOfOrder)
	l.uint("missed_bytes", e.MissedBytes)
	l.uint("zero_windows", e.ZeroWindows)
}

func (l *jsonLine) finding(f *diagnosis.Finding, threshold func(diagnosis.Kind) diagnosis.Threshold) {
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
		l.close('}')
	}
	l.time("since", f.Since)
	if f.For != 0 {
		l.seconds("for", f.For)
	}
	l.flag("for_at_least", f.ForAtLeast)
	l.string("summary", f.Summary)
	l.text("cause", f.Cause)
	l.text("next", f.NextStep())
	l.begin("evidence", '[')
	for i := range f.Evidence {
		e := &f.Evidence[i]
		l.beginElement()
		l.uint("packet", e.Packet)
		l.time("time", e.Time)
		l.string("from", e.From.String())
		l.string("flags", e.Flags.String())
		l.text("meaning", e.Meaning)
		l.close('}')
	}
	l.close(']')
	l.uint("count", uint64(f.Count))
	if f.Culprits > 1 {
		l.uint("culprits", uint64(f.Culprits))
	}
	if f.Service.IsValid() {
		l.begin("service", '{')
		l.string("address", f.Service.Addr().String())
		if f.Service.Port() != 0 {
			l.uint("port", uint64(f.Service.Port()))
		}
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

func (l *jsonLine) summary(counts *tally, r *Report) {
	l.open("summary")
	l.uint("connections", counts.connections)
	l.begin("states", '{')
	for state, n := range counts.states {
		if sum := n[tracker.Client] + n[tracker.Server]; sum > 0 {
			l.uint(tcp.State(state).String(), sum)
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
}

// named reports whether a culprit is an end, not the capture or the path.
func named(c diagnosis.Culprit) bool { return c.Addr != tcp.Addr{} }

func addrPort(a tcp.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Netip(), port) }

// appendTime appends ns since 1970 as RFC 3339 in UTC, always with nine digits, so that text sorts as time does.
func appendTime(b []byte, ns int64) []byte {
	return time.Unix(0, ns).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
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
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		b = append(b, s[start:i]...)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == utf8.RuneError && size == 1 || hidden(r):
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
