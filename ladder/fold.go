package ladder

import (
	"time"

	"tcpleak/tcp"
)

const (
	// quiet is the silence that ends a run: what comes after it is a story of its own.
	quiet = int64(time.Second)
	// maxSteps is how many steps a ladder has at most; beyond it, those in the middle are told as one.
	maxSteps = 200
	kept     = maxSteps / 4 // steps at the beginning and at the end that stay as they are
)

// append adds a step, or makes it part of those before.
func (l *telling) append(step Step) {
	steps := &l.ladder.Steps
	if n := len(*steps); n > 0 && (*steps)[n-1].absorbs(&step) {
		(*steps)[n-1].add(&step)
	} else {
		*steps = append(*steps, step)
	}
	l.ladder.pair()
	if len(*steps) > maxSteps {
		l.ladder.fold()
	}
}

// pair makes one exchange of two that are alike, such as a probe and its answer twice; it begins with what is answered.
func (d *Ladder) pair() {
	n := len(d.Steps)
	if n < 4 {
		return
	}
	s := d.Steps[n-4:]
	if s[0].Kind != Segment || s[0].answers || s[1].Changed != [2]bool{} || !s[0].repeatedBy(&s[2]) || !s[1].repeatedBy(&s[3]) {
		return
	}
	s[0].add(&s[2])
	s[1].add(&s[3])
	d.Steps = d.Steps[:n-2]
}

// absorbs reports whether next tells nothing new after s.
func (s *Step) absorbs(next *Step) bool {
	return s.repeatedBy(next) && (s.Kind != Run || next.Time-s.Last < quiet)
}

// repeatedBy reports whether next is the same again, from the same end; all runs are.
func (s *Step) repeatedBy(next *Step) bool {
	if next.Kind != s.Kind || next.Changed != [2]bool{} {
		return false
	}
	switch s.Kind {
	case Run:
		return true
	case Segment:
		return next.From == s.From && next.Flags == s.Flags && next.Note == s.Note && next.Phase == s.Phase && (next.Trouble || next.Phase == "")
	}
	return false
}

func (s *Step) add(next *Step) {
	s.Last = max(s.Last, next.Last)
	if next.LastPacket != 0 {
		s.LastPacket = next.LastPacket
	}
	if s.Kind == Run {
		s.Flags, s.Seq, s.Ack = 0, 0, 0
	}
	for role := range s.Segments {
		s.Segments[role] += next.Segments[role]
		s.Payload[role] += next.Payload[role]
		s.Again[role] += next.Again[role]
		s.Changed[role] = s.Changed[role] || next.Changed[role]
	}
	s.States, s.Certainty = next.States, next.Certainty
	s.Trouble = s.Trouble || next.Trouble
}

// fold makes room: in the middle, what changed no state becomes runs; if that is not enough, all of it one step.
func (d *Ladder) fold() {
	middle := d.Steps[kept : len(d.Steps)-kept]
	folded := append([]Step(nil), d.Steps[:kept]...)
	for i := range middle {
		step := middle[i]
		if step.Changed == [2]bool{} && step.Kind != Left && !step.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST) {
			step = step.asRun()
		}
		if last := &folded[len(folded)-1]; len(folded) > kept && step.Kind == Run && last.Kind == Run {
			last.add(&step)
			continue
		}
		folded = append(folded, step)
	}
	if len(folded) > kept+len(middle)/2 {
		all := Step{Kind: Left, Time: folded[kept].Time, Packet: folded[kept].Packet}
		for i := range folded[kept:] {
			all.add(&folded[kept+i])
		}
		folded = append(folded[:kept], all)
	}
	d.Steps = append(folded, d.Steps[len(d.Steps)-kept:]...)
}

// asRun drops what only a single segment has.
func (s *Step) asRun() Step {
	run := *s
	run.Kind, run.Flags, run.Seq, run.Ack, run.Phase, run.Note = Run, 0, 0, 0, "", ""
	return run
}
