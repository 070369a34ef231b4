package web

import (
	"time"

	"relay/transport"
	"relay/transport/websocket"
)

// socketLook is how often a WebSocket is looked at. What came is known no better than
// that, and all of it has to be less than five seconds: see watch.go.
const socketLook = lookEach / 2

// silence is for how long nothing has come, on what is looked at now and then.
type silence struct {
	heard, sent int64
	at          time.Time
	quiet       time.Duration
}

func newSilence() silence { return silence{at: time.Now(), quiet: quietTime} }

// long reports whether it is time to ask. Where nobody reads, the silence is ours: a
// program here takes nothing.
func (s *silence) long(heard, sent int64, reading bool) bool {
	if sent != s.sent {
		s.sent, s.quiet = sent, quietTime
	}
	if heard != s.heard {
		s.heard, s.at, s.quiet = heard, time.Now(), quietTime
	}
	if !reading {
		s.at = time.Now()
	}
	return time.Since(s.at) >= s.quiet
}

// answered begins a longer one. An answer is no news.
func (s *silence) answered(heard, sent int64) {
	s.heard, s.sent, s.at = heard, sent, time.Now()
	s.quiet = min(2*s.quiet, mostQuiet)
}

// watch looks after a WebSocket until it is closed, as that of a carrier does.
func (s *socketConn) watch(conn *connected) {
	look := time.NewTicker(socketLook)
	defer look.Stop()
	m, quiet := conn.meter, newSilence()
	for {
		select {
		case <-s.done:
			return
		case <-s.client.ctx.Done():
			return
		case <-look.C:
		}
		s.client.lift(m.down.Load())
		if !quiet.long(m.down.Load(), m.up.Load(), s.reading.Load()) {
			continue
		}
		if !s.ask(conn) {
			s.freeze(conn)
			return
		}
		quiet.answered(m.down.Load(), m.up.Load())
	}
}

// freeze gives a WebSocket up, and keeps after how much.
func (s *socketConn) freeze(conn *connected) {
	c, down := s.client, conn.meter.down.Load()
	s.frozen.Store(true)
	c.mu.Lock()
	c.learn(down)
	c.mu.Unlock()
	c.log.Debug("carrier frozen", "down", down)
	_ = transport.Abort(conn)
}

// ask sends a ping, and reports whether anything moves.
func (s *socketConn) ask(conn *connected) bool {
	before, left := conn.meter.down.Load(), unsent(conn.meter.Conn)
	// Who writes a long frame is in front of it; that may be for as long as the
	// connection lives.
	s.client.tasks.Go(func() { _, _ = conn.Write(websocket.AppendPing(nil)) })
	look := time.NewTicker(answerWait / 16)
	defer look.Stop()
	for until := time.Now().Add(answerWait); ; {
		select {
		case <-s.done:
			return true
		case <-s.client.ctx.Done():
			return true
		case <-look.C:
		}
		switch {
		case conn.meter.down.Load() != before, !s.reading.Load():
			return true
		case time.Now().Before(until):
			continue
		}
		// What is in front of the ping may take longer on a slow line, and nobody
		// answers that.
		rest := unsent(conn.meter.Conn)
		if rest == 0 || rest >= left {
			return false
		}
		left, until = rest, time.Now().Add(answerWait)
	}
}
