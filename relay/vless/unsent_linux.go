package vless

import (
	"syscall"

	"golang.org/x/sys/unix"

	"relay/transport"
)

// mostUnsent is what the socket of a session's target holds that has not been sent.
const mostUnsent = 128 << 10

// limitUnsent has a target that is slow take something all the time. A socket without a
// limit takes nothing before a third of its buffer is free: at 50 kB/s that is 16 s, and
// looks as if the target had stalled.
func limitUnsent(far transport.Conn) {
	sc, ok := far.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent)
	})
}
