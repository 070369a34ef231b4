package transport

import (
	"context"
	"errors"

	"relay/auth"
)

// Verdict is an answer to the first bytes of a connection.
type Verdict int

// The verdicts.
const (
	No   Verdict = iota // not this protocol
	Yes                 // this protocol, whatever follows
	More                // could be: show me more bytes
)

// ErrNotOurs is how the server of a disguise, or an inbound, says that a
// connection is nobody's that it knows. It has read nothing from it then, and
// written nothing: the connection goes on as if it had never been asked.
var ErrNotOurs = errors.New("not ours")

// Server is the server half of a disguise.
type Server interface {
	// Name is the word for the disguise in the configuration.
	Name() string
	// Match judges the first bytes of a connection by their form. It is pure:
	// the same prefix has the same verdict, and a longer one never takes a Yes
	// or No back. Yes says that Serve can decide on these bytes alone.
	Match(prefix []byte) Verdict
	// Serve returns ErrNotOurs without having waited for anything, or owns raw
	// until it returns, and calls sink once for each stream that it carries,
	// concurrently if it likes. Any other error says how the connection ended;
	// the caller closes what sink has not taken over.
	Serve(ctx context.Context, raw *Peeked, sink Sink) error
}

// Sink takes what a Server has unwrapped.
type Sink interface {
	// Stream takes a stream over and closes it; which inbound is for it has
	// still to be found inside. user is who the carrier proved the client to
	// be; the zero User is nobody. It returns when the stream has been handed
	// to the splice core, or has ended.
	Stream(ctx context.Context, user auth.User, c Conn) error
}

// Guest is a connection in a web site's hands, as whoever gave it away sees it.
// Its methods are called by any goroutine, and must not block.
type Guest interface {
	// Claimed says whose the first request on it was that was for a carrier in
	// the site. It is called once at most.
	Claimed(user auth.User)
	// Answered says that the visitor has said more after what he was first sent: it
	// is no half handshake any more. It is called once at most.
	Answered()
	// Borrow asks for another descriptor, beside the connection's own and that of one
	// answer: for what a second answer at the same time comes from, or for as much memory
	// as an answer takes. False: there is none to be had. Whoever was given one gives it
	// back with Return.
	Borrow() bool
	Return()
	// Closed says that it is closed, after so many bytes. It is called once.
	Closed(up, down int64)
}
