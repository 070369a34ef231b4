package browser

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"relay/transport"
	"relay/transport/hello"
)

const (
	// revisits is how often the page comes back on a connection of its own: four
	// sizes of ECH payloads are then missed once in 300 captures, and an order of
	// extensions that is drawn never looks fixed.
	revisits = 24
	// mostConnections bounds those that are open at a time.
	mostConnections = 32
	// visitTimeout ends a connection that says nothing.
	visitTimeout = 2 * time.Minute
)

//go:embed page.html
var page []byte

// Capture makes a profile of the browser that visits it.
type Capture struct {
	cert *tls.Certificate
	note func(string)

	mu      sync.Mutex
	pages   []Seen // hellos that offer HTTP/2
	sockets []Seen // hellos of WebSockets
	http2   HTTP2
	socket  []Field
	done    chan struct{}
	ended   bool
}

// NewCapture returns one with a certificate that nobody vouches for. note is told
// in words what happens.
func NewCapture(note func(string)) (*Capture, error) {
	cert, err := throwAway()
	if err != nil {
		return nil, fmt.Errorf("browser: make a certificate: %w", err)
	}
	return &Capture{cert: cert, note: note, done: make(chan struct{})}, nil
}

// throwAway is a certificate for localhost that is good for a day.
func throwAway() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Serve waits for a browser to visit https://localhost on ln, and returns its
// profile, which has no name yet. It closes ln.
func (c *Capture) Serve(ctx context.Context, ln net.Listener) (*Profile, error) {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	defer ln.Close()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	free := make(chan struct{}, mostConnections)
	failed := make(chan error, 1)
	conns.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				failed <- err
				return
			}
			free <- struct{}{}
			conns.Go(func() {
				defer func() { <-free }()
				c.visit(ctx, raw)
			})
		}
	})
	select {
	case <-c.done:
		return c.profile()
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-failed:
		return nil, fmt.Errorf("browser: accept: %w", err)
	}
}

// visit serves one connection and closes it.
func (c *Capture) visit(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	_ = raw.SetDeadline(time.Now().Add(visitTimeout))
	wire, err := readHello(raw)
	if err != nil {
		return // a connection that the browser did not need, or a stranger
	}
	record, _, _ := hello.Record(nil, wire)
	s, err := Inspect(hello.Message(record))
	if err != nil {
		c.note(fmt.Sprintf("A hello was not understood: %v.", err))
		return
	}
	t := tls.Server(&replay{Conn: raw, first: wire}, &tls.Config{
		Certificates: []tls.Certificate{*c.cert}, NextProtos: []string{"h2", "http/1.1"},
		MinVersion: tls.VersionTLS13,
	})
	if err := t.HandshakeContext(ctx); err != nil {
		c.note("The browser did not accept the certificate: tell it to go on.")
		return
	}
	if t.ConnectionState().NegotiatedProtocol == "h2" {
		c.keep(&c.pages, s)
		_ = newVisitor(c, t).serve()
		return
	}
	fields, err := readSocket(t)
	if err != nil {
		c.note(fmt.Sprintf("A request over HTTP/1.1 was not understood: %v.", err))
		return
	}
	c.keep(&c.sockets, s)
	c.mu.Lock()
	c.socket = fields
	c.mu.Unlock()
}

func (c *Capture) keep(list *[]Seen, s Seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(*list) < 4*revisits {
		*list = append(*list, s)
	}
}

// finish is called when the page has done all that it does.
func (c *Capture) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		close(c.done)
	}
}

// profile is what has been seen.
func (c *Capture) profile() (*Profile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &Profile{Format: format, HTTP2: c.http2}
	var err error
	if p.TLS, err = merge(c.pages); err != nil {
		return nil, fmt.Errorf("browser: hellos: %w", err)
	}
	if len(c.sockets) == 0 {
		return nil, errors.New("browser: the page opened no WebSocket: try a window without extensions")
	}
	ws, err := merge(c.sockets)
	if err != nil {
		return nil, fmt.Errorf("browser: hellos of WebSockets: %w", err)
	}
	if p.WebSocket, err = difference(p.TLS, ws); err != nil {
		return nil, err
	}
	p.WebSocket.Fields = c.socket
	headed(p)
	return p, nil
}

// readHello reads a connection up to the end of its ClientHello.
func readHello(c net.Conn) ([]byte, error) {
	b := make([]byte, hello.MaxSize)
	for n := 0; n < len(b); {
		more, err := c.Read(b[n:])
		n += more
		switch v := hello.Match(b[:n]); {
		case v == transport.Yes:
			return b[:n], nil
		case v == transport.No:
			return nil, hello.ErrMalformed
		case err != nil:
			return nil, err
		}
	}
	return nil, hello.ErrMalformed
}

// replay is a connection whose first bytes have been read.
type replay struct {
	net.Conn
	first []byte
}

func (r *replay) Read(b []byte) (int, error) {
	if len(r.first) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.first)
	r.first = r.first[n:]
	return n, nil
}

// frame is one of HTTP/2 (RFC 9113, Section 4.1).
type frame struct {
	kind, flags byte
	stream      uint32
	body        []byte
}

const (
	frameHead    = 9
	maxFrame     = 16 << 10
	frameData    = 0
	frameHeaders = 1
	frameSetting = 4
	framePing    = 6
	frameGoAway  = 7
	frameWindow  = 8
	frameMore    = 9

	flagEnd      = 0x1 // END_STREAM, and ACK
	flagWhole    = 0x4 // END_HEADERS
	flagPadded   = 0x8
	flagPriority = 0x20
)

// readFrame reads one into a buffer of its own.
func readFrame(r io.Reader) (f frame, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if size > maxFrame {
		return f, errors.New("a frame is longer than HTTP/2 allows")
	}
	f = frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) &^ (1 << 31), body: make([]byte, size)}
	_, err = io.ReadFull(r, f.body)
	return f, err
}

// appendFrame writes one.
func appendFrame(b []byte, kind, flags byte, stream uint32, body []byte) []byte {
	b = append(b, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)), kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, body...)
}
