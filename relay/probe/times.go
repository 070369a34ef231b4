package probe

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Times agree within 50 ms when they are short and within a second when they
// are long, and within a tenth of them in between.
const (
	shortest = 50 * time.Millisecond
	longest  = time.Second
)

func tolerance(d time.Duration) time.Duration {
	return min(max(shortest, d/10), longest)
}

// clocks are the times of a run that are compared.
var clocks = []struct {
	word string
	of   func(trace) (time.Duration, bool)
}{
	{"first byte", func(t trace) (time.Duration, bool) { return t.first, t.answered }},
	{"last byte", func(t trace) (time.Duration, bool) { return t.last, t.answered }},
	{"end", func(t trace) (time.Duration, bool) { return t.fin, t.end == endFIN || t.end == endRST }},
}

// measured are the times of one clock, in order.
func measured(runs side, of func(trace) (time.Duration, bool)) (all []time.Duration) {
	for _, t := range runs {
		if d, ok := of(t); ok {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return all
}

func median(sorted []time.Duration) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// timing compares medians. A difference must also be one of rank, so that a
// machine with other work does not make differences of its own: everything
// that disturbs a run makes both servers late by turns.
func timing(reference, relay side) (why string) {
	for _, c := range clocks {
		a, b := measured(reference, c.of), measured(relay, c.of)
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		ma, mb := median(a), median(b)
		if (mb-ma).Abs() > tolerance(max(ma, mb)) && apart(a, b) {
			return fmt.Sprintf("%s after %v, not %v (medians)", c.word, round(mb), round(ma))
		}
	}
	return ""
}

// clearlyLate says whether the times of some clock lie so far apart in all runs that
// no second look is needed.
func clearlyLate(reference, relay side) bool {
	for _, c := range clocks {
		a, b := measured(reference, c.of), measured(relay, c.of)
		if min(len(a), len(b)) < 4 {
			continue
		}
		gap := max(b[0]-a[len(a)-1], a[0]-b[len(b)-1])
		if gap > tolerance(max(a[len(a)-1], b[len(b)-1])) {
			return true
		}
	}
	return false
}

// apart is a rank test (Mann and Whitney, 1947) at about two percent. Fewer than
// four runs prove nothing by rank: then the medians decide.
func apart(a, b []time.Duration) bool {
	if min(len(a), len(b)) < 4 {
		return true
	}
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x < y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	return math.Abs(u-n*m/2)/math.Sqrt(n*m*(n+m+1)/12) > 2.3
}

func round(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
