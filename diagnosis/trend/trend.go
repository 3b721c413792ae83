// Package trend says whether a series of counts keeps growing, and how fast.
package trend

import (
	"math"
	"slices"
)

// exactBelow is the number of values from which MannKendall takes the normal approximation.
const exactBelow = 10

// MannKendall tests values, in the order of time, for an increasing trend. S counts the pairs of which the later value is
// the greater, less those of which it is the smaller; p, in 0 to 1, is the probability of an S at least as great if the
// values were exchangeable: independent, without a trend. What depends on its predecessor, as most counts of connections
// do, makes a small p far more often than p says. If all values are equal, or there are fewer than two, S is 0 and p is 1.
//
// For fewer than 10 values p is exact. From there on it is the normal approximation with continuity correction, its variance
// corrected for ties (Mann 1945, Econometrica 13:245; Kendall 1975, Rank Correlation Methods; for ties, Gilbert 1987,
// Statistical Methods for Environmental Pollution Monitoring, 16.4).
//
// It takes O(n²) time and is meant for some hundred values. NaN is not allowed.
func MannKendall(values []float64) (s int, p float64) {
	for i, v := range values {
		for _, later := range values[i+1:] {
			switch {
			case later > v:
				s++
			case later < v:
				s--
			}
		}
	}
	n, ties := len(values), groups(values)
	if len(ties) < 2 {
		return 0, 1
	}
	if n < exactBelow {
		return s, exactTail(s, n, ties)
	}
	variance := spread(n)
	for _, t := range ties {
		variance -= spread(t)
	}
	// S goes in steps of two, so that S ≥ s is S > s-1.
	return s, math.Erfc((float64(s)-1)/math.Sqrt(2*variance)) / 2
}

// spread is the variance of S for n values without ties, and what a group of n equal values takes from it.
func spread(n int) float64 {
	f := float64(n)
	return f * (f - 1) * (2*f + 5) / 18
}

// groups returns how often each distinct value occurs.
func groups(values []float64) (sizes []int) {
	sorted := slices.Sorted(slices.Values(values))
	for i, v := range sorted {
		if i > 0 && v == sorted[i-1] {
			sizes[len(sizes)-1]++
		} else {
			sizes = append(sizes, 1)
		}
	}
	return sizes
}

// exactTail returns the probability of an S of s or more for n values of which each group of ties is equal. The orders of
// such values, by their number of inversions, are the coefficients of a Gaussian multinomial (MacMahon 1913): the product
// over j to n of (1-qʲ)/(1-q), divided by the same for every group.
func exactTail(s, n int, ties []int) float64 {
	pairs := n * (n - 1) / 2
	orders := make([]int, pairs+1) // by inversions, as a power series
	orders[0] = 1
	times := func(j int) { // times 1-qʲ
		for i := pairs; i >= j; i-- {
			orders[i] -= orders[i-j]
		}
	}
	over := func(j int) { // divided by 1-qʲ
		for i := j; i <= pairs; i++ {
			orders[i] += orders[i-j]
		}
	}
	for j := 2; j <= n; j++ {
		times(j)
		over(1)
	}
	unequal := pairs
	for _, t := range ties {
		for j := 2; j <= t; j++ {
			times(1)
			over(j)
		}
		unequal -= t * (t - 1) / 2
	}
	tail, all := 0, 0
	for inversions, k := range orders {
		if unequal-2*inversions >= s {
			tail += k
		}
		all += k
	}
	return float64(tail) / float64(all)
}

// TheilSen returns the median slope of all pairs of values, per second (Theil 1950; Sen 1968, JASA 63:1379): it stands up to
// outliers in somewhat more than a quarter of the values. Times are nanoseconds since 1970, ascending, one for each value;
// pairs at the same time are skipped, and without any other pair the slope is 0.
//
// It takes O(n² log n) time and 4n² octets, and is meant for some hundred values. NaN is not allowed.
func TheilSen(times []int64, values []float64) (slope float64) {
	slopes := make([]float64, 0, len(values)*len(values)/2)
	for i, v := range values {
		for j := i + 1; j < len(values); j++ {
			if d := times[j] - times[i]; d != 0 {
				slopes = append(slopes, (values[j]-v)/float64(d)*1e9)
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	mid := len(slopes) / 2
	if len(slopes)%2 == 1 {
		return slopes[mid]
	}
	return slopes[mid-1]/2 + slopes[mid]/2
}
