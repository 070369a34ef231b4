package policy

import "syscall"

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT of linux/in.h.
const ipBindAddressNoPort = 24

// latePort lets bind(2) take only the address and leaves the port to
// connect(2), where one local port serves many destinations: ip(7),
// IP_BIND_ADDRESS_NO_PORT, since Linux 4.2. It works for IPv6 too. Without it
// the connection is still made, so an error is of no interest.
func latePort(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
}
