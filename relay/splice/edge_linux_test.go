package splice_test

import (
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/relay/splice"
	"relay/transport"
)

// onDescriptor runs f on the descriptor of a socket.
func onDescriptor(t testing.TB, c transport.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := innermost(c).SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		t.Fatalf("socket: got %v, want nil", err)
	}
}

// urgent sends a byte out of band.
func urgent(t testing.TB, c transport.Conn) {
	t.Helper()
	onDescriptor(t, c, func(fd int) error { return unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
}

// A read ends early in front of urgent data, of which telnet and FTP clients
// make use; what follows it must not wait for more to come.
func TestUrgentData(t *testing.T) {
	onSockets(t, func(t *testing.T, h *harness) {
		for _, size := range []int{3, splice.BufferSize, 3 * splice.BufferSize, 1 << 20} {
			near, client := tcpPair(t)
			far, server := tcpPair(t)
			_ = near.SetReadBuffer(4 << 20)
			end := make(chan splice.End, 1)
			before := &stream{seed: 1}
			b := make([]byte, size)
			before.next(b)
			// All of it is there before the flow begins.
			var sending sync.WaitGroup
			sending.Go(func() {
				_, _ = client.Write(b)
				urgent(t, client)
				_, _ = client.Write([]byte("behind it"))
				if size > 3 {
					_ = client.CloseWrite()
				}
			})
			if size < 1<<20 {
				sending.Wait()
			}
			h.Join(near, far, splice.Limits{}, nil, func(e splice.End) { end <- e })
			_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
			got := make([]byte, size+len("behind it"))
			n, err := io.ReadFull(server, got)
			if err != nil || string(got[size:]) != "behind it" {
				t.Errorf("%d bytes in front of an urgent one: got %d bytes, %v, want all but the urgent one", size, n, err)
			}
			sending.Wait()
			closeBoth(client, server)
			<-end
		}
	})
}

// A sink that takes less than its buffer holds, as TCP_NOTSENT_LOWAT asks for,
// leaves nothing behind in the reactor.
func TestNotSentLimit(t *testing.T) {
	c := splice.New(0)
	c.TestingReactors(1)
	near, client := tcpPair(t)
	far, server := tcpPair(t)
	onDescriptor(t, near, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 16<<10)
	})
	m := &meter{}
	end := make(chan splice.End, 1)
	f := c.Join(near, far, splice.Limits{}, m, func(e splice.End) { end <- e })
	go func() { _ = pour(server) }()
	// The buffers have grown when the reader stops.
	_, _ = io.ReadFull(client, make([]byte, 64<<20))
	quiet(t, m.down.Load)
	h := held(t, c)
	t.Logf("held: %d bytes", h.Rest)
	if most := 32 << 10; h.Rest > most {
		t.Errorf("bytes held for a stalled flow: got %d, want at most %d", h.Rest, most)
	}
	f.Cut(transport.Cut)
	<-end
	closeBoth(client, server)
	c.Drain(t.Context())
}

// A Cut that comes after the core has drained reaches nobody: descriptors of
// the reactor mean something else by then.
func TestCutAfterDrain(t *testing.T) {
	c := splice.New(0)
	c.TestingReactors(1)
	j := paths[1].join(t, c, splice.Limits{}, nil)
	j.close()
	<-j.end
	c.Drain(t.Context())
	// Takes the lowest numbers that are free.
	var files []*os.File
	for range 20 {
		f, err := os.OpenFile(t.TempDir()+"/file", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatalf("open: got %v, want nil", err)
		}
		defer f.Close()
		files = append(files, f)
	}
	j.flow.Cut(transport.Cut)
	for _, f := range files {
		if info, err := f.Stat(); err != nil || info.Size() != 0 {
			t.Errorf("file opened after Drain: got %d bytes in it, %v, want 0", info.Size(), err)
		}
	}
}

// A done may join another flow, on the same reactor or not.
func TestDoneJoins(t *testing.T) {
	c := splice.New(0)
	c.TestingReactors(1)
	var all sync.WaitGroup
	all.Add(1)
	var next func(left int) func(splice.End)
	next = func(left int) func(splice.End) {
		return func(splice.End) {
			if left == 0 {
				all.Done()
				return
			}
			e := tcpEnds(t)
			f := c.Join(e.near, e.far, splice.Limits{}, nil, next(left-1))
			if left%2 == 0 {
				f.Cut(transport.Cut)
			}
			closeBoth(e.client, e.server)
		}
	}
	next(100)(splice.End{})
	all.Wait()
	c.Drain(t.Context())
}

// A reset from a peer that has ended its direction ends the flow at once, though
// nobody reads from it or writes to it.
func TestResetAfterHalfClose(t *testing.T) {
	c := splice.New(0)
	j := paths[1].join(t, c, splice.Limits{}, nil)
	_ = j.client.CloseWrite()
	if _, err := j.server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("server: got %v, want EOF", err)
	}
	_ = transport.Abort(j.client)
	select {
	case e := <-j.end:
		if e.Status != transport.ClientGone {
			t.Errorf("end: got %+v, want client_gone", e)
		}
	case <-time.After(5 * time.Second):
		t.Error("flow after a reset: got it open, want its end")
		j.flow.Cut(transport.Cut)
	}
	j.close()
	c.Drain(t.Context())
}

// The same holds for an opening that a reactor reads.
func TestUrgentDataInOpening(t *testing.T) {
	read := make(chan string, 1)
	d := opened(t, &door{limit: taskWait / 2, serve: func(c transport.Conn) {
		defer c.Close()
		buf, text := make([]byte, 100), ""
		_, _ = c.Read(buf)
		// What follows is there at once: the reactor stands still meanwhile.
		time.Sleep(100 * time.Millisecond)
		for text != "before, behind" {
			n, err := c.Read(buf)
			if text += string(buf[:n]); err != nil {
				break
			}
		}
		read <- text
	}})
	c := d.dial(t)
	_, _ = c.Write([]byte("start"))
	time.Sleep(20 * time.Millisecond)
	_, _ = c.Write([]byte("before, "))
	urgent(t, c)
	_, _ = c.Write([]byte("behind"))
	if got := got(t, "what the opening read", read); got != "before, behind" {
		t.Errorf("opening: got %q, want what is behind the urgent byte too", got)
	}
}
