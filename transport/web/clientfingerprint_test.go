package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/hello"
)

// taped keeps what is written to a connection.
type taped struct {
	transport.Conn
	mu   sync.Mutex
	wire []byte
}

func (w *taped) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.wire = append(w.wire, b...)
	w.mu.Unlock()
	return w.Conn.Write(b)
}

func (w *taped) written() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.wire)
}

// TestClientFingerprint: what a client sends first is what the browser of its profile
// does, in TLS and in HTTP/2.
func TestClientFingerprint(t *testing.T) {
	d := newDialled(t, ModeStreamOne, joined(echo))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var tape *taped
	d.dial = func(ctx context.Context, _ netip.AddrPort) (transport.Conn, error) {
		c, err := DialTCP(ctx, netip.MustParseAddrPort(ln.Addr().String()))
		tape = &taped{Conn: c}
		return tape, err
	}
	opened := make(chan error, 1)
	go func() {
		c, err := d.Open(context.Background(), []byte("hello"))
		if err == nil {
			defer c.Close()
		}
		opened <- err
	}()
	raw, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Server(raw, &tls.Config{Certificates: d.TLS.Certificates, NextProtos: []string{"h2"}})
	defer c.Close()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	p := browser.Bundled()
	record, _, _ := hello.Record(nil, tape.written())
	seen, err := browser.Inspect(hello.Message(record))
	if want := p.TLS.JA4(false); err != nil || seen.JA4() != want {
		t.Errorf("JA4: got %s and %v, want %s", seen.JA4(), err, want)
	}

	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2.ClientPreface {
		t.Fatalf("preface: got %q and %v", preface, err)
	}
	in := http2.NewFramer(io.Discard, c)
	in.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var settings []string
	var window uint32
	for {
		f, err := in.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			_ = f.ForeachSetting(func(s http2.Setting) error {
				settings = append(settings, fmt.Sprintf("%d:%d", s.ID, s.Val))
				return nil
			})
			continue
		case *http2.WindowUpdateFrame:
			window = f.Increment
			continue
		case *http2.MetaHeadersFrame:
			var pseudo, names []string
			for _, h := range f.Fields {
				if h.IsPseudo() {
					pseudo = append(pseudo, h.Name[1:2])
				} else {
					names = append(names, h.Name)
				}
				if strings.Contains(h.Value, "Headless") {
					t.Errorf("%s: got %q, want no robot", h.Name, h.Value)
				}
			}
			got := fmt.Sprintf("%s|%d|0|%s", strings.Join(settings, ";"), window, strings.Join(pseudo, ","))
			if want := p.HTTP2.Akamai(); got != want {
				t.Errorf("HTTP/2: got %s, want %s", got, want)
			}
			var want []string
			for _, field := range p.HTTP2.Stream {
				want = append(want, field.Name)
			}
			names = slices.DeleteFunc(names, func(n string) bool { return n == "content-type" }) // Xray's
			if !slices.Equal(names, want) {
				t.Errorf("fields: got %q, want %q", names, want)
			}
			if f.Priority.Weight != 219 || !f.Priority.Exclusive {
				t.Errorf("priority: got %+v, want that of a fetch", f.Priority)
			}
			return
		}
		t.Fatalf("got %v, want a request", f)
	}
}
