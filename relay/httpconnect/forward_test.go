package httpconnect

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"relay/auth"
	"relay/relay/relaytest"
	"relay/transport"
)

// origin is the target's end of a forwarded request.
type origin struct {
	raw  string // everything that reached it
	req  *http.Request
	body string
	more string // behind the request
	err  error  // of reading near
}

// forward has an anonymous inbound open and accept what a client says before it
// ends its direction, and parses what reaches the target with net/http.
func forward(t *testing.T, said string) origin {
	t.Helper()
	client, server := relaytest.Pipe()
	defer client.Close()
	defer server.Close()
	if _, err := client.Write([]byte(said)); err != nil {
		t.Fatal(err)
	}
	_ = client.CloseWrite()
	p := transport.NewPeeked(server)
	req, err := anonymous().Open(context.Background(), auth.User{}, p)
	if err != nil {
		t.Fatalf("Open: got %v, want nil", err)
	}
	near, _, err := req.Accept(context.Background(), nil)
	if err != nil {
		t.Fatalf("Accept: got %v, want nil", err)
	}
	raw, err := io.ReadAll(near)
	o := origin{raw: string(raw), err: err}
	br := bufio.NewReader(strings.NewReader(o.raw))
	if o.req, err = http.ReadRequest(br); err != nil {
		t.Fatalf("at the origin: got %v for %q, want a request", err, raw)
	}
	body, err := io.ReadAll(o.req.Body)
	if err != nil && o.err == nil {
		t.Fatalf("body at the origin: got %v for %q, want nil", err, raw)
	}
	o.body = string(body)
	more, _ := io.ReadAll(br)
	o.more = string(more)
	return o
}

func TestRequestLine(t *testing.T) {
	for _, tt := range []struct{ said, line, host string }{
		{"GET http://www.example.org/a/b HTTP/1.1", "GET /a/b HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org HTTP/1.1", "GET / HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org?a=b HTTP/1.1", "GET /?a=b HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org? HTTP/1.1", "GET /? HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org/? HTTP/1.1", "GET /? HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org/a?b=c&d=/e?f HTTP/1.1", "GET /a?b=c&d=/e?f HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org/a#b HTTP/1.1", "GET /a HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org/a%2Fb%20c/../d HTTP/1.1", "GET /a%2Fb%20c/../d HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org/a|b[c]\"d HTTP/1.1", "GET /a|b[c]\"d HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org//evil.example/ HTTP/1.1", "GET //evil.example/ HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org/http://evil.example/ HTTP/1.1", "GET /http://evil.example/ HTTP/1.1", "www.example.org"},
		{"GET http://www.example.org/\xc3\xa4 HTTP/1.1", "GET /\xc3\xa4 HTTP/1.1", "www.example.org"},
		{"GET HTTP://WWW.Example.ORG.:8080/A HTTP/1.1", "GET /A HTTP/1.1", "www.example.org:8080"},
		{"GET http://www.example.org:80/ HTTP/1.1", "GET / HTTP/1.1", "www.example.org:80"},
		{"GET http://www.example.org:/ HTTP/1.1", "GET / HTTP/1.1", "www.example.org"},
		{"GET http://[2001:DB8::1]/ HTTP/1.1", "GET / HTTP/1.1", "[2001:db8::1]"},
		{"GET http://[2001:db8::1]:81/ HTTP/1.1", "GET / HTTP/1.1", "[2001:db8::1]:81"},
		{"GET http://www.example.org/ HTTP/1.0", "GET / HTTP/1.0", "www.example.org"},
		{"GET http://www.example.org/ HTTP/1.3", "GET / HTTP/1.1", "www.example.org"},
		{"OPTIONS http://www.example.org HTTP/1.1", "OPTIONS * HTTP/1.1", "www.example.org"},
		{"OPTIONS http://www.example.org:8001 HTTP/1.1", "OPTIONS * HTTP/1.1", "www.example.org:8001"},
		{"OPTIONS http://www.example.org/ HTTP/1.1", "OPTIONS / HTTP/1.1", "www.example.org"},
		{"OPTIONS http://www.example.org?a HTTP/1.1", "OPTIONS /?a HTTP/1.1", "www.example.org"},
	} {
		t.Run(tt.said, func(t *testing.T) {
			o := forward(t, tt.said+"\r\nHost: evil.example\r\n\r\n")
			if line, _, _ := strings.Cut(o.raw, "\r\n"); line != tt.line {
				t.Errorf("request line: got %q, want %q", line, tt.line)
			}
			if o.req.Host != tt.host || strings.Contains(o.raw, "Host: evil") {
				t.Errorf("host: got %q in %q, want %q", o.req.Host, o.raw, tt.host)
			}
			if o.err != nil || o.more != "" {
				t.Errorf("behind the request: got %q, %v, want the end", o.more, o.err)
			}
		})
	}
}

func TestFields(t *testing.T) {
	o := forward(t, strings.Join([]string{
		"POST http://www.example.org/ HTTP/1.1",
		"Host: evil.example",
		"host2: kept",
		"Proxy-Authorization: Basic " + alice,
		"Proxy-Connection: keep-alive, X-Proxied",
		"proxy-anything: dropped",
		"Connection: keep-alive, X-Foo,, x-bar , Content-Length, Host",
		"connection: X-Baz",
		"Keep-Alive: timeout=5",
		"TE: trailers",
		"Trailer: X-Late",
		"Upgrade: h2c",
		"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
		"X-Foo: dropped",
		"X-Bar: dropped",
		"X-Baz: dropped",
		"X-Kept: one",
		"X-Kept: two",
		"Authorization: Basic kept",
		"Cookie: a=b; c=d",
		"Expect: 100-continue",
		"X-Empty:",
		"X-Bytes: \xe4\t\"x\"  ",
		"content-length: 5", "", "hello",
	}, "\r\n"))
	for name, want := range map[string]string{
		"Host2": "kept", "X-Kept": "one|two", "Authorization": "Basic kept", "Cookie": "a=b; c=d", "Expect": "100-continue",
		"X-Empty": "", "X-Bytes": "\xe4\t\"x\"", "Content-Length": "5", "Connection": "close",
	} {
		got, ok := o.req.Header[name]
		if !ok || strings.Join(got, "|") != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		delete(o.req.Header, name)
	}
	if len(o.req.Header) > 0 {
		t.Errorf("other fields: got %v, want none", o.req.Header)
	}
	if strings.Contains(o.raw, alice) || o.body != "hello" || o.more != "" || o.err != nil {
		t.Errorf("at the origin: got %q, %v, want the body alone and no credential", o.raw, o.err)
	}
}

func TestBodies(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1000)
	for _, tt := range []struct{ name, head, body, want string }{
		{"none", "", "", ""},
		{"length 0", "Content-Length: 0\r\n", "", ""},
		{"length", "Content-Length: 5\r\n", "hello", "hello"},
		{"length, long", "Content-Length: 16000\r\n", long, long},
		{"length, looks like a request", "Content-Length: 19\r\n", "GET / HTTP/1.1\r\n\r\n\n", "GET / HTTP/1.1\r\n\r\n\n"},
		{"length named by Connection", "Connection: Content-Length\r\nContent-Length: 18\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"},
		{"chunked", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
		{"chunked named by Connection", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello"},
		{"chunked, capitals", "Transfer-Encoding: CHUNKED\r\n", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
		{"chunked, empty", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", ""},
		{"chunked, long", "Transfer-Encoding: chunked\r\n", "3e80\r\n" + long + "\r\n0\r\n\r\n", long},
		{"chunked, zeros before the size", "Transfer-Encoding: chunked\r\n", "0000005\r\nhello\r\n000\r\n\r\n", "hello"},
		{"chunked, white space behind the size", "Transfer-Encoding: chunked\r\n", "5 \t\r\nhello\r\n0\r\n\r\n", "hello"},
		{"chunked, extensions", "Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0;c=\"d;e\"\r\n\r\n", "hello"},
		{"chunked, trailer", "Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n", "5\r\nhello\r\n0\r\nX-Late: dropped\r\nProxy-Authorization: Basic " + alice + "\r\n\r\n", "hello"},
		{"chunked, longest trailer", "Transfer-Encoding: chunked\r\n", "0\r\nX: " + strings.Repeat("a", longestTrailer-3) + "\r\n\r\n", ""},
		{"chunked, longest size line", "Transfer-Encoding: chunked\r\n", "5;" + strings.Repeat("a", longestLine-2) + "\r\nhello\r\n0\r\n\r\n", "hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := forward(t, "POST http://www.example.org/ HTTP/1.1\r\n"+tt.head+"\r\n"+tt.body)
			if o.body != tt.want || o.more != "" || o.err != nil {
				t.Errorf("at the origin: got body %q, then %q, %v, want %q, then nothing", o.body, o.more, o.err, tt.want)
			}
			if len(o.req.Trailer) > 0 || strings.Contains(o.raw, alice) || strings.Contains(o.raw, ";") {
				t.Errorf("at the origin: got %q, want no trailer, extension or credential", o.raw)
			}
			for _, extra := range []string{"\r\n", "GET /evil HTTP/1.1\r\n\r\n", strings.Repeat("x", 20000)} {
				if again := forward(t, "POST http://www.example.org/ HTTP/1.1\r\n"+tt.head+"\r\n"+tt.body+extra); again.raw != o.raw {
					t.Errorf("with %d bytes behind: got %q, want %q", len(extra), again.raw, o.raw)
				}
			}
		})
	}
}

// TestBadBodies: what is no body ends the request with an error, so that the
// target sees it break off, not end.
func TestBadBodies(t *testing.T) {
	const chunked = "Transfer-Encoding: chunked\r\n"
	for _, tt := range []struct {
		name, head, body string
		err              error
	}{
		{"length, breaks off", "Content-Length: 5\r\n", "hell", io.ErrUnexpectedEOF},
		{"length, nothing comes", "Content-Length: 5\r\n", "", io.ErrUnexpectedEOF},
		{"chunked, nothing comes", chunked, "", io.ErrUnexpectedEOF},
		{"chunked, breaks off in a size", chunked, "5", io.ErrUnexpectedEOF},
		{"chunked, breaks off in a chunk", chunked, "5\r\nhell", io.ErrUnexpectedEOF},
		{"chunked, breaks off behind a chunk", chunked, "5\r\nhello", io.ErrUnexpectedEOF},
		{"chunked, breaks off before the end", chunked, "5\r\nhello\r\n", io.ErrUnexpectedEOF},
		{"chunked, breaks off at the end", chunked, "5\r\nhello\r\n0\r\n", io.ErrUnexpectedEOF},
		{"chunked, breaks off in the trailer", chunked, "0\r\nX-A: b\r\n", io.ErrUnexpectedEOF},
		{"chunk longer than it says", chunked, "5\r\nhelloo\r\n0\r\n\r\n", errChunk},
		{"chunk without its line end", chunked, "5\r\nhello0\r\n\r\n", errChunk},
		{"chunk ended by LF", chunked, "5\r\nhello\n0\r\n\r\n", errChunk},
		{"size ended by LF", chunked, "5\nhello\r\n0\r\n\r\n", errChunk},
		{"size ended by CR", chunked, "5\rXhello\r\n0\r\n\r\n", errChunk},
		{"CR in an extension", chunked, "5;a\rb\r\nhello\r\n0\r\n\r\n", errChunk},
		{"LF in an extension", chunked, "5;a\nb\r\nhello\r\n0\r\n\r\n", errChunk},
		{"no size", chunked, "\r\nhello\r\n0\r\n\r\n", errChunk},
		{"only an extension", chunked, ";a=b\r\n0\r\n\r\n", errChunk},
		{"negative size", chunked, "-5\r\nhello\r\n0\r\n\r\n", errChunk},
		{"signed size", chunked, "+5\r\nhello\r\n0\r\n\r\n", errChunk},
		{"size with 0x", chunked, "0x5\r\nhello\r\n0\r\n\r\n", errChunk},
		{"size behind white space", chunked, " 5\r\nhello\r\n0\r\n\r\n", errChunk},
		{"two sizes", chunked, "5 5\r\nhello\r\n0\r\n\r\n", errChunk},
		{"size that overflows", chunked, "10000000000000005\r\nhello\r\n0\r\n\r\n", errChunk},
		{"huge size", chunked, "fffffffffffffff\r\nhello", io.ErrUnexpectedEOF},
		{"size of many digits", chunked, strings.Repeat("0", 16) + "5\r\nhello\r\n0\r\n\r\n", errChunk},
		{"line too long", chunked, "5;" + strings.Repeat("a", longestLine) + "\r\nhello\r\n0\r\n\r\n", errChunk},
		{"line without an end", chunked, "5;" + strings.Repeat("a", 20000), errChunk},
		{"trailer line too long", chunked, "0\r\nX: " + strings.Repeat("a", longestTrailer-2) + "\r\n\r\n", errChunk},
		{"line one byte too long", chunked, "5;" + strings.Repeat("a", longestLine-1) + "\r\nhello\r\n0\r\n\r\n", errChunk},
		{"trailer too long", chunked, "0\r\n" + strings.Repeat("X-A: b\r\n", longestTrailer/8) + "X-A: b\r\n\r\n", errChunk},
		{"trailer much too long", chunked, "0\r\n" + strings.Repeat("X-A: b\r\n", longestTrailer), errChunk},
		{"trailer ended by LF", chunked, "0\r\nX-A: b\n\r\n", errChunk},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := forward(t, "POST http://www.example.org/ HTTP/1.1\r\n"+tt.head+"\r\n"+tt.body)
			if !errors.Is(o.err, tt.err) {
				t.Errorf("near: got %v, want %v", o.err, tt.err)
			}
			if len(o.body) > len("hello") || strings.HasSuffix(o.raw, "0\r\n\r\n") || o.more != "" {
				t.Errorf("at the origin: got %q, want a body that does not end", o.raw)
			}
		})
	}
}

// What follows a request before the answer is thrown away, so that the answer
// arrives; behind the beginning of the answer it ends the client's direction.
func TestBehindTheRequest(t *testing.T) {
	const first = "GET http://www.example.org/ HTTP/1.1\r\n\r\n"
	for _, tt := range []struct {
		name   string
		before string // said before the answer
		after  string // said behind its beginning
		err    error  // nil: near goes on
	}{
		{"nothing", "", "", nil},
		{"line break", "\r\n", "", nil},
		{"pipelined", first, "", nil},
		{"too much", strings.Repeat("x", mostExtra+1), "", errExtra},
		{"next request", "", first, io.EOF},
		{"pipelined and next", first, first, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := relaytest.PipeSize(256 << 10)
				defer server.Close()
				defer client.Close()
				_, _ = io.WriteString(client, first+tt.before)
				req, err := anonymous().Open(t.Context(), auth.User{}, transport.NewPeeked(server))
				if err != nil {
					t.Fatal(err)
				}
				near, _, err := req.Accept(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				var up []byte
				over := make(chan error, 1)
				go func() {
					var err error
					up, err = io.ReadAll(near)
					if err == nil {
						err = io.EOF
					}
					over <- err
				}()
				synctest.Wait()
				_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n")
				_, _ = io.WriteString(client, tt.after)
				synctest.Wait()
				select {
				case err = <-over:
				default:
				}
				if err != tt.err {
					t.Errorf("near: got %v, want %v", err, tt.err)
				}
				_ = client.CloseWrite()
				synctest.Wait()
				if n := strings.Count(string(up), "HTTP/1.1"); n > 1 {
					t.Errorf("requests at the origin: got %d, want 1", n)
				}
			})
		})
	}
}

// WaitRead returns when there is something to read and not before, since a
// buffer is taken when it returns.
func TestWaitRead(t *testing.T) {
	for _, tt := range []struct{ name, head, body string }{
		{"no body", "", ""},
		{"length", "Content-Length: 5\r\n", "hello"},
		{"chunked", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := relaytest.Pipe()
				defer client.Close()
				_, _ = io.WriteString(client, "POST http://www.example.org/ HTTP/1.1\r\n"+tt.head+"\r\n"+tt.body)
				req, err := anonymous().Open(t.Context(), auth.User{}, transport.NewPeeked(server))
				if err != nil {
					t.Fatal(err)
				}
				near, _, _ := req.Accept(t.Context(), nil)
				var got []byte
				waiting := make(chan struct{})
				go func() {
					defer close(waiting)
					b := make([]byte, 1) // the worst size: everything is left over
					for near.(transport.ReadWaiter).WaitRead() == nil {
						n, err := near.Read(b)
						if got = append(got, b[:n]...); err != nil {
							return
						}
					}
				}()
				synctest.Wait()
				if want := "close\r\n\r\n" + tt.body; !strings.HasSuffix(string(got), want) {
					t.Errorf("read without a wait: got %q, want %q at the end", got, want)
				}
				select {
				case <-waiting:
					t.Error("WaitRead: got back without bytes, want it to wait")
				default:
				}
				_ = server.Close()
				<-waiting
			})
		})
	}
}
