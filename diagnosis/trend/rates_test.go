package trend_test

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"

	"tcpleak/diagnosis/trend"
)

var runs = flag.Int("runs", 100, "simulated series for each case and length; the rates in the documentation are of 2000")

// A series makes n counts, evenly over the watch W. In it the time t goes from 0 to 1.
type series func(r *rand.Rand, n int) []float64

func at(i, n int) float64 { return float64(i) / float64(n-1) }

func curve(f func(t float64) float64) series {
	return func(_ *rand.Rand, n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = f(at(i, n))
		}
		return x
	}
}

// and adds s and t.
func (s series) and(t series) series {
	return func(r *rand.Rand, n int) []float64 {
		x := s(r, n)
		for i, v := range t(r, n) {
			x[i] += v
		}
		return x
	}
}

// with adds independent normal noise and rounds, as counts are.
func (s series) with(sd float64) series {
	return func(r *rand.Rand, n int) []float64 {
		x := s(r, n)
		for i := range x {
			x[i] = math.Round(x[i] + sd*r.NormFloat64())
		}
		return x
	}
}

// withSteps is with, in units of what grown adds between two samples.
func (s series) withSteps(k, grown float64) series {
	return func(r *rand.Rand, n int) []float64 { return s.with(k*grown/float64(n-1))(r, n) }
}

// random makes a series of a parameter from 0 to 1, drawn for each.
func random(f func(u, t float64) float64) series {
	return func(r *rand.Rand, n int) []float64 {
		u := r.Float64()
		return curve(func(t float64) float64 { return f(u, t) })(r, n)
	}
}

// stay counts a connection that is open from t = a to b.
func stay(x []float64, a, b float64) {
	for i := max(0, int(math.Ceil(a*float64(len(x)-1)))); i < len(x) && at(i, len(x)) < b; i++ {
		x[i]++
	}
}

// arrivals adds connections at a rate, each for hold on average, distributed exponentially.
func arrivals(r *rand.Rand, x []float64, rate, hold float64) {
	for a := r.ExpFloat64() / rate; a < 1; a += r.ExpFloat64() / rate {
		stay(x, a, a+hold*r.ExpFloat64())
	}
}

// pool is M/M/∞ at steady state: size connections on average. They come independently and stay for hold on average, so that
// two samples correlate by e^(-distance/hold).
func pool(size, hold float64) series {
	return func(r *rand.Rand, n int) []float64 {
		x := make([]float64, n)
		for a := r.ExpFloat64(); a < size; a += r.ExpFloat64() {
			stay(x, 0, hold*r.ExpFloat64())
		}
		arrivals(r, x, size/hold, hold)
		return x
	}
}

// warmUp is the same from its start, when it has none.
func warmUp(size, hold float64) series {
	return func(r *rand.Rand, n int) []float64 {
		x := make([]float64, n)
		arrivals(r, x, size/hold, hold)
		return x
	}
}

// leaks come independently, total of them on average, and stay.
func leaks(total float64) series {
	return func(r *rand.Rand, n int) []float64 {
		x := make([]float64, n)
		arrivals(r, x, total, math.Inf(1))
		return x
	}
}

func steady(total float64) series { return curve(func(t float64) float64 { return total * t }) }

func ramp(total, until float64) series {
	return curve(func(t float64) float64 { return total * min(t/until, 1) })
}

func sine(periods float64) series {
	return random(func(u, t float64) float64 { return 20 * math.Sin(2*math.Pi*(periods*t+u)) }).with(2)
}

func saw(periods float64) series {
	return random(func(u, t float64) float64 { return 40 * math.Mod(periods*t+u, 1) }).with(2)
}

func randomWalk(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := 1; i < n; i++ {
		x[i] = x[i-1] + r.NormFloat64()
	}
	return x
}

var step = random(func(u, t float64) float64 {
	if t < u {
		return 0
	}
	return 20
})

var nothing = curve(func(float64) float64 { return 0 })

// The bounds are on the part of the series that grow, for 30, 60 and 120 samples: what 2000 of them showed, and three standard
// deviations of a hundred. They say what the rule does, not what one would like.
func TestRates(t *testing.T) {
	for i, c := range []struct {
		name   string
		series series
		bounds [3][2]float64
	}{
		{"white noise, sd 1", nothing.with(1), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"white noise, sd 5", nothing.with(5), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 3, held W/50", pool(3, 0.02), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 3, held W/10", pool(3, 0.1), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 3, held W/4", pool(3, 0.25), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 3, held W/2", pool(3, 0.5), [3][2]float64{{0, 0.03}, {0, 0.03}, {0, 0.03}}},
		{"pool of 3, held W", pool(3, 1), [3][2]float64{{0, 0.04}, {0, 0.04}, {0, 0.03}}},
		{"pool of 3, held 2 W", pool(3, 2), [3][2]float64{{0, 0.05}, {0, 0.03}, {0, 0.03}}},
		{"pool of 3, held 10 W", pool(3, 10), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 20, held W/50", pool(20, 0.02), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 20, held W/10", pool(20, 0.1), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 20, held W/4", pool(20, 0.25), [3][2]float64{{0, 0.03}, {0, 0.03}, {0, 0.03}}},
		{"pool of 20, held W/2", pool(20, 0.5), [3][2]float64{{0, 0.04}, {0, 0.04}, {0, 0.04}}},
		{"pool of 20, held W", pool(20, 1), [3][2]float64{{0, 0.04}, {0, 0.06}, {0, 0.05}}},
		{"pool of 20, held 2 W", pool(20, 2), [3][2]float64{{0, 0.06}, {0, 0.07}, {0, 0.07}}},
		{"pool of 20, held 10 W", pool(20, 10), [3][2]float64{{0, 0.05}, {0, 0.05}, {0, 0.05}}},
		{"pool of 200, held W/50", pool(200, 0.02), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 200, held W/10", pool(200, 0.1), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 200, held W/4", pool(200, 0.25), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 200, held W/2", pool(200, 0.5), [3][2]float64{{0, 0.04}, {0, 0.04}, {0, 0.04}}},
		{"pool of 200, held W", pool(200, 1), [3][2]float64{{0, 0.04}, {0, 0.06}, {0, 0.05}}},
		{"pool of 200, held 2 W", pool(200, 2), [3][2]float64{{0, 0.06}, {0, 0.07}, {0, 0.08}}},
		{"pool of 200, held 10 W", pool(200, 10), [3][2]float64{{0, 0.08}, {0, 0.07}, {0, 0.08}}},
		{"random walk", randomWalk, [3][2]float64{{0, 0.07}, {0, 0.06}, {0, 0.09}}},
		{"sine, 2 periods", sine(2), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sawtooth, 2 periods", saw(2), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sine, 3 periods", sine(3), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sawtooth, 3 periods", saw(3), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sine, 4 periods", sine(4), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sawtooth, 4 periods", saw(4), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sine, 5 periods", sine(5), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sawtooth, 5 periods", saw(5), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sine, 6 periods", sine(6), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"sawtooth, 6 periods", saw(6), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"step of 20", step, [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"step of 20, noise sd 2", step.with(2), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"step of 20, noise sd 8", step.with(8), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"60 until W/4, noise 0 steps", ramp(60, 0.25).withSteps(0, 60), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"60 until W/4, noise 3 steps", ramp(60, 0.25).withSteps(3, 60), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"60 until W/2, noise 0 steps", ramp(60, 0.5).withSteps(0, 60), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"60 until W/2, noise 3 steps", ramp(60, 0.5).withSteps(3, 60), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"60 until 0.6 W, noise 0 steps", ramp(60, 0.6).withSteps(0, 60), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"60 until 0.6 W, noise 3 steps", ramp(60, 0.6).withSteps(3, 60), [3][2]float64{{0, 0.04}, {0, 0.02}, {0, 0.02}}},
		{"60 until 0.7 W, noise 0 steps", ramp(60, 0.7).withSteps(0, 60), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"60 until 0.7 W, noise 3 steps", ramp(60, 0.7).withSteps(3, 60), [3][2]float64{{0, 0.13}, {0, 0.02}, {0, 0.02}}},
		{"pool of 40 warms up, held W/10", warmUp(40, 0.1), [3][2]float64{{0, 0.02}, {0, 0.02}, {0, 0.02}}},
		{"pool of 40 warms up, held W/5", warmUp(40, 0.2), [3][2]float64{{0, 0.07}, {0, 0.08}, {0, 0.09}}},
		{"leak of 10, noise 3 steps", steady(10).withSteps(3, 10), [3][2]float64{{0.84, 1}, {0.98, 1}, {0.98, 1}}},
		{"leak of 10, noise 5 steps", steady(10).withSteps(5, 10), [3][2]float64{{0.38, 0.69}, {0.98, 1}, {0.98, 1}}},
		{"random leak of 10", leaks(10), [3][2]float64{{0.44, 0.75}, {0.46, 0.76}, {0.44, 0.75}}},
		{"random leak of 10, noise 3 steps", leaks(10).withSteps(3, 10), [3][2]float64{{0.29, 0.6}, {0.44, 0.75}, {0.46, 0.76}}},
		{"random leak of 10 on a pool of 5", leaks(10).and(pool(5, 0.02)), [3][2]float64{{0.03, 0.25}, {0.06, 0.29}, {0.06, 0.31}}},
		{"random leak of 10 on a pool of 20", leaks(10).and(pool(20, 0.02)), [3][2]float64{{0, 0.07}, {0, 0.09}, {0, 0.08}}},
		{"leak of 20, noise 3 steps", steady(20).withSteps(3, 20), [3][2]float64{{0.86, 1}, {0.98, 1}, {0.98, 1}}},
		{"leak of 20, noise 5 steps", steady(20).withSteps(5, 20), [3][2]float64{{0.4, 0.71}, {0.98, 1}, {0.98, 1}}},
		{"random leak of 20", leaks(20), [3][2]float64{{0.76, 0.97}, {0.77, 0.98}, {0.74, 0.96}}},
		{"random leak of 20, noise 3 steps", leaks(20).withSteps(3, 20), [3][2]float64{{0.49, 0.79}, {0.72, 0.95}, {0.75, 0.97}}},
		{"random leak of 20 on a pool of 5", leaks(20).and(pool(5, 0.02)), [3][2]float64{{0.41, 0.72}, {0.48, 0.78}, {0.51, 0.8}}},
		{"random leak of 20 on a pool of 20", leaks(20).and(pool(20, 0.02)), [3][2]float64{{0.05, 0.29}, {0.09, 0.35}, {0.11, 0.38}}},
		{"leak of 50, noise 3 steps", steady(50).withSteps(3, 50), [3][2]float64{{0.86, 1}, {0.98, 1}, {0.98, 1}}},
		{"leak of 50, noise 5 steps", steady(50).withSteps(5, 50), [3][2]float64{{0.41, 0.72}, {0.98, 1}, {0.98, 1}}},
		{"random leak of 50", leaks(50), [3][2]float64{{0.94, 1}, {0.95, 1}, {0.95, 1}}},
		{"random leak of 50, noise 3 steps", leaks(50).withSteps(3, 50), [3][2]float64{{0.71, 0.95}, {0.93, 1}, {0.95, 1}}},
		{"random leak of 50 on a pool of 5", leaks(50).and(pool(5, 0.02)), [3][2]float64{{0.89, 1}, {0.92, 1}, {0.92, 1}}},
		{"random leak of 50 on a pool of 20", leaks(50).and(pool(20, 0.02)), [3][2]float64{{0.73, 0.96}, {0.77, 0.98}, {0.78, 0.98}}},
		{"leak of 200, noise 3 steps", steady(200).withSteps(3, 200), [3][2]float64{{0.86, 1}, {0.98, 1}, {0.98, 1}}},
		{"leak of 200, noise 5 steps", steady(200).withSteps(5, 200), [3][2]float64{{0.4, 0.71}, {0.98, 1}, {0.98, 1}}},
		{"random leak of 200", leaks(200), [3][2]float64{{0.98, 1}, {0.98, 1}, {0.98, 1}}},
		{"random leak of 200, noise 3 steps", leaks(200).withSteps(3, 200), [3][2]float64{{0.82, 1}, {0.98, 1}, {0.98, 1}}},
		{"random leak of 200 on a pool of 5", leaks(200).and(pool(5, 0.02)), [3][2]float64{{0.98, 1}, {0.98, 1}, {0.98, 1}}},
		{"random leak of 200 on a pool of 20", leaks(200).and(pool(20, 0.02)), [3][2]float64{{0.98, 1}, {0.98, 1}, {0.98, 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for j, n := range []int{30, 60, 120} {
				grow, significant := count(c.series, n, uint64(i))
				t.Logf("%3d samples: %5.1f %%, by MannKendall alone %5.1f %%", n, 100*grow, 100*significant)
				if b := c.bounds[j]; grow < b[0] || grow > b[1] {
					t.Errorf("%d samples: %.3f of %d grow, want %.3f to %.3f", n, grow, *runs, b[0], b[1])
				}
			}
		})
	}
}

// count returns the part of the series that grow, and the part in which MannKendall alone sees a trend.
func count(s series, n int, seed uint64) (grow, significant float64) {
	r := rand.New(rand.NewPCG(uint64(n), seed))
	times := every(int64(600e9)/int64(n-1), n)
	for range *runs {
		values := s(r, n)
		if _, grows := trend.Grows(times, values); grows {
			grow++
		}
		if _, p := trend.MannKendall(values); p < trend.Significance {
			significant++
		}
	}
	return grow / float64(*runs), significant / float64(*runs)
}
