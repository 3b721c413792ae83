package report

import (
	"fmt"
	"io"
	"time"

	"tcpleak/diagnosis"
)

// EventText writes e as one line for people, with the time of day at location.
func EventText(w io.Writer, e *diagnosis.Event, location *time.Location) error {
	f := &e.Finding
	line := fmt.Sprintf("%s %s %s %s:", time.Unix(0, e.Time).In(location).Format(time.TimeOnly), f.Severity, f.Kind, e.Change)
	if named(f.Culprit) {
		line += " " + culpritText(f)
	}
	switch {
	case f.Count > 0 && len(f.Connections) == 0:
		line += " (" + counted(f) + ")"
	case f.Count > 0:
		line += " (" + connectionList(f) + ")"
	}
	switch {
	case e.Change == diagnosis.Cleared && f.For == 0:
		line += ": it has not happened again"
	case e.Change == diagnosis.Cleared:
		line += " after " + atLeast(f.ForAtLeast) + diagnosis.Age(f.For)
	default:
		line += ": " + f.Summary
		if len(f.Holders) > 0 {
			line += " Held by " + Holders(f) + "."
		}
		if f.Next != "" {
			line += " Next: " + f.NextStep()
		}
	}
	_, err := io.WriteString(w, Clean(line)+"\n")
	return err
}

// EventJSON writes e as a JSON line.
func EventJSON(w io.Writer, e *diagnosis.Event) error {
	var line jsonLines
	line.open("event")
	line.string("event", e.Change.String())
	line.time("time", e.Time)
	line.begin("finding", '{')
	line.finding(&e.Finding, nil)
	line.close('}')
	line.end()
	_, err := w.Write(line.b)
	return err
}
