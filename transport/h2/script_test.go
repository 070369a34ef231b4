package h2_test

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/relay/relaytest"
	"relay/transport/h2"
)

// script is a server that does what a test says. It is golang.org/x/net's framer.
type script struct {
	*http2.Framer
	t    *testing.T
	conn *relaytest.Conn
	enc  *hpack.Encoder
	buf  bytes.Buffer
}

// newScript returns a connection and its server, which has sent SETTINGS. It is for
// synctest bubbles.
func newScript(t *testing.T, buffer int, settings ...http2.Setting) (*h2.Conn, *script) {
	t.Helper()
	a, b := relaytest.PipeSize(buffer)
	s := &script{Framer: http2.NewFramer(b, b), t: t, conn: b}
	s.AllowIllegalWrites = true
	s.enc = hpack.NewEncoder(&s.buf)
	c := h2.NewConn(a, chrome())
	t.Cleanup(func() { _ = c.Close(); _ = b.Close() })
	s.ok(s.WriteSettings(settings...))
	return c, s
}

func (s *script) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("server: got %v, want nil", err)
	}
}

// opening reads what a connection begins with.
func (s *script) opening() {
	s.t.Helper()
	b := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(s.conn, b); err != nil || string(b) != http2.ClientPreface {
		s.t.Fatalf("preface: got %q, %v, want it", b, err)
	}
}

// until reads frames until one is f; those of other types are forgotten.
func until[F http2.Frame](s *script) F {
	s.t.Helper()
	for {
		f, err := s.ReadFrame()
		if err != nil {
			var f F
			s.t.Fatalf("server: got %v, want a %T", err, f)
		}
		if f, ok := f.(F); ok {
			return f
		}
	}
}

// block encodes fields.
func (s *script) block(fields ...string) []byte {
	s.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		s.ok(s.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return s.buf.Bytes()
}

// answer sends the head of an answer.
func (s *script) answer(id uint32, end bool) {
	s.t.Helper()
	s.ok(s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.block(":status", "200"), EndHeaders: true, EndStream: end}))
}

func pipe(t *testing.T) (a, b *relaytest.Conn) {
	a, b = relaytest.Pipe()
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// many does a thing again and again, until the other end has closed.
func many(n int, f func(s *script) error) func(*script) error {
	return func(s *script) error {
		for range n {
			if err := f(s); err != nil {
				return nil
			}
		}
		return nil
	}
}

// raw sends a frame as it is.
func raw(kind http2.FrameType, flags http2.Flags, id uint32, payload string) func(*script) error {
	return func(s *script) error { return s.WriteRawFrame(kind, flags, id, []byte(payload)) }
}

// head sends HEADERS with these fields.
func head(id uint32, flags http2.Flags, fields ...string) func(*script) error {
	return func(s *script) error { return s.WriteRawFrame(http2.FrameHeaders, flags, id, s.block(fields...)) }
}
