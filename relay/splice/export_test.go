package splice

// BufferSize is the first read of a flow.
const BufferSize = bufferSize

// TestingReactors makes a core use n reactors; 0: everything takes the portable path.
func (c *Core) TestingReactors(n int) { c.size = n }

// TestingRestless makes reactors pass their pairs to each other all the time.
func (c *Core) TestingRestless() { c.size, c.restless = 3, true }
