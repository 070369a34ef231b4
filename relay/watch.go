package relay

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"relay/transport"
)

// watch waits for the cover in a goroutine of its own, where no reactor does it,
// and makes the waiting for the visitor end when the cover has something to say.
type watch struct {
	far      transport.Conn
	done     chan struct{}
	answered atomic.Bool
	stopped  atomic.Bool
}

// longAgo is a deadline that has come.
var longAgo = time.Unix(1, 0)

func watchFar(far transport.Conn, near transport.Conn) *watch {
	w := &watch{far: far, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		if err := transport.WaitRead(far); !errors.Is(err, errors.ErrUnsupported) && !w.stopped.Load() {
			w.answered.Store(true)
			_ = near.SetReadDeadline(longAgo)
		}
	}()
	return w
}

// wait waits until near can be read, its deadline has come, or the cover has
// answered.
func (w *watch) wait(near *transport.Peeked, limit time.Time) error {
	have := len(near.Unread())
	_, err := near.Peek(have + 1)
	if w.answered.Load() {
		_ = near.SetReadDeadline(limit)
		return errStranger
	}
	return err
}

// stop ends the goroutine; far, which is open, is as it was.
func (w *watch) stop() {
	w.stopped.Store(true)
	_ = w.far.SetReadDeadline(longAgo)
	<-w.done
	_ = w.far.SetReadDeadline(time.Time{})
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
