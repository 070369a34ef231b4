package transport_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/transport"
)

// countedPool is a pool of buffers that knows how many are lent out.
func countedPool(size int) (pool *sync.Pool, made *atomic.Int32) {
	made = new(atomic.Int32)
	return &sync.Pool{New: func() any {
		made.Add(1)
		b := make([]byte, size)
		return &b
	}}, made
}

func TestReady(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			pool, _ := countedPool(4)
			r := transport.NewReady(b)
			_, _ = a.Write([]byte("abcdef"))
			_ = a.CloseWrite()
			for _, want := range []string{"abcd", "ef"} {
				buf, n, err := r.Read(pool)
				if err != nil || string((*buf)[:n]) != want {
					t.Fatalf("Read: got %d bytes, %v, want %q", n, err, want)
				}
				pool.Put(buf)
			}
			for range 2 {
				if buf, n, err := r.Read(pool); buf != nil || n != 0 || err != io.EOF {
					t.Errorf("Read at the end: got a buffer: %t, %d, %v, want none, 0, io.EOF", buf != nil, n, err)
				}
			}
		})
	}
}

func TestReadyErrors(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			pool, _ := countedPool(4)
			a, b := pair(t)
			_ = b.SetReadDeadline(time.Now().Add(-time.Second))
			r := transport.NewReady(b)
			if buf, _, err := r.Read(pool); buf != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read past the deadline: got %v, want os.ErrDeadlineExceeded and no buffer", err)
			}
			_ = b.SetReadDeadline(time.Time{})
			_ = transport.Abort(a)
			if buf, _, err := r.Read(pool); buf != nil || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Read after a reset: got %v, want ECONNRESET and no buffer", err)
			}
			_ = b.Close()
			if buf, _, err := r.Read(pool); buf != nil || !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after Close: got %v, want net.ErrClosed and no buffer", err)
			}
		})
	}
}

// A Ready that waits holds no buffer: what is in the pool, the garbage
// collector may take away.
func TestReadyWaitsWithoutBuffer(t *testing.T) {
	const size = 1 << 20
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			pool, _ := countedPool(size)
			_, b := pair(t)
			before := heap()
			r, done := transport.NewReady(b), make(chan error)
			go func() { _, _, err := r.Read(pool); done <- err }()
			for waiting("transport.(*Ready).Read") == 0 {
				time.Sleep(time.Millisecond)
			}
			if got := heap() - before; got >= size {
				t.Errorf("heap held by a waiting Ready: got %d bytes, want less than its buffer of %d", got, size)
			}
			_ = b.Close()
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read that is closed under: got %v, want net.ErrClosed", err)
			}
		})
	}
}

func TestReadyAllocates(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			pool, made := countedPool(1024)
			r, msg := transport.NewReady(b), make([]byte, 512)
			got := testing.AllocsPerRun(1000, func() {
				_, _ = a.Write(msg)
				buf, _, err := r.Read(pool)
				if err != nil {
					t.Fatalf("Read: got %v, want nil", err)
				}
				pool.Put(buf)
			})
			if got != 0 && !raceEnabled {
				t.Errorf("allocations per read: got %v (%d buffers made), want 0", got, made.Load())
			}
		})
	}
}
