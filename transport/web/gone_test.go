package web

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/relay/splice"
	"relay/transport"
)

// unread is a connection that its owner does not read from, once it is shut.
type unread struct {
	net.Conn
	shut atomic.Bool
	open chan struct{}
}

func (u *unread) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	if u.shut.Load() {
		<-u.open
	}
	return n, err
}

// flows are streams that a splice core has joined to a target in memory.
type flows struct {
	core   *splice.Core
	target chan transport.Conn
	flow   chan splice.Flow
	end    chan splice.End
}

func newFlows() *flows {
	return &flows{splice.New(0), make(chan transport.Conn, 1), make(chan splice.Flow, 1), make(chan splice.End, 2)}
}

func (f *flows) Stream(_ context.Context, _ auth.User, c transport.Conn) error {
	far, target := relaytest.Pipe()
	f.flow <- f.core.Join(c, far, splice.Limits{Idle: time.Hour}, nil, func(e splice.End) { f.end <- e })
	f.target <- target
	return nil
}

// within waits for the end of a flow.
func (f *flows) within(t *testing.T, d time.Duration) (e splice.End) {
	t.Helper()
	select {
	case e = <-f.end:
	case <-time.After(d):
		t.Errorf("got no end within %v", d)
	}
	return e
}

// TestGoneWhileStalled: a client who goes ends his flow, though nobody reads from him
// as the target takes nothing; so does a reset for taking nothing.
func TestGoneWhileStalled(t *testing.T) {
	for _, mode := range []string{"", "sid"} {
		for _, goes := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				near, far := link(10 * time.Millisecond)
				f := newFlows()
				s := newShared(t, near, far, f)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				body := io.MultiReader(strings.NewReader(string(make([]byte, 16<<20))))
				if mode != "" {
					if _, err := s.do(t.Context(), "GET", mode, nil); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := s.do(ctx, "POST", mode, body); err != nil {
					t.Fatal(err)
				}
				target := <-f.target
				limit := 2*stallTick + stallTime + 7*time.Second
				if goes {
					time.Sleep(time.Second)
					cancel()
					limit = 7 * time.Second
				}
				if e := f.within(t, limit); e.Status != transport.ClientGone {
					t.Errorf("mode %q, the client goes: %v: got %q, want %q", mode, goes, e.Status, transport.ClientGone)
				}
				_ = target.Close()
				f.core.Drain(t.Context())
				if n := s.h.sessions.held.Load(); n != 0 {
					t.Errorf("%d bytes are held at the end", n)
				}
			})
		}
	}
}

// TestCutUnread cuts the download of a client that reads nothing: it counts as ended
// at once, though net/http writes to him for as long as the connection is there.
func TestCutUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, far := net.Pipe()
		near := &unread{Conn: a, open: make(chan struct{})}
		f := newFlows()
		s := newShared(t, near, far, f)
		if _, err := s.do(t.Context(), "GET", "sid", nil); err != nil {
			t.Fatal(err)
		}
		target := <-f.target
		near.shut.Store(true)
		go func() { _, _ = io.Copy(target, zeros{}) }()
		synctest.Wait()
		(<-f.flow).Cut(transport.Cut)
		if e := f.within(t, 3*time.Second); e.Status != transport.Cut {
			t.Errorf("got %q, want %q", e.Status, transport.Cut)
		}
		if f.core.Len() != 1 {
			t.Error("nobody writes to the client any more: this tests nothing")
		}
		close(near.open)
		f.core.Drain(t.Context())
		if len(f.end) > 0 {
			t.Error("got a second end")
		}
	})
}

// zeros is endless.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
