package relay_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"relay/relay"
	"relay/relay/splice"
	"relay/transport"
)

// TestLeftWhileDialling is that a client is gone soon who resets while a goroutine dials,
// and that one who has only ended his direction is not.
func TestLeftWhileDialling(t *testing.T) {
	why := make(chan error, 2)
	black := dialer(func(ctx context.Context, _ transport.Target) (transport.Conn, error) {
		<-ctx.Done()
		why <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	srv, addr := real(t, relay.Limits{Handshake: time.Minute, PerSource: 8}, black)
	dial := func() *net.TCPConn {
		c := mustDial(t, "127.0.0.1", addr)
		_, _ = io.WriteString(c, "go - "+targetAddr+"\n")
		return c
	}
	leaver, ender := dial(), dial()
	defer ender.Close()
	if err := ender.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // until it is dialled, or before: it must not matter
	if err := transport.Abort(leaver); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-why:
		if err != splice.ErrLeft {
			t.Errorf("dialling ended: got %v, want ErrLeft", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a client who has left: still dialled for")
	}
	until(t, "his connection to end", func() bool { return srv.Snapshot().Ends[transport.ClientGone] == 1 })
	time.Sleep(2 * time.Second) // two looks
	if got := srv.Snapshot().Live; got != 1 || len(why) != 0 {
		t.Errorf("who has ended his direction: got %d live and %d given up, want to be dialled for", got, len(why))
	}
}
