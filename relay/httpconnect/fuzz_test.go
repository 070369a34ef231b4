package httpconnect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"relay/auth"
	"relay/relay"
	"relay/relay/relaytest"
	"relay/transport"
)

// FuzzOpen feeds arbitrary bytes of a client in two segments. Whatever is
// accepted is one request for net/http too, and what reaches the target is
// one well-formed request to that target, which ends where the client's does.
func FuzzOpen(f *testing.F) {
	for _, s := range []string{
		"CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\nProxy-Authorization: Basic " + alice + "\r\n\r\npayload",
		"GET http://www.example.org/a?b=1 HTTP/1.1\r\nHost: www.example.org\r\nProxy-Connection: Keep-Alive\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
		"POST http://149.154.167.51/api HTTP/1.0\r\nContent-Length: 5\r\nConnection: Content-Length\r\n\r\nhello\r\n",
		"PUT http://[::1]:81?a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Late: b\r\n\r\n",
		"OPTIONS http://www.example.org HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET http://a:b@c/ HTTP/1.1\r\n\r\n",
		"GET http://a/ HTTP/1.1\r\nX: a\r\n b\r\nY : c\r\n\r\n", "GET http://a/ HTTP/1.1\n\n", "GET /\r\r\n",
	} {
		f.Add([]byte(s), len(s)/2)
	}
	f.Fuzz(func(t *testing.T, said []byte, cut int) {
		client, server := relaytest.PipeSize(1 << 20)
		defer client.Close()
		defer server.Close()
		if len(said) > 64<<10 {
			return
		}
		checkMatch(t, said)
		_, _ = client.Write(said)
		_ = client.CloseWrite()
		w := &written{Conn: &cutReader{Conn: server, first: min(max(0, cut), len(said))}}
		p := transport.NewPeeked(w)
		req, err := anonymous().Open(context.Background(), auth.User{}, p)
		if (req == nil) == (err == nil) || len(w.writes) > 1 {
			t.Fatalf("Open: got %v, %v and writes %q, want one of the two and one write at most", req, err, w.writes)
		}
		if err != nil {
			if !errors.Is(err, relay.ErrBadRequest) && !errors.Is(err, relay.ErrAuth) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("Open: got %v, want an error that has a status word", err)
			}
			for _, answer := range w.writes {
				if _, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil); err != nil {
					t.Errorf("answer: got %q, want a response: %v", answer, err)
				}
			}
			return
		}
		near, _, err := req.Accept(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		up, upErr := io.ReadAll(near)
		checkOpened(t, said, req.Target(), up, upErr)
	})
}

// checkMatch asks about every prefix, the empty one first: a verdict other than
// More stays, and there is one before the longest method ends.
func checkMatch(t *testing.T, said []byte) {
	t.Helper()
	before := relay.More
	for n := range min(len(said), longestMethod+2) + 1 {
		got := new(Inbound).Match(said[:n])
		if before != relay.More && got != before || (got == relay.More) && n > longestMethod || n == 0 && got != relay.More {
			t.Fatalf("Match(%q): got %d behind %d, want a verdict that stays", said[:n], got, before)
		}
		before = got
	}
}

// checkOpened compares what the client said with what reaches the target.
func checkOpened(t *testing.T, said []byte, target transport.Target, up []byte, upErr error) {
	t.Helper()
	in, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(said)))
	if err != nil || !target.IsValid() {
		t.Fatalf("net/http: got %v, target %v, want both valid", err, target)
	}
	_, behind, _ := bytes.Cut(said, []byte("\r\n\r\n"))
	if in.Method == http.MethodConnect {
		if upErr != nil || !bytes.Equal(up, behind) {
			t.Errorf("towards the target: got %q, %v, want %q", up, upErr, behind)
		}
		return
	}
	br := bufio.NewReader(bytes.NewReader(up))
	out, err := http.ReadRequest(br)
	if err != nil {
		t.Fatalf("at the target: got %v for %q, want a request", err, up)
	}
	if out.Method != in.Method || !strings.HasPrefix(target.String(), out.Host) || out.Host == "" || !out.Close {
		t.Errorf("at the target: got %q, want %s to %s and an end", up, in.Method, target)
	}
	if !slices.Equal(out.TransferEncoding, in.TransferEncoding) || out.ContentLength != in.ContentLength {
		t.Errorf("framing: got %v, %d, want %v, %d", out.TransferEncoding, out.ContentLength, in.TransferEncoding, in.ContentLength)
	}
	for name := range out.Header {
		if slices.Contains(hopByHop, name) && name != "Connection" && name != "Content-Length" || strings.HasPrefix(name, "Proxy-") {
			t.Errorf("field at the target: got %s, want none such", name)
		}
	}
	want, wantErr := io.ReadAll(in.Body)
	got, gotErr := io.ReadAll(out.Body)
	if upErr == nil && (wantErr != nil || gotErr != nil || !bytes.Equal(got, want)) {
		t.Errorf("body at the target: got %q, %v, want %q, %v", got, gotErr, want, wantErr)
	}
	if !bytes.HasPrefix(want, got) {
		t.Errorf("body at the target: got %q, want the beginning of %q", got, want)
	}
	if n := br.Buffered(); n > 0 {
		t.Errorf("behind the request: got %d bytes, want 0", n)
	}
}

// FuzzChunks compares our reader of chunked bodies with that of net/http, which
// must understand what we accept, and what we make of it, in the same way. We
// are stricter in this: lines and trailers are shorter, a size has at most 15
// digits, trailer lines end in CRLF.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{
		"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n", "0\r\n\r\n", "0\r\nX-Late: a\r\n\r\nGET /", "5\r\nhello\n0\r\n\r\n", "5 \r\nhello\r\n000;x\r\n\r\n",
		"5 ;a\r\nhello\r\n0\r\n\r\n", "fffffffffffffff\r\na", "5\r\nhelloX\r\n0\r\n\r\n", "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "5;\n\r\nhello\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s), len(s)/2, 3)
	}
	f.Fuzz(func(t *testing.T, said []byte, cut, size int) {
		if len(said) > 64<<10 {
			return
		}
		client, server := relaytest.PipeSize(1 << 20)
		defer client.Close()
		defer server.Close()
		_, _ = client.Write(said)
		_ = client.CloseWrite()
		p := transport.NewPeeked(&cutReader{Conn: server, first: min(max(0, cut), len(said))})
		up, err := io.ReadAll(&sized{newChunks(p), 1 + max(0, size)%64})
		rest, _ := io.ReadAll(p)
		if err == nil && !bytes.HasSuffix(said, rest) {
			t.Errorf("behind the body: got %q, want an end of %q", rest, said)
		}
		theirs := httputil.NewChunkedReader(bytes.NewReader(said))
		want, wantErr := io.ReadAll(theirs)
		ours := bufio.NewReader(bytes.NewReader(up))
		got, gotErr := io.ReadAll(httputil.NewChunkedReader(ours))
		if err == nil {
			if gotErr != nil || wantErr != nil || !bytes.Equal(got, want) {
				t.Errorf("body: got %q, %v, want %q, %v", got, gotErr, want, wantErr)
			}
			if end, _ := io.ReadAll(ours); string(end) != "\r\n" {
				t.Errorf("behind the last chunk: got %q, want an empty trailer", end)
			}
			if bytes.IndexByte(up, ';') >= 0 && bytes.IndexByte(got, ';') < 0 {
				t.Errorf("towards the target: got %q, want no extension", up)
			}
		} else if !bytes.HasPrefix(want, got) {
			t.Errorf("body before the error: got %q, want the beginning of %q", got, want)
		}
	})
}

// sized reads at most n bytes at a time.
type sized struct {
	r io.Reader
	n int
}

// Read implements io.Reader.
func (s *sized) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), s.n)]) }

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
