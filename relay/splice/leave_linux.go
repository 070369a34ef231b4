package splice

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// MayWait makes the task leave the reactor, which must not stand still, for a
// goroutine; see [transport.MayWait].
func (s *Socket) MayWait() error {
	if s.off != nil {
		return nil
	}
	t := s.t
	if err := t.leave(); err != nil {
		return err
	}
	t.co.yield(struct{}{})
	return t.left()
}

// left is what a task hears that has left: it may have been interrupted.
func (t *task) left() error {
	t.mu.Lock()
	interrupted := t.interrupted
	t.mu.Unlock()
	if interrupted {
		reset(t.near.off)
		return net.ErrClosed
	}
	return nil
}

// leave moves the task's sockets into the runtime's poller. A task that was
// interrupted leaves too: what it holds may go to other goroutines next.
func (t *task) leave() error {
	if t.over {
		return net.ErrClosed
	}
	p := t.p
	var off [2]*net.TCPConn
	var err error
	for i := range p.sides {
		fd := p.sides[i].fd
		if fd < 0 {
			continue
		}
		_ = p.watch(i, unix.EPOLL_CTL_DEL, false)
		p.sides[i].fd = -1
		if off[i], err = toConn(fd); err != nil {
			break // out of descriptors, most likely
		}
	}
	if err != nil {
		for i := range p.sides {
			if p.sides[i].fd >= 0 {
				closeSocket(p.sides[i].fd, false)
			}
			if off[i] != nil {
				_ = off[i].Close()
			}
		}
		t.finish()
		t.r.forget(p)
		return err
	}
	p.task = nil
	t.r.forget(p)
	t.mu.Lock()
	t.off = true
	t.near.off, t.far.off = off[0], off[1]
	t.mu.Unlock()
	for _, s := range []*Socket{&t.near, &t.far} {
		if s.off != nil && s.until != 0 {
			_ = s.off.SetDeadline(t.r.epoch.Add(time.Duration(s.until)))
		}
	}
	return nil
}

// reset breaks a connection off under whoever uses it.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// keepAlive are the options that net.FileConn sets as it likes. The first one
// turns the others on.
var keepAlive = [...][2]int{
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
}

// toConn gives a descriptor to the net package; it is closed on an error. Probes
// stay as they were: those of net would wake a sleeping phone every 15 seconds.
func toConn(fd int32) (*net.TCPConn, error) {
	var kept [len(keepAlive)]int
	for i, o := range keepAlive {
		kept[i], _ = unix.GetsockoptInt(int(fd), o[0], o[1])
		if kept[0] == 0 {
			break
		}
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("not a TCP socket")
	}
	// They are two descriptors of one socket.
	for i, o := range keepAlive {
		_ = unix.SetsockoptInt(int(fd), o[0], o[1], kept[i])
		if kept[0] == 0 {
			break
		}
	}
	return t, nil
}
