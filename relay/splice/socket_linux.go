package splice

import (
	"net"
	"net/netip"
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
	// Refused over the user's limit: a smaller pipe works too.
	if size, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize); err == nil {
		p.size = size
	} else if size, err = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0); err == nil {
		p.size = size
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

// accept takes a connection from the queue of a listener.
func accept(ln int32) (fd int32, peer netip.AddrPort, e syscall.Errno) {
	var sa unix.RawSockaddrInet6 // the larger one
	size := uint32(unsafe.Sizeof(sa))
	n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(ln), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	switch sa.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		peer = netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), swap(v4.Port))
	case unix.AF_INET6:
		peer = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), swap(sa.Port))
	}
	return int32(n), peer, 0
}

// swap turns a port between the order of the network and ours.
func swap(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// connectSocket makes a socket that is being connected.
func connectSocket(to netip.AddrPort) (int32, syscall.Errno) {
	family := uintptr(unix.AF_INET)
	v4 := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(to.Port())}
	v6 := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swap(to.Port())}
	sa, size := unsafe.Pointer(&v4), unsafe.Sizeof(v4)
	if a := to.Addr().Unmap(); a.Is4() {
		v4.Addr = a.As4()
	} else {
		family, v6.Addr = unix.AF_INET6, a.As16()
		sa, size = unsafe.Pointer(&v6), unsafe.Sizeof(v6)
	}
	n, _, e := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if e != 0 {
		return -1, e
	}
	fd := int32(n)
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_, _, e = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(sa), size)
	if e != 0 && e != unix.EINPROGRESS {
		_ = unix.Close(int(fd))
		return -1, e
	}
	return fd, 0
}
