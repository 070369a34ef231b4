package h2_test

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// updates are the WINDOW_UPDATEs among what the client has sent, by stream.
func (s *script) updates() map[uint32]uint32 {
	s.t.Helper()
	synctest.Wait()
	s.ok(s.conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
	defer s.conn.SetReadDeadline(time.Time{})
	sum := make(map[uint32]uint32)
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return sum
		}
		if f, ok := f.(*http2.WindowUpdateFrame); ok {
			sum[f.StreamID] += f.Increment
		}
	}
}

// body sends n bytes in full frames.
func (s *script) body(id uint32, n int) {
	s.t.Helper()
	b := make([]byte, 16384)
	for ; n > 0; n -= len(b) {
		b = b[:min(n, len(b))]
		s.ok(s.WriteData(id, false, b))
	}
}

func read(t *testing.T, r io.Reader, n int) {
	t.Helper()
	if m, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
		t.Fatalf("Read: got %d and %v, want %d bytes", m, err, n)
	}
}

// TestWindows: windows are opened again as Chrome does, and by what was read, exactly.
func TestWindows(t *testing.T) {
	const half, all = 3 << 20, 15 << 20
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 20<<20)
		s1, s3 := open(t, c, request("GET", "/"), nil, true), open(t, c, request("GET", "/"), nil, true)
		s.opening()
		if got := s.updates(); len(got) != 1 || got[0] != all-65535 {
			t.Fatalf("at first: got %v, want the connection's window", got)
		}
		s.answer(1, false)
		s.answer(3, false)
		s.body(1, 6<<20)
		read(t, s1, half)
		if got := s.updates(); len(got) != 0 {
			t.Errorf("half read: got %v, want none", got)
		}
		read(t, s1, 1)
		if got := s.updates(); len(got) != 1 || got[1] != half+1 {
			t.Errorf("a byte more: got %v, want %d for 1", got, half+1)
		}
		s.body(1, half+1)
		read(t, s1, 6<<20) // of which half again is told
		if got := s.updates(); len(got) != 2 || got[1] < half || got[0] <= all/2 {
			t.Errorf("all read: got %v, want half of either window at least", got)
		}
		// What padding takes is given back with the rest.
		s.ok(s.WriteDataPadded(3, false, []byte("x"), make([]byte, 200)))
		read(t, s3, 1)
		time.Sleep(5*time.Second + 2)
		s.ok(s.WriteData(3, false, []byte("y")))
		read(t, s3, 1)
		if got := s.updates(); got[3] != 203 {
			t.Errorf("after 5 s: got %v, want 203 for 3", got)
		}
		// A stream that is closed gives back what it has and what still comes.
		before := s.updates()[0]
		s.body(3, half)
		synctest.Wait()
		_ = s3.Close()
		s.body(3, half-203)
		time.Sleep(5*time.Second + 2)
		s.body(1, 16)
		read(t, s1, 16)
		if got := s.updates(); before != 0 || got[0] < 2*half-203 {
			t.Errorf("after Close: got %v, want all of 3", got)
		}
		// All in all: what has been sent is what has been given, or will be.
		if err := c.Err(); err != nil {
			t.Errorf("Err: got %v, want nil", err)
		}
	})
}

// TestStray: what comes for a stream that was reset is counted, too.
func TestStray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 20<<20)
		s1 := open(t, c, request("GET", "/"), nil, true)
		s.opening()
		s.answer(1, false)
		synctest.Wait()
		_ = s1.Close()
		s.body(1, 6<<20)
		synctest.Wait()
		if err := c.Err(); err != nil {
			t.Fatalf("Err: got %v, want nil", err)
		}
		s.body(1, 1)
		synctest.Wait()
		if err := c.Err(); err == nil {
			t.Error("Err: got nil, want a violation")
		}
	})
}

// TestSlowReader: a stream that is not read does not hold up another.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 64<<10)
		slow, fast := open(t, c, request("GET", "/"), nil, true), open(t, c, request("GET", "/"), nil, true)
		s.opening()
		s.answer(1, false)
		s.answer(3, false)
		s.body(1, 6<<20)
		for range 20 {
			s.body(3, 1<<20)
			read(t, fast, 1<<20)
			for id, n := range s.updates() {
				if id == 1 {
					t.Errorf("slow stream: got a window of %d, want none", n)
				}
			}
		}
		s.ok(s.WriteData(1, true, nil))
		if n, err := io.Copy(io.Discard, slow); n != 6<<20 || err != nil {
			t.Errorf("slow stream: got %d, %v, want %d", n, err, 6<<20)
		}
	})
}

// frames reads DATA until n bytes have come for a stream.
func (s *script) frames(id uint32, n int) (sizes []int) {
	s.t.Helper()
	for got := 0; got < n; {
		f := until[*http2.DataFrame](s)
		if f.StreamID == id {
			got += len(f.Data())
			sizes = append(sizes, int(f.Length))
		}
	}
	return sizes
}

// TestSendWindows: a write takes what the windows have and waits for the rest; it does
// not stop others.
func TestSendWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newScript(t, 1<<20, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 20000})
		synctest.Wait() // SETTINGS are here
		s1, s3 := open(t, c, request("POST", "/"), nil, false), open(t, c, request("POST", "/"), nil, false)
		s.opening()
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := s1.Write(make([]byte, 30000)); n != 30000 || err != nil {
				t.Errorf("Write: got %d, %v, want 30000", n, err)
			}
		})
		if got := s.frames(1, 20000); len(got) != 2 || got[0] != 16375 || got[1] != 3625 {
			t.Errorf("frames: got %v, want 16375 and 3625", got)
		}
		synctest.Wait()
		if n, err := s3.Write(make([]byte, 15000)); n != 15000 || err != nil {
			t.Errorf("another stream: got %d, %v, want 15000", n, err)
		}
		s.frames(3, 15000)
		// The window may shrink below nothing.
		s.ok(s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10000}))
		s.ok(s.WriteWindowUpdate(1, 10000))
		synctest.Wait()
		s.ok(s.WriteWindowUpdate(1, 5000))
		if got := s.frames(1, 5000); got[0] != 5000 {
			t.Errorf("frames: got %v, want 5000", got)
		}
		s.ok(s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 15000}))
		if got := s.frames(1, 5000); got[0] != 5000 {
			t.Errorf("frames: got %v, want 5000", got)
		}
		wg.Wait()
		// 45000 of 65535 are gone: now the connection's window is the limit.
		s.ok(s.WriteWindowUpdate(1, 1<<20))
		s.ok(s.WriteWindowUpdate(3, 1<<20))
		wg.Go(func() { _, _ = s1.Write(make([]byte, 100000)) })
		synctest.Wait()
		wg.Go(func() { _, _ = s3.Write(make([]byte, 100000)) })
		s.frames(1, 65535-45000)
		synctest.Wait()
		s.ok(s.WriteWindowUpdate(0, 4*16375))
		// Each has its turn.
		var order []uint32
		for range 4 {
			order = append(order, until[*http2.DataFrame](s).StreamID)
		}
		if order[0] == order[1] || order[1] == order[2] || order[2] == order[3] {
			t.Errorf("turns: got %v, want one after the other", order)
		}
		s.ok(s.WriteWindowUpdate(0, 1<<20))
		for range 200000 - (65535 - 45000) - 4*16375 {
			if len(until[*http2.DataFrame](s).Data()) < 16375 {
				break
			}
		}
		wg.Wait()
	})
}

func TestPadding(t *testing.T) {
	for _, tt := range []struct {
		name    string
		window  uint32
		size    int
		pad     uint8
		lengths []int
		pads    []int
	}{
		{"small", 1 << 16, 10, 7, []int{18}, []int{7}},
		{"nothing but padding", 1 << 16, 0, 255, []int{256}, []int{255}},
		{"no padding, but its flag", 1 << 16, 5, 0, []int{6}, []int{0}},
		{"two frames", 1 << 16, 16375, 100, []int{16375, 202}, []int{100, 100}},
		{"a window too small for it", 100, 50, 200, []int{100, 50 + 200}, []int{98, 200}},
		{"a window of one", 1, 2, 200, []int{1, 202}, []int{0, 200}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := newScript(t, 0, http2.Setting{ID: http2.SettingInitialWindowSize, Val: tt.window})
				synctest.Wait()
				s1 := open(t, c, request("POST", "/"), nil, false)
				s.opening()
				want := bytes.Repeat([]byte("x"), tt.size)
				var wg sync.WaitGroup
				wg.Go(func() {
					if n, err := s1.WritePadded(want, tt.pad); n != tt.size || err != nil {
						t.Errorf("WritePadded: got %d, %v, want %d", n, err, tt.size)
					}
				})
				var got []byte
				for i, length := range tt.lengths {
					f := until[*http2.DataFrame](s)
					got = append(got, f.Data()...)
					pad := int(f.Length) - len(f.Data())
					if f.Flags.Has(http2.FlagDataPadded) {
						pad--
					}
					if int(f.Length) != length || pad != tt.pads[i] {
						t.Errorf("frame %d: got %d with %d of padding, want %d with %d", i, f.Length, pad, length, tt.pads[i])
					}
					s.ok(s.WriteWindowUpdate(1, 1000))
				}
				if wg.Wait(); !bytes.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}
