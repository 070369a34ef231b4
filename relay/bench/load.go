package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How a proxy learns where a connection is to go.
const (
	protocolDirect  = "direct"  // there is no proxy
	protocolForward = "forward" // the proxy knows: it has one target
	protocolSOCKS5  = "socks5"  // RFC 1928 without authentication
	protocolMTProto = "mtproto" // Telegram's, behind FakeTLS; the target is the proxy's
	// VLESS inside of TLS: the modes of XHTTP, and WebSocket.
	protocolPacketUp  = "vless packet-up"
	protocolStreamUp  = "vless stream-up"
	protocolStreamOne = "vless stream-one"
	protocolWebSocket = "vless websocket"
)

// isVLESS says whether clients begin with a link and TLS.
func isVLESS(protocol string) bool { return strings.HasPrefix(protocol, "vless ") }

const (
	openAtOnce   = 64               // connections of a set that are being opened at the same time
	openLimit    = 10 * time.Second // from dialling to the first answer
	sourceFirst  = 11               // sources are 127.0.0.11 and up,
	sourceNumber = 16               // as many as this
)

// load opens connections to the sink, through a proxy or directly. Everything
// it opens has the deadline of its context, so that no read waits for ever.
type load struct {
	protocol string
	proxy    *net.TCPAddr
	sinks    []*net.TCPAddr
	secret   fakeSecret // of protocolMTProto
	link     vlessLink  // of VLESS
	shared   *carriers  // of XHTTP
	count    atomic.Uint32
}

// through prepares for a proxy that has been configured.
func (l *load) through(protocol string, at place) (err error) {
	l.proxy = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.port}
	switch {
	case protocol == protocolMTProto:
		l.secret, err = readSecret(at.folder)
	case isVLESS(protocol):
		l.link, err = readVLESSLink(at.folder)
		if protocol != protocolWebSocket {
			l.share()
		}
	}
	return err
}

// share prepares for streams that share connections.
func (l *load) share() {
	l.shared = &carriers{link: l.link, mode: l.protocol, raw: func(ctx context.Context) (*net.TCPConn, error) {
		return l.dialRaw(ctx, l.proxy)
	}}
}

// close ends what streams have shared.
func (l *load) close() {
	if l.shared != nil {
		l.shared.close()
	}
}

// dialRaw connects from one of many addresses.
func (l *load) dialRaw(ctx context.Context, to *net.TCPAddr) (*net.TCPConn, error) {
	dialer := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(sourceFirst+l.count.Add(1)%sourceNumber))},
		Timeout:   openLimit,
		Control:   portAtConnect,
	}
	c, err := dialer.DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// dial opens one connection to the sink. The caller closes it.
func (l *load) dial(ctx context.Context) (net.Conn, error) {
	sink := l.sinks[int(l.count.Add(1))%len(l.sinks)]
	if l.shared != nil {
		return l.shared.open(ctx, sink)
	}
	to := sink
	if l.protocol != protocolDirect {
		to = l.proxy
	}
	conn, err := l.dialRaw(ctx, to)
	if err != nil {
		return nil, err
	}
	var c net.Conn = conn
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if err == nil {
		switch l.protocol {
		case protocolSOCKS5, entryStreamOne, entryPacketUp, entryWebSocket:
			err = handshake(conn, sink)
		case protocolMTProto:
			c, err = dialMTProto(conn, l.secret)
		case protocolWebSocket:
			c, err = dialWebSocket(ctx, conn, l.link, sink)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// handshake asks a SOCKS5 proxy for a connection to target (RFC 1928, Sections
// 3, 4 and 6).
func handshake(c io.ReadWriter, target *net.TCPAddr) error {
	if _, err := c.Write([]byte{5, 1, 0}); err != nil {
		return fmt.Errorf("socks5: write greeting: %w", err)
	}
	b := make([]byte, 22)
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return fmt.Errorf("socks5: read method: %w", err)
	}
	if b[0] != 5 || b[1] != 0 {
		return fmt.Errorf("socks5: got method % x, want 05 00: the proxy must let anyone in", b[:2])
	}
	request := append([]byte{5, 1, 0, 1}, target.IP.To4()...)
	if _, err := c.Write(binary.BigEndian.AppendUint16(request, uint16(target.Port))); err != nil {
		return fmt.Errorf("socks5: write request: %w", err)
	}
	if _, err := io.ReadFull(c, b[:10]); err != nil {
		return fmt.Errorf("socks5: read reply: %w", err)
	}
	if b[0] != 5 || b[1] != 0 {
		return fmt.Errorf("socks5: got reply % x, want 05 00: the proxy refused %v", b[:2], target)
	}
	if b[3] == 4 { // an IPv6 address, 12 bytes longer
		if _, err := io.ReadFull(c, b[10:]); err != nil {
			return fmt.Errorf("socks5: read reply: %w", err)
		}
	}
	return nil
}

// stream sends length bytes up or down one connection and compares checksums.
func (l *load) stream(ctx context.Context, want byte, length uint64) error {
	c, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	h := header{want, length, rand.Uint64()}
	if _, err := c.Write(h.append(nil)); err != nil {
		return err
	}
	var sum uint32
	if want == wantDown {
		sum, err = receiveStream(c, length, h.seed)
	} else {
		sum, err = sendStream(c, length, h.seed)
	}
	if err != nil {
		return err
	}
	other := make([]byte, 4)
	if _, err := io.ReadFull(c, other); err != nil {
		return fmt.Errorf("read the sink's checksum: %w", err)
	}
	if got := binary.BigEndian.Uint32(other); got != sum {
		return fmt.Errorf("checksum: got %08x at the sink, %08x here: the proxy changed the bytes", got, sum)
	}
	return nil
}

// bulk sends total bytes, an equal part on each of n connections.
func (l *load) bulk(ctx context.Context, want byte, n int, total uint64) error {
	return inParallel(n, func(int) error { return l.stream(ctx, want, total/uint64(n)) })
}

// exchange is a connection on which messages go to the sink and back.
type exchange struct {
	conn         net.Conn
	sent, answer []byte
	trips        atomic.Int64
}

// open dials and makes the first round trip. The caller closes the exchange.
func (l *load) open(ctx context.Context, want byte, size int) (*exchange, error) {
	c, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	e, err := begin(c, want, size)
	if err != nil {
		c.Close()
		return nil, err
	}
	return e, nil
}

// begin makes the first round trip on c.
func begin(c net.Conn, want byte, size int) (*exchange, error) {
	first := header{want, uint64(size), rand.Uint64()}.append(make([]byte, 0, size))
	e := &exchange{conn: c, sent: first[:size], answer: make([]byte, size)}
	return e, e.trip()
}

// trip sends a message that differs from the last one and reads it back.
func (e *exchange) trip() error {
	if _, err := e.conn.Write(e.sent); err != nil {
		return err
	}
	if _, err := io.ReadFull(e.conn, e.answer); err != nil {
		return err
	}
	if !bytes.Equal(e.sent, e.answer) {
		return fmt.Errorf("answer: got % x, want % x: the proxy changed the bytes", e.answer, e.sent)
	}
	e.trips.Add(1)
	counter := e.sent[counterAt:headerSize]
	binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(counter)+1)
	return nil
}

// connection is the whole life of a short connection: open, a message there
// and back, the end of the stream from the sink, close. Telegram's clients end
// first, and mtg drops what it has not passed on yet when the target does. Over
// XHTTP, Xray's server needs a second to pass the sink's end on.
func (l *load) connection(ctx context.Context, size int) error {
	want := byte(wantOnce)
	if l.protocol == protocolMTProto || isVLESS(l.protocol) || isEntry(l.protocol) {
		want = wantExchange
	}
	e, err := l.open(ctx, want, size)
	if err != nil {
		return err
	}
	defer e.conn.Close()
	if want == wantExchange {
		return nil
	}
	n, err := e.conn.Read(e.answer)
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the sink closed: got %d bytes and %v, want the end of the stream", n, err)
	}
	return nil
}

// openSet opens n exchanges of messages of size bytes.
func (l *load) openSet(ctx context.Context, n, size int) (exchanges, error) {
	set := make(exchanges, n)
	var next atomic.Int64
	var failed atomic.Bool
	err := inParallel(min(n, openAtOnce), func(int) error {
		for i := int(next.Add(1)) - 1; i < n && !failed.Load(); i = int(next.Add(1)) - 1 {
			e, err := l.open(ctx, wantExchange, size)
			if err != nil {
				failed.Store(true)
				return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
			}
			set[i] = e
		}
		return nil
	})
	if err != nil {
		set.close()
		return nil, err
	}
	return set, nil
}

// exchanges are open connections of one test. Some may be nil.
type exchanges []*exchange

func (s exchanges) close() {
	for _, e := range s {
		if e != nil {
			e.conn.Close()
		}
	}
}

// trips is how many round trips all of them have made.
func (s exchanges) trips() int64 {
	var n int64
	for _, e := range s {
		n += e.trips.Load()
	}
	return n
}

// inParallel runs f(0) to f(n-1) at the same time and returns the first error
// in time: those that follow are mostly consequences of it.
func inParallel(n int, f func(i int) error) error {
	var wait sync.WaitGroup
	first := make(chan error, 1)
	for i := range n {
		wait.Go(func() {
			if err := f(i); err != nil {
				select {
				case first <- err:
				default:
				}
			}
		})
	}
	wait.Wait()
	select {
	case err := <-first:
		return err
	default:
		return nil
	}
}
