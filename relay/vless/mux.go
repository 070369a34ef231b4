package vless

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"relay/auth"
	"relay/relay"
	"relay/transport"
)

const (
	// maxSessions is how many sessions one stream has at a time, with those that
	// the client has given up while the target was dialled. An Xray client
	// opens 128 in the life of a stream, at most 8 at a time unless told
	// otherwise (app/proxyman/outbound/handler.go).
	maxSessions = 128
	// idleTime is how long a stream may have no session. Xray's clients close
	// theirs after 16 to 32 s.
	idleTime = time.Minute
	// flushTime is how long a client has at the end to take what was said.
	flushTime = 10 * time.Second

	// outSize is how much waits for the client, of all sessions, before they
	// are made to wait.
	outSize = 64 << 10
	// outSpare is room for frames that nobody can wait with: ends. A client
	// that makes us say 600 of them while it reads nothing is not one.
	outSpare = 4 << 10
)

// outBuffers holds *[]byte for what waits for a client.
var outBuffers = sync.Pool{New: func() any { b := make([]byte, outSize+outSpare); return &b }}

var (
	errSameSession = errors.New("session begins twice")
	errNotReading  = errors.New("the other side asks on and reads nothing")
)

// mux is the stream of command 3, its server's end, or its client's: see muxdial.go. One goroutine reads frames and puts what is in
// them into the sessions' queues, another writes what sessions have to say; so a
// session can be closed whatever the client does.
type mux struct {
	c       transport.Conn
	user    auth.User
	packets bool                    // datagrams are served
	open    func(transport.Request) // nil: it is a client's
	opens   sync.WaitGroup
	in      chunks        // for the goroutine that reads
	limit   int           // of a session's queue, in any case
	ahead   *atomic.Int64 // in the queues of all, of other streams as well

	mu       sync.Mutex
	sessions map[uint16]*session // those that frames may still be said for
	begun    int                 // those that cost something: not closed, or still being opened
	held     *[]byte             // for out, when it is not empty
	out      []byte              // frames that the writing goroutine has not taken
	work     sync.Cond           // there is something to write, or no more will be
	room     sync.Cond           // there may be room in out
	left     sync.Cond           // a session has gone
	ended    bool                // the client has ended its direction
	done     bool                // nobody says anything more
	err      error               // the stream has failed
	cancel   context.CancelCauseFunc
	pads     bool      // the beginnings of sessions are padded
	answers  int       // that may still be made to who asks for padding
	full     *session  // the last one that held up the others
	since    time.Time // when the first one did of those that followed each other
	stalled  time.Time // when the last one was given up
	assured  time.Time // when the client was told that we live

	// Of a client's.
	wait    time.Duration // for the first payload of a session
	asked   int           // the number of the last session
	spoken  bool          // something was said
	idle    *time.Timer   // it ends without a session then
	life    int           // how many sessions it has
	writing time.Time     // when the write began that goes on
	waited  time.Time     // when the last one ended that took long
	writes  uint64        // those that have ended
	asks    bool          // the exit is asked whether it answers pings
	greeted bool          // it was
	ponged  bool          // it does
}

func newMux(c transport.Conn, ahead *atomic.Int64) *mux {
	m := &mux{c: c, in: newChunks(c), limit: queueSize, ahead: ahead, sessions: make(map[uint16]*session)}
	for _, cond := range []*sync.Cond{&m.work, &m.room, &m.left} {
		cond.L = &m.mu
	}
	return m
}

// run serves the stream until it has ended.
func (m *mux) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	m.start(cancel)
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		m.fail(context.Cause(ctx))
		transport.Interrupt(m.c)
	})
	written := make(chan struct{})
	go func() {
		defer close(written)
		m.write()
	}()
	err := m.read()
	m.in.release()
	if err == nil {
		err = m.finish()
		<-written
	}
	if err == nil {
		err = m.failed()
	}
	if err != nil {
		m.fail(m.blame(err))
		_ = transport.Abort(m.c)
		<-written
		err = fmt.Errorf("vless: mux: %w", m.failed())
	} else {
		if m.serves() || m.spoken {
			_ = m.c.CloseWrite()
		}
		_ = m.c.Close()
	}
	m.opens.Wait()
	if !stop() {
		<-interrupted
	}
	cancel(nil)
	return err
}

// serves reports whether it is a server's.
func (m *mux) serves() bool { return m.open != nil }

// start is the beginning of run. The stream may have failed before it.
func (m *mux) start(cancel context.CancelCauseFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cancel = cancel; m.err != nil {
		cancel(m.err)
	}
	m.rest()
}

// read reads frames until the client ends its direction, or has had no session
// for long enough.
func (m *mux) read() error {
	for {
		err := m.frame()
		switch {
		case err == nil:
		case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded) && m.resting():
			return nil
		default:
			return err
		}
	}
}

// frame reads a frame. The error is io.EOF when the stream ends before it.
func (m *mux) frame() error {
	var b [maxFrame]byte
	if _, err := m.in.full(b[:lengthSize]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(b[:]))
	if n > maxFrame {
		return fmt.Errorf("%w: %w", relay.ErrBadRequest, errFrame)
	}
	if _, err := m.in.full(b[:n]); err != nil {
		return broken(err)
	}
	f, err := parseFrame(b[:n])
	if err != nil {
		return fmt.Errorf("%w: %w", relay.ErrBadRequest, err)
	}
	var s *session
	switch f.status {
	case statusNew:
		if m.serves() {
			s, err = m.begin(f)
		}
	case statusKeep:
		s, err = m.keep(f)
	case statusEnd:
		m.end(f)
	}
	if err != nil || !f.has(optionData) {
		return err
	}
	return m.data(s, f)
}

// data reads the data of a frame; without a session nobody wants it.
func (m *mux) data(s *session, f frame) error {
	var length [lengthSize]byte
	if _, err := m.in.full(length[:]); err != nil {
		return broken(err)
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	switch {
	case f.status == statusKeepAlive:
		return m.padding(size)
	case s == nil, s.packets && size > transport.MaxPacket:
		return m.in.skip(size)
	case s.packets:
		peer := s.peer
		if f.network != 0 {
			peer = f.peer
		}
		return m.datagram(s, peer, size)
	}
	for size > 0 {
		b, err := m.in.next()
		if err != nil {
			return broken(err)
		}
		n := s.put(b[:min(size, len(b))])
		m.in.take(n)
		size -= n
	}
	return nil
}

// datagram reads a datagram, which is copied together only if it has come in pieces.
func (m *mux) datagram(s *session, peer transport.Target, size int) error {
	if size == 0 {
		return nil
	}
	b, err := m.in.next()
	if err != nil {
		return broken(err)
	}
	if len(b) >= size {
		s.putPacket(b[:size], peer)
		m.in.take(size)
		return nil
	}
	buf := packetBuffers.Get().(*[]byte)
	defer packetBuffers.Put(buf)
	if _, err := m.in.full((*buf)[:size]); err != nil {
		return broken(err)
	}
	s.putPacket((*buf)[:size], peer)
	return nil
}

// begin opens a session. Without one and an error, it was refused.
func (m *mux) begin(f frame) (*session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.sessions[f.id]; old != nil {
		if !old.ended {
			return nil, fmt.Errorf("%w: %w", relay.ErrBadRequest, errSameSession)
		}
		// The client has ended it and forgotten it since.
		old.lose(errForgotten)
	}
	if !f.peer.IsValid() || f.network == networkUDP && !m.packets || m.begun >= maxSessions {
		return nil, m.say(frame{id: f.id, status: statusEnd, option: optionError})
	}
	s := newSession(m, f)
	m.begun++
	m.sessions[f.id] = s
	if len(m.sessions) == 1 {
		_ = m.c.SetReadDeadline(time.Time{})
	}
	var req transport.Request = muxRequest{s}
	if s.packets {
		req = muxPacketRequest{muxRequest{s}}
	}
	m.opens.Go(func() {
		m.open(req)
		s.opened()
	})
	return s, nil
}

// keep finds the session of a frame. A client that goes on with one that has ended
// is told again, if there is room: it will ask again.
func (m *mux) keep(f frame) (*session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sessions[f.id]; s != nil && !s.ended {
		return s, nil
	}
	if !f.has(optionData) || len(m.out) >= outSize {
		return nil, nil
	}
	return nil, m.say(frame{id: f.id, status: statusEnd})
}

// end is the end of what a client says in a session. When it has gone wrong, or
// says so again, it has gone: of an Xray client, a second end means that it does
// not know the session any more. What a server says of errors is always meant.
func (m *mux) end(f frame) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[f.id]
	switch {
	case s == nil:
	case s.ended:
		s.lose(errForgotten)
	case f.has(optionError) && (!m.serves() || !s.said && !s.packets):
		s.lose(errBrokenOff)
	default:
		// Behind our own end an error is only how Xray answers it.
		s.end()
	}
}

// finish ends what the client had open when it ended its direction, waits until
// the last session has been served, and lets the writing goroutine end.
func (m *mux) finish() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	for _, s := range m.sessions {
		switch {
		case s.packets:
			s.end()
		case s.ended:
		case m.serves():
			s.lose(errBrokenOff)
		default:
			s.lose(errLeft)
		}
	}
	for len(m.sessions) > 0 && m.err == nil {
		m.left.Wait()
	}
	m.done = true
	m.work.Signal()
	if m.err != nil {
		return m.err
	}
	return m.c.SetWriteDeadline(time.Now().Add(flushTime))
}

// rest gives a client without sessions its time; under mu.
func (m *mux) rest() {
	switch {
	case len(m.sessions) > 0 || m.ended:
	case m.serves():
		_ = m.c.SetReadDeadline(time.Now().Add(idleTime))
	default:
		m.restClient()
	}
}

func (m *mux) resting() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions) == 0
}

// fail ends everything with the first error that there was.
func (m *mux) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broke(err)
}

// broke is fail under mu. Whoever waits for the client is interrupted.
func (m *mux) broke(err error) {
	if m.err != nil {
		return
	}
	m.err = err
	if m.cancel != nil {
		m.cancel(err)
	}
	m.stopIdle()
	for _, s := range m.sessions {
		s.wake.Broadcast()
	}
	m.work.Broadcast()
	m.room.Broadcast()
	m.left.Broadcast()
}

func (m *mux) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}
