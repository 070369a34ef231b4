package mtproto

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func numbered(i int) (s seed) {
	s[0], s[1], s[47] = byte(i), byte(i>>8), byte(i>>16)
	return s
}

func TestReplaysTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReplays()
		if r.again(numbered(1)) || !r.again(numbered(1)) || r.again(numbered(2)) {
			t.Error("at first: got a verdict that is wrong")
		}
		time.Sleep(replayTurn)
		if r.again(numbered(3)) || !r.again(numbered(2)) {
			t.Errorf("after %v: got a new frame known or an old one forgotten", replayTurn)
		}
		time.Sleep(replayTurn)
		if !r.again(numbered(2)) || r.again(numbered(1)) {
			t.Error("later: got one that came again forgotten, or one that did not remembered")
		}
		time.Sleep(10 * replayTurn)
		if r.again(numbered(2)) || len(r.old) > 0 {
			t.Errorf("after a long time: got %d remembered, want none", len(r.old))
		}
	})
}

func TestReplaysBound(t *testing.T) {
	r := NewReplays()
	r.most = 100
	for i := range 1000 {
		if r.again(numbered(i)) {
			t.Fatalf("frame %d: got it known, want it new", i)
		}
		if n := len(r.young) + len(r.old); n > 200 {
			t.Fatalf("after %d: got %d remembered, want at most 200", i, n)
		}
	}
	for i := 900; i < 1000; i++ {
		if !r.again(numbered(i)) {
			t.Errorf("frame %d: got it new, want it known", i)
		}
	}
}

// Of those who come with one frame at the same time, one is first.
func TestReplaysAtOnce(t *testing.T) {
	r := NewReplays()
	var first atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				if !r.again(numbered(i)) {
					first.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := first.Load(); got != 200 {
		t.Errorf("first: got %d, want 200", got)
	}
}
