package web

import (
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSmallPieces brings pieces of a byte to a target that takes none: what is
// counted is what they take.
func TestSmallPieces(t *testing.T) {
	q := newQueue(new(atomic.Int64))
	q.reader()
	memory := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := memory()
	const pieces = 10_000
	for i := range pieces {
		if err := q.bring(t.Context(), uint64(i), strings.NewReader("x")); err != nil {
			t.Fatalf("piece %d: got %v", i, err)
		}
	}
	held := q.held.Load()
	if took := memory() - before; took > held+held/4 || held > mostReady {
		t.Errorf("%d pieces: got %d bytes of memory and %d that are counted, want no more", pieces, took, held)
	}
	b := make([]byte, pieces+1)
	if n, err := q.Read(b); n != pieces || err != nil {
		t.Errorf("got %d bytes, %v, want %d", n, err, pieces)
	}
	if n := q.held.Load(); n != 0 || q.ready.cost != 0 {
		t.Errorf("%d bytes are held after all were read", n)
	}
}

// TestRoomAgain has a piece that waits as all sessions together hold too much; the
// others have been read when its own is.
func TestRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(new(atomic.Int64))
		q.reader()
		q.held.Add(mostHeld)
		brought := make(chan error, 1)
		go func() { brought <- q.bring(t.Context(), 0, strings.NewReader(strings.Repeat("x", 4*mostUnread))) }()
		synctest.Wait()
		q.held.Add(-mostHeld)
		n, err := io.ReadFull(q, make([]byte, 4*mostUnread))
		if err != nil {
			t.Errorf("got %d bytes and %v, want all", n, err)
		}
		if err := <-brought; err != nil {
			t.Errorf("piece: got %v", err)
		}
	})
}

// TestMissingPiece has more behind a piece than there is room for, which waits for that
// one to begin, but not for ever.
func TestMissingPiece(t *testing.T) {
	const behind, piece = 7, mostPiece
	for _, late := range []time.Duration{time.Millisecond, missingTime - time.Millisecond, 2 * missingTime} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(new(atomic.Int64))
			q.reader()
			bring := func(seq uint64) error {
				return q.bring(t.Context(), seq, strings.NewReader(strings.Repeat("x", piece)))
			}
			// The one that was missing before is gone when this one is missed.
			if err := bring(0); err != nil {
				t.Fatal(err)
			}
			brought := make(chan error, behind)
			began := time.Now()
			for i := range behind {
				go func() { brought <- bring(uint64(i + 2)) }()
			}
			time.AfterFunc(late, func() { _ = bring(1) })
			if late < missingTime {
				if n, err := io.ReadFull(q, make([]byte, (behind+2)*piece)); err != nil {
					t.Errorf("late by %v: got %d bytes and %v, want all", late, n, err)
				}
			}
			failed := 0
			for range behind {
				if <-brought != nil {
					failed++
				}
			}
			took := time.Since(began)
			if late < missingTime && failed > 0 || late > missingTime && (failed == 0 || took < missingTime || took > missingTime+stallTick) {
				t.Errorf("late by %v: %d pieces failed, after %v", late, failed, took)
			}
			_ = q.fail(errGone)
		})
	}
}

// stuckWriter is a client that reads nothing, and a body whose rest does not come.
type stuckWriter struct {
	http.ResponseWriter
	body    *io.PipeReader
	stopped chan struct{}
}

func newStuck() (*stuckWriter, *io.PipeWriter) {
	r, w := io.Pipe()
	return &stuckWriter{body: r, stopped: make(chan struct{})}, w
}

func (w *stuckWriter) Write([]byte) (int, error) { <-w.stopped; return 0, os.ErrDeadlineExceeded }

func (w *stuckWriter) SetReadDeadline(time.Time) error {
	return w.body.CloseWithError(os.ErrDeadlineExceeded)
}

func (w *stuckWriter) SetWriteDeadline(time.Time) error { close(w.stopped); return nil }

// TestStuckPiece ends a piece that stands still, and none that is slow.
func TestStuckPiece(t *testing.T) {
	for _, again := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(new(atomic.Int64))
			if again {
				_ = q.bring(t.Context(), 0, strings.NewReader("x"))
			}
			w, body := newStuck()
			var err error
			var took, sent time.Duration
			ended := make(chan bool)
			began := time.Now()
			go func() {
				err = q.bring(t.Context(), 0, newHurried(w.body, newControl(w)))
				took = time.Since(began)
				_ = w.body.Close()
				close(ended)
			}()
			for range 5 {
				time.Sleep(pieceTime - time.Second)
				if _, err := body.Write([]byte("x")); err != nil {
					break
				}
				sent = time.Since(began)
			}
			<-ended
			if err == nil || !again && took != sent+pieceTime || again && took > 2*pieceTime {
				t.Errorf("again %v: got %v after %v, want an error a minute after %v", again, err, took, sent)
			}
			_ = q.fail(errGone)
		})
	}
}

// TestStuckPadding ends an uplink whose client does not read the padding.
func TestStuckPadding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newStuck()
		began := time.Now()
		p := &pad{w: w, ctl: newControl(w)}
		if p.write(); p.timer != nil || time.Since(began) != padTime {
			t.Errorf("gave up after %v, want %v", time.Since(began), padTime)
		}
		p.stop()
	})
}
