package vless

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"relay/relay"
	"relay/transport"
)

const (
	// clientQueue is how much of a session waits for whoever reads it, in any case.
	clientQueue = 512 << 10
	// clientIdle is how long a client's stream has no session: Xray's has 16 to
	// 32 s, our server would wait a minute.
	clientIdle = 30 * time.Second
	// clientLife is how many sessions a client's stream has in its life, as in
	// Xray (app/proxyman/outbound/handler.go): a connection that goes on for ever
	// is a mark.
	clientLife = 128
	// busyTime is for how long a write may go on before sessions begin elsewhere, until
	// calmTime after it: the next one may wait as well. mostSpread is how many streams
	// a dialer has for such reasons.
	busyTime   = 300 * time.Millisecond
	calmTime   = 5 * time.Second
	mostSpread = 4
)

// newClientMux is a client's end of the stream c, whose opening waits for the first
// frame; sessions wait for their first payload.
func newClientMux(c transport.Conn, wait time.Duration, ahead *atomic.Int64) *mux {
	m := newMux(c, ahead)
	m.limit, m.wait, m.life = clientQueue, wait, clientLife
	return m
}

// ask begins a session, unless there are max of them or it would be one too many. The
// target hears of it with the first payload.
func (m *mux) ask(to transport.Target, max int) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil || m.ended || m.begun >= max || m.asked >= m.life {
		return nil
	}
	m.asked++
	s := newSession(m, frame{id: uint16(m.asked), network: networkTCP, peer: to})
	s.unasked, s.answered, s.served = true, true, true
	m.begun++
	m.sessions[s.id] = s
	m.stopIdle()
	return s
}

// busy reports whether a new session would have to wait for others: for one that nobody
// reads, here or at the exit, or for a long write.
func (m *mux) busy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.full; s != nil && s.waits.size < m.limit {
		m.full = nil
	}
	return m.full != nil || !m.writing.IsZero() && time.Since(m.writing) > busyTime || time.Since(m.waited) < calmTime
}

func (m *mux) stopIdle() {
	if m.idle != nil {
		m.idle.Stop()
	}
}

// restClient gives a stream without sessions its time; under mu.
func (m *mux) restClient() {
	after := clientIdle
	if m.asked >= m.life {
		after = 0
	}
	m.stopIdle()
	m.idle = time.AfterFunc(after, m.retire)
}

// retire ends a stream that has no sessions. Those that want to begin meet either
// what ended or what goes on.
func (m *mux) retire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sessions) > 0 || m.ended {
		return
	}
	m.ended = true
	_ = m.c.SetReadDeadline(time.Unix(1, 0))
}

// errUnanswered is how an exit says that it does not know the user.
var errUnanswered = fmt.Errorf("vless: the exit ends the stream without an answer, and may not know the user: %w", io.ErrUnexpectedEOF)

// blame says of an error of a client's stream whose it is: no target is behind what is no
// frame, nor behind an end before the answer, which comes with the first of all sessions.
func (m *mux) blame(err error) error {
	d, ok := m.c.(*dialed)
	switch {
	case m.serves() || errors.Is(err, transport.ErrCarrier):
		return err
	case errors.Is(err, relay.ErrBadRequest):
		return fmt.Errorf("%w: %w", transport.ErrUnsound, err)
	case ok && d.got == 0 && errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", transport.ErrUnsound, errUnanswered)
	}
	return err
}

// next is the next frame with data of a session; under mu.
func (s *session) next() frame {
	if !s.unasked {
		return frame{id: s.id, status: statusKeep}
	}
	s.unasked = false
	if s.soon != nil {
		s.soon.Stop()
	}
	s.m.greet()
	return frame{id: s.id, status: statusNew, network: networkTCP, peer: s.peer}
}

// askAlone begins a session without payload, unless that has come meanwhile.
func (s *session) askAlone() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.unasked && s.live() && !s.closed {
		s.tell(s.next())
	}
}
