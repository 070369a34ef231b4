package splice

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWheel holds the wheel against a list, by the rule of the reactor: who is
// taken before the deadline is filed again. Nobody is due early, nobody more
// than a tick late, nobody is lost.
func TestWheel(t *testing.T) {
	for seed := range uint64(300) {
		wheelModel(t, rand.New(rand.NewPCG(seed, 1)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// wheelModel drives a wheel as a reactor does: it looks when the wheel says so,
// or later, and files relative to now.
func wheelModel(t *testing.T, rnd *rand.Rand) {
	const tick = 10
	w := &wheel{tick: tick}
	now := rnd.Int64N(100_000)
	deadlines := make(map[*pair]int64) // of those that are filed
	var spare []*pair
	pick := func() *pair {
		left := rnd.IntN(len(deadlines))
		for p := range deadlines { // the order of a map is random, but not by seed
			if left--; left < 0 {
				return p
			}
		}
		return nil
	}
	file := func(p *pair) {
		ahead := []int64{1, tick, 30 * tick, 127 * tick, 128 * tick, 129 * tick, 1000 * tick}
		deadlines[p] = now + 1 + rnd.Int64N(ahead[rnd.IntN(len(ahead))])
		if w.first == 0 {
			w.at = max(w.at, now/tick-1)
		}
		w.file(p, deadlines[p])
	}
	for range 2000 {
		switch n := rnd.IntN(10); {
		case n < 4:
			p := &pair{}
			if len(spare) > 0 {
				p, spare = spare[len(spare)-1], spare[:len(spare)-1]
			}
			file(p)
		case n < 5 && len(deadlines) > 0:
			p := pick()
			w.drop(p)
			w.drop(p) // once more is no harm
			delete(deadlines, p)
			spare = append(spare, p)
		case n < 6 && len(deadlines) > 0:
			p := pick()
			w.drop(p)
			file(p)
		default:
			switch rnd.IntN(4) {
			case 0:
				now += rnd.Int64N(tick)
			case 1:
				now += rnd.Int64N(400 * tick)
			default: // when the reactor would wake up
				now = max(now, w.first)
			}
			if w.first == 0 || now < w.first {
				break
			}
			for p := w.take(now); p != nil; {
				next := p.next
				p.next, p.prev = nil, nil
				if at, ok := deadlines[p]; !ok {
					t.Error("taken: got one that is not filed")
				} else if at > now {
					w.file(p, at)
				} else {
					delete(deadlines, p)
					spare = append(spare, p)
				}
				p = next
			}
		}
		for p, at := range deadlines {
			// Whoever looks at w.first is in time for everybody.
			if now-at >= tick {
				t.Errorf("deadline %d at %d: got nothing, want it a tick late at most", at, now)
			}
			if w.first == 0 || w.first >= at+tick {
				t.Errorf("next look: got %d, want less than a tick after the deadline %d", w.first, at)
			}
			if !p.filed {
				t.Error("pair: got it lost, want it filed")
			}
		}
	}
}

func TestPauses(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var h alarms
	var want []int64
	for range 20_000 {
		if len(want) == 0 || rnd.IntN(5) < 3 {
			at := rnd.Int64N(1000)
			h.push(alarm{at: at, d: int(at % 2)})
			want = append(want, at)
			slices.Sort(want)
			continue
		}
		if got := h.pop(); got.at != want[0] || got.d != int(got.at%2) {
			t.Fatalf("pop: got %d, want %d", got.at, want[0])
		}
		want = want[1:]
		if len(want) > 300 { // empty it once in a while
			for len(want) > 0 {
				if got := h.pop(); got.at != want[0] {
					t.Fatalf("pop: got %d, want %d", got.at, want[0])
				}
				want = want[1:]
			}
		}
	}
	if len(h) != len(want) {
		t.Errorf("left: got %d, want %d", len(h), len(want))
	}
}
