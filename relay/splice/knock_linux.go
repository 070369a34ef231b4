package splice

import "golang.org/x/sys/unix"

// The runtime's poller does not hold the epoll descriptor of a reactor itself, but
// another one, the door, which holds that one alone. For as long as the reactor is
// awake it looks for events by itself, and each one that comes would wake a thread
// that waits in the poller, to find that there is nothing to wake: with a good deal to
// do that is a thread or two for each connection, on processors that others want. The
// door can be made deaf meanwhile, for a system call; the runtime's descriptors cannot.

// hang makes the door.
func (r *reactor) hang() (err error) {
	if r.door, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	// Non-blocking is what makes os.File put a descriptor into the poller.
	if err := unix.SetNonblock(r.door, true); err != nil {
		return err
	}
	return unix.EpollCtl(r.door, unix.EPOLL_CTL_ADD, r.epfd, &unix.EpollEvent{Events: unix.EPOLLIN})
}

// hear makes the door hear events or not. Of what is there already a door that
// begins to hear may or may not tell: it has to be looked for once more.
func (r *reactor) hear(on bool) {
	if r.deaf == !on {
		return
	}
	var e unix.EpollEvent
	if on {
		e.Events = unix.EPOLLIN
	}
	if epollControl(r.door, unix.EPOLL_CTL_MOD, int32(r.epfd), &e) == nil {
		r.deaf = !on
	}
}
