package splice

import (
	"context"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// lookTime is how long after leaving a client is found to have left whose target a
// goroutine dials.
const lookTime = time.Second

// OnLeave has left called, in a goroutine of its own, when the peer of near, which is not on a
// reactor, has left, up to a second later, unless stop was called before. It may be
// called while stop is. Where near is no socket nobody looks.
func OnLeave(near transport.Conn, until Leaving, left context.CancelCauseFunc) (stop func()) {
	sc, ok := near.(syscall.Conn)
	if !ok || until == Never {
		return func() {}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() {} // closed: whatever is tried on it next will tell
	}
	var over atomic.Bool
	var timer *time.Timer
	timer = time.AfterFunc(math.MaxInt64, func() {
		switch {
		case over.Load():
		case leaves(raw, until):
			left(ErrLeft)
		default:
			timer.Reset(lookTime)
		}
	})
	timer.Reset(lookTime)
	return func() {
		over.Store(true)
		timer.Stop()
	}
}

// leaves reports whether a socket's peer has left. It asks the system.
func leaves(raw syscall.RawConn, until Leaving) (yes bool) {
	events := int16(unix.POLLERR | unix.POLLHUP)
	if until == Ended {
		events |= unix.POLLRDHUP
	}
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(p, 0)
		yes = n > 0 && err == nil && p[0].Revents&events != 0
	})
	return yes
}
