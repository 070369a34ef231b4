package web

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// earlyTime is how long a session lives that has an uplink and no downlink.
	earlyTime = 30 * time.Second
	// mostEarly bounds such sessions, of one user and of all.
	mostEarlyOfUser = 64
	mostEarlyOfAll  = 4096
	// mostLateOfUser is how many of them may begin with another piece than the
	// first.
	mostLateOfUser = mostEarlyOfUser / 2
	// mostEnded is how many sessions are remembered that have ended.
	mostEnded = 4096
)

var (
	errExpired = errors.New("nobody asked for the downlink of the session")
	errCrowded = errors.New("too many sessions without a downlink")
	errEnded   = errors.New("the session has ended")
)

// sessionKey names a session. Nobody can name that of another user.
type sessionKey struct {
	user uint64
	id   string
}

// session is a stream whose uplink and downlink are different requests.
type session struct {
	key       sessionKey
	queue     *queue
	connected bool        // it has a downlink
	expiry    *time.Timer // until then
}

// sessions are all of a handler.
type sessions struct {
	held  atomic.Int64 // by the queues
	mu    sync.Mutex
	all   map[sessionKey]*session
	early map[uint64]int // by user; those without a downlink
	wait  int            // their sum
	// Clients go on with the pieces of a session that has ended. They must not begin
	// another one: its pieces would wait for a downlink, with the window of their
	// connection.
	ended map[sessionKey]bool
	order []sessionKey // of ended, a ring
	at    int          // where its oldest is, once it is full
}

func newSessions() *sessions {
	return &sessions{all: make(map[sessionKey]*session), early: make(map[uint64]int), ended: make(map[sessionKey]bool)}
}

// uplink returns the session for a request that brings some of its uplink, from
// its beginning or not.
func (t *sessions) uplink(key sessionKey, first bool) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.all[key]; s != nil {
		return s, nil
	}
	if t.ended[key] {
		return nil, errEnded
	}
	most := mostEarlyOfUser
	if !first {
		most = mostLateOfUser
	}
	if t.early[key.user] >= most || t.wait >= mostEarlyOfAll {
		return nil, errCrowded
	}
	s := t.add(key)
	t.early[key.user]++
	t.wait++
	s.expiry = time.AfterFunc(earlyTime, func() { t.expire(s) })
	return s, nil
}

// downlink returns the session for the request that wants its downlink.
func (t *sessions) downlink(key sessionKey) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all[key]
	switch {
	case t.ended[key] || s != nil && s.connected:
		return nil, errTwice
	case s == nil:
		s = t.add(key)
	default:
		t.arrived(s)
	}
	s.connected = true
	s.queue.reader()
	return s, nil
}

func (t *sessions) add(key sessionKey) *session {
	s := &session{key: key, queue: newQueue(&t.held)}
	t.all[key] = s
	return s
}

// arrived is the end of a session's time without a downlink; under mu.
func (t *sessions) arrived(s *session) {
	s.expiry.Stop()
	t.wait--
	if t.early[s.key.user]--; t.early[s.key.user] == 0 {
		delete(t.early, s.key.user)
	}
}

func (t *sessions) expire(s *session) {
	t.mu.Lock()
	if s.connected || t.all[s.key] != s {
		t.mu.Unlock()
		return
	}
	t.arrived(s)
	t.end(s)
	t.mu.Unlock()
	_ = s.queue.fail(errExpired)
}

// remove forgets a session that has ended.
func (t *sessions) remove(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[s.key] == s {
		t.end(s)
	}
}

// end remembers that a session has ended; under mu.
func (t *sessions) end(s *session) {
	delete(t.all, s.key)
	if len(t.order) < mostEnded {
		t.order = append(t.order, s.key)
	} else {
		delete(t.ended, t.order[t.at])
		t.order[t.at] = s.key
		t.at = (t.at + 1) % mostEnded
	}
	t.ended[s.key] = true
}
