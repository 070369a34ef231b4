package splice_test

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

// A client who keeps his half open after the target's end is forgotten when the
// target's system forgets it: without a word until he says something, and then
// with a reset.
func TestAskAfterTheEnd(t *testing.T) {
	t.Parallel()
	c := splice.New(10 * time.Millisecond)
	j := paths[1].join(t, c, splice.Limits{Fin: time.Minute, Ask: 100 * time.Millisecond}, nil)
	defer j.close()
	onDescriptor(t, j.server, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_LINGER2, 1)
	})
	_ = send(j.server, 2, 1000)
	_ = j.server.Close()
	if n, err := receive(j.client, 2); n != 1000 || err != nil {
		t.Fatalf("before the end: got %d bytes, %v, want 1000, nil", n, err)
	}
	j.want(t, transport.TargetGone, 0, 1000)
	if s, err := state(t, j.client); s != unix.BPF_TCP_CLOSE_WAIT || err != 0 {
		t.Errorf("the client's socket after the end: got state %d, %v, want one that was told nothing", s, err)
	}
	time.Sleep(3 * time.Second) // three times what the system waits for a client at least
	_ = j.client.CloseWrite()
	for range 200 {
		if _, err := state(t, j.client); err == syscall.ECONNRESET {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the client's end: got no reset, want one")
}

// A target that has ended its half only is asked, and goes on reading.
func TestAskWhoReads(t *testing.T) {
	t.Parallel()
	c := splice.New(10 * time.Millisecond)
	j := paths[1].join(t, c, splice.Limits{Fin: time.Minute, Ask: 50 * time.Millisecond}, nil)
	defer j.close()
	_ = j.server.CloseWrite()
	if n, err := receive(j.client, 2); n != 0 || err != nil {
		t.Fatalf("the end: got %d bytes, %v, want 0, nil", n, err)
	}
	time.Sleep(2500 * time.Millisecond) // asked twice
	_ = send(j.client, 1, 1000)
	_ = j.client.CloseWrite()
	if n, err := receive(j.server, 1); n != 1000 || err != nil {
		t.Errorf("after the end: got %d bytes, %v, want 1000, nil", n, err)
	}
	j.want(t, transport.OK, 1000, 0)
}

// Who writes to a target that has been asked gets its reset.
func TestWriteAfterAsking(t *testing.T) {
	t.Parallel()
	c := splice.New(10 * time.Millisecond)
	j := paths[1].join(t, c, splice.Limits{Fin: time.Minute, Ask: 50 * time.Millisecond}, nil)
	defer j.close()
	_ = j.server.Close()
	_, _ = receive(j.client, 2)
	time.Sleep(2500 * time.Millisecond)
	_ = send(j.client, 1, 10)
	j.want(t, transport.TargetGone, 10, 0)
	for range 200 {
		if s, _ := state(t, j.client); s == unix.BPF_TCP_CLOSE {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("10 bytes after the end: got no reset, want one")
}

// A target behind a socket of the Unix family is asked by looking: one that has
// ended its half keeps the client's socket, one that has closed does not.
func TestAskUnix(t *testing.T) {
	t.Parallel()
	near, client := tcpPair(t)
	far, server := unixPair(t)
	defer closeBoth(client, server)
	end := make(chan splice.End, 1)
	c := splice.New(10 * time.Millisecond)
	c.Join(near, far, splice.Limits{Fin: time.Minute, Ask: time.Millisecond}, nil, func(e splice.End) { end <- e })
	_ = server.CloseWrite()
	if n, err := receive(client, 2); n != 0 || err != nil {
		t.Fatalf("the end: got %d bytes, %v, want 0, nil", n, err)
	}
	select {
	case e := <-end:
		t.Fatalf("a target that reads: got an end with %s, want none", e.Status)
	case <-time.After(200 * time.Millisecond):
	}
	_ = server.Close()
	if e := <-end; e.Status != transport.TargetGone {
		t.Errorf("a target that has closed: got %s, want %s", e.Status, transport.TargetGone)
	}
	if s, err := state(t, client); s != unix.BPF_TCP_CLOSE_WAIT || err != 0 {
		t.Errorf("the client's socket after the end: got state %d, %v, want one that was told nothing", s, err)
	}
	c.Drain(t.Context())
}

// state is where the connection of a socket is in its life, and the error that
// nobody was told yet.
func state(t *testing.T, c transport.Conn) (s uint8, pending syscall.Errno) {
	t.Helper()
	onDescriptor(t, c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		s, pending = info.State, syscall.Errno(e)
		return err
	})
	return s, pending
}
