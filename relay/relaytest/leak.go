package relaytest

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakWait is how long goroutines may take to end after the test: those of a
// connection that was closed, a sweeper's last tick.
const leakWait = 5 * time.Second

// LeakCheck fails t if goroutines of this module that did not exist when it
// was called are left after the test and its later cleanups. It is not for
// tests that run in parallel with others. Inside a synctest bubble it is not
// needed: a bubble cannot end while a goroutine of it blocks.
func LeakCheck(t testing.TB) {
	t.Helper()
	leakCheck(t, leakWait)
}

func leakCheck(t testing.TB, wait time.Duration) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		var left []string
		for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
			left = left[:0]
			for id, stack := range goroutines() {
				if _, old := before[id]; !old && ours(stack) {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(end) {
				break
			}
		}
		t.Errorf("goroutines left after the test: got %d, want 0\n\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

// goroutines returns the stack of every goroutine but the caller's, by id.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	out := make(map[string]string)
	for i, stack := range bytes.Split(buf, []byte("\n\n")) {
		// "goroutine 7 [running]:": the first one is the caller's.
		f := strings.Fields(string(stack))
		if i > 0 && len(f) > 1 {
			out[f[1]] = string(stack)
		}
	}
	return out
}

// ours reports whether a goroutine runs code of this module or was started by it.
func ours(stack string) bool {
	for line := range strings.Lines(stack) {
		line = strings.TrimPrefix(line, "created by ")
		if strings.HasPrefix(line, "relay/") || strings.HasPrefix(line, "main.") {
			return true
		}
	}
	return false
}
