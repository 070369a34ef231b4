package relaytest

import (
	"testing"
	"time"
)

func TestLeakCheck(t *testing.T) {
	soon, never := make(chan bool), make(chan bool)
	defer close(never)
	r := &recorder{TB: t}
	LeakCheck(r)
	go func() { <-soon }()
	time.AfterFunc(50*time.Millisecond, func() { close(soon) })
	r.finish()
	if r.failed {
		t.Error("a goroutine that ends soon after the test: got a failure, want none")
	}
	leakCheck(r, 50*time.Millisecond)
	go func() { <-never }()
	r.finish()
	if !r.failed {
		t.Error("a goroutine that stays: got no failure, want one")
	}
}

// recorder is a testing.TB whose cleanups and failures the test decides on.
type recorder struct {
	testing.TB
	cleanup func()
	failed  bool
}

func (r *recorder) Cleanup(f func())      { r.cleanup = f }
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) finish()               { r.cleanup() }
