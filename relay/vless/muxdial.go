package vless

import (
	"time"

	"relay/auth"
	"relay/transport"
)

const (
	// clientQueue is how much of a session waits for whoever reads it. A full one
	// holds up the whole stream, as there are no windows, so it is worth more than
	// memory.
	clientQueue = 512 << 10
	// clientIdle is how long a client's stream has no session: Xray's has 16 to
	// 32 s, our server would wait a minute.
	clientIdle = 30 * time.Second
	// clientLife is how many sessions a client's stream has in its life, as in
	// Xray (app/proxyman/outbound/handler.go): a connection that goes on for ever
	// is a mark.
	clientLife = 128
)

// newClientMux is a client's end of the stream c, whose opening waits for the first
// frame; sessions wait for their first payload.
func newClientMux(c transport.Conn, wait time.Duration) *mux {
	m := newMux(c, auth.User{}, false, nil)
	m.limit, m.wait = clientQueue, wait
	return m
}

// ask begins a session, unless there are max of them or it would be one too many. The
// target hears of it with the first payload.
func (m *mux) ask(to transport.Target, max int) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil || m.ended || m.begun >= max || m.asked == clientLife {
		return nil
	}
	m.asked++
	s := newSession(m, frame{id: m.asked, network: networkTCP, peer: to})
	s.unasked, s.answered, s.served = true, true, true
	m.begun++
	m.sessions[s.id] = s
	m.stopIdle()
	return s
}

func (m *mux) stopIdle() {
	if m.idle != nil {
		m.idle.Stop()
	}
}

// restClient gives a stream without sessions its time; under mu.
func (m *mux) restClient() {
	after := clientIdle
	if m.asked == clientLife {
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

// next is the next frame with data of a session; under mu.
func (s *session) next() frame {
	if !s.unasked {
		return frame{id: s.id, status: statusKeep}
	}
	s.unasked = false
	if s.soon != nil {
		s.soon.Stop()
	}
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
