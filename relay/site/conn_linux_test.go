package site

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// TestTakenUrgent sends an urgent byte: the read of a bare socket ends before it,
// whatever has come since, and so whoever judges what he read leaves the rest.
func TestTakenUrgent(t *testing.T) {
	near, far := tcp(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(near, "before")
	if werr := raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), []byte{'!'}, nil, nil, unix.MSG_OOB)
		return err != unix.EAGAIN
	}); werr != nil || err != nil {
		t.Fatalf("urgent byte: got %v, %v, want it sent", werr, err)
	}
	_, _ = io.WriteString(near, "behind")
	_ = near.CloseWrite()
	p := transport.NewPeeked(far)
	if got, err := p.Peek(1); string(got) != "before" || err != nil {
		t.Fatalf("peek: got %q, %v, want %q", got, err, "before")
	}
	c := take(p, time.Time{})
	defer c.Close()
	buf := make([]byte, 100)
	for _, want := range []string{"before", "behind"} {
		if n, err := c.Read(buf); string(buf[:n]) != want || err != nil {
			t.Errorf("read: got %q, %v, want %q", buf[:n], err, want)
		}
	}
	if n, err := c.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("end: got %d, %v, want EOF", n, err)
	}
}
