package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"relay/transport"
	"relay/transport/h2"
)

// slowLine writes no faster than a line with so many bytes in a millisecond does.
type slowLine struct {
	transport.Conn
	each int
}

func (s slowLine) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = s.Conn.Write(b[n:min(len(b), n+s.each)])
		n += m
		time.Sleep(time.Duration(m) * time.Millisecond / time.Duration(s.each))
	}
	return n, err
}

// TestPiecesInOrder uploads more than a server holds of what comes before its turn: on
// a line that is slower than the pace of pieces, and with connections that take few.
func TestPiecesInOrder(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests int // of a connection; 0: as many as usual
		size     int
		line     int // bytes each millisecond; 0: all at once
	}{
		{"slow line", 0, 7 << 20, 2 << 10},
		{"tired connections", 10, 24 << 20, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDialled(t, ModePacketUp, joined(echo))
			d.dial = func(ctx context.Context, to netip.AddrPort) (transport.Conn, error) {
				conn, err := DialTCP(ctx, to)
				if err == nil && c.line > 0 {
					conn = slowLine{conn, c.line}
				}
				return conn, err
			}
			s := d.open(t, "hello")
			if c.requests > 0 {
				d.Client.mu.Lock()
				for _, k := range d.carriers {
					k.requests = c.requests
				}
				d.Client.mu.Unlock()
			}
			sent := random(c.size)
			wrote := make(chan error, 1)
			go func() {
				_, err := s.Write(sent)
				wrote <- err
			}()
			_ = s.SetReadDeadline(time.Now().Add(30 * time.Second))
			got := make([]byte, 5+len(sent))
			if n, err := io.ReadFull(s, got); err != nil {
				t.Fatalf("got %d bytes and %v, want %d", n, err, len(got))
			}
			if !bytes.Equal(got[5:], sent) {
				t.Error("got other bytes than were sent")
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPiecesAllTired has streams on as many connections as there may be, none of which
// takes more: their pieces go on where they are.
func TestPiecesAllTired(t *testing.T) {
	d := newDialled(t, ModePacketUp, joined(echo))
	var all []transport.Conn
	for range mostCarriers * streamsEach {
		c := d.open(t, "hello")
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	d.Client.mu.Lock()
	for _, k := range d.carriers {
		k.requests = 0
	}
	d.Client.mu.Unlock()
	for i, c := range all {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write([]byte("again")); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatalf("stream %d: got %v, want what was sent", i, err)
		}
	}
}

// TestPiecesParting ends the uplink, which nobody is told: the answer that is under way
// comes, and the stream ends when nothing has come for a while.
func TestPiecesParting(t *testing.T) {
	gone := make(chan struct{})
	d := newDialled(t, ModePacketUp, joined(func(c transport.Conn) {
		defer close(gone)
		defer c.Close()
		_, _ = io.ReadFull(c, make([]byte, 5))
		time.Sleep(partingTime / 5)
		_, _ = c.Write([]byte("answer"))
		_, _ = io.Copy(io.Discard, c)
	}))
	c := d.open(t, "hello")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * partingTime))
	got := make([]byte, 6)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "answer" {
		t.Fatalf("got %q, %v, want the answer", got, err)
	}
	if _, err := c.Read(got); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("then: got %v, want an end", err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the target: got no end in 10s, want one")
	}
}

// TestPieceOfEnded has a connection that ends between being chosen for a piece and being
// asked: the piece goes again elsewhere, as the server cannot have looked at it.
func TestPieceOfEnded(t *testing.T) {
	d := newDialled(t, ModePacketUp, joined(echo))
	k, err := d.carrier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.leave(k)
	_ = k.conn.Close()
	var body *pieceBuffer
	m := &posted{path: "/", body: body.append([]byte("piece"))}
	defer m.body.free()
	if err := m.post(t.Context(), k); !errors.Is(err, h2.ErrUnprocessed) {
		t.Errorf("got %v, want %v", err, h2.ErrUnprocessed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.post(ctx, k); err == nil || errors.Is(err, h2.ErrUnprocessed) {
		t.Errorf("of a stream that has ended: got %v, want another error", err)
	}
}
