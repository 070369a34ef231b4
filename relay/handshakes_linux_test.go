package relay_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"relay/relay"
	"relay/transport"
)

// visited is a stranger in the site's hands.
type visited struct {
	transport.Conn
	guest transport.Guest
	came  time.Time
}

// leave closes it, as a site does when its handshake fails.
func (v visited) leave() {
	_ = v.Close()
	v.guest.Closed(0, 0)
}

// TestHandshakes: few strangers are in the middle of a handshake with the site, and
// the others wait: for one of them to answer or to end, and for who says nothing for
// long, who then is reset.
func TestHandshakes(t *testing.T) {
	const most, more = 2, 3
	site := make(chan visited, most+more)
	s := newStreet(t, func(l *relay.Listener) {
		l.Cover.Handshakes = most
		l.Cover.Site = func(c transport.Conn, _ time.Time, g transport.Guest) { site <- visited{c, g, time.Now()} }
	})
	next := func(why string) visited {
		t.Helper()
		select {
		case v := <-site:
			return v
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nobody came to the site, want one", why)
			panic("not reached")
		}
	}
	for range most + more {
		c := mustDial(t, "127.0.0.1", s.addr)
		defer c.Close()
		_, _ = io.WriteString(c, record("nobody"))
	}
	until(t, "all to be strangers", func() bool { return s.srv.Snapshot().Strangers == most+more })
	first, second := next("first"), next("second")
	if n := len(site); n > 0 {
		t.Fatalf("at the site: got %d more than %d, want none", n, most)
	}
	first.guest.Answered()
	third := next("one has answered")
	second.leave()
	fourth := next("one has ended")
	fifth := next("nobody says anything")
	if waited := fifth.came.Sub(third.came); waited < 2900*time.Millisecond {
		t.Errorf("the slowest made room after %v, want 3 s", waited)
	}
	if _, err := third.Read(make([]byte, 1000)); err == nil {
		_, err = third.Read(make([]byte, 1000)) // the first one got what was peeked at
		if err == nil {
			t.Error("who was slow: got bytes, want the end of the connection")
		}
	}
	for _, v := range []visited{first, third, fourth, fifth} {
		v.leave()
	}
	until(t, "all to be forgotten", func() bool { return s.srv.Snapshot().Strangers == 0 && s.srv.Snapshot().Live == 0 })
}

// TestHandshakesWait: a stranger who ends while he waits for his turn leaves his place at
// once, and whoever waits behind him gets the turn.
func TestHandshakesWait(t *testing.T) {
	site := make(chan visited, 4)
	s := newStreet(t, func(l *relay.Listener) {
		l.Cover.Handshakes = 1
		l.Cover.Site = func(c transport.Conn, _ time.Time, g transport.Guest) { site <- visited{c, g, time.Now()} }
	})
	var waiting []*net.TCPConn
	for i := range 4 {
		c := mustDial(t, "127.0.0.1", s.addr)
		defer c.Close()
		_, _ = io.WriteString(c, record("nobody"))
		until(t, "one more stranger", func() bool { return s.srv.Snapshot().Strangers == i+1 })
		waiting = append(waiting, c)
	}
	_ = waiting[1].SetLinger(0)
	_ = waiting[1].Close()
	_ = waiting[2].CloseWrite()
	until(t, "those who have ended to be forgotten", func() bool { return s.srv.Snapshot().Strangers == 2 })
	first := <-site
	first.leave()
	last := <-site
	if got, want := last.RemoteAddr().String(), waiting[3].LocalAddr().String(); got != want {
		t.Errorf("at the site: got %s, want who has not ended, %s", got, want)
	}
	s.ends(waiting[2])
	last.leave()
	until(t, "all to be forgotten", func() bool { return s.srv.Snapshot().Strangers == 0 && s.srv.Snapshot().Live == 0 })
	if n := len(site); n > 0 {
		t.Errorf("at the site: got %d more, want none", n)
	}
}

// newFew is a street where so many strangers are in a handshake at once, with a site that
// says nothing.
func newFew(t *testing.T, most int) (*street, <-chan visited) {
	site := make(chan visited, 4*most)
	return newStreet(t, func(l *relay.Listener) {
		l.Cover.Handshakes = most
		l.Cover.Site = func(c transport.Conn, _ time.Time, g transport.Guest) { site <- visited{c, g, time.Now()} }
	}), site
}

// TestHandshakesNear: a flood from one neighbourhood waits for itself; who comes from
// another one has his turn at once, at the price of the slowest of the flood.
func TestHandshakesNear(t *testing.T) {
	const most = 4
	s, site := newFew(t, most)
	come := func(from string) {
		t.Helper()
		c := mustDial(t, from, s.addr)
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, record("nobody"))
	}
	for range 2 * most {
		come("127.0.1.7")
	}
	until(t, "all to be strangers", func() bool { return s.srv.Snapshot().Strangers == 2*most })
	var flood []visited
	for range most {
		flood = append(flood, <-site)
	}
	time.Sleep(600 * time.Millisecond)
	come("127.0.2.7")
	var user visited
	select {
	case user = <-site:
	case <-time.After(time.Second):
		t.Fatal("from elsewhere: nobody came to the site, want one at once")
	}
	if from := transport.Source(user).String(); from != "127.0.2.7" {
		t.Errorf("next at the site: got %s, want who comes from elsewhere", from)
	}
	// Which of them began first nobody knows but the relay.
	resets := make(chan error, most)
	for _, v := range flood {
		_ = v.SetReadDeadline(time.Now().Add(time.Second))
		go func() {
			_, err := io.Copy(io.Discard, v)
			resets <- err
		}()
	}
	n := 0
	for range most {
		if err := <-resets; !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
			n++
		}
	}
	if n != 1 {
		t.Errorf("of the flood: got %d resets, want that of the slowest", n)
	}
	for _, v := range append(flood, user) {
		v.leave()
	}
	for range most {
		(<-site).leave()
	}
	until(t, "all to be forgotten", func() bool { return s.srv.Snapshot().Strangers == 0 && s.srv.Snapshot().Live == 0 })
}

// TestHandshakesSoon: who comes from elsewhere when a flood has just begun waits as long
// as nobody may take for a word then, and not until the flood is too slow for itself.
func TestHandshakesSoon(t *testing.T) {
	const most = 4
	s, site := newFew(t, most)
	for i := range 2*most + 1 {
		from := "127.0.1.7"
		if i == 2*most {
			from = "127.0.2.7"
		}
		c := mustDial(t, from, s.addr)
		defer c.Close()
		_, _ = io.WriteString(c, record("nobody"))
		until(t, "one more stranger", func() bool { return s.srv.Snapshot().Strangers == i+1 })
	}
	var flood []visited
	for range most {
		flood = append(flood, <-site)
	}
	user := <-site
	if from := transport.Source(user).String(); from != "127.0.2.7" {
		t.Errorf("next at the site: got %s, want who comes from elsewhere", from)
	}
	if waited := user.came.Sub(flood[0].came); waited > 2500*time.Millisecond {
		t.Errorf("he waited for %v, want 500 ms", waited)
	}
	for _, v := range append(flood, user) {
		v.leave()
	}
	for range most {
		(<-site).leave()
	}
	until(t, "all to be forgotten", func() bool { return s.srv.Snapshot().Strangers == 0 && s.srv.Snapshot().Live == 0 })
}

// TestHandshakesLate: a stranger may wait for his turn until the time of his opening is
// over, and have said more by then.
func TestHandshakesLate(t *testing.T) {
	const handshake = 200 * time.Millisecond
	for _, more := range []string{"", "early data"} {
		site := make(chan visited, 2)
		s := newLimitedStreet(t, func(l *relay.Listener, limits *relay.Limits) {
			limits.Handshake = handshake
			l.Cover.Handshakes = 1
			l.Cover.Site = func(c transport.Conn, _ time.Time, g transport.Guest) { site <- visited{c, g, time.Now()} }
		})
		s.says(record("nobody"))
		first := <-site
		second := s.says(record("nobody"))
		until(t, "two strangers", func() bool { return s.srv.Snapshot().Strangers == 2 })
		_, _ = io.WriteString(second, more)
		time.Sleep(2 * handshake)
		first.leave()
		select {
		case v := <-site:
			v.leave()
		case <-time.After(5 * time.Second):
			_ = second.SetReadDeadline(time.Now().Add(time.Second))
			b, err := io.ReadAll(second)
			t.Errorf("with %q: he did not come to the site, and got %q, %v", more, b, err)
		}
	}
}
