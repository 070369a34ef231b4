package browser

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// script is a connection that says what it has and ends.
type script struct {
	net.Conn
	in  *bytes.Reader
	out int
}

func (s *script) Read(b []byte) (int, error)       { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error)      { s.out += len(b); return len(b), nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// visitText is what a browser could send.
func visitText(path string) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":authority", Value: "localhost"}, {Name: ":scheme", Value: "https"},
		{Name: ":path", Value: path}, {Name: "user-agent", Value: "HeadlessChrome/1"}, {Name: "referer", Value: "https://localhost/"},
	} {
		_ = enc.WriteField(f)
	}
	b := []byte(preface)
	b = appendFrame(b, frameSetting, 0, 0, []byte{0, 1, 0, 1, 0, 0, 0x3a, 0x3a, 1, 2, 3, 4})
	b = appendFrame(b, frameWindow, 0, 0, []byte{0, 0xef, 0, 1})
	head := append([]byte{0x80, 0, 0, 0, 255}, block.Bytes()...)
	b = appendFrame(b, frameHeaders, flagEnd|flagPriority, 1, head[:20])
	return appendFrame(b, frameMore, flagWhole, 1, head[20:])
}

func TestVisitor(t *testing.T) {
	c := &Capture{note: func(string) {}, done: make(chan struct{})}
	if err := newVisitor(c, &script{in: bytes.NewReader(visitText("/"))}).serve(); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	h := c.http2
	if got, want := h.Akamai(), "1:65536;grease|15663105|0|m,a,s,p"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if h.Priority == nil || *h.Priority != (Priority{Exclusive: true, Weight: 255}) {
		t.Errorf("priority: got %v, want exclusive, 255", h.Priority)
	}
	p := &Profile{HTTP2: h}
	headed(p)
	if got, want := p.HTTP2.Page, []Field{{"user-agent", "Chrome/1"}, {"referer", ""}}; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("fields: got %q, want %q", got, want)
	}
	_ = newVisitor(c, &script{in: bytes.NewReader(visitText("/done"))}).serve()
	select {
	case <-c.done:
	default:
		t.Error("got no end after the page said so, want it")
	}
}

// FuzzVisitor: the capture listens where anybody on the machine can connect.
func FuzzVisitor(f *testing.F) {
	f.Add(visitText("/"))
	f.Add(visitText("/again"))
	f.Add([]byte("GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Capture{note: func(string) {}, done: make(chan struct{})}
		s := &script{in: bytes.NewReader(b)}
		_ = newVisitor(c, s).serve()
		if s.out > 300*len(b)+5000 {
			t.Fatalf("got %d bytes of answers to %d", s.out, len(b))
		}
		fields, err := readSocket(&script{in: bytes.NewReader(b)})
		if err == nil && len(fields) > maxFields {
			t.Fatalf("got %d fields, want no more than %d", len(fields), maxFields)
		}
	})
}
