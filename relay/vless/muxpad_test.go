package vless

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// saidFrame is a frame as it was said.
type saidFrame struct {
	frame
	data string
}

// saidFrames takes frames apart.
func saidFrames(t *testing.T, s string) (out []saidFrame) {
	t.Helper()
	for len(s) > 0 {
		n := int(binary.BigEndian.Uint16([]byte(s)))
		f, err := parseFrame([]byte(s[lengthSize:][:n]))
		if err != nil {
			t.Fatalf("frame of %d bytes: got %v, want one", n, err)
		}
		s = s[lengthSize+n:]
		one := saidFrame{frame: f}
		if f.has(optionData) {
			n = int(binary.BigEndian.Uint16([]byte(s)))
			one.data, s = s[lengthSize:][:n], s[lengthSize+n:]
		}
		out = append(out, one)
	}
	return out
}

// isPadding reports whether f is, how long all of it is, and what it asks for.
func isPadding(t *testing.T, f saidFrame) (size int, asks []int, ok bool) {
	t.Helper()
	if f.status != statusKeepAlive {
		return 0, nil, false
	}
	count := int(f.data[0])
	for i := range count {
		asks = append(asks, int(binary.BigEndian.Uint16([]byte(f.data[1+2*i:]))))
	}
	if rest := strings.Trim(f.data[1+2*count:], "\x00"); rest != "" {
		t.Errorf("padding: got %q in it, want zeros", rest)
	}
	return lengthSize + frameSize + lengthSize + len(f.data), asks, true
}

// asking is padding of a client that asks for some.
func asking(sizes ...int) string {
	b := []byte{byte(len(sizes))}
	for _, n := range sizes {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return frameOf(frame{status: statusKeepAlive}, string(b)+"\x00\x00\x00")
}

// heardFrames are those that the client was told since it was asked last.
func (m *muxed) heardFrames() []saidFrame {
	m.t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	frames := saidFrames(m.t, strings.TrimPrefix(string(m.heard), answer)) // no frame is of length 0
	m.heard = m.heard[:0]
	return frames
}

// TestMuxAnswersPadding has a client ask for padding in every way.
func TestMuxAnswersPadding(t *testing.T) {
	for _, c := range []struct {
		name, say string
		size      int // of the answer; 0: there is none
		asks      []int
	}{
		{"one size", asking(200), 200, nil},
		{"two sizes", asking(200, 70), 200, []int{70}},
		{"three sizes", asking(1400, 70, 60), 1400, []int{70, 60}},
		{"less than a frame", asking(1), padHead, nil},
		{"nothing", asking(), 0, nil},
		{"more than there is of it", asking(mostPadded + 1), 0, nil},
		{"more sizes than there may be", asking(100, 100, 100, 100), 0, nil},
		{"sizes that are not there", frameOf(frame{status: statusKeepAlive}, "\x02\x00\x64\x00"), 0, nil},
		{"another's", frameOf(frame{status: statusKeepAlive}, "abc"), 0, nil},
		{"no data", frameOf(frame{status: statusKeepAlive}, ""), 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			start(t, 0, false, func(m *muxed) {
				m.say(m.tcp(1, "93.184.216.34:443", "hello"))
				m.say(c.say)
				frames := m.heardFrames()
				if c.size == 0 {
					if len(frames) > 0 {
						t.Errorf("got %d frames, want none", len(frames))
					}
					return
				}
				if len(frames) != 1 {
					t.Fatalf("got %d frames, want one", len(frames))
				}
				size, asks, ok := isPadding(t, frames[0])
				if !ok || !slices.Equal(asks, c.asks) || size != c.size {
					t.Errorf("got padding %v of %d bytes that asks for %v, want %d and %v", ok, size, asks, c.size, c.asks)
				}
			})
		})
	}
}

// TestMuxAnswersFewPaddings has a client ask a hundred times.
func TestMuxAnswersFewPaddings(t *testing.T) {
	start(t, 0, false, func(m *muxed) {
		m.say(m.tcp(1, "93.184.216.34:443", "hello"))
		m.say(strings.Repeat(asking(500), 100))
		if n := len(m.heardFrames()); n != answersEach {
			t.Errorf("got %d answers for one session, want %d", n, answersEach)
		}
		for id := range uint16(100) {
			m.say(m.tcp(2+id, "93.184.216.34:443", "") + end(2+id))
		}
		m.heardFrames()
		m.say(strings.Repeat(asking(500), 100))
		if n := len(m.heardFrames()); n != mostAnswers {
			t.Errorf("got %d answers after a hundred sessions, want %d", n, mostAnswers)
		}
	})
}

// TestMuxPadsBack has the server pad short frames for a client that does, and for no
// other.
func TestMuxPadsBack(t *testing.T) {
	for _, pads := range []bool{false, true} {
		start(t, 0, false, func(m *muxed) {
			m.say(m.tcp(1, "93.184.216.34:443", "hello"))
			if pads {
				m.say(asking())
			}
			c := m.stream("93.184.216.34:443")
			for i := range paddedFrames + 1 {
				m.writes(c, "short")
				frames := m.heardFrames()
				want := 1
				if pads && i < paddedFrames {
					want = 2
				}
				if len(frames) != want || frames[0].data != "short" {
					t.Fatalf("client pads %v, write %d: got %d frames, want %d", pads, i, len(frames), want)
				}
				if want == 2 {
					size, asks, ok := isPadding(t, frames[1])
					if size += len("short"); !ok || asks != nil || size < leastPadded || size > usualPadded {
						t.Errorf("write %d: got padding %v to %d bytes that asks for %v, want %d to %d", i, ok, size, asks, leastPadded, usualPadded)
					}
				}
			}
		})
	}
}

// TestClientMuxPads looks at what a client pads: the first frame of each session to the
// size of several requests, the next ones to that of one.
func TestClientMuxPads(t *testing.T) {
	dialing(t, func(t *testing.T, x *exit) {
		d := x.dialer()
		d.Mux, d.Shape = 8, true
		defer d.Close()
		one, err := d.DialStream(t.Context(), target(t, "93.184.216.34:443"), []byte("hello one"))
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		s := &sharing{x, d}
		end := s.end()
		heard := func() []saidFrame {
			b := make([]byte, 64<<10)
			_ = end.SetReadDeadline(time.Now().Add(time.Millisecond))
			n, _ := io.ReadAtLeast(end, b, len(b))
			_, rest, _ := strings.Cut(string(b[:n]), xrayMux)
			if rest == "" {
				rest = string(b[:n])
			}
			return saidFrames(t, rest)
		}
		check := func(what string, frames []saidFrame, data string, least, most int, asks int) {
			t.Helper()
			if len(frames) != 2 || frames[0].data != data {
				t.Fatalf("%s: got %d frames, want %q and padding", what, len(frames), data)
			}
			size, asked, ok := isPadding(t, frames[1])
			if size += len(data); !ok || size < least || size > most || len(asked) != asks {
				t.Errorf("%s: got padding %v to %d bytes that asks for %v, want %d to %d and %d sizes", what, ok, size, asked, least, most, asks)
			}
		}
		check("first", heard(), "hello one", leastEarly, mostEarly, 2)
		_, _ = io.WriteString(one, "finished")
		check("second", heard(), "finished", leastPadded, usualPadded, 0)
		two := s.dial("93.184.216.35:443")
		defer two.Close()
		_, _ = io.WriteString(two, "hello two")
		check("first of another", heard(), "hello two", leastFirst, mostFirst, 2)
		middling := strings.Repeat("x", usualPadded+1)
		_, _ = io.WriteString(two, middling)
		check("middling", heard(), middling, usualPadded+1, usualPadded+1+mostMore, 0)
		_, _ = io.WriteString(two, strings.Repeat("x", 4000))
		if frames := heard(); len(frames) != 1 {
			t.Errorf("long: got %d frames, want one", len(frames))
		}
		s.says(answer + asking(200, 90))
		frames := heard()
		if len(frames) != 1 {
			t.Fatalf("asked: got %d frames, want one", len(frames))
		}
		if size, asks, ok := isPadding(t, frames[0]); !ok || size != 200 || !slices.Equal(asks, []int{90}) {
			t.Errorf("asked for 200: got padding %v of %d bytes that asks for %v", ok, size, asks)
		}
	})
}
