package interop

import (
	"net"
	"strings"
	"testing"
	"time"
)

// longIdle is well above any handshake or fin timeout.
const longIdle = 30 * time.Second

// TestLongIdle leaves an open connection alone and then uses it again. Messengers
// live from such connections.
func TestLongIdle(t *testing.T) {
	integration(t)
	t.Parallel()
	r := quickstart(t, "--egress-allow", "127.0.0.0/8")
	addr := listen(t, echo)
	socks, http := dialVia(t, r.proxy("socks5"), addr), dialVia(t, r.proxy("http"), addr)
	// One that has never been used, and one with a byte on it before the pause.
	if err := roundTrip(http, "before", 10*time.Second); err != nil {
		t.Errorf("http, before the pause: %v", err)
	}
	pause(t, longIdle)
	for name, c := range map[string]*net.TCPConn{"socks5": socks, "http": http} {
		if err := roundTrip(c, strings.Repeat("after ", 1000), 10*time.Second); err != nil {
			t.Errorf("%s, after %v: %v", name, longIdle, err)
		}
	}
}

// TestLimits proves that the limits in the config file end what they should, and
// nothing else.
func TestLimits(t *testing.T) {
	integration(t)
	t.Parallel()
	const (
		limit = 4 * time.Second
		least = limit - 1500*time.Millisecond // limits are kept to about a second
		most  = limit + 6*time.Second         // on a busy machine, too
	)
	idle := serve(t, t.TempDir(), true, nil, "[limits]\nidle_timeout = \"4s\"\n").proxy("socks5")
	fin := serve(t, t.TempDir(), true, nil, "[limits]\nfin_timeout = \"4s\"\n").proxy("socks5")
	silent := listen(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) })
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		c := dialVia(t, idle, silent)
		checkCut(t, c, time.Now(), least, most)
	})
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		c := dialVia(t, idle, listen(t, echo))
		for range 10 {
			if err := roundTrip(c, "tick", limit); err != nil {
				t.Fatalf("a connection that speaks each half second: got %v, want it to live", err)
			}
			pause(t, 500*time.Millisecond)
		}
	})
	t.Run("fin", func(t *testing.T) {
		t.Parallel()
		// The server sees the end, goes on for 5 s with pauses shorter than the
		// limit, then says nothing and keeps its end open.
		const ticks = 10
		c := dialVia(t, fin, listen(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			for range ticks {
				_, _ = c.Write([]byte{'.'})
				pause(t, 500*time.Millisecond)
			}
			pause(t, most)
		}))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for i := range ticks {
			_ = c.SetReadDeadline(time.Now().Add(most))
			if n, err := c.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("tick %d of %d: got %v, want a byte", i, ticks, err)
			}
		}
		checkCut(t, c, time.Now(), least, most)
	})
}

// checkCut wants the relay to end c between least and most after since.
func checkCut(t *testing.T, c net.Conn, since time.Time, least, most time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(since.Add(most))
	n, err := c.Read(make([]byte, 1))
	after := time.Since(since)
	if n != 0 || after < least || after >= most {
		t.Errorf("got %d bytes and %v after %v, want the end of the connection after %v to %v",
			n, err, after.Round(time.Millisecond), least, most)
	}
}
