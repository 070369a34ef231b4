package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLogBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		b := &logBuffer{w: &out}
		fmt.Fprintln(b, "one")
		fmt.Fprintln(b, "two")
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("before the delay: got %q, want nothing", got)
		}
		time.Sleep(logDelay)
		synctest.Wait()
		if got := out.String(); got != "one\ntwo\n" {
			t.Errorf("after the delay: got %q, want both lines", got)
		}
		fmt.Fprintln(b, "three")
		b.flush()
		if got := out.String(); got != "one\ntwo\nthree\n" {
			t.Errorf("after flush: got %q, want three lines", got)
		}
		time.Sleep(logDelay)
	})
}

// A reader that takes nothing stops nobody, and learns how much it missed.
func TestLogBufferStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		b := &logBuffer{w: w}
		line := strings.Repeat("x", 1023) + "\n"
		fmt.Fprint(b, line)
		time.Sleep(2 * logDelay) // the flush is stuck now
		const more = logRoom/1024 + 10
		for range more {
			fmt.Fprint(b, line)
		}
		var got lockedBuffer
		go func() { _, _ = io.Copy(&got, r) }()
		time.Sleep(2 * logDelay)
		synctest.Wait()
		want := strings.Repeat(line, 1+logRoom/1024) + "relay: 10 log lines were lost: nobody took them\n"
		if got.String() != want {
			t.Errorf("got %d bytes, want %d, ending in the number of lines lost", len(got.String()), len(want))
		}
		_ = w.Close()
	})
}
