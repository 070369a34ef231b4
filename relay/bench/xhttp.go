package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	carriersLeast   = 4   // connections of HTTP/2 before streams share one
	streamsEach     = 100 // streams on one; a server of Go takes 250 requests, and some streams are two
	postsUnanswered = 8   // of one stream; Xray's server keeps 30 that come too early
)

// carriers are connections of HTTP/2 with streams of VLESS on them.
type carriers struct {
	link vlessLink
	mode string // protocolPacketUp, protocolStreamUp or protocolStreamOne
	raw  func(ctx context.Context) (*net.TCPConn, error)

	mu  sync.Mutex
	all []*carrier
}

type carrier struct {
	mu      sync.Mutex // held while it is dialled
	conn    *http.ClientConn
	streams int // under the mutex of carriers
}

// take returns the carrier with the fewest streams.
func (c *carriers) take(ctx context.Context) (*carrier, error) {
	c.mu.Lock()
	var least *carrier
	for _, one := range c.all {
		if least == nil || one.streams < least.streams {
			least = one
		}
	}
	if least == nil || least.streams > 0 && len(c.all) < carriersLeast || least.streams >= streamsEach {
		least = new(carrier)
		c.all = append(c.all, least)
	}
	least.streams++
	c.mu.Unlock()
	least.mu.Lock()
	defer least.mu.Unlock()
	if least.conn != nil {
		return least, nil
	}
	transport := &http.Transport{
		DialTLSContext: c.dial, DisableCompression: true, Protocols: new(http.Protocols),
		// Streams wait while the server's own limit is not known yet.
		HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true},
	}
	transport.Protocols.SetHTTP2(true)
	var err error
	if least.conn, err = transport.NewClientConn(ctx, "https", net.JoinHostPort(c.link.name, "443")); err != nil {
		c.leave(least)
		return nil, fmt.Errorf("connection for streams: %w", err)
	}
	return least, nil
}

// dial connects to the server, whatever the name.
func (c *carriers) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	raw, err := c.raw(ctx)
	if err != nil {
		return nil, err
	}
	inside := tls.Client(raw, c.link.tls("h2"))
	if err := inside.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return inside, nil
}

func (c *carriers) leave(one *carrier) {
	c.mu.Lock()
	one.streams--
	c.mu.Unlock()
}

// close ends all connections, and what is on them.
func (c *carriers) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if one.conn != nil {
			one.conn.Close()
		}
	}
	c.all = nil
}

// xhttpStream is one stream of VLESS over XHTTP.
type xhttpStream struct {
	net.Conn // nil: only what is written below is used
	pool     *carriers
	on       *carrier
	ctx      context.Context // ends with Close
	cancel   context.CancelCauseFunc
	base     string // of its links

	answer chan *http.Response // the download, once
	down   io.ReadCloser
	head   vlessHead

	first []byte         // VLESS's request, which goes ahead of the first bytes
	up    *io.PipeWriter // nil in packet-up
	seq   int
	posts chan struct{} // one for each that has no answer yet
	left  sync.Once
}

// open begins a stream. The caller closes it.
func (c *carriers) open(ctx context.Context, target *net.TCPAddr) (net.Conn, error) {
	on, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	s := &xhttpStream{pool: c, on: on, first: c.link.request(target), head: vlessHead{vlessHeadSize},
		answer: make(chan *http.Response, 1), posts: make(chan struct{}, postsUnanswered),
		base: "https://" + c.link.name + strings.TrimSuffix(c.link.path, "/") + "/"}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	var body io.Reader
	method := http.MethodGet
	if c.mode != protocolPacketUp {
		body, s.up = io.Pipe()
	}
	if c.mode == protocolStreamOne {
		method = http.MethodPost
	} else {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails (crypto/rand)
		s.base += fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	}
	if c.mode == protocolStreamUp {
		go s.upload(body)
		body = nil
	}
	go func() { // ends with the context, at the latest
		resp, err := s.do(method, s.base, body)
		if err != nil {
			s.cancel(err)
			return
		}
		s.answer <- resp
	}()
	return s, nil
}

// do makes a request and wants status 200.
func (s *xhttpStream) do(method, link string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(s.ctx, method, link, body)
	if err != nil {
		return nil, err
	}
	req.Header = s.pool.link.headers(link)
	if _, sized := body.(*bytes.Reader); body != nil && !sized {
		req.Header.Set("Content-Type", "application/grpc") // has CDNs stream it
	}
	resp, err := s.on.conn.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = fmt.Errorf("xhttp: got status %s, want 200", resp.Status)
	}
	return resp, err
}

// upload is the one endless request of stream-up, whose answer is padding.
func (s *xhttpStream) upload(body io.Reader) {
	resp, err := s.do(http.MethodPost, s.base, body)
	if err != nil {
		s.cancel(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// Write implements net.Conn. In packet-up a write is a request.
func (s *xhttpStream) Write(b []byte) (int, error) {
	n := len(b)
	if s.first != nil {
		b, s.first = append(s.first, b...), nil
	}
	if s.up != nil {
		if _, err := s.up.Write(b); err != nil {
			return 0, s.why(err)
		}
		return n, nil
	}
	select {
	case s.posts <- struct{}{}:
	case <-s.ctx.Done():
		return 0, s.why(s.ctx.Err())
	}
	link := fmt.Sprintf("%s/%d", s.base, s.seq)
	s.seq++
	body := bytes.NewReader(bytes.Clone(b)) // b is the caller's again
	go func() {
		resp, err := s.do(http.MethodPost, link, body)
		if err != nil {
			s.cancel(err)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		<-s.posts
	}()
	return n, nil
}

// Read implements net.Conn.
func (s *xhttpStream) Read(b []byte) (int, error) {
	if s.down == nil {
		select {
		case resp := <-s.answer:
			s.down = resp.Body
		case <-s.ctx.Done():
			return 0, s.why(s.ctx.Err())
		}
	}
	for {
		n, err := s.down.Read(b)
		rest, bad := s.head.strip(b[:n])
		if bad != nil {
			return 0, bad
		}
		n = copy(b, rest)
		if err != nil && !errors.Is(err, io.EOF) {
			err = s.why(err)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// why is what ended the stream, rather than what was noticed of it.
func (s *xhttpStream) why(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return cause
	}
	return err
}

// Close implements net.Conn.
func (s *xhttpStream) Close() error {
	s.left.Do(func() {
		if s.up != nil {
			s.up.Close()
		}
		s.cancel(net.ErrClosed)
		select {
		case resp := <-s.answer:
			resp.Body.Close()
		default:
		}
		s.pool.leave(s.on)
	})
	return nil
}

// SetDeadline implements net.Conn: the context of open has one.
func (s *xhttpStream) SetDeadline(time.Time) error { return nil }
