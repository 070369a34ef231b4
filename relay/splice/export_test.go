package splice

// BufferSize is the first read of a flow.
const BufferSize = bufferSize

// TestingReactors makes a core use n reactors; 0: everything takes the portable path.
func (c *Core) TestingReactors(n int) { c.size = n }
