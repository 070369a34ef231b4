package relay

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inheritKeepAlive prepares a listening socket, so that no accepted connection
// costs these four system calls.
func inheritKeepAlive(fd uintptr, c net.KeepAliveConfig) {
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(c.Idle/time.Second))
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(c.Interval/time.Second))
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT, c.Count)
}

// setBacklog changes the accept queue of a socket that listens already, which
// listen(2) allows; package net offers no other way.
func setBacklog(ln net.Listener, backlog int) error {
	sc, ok := ln.(syscall.Conn)
	if !ok || backlog <= 0 {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), backlog) }); err != nil {
		return err
	}
	return lerr
}
