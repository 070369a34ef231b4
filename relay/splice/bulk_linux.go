package splice

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is what a pipe is asked to hold. 64 of them stay far below the
	// 64 MiB that the kernel lets an unprivileged user have in pipes
	// (pipe-user-pages-soft); past that limit every new pipe is tiny.
	pipeSize  = 256 << 10
	maxPipes  = 64
	idlePipes = 8
)

// pipe is a kernel buffer between two sockets.
type pipe struct{ r, w int }

// pipePool lends pipes out while bytes are in them.
type pipePool struct {
	mu    sync.Mutex
	idle  []pipe
	total int
}

var pipes pipePool

// get returns an empty pipe, or false when there are enough or the system
// gives no more: then bytes are copied.
func (p *pipePool) get() (pipe, bool) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		pp := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return pp, true
	}
	if p.total >= maxPipes {
		p.mu.Unlock()
		return pipe{}, false
	}
	p.total++
	p.mu.Unlock()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		p.mu.Lock()
		p.total--
		p.mu.Unlock()
		return pipe{}, false
	}
	// Refused over the user's limit: a smaller pipe works too.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	return pipe{fds[0], fds[1]}, true
}

// put takes an empty pipe back.
func (p *pipePool) put(pp pipe) {
	p.mu.Lock()
	if len(p.idle) < idlePipes {
		p.idle = append(p.idle, pp)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.drop(pp)
}

// drop closes a pipe, with whatever is in it.
func (p *pipePool) drop(pp pipe) {
	_ = unix.Close(pp.r)
	_ = unix.Close(pp.w)
	p.mu.Lock()
	p.total--
	p.mu.Unlock()
}

// bulk moves bytes with splice(2) until a move is small, the flow ends, or
// splicing is not possible. over says that the direction has ended, with err.
func (p *pump) bulk() (over bool, err error) {
	in, ok := rawTCP(p.src)
	if !ok {
		return false, nil
	}
	out, ok := rawTCP(p.dst)
	if !ok {
		return false, nil
	}
	b := bulk{p: p}
	for {
		b.n, b.err, b.held, b.wait = 0, nil, false, 0
		if err := in.Read(b.take); err != nil {
			return true, p.sourceEnd(err)
		}
		if !b.held {
			if b.err == io.EOF {
				return true, nil
			}
			if b.err == errNoSplice {
				return false, nil
			}
			return true, p.sourceEnd(b.err)
		}
		moved := b.n
		err := out.Write(b.give)
		if err == nil {
			err = b.err
		}
		if err != nil {
			pipes.drop(b.pipe)
			return true, p.sinkEnd(err)
		}
		pipes.put(b.pipe)
		if b.wait > 0 {
			p.f.pause(b.wait)
		}
		// Small moves go back to copying: two system calls instead of three,
		// and no pipe. A rate limit that came up meanwhile does too.
		if moved < bufferSize || p.f.limited() {
			return false, nil
		}
	}
}

func rawTCP(c any) (syscall.RawConn, bool) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, false
	}
	raw, err := t.SyscallConn()
	return raw, err == nil
}

type noSplice struct{}

func (noSplice) Error() string { return "splice not possible" }

var errNoSplice error = noSplice{}

// bulk is the state of one splice: the pipe is held only from the moment that
// bytes are in it until they have left.
type bulk struct {
	p    *pump
	pipe pipe
	held bool
	n    int // bytes in the pipe
	err  error
	wait time.Duration // the longest pause that the account asked for
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// take fills a pipe from the source; false waits for readability without one.
func (b *bulk) take(fd uintptr) bool {
	pp, ok := pipes.get()
	if !ok {
		b.err = errNoSplice
		return true
	}
	for {
		n, err := unix.Splice(int(fd), nil, pp.w, nil, pipeSize, spliceFlags)
		switch {
		case err == unix.EINTR:
			continue
		case n > 0:
			b.pipe, b.held, b.n = pp, true, int(n)
			return true
		}
		pipes.put(pp)
		switch err {
		case nil:
			b.err = io.EOF
		case unix.EAGAIN:
			return false
		case unix.EINVAL, unix.ENOSYS:
			b.err = errNoSplice
		default:
			b.err = err
		}
		return true
	}
}

// give empties the pipe into the sink; false waits for room.
func (b *bulk) give(fd uintptr) bool {
	for b.n > 0 {
		n, err := unix.Splice(b.pipe.r, nil, int(fd), nil, b.n, spliceFlags)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err != nil:
			b.err = err
			return true
		case n == 0:
			b.err = io.ErrUnexpectedEOF
			return true
		default:
			b.n -= int(n)
			b.wait = max(b.wait, b.p.f.moved(b.p.up, int(n)))
		}
	}
	return true
}
