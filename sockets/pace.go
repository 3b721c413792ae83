package sockets

import "time"

// pace spreads something out so that it takes no more than a share of a core.
type pace struct {
	every time.Duration // at least
	share float64

	last time.Time
	wait time.Duration // after last
}

// due reports whether it is time. A clock that was set back does not make it wait longer.
func (p *pace) due(now time.Time) bool {
	return p.last.IsZero() || now.Before(p.last) || now.Sub(p.last) >= p.wait
}

// ran notes that it was done, and the processor time that it took.
func (p *pace) ran(now time.Time, cost time.Duration) {
	p.last = now
	p.wait = max(p.every, time.Duration(float64(cost)/p.share))
}

// budget is processor time to be spent at will, within a share of a core in the long run.
type budget struct {
	share float64
	most  time.Duration // that can be saved up; what there is at first

	last time.Time
	left time.Duration // negative: in debt
}

// earn adds what has accrued until now, and returns what there is.
func (b *budget) earn(now time.Time) time.Duration {
	if b.last.IsZero() {
		b.left = b.most
	} else if d := now.Sub(b.last); d > 0 {
		b.left = min(b.most, b.left+time.Duration(float64(d)*b.share))
	}
	b.last = now
	return b.left
}

func (b *budget) spend(cost time.Duration) { b.left -= cost }
