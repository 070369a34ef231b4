package main

import "time"

// middles makes one result of all rounds of a target and a kind: the median of each
// figure, the fewest requests that were served, and a failure if there was one.
func middles(results []*floodResult) []*floodResult {
	var middles []*floodResult
	rounds := make(map[[2]string][]*floodResult)
	for _, r := range results {
		key := [2]string{r.target, r.kind}
		if rounds[key] = append(rounds[key], r); len(rounds[key]) == 1 {
			middles = append(middles, &floodResult{target: r.target, kind: r.kind})
		}
	}
	for _, m := range middles {
		m.of(rounds[[2]string{m.target, m.kind}])
	}
	return middles
}

func (m *floodResult) of(rounds []*floodResult) {
	settle(m, rounds, func(r *floodResult) []*int { return []*int{&r.opened, &r.held, &r.ended, &r.good, &r.served} })
	settle(m, rounds, func(r *floodResult) []*int64 { return []*int64{&r.before, &r.peak, &r.after} })
	settle(m, rounds, func(r *floodResult) []*time.Duration {
		return []*time.Duration{&r.quiet[0], &r.quiet[1], &r.shaken[0], &r.shaken[1], &r.busy[0], &r.busy[1], &r.cpu}
	})
	for i, r := range rounds {
		m.served = min(m.served, r.served)
		if r.failed != "" {
			m.failed = r.failed
		}
		if len(rounds) > 1 {
			m.span[1] = max(m.span[1], r.busy[1])
			if i == 0 || r.busy[1] < m.span[0] {
				m.span[0] = r.busy[1]
			}
		}
	}
}

// settle gives m the medians of what fields names.
func settle[T ~int | ~int64](m *floodResult, rounds []*floodResult, fields func(*floodResult) []*T) {
	for i, to := range fields(m) {
		var list []float64
		for _, r := range rounds {
			list = append(list, float64(*fields(r)[i]))
		}
		*to = T(median(list))
	}
}
