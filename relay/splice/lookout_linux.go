package splice

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// canPark says that there is a lookout.
const canPark = true

// lookout waits for the sources of all pumps that are parked: one descriptor and
// one goroutine, from the first one to the end of the core.
type lookout struct {
	mu     sync.Mutex
	parked map[uint64]*pump // by name
	names  uint64           // how many there have been; none is used twice
	epfd   int
	file   *os.File      // epfd, in the runtime's poller; nil: not open
	done   chan struct{} // closed when the goroutine has ended
}

// watch starts p again, in another goroutine, once s can be read or has ended; at
// once if that is so already. false: it cannot, and p goes on by itself.
func (l *lookout) watch(p *pump, s socket) bool {
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil && l.open() != nil {
		return false
	}
	l.names++
	e := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
		Fd:     int32(l.names), Pad: int32(l.names >> 32),
	}
	cerr := raw.Control(func(fd uintptr) {
		// A descriptor that was watched before is still there, but silent.
		if err = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, int(fd), &e); err == unix.EEXIST {
			err = unix.EpollCtl(l.epfd, unix.EPOLL_CTL_MOD, int(fd), &e)
		}
	})
	if cerr != nil || err != nil {
		return false
	}
	p.name = l.names
	l.parked[p.name] = p
	return true
}

// wake starts p again if it is parked.
func (l *lookout) wake(p *pump) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parked[p.name] == p {
		l.start(p)
	}
}

// start is for who has found p among the parked; under mu.
func (l *lookout) start(p *pump) {
	delete(l.parked, p.name)
	go p.goOn()
}

// open is under mu.
func (l *lookout) open() error {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	// Non-blocking is what makes os.File put a descriptor into the poller.
	if err := unix.SetNonblock(epfd, true); err != nil {
		_ = unix.Close(epfd)
		return err
	}
	file := os.NewFile(uintptr(epfd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return err
	}
	l.epfd, l.file, l.done = epfd, file, make(chan struct{})
	if l.parked == nil {
		l.parked = make(map[uint64]*pump)
	}
	go l.run(raw, l.done)
	return nil
}

// run is the goroutine. It sleeps in the runtime's poller until the file is closed.
func (l *lookout) run(raw syscall.RawConn, done chan struct{}) {
	defer close(done)
	var events [batch]unix.EpollEvent
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, err := epollWait(int(fd), &events)
			if err != nil {
				return true // cannot be: the descriptor is ours
			}
			l.mu.Lock()
			for i := range events[:n] {
				// One that the end of its flow has started has a new name by now, or none.
				if p := l.parked[uint64(uint32(events[i].Fd))|uint64(uint32(events[i].Pad))<<32]; p != nil {
					l.start(p)
				}
			}
			l.mu.Unlock()
			if n < batch {
				return false
			}
		}
	})
}

// rest closes the lookout if nobody is parked.
func (l *lookout) rest() {
	l.mu.Lock()
	file, done := l.file, l.done
	if file == nil || len(l.parked) > 0 {
		l.mu.Unlock()
		return
	}
	l.file, l.parked = nil, nil
	l.mu.Unlock()
	_ = file.Close()
	<-done
}
