package interop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// halfLimit bounds one exchange: a half that ends nowhere shows as a time-out.
const halfLimit = 10 * time.Second

// TestHalfClose ends one direction and wants the other to go on until it has
// ended too.
func TestHalfClose(t *testing.T) {
	integration(t)
	r := quickstart(t, "--egress-allow", "127.0.0.0/8")
	request, answer := patternBytes(100<<10), patternBytes(1<<20)
	for _, protocol := range []string{"socks5", "http"} {
		t.Run("client first "+protocol, func(t *testing.T) {
			got := make(chan []byte, 1)
			addr := listen(t, func(c *net.TCPConn) {
				_ = c.SetDeadline(time.Now().Add(halfLimit))
				b, _ := io.ReadAll(c)
				got <- b
				// Longer than a relay that ends the pair with its first half would wait.
				pause(t, time.Second)
				_, _ = c.Write(answer)
			})
			c := dialVia(t, r.proxy(protocol), addr)
			_ = c.SetDeadline(time.Now().Add(halfLimit))
			sendAndEnd(t, c, request)
			checkBytes(t, "answer", readAll(t, c), answer)
			checkBytes(t, "request", <-got, request)
		})
		t.Run("server first "+protocol, func(t *testing.T) {
			got := make(chan []byte, 1)
			addr := listen(t, func(c *net.TCPConn) {
				_ = c.SetDeadline(time.Now().Add(halfLimit))
				_, _ = c.Write(request)
				_ = c.CloseWrite()
				b, _ := io.ReadAll(c)
				got <- b
			})
			c := dialVia(t, r.proxy(protocol), addr)
			_ = c.SetDeadline(time.Now().Add(halfLimit))
			checkBytes(t, "what the server sent", readAll(t, c), request)
			pause(t, time.Second)
			sendAndEnd(t, c, answer)
			checkBytes(t, "what the client sent", <-got, answer)
		})
	}
}

// TestReset wants a reset to arrive as a reset: an end of stream in its place
// would tell a truncated answer as a whole one.
func TestReset(t *testing.T) {
	integration(t)
	r := anonymous(t)
	for _, protocol := range []string{"socks5", "http"} {
		t.Run("by the server "+protocol, func(t *testing.T) {
			addr := listen(t, func(c *net.TCPConn) {
				_, _ = io.ReadFull(c, make([]byte, 5))
				_ = c.SetLinger(0) // its close is then a reset
			})
			c := dialVia(t, r.proxy(protocol), addr)
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("client read: got %d bytes and %v, want %v", n, err, syscall.ECONNRESET)
			}
		})
		t.Run("by the client "+protocol, func(t *testing.T) {
			got := make(chan error, 1)
			addr := listen(t, func(c *net.TCPConn) {
				_, _ = io.CopyN(c, c, 5)
				_, err := c.Read(make([]byte, 1))
				got <- err
			})
			c := dialVia(t, r.proxy(protocol), addr)
			if err := roundTrip(c, "hello", 10*time.Second); err != nil {
				t.Fatal(err)
			}
			_ = c.SetLinger(0)
			c.Close()
			select {
			case err := <-got:
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("server read: got %v, want %v", err, syscall.ECONNRESET)
				}
			case <-time.After(20 * time.Second):
				t.Error("server read: got nothing in 20s, want a reset")
			}
		})
	}
}

func sendAndEnd(t *testing.T, c *net.TCPConn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("got %v after %d bytes, want an end of stream", err, len(b))
	}
	return b
}

func checkBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes, want the %d sent", what, len(got), len(want))
	}
}
