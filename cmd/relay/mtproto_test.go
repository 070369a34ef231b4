package main

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/transport/faketls"
)

// TestObserver is that each user's wrong clock is told once a minute, and that no
// number of them is remembered for ever.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		k := &mtprotoKeep{told: make(map[event]time.Time)}
		observe := k.observer(slog.New(slog.NewTextHandler(&out, nil)))
		wrong := func(name string) { observe(faketls.Event{Kind: faketls.ClockWrong, User: auth.User{Name: name}}) }
		for range 3 {
			wrong("alice")
			wrong("bob")
		}
		time.Sleep(time.Minute)
		wrong("alice")
		if a, b := strings.Count(out.String(), "user=alice"), strings.Count(out.String(), "user=bob"); a != 2 || b != 1 {
			t.Errorf("got %d and %d lines, want 2 and 1:\n%s", a, b, out.String())
		}
		for i := range 3 * mostTold {
			wrong(strings.Repeat("x", 1+i%40) + time.Duration(i).String())
		}
		if len(k.told) > mostTold {
			t.Errorf("remembered: got %d, want %d at most", len(k.told), mostTold)
		}
	})
}
