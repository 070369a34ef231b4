package httpconnect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"relay/transport"
)

// hopByHop are the fields that end at a proxy (RFC 9110, Section 7.6.1), beside
// those that Connection names and those that begin with "Proxy-". The length of
// the body is written anew from what we count by: a client that names
// Content-Length in Connection would turn its body into a second request.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Content-Length",
	"Upgrade", "Http2-Settings", "Host",
}

// head writes the request as the target should see it. There is no Via field
// (RFC 9110, Section 7.6.3, wants one): it would tell every site, and whoever
// listens on the way to it, that this is a proxy.
func head(hr *http.Request, to transport.Target) []byte {
	h := hr.Header
	_, hasLength := h["Content-Length"]
	for _, f := range h["Connection"] {
		for name := range strings.SplitSeq(f, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
	for name := range h {
		if strings.HasPrefix(name, "Proxy-") {
			delete(h, name)
		}
	}
	if hr.ProtoMinor == 0 {
		h.Del("Expect") // RFC 9110, Section 10.1.1
	}
	var b bytes.Buffer
	// The target replaces Host (RFC 9112, Section 3.2.2). The version stays the
	// client's: responses pass as they are, and an HTTP/1.0 client cannot read
	// the chunked ones that HTTP/1.1 would bring.
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\nHost: %s\r\n", hr.Method, originForm(hr), min(hr.ProtoMinor, 1), authority(hr, to))
	_ = h.Write(&b)
	switch {
	case isChunked(hr):
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case hasLength:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", hr.ContentLength)
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

// originForm is the path and query of the absolute form, byte for byte
// (RFC 9112, Sections 3.2.1 and 3.2.4). net/http has found no white space and
// no control character in it.
func originForm(hr *http.Request) string {
	rest := hr.RequestURI[len("http://"):]
	path := ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		path, _, _ = strings.Cut(rest[i:], "#")
	}
	switch {
	case path == "" && hr.Method == http.MethodOptions:
		return "*"
	case path == "" || path[0] == '?':
		return "/" + path
	}
	return path
}

// authority is the Host for a target: made from what is dialled, so that the
// two cannot differ, with the port if the client wrote one.
func authority(hr *http.Request, to transport.Target) string {
	if hr.URL.Port() != "" {
		return to.String()
	}
	return strings.TrimSuffix(to.String(), ":"+strconv.Itoa(int(to.Port())))
}

func isChunked(hr *http.Request) bool {
	return len(hr.TransferEncoding) > 0 && hr.TransferEncoding[0] == "chunked"
}

// mostExtra bounds what a client may send behind its request.
const mostExtra = 64 << 10

var errExtra = errors.New("httpconnect: too much behind the request")

// forwarded is the client's side of an absolute-form request: it reads as the
// rewritten head and the body, and then as nothing until the client closes.
type forwarded struct {
	transport.Conn
	c        *transport.Peeked
	head     []byte  // not yet read
	chunks   *chunks // the body, if chunked
	left     int64   // of the body, if not
	extra    int
	answered atomic.Bool // the target has begun to answer
}

func newForwarded(c *transport.Peeked, hr *http.Request, to transport.Target) *forwarded {
	f := &forwarded{Conn: c, c: c, head: head(hr, to)}
	if isChunked(hr) {
		f.chunks = newChunks(c)
	} else {
		f.left = hr.ContentLength
	}
	return f
}

// Read implements transport.Conn.
func (f *forwarded) Read(b []byte) (n int, err error) {
	if len(f.head) > 0 {
		n := copy(b, f.head)
		if f.head = f.head[n:]; len(f.head) == 0 {
			f.head = nil
		}
		return n, nil
	}
	switch {
	case f.chunks != nil:
		if n, err = f.chunks.Read(b); err != io.EOF {
			return n, err
		}
		f.chunks = nil
	case f.left > 0:
		n, err = f.c.Read(b[:min(int64(len(b)), f.left)])
		f.left -= int64(n)
		return n, unexpected(err)
	}
	if len(b) == 0 {
		return 0, nil
	}
	return 0, f.rest()
}

// rest waits for the end of what the client says. The write half towards the
// target has to stay open meanwhile, since servers take its end for a client
// that gave up. A client that says more before there is an answer is pipelining:
// it learns from the end of the connection that only its first request was
// served (RFC 9112, Section 9.3.2), and reads that answer whole, which a reset
// for unread bytes could cut off. One that says more later believes that the
// connection goes on, because the target ignored "Connection: close": it ends.
func (f *forwarded) rest() error {
	for {
		b, err := f.c.Peek(1)
		if err != nil {
			return err
		}
		if f.answered.Load() {
			return io.EOF
		}
		f.extra += len(b)
		f.c.Discard(len(b))
		if f.extra > mostExtra {
			return errExtra
		}
	}
}

// Write implements transport.Conn.
func (f *forwarded) Write(b []byte) (int, error) {
	f.answered.Store(true)
	return f.Conn.Write(b)
}

// WaitRead implements transport.ReadWaiter.
func (f *forwarded) WaitRead() error {
	if len(f.head) > 0 || f.chunks != nil && f.chunks.pending() {
		return nil
	}
	return f.c.WaitRead()
}

// Below lets an abort reach the socket.
func (f *forwarded) Below() transport.Conn { return f.Conn }
