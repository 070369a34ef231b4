package splice

import "time"

// BufferSize is the first read of a flow.
const BufferSize = bufferSize

// TestingReactors makes a core use n reactors; 0: everything takes the portable path.
func (c *Core) TestingReactors(n int) { c.size = n }

// TestingRestless makes reactors pass their pairs to each other all the time.
func (c *Core) TestingRestless() { c.size, c.restless = 3, true }

// TestingParking makes a core park whatever is on the portable path all the time.
func (c *Core) TestingParking() {
	c.sweeper.tick, c.sweeper.after = min(c.tick, 5*time.Millisecond), 0
}
