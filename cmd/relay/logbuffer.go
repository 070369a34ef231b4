package main

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"relay/relay/config"
)

const (
	// logDelay is how long a line may wait for others.
	logDelay = 100 * time.Millisecond
	// logRoom is how much may wait. A full pipe or a stuck journal must not
	// stop the relay: lines beyond it are lost, and counted.
	logRoom = 256 << 10
)

// logBuffer writes lines in batches, from a goroutine of its own: whoever logs
// never waits for whoever reads.
type logBuffer struct {
	w io.Writer

	mu      sync.Mutex
	waiting []byte
	spare   []byte
	lost    int
	armed   bool // a flush is coming

	writing sync.Mutex // one batch at a time
}

// Write implements io.Writer for one line.
func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting)+len(line) > logRoom {
		b.lost++
		return len(line), nil
	}
	b.waiting = append(b.waiting, line...)
	if !b.armed {
		b.armed = true
		time.AfterFunc(logDelay, b.flush)
	}
	return len(line), nil
}

// flush writes what is waiting.
func (b *logBuffer) flush() {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	lines, lost := b.waiting, b.lost
	b.waiting, b.spare, b.lost, b.armed = b.spare[:0], nil, 0, false
	b.mu.Unlock()
	if len(lines) > 0 {
		_, _ = b.w.Write(lines)
	}
	if lost > 0 {
		_, _ = fmt.Fprintf(b.w, "relay: %d log lines were lost: nobody took them\n", lost)
	}
	b.mu.Lock()
	if cap(lines) <= 16<<10 { // a flood's buffer is not kept
		b.spare = lines[:0]
	}
	b.mu.Unlock()
}

// finish is the last flush. It does not wait for a reader that takes nothing.
func (b *logBuffer) finish() {
	done := make(chan struct{})
	go func() {
		b.flush()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// logger makes the program's logger. flush writes what it holds back, for the end.
func logger(w io.Writer, l config.Log, override string) (log *slog.Logger, flush func(), err error) {
	level := l.Level
	if override != "" {
		level = override
	}
	var lv slog.Level
	if err := lv.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, usagef("log level %q: want debug, info, warn or error", level)
	}
	b := &logBuffer{w: w}
	o := &slog.HandlerOptions{Level: lv}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(b, o)), b.finish, nil
	}
	return slog.New(slog.NewTextHandler(b, o)), b.finish, nil
}
