package caddy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// quiet is how long a server must say nothing to count as waiting for more.
const quiet = 400 * time.Millisecond

// outcome is what a server said, and how it ended: fin, reset or open.
type outcome struct {
	said string
	end  string
}

func (o outcome) String() string { return fmt.Sprintf("%s, ended by %s", show(o.said), o.end) }

func show(s string) string {
	if len(s) > 2000 {
		s = s[:1000] + "…" + s[len(s)-1000:]
	}
	return fmt.Sprintf("%q", s)
}

// script is what a client does: it sends pieces, with pauses between them, and
// reads until the server ends or falls silent.
type script struct {
	pieces [][]byte
	half   bool // closes its write half behind them
	tls    *tls.Config
}

func play(t *testing.T, address string, s script) outcome {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	defer raw.Close()
	c := raw
	if s.tls != nil {
		tc := tls.Client(raw, s.tls)
		if err := tc.Handshake(); err != nil {
			t.Fatalf("handshake: got %v, want nil", err)
		}
		c = tc
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i, b := range s.pieces {
			if i > 0 {
				time.Sleep(50 * time.Millisecond)
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
		if s.half {
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
		}
	}()
	o := listenTo(c)
	_ = raw.SetDeadline(time.Now())
	<-sent
	return o
}

func listenTo(c net.Conn) outcome {
	var said bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		_ = c.SetReadDeadline(time.Now().Add(quiet))
		n, err := c.Read(buf)
		said.Write(buf[:n])
		if err == nil {
			continue
		}
		return outcome{normal(said.String()), ending(err)}
	}
}

func ending(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "fin"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "fin without close_notify"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open"
	}
	return err.Error()
}

var (
	dates      = regexp.MustCompile(`(?m)^Date: [^\r]*`)
	boundaries = regexp.MustCompile(`[0-9a-f]{60}`)
)

// normal replaces what differs between any two answers of one server.
func normal(s string) string {
	return boundaries.ReplaceAllString(dates.ReplaceAllString(s, "Date: D"), "BOUNDARY")
}

// compare plays s to Caddy and to each of ours, which must do as Caddy does.
func compare(t *testing.T, address func(peer) string, s script) {
	t.Helper()
	compareWith(t, address, func(a string) outcome { return play(t, a, s) })
}

// compareWith runs f on each server, until one has done what the other has done
// as well: some answers are races within a server, resets overtake data, and a
// server that is busy can be slower than quiet. A difference has to last.
func compareWith[T comparable](t *testing.T, address func(peer) string, f func(address string) T) {
	t.Helper()
	for _, p := range ours {
		var got, want T
		gots, wants := make(map[T]bool), make(map[T]bool)
		same := false
		for tries := 0; tries < 10 && !same; tries++ {
			want, got = f(address(caddy)), f(address(p))
			wants[want], gots[got] = true, true
			same = wants[got] || gots[want]
		}
		if !same {
			t.Errorf("%s:\ngot  %v\nwant %v", p.label, got, want)
		}
	}
	if os.Getenv("CADDY_SHOW") != "" {
		t.Logf("%v", f(address(caddy)))
	}
}

func secure(p peer) string  { return p.secure }
func plain(p peer) string   { return p.plain }
func proxied(p peer) string { return p.proxy }

// lines joins the lines of a request's head.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// get is a request without a body on a connection that ends behind it.
func get(method, path string, headers ...string) string {
	return lines(append([]string{method + " " + path + " HTTP/1.1", "Host: " + name, "Connection: close"}, headers...)...)
}

func pieces(s ...string) (b [][]byte) {
	for _, p := range s {
		b = append(b, []byte(p))
	}
	return b
}
