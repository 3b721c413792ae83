package trend

import "math"

// Significance is the p of MannKendall below which Grows takes a trend for more than chance.
const Significance = 0.01

const (
	parts = 8 // of equal time, two to a quarter
	// minClear is by how many standard deviations of the levels around it the trend must rise. For a random walk, which is
	// what a pool looks like whose connections outlive the watch, half exceed 3.7, up or down, and 3 or 4 in 100 rise by more
	// than 12. A leak of k connections that arrive at random does so by about √15k: ten is about the smallest that is seen.
	minClear = 12
	// minShare is the part of the whole slope that a quarter must reach to count as growing. What has come to rest has 0 plus
	// noise, and what leaks evenly 1 plus noise.
	minShare = 0.5
)

// Grows reports whether values keep growing, and the slope of TheilSen, per second, whether they do or not. Times are
// nanoseconds since 1970, ascending, one for each value. It looks at the mean of each eighth of the time, its level, and
// demands that
//
//   - MannKendall's p is below Significance, and the slope positive;
//   - the rise along the trend line is more than 12 times the standard deviation of the levels around it. Averages of what
//     is independent from sample to sample scatter little, those of what wanders scatter much, which p does not know
//     (compare Vogelsang 1998, Econometrica 66:123);
//   - at least three of the four quarters rise, from the level at the end of the one before (for the first, from the level
//     at its own start) to that at their end, at half the slope or faster, the last quarter among them.
//
// A series without a sample in some eighth of its time does not grow, so fewer than 8 never do.
//
// How often it says so, in the simulations of the tests, at the worst of 30, 60 and 120 samples; W is the time from the first
// to the last:
//
//	white noise, sine and sawtooth of 2 to 6 periods, a single step       at most 0.3 %
//	pool at steady state (M/M/∞) of 3 to 200 connections held W/10        at most 0.1 %
//	the same, held W/4; W/2; W; 2 W or longer                             0.4 %; 1.0 %; 1.7 %; 2.9 %
//	random walk                                                           3.0 %
//	pool that fills and stays, connections held W/10; W/5                 0.2 %; 3.3 %
//	ramp until W/2; 0.6 W; 0.7 W, with noise of 3 times as below          0; 1 %; 6 %, 0 from 60 samples
//	steady leak of 10 to 200, noise of 3 times the growth in a sample     92 %, 100 % from 60 samples
//	the same, 5 times                                                     53 %, 99 % from 60 samples
//	leak at random times of 10; 20; 50; 200                               58 %; 84 %; 98 %; 100 %
//	the same on a pool of 5 whose connections are held W/50               13 %; 54 %; 94 %; 100 %
//	the same on a pool of 20                                              2 %; 17 %; 82 %; 100 %
//
// MannKendall's p alone would call 30 to 44 % of the random walks and of the pools held W or longer growing (but 17 to 20 % of
// the small and slow ones), and most of those that step or fill.
//
// What it cannot tell: a pool whose connections live about as long as W, or longer, may happen to grow all along, and one that
// warmed up for more than two thirds of W has not rested for long enough to see. A longer series shows both. A leak on top of
// a pool that breathes by as much is missed until it has outgrown that; so is one that comes in two or three bursts.
//
// It takes as long as MannKendall and TheilSen. NaN is not allowed.
func Grows(times []int64, values []float64) (perSecond float64, grows bool) {
	slope := TheilSen(times, values)
	if slope <= 0 {
		return slope, false
	}
	if _, p := MannKendall(values); p >= Significance {
		return slope, false
	}
	levels, ok := levelsOf(times, values)
	if !ok {
		return slope, false
	}
	rise := slope * seconds(times[len(times)-1]-times[0])
	if rise <= minClear*levels.scatter(slope) {
		return slope, false
	}
	return slope, levels.keepRising(minShare * slope)
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// A level is what the samples of an eighth are on average. It is the mean and not the median, since the median of counts that
// grow by one now and then stands still.
type level struct {
	at    float64 // seconds after the first sample
	value float64
}

type levels [parts]level

// levelsOf is false if an eighth has no sample.
func levelsOf(times []int64, values []float64) (l levels, ok bool) {
	first, last := times[0], times[len(times)-1]
	if first == last {
		return l, false
	}
	var n [parts]float64
	for i, v := range values {
		part := min(int(parts*(float64(times[i]-first)/float64(last-first))), parts-1)
		l[part].at += seconds(times[i] - first)
		l[part].value += v
		n[part]++
	}
	for i := range l {
		if n[i] == 0 {
			return l, false
		}
		l[i].at /= n[i]
		l[i].value /= n[i]
	}
	return l, true
}

// scatter returns the standard deviation of the levels around a line of the given slope.
func (l *levels) scatter(slope float64) float64 {
	mean := 0.0
	for _, e := range l {
		mean += (e.value - slope*e.at) / parts
	}
	squares := 0.0
	for _, e := range l {
		d := e.value - slope*e.at - mean
		squares += d * d
	}
	return math.Sqrt(squares / parts)
}

// keepRising reports whether at least three quarters, with the last, rise by atLeast per second.
func (l *levels) keepRising(atLeast float64) bool {
	rising, last := 0, false
	from := l[0]
	for end := 1; end < parts; end += 2 {
		to := l[end]
		last = to.value-from.value >= atLeast*(to.at-from.at)
		if last {
			rising++
		}
		from = to
	}
	return last && rising >= 3
}
