package splice

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// The calls below never wait, so they go past the scheduler's bookkeeping for
// calls that might. That would also wake the runtime's monitor, which then looks
// around every 20 µs for a while: a tenth of the work on a connection (measured).

// recv reads from a socket; 0 without an error is the end of the stream.
func recv(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// pending reports whether a read would not have to wait. It does not peek: that
// would take the error of a reset, which the read is to have.
func pending(fd int32) bool {
	p := unix.PollFd{Fd: fd, Events: unix.POLLIN | unix.POLLRDHUP}
	var never unix.Timespec
	n, _, e := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&never)), 0, 0, 0)
	// A signal interrupts it though it does not wait, when it has found nothing.
	return e == 0 && n > 0 || e != 0 && e != unix.EINTR
}

// send writes to a socket. A peer that is gone is an error here and no signal.
func send(fd int32, b []byte) (int, syscall.Errno) { return sendFlags(fd, b, 0) }

func sendFlags(fd int32, b []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT|flags, 0, 0)
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

// moveBytes is splice(2) without waiting, between a socket and a pipe. A MiB takes
// less than a tenth of a millisecond.
func moveBytes(from, to, most int) (int, syscall.Errno) { return moveFlags(from, to, most, 0) }

func moveFlags(from, to, most int, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK|flags)
		if e != unix.EINTR {
			return int(n), e
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

// processTime is the processor time that the process has used, in nanoseconds.
func processTime() int64 {
	var u unix.Rusage
	_, _, _ = unix.RawSyscall(unix.SYS_GETRUSAGE, unix.RUSAGE_SELF, uintptr(unsafe.Pointer(&u)), 0)
	return u.Utime.Nano() + u.Stime.Nano()
}

// peerEnded reports whether the peer of a socket has ended its direction in order.
func peerEnded(fd int32) bool {
	switch socketState(fd) {
	case unix.BPF_TCP_CLOSE_WAIT, unix.BPF_TCP_LAST_ACK, unix.BPF_TCP_CLOSING:
		return true
	}
	return false
}

// endTaken reports whether the peer of a TCP socket has acknowledged our end, and
// not sent its own.
func endTaken(fd int32) bool { return socketState(fd) == unix.BPF_TCP_FIN_WAIT2 }

// socketState is where a TCP connection is in its life (RFC 9293, Section 3.3.2);
// 0: unknown.
func socketState(fd int32) byte {
	// The first byte of struct tcp_info is the state.
	var info [4]byte
	size := uint32(len(info))
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0
	}
	return info[0]
}

// closeSocket closes a descriptor, with a reset if asked for.
func closeSocket(fd int32, reset bool) {
	if reset {
		_ = setLinger(fd, &unix.Linger{Onoff: 1})
	}
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

func setLinger(fd int32, l *unix.Linger) error {
	return setOption(fd, unix.SOL_SOCKET, unix.SO_LINGER, unsafe.Pointer(l), unsafe.Sizeof(*l))
}

// setLingerEnded says how many seconds a closed socket waits for its peer's end.
func setLingerEnded(fd int32, seconds int32) error {
	return setOption(fd, unix.IPPROTO_TCP, unix.TCP_LINGER2, unsafe.Pointer(&seconds), unsafe.Sizeof(seconds))
}

// setAsking sends a keep-alive probe every so many seconds, the first one as soon
// as nothing has come for as long.
func setAsking(fd int32, seconds int32) error {
	on := int32(1)
	return errors.Join(
		setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, unsafe.Pointer(&seconds), unsafe.Sizeof(seconds)),
		setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, unsafe.Pointer(&seconds), unsafe.Sizeof(seconds)),
		setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, unsafe.Pointer(&on), unsafe.Sizeof(on)))
}

// setNoDelay lets a socket send small writes at once: they are messages.
func setNoDelay(fd int32) error {
	on := int32(1)
	return setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, unsafe.Pointer(&on), unsafe.Sizeof(on))
}

func setOption(fd int32, level, name uintptr, value unsafe.Pointer, size uintptr) error {
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), level, name, uintptr(value), size, 0)
	return callError("setsockopt", e)
}

// callError is nil, and not a nil in an interface, where there was no error.
func callError(call string, e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return os.NewSyscallError(call, e)
}

// endWrite tells the peer that no more follows.
func endWrite(fd int32) error {
	_, _, e := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return callError("shutdown", e)
}

func epollControl(epfd, op int, fd int32, event *unix.EpollEvent) error {
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(event)), 0, 0)
	return callError("epoll_ctl", e)
}

// pendingError takes the error that a socket has not told anybody yet.
func pendingError(fd int32) syscall.Errno {
	var value, size int32 = 0, 4
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return e
	}
	return syscall.Errno(value)
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
	_ = setNoDelay(fd)
	_, _, e = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(sa), size)
	if e != 0 && e != unix.EINPROGRESS {
		closeSocket(fd, false)
		return -1, e
	}
	return fd, 0
}
