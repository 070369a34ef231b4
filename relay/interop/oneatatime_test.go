package interop

import (
	"net"
	"sync"
)

// oneAtATime lets one connection of a data centre work while the others read and
// write: tgtest keeps its sessions behind two mutexes, one for those that look and one
// for who adds, and Go ends a program in which both do so at once.
type oneAtATime struct {
	net.Listener
	turn sync.Mutex
}

func (l *oneAtATime) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &takingTurns{Conn: c, turn: &l.turn}, nil
}

// takingTurns has the turn from the end of a Read or Write to the beginning of the next.
type takingTurns struct {
	net.Conn
	turn *sync.Mutex

	mu  sync.Mutex
	has bool
}

// leave ends the turn, and says whether there was one.
func (c *takingTurns) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := c.has
	if c.has = false; had {
		c.turn.Unlock()
	}
	return had
}

func (c *takingTurns) enter() {
	c.turn.Lock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.has = true
}

func (c *takingTurns) Read(b []byte) (int, error) {
	c.leave()
	n, err := c.Conn.Read(b)
	if err == nil {
		c.enter()
	}
	return n, err
}

// Write may be called by who has another connection's turn, which stays his.
func (c *takingTurns) Write(b []byte) (int, error) {
	if c.leave() {
		defer c.enter()
	}
	return c.Conn.Write(b)
}

func (c *takingTurns) Close() error {
	c.leave()
	return c.Conn.Close()
}
