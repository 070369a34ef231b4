package relay

import "sync"

// cutter passes a cut on to whatever can end the connection at the moment:
// first its dialling, later the flow.
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
	if f != nil {
		f(why)
	}
}

// or is why the connection was cut, or err if it was not.
func (c *cutter) or(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != nil {
		return c.why
	}
	return err
}
