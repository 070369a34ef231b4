package h2

// BudgetLeft is what is left of b.
func BudgetLeft(b *Budget) int64 { return b.left.Load() }

// Credit is what the peer of c may send.
func Credit(c *Conn) int64 { return c.in.window.Load() }
