package h2_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/transport/h2"
)

// frame is one as it goes over the wire.
func frame(kind http2.FrameType, flags http2.Flags, id uint32, payload string) string {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), byte(kind), byte(flags)}
	return string(binary.BigEndian.AppendUint32(b, id)) + payload
}

// Of openings.
var (
	settingsFrame = frame(http2.FrameSettings, 0, 0, "\x00\x04\x00\x60\x00\x00")
	ackFrame      = frame(http2.FrameSettings, http2.FlagSettingsAck, 0, "")
	windowFrame   = frame(http2.FrameWindowUpdate, 0, 0, "\x00\xef\x00\x01")
	// GET https://www.example.org/, in HPACK without a table.
	getBlock     = "\x82\x87\x84\x01\x0fwww.example.org"
	getFrame     = frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, getBlock)
	serverFrames = frame(http2.FrameSettings, 0, 0, "\x00\x03\x00\x00\x00\xfa\x00\x04\x00\x10\x00\x00") +
		frame(http2.FrameWindowUpdate, 0, 0, "\x00\x0f\x00\x00") + frame(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x01")
)

// openings are what a connection may begin with; ours says that it changes hands if
// the first request is one of ours.
var openings = []struct {
	name string
	in   string
	ours bool
}{
	{"the least", settingsFrame + getFrame, true},
	{"nothing", "", false},
	{"SETTINGS, a window and an acknowledgement", settingsFrame + windowFrame + ackFrame + getFrame + "\x00\x00\x04\x08", true},
	{"empty SETTINGS", frame(http2.FrameSettings, 0, 0, "") + getFrame, true},
	{"PRIORITY, as Firefox", settingsFrame + windowFrame + frame(http2.FramePriority, 0, 3, "\x00\x00\x00\x00\xc8") + frame(http2.FramePriority, 0, 5, "\x00\x00\x00\x00\x64") + getFrame, true},
	{"an unknown frame", settingsFrame + frame(0x77, 0xff, 9, "whatever") + getFrame, true},
	{"a head with priority", settingsFrame + frame(http2.FrameHeaders, 4|http2.FlagHeadersPriority, 1, "\x80\x00\x00\x00\xff"+getBlock), true},
	{"a head with padding and priority", settingsFrame + frame(http2.FrameHeaders, 5|http2.FlagHeadersPriority|http2.FlagHeadersPadded, 7, "\x02\x80\x00\x00\x00\xff"+getBlock+"\x00\x00"), true},
	{"a head and a body", settingsFrame + frame(http2.FrameHeaders, 4, 1, getBlock) + frame(http2.FrameData, 1, 1, "body"), true},
	{"a second head", settingsFrame + getFrame + frame(http2.FrameHeaders, 5, 3, getBlock), true},
	{"PING", settingsFrame + frame(http2.FramePing, 0, 0, "12345678") + getFrame, false},
	{"PING of a wrong length", settingsFrame + frame(http2.FramePing, 0, 0, "1234567") + getFrame, false},
	{"SETTINGS twice", settingsFrame + settingsFrame + getFrame, false},
	{"two windows", settingsFrame + windowFrame + windowFrame + getFrame, false},
	{"a window of nothing", settingsFrame + frame(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00") + getFrame, false},
	{"a window that is too large", settingsFrame + frame(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff") + getFrame, false},
	{"a window of a stream", settingsFrame + frame(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x01") + getFrame, false},
	{"GOAWAY", settingsFrame + frame(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00") + getFrame, false},
	{"RST_STREAM", settingsFrame + frame(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08") + getFrame, false},
	{"DATA", settingsFrame + frame(http2.FrameData, 0, 1, "x") + getFrame, false},
	{"CONTINUATION", settingsFrame + frame(http2.FrameContinuation, 4, 1, getBlock) + getFrame, false},
	{"a push", settingsFrame + frame(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02"+getBlock) + getFrame, false},
	{"no SETTINGS", getFrame, false},
	{"SETTINGS of a wrong length", frame(http2.FrameSettings, 0, 0, "12345") + getFrame, false},
	{"SETTINGS for a stream", frame(http2.FrameSettings, 0, 1, "") + getFrame, false},
	{"SETTINGS with a window too large", frame(http2.FrameSettings, 0, 0, "\x00\x04\xff\xff\xff\xff") + getFrame, false},
	{"SETTINGS that say a thing twice", frame(http2.FrameSettings, 0, 0, "\x00\x04\x00\x60\x00\x00\x00\x04\x00\x60\x00\x00") + getFrame, false},
	{"an acknowledgement for a stream", settingsFrame + frame(http2.FrameSettings, 1, 1, "") + getFrame, false},
	{"two acknowledgements", settingsFrame + ackFrame + ackFrame + getFrame, false},
	{"PRIORITY of a wrong length", settingsFrame + frame(http2.FramePriority, 0, 3, "\x00\x00\x00\x00") + getFrame, false},
	{"PRIORITY for stream 0", settingsFrame + frame(http2.FramePriority, 0, 0, "\x00\x00\x00\x00\x00") + getFrame, false},
	{"PRIORITY on itself", settingsFrame + frame(http2.FramePriority, 0, 3, "\x00\x00\x00\x03\x00") + getFrame, false},
	{"PRIORITY_UPDATE", settingsFrame + frame(0x10, 0, 0, "\x00\x00\x00\x01u=3") + getFrame, false},
	{"an acknowledgement that is none", settingsFrame + frame(http2.FrameSettings, 1, 0, "123456"), false},
	{"a head in two frames", settingsFrame + frame(http2.FrameHeaders, 1, 1, getBlock[:5]) + frame(http2.FrameContinuation, 4, 1, getBlock[5:]), false},
	{"a head for an even stream", settingsFrame + frame(http2.FrameHeaders, 5, 2, getBlock), false},
	{"a head for stream 0", settingsFrame + frame(http2.FrameHeaders, 5, 0, getBlock), false},
	{"a head with too much padding", settingsFrame + frame(http2.FrameHeaders, 5|http2.FlagHeadersPadded, 1, "\xff"+getBlock), false},
	{"a head that is empty and padded", settingsFrame + frame(http2.FrameHeaders, 5|http2.FlagHeadersPadded, 1, ""), false},
	{"a head with half a priority", settingsFrame + frame(http2.FrameHeaders, 5|http2.FlagHeadersPriority, 1, "\x80"), false},
	{"a head that does not decode", settingsFrame + frame(http2.FrameHeaders, 5, 1, getBlock+"\xff\xff\xff\xff\xff\xff"), false},
	{"a head that ends within a field", settingsFrame + frame(http2.FrameHeaders, 5, 1, getBlock+"\x00\x05abc"), false},
	{"a head without a path", settingsFrame + frame(http2.FrameHeaders, 5, 1, "\x82\x87"), false},
	{"a frame that is too long", settingsFrame + "\xff\xff\xff\x01\x05\x00\x00\x00\x01" + getBlock, false},
	{"an unknown frame that is long", settingsFrame + frame(0x77, 0, 0, string(make([]byte, 1025))) + getFrame, false},
	{"many frames", settingsFrame + string(bytes.Repeat([]byte(frame(0x77, 0, 0, "")), 20)) + getFrame, false},
	{"a head that is too long", settingsFrame + frame(http2.FrameHeaders, 5, 1, getBlock+"\x00\x01a\x7f\x81\x80\x01"+string(bytes.Repeat([]byte{'x'}, 16512))), false},
	{"the end within a header", settingsFrame + getFrame[:5], false},
	{"the end within a head", settingsFrame + getFrame[:20], false},
	{"the end within SETTINGS", settingsFrame[:12], false},
}

// other is a server that reads frame by frame, and acknowledges what it takes. It
// returns all that it has read.
func other(f *h2.Fork) []byte {
	var got bytes.Buffer
	r := io.TeeReader(f, &got)
	_, _ = f.Write([]byte(serverFrames))
	b := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(r, b); err == nil && string(b) == http2.ClientPreface {
		fr := http2.NewFramer(f, r)
		for {
			v, err := fr.ReadFrame()
			if err != nil {
				break
			}
			if v, ok := v.(*http2.SettingsFrame); ok && !v.IsAck() {
				if v.HasDuplicates() || v.ForeachSetting(http2.Setting.Valid) != nil {
					_ = fr.WriteGoAway(0, http2.ErrCodeProtocol, nil)
					break
				}
				_ = fr.WriteSettingsAck()
			}
			if _, ok := v.(*http2.PingFrame); ok {
				_ = fr.WritePing(true, [8]byte{})
			}
		}
	}
	_, _ = io.Copy(io.Discard, r) // whatever it has to say of that
	return got.Bytes()
}

// forkOf has another server meet what a client says.
func forkOf(in string, piece int, ours bool) (f *h2.Fork, r *replay, got []byte) {
	r = &replay{in: []byte(in), piece: piece, start: make(chan struct{})}
	close(r.start)
	f = h2.NewFork(r, func(h2.Head) bool { return ours })
	return f, r, other(f)
}

// checkBegun compares what a fork has made of an opening with what golang.org/x/net's
// framer does, and returns how long that is with the first head.
func checkBegun(t *testing.T, in string, b *h2.Begun) (before, after int) {
	t.Helper()
	r := bytes.NewReader([]byte(in)[len(http2.ClientPreface):])
	fr := http2.NewFramer(nil, r)
	want := h2.Begun{Window: 0xf0001, Settings: []h2.Setting{{ID: 3, Value: 250}, {ID: 4, Value: 1 << 20}}}
	for {
		before = len(in) - r.Len()
		v, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("Taken: got a connection, and it begins with what is no frame: %v", err)
		}
		switch v := v.(type) {
		case *http2.SettingsFrame:
			_ = v.ForeachSetting(func(s http2.Setting) error {
				want.Peer = append(want.Peer, h2.Setting{ID: uint16(s.ID), Value: s.Val})
				return nil
			})
		case *http2.WindowUpdateFrame:
			want.Opened += v.Increment
		case *http2.PriorityFrame, *http2.UnknownFrame:
		case *http2.HeadersFrame:
			want.Stream, want.End = v.StreamID, v.StreamEnded()
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(v.HeaderBlockFragment())
			for _, f := range fields {
				want.Fields = append(want.Fields, h2.Field{Name: f.Name, Value: f.Value})
			}
			if err != nil || !v.HeadersEnded() {
				t.Errorf("Taken: got a connection, and its first head is none: %v", err)
			}
			if b.Stream != want.Stream || b.End != want.End || b.Opened != want.Opened || b.Window != want.Window ||
				!slices.Equal(b.Settings, want.Settings) || !slices.Equal(b.Peer, want.Peer) || !slices.Equal(b.Fields, want.Fields) {
				t.Errorf("Taken: got %+v, want %+v", *b, want)
			}
			return before, len(in) - r.Len()
		default:
			t.Fatalf("Taken: got a connection with %v before its first head", v)
		}
	}
}

// checkFork checks that nothing of what a client has said is lost, changed or said
// twice, and returns whether the connection has changed hands.
func checkFork(t *testing.T, in string, piece int, ours bool) bool {
	t.Helper()
	f, r, got := forkOf(in, piece, ours)
	b := f.Taken()
	if b == nil {
		if string(got) != in {
			t.Errorf("the other server: got %q, want %q", got, in)
		}
		return false
	}
	if !ours {
		t.Error("Taken: got a connection that is not ours")
	}
	before, after := checkBegun(t, in, b)
	if string(got) != in[:before] || string(r.in) != in[after:] {
		t.Errorf("got %q for the other server and %q for ours, want %q and %q", got, r.in, in[:before], in[after:])
	}
	if want := serverFrames + ackFrame; r.out.String() != want {
		t.Errorf("the client: got %q, want %q", r.out.String(), want)
	}
	if _, err := f.Write([]byte("late")); err == nil {
		t.Error("Write: got nil of the other server behind its end, want an error")
	}
	if _ = f.Close(); r.gone {
		t.Error("Close: the other server has closed a connection that is ours")
	}
	return true
}

// TestFork: only what begins in order changes hands, and only if its first request is
// ours, in whatever pieces it comes.
func TestFork(t *testing.T) {
	for _, tt := range openings {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 7, 24, 1 << 20} {
				for _, ours := range []bool{true, false} {
					synctest.Test(t, func(t *testing.T) {
						if got, want := checkFork(t, http2.ClientPreface+tt.in, piece, ours), tt.ours && ours; got != want {
							t.Errorf("Taken, in pieces of %d: got %v, want %v", piece, got, want)
						}
					})
				}
			}
		})
	}
	for _, in := range []string{"", "GET / HTTP/1.1\r\n\r\n", http2.ClientPreface[:23], http2.ClientPreface[:23] + "x" + settingsFrame + getFrame, "x" + http2.ClientPreface + settingsFrame + getFrame} {
		synctest.Test(t, func(t *testing.T) {
			if checkFork(t, in, 5, true) {
				t.Errorf("Taken: got a connection that begins with %q", in)
			}
		})
	}
}

// FuzzFork: whatever a client says, and in whatever pieces, the other server hears it,
// or what it does not hear is what [h2.NewServer] goes on with.
func FuzzFork(f *testing.F) {
	for _, o := range openings {
		f.Add([]byte(http2.ClientPreface+o.in), uint16(7), true)
	}
	names, _ := filepath.Glob("testdata/clients/*")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatalf("recording: got %v, want it", err)
		}
		f.Add(b, uint16(100), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint16, ours bool) {
		synctest.Test(t, func(t *testing.T) { checkFork(t, string(in), max(1, int(piece)), ours) })
	})
}
