package web

import (
	"errors"
	"io"
	"testing"
	"time"

	"relay/transport"
)

// TestClientReset ends the server under a stream.
func TestClientReset(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string) {
		d := newDialled(t, mode, joined(echo))
		c := d.open(t, "ping")
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if !begun(c) {
			t.Error("got a stream that has not begun, after an answer")
		}
		if mode == ModeWebSocket {
			return // the site's server does not have it any more
		}
		d.CloseClientConnections()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, transport.ErrCarrier) {
			t.Errorf("got %v, want an error of the carrier", err)
		}
		// One that did not hold is not replaced before somebody says so.
		if _, err := d.Open(t.Context(), []byte("ping")); !errors.Is(err, transport.ErrUnsound) {
			t.Errorf("at once: got %v, want that the carrier does not hold", err)
		}
		if err := d.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		c = d.open(t, "ping")
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Errorf("the next stream: got %v", err)
		}
	})
}
