package probe

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// accept connects to a listener of its own, as p would.
func accept(t *testing.T, p Probe) (*conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := open(context.Background(), ln.Addr().String(), settings{deadline: 20 * time.Second}, p)
	t.Cleanup(c.close)
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	_ = far.SetDeadline(time.Now().Add(20 * time.Second))
	return c, far.(*net.TCPConn)
}

// TestUrge sends a byte that nobody sees who has not asked for it.
func TestUrge(t *testing.T) {
	c, far := accept(t, Probe{})
	if !c.send([]byte("ab")) || !c.urge() || !c.send([]byte("cd")) {
		t.Fatal("send: got false, want true")
	}
	c.finish()
	if got, err := io.ReadAll(far); string(got) != "abcd" || err != nil {
		t.Errorf("the bytes in band: got %q, %v, want %q", got, err, "abcd")
	}
}

// TestDeafen leaves a server with what it has to say.
func TestDeafen(t *testing.T) {
	const much = 2 << 20 // eight times what a kernel takes here
	c, far := accept(t, Probe{narrow: true})
	c.deafen()
	written := make(chan error, 1)
	go func() { // ends with far
		_, err := far.Write(make([]byte, much))
		written <- err
		_ = far.CloseWrite()
	}()
	c.pause(300 * time.Millisecond)
	select {
	case err := <-written:
		t.Fatalf("a write to who does not read: got %v, want none yet", err)
	default:
	}
	c.hear()
	if err := <-written; err != nil {
		t.Fatalf("write: got %v, want nil", err)
	}
	c.observe(true)
	if c.end != endFIN || c.missed != much {
		t.Errorf("got %s after %d bytes, want %s after %d", c.end, c.missed, endFIN, much)
	}
}
