package upstream

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/transport"
)

// TestBegun is that a stream which has begun ends with its connection, with the error
// that says so, and is said nowhere again.
func TestBegun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		early string
		begin func(t *testing.T, c transport.Conn, far *carried)
	}{
		{"by an answer", "", func(t *testing.T, c transport.Conn, far *carried) { echo(t, c, far) }},
		{"by an end", "x", func(t *testing.T, c transport.Conn, far *carried) {
			_ = far.far.CloseWrite()
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read: got %v, want the end", err)
			}
		}},
		{"below, as who reads finds out", "x", func(_ *testing.T, _ transport.Conn, far *carried) {
			far.mu.Lock()
			defer far.mu.Unlock()
			far.begun = true
		}},
		{"by more than is kept", "", func(t *testing.T, c transport.Conn, far *carried) {
			for range mostKept / 1024 {
				write(t, c, strings.Repeat("k", 1024))
			}
			write(t, c, "k")
		}},
		{"by early payload of more than is kept", strings.Repeat("k", mostKept+1), func(*testing.T, transport.Conn, *carried) {}},
	} {
		for _, find := range []string{"read", "write", "wait", "end"} {
			t.Run(tt.name+", "+find, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := &fake{}, &fake{}
					c := dial(t, newSet(t, a, b), tt.early)
					tt.begin(t, c, a.nth(t, 0))
					a.lose()
					var err error
					switch find {
					case "read":
						_, err = c.Read(make([]byte, 1))
					case "write":
						_, err = c.Write([]byte("again"))
					case "wait":
						if err = c.(transport.ReadWaiter).WaitRead(); err == nil {
							_, err = c.Read(make([]byte, 1)) // which tells, as ever
						}
					case "end":
						err = c.CloseWrite()
					}
					if !errors.Is(err, transport.ErrCarrier) {
						t.Errorf("%s: got %v, want that of the carrier", find, err)
					}
					time.Sleep(time.Minute)
					if b.count() != 0 || a.count() != 1 {
						t.Errorf("streams: got %d and %d, want it on one way only", a.count(), b.count())
					}
				})
			})
		}
	}
}

// TestLateAnswer is that nothing is delivered of a connection which the stream has left:
// the answer is to come from one.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{ready: after(time.Second)}
		c := dial(t, newSet(t, a, b), "x")
		far := a.nth(t, 0)
		got := make(chan string)
		go func() {
			p := make([]byte, 3)
			n, _ := io.ReadFull(c, p)
			got <- string(p[:n])
		}()
		synctest.Wait()
		// The writing half is found dead while an answer is under way.
		a.mu.Lock()
		a.live = false
		a.mu.Unlock()
		a.ready = refuse
		if !c.(*stream).move(far, errGone) {
			t.Fatal("move: got false, want true")
		}
		_, _ = far.far.Write([]byte("OLD"))
		time.Sleep(2 * time.Second)
		_, _ = b.nth(t, 0).far.Write([]byte("new"))
		if s := <-got; s != "new" {
			t.Errorf("Read: got %q, want what the second way says", s)
		}
	})
}

// TestNowhere is a stream for which there is no other way.
func TestNowhere(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ready func(context.Context) error
		most  time.Duration
	}{
		{"refused", refuse, dialTime},
		{"silent", silent, dialTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &fake{}
				s := newSet(t, a)
				c := dial(t, s, "x")
				a.ready = tt.ready
				a.lose()
				began := time.Now()
				_, err := c.Read(make([]byte, 1))
				if !errors.Is(err, transport.ErrCarrier) || !strings.Contains(err.Error(), "no way out: a: ") {
					t.Errorf("Read: got %v, want that of the carrier, and why there is no other", err)
				}
				if _, again := c.Write([]byte("y")); again == nil || again.Error() != err.Error() {
					t.Errorf("Write: got %v, want the same as Read", again)
				}
				if took := time.Since(began); took > tt.most {
					t.Errorf("errors: got them after %v, want them within %v", took, tt.most)
				}
			})
		})
	}
}

// TestMoves is that a stream is moved a few times only.
func TestMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{}
		s := newSet(t, a)
		c := dial(t, s, "x")
		go func() {
			for i := range mostMoves + 1 {
				_ = a.nth(t, i).got(t, 1)
				a.lose()
			}
		}()
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, transport.ErrCarrier) {
			t.Errorf("Read: got %v, want that of the carrier", err)
		}
		if n := a.count(); n != mostMoves+1 {
			t.Errorf("streams: got %d, want %d", n, mostMoves+1)
		}
		if took := time.Since(began); took > dialTime {
			t.Errorf("Read: got its error after %v, want it within %v", took, dialTime)
		}
	})
}

// TestRefusal is that what the exit says of the target is not the carrier's fault.
func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fake{}, &fake{}
		s := newSet(t, a, b)
		c := dial(t, s, "x")
		_ = a.nth(t, 0).far.SetLinger(0)
		_ = a.nth(t, 0).far.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, transport.ErrCarrier) {
			t.Errorf("Read: got %v, want the exit's own error", err)
		}
		if st := s.States()[0]; st.Failures != 0 || b.count() != 0 {
			t.Errorf("the way: got %d failures and %d streams elsewhere, want none", st.Failures, b.count())
		}
	})
}
