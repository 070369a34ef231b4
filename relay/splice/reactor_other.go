//go:build !linux

package splice

import "relay/transport"

// reactor needs epoll, which only Linux has: elsewhere every flow takes the
// portable path.
type reactor struct{}

func reactorCount() int { return 0 }

func newReactors(*Core) []*reactor { return nil }

func (*reactor) cutAll(transport.Status) {}
func (*reactor) close()                  {}

func (c *Core) react(*[2]end, Limits, Account, func(End)) Flow { return nil }
