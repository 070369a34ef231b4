package relaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/auth"
	"relay/transport"
)

// Opener is one inbound of one listener, as [Inbound] sees it. The suite
// does not import package relay, so that the tests of everything below it can
// use this package: Match and Open are the methods of a relay.Inbound, with the
// Verdict as an int.
type Opener struct {
	Match func(prefix []byte) int
	Open  func(ctx context.Context, user auth.User, c *transport.Peeked) (transport.Request, error)
}

// The values of relay.Verdict.
const (
	no = iota
	yes
	more
)

// Samples is what the suite has to know about an inbound.
type Samples struct {
	Openings []Opening
	Denials  []Denial
	// Claims are the names of those Strangers that the inbound may answer
	// other than No to, since they are its own kind.
	Claims []string
	// Secret, if not empty, is in the openings and must not be in errors.
	Secret string
	// Carrier is who the carrier has proved the client to be, for inbounds that
	// are only found inside of one.
	Carrier auth.User
}

// Opening is an opening that the inbound accepts.
type Opening struct {
	Name   string
	Bytes  string // all that the client says before its payload; may be nothing
	Target string
	User   string // who is proved by it; "" is anonymous
	Reply  string // all that the client has been told when Accept has returned
	// Ahead is what the client is told with the target's first bytes, in the
	// same write, or when the target ends without any.
	Ahead string
	// Up is what the target gets ahead of the payload, if the inbound rewrites
	// the opening.
	Up string
	// Payload is sent behind the opening; "" is some text. Framed says that the
	// opening announces exactly this payload, which may then be empty: fewer
	// bytes are an error, and more never reach the target.
	Payload string
	Framed  bool
}

// Denial is a reason for Deny and the exact reply. The reply is "" where the
// protocol has none: Deny writes nothing then, and returns an error to say so.
type Denial struct {
	Reason error
	Reply  string
}

const (
	defaultPayload = "\x17\x03\x03 what follows \x05\x01\x00 is payload\r\n\r\n"
	answerText     = "what the target says\r\n"
	handshake      = 10 * time.Second
)

func (o Opening) payload() string {
	if o.Payload == "" && !o.Framed {
		return defaultPayload
	}
	return o.Payload
}

// Inbound runs the conformance suite of inbounds. fresh is called for every
// connection. Everything happens in synctest bubbles: time is not spent, and a
// goroutine that stays fails the test.
func Inbound(t *testing.T, fresh func() Opener, s Samples) {
	for _, o := range s.Openings {
		t.Run(o.Name, func(t *testing.T) {
			k := suite{fresh: fresh, secret: s.Secret, carrier: s.Carrier, o: o}
			t.Run("match", k.match)
			t.Run("whole", k.whole)
			if o.Bytes == "" {
				t.Run("silent", k.silent)
			}
			t.Run("bytewise", k.bytewise)
			t.Run("split", k.split)
			t.Run("half-close", k.halfClose)
			if o.Ahead != "" {
				t.Run("no answer", k.noAnswer)
			}
			t.Run("slow reader", k.slowReader)
			t.Run("no reader", k.noReader)
			t.Run("deadline", k.deadline)
			t.Run("eof", k.eof)
			t.Run("reset", k.reset)
			t.Run("cancel", k.cancel)
			t.Run("deny", func(t *testing.T) { k.deny(t, s.Denials) })
		})
	}
	t.Run("strangers", func(t *testing.T) { strangers(t, fresh, s.Claims) })
}

// suite is the suite for one opening.
type suite struct {
	fresh   func() Opener
	secret  string
	carrier auth.User
	o       Opening
}

// session is one connection that the inbound opens.
type session struct {
	suite
	t      *testing.T
	in     Opener
	client *Conn
	raw    *recorded
	p      *transport.Peeked
	began  time.Time
	cancel context.CancelFunc
	ctx    context.Context

	opened chan struct{} // closed when Open has returned
	req    transport.Request
	err    error
}

// bubble runs f in a bubble of its own, with a connection whose directions
// hold buffer bytes each.
func (k suite) bubble(t *testing.T, buffer int, f func(s *session)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server := PipeSize(buffer)
		s := &session{suite: k, t: t, in: k.fresh(), client: client, raw: &recorded{Conn: server}, began: time.Now()}
		s.p = transport.NewPeeked(s.raw)
		s.ctx, s.cancel = context.WithCancel(t.Context())
		if err := s.raw.SetDeadline(s.began.Add(handshake)); err != nil {
			t.Fatal(err)
		}
		if err := client.SetDeadline(s.began.Add(3 * handshake)); err != nil {
			t.Fatal(err)
		}
		f(s)
		s.cancel()
		_ = client.Close()
		_ = server.Close()
	})
}

// open calls Open in a goroutine.
func (s *session) open() {
	s.opened = make(chan struct{})
	go func() {
		defer close(s.opened)
		s.req, s.err = s.in.Open(s.ctx, s.carrier, s.p)
	}()
}

// accepted waits for Open, checks what it found and accepts it. near is the
// client's side from then on; nil says that the test has failed.
func (s *session) accepted() (near transport.Conn) {
	s.t.Helper()
	<-s.opened
	if s.err != nil {
		s.t.Errorf("Open: got %v, want a request", s.err)
		return nil
	}
	if got := s.req.Target().String(); got != s.o.Target {
		s.t.Errorf("target: got %s, want %s", got, s.o.Target)
	}
	if got := s.req.User().Name; got != s.o.User {
		s.t.Errorf("user: got %q, want %q", got, s.o.User)
	}
	far, target := Pipe()
	defer target.Close()
	near, newFar, err := s.req.Accept(s.ctx, far)
	if err != nil {
		s.t.Errorf("Accept: got %v, want nil", err)
		return nil
	}
	defer newFar.Close()
	if err := near.SetDeadline(s.began.Add(2 * handshake)); err != nil {
		s.t.Errorf("deadline after Accept: got %v, want nil", err)
	}
	return near
}

// up reads what the target would get from near and compares it.
func (s *session) up(near io.Reader, want string) {
	s.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(near, got)
	if err != nil || string(got[:n]) != want {
		s.t.Errorf("towards the target: got %q, %v, want %q", got[:n], err, want)
	}
}

// down reads the reply, and what near is told to say, at the client.
func (s *session) down(near transport.Conn) {
	s.t.Helper()
	if _, err := io.WriteString(near, answerText); err != nil {
		s.t.Errorf("write to the client: got %v, want nil", err)
		return
	}
	s.reads(s.o.Reply + s.o.Ahead + answerText)
	if got, want := s.raw.writes[len(s.raw.writes)-1], s.o.Ahead+answerText; s.o.Ahead != "" && got != want {
		s.t.Errorf("last write: got %q, want %q", got, want)
	}
}

// reads reads at the client and compares.
func (s *session) reads(want string) {
	s.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(s.client, got)
	if err != nil || string(got[:n]) != want {
		s.t.Errorf("at the client: got %q, %v, want %q", got[:n], err, want)
	}
}

func (s *session) say(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.client, text); err != nil {
		s.t.Errorf("client write: got %v, want nil", err)
	}
}

// failed checks an error that Open returned.
func (s *session) failed(where string, want ...error) {
	s.t.Helper()
	found := false
	for _, w := range want {
		found = found || errors.Is(s.err, w)
	}
	if s.err == nil || !found {
		s.t.Errorf("Open %s: got %v, want one of %v", where, s.err, want)
	}
	if s.req != nil {
		s.t.Errorf("Open %s: got a request beside the error, want nil", where)
	}
	s.quiet(s.err)
}

// quiet checks that an error tells neither the secret nor the target.
func (s *session) quiet(err error) {
	s.t.Helper()
	if err == nil {
		return
	}
	host, _, _ := strings.Cut(s.o.Target, ":")
	for _, leak := range []string{s.secret, s.o.Target, host} {
		if len(leak) > 3 && strings.Contains(err.Error(), leak) {
			s.t.Errorf("error text: got %q, want none with %q in it", err, leak)
		}
	}
}

// after says in words how many bytes of an opening the client has sent.
func (k suite) after(n int) string { return fmt.Sprintf("after %d of %d bytes", n, len(k.o.Bytes)) }

// recorded notes what the inbound writes, write by write, and whether it
// closes the connection, which it must leave to its caller.
type recorded struct {
	*Conn
	writes []string
	closed bool
}

// Write implements net.Conn.
func (r *recorded) Write(b []byte) (int, error) {
	r.writes = append(r.writes, string(b))
	return r.Conn.Write(b)
}

// Close implements net.Conn.
func (r *recorded) Close() error {
	r.closed = true
	return r.Conn.Close()
}

// CloseWrite implements transport.Conn.
func (r *recorded) CloseWrite() error {
	r.closed = true
	return r.Conn.CloseWrite()
}
