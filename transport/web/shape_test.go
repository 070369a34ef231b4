package web

import (
	"bytes"
	"testing"
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
		h := shaper{shapedWrites}
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
			if padded := size >= leastShaped && size <= mostShaped; padded != (i < shapedWrites) {
				t.Fatalf("write %d: got %d bytes", i, size)
			}
		}
		if !bytes.Equal(f.Bytes(), want) || f.plain != 2 {
			t.Fatalf("got %d bytes and %d plain writes, want %d and 2", f.Len(), f.plain, len(want))
		}
	}
	if len(seen) < 500 {
		t.Errorf("got %d sizes of 1,600 writes, want many", len(seen))
	}
	f := frames{sizes: []int{0}}
	h := shaper{shapedWrites}
	if _, _ = h.write(&f, make([]byte, mostShaped)); f.sizes[0] != mostShaped || h.left != shapedWrites {
		t.Errorf("got a long write of %d bytes, %d left, want it as it is", f.sizes[0], h.left)
	}
}
