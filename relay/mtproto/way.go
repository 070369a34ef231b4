package mtproto

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"relay/transport"
	"relay/transport/websocket"
)

const (
	webScheme = "wss://"
	webPort   = 443
	webTime   = 10 * time.Second // for TLS and the handshake: the default of handshake_timeout
	maxPath   = 1 << 10
	maxAnswer = 8 << 10 // bytes of the server's head

	// webProtocol is the subprotocol that Telegram's servers want
	// (core.telegram.org, mtproto/transports).
	webProtocol = "binary"
)

// Way is how to get to a data centre: an address, or a server that passes the
// same stream on, in WebSocket messages over TLS.
type Way struct {
	Target transport.Target
	Path   string // of the WebSocket; empty: the bare stream
}

// ParseWay reads a way over WebSocket, such as
// wss://kws2.web.telegram.org/apiws.
func ParseWay(text string) (Way, error) {
	u, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(text, webScheme) || u.User != nil || u.Fragment != "" || len(text) > maxPath {
		return Way{}, errWay
	}
	port := uint64(webPort)
	if p := u.Port(); p != "" {
		if port, err = strconv.ParseUint(p, 10, 16); err != nil {
			return Way{}, errWay
		}
	}
	to, err := transport.NameTarget(u.Hostname(), uint16(port))
	if err != nil {
		return Way{}, errWay
	}
	return Way{to, u.RequestURI()}, nil
}

var errWay = errors.New("not a wss:// URL")

// What has failed of a way over WebSocket, beside the dialling.
var (
	errWebSocket = errors.New("websocket")
	errTLS       = errors.New("handshake")
)

// Web reports whether the way is over WebSocket.
func (w Way) Web() bool { return w.Path != "" }

// String is host:port, or the URL.
func (w Way) String() string {
	if !w.Web() {
		return w.Target.String()
	}
	return webScheme + w.host() + w.Path
}

// host is what the Host header says.
func (w Way) host() string {
	if w.Target.Port() == webPort && w.Target.IsName() {
		return w.Target.Host()
	}
	return w.Target.String()
}

// open makes the stream out of a connection to the way's target. It takes no
// longer than webTime. On an error the caller closes far.
func (w Way) open(ctx context.Context, far transport.Conn, roots *x509.CertPool) (transport.Conn, error) {
	if !w.Web() {
		return far, nil
	}
	until := time.Now().Add(webTime)
	if at, ok := ctx.Deadline(); ok && at.Before(until) {
		until = at
	}
	if err := far.SetDeadline(until); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = transport.Abort(far) })
	c, err := w.handshake(far, roots)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWebSocket, err)
	}
	return c, far.SetDeadline(time.Time{})
}

// handshake is TLS and the client's half of RFC 6455, Section 4.1. Redirects are
// not followed: a server that sends one does not serve this data centre.
func (w Way) handshake(far transport.Conn, roots *x509.CertPool) (transport.Conn, error) {
	t := tls.Client(far, &tls.Config{
		ServerName: w.Target.Host(), RootCAs: roots, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	})
	if err := t.Handshake(); err != nil {
		return nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	key := base64.StdEncoding.EncodeToString(nonce)
	_, err := io.WriteString(t, "GET "+w.Path+" HTTP/1.1\r\nHost: "+w.host()+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: "+key+"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: "+webProtocol+"\r\n\r\n")
	if err != nil {
		return nil, err
	}
	br := bufio.NewReaderSize(io.LimitReader(t, maxAnswer), maxAnswer)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, err
	}
	if err := upgraded(resp, key); err != nil {
		return nil, err
	}
	early, _ := br.Peek(br.Buffered())
	return transport.NewCoded(&secured{Conn: t, far: far, early: early}, websocket.NewClient()), nil
}

// upgraded checks the server's answer. Nothing of its text goes into the error.
func upgraded(resp *http.Response, key string) error {
	h := resp.Header
	protocol := h.Get("Sec-WebSocket-Protocol")
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("the server answers with status %d", resp.StatusCode)
	case !strings.EqualFold(h.Get("Upgrade"), "websocket"), !hasToken(h.Values("Connection"), "upgrade"),
		h.Get("Sec-WebSocket-Accept") != websocket.AcceptKey(key):
		return errors.New("the server's answer is not that of a WebSocket")
	case protocol != "" && protocol != webProtocol, len(h.Values("Sec-WebSocket-Extensions")) > 0:
		return errors.New("the server wants what was not offered")
	}
	return nil
}

// hasToken looks for a word in a header that is a list.
func hasToken(values []string, word string) bool {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(item), word) {
				return true
			}
		}
	}
	return false
}

// secured is TLS below the frames.
type secured struct {
	*tls.Conn
	far   transport.Conn
	early []byte // came with the answer; first
}

// Read implements net.Conn. The stream inside has no protection of its own
// against being cut off, with WebSocket or without: an end of TCP is an end, and
// the frames say whether it came in the middle of one.
func (s *secured) Read(b []byte) (int, error) {
	if len(s.early) > 0 {
		n := copy(b, s.early)
		if s.early = s.early[n:]; len(s.early) == 0 {
			s.early = nil
		}
		return n, nil
	}
	n, err := s.Conn.Read(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// CloseWrite implements transport.Conn. The close frame has said it. An end of
// TLS on top would make some servers drop what they still have to send; TCP is
// for the server to close first (RFC 6455, Section 7.1.1).
func (s *secured) CloseWrite() error { return nil }

// Below returns the wrapped connection.
func (s *secured) Below() transport.Conn { return s.far }
