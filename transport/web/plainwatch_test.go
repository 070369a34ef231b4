package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// watched is a download that is watched, in a bubble, and the server's end of it.
type watched struct {
	*plainPieces
	far   *relaytest.Conn
	began time.Time

	lock  sync.Mutex
	asked []time.Duration // when the far end was
}

// newWatched has nothing else of a stream.
func newWatched() *watched {
	near, far := relaytest.Pipe()
	m := &metered{Conn: near}
	k := &plainConn{connected: &connected{meter: m}, answers: newAnswers(m)}
	k.limited.N = math.MaxInt64 // the head has come
	c := &Client{log: slog.New(slog.DiscardHandler)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	p := &plainPieces{client: c, k: k, gone: make(chan struct{}), down: answer{body: answerBody{in: k.in, state: untilClose}}}
	p.ctx, p.cancel = context.WithCancel(c.ctx)
	p.room.L = &p.mu
	c.tasks.Go(p.watch)
	c.tasks.Go(func() { <-p.gone; _ = near.Close() }) // k is not the client's
	return &watched{plainPieces: p, far: far, began: time.Now()}
}

// read reads to the end, and returns how long that took.
func (w *watched) read() (time.Duration, error) {
	_, err := io.Copy(io.Discard, w.plainPieces)
	return time.Since(w.began), err
}

// by notes a question, and has f answer it.
func (w *watched) by(f func() bool) {
	w.AskBy(func() bool {
		w.lock.Lock()
		w.asked = append(w.asked, time.Since(w.began).Truncate(time.Second))
		w.lock.Unlock()
		return f()
	})
}

// questions are those so far.
func (w *watched) questions() []time.Duration {
	w.lock.Lock()
	defer w.lock.Unlock()
	return slices.Clone(w.asked)
}

// TestPlainWatch has far ends that answer in several ways, for ten minutes or until the
// stream is given up.
func TestPlainWatch(t *testing.T) {
	seconds := func(all ...time.Duration) (out []time.Duration) {
		for _, s := range all {
			out = append(out, s*time.Second)
		}
		return out
	}
	const long = 10 * time.Minute
	for _, tt := range []struct {
		name  string
		set   func(w *watched)
		asked []time.Duration // the first of them
		least time.Duration   // when the stream is given up; 0: never
		most  time.Duration
	}{
		{name: "answers", set: func(w *watched) {
			w.by(func() bool { _, err := w.far.Write([]byte("pong")); return err == nil })
		}, asked: seconds(1, 3, 7, 15, 32, 64, 104)},
		{name: "does not answer", set: func(w *watched) {
			w.by(func() bool { return true })
		}, asked: seconds(1), least: quietTime + answerWait, most: 5 * time.Second},
		{name: "has nothing to ask", set: func(w *watched) {
			w.by(func() bool { return false })
		}, asked: seconds(1, 3, 7, 15, 31, 63, 103)},
		{name: "has never answered", set: func(*watched) {}},
		{name: "sends all the time", set: func(w *watched) {
			w.by(func() bool { return true })
			go func() {
				for {
					time.Sleep(quietTime / 2)
					if _, err := w.far.Write([]byte("x")); err != nil {
						return
					}
				}
			}()
		}},
		{name: "a question that is never written", set: func(w *watched) {
			w.piece.Store(&underway{k: w.k})
			w.by(func() bool { <-w.gone; return false })
		}, asked: seconds(1), least: quietTime + answerWait, most: 5 * time.Second},
		{name: "a piece that moves in front of it", set: func(w *watched) {
			w.piece.Store(&underway{k: w.k})
			w.taken.Add(1 << 20)
			w.by(func() bool { return true })
			go func() {
				for range 20 {
					time.Sleep(time.Second)
					w.k.meter.up.Add(1)
				}
			}()
		}, asked: seconds(1), least: 20*time.Second + answerWait, most: 24 * time.Second},
		{name: "a piece that arrives late", set: func(w *watched) {
			w.piece.Store(&underway{k: w.k})
			w.by(func() bool { w.taken.Add(100); return true })
			time.AfterFunc(2*time.Second, func() { w.posted.Add(100); w.piece.Store(nil) })
		}, asked: seconds(1), least: 2*time.Second + answerWait, most: 6 * time.Second},
		{name: "a piece that is collected, and answered late", set: func(w *watched) {
			w.by(func() bool {
				w.taken.Add(100)
				w.piece.Store(&underway{w.k, perMegabyte})
				time.AfterFunc(perMegabyte, func() {
					w.posted.Add(100)
					w.piece.Store(nil)
					_, _ = w.far.Write([]byte("pong"))
				})
				return true
			})
		}, asked: seconds(1, 13)},
		{name: "other pieces behind it", set: func(w *watched) {
			w.by(func() bool { return true })
			go func() {
				for w.ctx.Err() == nil {
					time.Sleep(quietTime)
					w.taken.Add(10)
					w.posted.Add(10)
				}
			}()
		}, asked: seconds(1), least: quietTime + answerWait, most: 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatched()
				tt.set(w)
				end := time.AfterFunc(long, func() { _ = w.far.Close() })
				took, err := w.read()
				end.Stop()
				switch {
				case tt.least == 0 && (took != long || err != nil):
					t.Errorf("got %v after %v, want no error", err, took)
				case tt.least > 0 && (took < tt.least || took > tt.most || !errors.Is(err, transport.ErrCarrier) || !errors.Is(err, errFrozen)):
					t.Errorf("got %v after %v, want a frozen carrier after %v to %v", err, took, tt.least, tt.most)
				}
				_ = w.Close()
				_ = w.far.Close()
				w.client.Close()
				time.Sleep(time.Minute) // for what the case has begun
				asked := w.questions()
				if n := min(len(asked), len(tt.asked)); !slices.Equal(asked[:n], tt.asked) || tt.asked == nil && len(asked) > 0 {
					t.Errorf("asked after %v, want %v", asked, tt.asked)
				}
			})
		})
	}
}

// TestPlainWatchUnread: a silence that is ours is none, and what is written is asked
// about soon.
func TestPlainWatchUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched()
		w.by(func() bool { go func() { _, _ = w.far.Write([]byte("pong")) }(); return true })
		time.Sleep(time.Minute)
		if asked := w.questions(); len(asked) > 0 {
			t.Errorf("asked after %v while nobody read, want never", asked)
		}
		read := make(chan struct{})
		go func() { defer close(read); _, _ = w.read() }()
		time.Sleep(time.Minute)
		n := len(w.questions())
		w.taken.Add(1)
		time.Sleep(quietTime)
		if got := len(w.questions()) - n; n == 0 || got != 1 {
			t.Errorf("asked %d times in a second behind a write and %d times before, want it once", got, n)
		}
		_ = w.Close()
		_ = w.far.Close()
		<-read
		w.client.Close()
	})
}
