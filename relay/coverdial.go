package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"relay/transport"
)

const (
	coverDialTimeout = 5 * time.Second
	// coverNameFresh is how long a resolved name of the cover is used: asking
	// for every stranger would slow down what a prober measures.
	coverNameFresh = time.Minute
)

// ErrCoverLoop says that the cover is this relay itself.
var ErrCoverLoop = errors.New("the cover is this relay itself")

// CoverDialer dials the one server that a [Cover] forwards to. It is the
// operator's, so that no egress policy is asked.
type CoverDialer struct {
	path string // of a unix socket
	host string // a name, to be resolved
	addr atomic.Pointer[resolved]
	own  func() []netip.AddrPort
}

type resolved struct {
	addr  netip.AddrPort
	until time.Time // zero: for ever
}

// NewCoverDialer returns a dialer for "host:port" or "unix:/path". own tells the
// addresses of this relay.
func NewCoverDialer(to string, own func() []netip.AddrPort) (*CoverDialer, error) {
	d := &CoverDialer{own: own}
	if path, ok := strings.CutPrefix(to, "unix:"); ok {
		d.path = path
		return d, nil
	}
	if ap, err := netip.ParseAddrPort(to); err == nil {
		d.addr.Store(&resolved{addr: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())})
		return d, nil
	}
	if _, _, err := net.SplitHostPort(to); err != nil {
		return nil, fmt.Errorf("cover: %w", err)
	}
	d.host = to
	return d, nil
}

// Direct implements transport.DirectDialer. The target is not looked at.
func (d *CoverDialer) Direct(transport.Target) (hop transport.Hop, known bool, err error) {
	r := d.addr.Load()
	if r == nil || !r.until.IsZero() && time.Now().After(r.until) {
		return hop, false, nil
	}
	if d.isOwn(r.addr) {
		return hop, true, ErrCoverLoop
	}
	return transport.Hop{Addr: r.addr, Timeout: coverDialTimeout}, true, nil
}

// Failed implements transport.DirectDialer.
func (d *CoverDialer) Failed(err error) error { return fmt.Errorf("dial: %w", err) }

// DialStream implements transport.Dialer. The target is not looked at.
func (d *CoverDialer) DialStream(ctx context.Context, _ transport.Target, _ []byte) (transport.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, coverDialTimeout)
	defer cancel()
	network, to := "unix", d.path
	if d.path == "" {
		hop, known, err := d.Direct(transport.Target{})
		if err == nil && !known {
			hop, err = d.resolve(ctx)
		}
		if err != nil {
			return nil, err
		}
		network, to = "tcp", hop.Addr.String()
	}
	c, err := new(net.Dialer).DialContext(ctx, network, to)
	if err != nil {
		return nil, err
	}
	return c.(transport.Conn), nil
}

// resolve asks the system's resolver.
func (d *CoverDialer) resolve(ctx context.Context) (transport.Hop, error) {
	a, err := net.DefaultResolver.LookupNetIP(ctx, "ip", hostOf(d.host))
	if err != nil || len(a) == 0 {
		return transport.Hop{}, fmt.Errorf("resolve the cover's name: %w", err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", portOf(d.host))
	if err != nil {
		return transport.Hop{}, err
	}
	addr := netip.AddrPortFrom(a[0].Unmap(), uint16(port))
	if d.isOwn(addr) {
		return transport.Hop{}, ErrCoverLoop
	}
	d.addr.Store(&resolved{addr, time.Now().Add(coverNameFresh)})
	return transport.Hop{Addr: addr, Timeout: coverDialTimeout}, nil
}

// isOwn reports whether an address leads to this relay. A listener on all
// addresses is on loopback and on those of the machine.
func (d *CoverDialer) isOwn(a netip.AddrPort) bool {
	if d.own == nil {
		return false
	}
	for _, o := range d.own() {
		switch {
		case o.Port() != a.Port():
		case o.Addr().Unmap() == a.Addr(), o.Addr().IsUnspecified() && (a.Addr().IsUnspecified() || isLocal(a.Addr())):
			return true
		}
	}
	return false
}

func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, i := range addrs {
		if n, ok := i.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
				return true
			}
		}
	}
	return false
}

func hostOf(hostport string) string { h, _, _ := net.SplitHostPort(hostport); return h }

func portOf(hostport string) string { _, p, _ := net.SplitHostPort(hostport); return p }
