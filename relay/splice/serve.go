package splice

import (
	"time"

	"relay/transport"
)

// Acceptor is who the connections of a listener are for. Its methods are called
// on a reactor and must not wait for anything.
type Acceptor interface {
	// Admit is shown a new connection. It closes it, or returns what to do
	// with it: serve runs as a task of the reactor, which may wait for c, for
	// what it dials with [Dial], and for nothing else, unless it says so first
	// with [transport.MayWait]. It ends by closing c or joining it, or parks
	// with [Park] or [Yield] and is called again. It starts when there is something to read, or an end, and no later than at start;
	// the zero Time means c's deadline. Until then c costs no stack.
	Admit(c transport.Conn) (serve func(), start time.Time)
	// Failed is told why nothing can be accepted, and returns how long to wait.
	Failed(err error) time.Duration
}
