package web

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"
)

// FuzzQueue brings pieces in any order, some of them twice: what is read is what was
// sent, and nothing is held afterwards.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, []byte("some bytes that are sent in pieces"))
	f.Add([]byte{3, 3, 1, 0, 2, 0}, bytes.Repeat([]byte("more of them "), 3000))
	f.Add([]byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, []byte("0123456789"))
	f.Fuzz(func(t *testing.T, order, payload []byte) {
		if len(payload) > 1<<17 {
			return
		}
		var held atomic.Int64
		q := newQueue(&held)
		q.reader()
		const pieces = 10
		piece := func(i int) []byte {
			return payload[len(payload)*i/pieces : len(payload)*(i+1)/pieces]
		}
		for _, i := range order {
			if err := q.bring(t.Context(), uint64(i%pieces), bytes.NewReader(piece(int(i%pieces)))); err != nil {
				t.Fatal(err)
			}
		}
		for i := range pieces {
			if err := q.bring(t.Context(), uint64(i), bytes.NewReader(piece(i))); err != nil {
				t.Fatal(err)
			}
		}
		q.finish()
		got, err := io.ReadAll(q)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(payload))
		}
		if n := held.Load(); n != 0 {
			t.Errorf("%d bytes are held", n)
		}
	})
}
