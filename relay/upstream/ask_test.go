package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func fine(context.Context) error { return nil }

// busy has a stream answered each minute for a time.
func busy(t *testing.T, s *Set, d time.Duration, ways ...*fake) (last *fake) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Minute) {
		last = answered(t, s, ways...)
	}
	return last
}

// TestProbe is that a way which was down is asked now and then, and taken again once it
// answers, as it was written first.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 10 * time.Minute
		a, b := &fake{ready: refuse, ask: fine, probe: each}, &fake{ask: fine, probe: each}
		s := newSet(t, a, b)
		if w := busy(t, s, 5*time.Hour, a, b); w != b {
			t.Fatalf("while a is down: got %s in use, want b", w.name)
		}
		// The first attempt was a stream's.
		if n := a.readies.Load() - 1; n < 20 || n > 60 {
			t.Errorf("in five hours: got %d probes of a, want 20 to 60", n)
		}
		if n := b.asks.Load(); n != 0 {
			t.Errorf("the way in use: got %d probes, want none", n)
		}
		if st := s.States()[0]; st.Probed.IsZero() || st.ProbeError != errRefused.Error() || st.Score > 0.1 || st.Failures == 0 {
			t.Errorf("state of a: got %+v, want the last probe, its error and a score of nearly 0", st)
		}
		a.ready = nil
		if w := busy(t, s, 3*each/2+2*time.Minute, a, b); w != a {
			t.Errorf("a answers again: got %s in use, want a", w.name)
		}
		if st := s.States()[0]; st.ProbeError != "" || st.Failures != 0 {
			t.Errorf("state of a then: got %+v, want no failure and no error", st)
		}
		// It is not left when it was at rest while the other was not.
		a.lose()
		if w := answered(t, s, a, b); w != a {
			t.Errorf("once a was at rest: got %s, want a connected again", w.name)
		}
		a.lose()
		a.ready = refuse
		if w := busy(t, s, time.Hour, a, b); w != b {
			t.Errorf("a is down again: got %s in use, want b", w.name)
		}
	})
}

// TestNoProbe is when nobody is asked.
func TestNoProbe(t *testing.T) {
	for _, tt := range []struct {
		name string
		each time.Duration
		used time.Duration
		most int32
	}{
		{"not asked for", 0, 5 * time.Hour, 0},
		{"nobody uses the relay", 10 * time.Minute, 0, 0},
		{"nobody uses it any more", 10 * time.Minute, time.Minute, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := &fake{live: true}, &fake{ask: fine, probe: tt.each}
				s := newSet(t, a, b)
				busy(t, s, tt.used, a, b)
				time.Sleep(10 * time.Hour)
				if n := b.asks.Load(); n > tt.most {
					t.Errorf("got %d probes, want at most %d", n, tt.most)
				}
			})
		})
	}
}

// TestProbeOrder is that a way which was written later is asked and not taken, and that
// it is known then when the first is lost.
func TestProbeOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{ask: fine, probe: time.Minute}
		b := &fake{ask: func(context.Context) error { return errGone }, probe: time.Minute}
		c := &fake{ask: fine, probe: time.Minute}
		s := newSet(t, a, b, c)
		if w := busy(t, s, time.Hour, a, b, c); w != a {
			t.Errorf("got %s in use, want a", w.name)
		}
		if b.asks.Load() == 0 || c.asks.Load() == 0 {
			t.Fatalf("got %d and %d probes of the others, want some", b.asks.Load(), c.asks.Load())
		}
		if st := s.States(); st[1].Score >= unknownScore || st[2].Score <= unknownScore {
			t.Errorf("scores: got %v and %v, want that of b low and that of c high", st[1].Score, st[2].Score)
		}
		b.live = false
		a.lose()
		a.ready = refuse
		if w := answered(t, s, a, b, c); w != c {
			t.Errorf("when a is lost: got %s, want c", w.name)
		}
	})
}

// TestRegainFails is that a way which answers probes and loses what follows is taken
// less and less often.
func TestRegainFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{ask: fine, probe: 10 * time.Minute}, &fake{live: true}
		a.dial = func(context.Context) error { a.lose(); return errGone }
		s := newSet(t, a, b)
		for range 24 * 60 {
			if w := answered(t, s, a, b); w != b {
				t.Fatalf("got an answer on %s, want b", w.name)
			}
			time.Sleep(time.Minute)
		}
		// Of 96 to 288 probes: after 1, 2, 4, and then each eighth.
		if n := a.dials.Load(); n < 8 || n > 40 {
			t.Errorf("in a day: got %d streams tried on a, want 8 to 40", n)
		}
	})
}

var errUnknown = fmt.Errorf("%w of this link", ErrUser)

// ends makes streams on a that end before anything comes.
func ends(t *testing.T, s *Set, a *fake, n int) {
	t.Helper()
	for range n {
		c := dial(t, s, "x")
		_ = a.nth(t, a.count()-1).far.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("Read: got no error, want the end")
		}
		_ = c.Close()
		synctest.Wait()
	}
}

// TestUnanswered is when the other side is asked why streams end without a byte, and
// what follows.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{ask: func(context.Context) error { return errUnknown }}, &fake{}
		s := newSet(t, a, b)
		ends(t, s, a, mostEnds-1)
		_ = answered(t, s, a, b) // one that works begins the count anew
		ends(t, s, a, mostEnds-1)
		if n := a.asks.Load(); n != 0 {
			t.Fatalf("before %d in a row: got %d questions, want none", mostEnds, n)
		}
		ends(t, s, a, 1)
		st := s.States()[0]
		if a.asks.Load() != 1 || st.Failures != 1 || st.Trouble != errUnknown.Error() {
			t.Errorf("after %d: got %d questions and %+v, want one, and that the user is not known", mostEnds, a.asks.Load(), st)
		}
		if w := answered(t, s, a, b); w != b {
			t.Errorf("the next stream: got %s, want b", w.name)
		}
		// Each further one is a failure, without a question.
		b.lose()
		b.ready = refuse
		for range 2 {
			ends(t, s, a, 1)
			time.Sleep(2 * mostBackoff)
		}
		if st := s.States()[0]; a.asks.Load() != 1 || st.Failures != 3 {
			t.Errorf("two more: got %d questions and %+v, want one, and three failures", a.asks.Load(), st)
		}
		if w := answered(t, s, a, b); w != a || s.States()[0].Failures != 0 {
			t.Errorf("once it is answered: got %s and %+v, want a without failures", w.name, s.States()[0])
		}
	})
}

// TestUnansweredTargets is that targets which refuse are not the way's fault, and cause
// few questions.
func TestUnansweredTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{ask: fine}
		s := newSet(t, a)
		for range 60 {
			ends(t, s, a, 3)
			time.Sleep(time.Minute)
		}
		if n := a.asks.Load(); n < 2 || n > 7 {
			t.Errorf("in an hour: got %d questions, want 2 to 7", n)
		}
		if st := s.States()[0]; st.Failures != 0 || st.Trouble != "" {
			t.Errorf("state: got %+v, want no trouble", st)
		}
	})
}

// TestAskSilent is that a question has an end.
func TestAskSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{ask: silent}
		s := newSet(t, a)
		ends(t, s, a, mostEnds)
		time.Sleep(askTime)
		synctest.Wait()
		if st := s.States()[0]; st.Failures != 1 || !strings.Contains(st.Trouble, errSilent.Error()) {
			t.Errorf("state: got %+v, want a failure: %v", st, errSilent)
		}
		s.Close() // with nothing left that waits
		if _, err := s.DialStream(t.Context(), target(t), nil); !errors.Is(err, errStopped) {
			t.Errorf("afterwards: got %v, want %v", err, errStopped)
		}
	})
}
