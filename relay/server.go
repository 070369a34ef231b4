package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"relay/auth"
	"relay/relay/splice"
	"relay/transport"
)

var errDrained = errors.New("the relay is stopping")

// Options are what a Server keeps for its whole life. All fields are needed.
type Options struct {
	Log    *slog.Logger
	Users  *auth.Users
	Splice *splice.Core
	// Listen opens a listener for an address of the settings, with the given
	// backlog; nil means [Listen]. A service manager that holds sockets
	// already hands them over here.
	Listen func(ctx context.Context, address string, backlog int) (net.Listener, error)
}

// Settings are what a reload can change.
type Settings struct {
	Listeners []Listener
	Dialer    transport.Dialer
	Limits    Limits
	// Public are addresses in front of the listeners that lead back to them,
	// such as the public one of a machine behind NAT.
	Public []netip.AddrPort
	// Ready, if not nil, is called when nothing but itself can fail any more, and
	// before anybody is served under these settings.
	Ready func() error
}

// Listener is an address and the inbounds that are asked there, in order.
type Listener struct {
	Address string // "ip:port"; port 0 lets the system choose
	Route   []Candidate
	// Cover has those that no candidate claims; nil: they are closed without
	// a byte.
	Cover *Cover
	// Proxied tells the sources whose connections begin with a PROXY protocol
	// header; nil: none.
	Proxied func(netip.Addr) bool
}

// Limits bound waits and numbers.
type Limits struct {
	Handshake   time.Duration // from accept to the end of the opening, and for an answer; never 0
	Idle        time.Duration // see splice.Limits
	Fin         time.Duration
	Connections int                   // at once, in all; 0: no limit
	Descriptors int                   // of all connections at once, see Server.hold; 0: no limit
	PerSource   int                   // unauthenticated at once, see sources; 0: no limit
	Trusted     func(netip.Addr) bool // sources without that limit; may be nil
	Backlog     int                   // of the kernel's accept queue
	Burst       Burst
}

func (l Limits) splice() splice.Limits { return splice.Limits{Idle: l.Idle, Fin: l.Fin} }

// settings is what connections accepted under one configuration share.
type settings struct {
	dialer transport.Dialer
	limits Limits
}

// Server accepts connections and takes them through the flow. Make it with
// New, start and change it with Apply, end it with Shutdown.
type Server struct {
	log    *slog.Logger
	users  *auth.Users
	splice *splice.Core
	listen func(ctx context.Context, address string, backlog int) (net.Listener, error)

	ctx     context.Context // of everything before the splice
	cancel  context.CancelCauseFunc
	sources *sources
	bursts  bursts
	stats   stats
	// lines bounds the log lines of those who were never served.
	lines    *rate.Limiter
	unlogged atomic.Int64
	// openings hands connections to goroutines that wait for one.
	openings chan opening

	live      atomic.Int64
	held      atomic.Int64 // descriptors; see hold
	strangers atomic.Int64 // with the cover
	early     atomic.Int64 // connections to the cover that nobody may need
	spilling  atomic.Int64 // strangers in spill
	packets   atomic.Int64 // connections that carry datagrams
	dropped   atomic.Int64 // datagrams
	unsaid    perUser      // streams without a session
	carriers  perUser      // connections that are not strangers any more
	shaking   handshakes   // of strangers with the site
	settled   settled      // strangers behind that
	own       atomic.Pointer[[]netip.AddrPort]
	current   atomic.Pointer[settings] // for what no listener has accepted
	began     time.Time

	mu        sync.Mutex
	listeners map[string]*listener // by configured address
	order     []string

	// Apart from mu, under which listeners are closed: that waits for whoever
	// admits a connection.
	admission sync.Mutex
	opening   map[*conn]struct{} // not yet with the splice core
	drains    map[drainer]struct{}
	stopped   bool
	serving   sync.WaitGroup
}

// New returns a Server without listeners.
func New(o Options) *Server {
	if o.Listen == nil {
		o.Listen = Listen
	}
	s := &Server{
		log: o.Log, users: o.Users, splice: o.Splice, listen: o.Listen,
		lines: rate.NewLimiter(10, 100), sources: newSources(), openings: make(chan opening), began: time.Now(),
		listeners: make(map[string]*listener), opening: make(map[*conn]struct{}), drains: make(map[drainer]struct{}),
		unsaid: perUser{most: mostUnsaid}, carriers: perUser{most: mostCarriers},
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Apply puts settings into force: it opens the listeners that are new, closes
// those that are gone and changes the others in place. Connections that run
// keep the settings they began with. On an error nothing has changed.
func (s *Server) Apply(set Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopped() {
		return errDrained
	}
	fresh, err := s.openNew(set)
	if err != nil {
		return err
	}
	if set.Ready != nil {
		if err := set.Ready(); err != nil {
			closeAll(fresh)
			return err
		}
	}
	s.sources.set(set.Limits.PerSource, set.Limits.Trusted)
	s.bursts.set(set.Limits.Burst)
	shared := &settings{dialer: set.Dialer, limits: set.Limits}
	s.current.Store(shared)
	old := s.listeners
	s.listeners, s.order = make(map[string]*listener), nil
	for _, want := range set.Listeners {
		l := old[want.Address]
		if l == nil {
			l = fresh[want.Address]
		}
		l.inherit(want.Cover)
		l.route.Store(&route{set: shared, candidates: want.Route, cover: want.Cover, proxied: want.Proxied})
		s.listeners[want.Address] = l
		s.order = append(s.order, want.Address)
		delete(old, want.Address)
	}
	closeAll(old)
	s.noteOwn(set.Public)
	for _, l := range fresh {
		l.start()
	}
	return nil
}

// openNew opens the listeners of set that are not open yet, all or none; under mu.
func (s *Server) openNew(set Settings) (fresh map[string]*listener, err error) {
	fresh = make(map[string]*listener)
	seen := make(map[string]bool)
	var errs []error
	for _, want := range set.Listeners {
		if seen[want.Address] {
			errs = append(errs, fmt.Errorf("listen on %s: named twice", want.Address))
			continue
		}
		seen[want.Address] = true
		if s.listeners[want.Address] != nil {
			continue
		}
		ln, err := s.listen(s.ctx, want.Address, set.Limits.Backlog)
		if err != nil {
			errs = append(errs, fmt.Errorf("listen on %s: %w", want.Address, err))
			continue
		}
		fresh[want.Address] = &listener{srv: s, ln: ln, done: make(chan struct{})}
	}
	if len(errs) > 0 {
		closeAll(fresh)
		return nil, errors.Join(errs...)
	}
	return fresh, nil
}

func closeAll(ls map[string]*listener) {
	for _, l := range ls {
		l.close()
	}
}

// Addrs are the addresses in use, in the order of the settings.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []net.Addr
	for _, a := range s.order {
		out = append(out, s.listeners[a].ln.Addr())
	}
	return out
}

// Own are the TCP addresses in use and the public ones in front of them, which
// no client may reach through us. It
// is asked for every target, so it neither locks nor allocates; the caller
// must not change the result.
func (s *Server) Own() []netip.AddrPort {
	if own := s.own.Load(); own != nil {
		return *own
	}
	return nil
}

// noteOwn brings Own up to date; under mu.
func (s *Server) noteOwn(public []netip.AddrPort) {
	own := slices.Clone(public)
	for _, a := range s.order {
		if t, ok := s.listeners[a].ln.Addr().(*net.TCPAddr); ok {
			own = append(own, t.AddrPort())
		}
	}
	s.own.Store(&own)
}

// Shutdown stops accepting and waits until every connection has ended. When
// ctx ends first, what is left is cut. It returns how many flows that were.
func (s *Server) Shutdown(ctx context.Context) int {
	s.mu.Lock()
	s.admission.Lock()
	s.stopped = true
	for d := range s.drains {
		d.drain(false)
	}
	s.admission.Unlock()
	for _, l := range s.listeners {
		l.close()
	}
	s.mu.Unlock()

	opened := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(opened)
	}()
	select {
	case <-opened:
	case <-ctx.Done():
		s.cancel(errDrained)
		s.admission.Lock()
		for c := range s.opening {
			transport.Interrupt(c.raw)
		}
		for d := range s.drains {
			d.drain(true)
		}
		s.admission.Unlock()
		<-opened
	}
	left := s.splice.Drain(ctx)
	s.cancel(errDrained)
	return left
}

// Trim gives up memory that is only kept because there were more connections a
// while ago: a map does not shrink by itself.
func (s *Server) Trim() {
	s.admission.Lock()
	s.opening = maps.Collect(maps.All(s.opening))
	s.drains = maps.Collect(maps.All(s.drains))
	s.admission.Unlock()
	s.sources.trim()
	s.splice.Trim()
}

// reserve counts c as live, with its own descriptor; who carries datagrams counts
// twice. At a limit it makes room if somebody else is waiting who has not proved
// anything; otherwise c is to be refused.
func (s *Server) reserve(c *conn) bool {
	n, limit := s.live.Add(1)+s.packets.Load(), c.set.limits.Connections
	if (limit <= 0 || n <= int64(limit) || s.sources.evict(c)) && s.hold(c, 1) {
		return true
	}
	s.live.Add(-1)
	return false
}

// hold counts n descriptors more as those of c, until it has ended: strangers who
// have said nothing need one, and only whoever gets to a target takes the room of
// two. At the limit it makes room as reserve does.
func (s *Server) hold(c *conn, n int) bool {
	for i := range n {
		if !s.room(c) {
			s.held.Add(-int64(i))
			return false
		}
	}
	c.holds += n
	return true
}

// room counts a descriptor, for c, and nobody's.
func (s *Server) room(c *conn) bool {
	limit := int64(c.set.limits.Descriptors)
	if held := s.held.Add(1); limit > 0 && held > limit && !s.sources.spare(c, held-limit) {
		s.held.Add(-1)
		return false
	}
	return true
}

// release is the end of what reserve and hold have counted.
func (s *Server) release(c *conn) {
	s.live.Add(-1)
	s.held.Add(-int64(c.holds))
}

func (s *Server) isStopped() bool {
	s.admission.Lock()
	defer s.admission.Unlock()
	return s.stopped
}

// begin registers an accepted connection; false says that the relay stops.
func (s *Server) begin(c *conn) bool {
	s.admission.Lock()
	defer s.admission.Unlock()
	if s.stopped {
		return false
	}
	s.opening[c] = struct{}{}
	s.serving.Add(1)
	return true
}

// drainer is what goes on until it is told that the relay stops: at first to end if
// it is idle, later to end now. It waits for nothing.
type drainer interface{ drain(now bool) }

func (s *Server) onDrain(d drainer) {
	s.admission.Lock()
	defer s.admission.Unlock()
	s.drains[d] = struct{}{}
	if s.stopped {
		d.drain(s.ctx.Err() != nil)
	}
}

func (s *Server) offDrain(d drainer) {
	s.admission.Lock()
	defer s.admission.Unlock()
	delete(s.drains, d)
}

// handOver lets go of a connection that the splice core is about to own:
// Shutdown must not touch it any more, and c, which lives as long as the flow,
// must not keep its layers in memory.
func (s *Server) handOver(c *conn) {
	s.admission.Lock()
	defer s.admission.Unlock()
	delete(s.opening, c)
	c.near, c.raw, c.visit = nil, nil, nil
}

// opened is the end of the goroutine that served an opening.
func (s *Server) opened(c *conn) {
	s.admission.Lock()
	delete(s.opening, c)
	s.admission.Unlock()
	s.serving.Done()
}
