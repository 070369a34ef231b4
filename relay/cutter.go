package relay

import "sync"

// cutter passes a cut on to whatever can end the connection at the moment:
// first the context of its dialling, later the flow.
type cutter struct {
	mu  sync.Mutex
	why error
	f   func(error)
}

// arm sets what to call; if the cut has come already, f is called now.
func (c *cutter) arm(f func(error)) {
	c.mu.Lock()
	c.f = f
	why := c.why
	c.mu.Unlock()
	if why != nil {
		f(why)
	}
}

func (c *cutter) cut(why error) {
	c.mu.Lock()
	c.why = why
	f := c.f
	c.mu.Unlock()
	f(why)
}
