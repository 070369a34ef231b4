package faketls

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"relay/auth"
	"relay/transport"
	"relay/transport/hello"
)

const (
	// DefaultSkew is how far a client's clock may be from ours. Phones are often
	// wrong by a minute; a wider window only makes the replay memory larger.
	DefaultSkew = 2 * time.Minute
	// MaxName is the longest server name that fits into a secret (tdlib).
	MaxName = 182
)

// Keys knows the keys that clients may present.
type Keys interface {
	// Candidates calls yield with those that a client at source may use for a
	// server name, the likeliest first, until yield returns false. The key is
	// read during the call only. Who was right lately from source should come
	// first: see [Options].
	Candidates(name string, source netip.Addr, yield func(user auth.User, key *[16]byte) bool)
	// Proved says that a client at source has just proved to be user.
	Proved(user auth.User, name string, source netip.Addr)
}

// Options say what a Server accepts and what it looks like.
//
// Every hello with a right server name costs a hash of it for each candidate,
// and anybody can send hellos. So at most [MaxCandidates] are tried, and in all
// they get a tenth of a processor. When that is used up, only the first
// [AlwaysTried] of a hello are: users whom Keys puts first, because they were
// right lately from that source, do not notice a flood.
type Options struct {
	// Names are the server names in our secrets; at least one.
	Names []string
	Keys  Keys
	// Replays remembers the hellos that were accepted. It should outlive the
	// Server where one replaces another, also with another Skew. nil: a new one.
	Replays *auth.Replays
	// Skew is how far the clock of a client may be off; 0 is DefaultSkew.
	Skew time.Duration
	// Cover says what the server with that name does, as far as it is known
	// now; see [Probe]. nil: nothing is known.
	Cover func(name string) Cover
	// Records are the sizes of the records that we send. The zero value is
	// DefaultRecords.
	Records Records
	// Observe is told what an operator should know. It must not block. May be nil.
	Observe func(Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Event is something about a hello that was not accepted though its sender may
// have had a key. It holds no address.
type Event struct {
	Kind EventKind
	User auth.User     // whose key it was; the zero User if that is unknown
	Skew time.Duration // ClockWrong: the client's clock less ours
}

// EventKind is one word for an Event.
type EventKind string

// The kinds of events.
const (
	ClockWrong  EventKind = "clock_wrong"  // a right key, with a clock that is too far off
	Replay      EventKind = "replay"       // a hello that was accepted before
	Forgotten   EventKind = "forgotten"    // a right key, at a time that the replay memory does not cover: before its start, mostly
	Full        EventKind = "full"         // a right key, at a second that is closed as User's hellos, or without one everybody's, fill the replay memory
	BudgetSpent EventKind = "budget_spent" // not every candidate was tried
)

// Server is the server half. It is safe for concurrent use.
type Server struct {
	names   map[string]string // to themselves: a lookup by bytes finds a string
	keys    Keys
	replays *auth.Replays
	skew    time.Duration
	cover   func(name string) Cover
	unknown Cover // what cover says when it knows nothing
	records Records
	observe func(Event)
	now     func() time.Time
	budget  budget
}

var _ transport.Server = (*Server)(nil)

// NewServer returns a Server, or all that is wrong with the options.
func NewServer(o Options) (*Server, error) {
	s := &Server{
		names: make(map[string]string, len(o.Names)), keys: o.Keys, replays: o.Replays, skew: o.Skew,
		cover: o.Cover, unknown: unknownCover(), records: o.Records, observe: o.Observe, now: o.Now,
	}
	var faults []error
	if len(o.Names) == 0 {
		faults = append(faults, errors.New("no server names"))
	}
	for _, name := range o.Names {
		if name == "" || len(name) > MaxName {
			faults = append(faults, fmt.Errorf("server name of %d bytes, want 1 to %d", len(name), MaxName))
		}
		s.names[name] = name
	}
	if o.Keys == nil {
		faults = append(faults, errors.New("no keys"))
	}
	if o.Skew < 0 {
		faults = append(faults, errors.New("negative skew"))
	}
	if s.records == (Records{}) {
		s.records = DefaultRecords()
	}
	if err := s.records.check(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("faketls: %w", errors.Join(faults...))
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.skew == 0 {
		s.skew = DefaultSkew
	}
	if s.replays == nil {
		s.replays = auth.NewReplays(s.now(), 0)
	}
	s.budget.start(s.now())
	return s, nil
}

// Name implements transport.Server.
func (s *Server) Name() string { return "faketls" }

// Match implements transport.Server: Yes to a whole ClientHello.
func (s *Server) Match(prefix []byte) transport.Verdict { return hello.Match(prefix) }

// Serve implements transport.Server. It decides on the bytes that raw has read
// already, and calls sink once. It writes once before that.
func (s *Server) Serve(ctx context.Context, raw *transport.Peeked, sink transport.Sink) error {
	v := visits.Get().(*visit)
	user, err := s.greet(v, raw)
	v.release()
	if err != nil {
		return err
	}
	return sink.Stream(ctx, user, transport.NewCoded(raw, &codec{records: &s.records, now: s.now}))
}

// greet judges the hello and answers it.
func (s *Server) greet(v *visit, raw *transport.Peeked) (auth.User, error) {
	n, ok := s.judge(v, raw.Unread(), transport.Source(raw))
	if !ok {
		return auth.User{}, transport.ErrNotOurs
	}
	cover := s.unknown
	if s.cover != nil {
		if known := s.cover(v.name); len(known.Sizes) > 0 {
			cover = known
		}
	}
	flight, err := v.answer(cover)
	if err != nil {
		// No randomness, or a bug: nothing is written, so the cover can have it.
		return auth.User{}, transport.ErrNotOurs
	}
	raw.Discard(n)
	if _, err := raw.Write(flight); err != nil {
		return auth.User{}, fmt.Errorf("faketls: write server flight: %w", err)
	}
	return v.user, nil
}

// judge decides whether wire begins with a hello of a user's client, and fills v
// in. n is the hello's length on the wire. A hello is accepted once.
func (s *Server) judge(v *visit, wire []byte, source netip.Addr) (n int, ok bool) {
	record, n, ok := hello.Record(v.record[:0], wire)
	if !ok || len(record) < randomEnd {
		return 0, false
	}
	// A copy in any case: the random is zeroed in it, and wire stays unread.
	v.record = append(v.record[:0], record...)
	var err error
	if v.hello, err = hello.Parse(hello.Message(v.record)); err != nil {
		return 0, false
	}
	name, known := s.names[string(v.hello.ServerName)]
	if !known { // names are the same in any case (RFC 6066, Section 3)
		name, known = s.names[strings.ToLower(string(v.hello.ServerName))]
	}
	if !known {
		return 0, false
	}
	v.name = name
	copy(v.random[:], v.record[randomBegin:randomEnd])
	clear(v.record[randomBegin:randomEnd])
	now := s.now()
	if !s.prove(v, source, now) {
		return 0, false
	}
	if skew := v.stamp.Sub(time.Unix(now.Unix(), 0)); skew.Abs() > s.skew {
		s.tell(Event{Kind: ClockWrong, User: v.user, Skew: skew})
		return 0, false
	}
	proof := auth.Proof{Value: [16]byte(v.random[:16]), User: v.user.ID, Stamp: v.stamp}
	if err := s.replays.First(proof, now, s.skew); err != nil {
		s.tell(refused(err, v.user))
		return 0, false
	}
	s.keys.Proved(v.user, name, source)
	return n, true
}

// refused is what to tell when the replay memory takes no hello of a user.
func refused(err error, user auth.User) Event {
	switch {
	case errors.Is(err, auth.ErrReplayed):
		return Event{Kind: Replay, User: user}
	case errors.Is(err, auth.ErrClosedToUser):
		return Event{Kind: Full, User: user}
	case errors.Is(err, auth.ErrClosed):
		return Event{Kind: Full}
	}
	return Event{Kind: Forgotten, User: user}
}

func (s *Server) tell(e Event) {
	if s.observe != nil {
		s.observe(e)
	}
}

// visit is the memory of one handshake.
type visit struct {
	record []byte // the hello, with its random zeroed
	random [randomSize]byte
	hello  hello.Hello // in record
	name   string
	flight []byte
	mac    mac
	keys   keys

	// Who the client proved to be.
	user  auth.User
	key   [16]byte
	stamp time.Time
}

var visits = sync.Pool{New: func() any { return newVisit() }}

// release gives the memory back, without what must not stay in it.
func (v *visit) release() {
	v.key, v.user, v.hello = [16]byte{}, auth.User{}, hello.Hello{}
	v.mac.forget()
	visits.Put(v)
}
