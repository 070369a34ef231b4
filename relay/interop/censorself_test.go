package interop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	curlTimeout = 28 // CURLE_OPERATION_TIMEDOUT
	curlNoTLS   = 35 // CURLE_SSL_CONNECT_ERROR
)

// viaCensor is curl's arguments for name at the censor.
func viaCensor(c *censor, name, path string) []string {
	_, port, _ := net.SplitHostPort(c.addr)
	return []string{"-q", "-sS", "-k", "--noproxy", "*", "--max-time", "3", "--connect-to", "::127.0.0.1:" + port, "https://" + name + path}
}

// TestCensor proves that the censor does what the tests of entries rely on.
func TestCensor(t *testing.T) {
	integration(t)
	t.Parallel()
	o := startOrigin(t, true)
	t.Run("passes", func(t *testing.T) {
		c := newCensor(t, o.addr, censorRules{})
		curl(t, nil, viaCensor(c, coverName, "/hello")...).check(t, greeting)
		got := c.seen()
		if len(got) != 1 || got[0].Name != coverName || got[0].Refused != "" || c.peak() != 1 {
			t.Fatalf("got %v, %d at a time; want one connection, to %s", got, c.peak(), coverName)
		}
		f := got[0]
		if len(f.Records) < 6 || f.Records[0].Kind != 22 || !f.Records[0].Up || f.Records[0].Size < len(f.Hello) || f.Records[1].Up {
			t.Errorf("records: got %v, want a hello of %d bytes up, and an answer", f.Records, len(f.Hello))
		}
		var up, down int64
		for _, r := range f.Records {
			if r.Kind < 20 || r.Kind > 23 {
				t.Errorf("record: got kind %d, want one of TLS", r.Kind)
			}
			if r.Up {
				up += int64(r.Size)
			} else {
				down += int64(r.Size)
			}
		}
		if up != f.Up || down != f.Down {
			t.Errorf("records of a short connection: got %d bytes up and %d down, want all of %d and %d", up, down, f.Up, f.Down)
		}
		// Debian's curl with OpenSSL 3; it offers h2 and http/1.1.
		if ja4 := f.fingerprint(t); !strings.HasPrefix(ja4, "t13d") || !strings.Contains(ja4, "h2_") || len(ja4) != 36 {
			t.Errorf("JA4: got %q, want that of a hello with a name, for HTTP/2", ja4)
		}
	})
	t.Run("freezes", func(t *testing.T) {
		c := newCensor(t, o.addr, censorRules{Freeze: 14 << 10, FreezeMost: 20 << 10})
		curl(t, nil, viaCensor(c, coverName, "/bytes/4000")...)
		res := curl(t, nil, viaCensor(c, coverName, "/bytes/100000")...)
		f := c.seen()
		if res.ExitCode != curlTimeout || len(res.Body) == 0 || len(res.Body) > 20<<10 {
			t.Errorf("got exit %d and %d bytes, want %d, and some of them", res.ExitCode, len(res.Body), curlTimeout)
		}
		if len(f) != 2 || !f[0].Frozen.IsZero() || f[1].Frozen.IsZero() || f[1].Down < 14<<10 || f[1].Down > 20<<10 {
			t.Errorf("got %v, want the second frozen after 14 to 20 kB", f)
		}
	})
	t.Run("limits", func(t *testing.T) {
		for _, resets := range []bool{false, true} {
			c := newCensor(t, o.addr, censorRules{Connections: 2, Resets: resets})
			held := make([]*tls.Conn, 2)
			for i := range held {
				held[i] = visit(t, c.addr, coverName)
			}
			want := curlTimeout
			if resets {
				want = curlNoTLS
			}
			if res := curl(t, nil, viaCensor(c, coverName, "/hello")...); res.ExitCode != want {
				t.Errorf("a third connection, resets %t: got exit %d (%s), want %d", resets, res.ExitCode, res.ErrorMsg, want)
			}
			held[0].Close()
			// The censor has to have seen the end of it.
			settle(t, 1, 5*time.Second, func() int { c.mu.Lock(); defer c.mu.Unlock(); return c.open })
			curl(t, nil, viaCensor(c, coverName, "/hello")...).check(t, greeting)
			if got := c.peak(); got != 3 {
				t.Errorf("peak: got %d, want 3 with the one refused", got)
			}
		}
	})
	t.Run("names", func(t *testing.T) {
		c := newCensor(t, o.addr, censorRules{Names: []string{coverName}})
		if res := curl(t, nil, viaCensor(c, "other.example", "/hello")...); res.ExitCode != curlTimeout {
			t.Errorf("another name: got exit %d (%s), want silence", res.ExitCode, res.ErrorMsg)
		}
		conn, err := net.Dial("tcp4", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		pieces := tls.Client(bytewise{conn}, &tls.Config{ServerName: coverName, InsecureSkipVerify: true})
		if err := pieces.Handshake(); err != nil {
			t.Errorf("the name in a hello of many segments: got %v, want a handshake", err)
		}
	})
	t.Run("resets", func(t *testing.T) {
		c := newCensor(t, o.addr, censorRules{ResetHello: true})
		if res := curl(t, nil, viaCensor(c, coverName, "/hello")...); res.ExitCode != curlNoTLS {
			t.Errorf("got exit %d (%s), want %d", res.ExitCode, res.ErrorMsg, curlNoTLS)
		}
		if f := c.seen(); len(f) != 1 || f[0].Name != coverName || f[0].Down != 0 {
			t.Errorf("got %v, want a hello and nothing down", f)
		}
	})
	t.Run("blackhole", func(t *testing.T) {
		if c, err := net.DialTimeout("tcp4", blackhole(t), 1500*time.Millisecond); !isTimeout(err) {
			t.Errorf("got %v, %v, want no answer", c, err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		c := newCensor(t, closedPort(t), censorRules{})
		conn, err := net.Dial("tcp4", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %d bytes, %v, want a reset", n, err)
		}
	})
}

// visit makes a handshake with name at addr.
func visit(t *testing.T, addr, name string) *tls.Conn {
	t.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
	c, err := d.DialContext(t.Context(), "tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*tls.Conn)
}

// bytewise writes the first bytes one by one.
type bytewise struct{ net.Conn }

func (b bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := b.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
