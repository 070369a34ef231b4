package h2_test

import (
	"io"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"relay/transport/h2"
)

// FuzzServe: whatever a client says behind its first head, the connection ends when that
// does, with all of its streams; no stream has more bytes than have come, what we say is
// HTTP/2, and what was read ahead is given back.
func FuzzServe(f *testing.F) {
	for _, in := range []string{
		frame(http2.FrameData, 0, 1, "body") + frame(http2.FrameData, 1, 1, ""),
		frame(http2.FrameData, http2.FlagDataPadded, 1, "\x02body\x00\x00") + getFrame,
		frame(http2.FrameHeaders, 5, 3, getBlock) + frame(http2.FrameHeaders, 0, 5, getBlock[:5]) + frame(http2.FrameContinuation, 4, 5, getBlock[5:]) + frame(http2.FrameData, 1, 5, "body"),
		frame(http2.FrameHeaders, 4, 3, getBlock) + frame(http2.FrameRSTStream, 0, 3, "\x00\x00\x00\x08") + frame(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x00"),
		frame(http2.FrameHeaders, 4, 3, getBlock+"\x40\x01a\x01b") + frame(http2.FrameHeaders, 5, 3, "\x00\x01t\x01v") + frame(http2.FrameHeaders, 5, 7, getBlock+"\xbe"),
		settingsFrame + ackFrame + windowFrame + frame(http2.FrameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"),
		frame(http2.FramePing, 0, 0, "12345678") + frame(http2.FramePing, 1, 0, "12345678") + frame(http2.FrameWindowUpdate, 0, 1, "\x00\x01\x00\x00"),
		frame(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00") + frame(http2.FrameData, 1, 1, "on"),
		frame(http2.FramePriority, 0, 1, "\x00\x00\x00\x03\x10") + frame(0x10, 0, 0, "\x00\x00\x00\x01u=3") + frame(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02"),
	} {
		f.Add([]byte(in), uint16(1))
		f.Add([]byte(in), uint16(40000))
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		synctest.Test(t, func(t *testing.T) {
			r := &replay{peer: newPeer(0), in: in, piece: max(1, int(piece)), start: make(chan struct{})}
			close(r.start)
			const most = 5000
			budget := h2.NewBudget(most)
			var all []*h2.Stream
			c := h2.NewServer(r, begun(), h2.Service{Ahead: budget, Handle: func(s *h2.Stream) {
				all = append(all, s)
				switch len(all) % 4 {
				case 0: // nobody reads
				case 1:
					echoes(s)
				case 2:
					s.Notify(func() {
						_, _ = io.Copy(io.Discard, s)
						_ = s.Answer(204, nil, true)
					})
				case 3:
					_ = s.Answer(403, nil, true)
					_ = s.Finish()
				}
			}})
			if err := c.Serve(); err == nil || c.Streams() != 0 {
				t.Errorf("Serve: got %v and %d streams, want an error and none", err, c.Streams())
			}
			synctest.Wait()
			for _, s := range all {
				if n, _ := io.Copy(io.Discard, s); n > int64(len(in)) {
					t.Errorf("Read: got %d bytes, want at most the %d that came", n, len(in))
				}
				_ = s.Close()
			}
			if left := h2.BudgetLeft(budget); left != most {
				t.Errorf("budget: got %d left, want %d", left, most)
			}
			checkFrames(t, append([]byte(http2.ClientPreface), r.out.Bytes()...))
		})
	})
}
