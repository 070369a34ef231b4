package h2

import (
	"context"
	"encoding/hex"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"

	"relay/relay/relaytest"
)

// TestChromium: the encoder writes the header blocks of Chromium, byte for byte.
func TestChromium(t *testing.T) {
	b, err := os.ReadFile("testdata/chromium156.txt")
	if err != nil {
		t.Fatalf("read: got %v, want the recording", err)
	}
	e := encoder{limit: defaultTable}
	var fields []Field
	blocks := 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if block, ok := strings.CutPrefix(line, "block "); ok {
			var got []byte
			for _, f := range fields {
				got = e.field(got, f, false)
			}
			if g := hex.EncodeToString(got); g != block {
				t.Errorf("block %d: got\n%s\nwant\n%s", blocks, g, block)
			}
			blocks++
			fields = nil
		} else if !strings.HasPrefix(line, "#") {
			colon := strings.Index(line[1:], ": ") + 1
			fields = append(fields, Field{line[:colon], line[colon+2:]})
		}
	}
	if blocks != 4 {
		t.Errorf("blocks: got %d, want 4", blocks)
	}
}

// writes keeps what is written, write by write.
type writes struct {
	*relaytest.Conn
	all [][]byte
}

func (w *writes) Write(b []byte) (int, error) {
	w.all = append(w.all, slices.Clone(b))
	return w.Conn.Write(b)
}

func TestFirstFlight(t *testing.T) {
	const opening = preface +
		"\x00\x00\x18\x04\x00\x00\x00\x00\x00" + "\x00\x01\x00\x01\x00\x00" + "\x00\x02\x00\x00\x00\x00" +
		"\x00\x04\x00\x60\x00\x00" + "\x00\x06\x00\x04\x00\x00" +
		"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + "\x00\xef\x00\x01"
	for _, tt := range []struct {
		name  string
		apart bool
		sizes []int
	}{
		{"at once", false, []int{70 + 9 + 5 + 8 + 9 + 5}},
		{"each frame apart", true, []int{70, 9 + 5 + 8, 9 + 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := relaytest.Pipe()
				defer b.Close()
				w := &writes{Conn: a}
				c := NewConn(w, &Fingerprint{
					Settings: []Setting{{1, 65536}, {2, 0}, {4, 6 << 20}, {6, 256 << 10}},
					Window:   15663105, Apart: tt.apart,
					Priority: &Priority{Exclusive: true, Chain: true, Weight: 219},
				})
				defer c.Close()
				s, err := c.Open(context.Background(), Head{Method: "POST", Scheme: "https", Authority: "xxx", Path: "/"}, []byte("hello"), true)
				if err != nil {
					t.Fatalf("Open: got %v, want a stream", err)
				}
				defer s.Close()
				var sizes []int
				for _, b := range w.all {
					sizes = append(sizes, len(b))
				}
				if !slices.Equal(sizes, tt.sizes) {
					t.Errorf("writes: got %v, want %v", sizes, tt.sizes)
				}
				all := string(slices.Concat(w.all...))
				if !strings.HasPrefix(all, opening) {
					t.Errorf("opening: got %q, want %q", all, opening)
				}
				const end = "\x00\x00\x05\x00\x01\x00\x00\x00\x01hello"
				if !strings.HasSuffix(all, end) {
					t.Errorf("body: got %q, want it to end with %q", all, end)
				}
			})
		})
	}
}

// held is a transport.Holder, as a browser's connection is.
type held struct{ *writes }

func (held) Hold() {}

func (held) Release() error { return nil }

// TestWindowOfEnded: a stream may end while what was read of it opens its window. Then
// there is nothing to say, and nothing is written.
func TestWindowOfEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := relaytest.Pipe()
		defer b.Close()
		w := &writes{Conn: a}
		c := NewConn(held{w}, &Fingerprint{Apart: true})
		defer c.Close()
		s, err := c.Open(t.Context(), Head{Method: "GET", Path: "/"}, nil, true)
		if err != nil {
			t.Fatalf("Open: got %v, want a stream", err)
		}
		c.received(s)
		n := len(w.all)
		c.consumed(s, defaultWindow, 0)
		synctest.Wait()
		if len(w.all) != n || c.out != nil {
			t.Errorf("ended: got %q, want no write", w.all[n:])
		}
		c.consumed(s, defaultWindow, defaultWindow)
		synctest.Wait()
		if want := string(appendWord(nil, frameWindow, 0, defaultWindow)); len(w.all) != n+1 || string(w.all[n]) != want {
			t.Errorf("the connection's: got %q, want %q alone", w.all[n:], want)
		}
	})
}

// TestPriorityChain: a request depends on the last one that is open.
func TestPriorityChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := relaytest.Pipe()
		defer b.Close()
		w := &writes{Conn: a}
		c := NewConn(w, &Fingerprint{Apart: true, Priority: &Priority{Exclusive: true, Chain: true, Weight: 219}})
		defer c.Close()
		var open []*Stream
		for _, want := range []string{"\x80\x00\x00\x00\xdb", "\x80\x00\x00\x01\xdb", "\x80\x00\x00\x03\xdb", "\x80\x00\x00\x03\xdb"} {
			s, err := c.Open(context.Background(), Head{Method: "GET", Path: "/"}, nil, true)
			if err != nil {
				t.Fatalf("Open: got %v, want a stream", err)
			}
			defer s.Close()
			if got := string(w.all[len(w.all)-1][headerSize:][:5]); got != want {
				t.Errorf("stream %d: got %q, want %q", len(open), got, want)
			}
			if open = append(open, s); len(open) == 3 {
				_ = s.Close()
				synctest.Wait()
			}
		}
	})
}

// TestEncoderTable: the peer's table size is kept to, and said.
func TestEncoderTable(t *testing.T) {
	e := encoder{limit: defaultTable}
	e.field(nil, Field{"a", "b"}, false)
	e.setLimit(0)
	e.setLimit(100)
	if got, want := string(e.begin(nil)), "\x20\x3f\x45"; got != want {
		t.Errorf("begin: got %q, want %q", got, want)
	}
	if got := e.begin(nil); len(got) != 0 {
		t.Errorf("begin again: got %q, want nothing", got)
	}
	if len(e.table) != 0 || e.size != 0 {
		t.Errorf("table: got %d entries of %d, want none", len(e.table), e.size)
	}
	for range 3 {
		e.field(nil, Field{"name", strings.Repeat("x", 40)}, false)
		e.field(nil, Field{"name", strings.Repeat("y", 40)}, false)
	}
	if len(e.table) != 1 || e.size != 76 {
		t.Errorf("table: got %d entries of %d, want 1 of 76", len(e.table), e.size)
	}
	e.field(nil, Field{"name", strings.Repeat("z", 100)}, false)
	if len(e.table) != 0 || e.size != 0 {
		t.Errorf("table after one too large: got %d entries of %d, want none", len(e.table), e.size)
	}
}

func TestStreamSize(t *testing.T) {
	if got := unsafe.Sizeof(Stream{}); got > 1<<10 {
		t.Errorf("a stream: got %d bytes, want at most 1 KiB", got)
	}
}

// waits tells how long the buffers are that reads wait with.
type waits struct {
	net.Conn
	longest int
	reads   int
}

func (w *waits) Read(b []byte) (int, error) {
	w.reads++
	w.longest = max(w.longest, len(b))
	return w.Conn.Read(b)
}

// TestIdle: one goroutine, which waits without a buffer.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := relaytest.Pipe()
		defer b.Close()
		w := &waits{Conn: a}
		c := NewConn(w, new(Fingerprint))
		defer c.Close()
		for range 3 {
			_, _ = b.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
			synctest.Wait()
		}
		if w.longest > headerSize || w.reads != 4 {
			t.Errorf("reads: got %d with up to %d bytes, want 4 with %d", w.reads, w.longest, headerSize)
		}
	})
}

// gate lets writes through when it is told to.
type gate struct {
	*relaytest.Conn
	pass  chan struct{}
	sizes []int
}

func (g *gate) Write(b []byte) (int, error) {
	g.sizes = append(g.sizes, len(b))
	<-g.pass
	return g.Conn.Write(b)
}

// TestTogether: what several streams write while a write is under way is one write.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := relaytest.PipeSize(1 << 20)
		defer b.Close()
		g := &gate{Conn: a, pass: make(chan struct{}, 8)}
		c := NewConn(g, new(Fingerprint))
		defer c.Close()
		var streams []*Stream
		for range 8 {
			g.pass <- struct{}{}
			s, err := c.Open(t.Context(), Head{Method: "POST", Path: "/"}, nil, false)
			if err != nil {
				t.Fatalf("Open: got %v, want a stream", err)
			}
			defer s.Close()
			streams = append(streams, s)
		}
		g.sizes = nil
		go func() { _, _ = streams[0].Write(make([]byte, 100)) }()
		synctest.Wait()
		for _, s := range streams[1:] {
			if n, err := s.Write(make([]byte, 100)); n != 100 || err != nil {
				t.Errorf("Write: got %d, %v, want it queued", n, err)
			}
		}
		close(g.pass)
		synctest.Wait()
		if want := []int{109, 7 * 109}; !slices.Equal(g.sizes, want) {
			t.Errorf("writes: got %v, want %v", g.sizes, want)
		}
	})
}

// TestInboxMemory: frames of no size make a stream hold much more than has come.
func TestInboxMemory(t *testing.T) {
	for _, sizes := range [][]int{{1}, {100}, {2030}, {2040}, {9300}, {16384}, {1, 16384}, {2039, 1}, {9216, 9217}, {1024, 9216}} {
		var q inbox
		total := 0
		for i := range 1000 {
			for n := sizes[i%len(sizes)]; n > 0; {
				k := q.space(n)
				m := min(n, len(k.b)-k.w)
				q.took(k, m)
				n, total = n-m, total+m
			}
		}
		held := 0
		for k := q.first; k != nil; k = k.next {
			held += len(k.b)
		}
		if held > 2*total+largeChunk {
			t.Errorf("frames of %v: got %d bytes of memory for %d, want at most twice that", sizes, held, total)
		}
		if got := q.close(net.ErrClosed); got != total {
			t.Errorf("frames of %v: got %d unread, want %d", sizes, got, total)
		}
	}
}

// TestOwnWrite: who has written leaves what others have queued to somebody else.
func TestOwnWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := relaytest.Pipe()
		defer b.Close()
		g := &gate{Conn: a, pass: make(chan struct{}, 8)}
		c := NewConn(g, new(Fingerprint))
		defer c.Close()
		defer close(g.pass)
		g.pass <- struct{}{}
		s, err := c.Open(t.Context(), Head{Method: "POST", Path: "/"}, nil, false)
		if err != nil {
			t.Fatalf("Open: got %v, want a stream", err)
		}
		defer s.Close()
		returned := false
		go func() { _, _ = s.Write(make([]byte, 100)); returned = true }()
		synctest.Wait()
		if _, err := c.Open(t.Context(), Head{Method: "POST", Path: "/"}, nil, false); err != nil {
			t.Fatalf("Open: got %v, want it queued", err)
		}
		g.pass <- struct{}{}
		synctest.Wait()
		if !returned || len(g.sizes) != 3 {
			t.Errorf("first write: got %v and %d writes, want it to have returned while the third goes on", returned, len(g.sizes))
		}
	})
}
