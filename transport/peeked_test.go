package transport_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

func TestPeekOneByteAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := relaytest.Pipe()
		want := bytes.Repeat([]byte("opening "), transport.MaxPeek/8)
		go func() {
			for i := range want {
				_, _ = a.Write(want[i : i+1])
				synctest.Wait()
			}
		}()
		p := transport.NewPeeked(b)
		for n := 1; n <= len(want); n++ {
			got, err := p.Peek(n)
			if err != nil || !bytes.Equal(got, want[:n]) {
				t.Fatalf("Peek(%d): got %d bytes, %v, want the first %d and nil", n, len(got), err, n)
			}
			if n%3 == 0 {
				p.Shrink()
			}
		}
		if _, err := p.Peek(transport.MaxPeek + 1); !errors.Is(err, transport.ErrTooLong) {
			t.Errorf("Peek beyond the limit: got %v, want ErrTooLong", err)
		}
		if got := p.Unread(); !bytes.Equal(got, want) {
			t.Errorf("Unread after the limit: got %d bytes, want all %d", len(got), len(want))
		}
	})
}

func TestPeekedReads(t *testing.T) {
	a, b := relaytest.Pipe()
	p := transport.NewPeeked(b)
	total := 0
	say := func(n int) {
		go func() { _, _ = a.Write(make([]byte, n)) }()
		total += n
		if _, err := p.Peek(total); err != nil {
			t.Fatalf("Peek(%d): got %v, want nil", total, err)
		}
	}
	want := func(sizes ...int) {
		t.Helper()
		if got := p.Reads(); !slices.Equal(got, sizes) {
			t.Errorf("Reads: got %v, want %v", got, sizes)
		}
	}
	want(0)
	say(10)
	want(10)
	say(5)
	say(1)
	want(10, 5, 1)
	p.Discard(12)
	total -= 12
	want(3, 1)
	say(1500) // more than the buffer, in one piece
	want(3, 1, 1500)
	for range 100 {
		say(1)
	}
	got := p.Reads()
	if last := got[len(got)-1]; len(got) > 32 || last != 1 {
		t.Errorf("Reads after 100 more: got %d, the last of %d, want at most 32, the last of 1", len(got), last)
	}
}

// Whatever mixture of Peek, Discard and Read takes the bytes, they come out
// whole and in order.
func TestPeekedKeepsOrder(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			want := make([]byte, 100_000)
			for i := range want {
				want[i] = byte(i * 7 >> 3)
			}
			go func() { _, _ = a.Write(want); _ = a.CloseWrite() }()
			p, got := transport.NewPeeked(b), []byte(nil)
			for n := 1; ; n = n*5%9973 + 1 {
				if n%2 == 0 {
					p.Shrink()
				}
				b, err := p.Peek(n)
				if m := min(n/2, len(b)); m > 0 {
					got = append(got, b[:m]...)
					p.Discard(m)
				}
				if err != nil {
					break
				}
				buf := make([]byte, n%700)
				m, _ := p.Read(buf)
				got = append(got, buf[:m]...)
			}
			rest, err := io.ReadAll(p)
			if got = append(got, rest...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("bytes: got %d, %v, want the %d written", len(got), err, len(want))
			}
		})
	}
}

func TestPeekEnds(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			_ = a.CloseWrite()
			p := transport.NewPeeked(b)
			for range 2 {
				if got, err := p.Peek(1); len(got) != 0 || err != io.EOF {
					t.Errorf("Peek at the end: got %q, %v, want nothing and io.EOF", got, err)
				}
			}
			a, b = pair(t)
			_, _ = a.Write([]byte("half"))
			_ = a.CloseWrite()
			p = transport.NewPeeked(b)
			if got, err := p.Peek(5); string(got) != "half" || err != io.ErrUnexpectedEOF {
				t.Errorf("Peek(5): got %q, %v, want the half and io.ErrUnexpectedEOF", got, err)
			}
			if err := p.WaitRead(); err != nil {
				t.Errorf("WaitRead with unread bytes: got %v, want nil", err)
			}
			if got, err := io.ReadAll(p); string(got) != "half" || err != nil {
				t.Errorf("ReadAll: got %q, %v, want the half and nil", got, err)
			}
			if err := p.WaitRead(); err != nil {
				t.Errorf("WaitRead at the end: got %v, want nil", err)
			}
			a, b = pair(t)
			_ = transport.Abort(a)
			if _, err := transport.NewPeeked(b).Peek(1); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Peek after a reset: got %v, want ECONNRESET", err)
			}
		})
	}
}

func TestPeekDeadline(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			p := transport.NewPeeked(b)
			_ = p.SetDeadline(time.Now().Add(-time.Second))
			if _, err := p.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Peek past the deadline: got %v, want os.ErrDeadlineExceeded", err)
			}
			if err := p.WaitRead(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("WaitRead past the deadline: got %v, want os.ErrDeadlineExceeded", err)
			}
			_ = p.SetDeadline(time.Time{})
			_, _ = a.Write([]byte("abc"))
			if got, err := p.Peek(3); string(got) != "abc" || err != nil {
				t.Fatalf("Peek: got %q, %v, want abc, nil", got, err)
			}
			_ = p.SetDeadline(time.Now().Add(-time.Second))
			if got, err := p.Peek(4); string(got) != "abc" || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Peek(4) past the deadline: got %q, %v, want abc and os.ErrDeadlineExceeded", got, err)
			}
		})
	}
}

func TestDetach(t *testing.T) {
	a, b := relaytest.Pipe()
	_, _ = a.Write([]byte("opening payload"))
	p := transport.NewPeeked(b)
	_, _ = p.Peek(15)
	p.Discard(8)
	below, _, unread := p.Detach()
	if below != transport.Conn(b) || string(unread) != "payload" {
		t.Errorf("Detach: got %v, %q, want the conn below and the payload", below, unread)
	}
	// The bytes are the caller's: the pooled buffer goes to the next connection.
	c, d := relaytest.Pipe()
	_, _ = c.Write([]byte(strings.Repeat("x", 15)))
	_, _ = transport.NewPeeked(d).Peek(15)
	if string(unread) != "payload" {
		t.Errorf("unread bytes after the buffer's next use: got %q, want the payload", unread)
	}
	if _, _, unread := transport.NewPeeked(b).Detach(); unread != nil {
		t.Errorf("Detach of an unused Peeked: got %q, want nil", unread)
	}
}

// A flood of connections that say nothing must cost as little as possible.
func TestSilentPeekedHoldsNoBuffer(t *testing.T) {
	const conns = 1000
	for name, pair := range map[string]func() (a, b transport.Conn){
		"memory": func() (transport.Conn, transport.Conn) { return pairs["memory"](t) },
		"tcp":    func() (transport.Conn, transport.Conn) { return pairs["tcp"](t) },
	} {
		t.Run(name, func(t *testing.T) {
			var peeked []*transport.Peeked
			for range conns {
				_, b := pair()
				peeked = append(peeked, transport.NewPeeked(b))
			}
			before := heap()
			errs := make(chan error, conns)
			for _, p := range peeked {
				go func() { _, err := p.Peek(1); errs <- err }()
			}
			for parked := 0; parked < conns; { // all of them have tried to read
				time.Sleep(time.Millisecond)
				parked = waiting("transport.(*Peeked).first")
			}
			got := (heap() - before) / conns
			// A goroutine's descriptor alone is over 400 bytes.
			if got >= 1024 {
				t.Errorf("heap per silent connection: got %d bytes, want less than one buffer of 1024", got)
			}
			for _, p := range peeked {
				_ = p.Close()
			}
			for range conns {
				if err := <-errs; err == nil {
					t.Error("Peek of a closed connection: got nil, want an error")
				}
			}
		})
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// waiting counts the goroutines that are blocked in function.
func waiting(function string) (n int) {
	buf := make([]byte, 8<<20)
	for _, s := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if bytes.Contains(s, []byte(function)) && (bytes.Contains(s, []byte("[IO wait")) || bytes.Contains(s, []byte("[sync.Cond.Wait"))) {
			n++
		}
	}
	return n
}
