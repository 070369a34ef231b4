package splice

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipe is a kernel buffer between two sockets.
type pipe struct {
	r, w int
	pool *pipePool
}

// pipePool lends pipes of one size out while bytes are in them.
type pipePool struct {
	size, most, keep int

	mu    sync.Mutex
	idle  []pipe
	total int
}

// Large pipes are for sinks that take what they are given: with 256 KiB in
// place of 1 MiB, bulk costs a sixth more. Small ones, of the size that the
// kernel gives by itself, are for sinks that make us wait, where size gains
// nothing and a phone on a slow line keeps its pipe for long. All of them
// together stay below the 16,384 pages that an unprivileged user may have in
// pipes (pipe-user-pages-soft): past that limit every new pipe is tiny.
var (
	largePipes = pipePool{size: 1 << 20, most: 32, keep: 8}
	smallPipes = pipePool{size: 64 << 10, most: 256, keep: 16}
)

// getPipe returns an empty pipe, or false when there are enough or the system
// gives no more: then bytes are copied.
func getPipe(large bool) (pipe, bool) {
	if large {
		if pp, ok := largePipes.get(); ok {
			return pp, true
		}
	}
	return smallPipes.get()
}

func (p *pipePool) get() (pipe, bool) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		pp := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return pp, true
	}
	if p.total >= p.most {
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
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, p.size)
	return pipe{fds[0], fds[1], p}, true
}

// put takes an empty pipe back.
func (p *pipePool) put(pp pipe) {
	p.mu.Lock()
	if len(p.idle) < p.keep {
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

// splice moves bytes with splice(2) until a move is small, the flow ends, or
// splicing is not possible. over says that the direction has ended, with err.
func (p *pump) splice() (over bool, err error) {
	if p.bulk == nil {
		p.bulk = newBulk(p)
	}
	b := p.bulk
	if b.in == nil {
		return false, nil
	}
	for {
		b.n, b.err, b.held, b.wait = 0, nil, false, 0
		if err := b.in.Read(b.take); err != nil {
			return true, p.sourceEnd(err)
		}
		if !b.held {
			if b.err == errNoSplice {
				return false, nil
			}
			return true, p.sourceEnd(b.err)
		}
		moved := b.n
		if err := b.deliver(); err != nil {
			return true, err
		}
		p.f.pause(b.wait)
		// Small moves go back to copying: two system calls instead of three,
		// and no pipe. A rate limit that came up meanwhile does too.
		if moved < bufferSize || p.f.limited() {
			return false, nil
		}
	}
}

var errNoSplice = errors.New("splice not possible")

// bulk is the splicing state of a pump: the pipe is held only from the moment
// that bytes are in it until they have left.
type bulk struct {
	p          *pump
	in, out    syscall.RawConn // nil: not two TCP sockets
	take, give func(fd uintptr) bool

	pipe pipe
	held bool
	slow bool // the sink made us wait at the last turn
	lost bool // the error of the sink may be another than err says
	n    int  // bytes in the pipe
	err  error
	wait time.Duration // the longest pause that the account asked for
}

func newBulk(p *pump) *bulk {
	b := &bulk{p: p}
	src, ok := p.src.(*net.TCPConn)
	if !ok {
		return b
	}
	dst, ok := p.dst.(*net.TCPConn)
	if !ok {
		return b
	}
	in, err := src.SyscallConn()
	if err != nil {
		return b
	}
	if b.out, err = dst.SyscallConn(); err != nil {
		return b
	}
	b.in = in
	// Here, because a method value is an allocation every time.
	b.take, b.give = b.fill, b.empty
	return b
}

// deliver empties the pipe into the sink and lets go of it.
func (b *bulk) deliver() error {
	p := b.p
	p.writing.Lock()
	defer p.writing.Unlock()
	b.slow = false
	err := b.out.Write(b.give)
	if err == nil {
		err = b.err
	}
	if err != nil {
		b.pipe.pool.drop(b.pipe)
		end := p.sinkEnd(err)
		if b.lost {
			p.refused = true
		}
		return end
	}
	b.pipe.pool.put(b.pipe)
	return nil
}

// sinkOver reports whether the peer of a socket has ended its direction.
func sinkOver(fd uintptr) bool {
	// The first byte of struct tcp_info is the state.
	info, err := unix.GetsockoptInet4Addr(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	switch info[0] {
	case unix.BPF_TCP_CLOSE_WAIT, unix.BPF_TCP_LAST_ACK, unix.BPF_TCP_CLOSING:
		return true
	}
	return false
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// fill fills a pipe from the source; false waits for readability without one.
func (b *bulk) fill(fd uintptr) bool {
	pp, ok := getPipe(!b.slow)
	if !ok {
		b.err = errNoSplice
		return true
	}
	for {
		n, err := unix.Splice(int(fd), nil, pp.w, nil, pp.pool.size, spliceFlags)
		switch {
		case err == unix.EINTR:
			continue
		case n > 0:
			b.pipe, b.held, b.n = pp, true, int(n)
			return true
		}
		pp.pool.put(pp)
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

// empty empties the pipe into the sink; false waits for room.
func (b *bulk) empty(fd uintptr) bool {
	over, before := sinkOver(fd), b.n
	for b.n > 0 {
		n, err := unix.Splice(b.pipe.r, nil, int(fd), nil, b.n, spliceFlags)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			b.slow = true
			return false
		case err != nil:
			b.err = err
			// splice(2) returns what it moved and loses the error that stopped
			// it; the next call says EPIPE, whatever it was.
			b.lost = b.n < before && !over
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
