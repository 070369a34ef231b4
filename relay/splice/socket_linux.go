package splice

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// The calls below never wait, so they go past the scheduler's bookkeeping for
// calls that might: a twentieth of the work on a message (measured).

// recv reads from a socket; 0 without an error is the end of the stream.
func recv(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// send writes to a socket. A peer that is gone is an error here and no signal.
func send(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// epollWait fetches what is ready, without waiting.
func epollWait(epfd int, events *[batch]unix.EpollEvent) (int, error) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(events)), batch, 0, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// Indices into what SO_MEMINFO returns (linux/sock_diag.h).
const (
	memInfoSendBuffer = 3 // SK_MEMINFO_SNDBUF
	memInfoQueued     = 5 // SK_MEMINFO_WMEM_QUEUED
	memInfoLen        = 9 // SK_MEMINFO_VARS
)

// room is how many bytes the send buffer of a socket takes now, about.
func room(fd int32) int {
	var info [memInfoLen]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return largeRead // it will say how much it takes
	}
	return int(info[memInfoSendBuffer]) - int(info[memInfoQueued])
}

// systemUnsent is what a socket may hold unsent unless it says otherwise; -1: no limit.
func systemUnsent() int32 {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_notsent_lowat")
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 32)
	if err != nil || n <= 0 {
		return -1 // the default is 2^32 - 1
	}
	return int32(n)
}

// unsentLimit is what a socket may hold unsent (TCP_NOTSENT_LOWAT); -1: no limit.
// Where there is one, its send buffer does not tell what it takes.
func (r *reactor) unsentLimit(fd int32) int32 {
	n, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
	switch {
	case err != nil || int32(n) < 0:
		return -1
	case n == 0:
		return r.unsent
	}
	return int32(n)
}

// unsentRoom is how much a socket with such a limit takes now. The kernel calls
// it writable again when half of the limit is free.
func unsentRoom(fd int32, limit int) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD)
	switch {
	case err != nil:
		return limit
	case 2*n >= limit:
		return 0
	}
	return max(limit-n, leastRoom)
}

// peerEnded reports whether the peer of a socket has ended its direction in order.
func peerEnded(fd int32) bool {
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

// closeSocket closes a descriptor, with a reset if asked for.
func closeSocket(fd int32, reset bool) {
	if reset {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(int(fd))
}

// duplicate returns a descriptor for the same socket that the runtime's poller
// knows nothing of. The Conn and what it registered are closed on their own;
// the socket stays open as long as one descriptor is.
func duplicate(c transport.Conn) (fd int32, ok bool) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0, false
	}
	dup := -1
	if err := raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || dup < 0 {
		return 0, false
	}
	return int32(dup), true
}

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
