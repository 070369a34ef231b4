package web

import (
	"time"

	"relay/transport"
	"relay/transport/websocket"
)

// socketLook is how often a WebSocket is looked at. What came is known no better than
// that, and all of it has to be less than five seconds: see watch.go.
const socketLook = lookEach / 2

// watch looks after a WebSocket until it is closed, as that of a carrier does.
func (s *socketConn) watch(conn *connected) {
	look := time.NewTicker(socketLook)
	defer look.Stop()
	m, heard, sent := conn.meter, int64(0), int64(0)
	at, quiet := time.Now(), quietTime
	for {
		select {
		case <-s.done:
			return
		case <-s.client.ctx.Done():
			return
		case <-look.C:
		}
		if n := m.up.Load(); n != sent {
			sent, quiet = n, quietTime
		}
		if n := m.down.Load(); n != heard {
			heard, at, quiet = n, time.Now(), quietTime
		}
		if !s.reading.Load() {
			at = time.Now() // the silence is ours: a program here takes nothing
			continue
		}
		if time.Since(at) < quiet {
			continue
		}
		if !s.ask(conn) {
			s.frozen.Store(true)
			s.client.log.Debug("carrier frozen", "down", m.down.Load())
			_ = transport.Abort(conn)
			return
		}
		// An answer to that is no news.
		heard, sent, at = m.down.Load(), m.up.Load(), time.Now()
		quiet = min(2*quiet, mostQuiet)
	}
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
