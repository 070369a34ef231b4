package httpconnect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"relay/relay/relaytest"
	"relay/transport"
)

// exits is a way out like that through an upstream relay: each stream begins at once, and
// how the target is, its end tells.
type exits struct {
	end   error
	after time.Duration
}

// DialStream implements transport.Dialer.
func (e *exits) DialStream(context.Context, transport.Target, []byte) (transport.Conn, error) {
	near, far := relaytest.Pipe()
	c := &lostStream{Conn: near, end: e.end}
	time.AfterFunc(e.after, func() { _ = far.Close() })
	return c, nil
}

// lostStream ends as it is told.
type lostStream struct {
	transport.Conn
	end error
}

func (l *lostStream) why(err error) error {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return l.end
	}
	return err
}

// Read implements net.Conn.
func (l *lostStream) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	return n, l.why(err)
}

// Write implements net.Conn.
func (l *lostStream) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	return n, l.why(err)
}

// WaitRead implements transport.ReadWaiter.
func (l *lostStream) WaitRead() error { return l.why(transport.WaitRead(l.Conn)) }

type timeout struct{ error }

func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return false }

// TestUnanswered is a target that turns out to be dead when it was connected: who asked
// for a page is told so, whatever he is still sending.
func TestUnanswered(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  error
		want int
	}{
		{"an end", io.EOF, http.StatusBadGateway},
		{"refused by the exit", fmt.Errorf("vless: answer: %w", io.ErrUnexpectedEOF), http.StatusBadGateway},
		{"no way to the exit", fmt.Errorf("upstream: %w", transport.ErrCarrier), http.StatusBadGateway},
		{"no answer", timeout{errors.New("connection timed out")}, http.StatusGatewayTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			via := startRelayWith(t, &exits{tt.end, 10 * time.Millisecond}, false)
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
				var body io.Reader
				if method == http.MethodPost {
					body = strings.NewReader(strings.Repeat("x", 4<<20))
				}
				req, err := http.NewRequest(method, "http://www.example.org/", body)
				if err != nil {
					t.Fatal(err)
				}
				c := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(via)}, Timeout: 10 * time.Second}
				resp, err := c.Do(req)
				if err != nil {
					t.Errorf("%s: got %v, want an answer", method, err)
					continue
				}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != tt.want || err != nil || (len(text) == 0) != (method == http.MethodHead) {
					t.Errorf("%s: got %s, %q, %v, want status %d and a line", method, resp.Status, text, err, tt.want)
				}
				if strings.Contains(string(text), "vless") || strings.Contains(string(text), "upstream") {
					t.Errorf("%s: got %q, want nothing about the way", method, text)
				}
				c.CloseIdleConnections()
			}
		})
	}
}

// TestUnansweredReset is a target that is connected, and resets the connection before it
// answers; within an answer that is a broken answer, as before.
func TestUnansweredReset(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if r.URL.Path == "/half" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha")
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}))
	defer target.Close()
	via := startRelay(t)
	for path, want := range map[string]int{"/": http.StatusBadGateway, "/half": http.StatusOK} {
		c := &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return via, nil }}, Timeout: 10 * time.Second}
		resp, err := c.Get(target.URL + path)
		if err != nil {
			if path == "/" {
				t.Errorf("%s: got %v, want an answer", path, err)
			}
			continue // the reset was faster than what came before it
		}
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want || (err != nil) != (path == "/half") {
			t.Errorf("%s: got %s and %v, want %d", path, resp.Status, err, want)
		}
		c.CloseIdleConnections()
	}
}
