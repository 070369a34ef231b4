package web

import (
	"fmt"
	"io"
	"testing"
	"time"

	"relay/transport"
)

// TestPiecesSlowTarget has a target that takes nothing for a moment, in which more comes
// than may wait out of turn: the upload goes on when the target does.
func TestPiecesSlowTarget(t *testing.T) {
	const first, rest = 1000, 12 << 20
	for _, pause := range []time.Duration{stallTick / 2, 4 * stallTick} {
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			t.Parallel()
			type result struct {
				n   int64
				err error
			}
			got := make(chan result, 1)
			d := newDialled(t, ModePacketUp, joined(func(c transport.Conn) {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, first))
				time.Sleep(pause)
				n, err := io.CopyN(io.Discard, c, rest)
				got <- result{n, err}
			}))
			s := d.open(t, "")
			if n, err := s.Write(random(first + rest)); err != nil {
				t.Errorf("Write: got %d, %v, want all of it taken", n, err)
			}
			if r := <-got; r.n != rest || r.err != nil {
				t.Errorf("at the target: got %d bytes, %v, want %d", r.n, r.err, rest)
			}
		})
	}
}
