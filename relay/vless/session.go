package vless

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"relay/transport"
)

const (
	// queueSize is how much of a session may wait for its target in any case. 128 of
	// them hold less than as many sockets would.
	queueSize = 64 << 10
	// mostAhead is how much may wait while all sessions together hold less than
	// mostHeld: a full queue holds up the others of its stream, as there are no
	// windows, so it is worth memory.
	mostAhead = 4 << 20
	mostHeld  = 64 << 20
	// queuePackets bounds what datagrams cost beside their bytes.
	queuePackets = 256
	// stallTime is for how long nobody may have taken anything from a session whose
	// queue is full, and holdTime for how long it may hold up the others of its stream
	// then.
	stallTime = 10 * time.Second
	holdTime  = 4 * time.Second
	// aliveTime is how often a client hears from us that cannot be answered because
	// we do not read: it would take its connection for dead.
	aliveTime = time.Second
)

// Reasons why the peer of a session is of no more use.
var (
	errBrokenOff = fmt.Errorf("vless: session: %w", io.ErrUnexpectedEOF)
	errForgotten = errors.New("vless: session: the other side has gone")
	errLeft      = fmt.Errorf("%w: %w", errBrokenOff, transport.ErrCarrier) // by the exit, with all others
	errStalled   = errors.New("vless: session: nobody takes what comes")
)

// session is one request in a mux. What is not fixed is under m.mu.
type session struct {
	m       *mux
	id      uint16
	packets bool
	peer    transport.Target

	wake     sync.Cond   // the queue has changed, or how the session stands
	padded   int         // frames, so far
	unasked  bool        // by a client: it begins with its first frame
	soon     *time.Timer // it begins without payload then
	waits    queue
	moved    time.Time // when somebody has taken bytes of it, or the first came
	heads    []head    // of datagrams in the queue, from first on
	first    int
	heard    bool  // something has come
	answered bool  // the request was
	served   bool  // whoever opened it has let go
	ended    bool  // nothing follows from the client
	said     bool  // nothing follows for the client, which has been told
	lost     error // the client has gone, or was told to
	closed   bool
	abrupt   bool // closing is an error
	reads    deadline
	writes   deadline
}

// head is a datagram in a queue.
type head struct {
	size int
	peer transport.Target
}

// newSession makes one; under mu.
func newSession(m *mux, f frame) *session {
	s := &session{m: m, id: f.id, packets: f.network == networkUDP, peer: f.peer}
	s.wake.L = &m.mu
	m.answers = min(m.answers+answersEach, mostAnswers)
	return s
}

// readable waits for something in the queue; under mu. What a client has said and
// ended in order is delivered whatever becomes of its stream.
func (s *session) readable() error {
	for {
		switch {
		case s.closed:
			return net.ErrClosed
		case s.reads.passed():
			return os.ErrDeadlineExceeded
		case s.waits.size > 0 && (s.ended || s.m.err == nil):
			return nil
		case s.ended:
			return io.EOF
		case s.lost != nil:
			return s.lost
		case s.m.err != nil:
			return fmt.Errorf("vless: mux: %w", s.m.err)
		case s.unasked && s.soon == nil:
			s.soon = time.AfterFunc(s.m.wait, s.askAlone)
		}
		s.wake.Wait()
	}
}

// writable waits for room for up to n bytes of data; under mu.
func (s *session) writable(n int) error {
	for {
		switch {
		case s.closed, s.said:
			return net.ErrClosed
		case s.writes.passed():
			return os.ErrDeadlineExceeded
		case s.lost != nil:
			return s.lost
		case s.m.err != nil:
			return fmt.Errorf("vless: mux: %w", s.m.err)
		case s.m.fits(n):
			return nil
		}
		s.m.room.Wait()
	}
}

// WaitRead implements transport.ReadWaiter.
func (s *session) WaitRead() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	err := s.readable()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// end is the end of what the client says; under mu.
func (s *session) end() {
	s.ended = true
	s.wake.Broadcast()
}

// lose ends a session whose client has gone: no frame is said for it any more;
// under mu.
func (s *session) lose(why error) {
	s.lost = why
	s.remove()
	s.wake.Broadcast()
	s.m.room.Broadcast()
}

// giveUp ends a session and tells the client; under mu.
func (s *session) giveUp(why error) {
	if s.live() {
		s.tell(frame{id: s.id, status: statusEnd, option: optionError})
	}
	s.empty()
	s.lose(why)
}

// live reports whether frames may be said for s; under mu.
func (s *session) live() bool { return s.m.err == nil && s.m.sessions[s.id] == s }

func (s *session) remove() {
	if s.m.sessions[s.id] != s {
		return
	}
	delete(s.m.sessions, s.id)
	s.m.rest()
	s.m.left.Broadcast()
}

// tell says a frame that cannot wait; under mu. If that does not work out, the
// stream has failed.
func (s *session) tell(f frame) {
	if err := s.m.say(f); err != nil {
		s.m.broke(err)
	}
}

// answer notes that the request was answered.
func (s *session) answer() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.answered = true
}

// opened is the end of opening the session. A request without an answer ends here.
func (s *session) opened() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.served = true
	if s.closed {
		s.m.begun--
	} else if !s.answered {
		s.abrupt = true
		s.close()
	}
}

// abort closes the session with an error.
func (s *session) abort() {
	_ = s.SetLinger(0)
	_ = s.Close()
}

// SetLinger decides what Close tells the client, as with a TCP connection: 0 is an
// error.
func (s *session) SetLinger(sec int) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.abrupt = sec == 0
	return nil
}

// Close ends the session, and may be called at any time.
func (s *session) Close() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.close()
	return nil
}

// close is Close of an open session; under mu.
func (s *session) close() {
	s.closed = true
	if s.served {
		s.m.begun--
	}
	if s.live() && s.owesEnd() {
		f := frame{id: s.id, status: statusEnd}
		if s.abrupt {
			f.option = optionError
		}
		s.tell(f)
	}
	s.reads.stop()
	s.writes.stop()
	if s.soon != nil {
		s.soon.Stop()
	}
	s.empty()
	s.remove()
	s.wake.Broadcast()
	s.m.room.Broadcast()
}

// owesEnd reports whether the other side has to be told that the session is closed;
// under mu.
func (s *session) owesEnd() bool {
	switch {
	case s.unasked:
		return false
	case s.packets && s.m.ended:
		// Clients of XUDP end an association with their stream, and have gone then:
		// a frame for nobody would be an error.
		return false
	case s.said:
		// A second end of a client's says that he takes nothing any more.
		return !s.m.serves() && !s.ended
	}
	return true
}

// SetDeadline implements net.Conn.
func (s *session) SetDeadline(t time.Time) error { return s.setDeadlines(t, &s.reads, &s.writes) }

// SetReadDeadline implements net.Conn.
func (s *session) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, &s.reads) }

// SetWriteDeadline implements net.Conn.
func (s *session) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, &s.writes) }

func (s *session) setDeadlines(t time.Time, which ...*deadline) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	for _, d := range which {
		d.set(t, s.rouse)
	}
	s.wake.Broadcast()
	s.m.room.Broadcast()
	return nil
}

// rouse makes whoever waits look at the clock.
func (s *session) rouse() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.wake.Broadcast()
	s.m.room.Broadcast()
}
