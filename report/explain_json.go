package report

import (
	"io"
	"time"

	"tcpleak/ladder"
	"tcpleak/tracker"
)

// ExplainJSON writes e as JSON lines: the connection as in a report, each step, what is missing, and the findings. r has the
// names of the encapsulations and the thresholds.
func ExplainJSON(w io.Writer, e *Explanation, r *Report) error {
	var l jsonLines
	d := &e.Ladder
	var ids []int
	for i := range e.Findings {
		ids = append(ids, e.Findings[i].ID)
	}
	l.connection(r, &d.Connection, ids)
	for i := range d.Steps {
		l.step(d, i)
	}
	l.missing(d)
	for i := range e.Findings {
		l.open("finding")
		l.finding(&e.Findings[i], r.Threshold)
		l.end()
	}
	_, err := w.Write(l.b)
	return err
}

// ConnectionJSON writes e as one JSON object: {"connection":{…},"steps":[…],"missing":{…},"findings":[…]}, of which each is as
// in ExplainJSON.
func ConnectionJSON(w io.Writer, e *Explanation, r *Report) error {
	l := jsonLines{b: []byte{'{'}}
	d := &e.Ladder
	var ids []int
	for i := range e.Findings {
		ids = append(ids, e.Findings[i].ID)
	}
	element := func(write func()) {
		write()
		l.b = l.b[:len(l.b)-1] // the end of the line
	}
	l.key("connection")
	element(func() { l.connection(r, &d.Connection, ids) })
	l.begin("steps", '[')
	for i := range d.Steps {
		l.comma()
		element(func() { l.step(d, i) })
	}
	l.close(']')
	l.key("missing")
	element(func() { l.missing(d) })
	l.begin("findings", '[')
	for i := range e.Findings {
		l.comma()
		element(func() {
			l.open("finding")
			l.finding(&e.Findings[i], r.Threshold)
			l.end()
		})
	}
	l.b = append(l.b, ']', '}', '\n')
	_, err := w.Write(l.b)
	return err
}

func (l *jsonLines) step(d *ladder.Ladder, i int) {
	s := &d.Steps[i]
	l.open("step")
	l.uint("connection", d.Connection.ID)
	l.uint("step", uint64(i+1))
	l.string("kind", s.Kind.String())
	l.time("time", s.Time)
	if s.Last > s.Time {
		l.seconds("for", time.Duration(s.Last-s.Time))
	}
	if s.Packet != 0 {
		l.uint("packet", s.Packet)
	}
	if s.LastPacket != s.Packet {
		l.uint("last_packet", s.LastPacket)
	}
	one := s.Single()
	if one || s.Kind == ladder.Pause {
		l.string("from", s.From.String())
	}
	if one {
		l.string("flags", s.Flags.String())
		if !d.Outlined {
			l.uint("seq", uint64(s.Seq))
			l.uint("ack", uint64(s.Ack))
		}
	}
	for role := tracker.Client; role <= tracker.Server; role++ {
		l.begin(role.String(), '{')
		l.string("state", s.States[role].String())
		l.string("certainty", s.Certainty[role].String())
		l.uint("packets", s.Segments[role])
		l.uint("payload_bytes", s.Payload[role])
		l.uint("sent_again", s.Again[role])
		l.close('}')
	}
	l.nonempty("phase", s.Phase)
	l.nonempty("note", s.Note)
	l.flag("trouble", s.Trouble)
	l.end()
}

func (l *jsonLines) missing(d *ladder.Ladder) {
	m := &d.Missing
	l.open("missing")
	l.uint("connection", d.Connection.ID)
	if m.Since != 0 {
		l.string("from", m.From.String())
		l.nonempty("phase", m.Phase)
		l.time("since", m.Since)
		l.seconds("for", time.Duration(max(d.Now-m.Since, 0)))
	}
	l.string("text", m.Text)
	l.end()
}
