package site

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"relay/auth"
	"relay/transport"
)

// metered counts what a client sends and gets.
type metered struct {
	net.Conn
	up, down int64
}

// Read implements net.Conn.
func (m *metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.down += int64(n)
	return n, err
}

// Write implements net.Conn.
func (m *metered) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.up += int64(n)
	return n, err
}

// TestCount counts a visit's bytes on both ends, with TLS and without, peeked at
// or not.
func TestCount(t *testing.T) {
	s := newSite(t, Options{})
	for _, peek := range []int{0, 1, 100} {
		for name, serve := range map[string]func(transport.Conn, time.Time, transport.Guest){"TLS": s.Serve, "plain": s.ServePlain} {
			near, far := tcp(t)
			_ = near.SetDeadline(time.Now().Add(10 * time.Second))
			m := &metered{Conn: near}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c := net.Conn(m)
				if name == "TLS" {
					c = tls.Client(m, clientTLS(s, "http/1.1"))
				}
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+siteName+"\r\nCookie: 0123456789012345678901234567890123456789\r\nConnection: close\r\n\r\n"); err != nil {
					t.Errorf("%s: write: got %v, want nil", name, err)
				}
				if answer, err := io.ReadAll(c); err != nil || len(answer) == 0 {
					t.Errorf("%s: answer: got %q, %v", name, answer, err)
				}
				_ = near.Close()
			}()
			p := transport.NewPeeked(far)
			_, _ = p.Peek(peek)
			g := make(counting, 1)
			serve(p, time.Now(), g)
			<-done
			moved := <-g
			up, down := moved[0], moved[1]
			if up != m.up || down != m.down || up == 0 {
				t.Errorf("%s, %d peeked at: got %d bytes up, %d down, want %d and %d", name, peek, up, down, m.up, m.down)
			}
		}
	}
}

// counting is told what a visit has moved.
type counting chan [2]int64

func (counting) Claimed(auth.User)       {}
func (counting) Answered()               {}
func (counting) Borrow() bool            { return true }
func (counting) Return()                 {}
func (c counting) Closed(up, down int64) { c <- [2]int64{up, down} }
