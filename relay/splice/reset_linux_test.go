package splice_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

// A target that resets in the middle of a download, while the client uploads:
// the client must not take what it got for the whole. Linux tells of a reset
// once, and splice(2) can lose even that.
func TestResetWhileBothMove(t *testing.T) {
	onSockets(t, func(t *testing.T, h *harness) {
		for i := range 100 {
			j := h.join(splice.Limits{}, nil)
			var both sync.WaitGroup
			var rerr, werr error
			both.Go(func() { werr = pour(j.client) })
			both.Go(func() { rerr = drain(j.client) })
			both.Go(func() { _ = pour(j.server) })
			buf := make([]byte, 300_000+7000*i)
			_, _ = io.ReadFull(j.server, buf)
			if i%2 == 0 {
				time.Sleep(time.Duration(i) * 15 * time.Microsecond)
			}
			_ = transport.Abort(j.server)
			both.Wait()
			if !errors.Is(rerr, syscall.ECONNRESET) && !errors.Is(werr, syscall.ECONNRESET) {
				t.Errorf("run %d: got read error %v and write error %v, want ECONNRESET from one of them", i, rerr, werr)
			}
			j.close()
			j.want(t, transport.TargetGone, -1, -1)
		}
	})
}

// The other way round: a target that has answered and closed in order, and
// resets what the client still sends, has given a complete answer.
func TestOrderlyAnswerWhileUploading(t *testing.T) {
	onSockets(t, func(t *testing.T, h *harness) {
		lost := 0
		for i := range 50 {
			j := h.join(splice.Limits{}, nil)
			var both sync.WaitGroup
			both.Go(func() { _ = pour(j.client) })
			buf := make([]byte, 300_000+7000*i)
			_, _ = io.ReadFull(j.server, buf)
			_ = send(j.server, 2, 1000)
			_ = j.server.CloseWrite()
			n, err := receive(j.client, 2) // an upload goes on until the answer is there
			_ = j.server.Close()
			both.Go(func() { _, _ = io.Copy(io.Discard, j.client) })
			both.Wait()
			if n != 1000 || err != nil {
				lost++
			}
			j.close()
			<-j.end
		}
		if lost > 0 {
			t.Errorf("answers: got %d of 50 broken off, want none", lost)
		}
	})
}

// slowDown pauses the direction to the client after every move.
type slowDown time.Duration

func (s slowDown) Moved(up bool, _ int) time.Duration {
	if up {
		return 0
	}
	return time.Duration(s)
}

func (slowDown) Limited() bool { return false }

// The answer arrives whole even when the upload has broken off before and the
// client's bytes lie unread. A reset follows its end, as it does from the
// target; whether the client sees the end or that reset is a race between the
// two on the wire.
func TestAnswerIsWhole(t *testing.T) {
	t.Parallel()
	onSockets(t, func(t *testing.T, h *harness) {
		j := h.join(splice.Limits{}, slowDown(300*time.Millisecond))
		defer j.close()
		// As much as fits, and nothing is being written when the reset comes.
		_ = j.client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		_ = pour(j.client)
		_ = send(j.server, 2, 1000)
		_ = j.server.CloseWrite()
		_ = j.server.Close() // with unread bytes: a reset behind the end
		if n, err := receive(j.client, 2); n != 1000 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("answer: got %d bytes, %v, want 1000 and an end or a reset", n, err)
		}
		j.want(t, transport.TargetGone, -1, 1000)
	})
}

// Whoever writes after the end of a peer that has closed gets a reset from it, and
// at once: a prober counts how many writes it takes.
func TestResetAfterTheEnd(t *testing.T) {
	onSockets(t, func(t *testing.T, h *harness) {
		if h.portable {
			t.Skip("a goroutine that does not read is not told of resets")
		}
		for name, client := range map[string]bool{"target": false, "client": true} {
			j := h.join(splice.Limits{}, nil)
			ends, writes := j.server, j.client
			if client {
				ends, writes = writes, ends
			}
			resetAfterTheEnd(t, name, ends, writes)
			j.close()
			<-j.end
		}
	})
}

// A socket of the Unix family has no resets, but says that nobody is there.
func TestResetAfterTheEndOfUnix(t *testing.T) {
	near, client := tcpPair(t)
	far, server := unixPair(t)
	end := make(chan splice.End, 1)
	c := splice.New(0)
	c.Join(near, far, splice.Limits{}, nil, func(e splice.End) { end <- e })
	resetAfterTheEnd(t, "target", server, client)
	closeBoth(client, server)
	<-end
	c.Drain(t.Context())
}

func resetAfterTheEnd(t *testing.T, name string, ends, writes transport.Conn) {
	t.Helper()
	_ = send(ends, 2, 1000)
	_ = ends.Close()
	if n, err := receive(writes, 2); n != 1000 || err != nil {
		t.Errorf("before the end of the %s: got %d bytes, %v, want 1000, nil", name, n, err)
	}
	_ = send(writes, 1, 10)
	for range 2000 {
		gone := false
		onDescriptor(t, writes, func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			gone = err == nil && info.State == unix.BPF_TCP_CLOSE
			return err
		})
		if gone {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("10 bytes after the end of the %s: got no reset, want one", name)
}

// unixPair returns two ends of a connection of the Unix family.
func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/socket"})
	if err != nil {
		t.Fatalf("listen: got %v, want nil", err)
	}
	defer ln.Close()
	if a, err = net.DialUnix("unix", nil, ln.Addr().(*net.UnixAddr)); err != nil {
		t.Fatalf("dial: got %v, want nil", err)
	}
	if b, err = ln.AcceptUnix(); err != nil {
		t.Fatalf("accept: got %v, want nil", err)
	}
	return a, b
}

// onSockets is onEveryPath without those that are not plain sockets.
func onSockets(t *testing.T, f func(t *testing.T, h *harness)) {
	t.Helper()
	onEveryPath(t, func(t *testing.T, h *harness) {
		if strings.HasPrefix(h.name, "tcp") {
			f(t, h)
		}
	})
}
