package h2_test

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
)

// TestSetAside: what is set aside opens the connection's window, once, and stays
// readable.
func TestSetAside(t *testing.T) {
	const all = 6 << 20
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 20<<20)
		s1, s3 := open(t, c, request("GET", "/"), nil, true), open(t, c, request("GET", "/"), nil, true)
		s.opening()
		_ = s.updates()
		s.answer(1, false)
		s.answer(3, false)
		s.body(1, all)
		s.body(3, all)
		synctest.Wait()
		if unread, _, read := s1.Held(); unread != all || read != 0 || c.Unread() != 2*all {
			t.Errorf("Held: got %d and %d of %d, want %d of twice as much", unread, read, c.Unread(), all)
		}
		s1.SetAside(1 << 30)
		s1.SetAside(1 << 30)
		if got := s.updates(); len(got) != 1 || got[0] != all || c.Unread() != all {
			t.Errorf("set aside: got %v and %d unread, want %d for the connection", got, c.Unread(), all)
		}
		// Reading it opens the window of the stream alone.
		read(t, s1, all)
		if got := s.updates(); got[0] != 0 || got[1] < all/2 || c.Unread() != all {
			t.Errorf("read: got %v and %d unread, want the window of 1 alone", got, c.Unread())
		}
		// What comes after it counts again.
		s.body(1, 1000)
		synctest.Wait()
		if c.Unread() != all+1000 {
			t.Errorf("more: got %d unread, want %d", c.Unread(), all+1000)
		}
		s1.SetAside(1 << 30)
		_ = s1.Close()
		_ = s3.Close()
		if err := c.Err(); c.Unread() != 0 || err != nil {
			t.Errorf("closed: got %d unread and %v, want none", c.Unread(), err)
		}
	})
}

// TestFail: whoever has a stream that somebody else has ended is told why.
func TestFail(t *testing.T) {
	errWhy := errors.New("why")
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 20<<20)
		s1, s3 := open(t, c, request("POST", "/"), nil, false), open(t, c, request("GET", "/"), nil, true)
		s.opening()
		s.answer(1, false)
		s.body(1, 1<<20)
		synctest.Wait()
		s1.Fail(errWhy)
		if _, err := s1.Read(make([]byte, 1)); err != errWhy {
			t.Errorf("Read: got %v, want %v", err, errWhy)
		}
		if _, err := s1.Write(make([]byte, 1)); err != errWhy {
			t.Errorf("Write: got %v, want %v", err, errWhy)
		}
		waiting := make(chan error)
		go func() { waiting <- s3.WaitRead() }()
		synctest.Wait()
		s3.Fail(errWhy)
		if err := <-waiting; err != errWhy {
			t.Errorf("WaitRead: got %v, want %v", err, errWhy)
		}
		if n := c.Streams(); n != 0 || c.Unread() != 0 {
			t.Errorf("got %d streams and %d bytes, want none", n, c.Unread())
		}
		if err := s1.Close(); err != net.ErrClosed {
			t.Errorf("Close: got %v, want %v", err, net.ErrClosed)
		}
	})
}
