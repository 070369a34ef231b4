package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"relay/transport/h2"
)

// TestViolations: a server that breaks the protocol, or floods, loses the connection,
// and is told why.
func TestViolations(t *testing.T) {
	for _, tt := range []struct {
		name string
		code h2.Code
		do   func(s *script) error // streams 1 and 3 are open; 1 has its head
	}{
		{"a frame that is too long", h2.FrameSizeError, raw(0x77, 0, 0, strings.Repeat("x", 16385))},
		{"DATA for stream 0", h2.ProtocolError, raw(http2.FrameData, 0, 0, "x")},
		{"DATA for a stream that is not open", h2.ProtocolError, raw(http2.FrameData, 0, 7, "x")},
		{"DATA for a server's stream", h2.ProtocolError, raw(http2.FrameData, 0, 2, "x")},
		{"DATA padded and empty", h2.FrameSizeError, raw(http2.FrameData, http2.FlagDataPadded, 1, "")},
		{"DATA with too much padding", h2.ProtocolError, raw(http2.FrameData, http2.FlagDataPadded, 1, "\x05xxxx")},
		{"DATA behind the end", h2.StreamClosed, func(s *script) error {
			s.ok(s.WriteData(1, true, nil))
			return s.WriteData(1, false, []byte("x"))
		}},
		{"DATA over the window of the stream", h2.FlowControlError, func(s *script) error {
			for range (6<<20)/16384 + 1 {
				if s.WriteData(1, false, make([]byte, 16384)) != nil {
					return nil
				}
			}
			return nil
		}},
		{"DATA for a stream that was reset and had no window", h2.StreamClosed, func(s *script) error {
			s.ok(s.WriteRSTStream(1, 0))
			return s.WriteData(1, false, []byte("x"))
		}},
		{"HEADERS for stream 0", h2.ProtocolError, head(0, 4, ":status", "200")},
		{"HEADERS behind the end", h2.StreamClosed, func(s *script) error {
			s.ok(s.WriteData(1, true, nil))
			return head(1, 4, ":status", "200")(s)
		}},
		{"HEADERS padded and empty", h2.FrameSizeError, raw(http2.FrameHeaders, http2.FlagHeadersPadded|4, 3, "")},
		{"HEADERS with too much padding", h2.ProtocolError, raw(http2.FrameHeaders, http2.FlagHeadersPadded|4, 3, "\x02\x88")},
		{"HEADERS with half a priority", h2.FrameSizeError, raw(http2.FrameHeaders, http2.FlagHeadersPriority|4, 3, "\x02\x88")},
		{"HEADERS interrupted", h2.ProtocolError, func(s *script) error {
			s.ok(head(3, 0, ":status", "200")(s))
			return s.WritePing(false, [8]byte{})
		}},
		{"HEADERS continued for another stream", h2.ProtocolError, func(s *script) error {
			s.ok(head(3, 0, ":status", "200")(s))
			return s.WriteContinuation(1, true, nil)
		}},
		{"HEADERS that do not decode", h2.CompressionError, raw(http2.FrameHeaders, 4, 3, "\xff\xff\xff\xff\xff\xff")},
		{"HEADERS that end within a field", h2.CompressionError, raw(http2.FrameHeaders, 4, 3, "\x00\x05abc")},
		{"HEADERS without end", h2.EnhanceYourCalm, func(s *script) error {
			s.ok(head(3, 0, ":status", "200")(s))
			piece := s.block("a", strings.Repeat("~", 10000))
			return many(40, func(s *script) error { return s.WriteContinuation(3, false, piece) })(s)
		}},
		{"HEADERS without end and empty", h2.EnhanceYourCalm, func(s *script) error {
			s.ok(head(3, 0, ":status", "200")(s))
			return many(3000, func(s *script) error { return s.WriteContinuation(3, false, nil) })(s)
		}},
		{"HEADERS of one field ten thousand times", h2.EnhanceYourCalm, func(s *script) error {
			s.ok(head(3, 0, ":status", "200", "a", strings.Repeat("x", 3000))(s))
			return s.WriteContinuation(3, false, bytes.Repeat([]byte{0xbe}, 10000))
		}},
		{"CONTINUATION alone", h2.ProtocolError, raw(http2.FrameContinuation, 4, 1, "")},
		{"PRIORITY of a wrong length", h2.FrameSizeError, raw(http2.FramePriority, 0, 1, "xxxx")},
		{"RST_STREAM of a wrong length", h2.FrameSizeError, raw(http2.FrameRSTStream, 0, 1, "xxx")},
		{"RST_STREAM for stream 0", h2.ProtocolError, raw(http2.FrameRSTStream, 0, 0, "xxxx")},
		{"RST_STREAM for a stream that is not open", h2.ProtocolError, raw(http2.FrameRSTStream, 0, 5, "xxxx")},
		{"SETTINGS for a stream", h2.ProtocolError, raw(http2.FrameSettings, 0, 1, "")},
		{"SETTINGS of a wrong length", h2.FrameSizeError, raw(http2.FrameSettings, 0, 0, "12345")},
		{"SETTINGS acknowledged at length", h2.FrameSizeError, raw(http2.FrameSettings, 1, 0, "123456")},
		{"SETTINGS that allow to push", h2.ProtocolError, raw(http2.FrameSettings, 0, 0, "\x00\x02\x00\x00\x00\x01")},
		{"SETTINGS by the hundred", h2.EnhanceYourCalm, raw(http2.FrameSettings, 0, 0, strings.Repeat("\x00\x04\x00\x10\x00\x00", 101))},
		{"SETTINGS with a window too large", h2.FlowControlError, raw(http2.FrameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00")},
		{"SETTINGS that make a window too large", h2.FlowControlError, func(s *script) error {
			s.ok(s.WriteWindowUpdate(1, 1<<31-1-65535))
			return raw(http2.FrameSettings, 0, 0, "\x00\x04\x7f\xff\xff\xff")(s)
		}},
		{"SETTINGS with short frames", h2.ProtocolError, raw(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x3f\xff")},
		{"SETTINGS with long frames", h2.ProtocolError, raw(http2.FrameSettings, 0, 0, "\x00\x05\x01\x00\x00\x00")},
		{"a push", h2.ProtocolError, raw(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02\x82")},
		{"PING of a wrong length", h2.FrameSizeError, raw(http2.FramePing, 0, 0, "1234567")},
		{"PING for a stream", h2.ProtocolError, raw(http2.FramePing, 0, 1, "12345678")},
		{"GOAWAY of a wrong length", h2.FrameSizeError, raw(http2.FrameGoAway, 0, 0, "1234567")},
		{"GOAWAY for a stream", h2.ProtocolError, raw(http2.FrameGoAway, 0, 1, "12345678")},
		{"WINDOW_UPDATE of a wrong length", h2.FrameSizeError, raw(http2.FrameWindowUpdate, 0, 1, "123")},
		{"WINDOW_UPDATE by nothing", h2.ProtocolError, raw(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x00")},
		{"WINDOW_UPDATE too far for a stream", h2.FlowControlError, raw(http2.FrameWindowUpdate, 0, 1, "\x7f\xff\xff\xff")},
		{"WINDOW_UPDATE too far", h2.FlowControlError, raw(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff")},
		{"WINDOW_UPDATE for a stream that is not open", h2.ProtocolError, raw(http2.FrameWindowUpdate, 0, 5, "\x00\x00\x00\x01")},
		{"many PINGs", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WritePing(false, [8]byte{}) })},
		{"many SETTINGS", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteSettings() })},
		{"many empty DATA", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteData(1, false, nil) })},
		{"many empty padded DATA", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteDataPadded(1, false, nil, []byte{0}) })},
		{"many RST_STREAM", h2.EnhanceYourCalm, many(3000, func(s *script) error { return s.WriteRSTStream(1, 0) })},
		{"many interim answers", h2.EnhanceYourCalm, many(3000, head(3, 4, ":status", "103"))},
		{"many unknown frames", h2.EnhanceYourCalm, many(3000, raw(0x77, 0, 0, "x"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := newScript(t, 16<<20)
				s1 := open(t, c, request("POST", "/"), nil, false)
				s3 := open(t, c, request("POST", "/"), nil, false)
				s.opening()
				until[*http2.HeadersFrame](s)
				until[*http2.HeadersFrame](s)
				s.answer(1, false)
				s.ok(tt.do(s))
				<-c.Done()
				var v *h2.ViolationError
				if err := c.Err(); !errors.As(err, &v) || v.Code != tt.code {
					t.Fatalf("Err: got %v, want %v", err, tt.code)
				}
				if _, err := io.Copy(io.Discard, s3); err == nil {
					t.Error("Read: got the end, want an error")
				}
				if _, err := s1.Write([]byte("x")); err == nil {
					t.Error("Write: got nil, want an error")
				}
				if _, err := c.Open(context.Background(), request("GET", "/"), nil, true); !errors.Is(err, h2.ErrUnprocessed) {
					t.Errorf("Open: got %v, want ErrUnprocessed", err)
				}
			})
		})
	}
}

// TestGoAwaySent: the peer hears why. (Not if the connection has more of its bytes in
// hand: then closing is a reset.)
func TestGoAwaySent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 0)
		open(t, c, request("GET", "/"), nil, true)
		s.opening()
		s.ok(s.WriteRawFrame(http2.FramePing, 0, 0, nil))
		if f := until[*http2.GoAwayFrame](s); f.ErrCode != http2.ErrCodeFrameSize {
			t.Errorf("GOAWAY: got %v, want FRAME_SIZE_ERROR", f.ErrCode)
		}
		if _, err := s.ReadFrame(); err != io.EOF {
			t.Errorf("then: got %v, want the end", err)
		}
		if c.Usable() || c.Room() != 0 {
			t.Error("Usable: got true, want false")
		}
	})
}

// TestFirstFrame: a peer that does not begin with SETTINGS speaks something else.
func TestFirstFrame(t *testing.T) {
	for _, first := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "\x00\x00\x00\x04\x01\x00\x00\x00\x00", "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"} {
		synctest.Test(t, func(t *testing.T) {
			a, b := pipe(t)
			c := h2.NewConn(a, chrome())
			defer c.Close()
			_, _ = b.Write([]byte(first))
			<-c.Done()
			var v *h2.ViolationError
			if err := c.Err(); !errors.As(err, &v) {
				t.Errorf("Err after %q: got %v, want a violation", first, err)
			}
		})
	}
}

// TestMalformed: an answer that is none costs its stream only.
func TestMalformed(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s *script) error
	}{
		{"no status", func(s *script) error { return heads(s, false, "a", "b") }},
		{"no field", func(s *script) error { return heads(s, false) }},
		{"status of two digits", func(s *script) error { return heads(s, false, ":status", "99") }},
		{"status of words", func(s *script) error { return heads(s, false, ":status", "two") }},
		{"status with a sign", func(s *script) error { return heads(s, false, ":status", "+20") }},
		{"101", func(s *script) error { return heads(s, false, ":status", "101") }},
		{"two", func(s *script) error { return heads(s, false, ":status", "200", ":status", "200") }},
		{"upper case", func(s *script) error { return heads(s, false, ":status", "200", "A", "b") }},
		{"interim and last", func(s *script) error { return heads(s, true, ":status", "103") }},
		{"DATA first", func(s *script) error { return s.WriteData(1, true, []byte("x")) }},
		{"second head", func(s *script) error {
			s.ok(heads(s, false, ":status", "200"))
			return heads(s, false, "a", "b")
		}},
		{"pseudo-header field behind", func(s *script) error {
			s.ok(heads(s, false, ":status", "200"))
			return heads(s, true, ":status", "200")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := newScript(t, 0)
				bad, good := open(t, c, request("GET", "/"), nil, true), open(t, c, request("GET", "/"), nil, true)
				s.opening()
				until[*http2.HeadersFrame](s)
				until[*http2.HeadersFrame](s)
				s.ok(tt.do(s))
				_, err := io.ReadAll(bad)
				var v *h2.ViolationError
				if !errors.As(err, &v) || v.Code != h2.ProtocolError {
					t.Errorf("Read: got %v, want PROTOCOL_ERROR", err)
				}
				if f := until[*http2.RSTStreamFrame](s); f.StreamID != 1 || f.ErrCode != http2.ErrCodeProtocol {
					t.Errorf("RST_STREAM: got %v, want PROTOCOL_ERROR for 1", f)
				}
				s.answer(3, true)
				if status, _ := answer(t, good); status != 200 {
					t.Errorf("the other stream: got %d, want 200", status)
				}
			})
		})
	}
}

func heads(s *script, end bool, fields ...string) error {
	return s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.block(fields...), EndHeaders: true, EndStream: end})
}
