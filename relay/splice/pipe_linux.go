package splice

import (
	"time"

	"golang.org/x/sys/unix"
)

// pipeSize is the size of a reactor's pipe: with 256 KiB in place of 1 MiB, bulk
// costs a sixth more.
const pipeSize = 1 << 20

// pipe is what bytes pass on their way from socket to socket. It is empty
// between turns, so one is enough for all pairs of a reactor, however many wait;
// Linux limits what an unprivileged user has in pipes (pipe-user-pages-soft).
type pipe struct {
	r, w  int
	size  int
	again time.Time // when to try again after the system had none to give
}

var noPipe = pipe{r: -1, w: -1}

// open makes the pipe if there is none; false: bytes have to be copied.
func (p *pipe) open() bool {
	if p.r >= 0 {
		return true
	}
	if !p.again.IsZero() && time.Now().Before(p.again) {
		return false
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		p.again = time.Now().Add(time.Second)
		return false
	}
	p.r, p.w = fds[0], fds[1]
	// Refused over the user's limit: a smaller pipe works too, if it beats a copy.
	if size, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize); err == nil {
		p.size = size
	} else if size, err = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0); err == nil {
		p.size = size
	}
	if p.size < largeRead { // over that limit it may hold two pages
		p.close()
		p.again = time.Now().Add(time.Second)
		return false
	}
	return true
}

// drain takes n bytes out that nobody else took.
func (p *pipe) drain(n int) ([]byte, error) {
	b := make([]byte, n)
	for at := 0; at < n; {
		m, err := unix.Read(p.r, b[at:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case m == 0:
			return nil, unix.EPIPE
		default:
			at += m
		}
	}
	return b, nil
}

// close closes the pipe, with whatever is in it.
func (p *pipe) close() {
	if p.r >= 0 {
		_ = unix.Close(p.r)
		_ = unix.Close(p.w)
	}
	*p = noPipe
}
