package splice

import (
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setKeepAlive sets the probes of a silent connection as package net does, where zeros
// mean 15 s, 15 s and 9, and what is less leaves the system's.
func setKeepAlive(fd int32, c net.KeepAliveConfig) error {
	on := int32(0)
	if c.Enable {
		on = 1
	}
	err := setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, unsafe.Pointer(&on), unsafe.Sizeof(on))
	if err != nil || !c.Enable {
		return err
	}
	for _, o := range [...]struct {
		name   uintptr
		value  int64
		normal int32
	}{
		{unix.TCP_KEEPIDLE, seconds(c.Idle), 15},
		{unix.TCP_KEEPINTVL, seconds(c.Interval), 15},
		{unix.TCP_KEEPCNT, int64(c.Count), 9},
	} {
		v := int32(o.value)
		if o.value == 0 {
			v = o.normal
		}
		if v < 0 {
			continue
		}
		if err := setOption(fd, unix.IPPROTO_TCP, o.name, unsafe.Pointer(&v), unsafe.Sizeof(v)); err != nil {
			return err
		}
	}
	return nil
}

// seconds are those of d, rounded up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
