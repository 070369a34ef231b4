package web

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"relay/transport"
	"relay/transport/websocket"
)

const (
	// DefaultEarly is how much payload rides in the request for a WebSocket by our
	// links, and earlySocket how much does by a link that says so or more, as servers
	// do not look: the hello of a browser inside of the stream, with its padding. It
	// comes back in the answer, whose head must have less than 4 KiB for nginx.
	DefaultEarly = 2048
	earlySocket  = 2800
	// socketTime bounds the handshake of a WebSocket.
	socketTime = 5 * time.Second
	// spareTime is for how long a connection waits for its request. Servers give a
	// head a minute.
	spareTime = 20 * time.Second
	// provenTime is for how long a success says that the next one will be.
	provenTime = 30 * time.Second
	mostHead   = 16 << 10
)

// socketConn is a WebSocket, which is a stream and a connection.
type socketConn struct {
	transport.Conn
	client  *Client
	parting parting
	done    chan struct{} // closed by Close
	frozen  atomic.Bool
	reading atomic.Bool // somebody waits for bytes
}

// Below returns the wrapped connection.
func (s *socketConn) Below() transport.Conn { return s.Conn }

// WaitRead implements transport.ReadWaiter.
func (s *socketConn) WaitRead() error {
	s.reading.Store(true)
	err := transport.WaitRead(s.Conn)
	s.reading.Store(false)
	return s.why(err)
}

// Begun reports that the server has answered.
func (s *socketConn) Begun() bool { return true }

// Read implements net.Conn.
func (s *socketConn) Read(b []byte) (int, error) {
	s.reading.Store(true)
	n, err := s.Conn.Read(b)
	s.reading.Store(false)
	s.parting.came.Add(int64(n))
	return n, s.why(err)
}

// Write implements net.Conn.
func (s *socketConn) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	return n, s.why(err)
}

// why says of an error that it is the connection's, as all are but those that the caller
// has made and an end in order.
func (s *socketConn) why(err error) error {
	switch {
	case err != nil && s.frozen.Load():
		err = errFrozen
	case errors.Is(err, websocket.ErrFrame):
		return fmt.Errorf("web: %w: %w", transport.ErrUnsound, err)
	case err == nil, err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed), errors.Is(err, errors.ErrUnsupported):
		return err
	}
	return fmt.Errorf("web: %w: %w", transport.ErrCarrier, reason(err))
}

// CloseWrite implements transport.Conn. Where a server would end both directions an
// answer is worth more than the end, of which the target hears with the stream's.
func (s *socketConn) CloseWrite() error {
	if s.client.way.Whole {
		s.parting.begin(func() bool { return false }, func() { _ = s.Close() })
		return nil
	}
	return s.Conn.CloseWrite()
}

// Close implements net.Conn.
func (s *socketConn) Close() error {
	s.client.mu.Lock()
	if _, open := s.client.sockets[s]; open {
		delete(s.client.sockets, s)
		close(s.done)
	}
	s.client.mu.Unlock()
	return s.Conn.Close()
}

// probe makes a connection for the next WebSocket, unless one was made a moment ago.
func (c *Client) probe(ctx context.Context) error {
	conn, err := c.connect(ctx, true)
	if err != nil {
		return fmt.Errorf("web: %w: %w", transport.ErrCarrier, err)
	}
	c.mu.Lock()
	old := c.spare
	c.spare = conn
	if c.ctx.Err() != nil {
		c.spare, old = nil, conn
	}
	c.proven = time.Now()
	c.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	time.AfterFunc(spareTime, func() {
		c.mu.Lock()
		mine := c.spare == conn
		if mine {
			c.spare = nil
		}
		c.mu.Unlock()
		if mine {
			_ = conn.Close()
		}
	})
	return nil
}

// openSocket opens a WebSocket and waits for its answer.
func (c *Client) openSocket(ctx context.Context, first []byte) (transport.Conn, error) {
	c.mu.Lock()
	conn := c.spare
	c.spare = nil
	c.mu.Unlock()
	if conn == nil {
		var err error
		if conn, err = c.connect(ctx, true); err != nil {
			c.unproven()
			return nil, fmt.Errorf("web: %w: %w", transport.ErrCarrier, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, socketTime, errSilent)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	below, rest, err := c.upgrade(conn, first)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.unproven()
		_ = transport.Abort(conn)
		return nil, fmt.Errorf("web: %w: %w", transport.ErrCarrier, reason(err))
	}
	s := &socketConn{Conn: transport.NewCoded(below, websocket.NewClient()), client: c, done: make(chan struct{})}
	c.mu.Lock()
	c.sockets[s] = struct{}{}
	c.proven = time.Now()
	c.mu.Unlock()
	c.tasks.Go(func() { s.watch(conn) })
	if len(rest) > 0 {
		if _, err := s.Write(rest); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("web: %w: %w", transport.ErrCarrier, reason(err))
		}
	}
	return s, nil
}

// unproven forgets the last success after a failure: who asks whether the way is live
// is to hear no, and to leave it alone for a while.
func (c *Client) unproven() {
	c.mu.Lock()
	c.proven = time.Time{}
	c.mu.Unlock()
}

// upgrade asks for a WebSocket (RFC 6455, Section 4.1), with as much of first as fits
// in the request. rest is what did not.
func (c *Client) upgrade(conn *connected, first []byte) (below transport.Conn, rest []byte, err error) {
	early := first
	if len(early) > c.way.Early {
		early = nil // in pieces it would be neither faster nor less
	}
	rest = first[len(early):]
	key := newKey()
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", string(c.way.Path), c.way.Authority)
	for _, f := range c.profile.WebSocket.Fields {
		v := f.Value
		switch strings.ToLower(f.Name) {
		case "host", "sec-websocket-protocol":
			continue
		case "origin":
			v = "https://" + c.way.Authority
		case "sec-websocket-key":
			v = key
		}
		if v != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", f.Name, v)
		}
	}
	if len(early) > 0 {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", base64.RawURLEncoding.EncodeToString(early))
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(io.LimitReader(conn, mostHead), mostHead)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("websocket: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil, fmt.Errorf("%w; or what stands before it lets no WebSocket through", statusError(resp.StatusCode))
	}
	if resp.Header.Get("Sec-Websocket-Accept") != websocket.AcceptKey(key) {
		return nil, nil, errors.New("websocket: the answer is to another request")
	}
	if n := in.Buffered(); n > 0 {
		unread, _ := in.Peek(n)
		return &prefixed{Conn: conn, unread: append([]byte(nil), unread...)}, rest, nil
	}
	return conn, rest, nil
}
