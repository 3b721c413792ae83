package capture

import (
	"testing"
	"time"
)

// desk is a host with a clock that somebody sets.
type desk struct{ unset, ahead time.Duration }

func (d *desk) clocks() (set, unset int64) { return int64(d.unset + d.ahead), int64(d.unset) }

// stamp is the time of a packet that arrives now.
func (d *desk) stamp() int64 { return int64(d.unset + d.ahead) }

func TestTimesGoOnWhenTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, 24 * time.Hour, -time.Second, 1500 * time.Millisecond} {
		d := &desk{unset: time.Minute, ahead: 1000 * time.Hour}
		s := newSteady(d.clocks)
		begin := s.at(d.stamp())
		d.unset += time.Second
		late := d.stamp()
		d.ahead += by
		d.unset += time.Second / 10
		diff(t, "of before, read after", time.Second, time.Duration(s.at(late)-begin))
		diff(t, "the first after", time.Second+time.Second/10, time.Duration(s.at(d.stamp())-begin))
		d.unset += time.Hour
		diff(t, "an hour later", time.Hour+time.Second+time.Second/10, time.Duration(s.at(d.stamp())-begin))
		diff(t, "moved", -by, time.Duration(s.move))
		d.ahead -= by // and back
		d.unset += 4 * time.Second
		diff(t, "set back to what it was", time.Hour+5*time.Second+time.Second/10, time.Duration(s.at(d.stamp())-begin))
		diff(t, "moved in the end", time.Duration(0), time.Duration(s.move))
	}
}

func TestASteadyClockIsLeftAlone(t *testing.T) {
	d := &desk{ahead: 1000 * time.Hour}
	s := newSteady(d.clocks)
	for _, silence := range []time.Duration{0, time.Millisecond, 400 * time.Millisecond, time.Minute, 48 * time.Hour} {
		d.unset += silence
		diff(t, "after silence", d.stamp(), s.at(d.stamp()))
	}
	waited := d.stamp()
	d.unset += 10 * time.Second
	diff(t, "read late", waited, s.at(waited))
	for range 1000 { // NTP leads it back slowly
		d.ahead -= 100 * time.Microsecond
		d.unset += time.Second
		if got := s.at(d.stamp()); got != d.stamp() {
			t.Fatalf("moved by %v", time.Duration(got-d.stamp()))
		}
	}
}
