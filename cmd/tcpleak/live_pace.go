package main

import (
	"slices"
	"time"
)

const (
	// lookEvery is how often the connections are judged at most. It takes two or three microseconds for each, which the processors
	// share.
	lookEvery = 500 * time.Millisecond
	// lookShare bounds what that costs where there are many: a fifteenth of a core; restShare, where hardly anything passes, and
	// always if nobody watches: a fiftieth. Who watches an idle machine may not make it a busy one.
	lookShare = 15
	restShare = 50
	// lookAtLeast bounds the wait for the next judgement, whatever they take, if there is something to judge; restAtLeast, where
	// hardly anything passes.
	lookAtLeast = 10 * time.Second
	restAtLeast = 20 * time.Second
	// restRate is how many packets a second are hardly any.
	restRate = 100
	// saveUpTo is how many judgements may be saved for later. What is urgent may have the last of them.
	saveUpTo = 2
	// gather is how long what is urgent waits for more of its kind, where judgements are dear.
	gather = 500 * time.Millisecond
)

// pace spreads judgements out: they take their share of a core in the long run, and what they leave of it is saved for later.
type pace struct {
	unwatched bool
	last      time.Time
	packets   uint64 // until then
	costs     [3]time.Duration
	n         int
	saved     float64 // judgements, at last
}

// may reports whether to judge at a time, after so many packets; urgent is what should not wait for the share.
func (p *pace) may(at time.Time, packets uint64, urgent bool) bool {
	_, most := p.share(at, packets)
	since := at.Sub(p.last)
	switch {
	case p.n == 0 || since >= most:
		return true
	case since < lookEvery:
		return false
	case urgent:
		return p.left(at, packets) >= 1
	}
	return p.left(at, packets) >= saveUpTo
}

// spend takes in what a judgement took of the processors that was made at a time, after so many packets.
func (p *pace) spend(at time.Time, packets uint64, cost time.Duration) {
	if p.n == 0 {
		p.costs = [...]time.Duration{cost, cost, cost}
		p.saved = saveUpTo
	}
	p.saved = max(p.left(at, packets)-1, 0)
	p.costs[p.n%len(p.costs)] = cost
	p.n++
	p.last, p.packets = at, packets
}

// left returns how many judgements may be made at a time.
func (p *pace) left(at time.Time, packets uint64) float64 {
	share, _ := p.share(at, packets)
	return min(p.saved+at.Sub(p.last).Seconds()/(share*max(p.usual(), 1)).Seconds(), saveUpTo)
}

// share returns how many times as long as a judgement takes is to lie between two, and the time that lies between them at most.
func (p *pace) share(at time.Time, packets uint64) (share, most time.Duration) {
	switch rest := float64(packets-p.packets) < restRate*at.Sub(p.last).Seconds(); {
	case p.unwatched:
		return restShare, lookAtLeast
	case rest:
		return restShare, restAtLeast
	}
	return lookShare, lookAtLeast
}

// usual is what a judgement takes. What others do with the processors now and then makes one dear, and is no reason to wait.
func (p *pace) usual() time.Duration {
	usual := p.costs
	slices.Sort(usual[:])
	return usual[1]
}

// gather returns how long what is urgent may wait for more of its kind.
func (p *pace) gather() time.Duration { return min(4*p.usual(), gather) }
