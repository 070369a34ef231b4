package browser

import (
	"sync"
	"time"

	utls "github.com/refraction-networking/utls"
)

const (
	// ticketsPerName and ticketLife are Chromium's: each ticket is used once, the
	// newest first, and none after two days, whatever the server says.
	ticketsPerName = 2
	ticketLife     = 48 * time.Hour
	// maxNames bounds what is remembered: an entry has a handful of exits.
	maxNames = 64
	// maxTicket bounds what a server can put into our next hello.
	maxTicket = 2 << 10
)

// Sessions remembers the tickets of servers, so that a repeat visit resumes as
// a browser's does. The zero value is ready; it may be used concurrently. It is
// in memory only. Every certificate is judged again when its session resumes.
type Sessions struct {
	mu    sync.Mutex
	names map[string][]ticket
}

type ticket struct {
	state *utls.ClientSessionState
	until time.Time
}

// take returns the newest ticket for name and forgets it.
func (s *Sessions) take(name string) *utls.ClientSessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.names[name]
	if len(list) == 0 {
		return nil
	}
	newest := list[len(list)-1]
	if list = list[:len(list)-1]; len(list) == 0 || time.Now().After(newest.until) {
		delete(s.names, name)
	} else {
		s.names[name] = list
	}
	if time.Now().After(newest.until) {
		return nil
	}
	return newest.state
}

// add keeps a ticket.
func (s *Sessions) add(name string, state *utls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = make(map[string][]ticket)
	}
	if _, known := s.names[name]; !known && len(s.names) >= maxNames {
		s.forgetOldest()
	}
	list := append(s.names[name], ticket{state, time.Now().Add(ticketLife)})
	s.names[name] = list[max(0, len(list)-ticketsPerName):]
}

// drop forgets the tickets for name.
func (s *Sessions) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
}

func (s *Sessions) forgetOldest() {
	var oldest string
	var until time.Time
	for name, list := range s.names {
		if u := list[len(list)-1].until; oldest == "" || u.Before(until) {
			oldest, until = name, u
		}
	}
	delete(s.names, oldest)
}

// cache is what the library sees of Sessions in one connection. The library's own
// key is the name in the hello, which may be none.
type cache struct {
	s     *Sessions
	name  string
	retry bool // the server asked for another hello
}

// Get implements the library's cache.
func (c *cache) Get(string) (*utls.ClientSessionState, bool) {
	state := c.s.take(c.name)
	return state, state != nil
}

// Put implements the library's cache; nil says that a session was of no use.
func (c *cache) Put(_ string, state *utls.ClientSessionState) {
	if state == nil {
		c.s.drop(c.name)
		return
	}
	ticket, _, err := state.ResumptionState()
	if err == nil && len(ticket) <= maxTicket && !c.retry {
		c.s.add(c.name, state)
	}
}
