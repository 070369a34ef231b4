package transport

import (
	"encoding/binary"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpRead is what tryReceive works on: in one place, so that a datagram costs no
// allocation.
type udpRead struct {
	into  []byte
	n     int
	errno unix.Errno
	peer  unix.RawSockaddrInet6 // room for both families
}

func (u *UDP) tryRead(b []byte) (n int, from netip.AddrPort, ok bool, err error) {
	u.into = b
	err = u.raw.Read(u.receive)
	u.into = nil
	switch {
	case err != nil:
		return 0, netip.AddrPort{}, false, err
	case u.errno == unix.EAGAIN:
		return 0, netip.AddrPort{}, false, nil
	case u.errno != 0:
		return 0, netip.AddrPort{}, false, os.NewSyscallError("recvfrom", u.errno)
	}
	return u.n, u.from(), u.n <= len(b), nil
}

// tryReceive runs inside RawConn.Read and never asks it to wait.
func (u *UDP) tryReceive(fd uintptr) bool {
	for {
		size := uint32(unix.SizeofSockaddrInet6)
		// MSG_TRUNC: the length is that of the datagram, also if it is cut off.
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(u.into))), uintptr(len(u.into)),
			unix.MSG_DONTWAIT|unix.MSG_TRUNC, uintptr(unsafe.Pointer(&u.peer)), uintptr(unsafe.Pointer(&size)))
		if e != unix.EINTR {
			u.n, u.errno = int(n), e
			return true
		}
	}
}

func (u *UDP) from() netip.AddrPort {
	// The port lies at the same place in both families, in network order.
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&u.peer.Port))[:])
	if u.peer.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&u.peer))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(u.peer.Addr), port)
}
