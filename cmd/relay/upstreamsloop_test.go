package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/relay/relaytest"
	"relay/relay/upstream"
	"relay/relay/vless"
	"relay/transport"
	"relay/transport/browser"
	"relay/transport/resolve"
	"relay/transport/web"
	"relay/transport/websocket"
)

const (
	frameData, frameHeaders, frameSettings, framePing = 0, 1, 4, 6

	endHeaders = 4
	status200  = "\x88" // of the static table (RFC 7541, Appendix A)
	preface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	textFrame  = "\x81\x01x" // no peer of binary messages sends it
)

// frame is a frame of HTTP/2 (RFC 9113, Section 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	return string(binary.BigEndian.AppendUint32(append(b, flags), stream)) + payload
}

// badPing is a PING of one byte, which is an error of the connection (Section 6.7).
var badPing = frame(framePing, 0, 0, "x")

// firstRequest reads up to the first request, and returns its stream.
func firstRequest(r io.Reader) uint32 {
	_, err := io.ReadFull(r, make([]byte, len(preface)))
	for err == nil {
		var h [9]byte
		if _, err = io.ReadFull(r, h[:]); err == nil {
			_, err = io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(h[:])>>8))
		}
		if h[3] == frameHeaders {
			break
		}
	}
	return 1
}

// breaksAfter is a server that breaks HTTP/2 after what it answers to a request.
func breaksAfter(answer func(id uint32) string) func(c io.ReadWriter) {
	return func(c io.ReadWriter) {
		_, _ = io.WriteString(c, frame(frameSettings, 0, 0, ""))
		_, _ = io.WriteString(c, answer(firstRequest(c))+badPing)
	}
}

// socketSays is a server of WebSockets that says what it says.
func socketSays(s string) func(c io.ReadWriter) {
	return func(c io.ReadWriter) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n%s",
			websocket.AcceptKey(r.Header.Get("Sec-WebSocket-Key")), s)
	}
}

// TestUpstreamBreaks counts the connections that programs cause in an hour which try again
// every 100 ms, where each connection opens well and then is no use.
func TestUpstreamBreaks(t *testing.T) {
	https := httptest.NewUnstartedServer(nil)
	https.StartTLS()
	certificate := https.TLS.Certificates[0]
	https.Close()
	status := func(id uint32) string { return frame(frameHeaders, endHeaders, id, status200) }
	answered := func(id uint32) string { return status(id) + frame(frameData, 0, id, "\x00\x00x") }
	for _, tt := range []struct {
		name, mode    string
		mux, programs int
		serve         func(c io.ReadWriter)
		most          int32
	}{
		{"before a request", web.ModeStreamOne, 0, 8, func(c io.ReadWriter) { _, _ = io.WriteString(c, frame(frameSettings, 0, 0, "")+badPing) }, 400},
		{"upon a request", web.ModeStreamOne, 0, 8, breaksAfter(func(uint32) string { return "" }), 300},
		{"by packets", web.ModePacketUp, 0, 8, breaksAfter(func(uint32) string { return "" }), 300},
		{"after a status", web.ModeStreamOne, 0, 8, breaksAfter(status), 300},
		{"after VLESS", web.ModeStreamOne, 0, 8, breaksAfter(func(id uint32) string { return status(id) + frame(frameData, 0, id, "\x00\x00") }), 300},
		{"after an answer", web.ModeStreamOne, 0, 1, breaksAfter(answered), 300},
		// Those who wait are let in by the answer, and some meet the next connection.
		{"after an answer, many", web.ModeStreamOne, 0, 8, breaksAfter(answered), 2000},
		{"a WebSocket", web.ModeWebSocket, 0, 8, socketSays(textFrame), 300},
		{"no VLESS", web.ModeWebSocket, 0, 8, socketSays("\x82\x05hello"), 300},
		{"shared, no VLESS", web.ModeWebSocket, 24, 8, socketSays("\x82\x05hello"), 300},
		{"shared, no frames", web.ModeWebSocket, 24, 8, socketSays("\x82\x05\x00\x00\xff\xffx"), 300},
		{"shared, a user who was removed", web.ModeWebSocket, 24, 8, socketSays("\x88\x02\x03\xe8"), 300},
		{"a WebSocket after an answer", web.ModeWebSocket, 0, 1, socketSays("\x82\x03\x00\x00x" + textFrame), 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if n := breaks(t, certificate, tt.mode, tt.mux, tt.serve, tt.programs); n > tt.most || n < 100 {
					t.Errorf("connections in an hour: got %d, want 100 to %d", n, tt.most)
				}
			})
		})
	}
}

// breaks is an hour of programs that reach the world through a server.
func breaks(t *testing.T, certificate tls.Certificate, mode string, mux int, serve func(c io.ReadWriter), programs int) int32 {
	network := new(relaytest.Network)
	at := netip.MustParseAddrPort("127.0.0.1:443")
	ln, err := network.Listen(at.String())
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer ln.Close()
	serving.Go(func() { serveTLS(ln, certificate, &serving, serve) })
	names := resolve.NewCache(0)
	defer names.Close()
	var dials atomic.Int32
	client := web.NewClient(web.ClientOptions{
		Way: web.Way{
			Connect: []web.Place{{Host: at.Addr().String(), Port: at.Port()}}, SNI: "example.com", Authority: "example.com",
			Path: "/secret/", Pins: [][32]byte{sha256.Sum256(certificate.Certificate[0])}, Version: web.H2, Mode: mode,
			PostBytes: web.DefaultPostBytes, PostInterval: web.DefaultPostInterval,
		},
		Profile: browser.Bundled(), Names: names, Log: slog.New(slog.DiscardHandler),
		Connect: func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
			dials.Add(1)
			return network.Dial(ctx, to.String())
		},
	})
	d := &vless.Dialer{Carrier: client, Mux: mux}
	set := upstream.New(upstream.Options{
		Ways:  []upstream.Way{{Dialer: d, Ready: client.Ready, Live: client.Live, Close: func() { _ = d.Close(); client.Close() }}},
		Check: func(transport.Target) error { return nil }, Log: slog.New(slog.DiscardHandler),
	})
	defer set.Close()
	var all sync.WaitGroup
	for range programs {
		all.Go(func() { retry(t, set, time.Hour) })
	}
	all.Wait()
	return dials.Load()
}

// serveTLS serves the connections of ln.
func serveTLS(ln net.Listener, certificate tls.Certificate, serving *sync.WaitGroup, serve func(c io.ReadWriter)) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}
	for {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			time.Sleep(10 * time.Millisecond) // on the way
			c := tls.Server(raw, config)
			defer c.Close()
			serve(c)
			_, _ = io.Copy(io.Discard, c)
		})
	}
}

// retry is a program that asks, and asks again when that has failed.
func retry(t *testing.T, set *upstream.Set, long time.Duration) {
	to, err := transport.ParseTarget("www.example.org:443")
	if err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		c, err := set.DialStream(t.Context(), to, nil)
		if err != nil {
			continue
		}
		if _, err := io.WriteString(c, "hello"); err == nil {
			_, _ = io.Copy(io.Discard, c)
		}
		_ = c.Close()
	}
}
