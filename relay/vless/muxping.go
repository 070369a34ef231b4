package vless

import "relay/transport"

// A download that is frozen on the way looks like one whose targets say nothing. Where
// the carrier has no PING ([transport.Asked]) a keep-alive frame with data is one, whose
// data begins with pingMark; the exit answers with as much that begins with pongMark.
// To relays that know neither these are more sizes than there may be, and they say
// nothing; so nobody is expected to answer who has not done so at the beginning.
const (
	pingMark, pongMark = 0xfe, 0xff
	// leastPing and mostPing are how long a ping is. The answer is no longer: it needs
	// no allowance.
	leastPing, mostPing = leastAnswer, mostAnswer
)

// ping has the exit say something, and returns when the question was written. Without a
// session there is none: nobody waits for anything.
func (m *mux) ping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := between(leastPing, mostPing)
	if len(m.sessions) == 0 || m.done || m.err != nil || len(m.out)+maxFrameOut+n > outSize+outSpare {
		return false
	}
	m.mark(n, pingMark)
	turn := m.writes + 1
	if !m.writing.IsZero() {
		turn++ // it goes with the next one
	}
	for m.writes < turn && m.err == nil {
		m.room.Wait()
	}
	return m.err == nil
}

// greet asks whether the exit answers pings, with the first frame that goes out; under mu.
func (m *mux) greet() {
	if m.asks && !m.greeted {
		m.greeted = true
		m.mark(padHead, pingMark)
	}
}

// marked takes a ping or its answer, of size bytes of data.
func (m *mux) marked(mark byte, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.err != nil || m.done:
	case m.serves() && mark == pingMark:
		if n := min(padHead-1+size, mostPadded); m.fits(n) {
			m.mark(n, pongMark)
		}
	case !m.serves() && mark == pongMark && !m.ponged:
		m.ponged = true
		transport.AskBy(m.c, m.ping)
	}
}

// mark adds a keep-alive frame of n bytes whose data begins with one; under mu.
func (m *mux) mark(n int, mark byte) { m.keepAlive(max(n-padHead, 0), []byte{mark}) }
