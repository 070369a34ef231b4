package browser_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/browser"
)

// counted counts writes.
type counted struct {
	transport.Conn
	writes atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// TestHold wants the records of several writes in one, all that is kept at a time once
// there is too much, and nothing behind a write that failed.
func TestHold(t *testing.T) {
	a := newAuthority(t)
	address, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{a.server(t, name)}})
	raw := &counted{Conn: dial(t, address)}
	c, err := browser.Bundled().Client(t.Context(), raw, browser.Config{ServerName: name, Roots: a.pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Records are short at the beginning of a connection (crypto/tls, maxPayloadSizeForWrite).
	for range 16 {
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ writes, size, want int }{{1, 100, 1}, {5, 1000, 1}, {4, 16 << 10, 1}, {9, 16 << 10, 3}} {
		before := raw.writes.Load()
		sent := bytes.Repeat([]byte{7}, tt.size)
		c.Hold()
		for range tt.writes {
			if _, err := c.Write(sent); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Release(); err != nil {
			t.Fatal(err)
		}
		if got := raw.writes.Load() - before; got != int64(tt.want) {
			t.Errorf("%d times %d bytes: got %d writes, want %d", tt.writes, tt.size, got, tt.want)
		}
		if _, err := io.ReadFull(c, make([]byte, tt.writes*tt.size)); err != nil {
			t.Fatal(err)
		}
	}
	_ = raw.SetWriteDeadline(time.Unix(1, 0))
	c.Hold()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("held: got %v, want nil", err)
	}
	if err := c.Release(); !os.IsTimeout(err) {
		t.Errorf("release: got %v, want a time-out", err)
	}
	_ = raw.SetWriteDeadline(time.Time{})
	if _, err := c.Write([]byte("y")); err == nil {
		t.Error("behind a write that failed: got nil, want its error")
	}
}
