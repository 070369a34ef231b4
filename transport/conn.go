package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"relay/auth"
)

// Conn is a stream whose write half closes on its own. CloseWrite tells the
// peer that no more bytes follow; reading goes on.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Holder is a Conn that can keep what is written, up to some size, to send it together:
// each write is a system call otherwise. Both are for who writes, and what Release
// returns is an error of the writes since Hold.
type Holder interface {
	Hold()
	Release() error
}

// Dialer opens streams towards targets: directly, or through an upstream relay.
type Dialer interface {
	// DialStream connects to the target. early, if any, is payload that rides
	// with the request where the protocol allows, and is written first where
	// it does not. The caller closes the Conn.
	DialStream(ctx context.Context, to Target, early []byte) (Conn, error)
}

// DirectDialer is a Dialer that may know at once where a stream would go, for
// callers that can connect by themselves.
type DirectDialer interface {
	Dialer
	// Direct returns the only address that DialStream would connect to. known
	// is false when that takes a name server, or more than connecting. The
	// error is the one of DialStream.
	Direct(to Target) (hop Hop, known bool, err error)
	// Failed turns an error of connecting into the one of DialStream.
	Failed(err error) error
}

// Hop is where to connect.
type Hop struct {
	Addr    netip.AddrPort
	Timeout time.Duration
}

// Request is what a client wants, as its inbound understood it. Exactly one of
// Accept and Deny is called, once.
type Request interface {
	// User is who asked; the zero User is anonymous.
	User() auth.User
	// Target is where the client wants to go.
	Target() Target
	// Accept tells the client that far is connected and returns the two ends
	// to join: both owned by the caller, in place of the connection that the
	// inbound opened and of far. On an error the caller closes what it had.
	// A request whose target wants a handshake calls MayWait for it, and has a
	// limit for it.
	Accept(ctx context.Context, far Conn) (near, newFar Conn, err error)
	// Deny tells the client why not, as exactly as its protocol can. It does
	// not close the connection.
	Deny(reason error) error
}

// Rerouted is a Request that may know other ways to where it leads. Its client has left
// when he has ended his direction.
type Rerouted interface {
	Request
	// Reroute is told why Target could not be reached, and reports whether it is
	// another one now, to be dialled in its place.
	Reroute(reason error) bool
	// Patience is how long dialling Target may take; 0: as long as the dialer lets it.
	Patience() time.Duration
	// Learns returns what is told, when all is over, how many bytes went to Target and
	// came from it. It keeps nothing of the request and does not block.
	Learns() func(up, down int64)
}

// Unproven is a Conn that is there before its target has been reached, as a stream
// through another relay is: what comes shows whether it can be.
type Unproven interface {
	// Prove has f called once: with nil when the first bytes come, or with the error of
	// the read that has found an end in their place. Neither comes where the connection
	// is lost on its way or was ended from here. f must not block.
	Prove(f func(error))
}

// Detachable is a layered Conn that can let go of the connection below: Detach
// hands it over, with what the layer still does to its bytes (nil: nothing any
// more) and the payload already decoded and not yet read. The layer must not be
// used afterwards. A layer that cannot let go returns itself.
type Detachable interface {
	Detach() (below Conn, codec Codec, unread []byte)
}

// ReadWaiter is a Conn that can wait for bytes without a buffer to put them in.
// It returns nil at the end of the stream and after a reset too: the Read that
// follows tells.
type ReadWaiter interface {
	WaitRead() error
}

// Notifier is a Conn that no goroutine has to wait for.
type Notifier interface {
	// Notify calls f once, in a goroutine of its own, when there is something to read
	// or nothing will be.
	Notify(f func())
	// SetReadDeadline is that of net.Conn; one that is past ends a wait, behind which
	// reading can go on.
	SetReadDeadline(time.Time) error
}

// Asked is a Conn that has no way of its own to ask the far end whether it lives: who
// speaks through it has.
type Asked interface {
	// AskBy says how. ask has the far end say something, returns when the question was
	// written, and reports whether there was one.
	AskBy(ask func() bool)
}

// AskBy calls that of c, or of a connection below it, if one is [Asked].
func AskBy(c Conn, ask func() bool) {
	for {
		switch v := c.(type) {
		case Asked:
			v.AskBy(ask)
			return
		case interface{ Below() Conn }:
			c = v.Below()
		default:
			return
		}
	}
}

// Host is a Conn that is served by goroutines of its own, which would only wait for
// whoever moves its bytes.
type Host interface {
	// Lend runs f, which reads from the connection until that ends, or writes to
	// it as long, in such a goroutine. false: there is none.
	Lend(reads bool, f func()) bool
}

// Lend runs f in a goroutine of c, or of a connection below it, if one is a [Host],
// and in a new one otherwise, and reports which. It does not wait.
func Lend(c Conn, reads bool, f func()) (lent bool) {
	for {
		switch v := c.(type) {
		case Host:
			if v.Lend(reads, f) {
				return true
			}
			c = nil
		case interface{ Below() Conn }:
			c = v.Below()
		default:
			go f()
			return false
		}
	}
}

// MayWait tells a connection that whoever serves it is about to wait for other
// things: a disk, a name server, a clock. Some connections are served by code
// that shares a thread with others, and move out of their way here. It is cheap
// where nothing has to be done. After an error the connection is of no more use.
func MayWait(c Conn) error {
	for {
		switch v := c.(type) {
		case interface{ MayWait() error }:
			return v.MayWait()
		case interface{ Below() Conn }:
			c = v.Below()
		default:
			return nil
		}
	}
}

// Interrupt makes whoever serves c give up: what it waits for on c, and whatever
// it tries afterwards, fails with net.ErrClosed; the peer may see a reset already.
// It is for others than the one who serves c and closes it, and may hold their locks: a
// layer that tells somebody when it is closed has an Interrupt that does not.
func Interrupt(c Conn) {
	for {
		switch v := c.(type) {
		case interface{ Interrupt() }:
			v.Interrupt()
			return
		case interface{ SetLinger(sec int) error }:
			_ = Abort(c)
			return
		case interface{ Below() Conn }:
			c = v.Below()
		default:
			_ = Abort(c)
			return
		}
	}
}

// ErrTooLong says that a peer's opening is longer than the limit for it.
var ErrTooLong = errors.New("opening is longer than allowed")

// Abort closes c so that a TCP peer sees a reset, not an orderly end. It closes
// the connection below all layers that have a Below method, and not the layers:
// what a layer holds, it must let go of when reading or writing fails.
func Abort(c Conn) error {
	for {
		switch v := c.(type) {
		case interface{ SetLinger(sec int) error }:
			_ = v.SetLinger(0)
			return c.Close()
		case interface{ Below() Conn }:
			c = v.Below()
		default:
			return c.Close()
		}
	}
}
