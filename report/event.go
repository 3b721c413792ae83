package report

import (
	"fmt"
	"io"
	"time"

	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

// Event is a finding that begins or ends while a capture runs.
type Event struct {
	Cleared    bool  // the condition is over; else it has begun
	Time       int64 // ns since 1970
	Finding    *diagnosis.Finding
	Connection *tracker.Connection // the finding's only connection, or nil
}

func (e *Event) word() string {
	if e.Cleared {
		return "cleared"
	}
	return "raised"
}

// EventText writes e as one line for people, with the time of day at location.
func EventText(w io.Writer, e Event, location *time.Location) error {
	f := e.Finding
	line := fmt.Sprintf("%s %s %s %s:", time.Unix(0, e.Time).In(location).Format(time.TimeOnly), f.Severity, f.Kind, e.word())
	if named(f.Culprit) {
		line += " " + f.Culprit.Role.String() + " " + culpritText(f.Culprit)
	}
	switch {
	case e.Connection != nil:
		peer := &e.Connection.Ends[f.Culprit.Role.Peer()]
		line += fmt.Sprintf(" (connection %d from %s)", e.Connection.ID, addrPort(peer.Addr, peer.Port))
	case len(f.Connections) > 0:
		line += " (" + connectionList(f.Connections) + ")"
	}
	if e.Cleared {
		line += " after " + atLeast(f.ForAtLeast) + age(f.For)
	} else {
		line += ": " + f.Summary
		if f.Next != "" {
			line += " Next: " + f.Next
		}
	}
	_, err := io.WriteString(w, Clean(line)+"\n")
	return err
}

// EventJSON writes e as a JSON line.
func EventJSON(w io.Writer, e Event) error {
	var line jsonLine
	line.open("event")
	line.string("event", e.word())
	line.time("time", e.Time)
	line.begin("finding", '{')
	line.finding(e.Finding)
	line.close('}')
	_, err := w.Write(line.end())
	return err
}
