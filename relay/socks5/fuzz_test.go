package socks5

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	gosocks5 "github.com/armon/go-socks5"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// FuzzRequest compares our length check and parser with the parser of
// armon/go-socks5 on the same bytes. What we accept it accepts, takes the same
// number of bytes for and understands in the same way. We are stricter in this:
// the command is CONNECT, the port is not 0, and a name is one that DNS can
// carry, not empty and no address in disguise.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		to, toIPv6("::1"), toIPv6("::ffff:1.2.3.4"), toName("www.example.org", 443), toName("", 1), toName("1.2.3.4", 1),
		toName(strings.Repeat("a", 255), 1), "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x01\x00\x02\x00\x00", "\x04\x01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		theirs, theirErr := gosocks5.NewRequest(r)
		taken := len(b) - r.Len()
		if len(b) < 5 {
			return
		}
		n, err := requestLen(b)
		if err == nil && len(b) < n {
			if theirErr == nil {
				t.Errorf("length: got %d of %d bytes wanted, but the library is content with %d", len(b), n, taken)
			}
			return
		}
		var target transport.Target
		if err == nil {
			target, err = parseRequest(b[:n])
		}
		if err == nil {
			if theirErr != nil || taken != n {
				t.Errorf("library: got %v and %d bytes, want nil and %d", theirErr, taken, n)
			}
			if !target.IsValid() || int(target.Port()) != theirs.DestAddr.Port {
				t.Errorf("target: got %v, want a valid one with port %d", target, theirs.DestAddr.Port)
			}
			return
		}
		var oe *openError
		if !errors.As(err, &oe) {
			t.Fatalf("error: got %v, want an openError", err)
		}
		if theirErr == nil && !stricter(theirs) {
			t.Errorf("ours: got %v, want nil for %+v", err, theirs.DestAddr)
		}
	})
}

// stricter reports whether a request that the library accepts is one of those
// that we refuse on purpose.
func stricter(r *gosocks5.Request) bool {
	d := r.DestAddr
	if r.Command != gosocks5.ConnectCommand || d.Port == 0 {
		return true
	}
	if len(d.IP) > 0 {
		return false
	}
	_, err := transport.NameTarget(d.FQDN, 1)
	return err != nil
}

// FuzzOpen feeds arbitrary bytes of a client, with and without password, and in
// two segments: no panic, a request or an error, well-formed answers, and not a
// byte taken behind the opening.
func FuzzOpen(f *testing.F) {
	for _, s := range []string{
		anyone + to + "payload", password + alice + toName("www.example.org", 443) + "payload", "\x05\x00", "\x05\x02\x00\x02" + alice,
		password + "\x05\x00\x00", anyone + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x04\x01\x00\x50\x01\x02\x03\x04\x00", "",
	} {
		f.Add([]byte(s), true, 3)
		f.Add([]byte(s), false, len(s)/2)
	}
	f.Fuzz(func(t *testing.T, said []byte, anonymous bool, cut int) {
		if len(said) > 8<<10 {
			return
		}
		in := &Inbound{Verify: verify, Anonymous: anonymous}
		if got := in.Match(nil); got != relay.More {
			t.Errorf("Match of nothing: got %d, want More (%d)", got, relay.More)
		}
		if len(said) > 0 && in.Match(said) != in.Match(said[:1]) {
			t.Errorf("Match: got %d, want %d as for the first byte", in.Match(said), in.Match(said[:1]))
		}
		client, server := relaytest.Pipe()
		defer client.Close()
		defer server.Close()
		cut = min(max(0, cut), len(said))
		_, _ = client.Write(said)
		_ = client.CloseWrite()
		w := &written{Conn: &cutReader{Conn: server, first: cut}}
		p := transport.NewPeeked(w)
		req, err := in.Open(context.Background(), auth.User{}, p)
		if (req == nil) == (err == nil) {
			t.Fatalf("Open: got %v and %v, want one of them", req, err)
		}
		if err != nil && !errors.Is(err, relay.ErrBadRequest) && !errors.Is(err, relay.ErrAuth) &&
			!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Open: got %v, want an error that has a status word", err)
		}
		for _, reply := range w.writes {
			if n := len(reply); n != 2 && n != 10 || n == 10 && (reply[0] != version || reply[2] != 0 || reply[3] != atypIPv4) {
				t.Errorf("write: got % x, want an answer of 2 or 10 bytes", reply)
			}
		}
		if err == nil {
			checkOpened(t, said, anonymous, req, p)
		}
	})
}

// checkOpened works the end of the opening out anew and compares.
func checkOpened(t *testing.T, said []byte, anonymous bool, req transport.Request, p *transport.Peeked) {
	t.Helper()
	n := 2 + int(said[1])
	if !(anonymous && bytes.IndexByte(said[2:n], 0) >= 0) {
		n += 2 + int(said[n+1])
		n += 1 + int(said[n])
	}
	size, err := requestLen(said[n:])
	if err != nil || !req.Target().IsValid() {
		t.Fatalf("request: got %v, %v, want a valid one", req.Target(), err)
	}
	got, err := io.ReadAll(p)
	if want := said[n+size:]; err != nil || !bytes.Equal(got, want) {
		t.Errorf("behind the opening: got %q, %v, want %q", got, err, want)
	}
}

// cutReader returns at most first bytes from its first Read.
type cutReader struct {
	transport.Conn
	first int
}

// Read implements transport.Conn.
func (c *cutReader) Read(b []byte) (int, error) {
	if c.first > 0 {
		b = b[:min(len(b), c.first)]
		c.first = 0
	}
	return c.Conn.Read(b)
}
