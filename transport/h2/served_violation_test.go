package h2_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"relay/transport/h2"
)

// TestServedViolations: a client that breaks the protocol, or floods, loses the
// connection, and is told why.
func TestServedViolations(t *testing.T) {
	for _, tt := range []struct {
		name string
		code h2.Code
		do   func(s *script) error // stream 1 is open
	}{
		{"a frame that is too long", h2.FrameSizeError, raw(0x77, 0, 0, strings.Repeat("x", 16385))},
		{"DATA for stream 0", h2.ProtocolError, raw(http2.FrameData, 0, 0, "x")},
		{"DATA for an idle stream", h2.ProtocolError, raw(http2.FrameData, 0, 3, "x")},
		{"DATA for a stream of the server's", h2.ProtocolError, raw(http2.FrameData, 0, 2, "x")},
		{"DATA behind the end", h2.StreamClosed, func(s *script) error {
			s.ok(s.WriteData(1, true, nil))
			return s.WriteData(1, false, []byte("x"))
		}},
		{"DATA behind the end and the answer", h2.StreamClosed, func(s *script) error {
			s.ok(s.WriteRawFrame(http2.FrameHeaders, 5, 3, s.block(":method", "GET", ":scheme", "https", ":path", "/answered")))
			until[*http2.HeadersFrame](s)
			return s.WriteData(3, false, []byte("x"))
		}},
		{"DATA over the window of the stream", h2.FlowControlError, many(65, func(s *script) error {
			return s.WriteData(1, false, make([]byte, 16384))
		})},
		{"DATA over the window of the connection", h2.FlowControlError, func(s *script) error {
			s.ok(s.ask(5, false)) // is not read
			_ = many(33, func(s *script) error { return s.WriteData(1, false, make([]byte, 16384)) })(s)
			return many(33, func(s *script) error { return s.WriteData(5, false, make([]byte, 16384)) })(s)
		}},
		{"DATA padded and empty", h2.FrameSizeError, raw(http2.FrameData, http2.FlagDataPadded, 1, "")},
		{"HEADERS for stream 0", h2.ProtocolError, head(0, 5, ":method", "GET")},
		{"HEADERS with an even number", h2.ProtocolError, head(2, 5, ":method", "GET")},
		{"HEADERS behind the end", h2.StreamClosed, func(s *script) error {
			s.ok(s.WriteData(1, true, nil))
			return head(1, 5, "a", "b")(s)
		}},
		{"HEADERS interrupted", h2.ProtocolError, func(s *script) error {
			s.ok(head(3, 0, ":method", "GET")(s))
			return s.WritePing(false, [8]byte{})
		}},
		{"HEADERS interrupted by another stream's", h2.ProtocolError, func(s *script) error {
			s.ok(head(3, 0, ":method", "GET")(s))
			return s.ask(5, true)
		}},
		{"HEADERS that do not decode", h2.CompressionError, raw(http2.FrameHeaders, 5, 3, "\xff\xff\xff\xff\xff\xff")},
		{"HEADERS that make the table too large", h2.CompressionError, raw(http2.FrameHeaders, 5, 3, "\x3f\xe2\x1f")},
		{"HEADERS without end", h2.EnhanceYourCalm, func(s *script) error {
			s.ok(head(3, 0, ":method", "GET")(s))
			piece := s.block("a", strings.Repeat("~", 10000))
			return many(40, func(s *script) error { return s.WriteContinuation(3, false, piece) })(s)
		}},
		{"HEADERS without end and empty", h2.EnhanceYourCalm, func(s *script) error {
			s.ok(head(3, 0, ":method", "GET")(s))
			return many(3000, func(s *script) error { return s.WriteContinuation(3, false, nil) })(s)
		}},
		{"HEADERS of one field ten thousand times", h2.EnhanceYourCalm, func(s *script) error {
			s.ok(head(3, 0, "a", strings.Repeat("x", 3000))(s))
			return s.WriteContinuation(3, true, bytes.Repeat([]byte{0xbe}, 10000))
		}},
		{"CONTINUATION alone", h2.ProtocolError, raw(http2.FrameContinuation, 4, 1, "")},
		{"a push", h2.ProtocolError, raw(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02\x82")},
		{"RST_STREAM for an idle stream", h2.ProtocolError, raw(http2.FrameRSTStream, 0, 3, "xxxx")},
		{"RST_STREAM for stream 0", h2.ProtocolError, raw(http2.FrameRSTStream, 0, 0, "xxxx")},
		{"SETTINGS for a stream", h2.ProtocolError, raw(http2.FrameSettings, 0, 1, "")},
		{"SETTINGS that push twice", h2.ProtocolError, raw(http2.FrameSettings, 0, 0, "\x00\x02\x00\x00\x00\x02")},
		{"SETTINGS by the hundred", h2.EnhanceYourCalm, raw(http2.FrameSettings, 0, 0, strings.Repeat("\x00\x04\x00\x10\x00\x00", 101))},
		{"SETTINGS with a window too large", h2.FlowControlError, raw(http2.FrameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00")},
		{"SETTINGS that make a window too large", h2.FlowControlError, func(s *script) error {
			s.ok(s.WriteWindowUpdate(1, 1<<31-1-65535))
			return raw(http2.FrameSettings, 0, 0, "\x00\x04\x7f\xff\xff\xff")(s)
		}},
		{"WINDOW_UPDATE for an idle stream", h2.ProtocolError, raw(http2.FrameWindowUpdate, 0, 3, "\x00\x00\x00\x01")},
		{"WINDOW_UPDATE too far for a stream", h2.FlowControlError, raw(http2.FrameWindowUpdate, 0, 1, "\x7f\xff\xff\xff")},
		{"WINDOW_UPDATE too far", h2.FlowControlError, raw(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff")},
		{"many PINGs", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WritePing(false, [8]byte{}) })},
		{"many SETTINGS", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteSettings() })},
		{"many empty DATA", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteData(1, false, nil) })},
		{"many RST_STREAM", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteRSTStream(1, 0) })},
		{"many windows", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteWindowUpdate(1, 1) })},
		{"many requests that are none", h2.EnhanceYourCalm, ids(3000, func(s *script, id uint32) error { return head(id, 5, "a", "b")(s) })},
		{"many requests that are reset", h2.EnhanceYourCalm, ids(3000, func(s *script, id uint32) error {
			return errors.Join(s.ask(id, false), s.WriteRSTStream(id, http2.ErrCodeCancel))
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var first *h2.Stream
				_, s, ended := newServed(t, 16<<20, begun(), h2.Service{Handle: func(s *h2.Stream) {
					if first == nil {
						first = s
					} else if s.Head().Path == "/answered" {
						_ = s.Answer(200, nil, true)
					}
				}})
				synctest.Wait()
				s.ok(tt.do(s))
				wantViolation(t, ended, tt.code)
				if _, err := io.Copy(io.Discard, first); err == nil && !strings.Contains(tt.name, "behind the end") {
					t.Error("Read: got the end, want an error")
				}
				if _, err := first.Write([]byte("x")); err == nil {
					t.Error("Write: got nil, want an error")
				}
			})
		})
	}
}

// ids does f for as many new streams.
func ids(n int, f func(s *script, id uint32) error) func(*script) error {
	return func(s *script) error {
		for i := range n {
			if f(s, uint32(3+2*i)) != nil {
				return nil // the server has closed
			}
		}
		return nil
	}
}

func wantViolation(t *testing.T, ended <-chan error, code h2.Code) {
	t.Helper()
	var v *h2.ViolationError
	if err := <-ended; !errors.As(err, &v) || v.Code != code {
		t.Fatalf("Serve: got %v, want %v", err, code)
	}
}

// TestServedMalformed: a request that is none costs its stream only.
func TestServedMalformed(t *testing.T) {
	good := []string{":method", "GET", ":scheme", "https", ":path", "/"}
	for _, tt := range []struct {
		name   string
		fields []string
	}{
		{"no method", good[2:]},
		{"no scheme", []string{":method", "GET", ":path", "/"}},
		{"no path", good[:4]},
		{"an empty path", []string{":method", "GET", ":scheme", "https", ":path", ""}},
		{"two methods", append([]string{":method", "GET"}, good...)},
		{"a status", append([]string{":status", "200"}, good...)},
		{"an unknown pseudo-header field", append([]string{":protocol", "x"}, good...)},
		{"a pseudo-header field behind others", append([]string{"a", "b"}, good...)},
		{"upper case", append(good[:6:6], "Accept", "b")},
		{"an empty name", append(good[:6:6], "", "b")},
		{"a name that is none", append(good[:6:6], "a b", "b")},
		{"a line in a value", append(good[:6:6], "a", "b\r\nc")},
		{"connection", append(good[:6:6], "connection", "close")},
		{"transfer-encoding", append(good[:6:6], "transfer-encoding", "chunked")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				streams := make(chan *h2.Stream, 4)
				_, s, _ := newServed(t, 0, begun(), h2.Service{Handle: func(s *h2.Stream) { streams <- s }})
				s.ok(s.WriteRawFrame(http2.FrameHeaders, 4, 3, s.block(tt.fields...)))
				if f := until[*http2.RSTStreamFrame](s); f.StreamID != 3 || f.ErrCode != http2.ErrCodeProtocol {
					t.Errorf("RST_STREAM: got %v, want PROTOCOL_ERROR for 3", f)
				}
				s.ok(s.WriteData(3, true, []byte("x"))) // was on its way
				s.ok(s.ask(5, true))
				<-streams
				if got := (<-streams).Head(); got.Method != "POST" || len(streams) > 0 {
					t.Errorf("Handle: got %+v, want the request on stream 5 only", got)
				}
			})
		})
	}
}

// TestServedOld: a head for a stream that has been is no new one, and the table of the
// next is right.
func TestServedOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *h2.Stream, 4)
		_, s, _ := newServed(t, 0, begun(), h2.Service{Handle: func(s *h2.Stream) { streams <- s }})
		_ = (<-streams).Close()
		s.ok(s.ask(7, true))
		s.ok(s.ask(5, true))
		s.ok(s.WriteRawFrame(http2.FrameHeaders, 5, 1, s.block("a", "b")))
		s.ok(s.ask(9, true))
		synctest.Wait()
		if len(streams) != 2 {
			t.Errorf("Handle: got %d streams, want those of 7 and 9", len(streams))
		}
	})
}

// TestServedSettings: what a server has to take of a client, whose push is ours to do.
func TestServedSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *h2.Stream, 4)
		c, s, _ := newServed(t, 0, begun(h2.Setting{ID: h2.SettingEnablePush, Value: 1}, h2.Setting{ID: h2.SettingHeaderTableSize, Value: 100},
			h2.Setting{ID: h2.SettingInitialWindowSize, Value: 3}), h2.Service{Handle: func(s *h2.Stream) { streams <- s }})
		s.ok(s.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1}))
		until[*http2.SettingsFrame](s)
		one := <-streams
		_ = one.Answer(200, []h2.Field{{Name: "server", Value: strings.Repeat("x", 50)}}, false)
		go func() { _, _ = one.Write([]byte("hello")) }()
		if f := until[*http2.DataFrame](s); string(f.Data()) != "hel" {
			t.Errorf("DATA: got %q, want what the window takes", f.Data())
		}
		s.ok(s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5}))
		if f := until[*http2.DataFrame](s); string(f.Data()) != "lo" {
			t.Errorf("DATA: got %q, want the rest", f.Data())
		}
		if err := c.Err(); err != nil {
			t.Errorf("Err: got %v, want nil", err)
		}
	})
}
