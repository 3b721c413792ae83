package trend_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tcpleak/diagnosis/trend"
)

func closeTo(got, want float64) bool { return math.Abs(got-want) <= 1e-9*max(1e-3, math.Abs(want)) }

// nile is the annual flow at Aswan from 1871 to 1970 in 10⁸ m³ (Cobb 1978, Biometrika 65:243; data set Nile of R), backwards,
// since it fell.
var nile = []float64{
	740, 714, 718, 919, 746, 912, 1170, 901, 906, 1020, 815, 975, 923, 797, 986, 918, 1050, 838, 749, 744,
	890, 848, 874, 860, 1040, 801, 742, 812, 846, 649, 676, 771, 1010, 822, 897, 984, 944, 845, 865, 781,
	759, 1040, 796, 744, 845, 698, 862, 864, 845, 768, 821, 764, 832, 1100, 1120, 702, 824, 456, 726, 831,
	969, 1050, 1020, 692, 916, 701, 833, 940, 694, 874, 840, 774, 1100, 1030, 1220, 1260, 1250, 1150, 1210, 1100,
	1140, 958, 799, 1180, 960, 1020, 994, 1110, 935, 995, 1140, 1370, 1230, 813, 1160, 1160, 1210, 963, 1160, 1120,
}

// The expected values are those of R 4.2.2: cor.test(1:n, x, method="kendall", alternative="greater", continuity=TRUE), which
// is exact without ties for few values, and median of outer(x, x, "-") / outer(t, t, "-"). R corrects for continuity towards
// S = 0, so that it gives the p meant here only for S > 0, or where it is exact.
func TestReference(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		s      int
		p      float64
		slope  float64 // per sample
	}{
		{"four that rise (Gilbert 1987, table A18: 0.042)", []float64{1, 2, 3, 4}, 6, 0.04166666667, 1},
		{"five that rise (Gilbert 1987, table A18: 0.0083)", []float64{1, 2, 3, 4, 5}, 10, 0.008333333333, 1},
		{"five that fall", []float64{5, 4, 3, 2, 1}, -10, 1, -1},
		{"six without trend", []float64{9, 1, 8, 2, 7, 3}, -3, 0.7652777778, -0.5},
		{"nine", []float64{3, 1, 4, 2, 5, 6, 8, 7, 9}, 28, 0.001212522046, 0.9166666667},
		// Little, Montserrat seminar, College of the Holy Cross: S = 54, Z = 2.9058, p about .0018.
		{
			"published, one tie",
			[]float64{12.9, 14.8, 13.2, 15.7, 13.8, 15.6, 12.9, 11.0, 17.3, 15.9, 19.0, 18.3, 20.1, 21.7}, 54, 0.001831361881, 0.5666666667,
		},
		{
			"counts with many ties",
			[]float64{4, 4, 5, 4, 6, 5, 5, 7, 6, 8, 7, 7, 9, 8, 8, 10, 9, 9, 11, 10}, 151, 4.336605619e-07, 0.3333333333,
		},
		{"Nile", nile, 1387, 1.829131461e-05, 2.6},
		{"all tied", []float64{7, 7, 7, 7, 7}, 0, 1, 0},
		{"one", []float64{7}, 0, 1, 0},
		{"none", nil, 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, p := trend.MannKendall(c.values)
			if s != c.s || !closeTo(p, c.p) {
				t.Errorf("MannKendall: S %d, p %.10g; want %d, %.10g", s, p, c.s, c.p)
			}
			if slope := trend.TheilSen(every(1e9, len(c.values)), c.values); !closeTo(slope, c.slope) {
				t.Errorf("TheilSen: %.10g, want %.10g", slope, c.slope)
			}
		})
	}
}

// every returns n times, step ns apart.
func every(step int64, n int) []int64 {
	times := make([]int64, n)
	for i := range times {
		times[i] = 1_700_000_000e9 + int64(i)*step
	}
	return times
}

func TestTheilSenTimes(t *testing.T) {
	for _, c := range []struct {
		name   string
		times  []int64
		values []float64
		want   float64
	}{
		{"uneven", []int64{0, 1e9, 3e9, 4e9}, []float64{10, 15, 14, 20}, 2.083333333333}, // R as above
		{"equal times are skipped", []int64{0, 0, 2e9}, []float64{1, 3, 5}, 1.5},
		{"one time only", []int64{5, 5, 5}, []float64{1, 2, 3}, 0},
		{"an outlier", every(1e9, 9), []float64{0, 1, 2, 3, 900, 5, 6, 7, 8}, 1},
		{"a count an hour", every(3600e9, 3), []float64{0, 1, 2}, 1.0 / 3600},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := trend.TheilSen(c.times, c.values); !closeTo(got, c.want) {
				t.Errorf("%.10g, want %.10g", got, c.want)
			}
		})
	}
}

// What is exact agrees with counting all orders, with ties and without.
func TestFewValuesAreExact(t *testing.T) {
	for _, values := range [][]float64{
		{1, 2}, {1, 1, 2}, {1, 2, 3, 4, 5, 6}, {1, 1, 2, 2, 3, 3}, {1, 1, 1, 1, 1, 2}, {1, 2, 2, 2, 3, 4, 4}, {0, 0, 0, 1, 1, 1, 1},
	} {
		var all []int
		orders(slices.Clone(values), len(values), func(order []float64) {
			s, _ := trend.MannKendall(order)
			all = append(all, s)
		})
		r := rand.New(rand.NewPCG(1, uint64(len(values))))
		for range 20 {
			r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			s, p := trend.MannKendall(values)
			atLeast := 0
			for _, other := range all {
				if other >= s {
					atLeast++
				}
			}
			if want := float64(atLeast) / float64(len(all)); !closeTo(p, want) {
				t.Errorf("%v: S %d, p %g, want %g", values, s, p, want)
			}
		}
	}
}

// orders calls visit with all orders of v's first n (Heap 1963).
func orders(v []float64, n int, visit func([]float64)) {
	if n <= 1 {
		visit(v)
		return
	}
	for i := range n {
		orders(v, n-1, visit)
		if n%2 == 0 {
			v[i], v[n-1] = v[n-1], v[i]
		} else {
			v[0], v[n-1] = v[n-1], v[0]
		}
	}
}

// With the tenth value comes the normal approximation: at the p that matters it is close to what is exact.
func TestApproximationJoinsTheExact(t *testing.T) {
	// Gilbert 1987, table A18: S of 23 for 10 values, 0.023.
	s, p := trend.MannKendall([]float64{2, 1, 4, 0, 6, 3, 9, 5, 8, 7})
	if s != 23 || math.Abs(p-0.023) > 0.002 {
		t.Errorf("S %d, p %.4f; want 23 and 0.023 within 0.002", s, p)
	}
}

func TestProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := 2 + r.IntN(60)
		values, times := make([]float64, n), make([]int64, n)
		for i := range values {
			values[i] = float64(r.IntN(20) + i/4)
			times[i] = int64(i)*1e9 + r.Int64N(1e9)
		}
		s, p := trend.MannKendall(values)
		slope := trend.TheilSen(times, values)
		_, grows := trend.Grows(times, values)
		if p < 0 || p > 1 {
			t.Fatalf("p %g of %v", p, values)
		}

		backwards, reflected := slices.Clone(values), slices.Clone(times)
		slices.Reverse(backwards)
		slices.Reverse(reflected)
		for i, at := range reflected {
			reflected[i] = times[n-1] - at
		}
		if got, _ := trend.MannKendall(backwards); got != -s {
			t.Fatalf("backwards S %d, want %d: %v", got, -s, values)
		}
		if got := trend.TheilSen(reflected, backwards); !closeTo(got, -slope) {
			t.Fatalf("backwards slope %g, want %g: %v", got, -slope, values)
		}

		moved, later, scaled, slower := slices.Clone(values), slices.Clone(times), slices.Clone(values), slices.Clone(times)
		for i := range n {
			moved[i] += 1000
			later[i] += 1_700_000_000e9
			scaled[i] *= 4
			slower[i] *= 8
		}
		if gotS, gotP := trend.MannKendall(moved); gotS != s || gotP != p {
			t.Fatalf("plus 1000: S %d, p %g; want %d, %g", gotS, gotP, s, p)
		}
		if gotS, gotP := trend.MannKendall(scaled); gotS != s || gotP != p {
			t.Fatalf("times 4: S %d, p %g; want %d, %g", gotS, gotP, s, p)
		}
		for _, c := range []struct {
			name   string
			times  []int64
			values []float64
			slope  float64
		}{
			{"plus 1000", times, moved, slope},
			{"later", later, values, slope},
			{"times 4", times, scaled, slope * 4},
			{"8 times slower", slower, values, slope / 8},
		} {
			if got, gotGrows := trend.Grows(c.times, c.values); !closeTo(got, c.slope) || gotGrows != grows {
				t.Fatalf("%s: slope %g, grows %v; want %g, %v", c.name, got, gotGrows, c.slope, grows)
			}
		}
	}
}

func TestGrowsEdges(t *testing.T) {
	line := func(n int) []float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(i)
		}
		return values
	}
	gap := every(1e9, 40)
	for i := 20; i < 40; i++ {
		gap[i] += 15e9
	}
	uneven := every(1e9, 40)
	for i := range uneven {
		uneven[i] += int64(i*i) * 2e7
	}
	onUneven := make([]float64, len(uneven))
	for i, at := range uneven {
		onUneven[i] = float64((at - uneven[0]) / 1e9)
	}
	for _, c := range []struct {
		name   string
		times  []int64
		values []float64
		want   bool
	}{
		{"none", nil, nil, false},
		{"one", every(1e9, 1), line(1), false},
		{"seven leave an eighth empty", every(1e9, 7), line(7), false},
		{"eight", every(1e9, 8), line(8), true},
		{"forty", every(1e9, 40), line(40), true},
		{"all at one time", make([]int64, 40), line(40), false},
		{"nothing seen for an eighth", gap, line(40), false},
		{"uneven times", uneven, onUneven, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, got := trend.Grows(c.times, c.values); got != c.want {
				t.Errorf("grows %v, want %v", got, c.want)
			}
		})
	}
}
