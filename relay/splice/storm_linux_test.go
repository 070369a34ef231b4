package splice_test

import (
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"relay/relay/splice"
	"relay/transport"
)

// disorder lets tasks in that do whatever a task may, in any order, while others
// interrupt them.
type disorder struct {
	core  *splice.Core
	to    *net.TCPListener
	tasks sync.WaitGroup
	flows sync.WaitGroup
}

func (s *disorder) Failed(error) time.Duration { return time.Millisecond }

// some is a random time of up to a few ticks.
func some() time.Duration { return time.Duration(rand.Int64N(int64(4 * taskTick))) }

func (s *disorder) Admit(c transport.Conn) (serve func(), start time.Time) {
	s.tasks.Add(1)
	_ = c.SetDeadline(time.Now().Add(some()))
	var far transport.Conn
	p := transport.NewPeeked(c)
	if rand.IntN(2) == 0 {
		time.AfterFunc(some(), func() { transport.Interrupt(c) })
	}
	if rand.IntN(4) == 0 {
		time.AfterFunc(some(), func() { splice.CancelDial(c) })
	}
	return func() {
		if s.step(p, &far) {
			return
		}
		_ = p.Close()
		if far != nil {
			_ = far.Close()
		}
		s.tasks.Done()
	}, time.Now().Add(some() - taskTick)
}

// step does one thing after the other; true: the task goes on later, or somebody
// else has its connections.
func (s *disorder) step(p *transport.Peeked, far *transport.Conn) (later bool) {
	for {
		switch rand.IntN(9) {
		case 0, 1:
			later = splice.Park(p, *far)
		case 2:
			later = splice.Yield(p)
		case 3:
			later = splice.Leave(p)
		case 4:
			if *far == nil {
				to := s.to.Addr().(*net.TCPAddr).AddrPort()
				if f, ok, err := splice.Dial(p, to, some(), splice.Never); ok && err == nil {
					*far = f
				}
			}
		case 5:
			if *far != nil {
				_, _, _ = splice.WaitEither(p, *far)
			}
		case 6:
			if _, err := p.Peek(len(p.Unread()) + 1); err != nil && rand.IntN(2) == 0 {
				return false
			}
		case 7:
			_ = p.SetDeadline(time.Now().Add(some()))
		case 8:
			if *far != nil && rand.IntN(2) == 0 {
				s.flows.Add(1)
				f := s.core.Join(p, *far, splice.Limits{Idle: 4 * taskTick}, nil, func(splice.End) { s.flows.Done() })
				if rand.IntN(2) == 0 {
					time.AfterFunc(some(), func() { f.Cut(transport.Cut) })
				}
				s.tasks.Done()
				return true
			}
		}
		if later {
			return true
		}
	}
}

// TestParkStorm looks for what is lost when everything happens to a task at once:
// a task that never goes on, a descriptor or a goroutine.
func TestParkStorm(t *testing.T) {
	files := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	filesBefore, routinesBefore := files(), runtime.NumGoroutine()
	far, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &disorder{core: splice.New(taskTick), to: far}
	stop, ok := s.core.Serve(near, s)
	if !ok {
		t.Fatal("Serve: got no reactor, want one")
	}
	var peers sync.WaitGroup
	peers.Go(func() {
		for {
			c, err := far.AcceptTCP()
			if err != nil {
				return
			}
			peers.Go(func() { misbehave(c) })
		}
	})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 150 {
				c, err := net.Dial("tcp4", near.Addr().String())
				if err == nil { // it may be reset before the dialler knows
					misbehave(c.(*net.TCPConn))
				}
			}
		})
	}
	clients.Wait()
	stop()
	over := make(chan struct{})
	go func() {
		s.tasks.Wait()
		s.core.Drain(t.Context())
		s.flows.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(6 * taskWait):
		t.Fatal("tasks: got some that do not go on, want all over")
	}
	_, _ = near.Close(), far.Close()
	peers.Wait()
	for until := time.Now().Add(taskWait); files() > filesBefore || runtime.NumGoroutine() > routinesBefore; time.Sleep(taskTick) {
		if time.Now().After(until) {
			t.Fatalf("left behind: got %d descriptors and %d goroutines, want %d and %d",
				files(), runtime.NumGoroutine(), filesBefore, routinesBefore)
		}
	}
}

// misbehave says something or nothing, now or later, and ends in one way or another.
func misbehave(c *net.TCPConn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(taskWait))
	for range rand.IntN(4) {
		switch rand.IntN(5) {
		case 0:
			time.Sleep(some())
		case 1:
			_ = c.CloseWrite()
		case 2:
			_ = c.SetLinger(0)
		default:
			_, _ = c.Write(make([]byte, 1+rand.IntN(2000)))
		}
	}
}
