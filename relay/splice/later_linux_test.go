package splice

import "testing"

// TestLaterSkips: those who have gone on already use up no turn of those who give way,
// and do not stay in the queue.
func TestLaterSkips(t *testing.T) {
	r := new(reactor)
	ran := 0
	queued := func(behind bool) {
		tk := &task{r: r, p: new(pair), behind: behind, run: func() { ran++ }}
		r.later.push(tk)
	}
	for range 1000 {
		queued(false)
	}
	queued(true)
	for range 1000 {
		queued(false)
	}
	r.doLater(true)
	if ran != 1 || r.later.len() != 0 {
		t.Errorf("after a turn beside others: got %d who had theirs and %d in the queue, want 1 and none", ran, r.later.len())
	}
	for range 3 {
		queued(true)
	}
	if r.doLater(true); ran != 2 || r.later.len() != 2 || !r.more {
		t.Errorf("after another one: got %d, %d in the queue and more: %t, want 2, 2 and true", ran, r.later.len(), r.more)
	}
	for _, co := range r.idle {
		co.stop()
	}
}
