package web

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"relay/transport"
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
