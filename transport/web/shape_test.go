package web

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// frames keeps what was written, and how long it is with its padding.
type frames struct {
	bytes.Buffer
	sizes []int // of each write of the shaper
	plain int
}

func (f *frames) Write(b []byte) (int, error) {
	f.plain++
	f.sizes[len(f.sizes)-1] += len(b)
	return f.Buffer.Write(b)
}

func (f *frames) WritePadded(b []byte, pad uint8) (int, error) {
	f.sizes[len(f.sizes)-1] += len(b) + int(pad)
	return f.Buffer.Write(b)
}

// TestShape has short writes of the beginning padded to the size of requests, and
// everything else left alone.
func TestShape(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		var f frames
		h := shaper{left: shapedWrites}
		var want []byte
		for i := range shapedWrites + 2 {
			b := bytes.Repeat([]byte{byte(i)}, 70)
			want = append(want, b...)
			f.sizes = append(f.sizes, 0)
			if n, err := h.write(&f, b); n != len(b) || err != nil {
				t.Fatalf("got %d and %v, want %d", n, err, len(b))
			}
			size := f.sizes[i]
			if i < shapedWrites {
				seen[size] = true
			}
			if padded := size >= leastShaped && size <= usualShaped; padded != (i < shapedWrites) {
				t.Fatalf("write %d: got %d bytes", i, size)
			}
		}
		if !bytes.Equal(f.Bytes(), want) || f.plain != 2 {
			t.Fatalf("got %d bytes and %d plain writes, want %d and 2", f.Len(), f.plain, len(want))
		}
	}
	if len(seen) < 100 {
		t.Errorf("got %d sizes of 1,600 writes, want many", len(seen))
	}
	f := frames{sizes: []int{0}}
	h := shaper{left: shapedWrites}
	if _, _ = h.write(&f, make([]byte, mostShaped)); f.sizes[0] != mostShaped || h.left != shapedWrites {
		t.Errorf("got a long write of %d bytes, %d left, want it as it is", f.sizes[0], h.left)
	}
}

// TestShapedPieces is what pieces are padded with: short ones become requests of 1 kB,
// until a stream has had its share.
func TestShapedPieces(t *testing.T) {
	for _, tt := range []struct {
		size   int
		shaped bool
	}{{0, true}, {40, true}, {400, true}, {leastPieced - mostPiecePad - 1, true}, {mostPieced, false}, {mostPiece, false}} {
		seen := map[int]bool{}
		for range 100 {
			var h shaper
			for i, spent := 0, 0; i < 40; i++ {
				pad := h.piece(tt.size)
				seen[pad] = true
				usual := pad >= leastPadding && pad <= mostPiecePad
				in := tt.size+pad >= leastPieced && tt.size+pad <= mostPieced
				if pad < leastPadding || pad > mostPadding || !in && !usual || tt.shaped && i < 2 && !in || !tt.shaped && !usual {
					t.Fatalf("piece %d of %d bytes: got %d bytes of padding", i, tt.size, pad)
				}
				spent += max(0, pad-mostPiecePad)
				if spent > pieceShaping {
					t.Fatalf("pieces of %d bytes: got %d bytes more than usual by the %dth, want at most %d", tt.size, spent, i, pieceShaping)
				}
			}
		}
		if len(seen) < 50 {
			t.Errorf("pieces of %d bytes: got %d different paddings, want many", tt.size, len(seen))
		}
	}
}

// TestVisits looks at what a visitor asks for beside streams: on a new connection the
// page first, then preflights, the first of a stream longer than those behind it. Where
// connections are limited there is none.
func TestVisits(t *testing.T) {
	for _, limited := range []bool{false, true} {
		d := newDialled(t, ModeStreamOne, joined(echo))
		if limited {
			d.mu.Lock()
			d.budget, d.learned = 1<<20, time.Now()
			d.mu.Unlock()
		}
		var mu sync.Mutex
		var pages, beside, behind int
		site := d.Config.Handler
		d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			_, query, _ := strings.Cut(r.Referer(), "=")
			switch n := len(query); {
			case r.Method == http.MethodGet && r.URL.Path == "/":
				pages++
			case r.Method != http.MethodOptions:
			case n >= leastBeside && n <= mostBeside:
				beside++
			case n >= leastVisit && n <= mostVisit:
				behind++
			default:
				t.Errorf("got a preflight with %d bytes of padding", n)
			}
			mu.Unlock()
			site.ServeHTTP(w, r)
		})
		const streams = 24
		for range streams {
			c := d.open(t, "ping")
			if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			d.rest(t)
		}
		mu.Lock()
		switch {
		case limited && pages+beside+behind > 0:
			t.Errorf("limited: got %d pages and %d preflights, want none", pages, beside+behind)
		case !limited && (pages != 1 || beside != streams-1 || behind == 0 || behind > streams*(mostVisits-1)):
			t.Errorf("got %d pages, %d preflights beside %d streams and %d behind them, want 1, %d and some", pages, beside, streams, behind, streams-1)
		}
		mu.Unlock()
	}
}

// rest waits until no visitor is there.
func (d *dialled) rest(t *testing.T) {
	t.Helper()
	for range 2000 {
		d.mu.Lock()
		busy := false
		for _, k := range d.carriers {
			busy = busy || k.visiting > 0
		}
		d.mu.Unlock()
		if !busy {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("visitors: got some after 10 s, want none")
}

// TestLateHello has a stream whose first payload comes behind its request: a visitor's
// request goes beside that as well.
func TestLateHello(t *testing.T) {
	d := newDialled(t, ModeStreamOne, joined(echo))
	var preflights atomic.Int32
	site := d.Config.Handler
	d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, query, _ := strings.Cut(r.Referer(), "="); r.Method == http.MethodOptions && len(query) >= leastBeside {
			preflights.Add(1)
		}
		site.ServeHTTP(w, r)
	})
	c := d.open(t, "opening") // the page goes beside it
	d.rest(t)
	if n := preflights.Load(); n != 0 {
		t.Fatalf("got %d long preflights, want none before the hello", n)
	}
	for _, n := range []int{usualShaped + 1, 40, usualShaped + 1} {
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		d.rest(t)
	}
	if n := preflights.Load(); n != 1 {
		t.Errorf("got %d long preflights, want one, beside the hello alone", n)
	}
}
