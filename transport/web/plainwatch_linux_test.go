package web

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPlainLives asks a socket's other end, that of one whose packets are dropped too.
func TestPlainLives(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := DialTCP(context.Background(), l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	k := &plainConn{connected: &connected{meter: &metered{Conn: c}}}
	time.Sleep(quietTime) // as it is asked behind a silence
	began := time.Now()
	if !k.lives(nil) || time.Since(began) >= answerWait {
		t.Errorf("a silent connection: got that it is frozen, or that only after %v; want an answer", time.Since(began))
	}
	dropAll(t, far.(*net.TCPConn))
	time.Sleep(quietTime)
	if k.lives(nil) {
		t.Error("a connection of which nothing arrives: got that it lives, want that it is frozen")
	}
	gone := make(chan struct{})
	close(gone)
	if !k.lives(gone) {
		t.Error("a connection that the stream has left: got that it is frozen, want nothing said")
	}
}

// dropAll drops what comes for a socket before TCP sees it.
func dropAll(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none[0]})
	})
	if err != nil || set != nil {
		t.Fatal(err, set)
	}
}
