package web

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"relay/transport"
	"relay/transport/browser"
	"relay/transport/h2"
	"relay/transport/resolve"
)

// ClientOptions are what a [Client] is made of.
type ClientOptions struct {
	Way     Way
	Profile *browser.Profile
	// Sessions are those to resume, shared with other clients of the same profile.
	Sessions *browser.Sessions
	// Names looks up what the way connects to.
	Names *resolve.Cache
	// Roots are the authorities for certificates; nil: the system's.
	Roots *x509.CertPool
	// Connect makes a TCP connection; nil: [DialTCP].
	Connect func(ctx context.Context, to netip.AddrPort) (transport.Conn, error)
	// Log gets lines at debug level only.
	Log *slog.Logger
}

// Client is the client half: streams to the relay at the end of one Way. Those of
// XHTTP share up to three connections, which live as long as a browser's, or up to six
// over HTTP/1.1; a WebSocket is a connection of its own. It is safe for concurrent use, and ended by Close.
type Client struct {
	way      Way
	profile  *browser.Profile
	sessions *browser.Sessions
	names    *resolve.Cache
	roots    *x509.CertPool
	dialTCP  func(ctx context.Context, to netip.AddrPort) (transport.Conn, error)
	log      *slog.Logger
	trace    func(step) // nil: nobody wants to know

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	posted atomic.Int64 // bytes of pieces that are kept

	mu       sync.Mutex
	carriers []*carrier
	last     *carrier // that was made
	pending  *pending // a connection that is being made; nil: none
	budget   int64    // bytes down that a connection survives; 0: as many as it likes
	learned  time.Time
	pieces   time.Time      // packet-up until then, whatever the mode
	good     netip.AddrPort // worked last
	sockets  map[*socketConn]struct{}
	spare    *connected // for the next WebSocket; nil: there is none
	proven   time.Time  // when a handshake over HTTP/1.1 was done last, or an answer came
	plains   plainConns

	downloads map[*h2.Stream]*download // that somebody here reads
	minding   bool                     // mindAll is there
}

// NewClient returns a Client. It connects when it is asked to.
func NewClient(o ClientOptions) *Client {
	c := &Client{
		way: o.Way, profile: o.Profile, sessions: o.Sessions, names: o.Names, roots: o.Roots,
		dialTCP: o.Connect, log: o.Log, sockets: map[*socketConn]struct{}{},
		downloads: map[*h2.Stream]*download{}, plains: plainConns{open: map[*plainConn]struct{}{}},
	}
	if c.dialTCP == nil {
		c.dialTCP = DialTCP
	}
	if c.sessions == nil {
		c.sessions = new(browser.Sessions)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends the connections and what is on them.
func (c *Client) Close() {
	c.cancel()
	c.mu.Lock()
	all, sockets, spare := c.carriers, c.sockets, c.spare
	c.carriers, c.sockets, c.spare = nil, map[*socketConn]struct{}{}, nil
	for k := range c.plains.open {
		c.dropPlain(k)
	}
	c.mu.Unlock()
	if spare != nil {
		_ = spare.Close()
	}
	for _, k := range all {
		k.conn.Abort()
	}
	for s := range sockets {
		_ = transport.Abort(s)
	}
	c.tasks.Wait()
}

// Ready returns when a stream could begin at once. A way of WebSockets has nothing to
// be ready: what fails, fails with the stream.
func (c *Client) Ready(ctx context.Context) error {
	if c.way.Mode == ModeWebSocket {
		return c.probe(ctx)
	}
	if c.plain() {
		return c.readyPlain(ctx)
	}
	_, err := c.carrier(ctx)
	return err
}

// Live reports whether Ready would return at once.
func (c *Client) Live() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.way.Mode == ModeWebSocket {
		return c.spare != nil || time.Since(c.proven) < provenTime
	}
	if c.plain() {
		return len(c.plains.idle) > 0 || time.Since(c.proven) < provenTime
	}
	return c.pick(time.Now()) != nil
}

// Open begins a stream: first, if any, rides with its request. It does not wait for an
// answer. Errors match transport.ErrCarrier where another connection may do better.
func (c *Client) Open(ctx context.Context, first []byte) (transport.Conn, error) {
	if c.way.Mode == ModeWebSocket {
		return c.openSocket(ctx, first)
	}
	if c.plain() {
		return c.openPlain(ctx, first)
	}
	if err := c.held(); err != nil {
		return nil, err
	}
	k, err := c.carrier(ctx)
	if err != nil {
		return nil, err
	}
	defer c.leave(k)
	return k.begin(ctx, first)
}

// begin begins a stream in the way's mode.
func (k *carrier) begin(ctx context.Context, first []byte) (transport.Conn, error) {
	mode := k.client.way.Mode
	k.client.mu.Lock()
	if time.Now().Before(k.client.pieces) {
		mode = ModePacketUp
	}
	k.client.mu.Unlock()
	switch mode {
	case ModeStreamUp:
		return k.streamUp(ctx, first)
	case ModePacketUp:
		return k.packetUp(ctx, first)
	}
	return k.streamOne(ctx, first)
}
