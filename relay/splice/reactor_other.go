//go:build !linux

package splice

import (
	"context"
	"net"
	"net/netip"
	"time"

	"relay/transport"
)

// reactor needs epoll, which only Linux has: elsewhere every flow takes the
// portable path.
type reactor struct{}

func reactorCount() int { return 0 }

func newReactors(*Core) []*reactor { return nil }

func (*reactor) cutAll(transport.Status) {}
func (*reactor) close()                  {}
func (*reactor) trimSoon()               {}

// refusedLate cannot be known.
func (*pumped) refusedLate(transport.Status) bool { return false }

func (c *Core) react(*[2]end, Limits, Account, func(End)) Flow { return nil }

// Serve has no reactor to offer.
func (c *Core) Serve(net.Listener, Acceptor) (stop func(), ok bool) { return nil, false }

// Dial has no reactor to dial from.
func Dial(transport.Conn, netip.AddrPort, time.Duration, Leaving) (far transport.Conn, ok bool, err error) {
	return nil, false, nil
}

// CancelDial has nothing to cancel.
func CancelDial(transport.Conn) {}

// OnLeave has nobody look.
func OnLeave(transport.Conn, Leaving, context.CancelCauseFunc) (stop func()) { return func() {} }

// Park has no reactor to go on.
func Park(_, _ transport.Conn) bool { return false }

// Hold has no reactor to go on.
func Hold(transport.Conn) bool { return false }

// Resume knows no tasks.
func Resume(transport.Conn) {}

// Leave has no reactor to leave.
func Leave(transport.Conn) bool { return false }

// HasInput knows no tasks.
func HasInput(transport.Conn) bool { return false }

// Drained knows no tasks.
func Drained(transport.Conn) bool { return false }

// Gone knows no tasks.
func Gone(transport.Conn) bool { return false }

// Yield has nobody to give way to.
func Yield(transport.Conn) bool { return false }

// WaitEither has no reactor to wait on.
func WaitEither(_, _ transport.Conn) (nearFirst, ok bool, err error) { return false, false, nil }
