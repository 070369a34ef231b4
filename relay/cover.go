package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"relay/relay/splice"
	"relay/transport"
	"relay/transport/hello"
)

// Cover is what a stranger sees: a web site in this process, or any server.
type Cover struct {
	// Site, if not nil, takes a stranger over, closes him some time and says so to
	// g; it does not wait for that. What was peeked at is unread; began is when the
	// connection was accepted, which is when a web server's clocks start.
	Site func(c transport.Conn, began time.Time, g transport.Guest)
	// Refuse, if not nil, is Site for a stranger who is answered without waiting for
	// anything; ended says that he will say no more. False: he is not, and nothing has
	// been touched.
	Refuse func(c *transport.Peeked, ended bool, began time.Time, g transport.Guest) bool
	// Target and Dialer are where strangers are taken without a Site.
	Target transport.Target
	Dialer transport.Dialer
	// Header, if not nil, is what the server is told about a client in front of
	// its bytes, such as a PROXY protocol header.
	Header func(client, local net.Addr) []byte
	// Connections is how many strangers there may be at once; 0: no limit.
	Connections int
	// Handshakes is how many of them may be at the beginning of TLS with Site while
	// others wait for their turn, on a reactor; 0: no limit.
	Handshakes int
	// Early is how many of the connections to it there may be that nobody knows
	// to be needed; 0: none are made. See strangersClock.
	Early int
}

const (
	// strangersClock is how long after accept a stranger's bytes have to reach
	// the cover, though nobody knows yet whose they are: its time-outs run from
	// there. A user's hello comes right behind the handshake of TCP.
	strangersClock = 20 * time.Millisecond
	// pieceTime is what the cover gets to read the beginning of a hello before it
	// is sent the rest.
	pieceTime = time.Millisecond
	// strangerIdle ends strangers whose cover does not end them.
	strangerIdle = 2 * time.Hour
	// coverAsk is how long after its end the cover is asked whether its socket is
	// still there: less than any system keeps one, long enough for most strangers
	// to be gone.
	coverAsk = 8 * time.Second
)

var (
	errNotOurs = errors.New("no inbound knows this connection")
	// errStranger is what waiting for more bytes ends with when the cover has
	// something to say to what it was shown.
	errStranger = errors.New("the cover answered first")
	errCrowded  = errors.New("too many strangers")
	// errParked ends a visit for now: it is taken up where it was when there is
	// more to see, and has no stack until then.
	errParked = errors.New("parked")
	// errTaken ends a visit that the site goes on with.
	errTaken = errors.New("taken")
)

// visit is a connection on its route, up to the verdict.
type visit struct {
	conn  *conn
	p     *transport.Peeked
	cover *Cover
	rest  []Candidate // who has not said No; the first one wants to see more

	lost  bool           // nobody's: the cover's
	ended bool           // he has said all that he will
	taken bool           // counted as a stranger
	held  bool           // had to wait for his turn with the site
	late  bool           // the cover's clock has struck
	early bool           // the cover has been dialled, or that was not allowed
	far   transport.Conn // to the cover; nil: not dialled, or dropped
	fed   int            // how much of what is unread the cover has
	watch *watch         // of far, where there is no reactor
}

// more waits for n unread bytes. The cover's clock starts with the stranger's:
// without them in time the cover is dialled, and shown every byte as it comes.
func (v *visit) more(n int) error {
	if v.cover == nil || v.cover.Site != nil {
		return v.peek(n)
	}
	limit := v.conn.began.Add(v.conn.set.limits.Handshake)
	if !v.late {
		if err := v.p.SetReadDeadline(v.conn.began.Add(min(strangersClock, v.conn.set.limits.Handshake))); err != nil {
			return err
		}
		err := v.peek(n)
		if err == errParked {
			return err
		}
		// Also for whoever said enough: a user's round trip may be longer.
		if e := v.p.SetReadDeadline(limit); e != nil {
			return e
		}
		if !isTimeout(err) {
			return err
		}
		if splice.HasInput(v.p) {
			return v.peek(n) // it is we who are late
		}
		v.late = true
		if splice.Yield(v.p) {
			v.p.Shrink() // in a flood it is long until his turn
			return errParked
		}
	}
	if !v.early {
		if splice.HasInput(v.p) {
			return v.peek(n)
		}
		v.dialEarly()
	}
	if v.far == nil {
		return v.peek(n)
	}
	if err := v.feed(); err != nil {
		return errStranger // reading from the cover tells the rest
	}
	if splice.Park(v.p, v.far) {
		v.p.Shrink()
		return errParked
	}
	if err := v.wait(); err != nil {
		return err
	}
	return v.peek(n)
}

// peek waits for n unread bytes, with a stack or without.
func (v *visit) peek(n int) error {
	if splice.Park(v.p, nil) {
		v.p.Shrink()
		return errParked
	}
	_, err := v.p.Peek(n)
	return err
}

// dialEarly connects to the cover for whom it may not be. A cover that cannot be
// reached is a stranger's to see, not a user's.
func (v *visit) dialEarly() {
	v.early = true
	s := v.conn.srv
	if s.early.Add(1) > int64(v.cover.Early) {
		s.early.Add(-1)
		return
	}
	far, err := v.dial()
	if err != nil {
		s.early.Add(-1)
		return
	}
	v.far = far
}

// dial connects to the cover and says who comes.
func (v *visit) dial() (transport.Conn, error) {
	far, err := v.conn.dial(v.cover.Dialer, v.cover.Target, 0, splice.Never)
	if err != nil {
		return nil, err
	}
	// Until it is joined: a cover that takes nothing must not hold an opening.
	if err := far.SetDeadline(time.Now().Add(v.conn.set.limits.Handshake)); err != nil {
		_ = far.Close()
		return nil, err
	}
	if v.cover.Header == nil {
		return far, nil
	}
	client := v.conn.client
	if client == nil {
		client = v.p.RemoteAddr()
	}
	if _, err := far.Write(v.cover.Header(client, v.p.LocalAddr())); err != nil {
		_ = far.Close()
		return nil, err
	}
	return far, nil
}

// feed shows the cover what it has not seen yet.
func (v *visit) feed() error {
	n, err := v.far.Write(v.p.Unread()[v.fed:])
	v.fed += n
	return err
}

// feedPieces shows a cover that has not seen anything what came before the last
// piece. Whoever reads ahead takes the rest in other reads than if all were there
// at once, and leaves other bytes in its socket when it gives up: with OpenSSL a
// reset becomes an end.
func (v *visit) feedPieces(far transport.Conn) {
	pieces := v.p.Reads()
	n := len(v.p.Unread()) - pieces[len(pieces)-1]
	if n == 0 || v.p.SetDeadline(time.Now().Add(pieceTime)) != nil {
		return
	}
	// An error is for reading from the cover to tell.
	v.fed, _ = far.Write(v.p.Unread()[:n])
	if _, ok, _ := splice.WaitEither(v.p, far); !ok {
		time.Sleep(pieceTime)
	}
}

// wait waits for the visitor, or for the cover: that is errStranger.
func (v *visit) wait() error {
	nearFirst, ok, err := splice.WaitEither(v.p, v.far)
	switch {
	case !ok:
		if v.watch == nil {
			v.watch = watchFar(v.far, v.p)
		}
		return v.watch.wait(v.p, v.conn.began.Add(v.conn.set.limits.Handshake))
	case err != nil:
		return err
	case !nearFirst:
		return errStranger
	}
	return nil
}

// drop leaves the cover, unanswered.
func (v *visit) drop() {
	if v.far != nil {
		_ = v.leaveFar().Close()
	}
}

// leaveFar ends what is counted and watched of far, which is still open: whoever watches
// would take our own end of it for the cover's answer.
func (v *visit) leaveFar() (far transport.Conn) {
	far, v.far = v.far, nil
	v.conn.srv.early.Add(-1)
	if v.watch != nil {
		v.watch.stop()
		v.watch = nil
		// It may have answered just now, when nobody asked any more.
		_ = v.p.SetReadDeadline(v.conn.began.Add(v.conn.set.limits.Handshake))
	}
	return far
}

// unknown ends a route on which no more bytes came. Whoever ends in order before
// anybody knows him, or waits too long, is a stranger; a reset is passed on.
func (v *visit) unknown(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		v.ended = true
		return v.stranger()
	case isTimeout(err), errors.Is(err, transport.ErrTooLong), err == errStranger:
		return v.stranger()
	}
	if v.far != nil {
		_ = transport.Abort(v.leaveFar())
	}
	return err
}

// stranger takes the connection to the cover, with every byte that it has sent,
// and the core mirrors how each side ends. Users go first: many strangers at once
// must not keep them waiting.
func (v *visit) stranger() error {
	c := v.conn
	if v.cover == nil {
		return errNotOurs
	}
	if !v.lost {
		// A flood of hellos fills the cover, so most of it is refused: at once, and
		// not when it has waited for its turn, at 5 kB each. Junk comes and goes.
		if hello.Match(v.p.Unread()) == Yes && !v.enter() {
			return errCrowded
		}
		if v.lost = true; splice.Yield(v.p) {
			return errParked
		}
	}
	if !v.enter() {
		return errCrowded
	}
	err := v.toCover()
	switch err {
	case nil, errTaken, errParked:
	default:
		c.srv.shaking.leave(c)
		c.srv.strangers.Add(-1)
	}
	return err
}

// enter counts a stranger, once; false: there are too many.
func (v *visit) enter() bool {
	c := v.conn
	if v.taken {
		return true
	}
	if n := c.srv.strangers.Add(1); v.cover.Connections > 0 && n > int64(v.cover.Connections) && !c.srv.displace(c) {
		c.srv.strangers.Add(-1)
		return false
	}
	v.taken = true
	return true
}

func (v *visit) toCover() error {
	c := v.conn
	if v.cover.Site != nil {
		return v.toSite()
	}
	var far transport.Conn
	if v.far != nil {
		far = v.leaveFar()
	} else {
		var err error
		if far, err = v.dial(); err != nil {
			return coverError{err}
		}
		v.feedPieces(far)
	}
	v.p.Discard(v.fed)
	// A deadline that has come must not keep anything of what is there.
	err := c.allow()
	if err == nil {
		err = v.gather()
	}
	if err == nil {
		err = v.spill(far)
	}
	if err != nil {
		_ = transport.Abort(far)
		return err
	}
	if err := errors.Join(v.p.SetDeadline(time.Time{}), far.SetDeadline(time.Time{})); err != nil {
		_ = far.Close()
		return err
	}
	if !c.srv.sources.join(c) {
		_ = transport.Abort(far)
		return errEvicted
	}
	c.srv.settled.enter(c)
	c.srv.stats.strangersUp.Add(int64(v.fed)) // the core knows the rest
	near := c.near
	c.srv.handOver(c)
	flow := c.srv.splice.Join(near, far, splice.Limits{Idle: strangerIdle, Fin: strangerIdle, Ask: coverAsk}, nil, c.strangerEnded)
	c.cut.arm(func(error) { flow.Cut(transport.OverLimit) })
	return nil
}

// gather reads what has come in the meantime, so that the cover has it all when it
// closes: with something unread it resets.
func (v *visit) gather() error {
	for splice.HasInput(v.p) && len(v.p.Unread()) < transport.MaxPeek {
		if _, err := v.p.Peek(len(v.p.Unread()) + 1); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil // the core will read it again
			}
			return err
		}
	}
	return nil
}

// strangerEnded is the end of a connection that the cover had.
func (c *conn) strangerEnded(e splice.End) {
	c.srv.settled.leave(c)
	c.srv.strangers.Add(-1)
	c.srv.stats.strangersUp.Add(e.Up)
	c.srv.stats.strangersDown.Add(e.Down)
	c.authenticated() // out of its source's count, where it was until here
	e.Status = transport.NotOurs
	c.ended(e)
}

// coverError marks what kept a stranger from the cover.
type coverError struct{ error }

func (e coverError) Error() string { return fmt.Sprintf("cover: %v", e.error) }

func (e coverError) Unwrap() error { return e.error }
